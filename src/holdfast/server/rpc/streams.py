"""Calls that stream: a value in, a value out, a list; one message of each in memory at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from holdfast.bucket import bills
from holdfast.errors import DeadlineExceeded, HoldfastError, InvalidValue
from holdfast.limits import LIST_PAGE
from holdfast.request import reading
from holdfast.server.answers import Answer, refused
from holdfast.server.requests import Request
from holdfast.server.routes import Route
from holdfast.server.rpc.called import (
    BAD,
    Called,
    Context,
    allowed,
    conduct,
    finish,
    on_thread,
)
from holdfast.server.rpc.unary import direct, span_of, told
from holdfast.server.upload import Upload
from holdfast.values import Receipt
from holdfast.wire.batch import options_of
from holdfast.wire.paths import encode_query
from holdfast.wire.problems import unreadable
from holdfast.wire.protobuf.words import CLASSES, Said, call_of, message_of, parse

if TYPE_CHECKING:
    from holdfast.server.site import Site

CHUNK_BYTES: Final = 1 << 18
Page, LoadChunk, Attributes = (CLASSES[n] for n in ("Page", "LoadChunk", "Attributes"))


# -- a value in --------------------------------------------------------------------------------


class Storing:
    """Answers ``Store``: a value of any size, which appears when it is whole.

    Args:
        site: admits and stores it.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    async def answer(self, chunks: AsyncIterator[bytes], context: Context) -> bytes:
        """Answer one call."""
        site, called = self._site, Called(self._site, context)
        answer = await self._answer(called, chunks)
        return await finish(site, called, answer, context)

    async def _answer(self, called: Called, chunks: AsyncIterator[bytes]) -> Answer:
        try:
            first = await self._next(chunks)
            if first is None or first.WhichOneof("chunk") != "begin":
                raise unreadable("the first chunk does not begin an object")
            called.message = first.begin
            self._admit(called)
        except HoldfastError as error:
            return refused(error)
        return await self._take(called, chunks)

    def _admit(self, called: Called) -> None:
        message = called.message
        called.aim(message.namespace, message.key)
        call = call_of("store", message)
        called.sink = Upload(
            self._site,
            called,
            options_of(call.arguments or {}),
            partial(_stored, called),
        )
        self._site.admit_call(called, STORE, -1)

    async def _take(self, called: Called, chunks: AsyncIterator[bytes]) -> Answer:
        upload = cast("Upload", called.sink)
        try:
            self._site.begin(called)
            upload.take(called.message.value)
            while called.reply is None:
                chunk = await self._next(chunks)
                if chunk is None:  # a call that was cancelled looks just like this
                    raise unreadable("it ends before its end was told")
                if chunk.WhichOneof("chunk") == "end":
                    upload.complete()
                    break
                if not upload.take(chunk.data) and called.reply is None:
                    await called.room()
            return await called.outcome()
        except HoldfastError as error:
            return refused(error)
        finally:
            if called.reply is None:
                upload.abandon()
                called.let_go()

    async def _next(self, chunks: AsyncIterator[bytes]) -> Said:
        """The next chunk; None at the end of them."""
        try:
            async with asyncio.timeout(self._site.settings.body_s):
                return parse("StoreChunk", await anext(chunks))
        except StopAsyncIteration:
            return None
        except TimeoutError:
            raise DeadlineExceeded(limit="body_s") from None


def _stored(called: Called, receipt: object) -> Answer:
    if not isinstance(receipt, Receipt):
        raise TypeError(receipt)
    called.version = receipt.version
    answer = told(message_of(receipt))
    answer.cost_atto = receipt.cost_atto
    return answer


STORE: Final = Route("store", allowed, "alone")


# -- a value out ---------------------------------------------------------------------------------


class Loading:
    """Answers ``Load``: what the object is, then its bytes, as fast as they are taken.

    Args:
        site: admits it and reads.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    async def answer(self, body: bytes, context: Context) -> None:
        """Answer one call."""
        site, called = self._site, Called(self._site, context)

        def prepare() -> None:
            called.message = parse("LoadRequest", body)
            called.aim(called.message.namespace, called.message.key)
            site.admit_call(called, LOAD, 0)

        answer = await conduct(site, called, prepare)
        if answer.status < BAD:
            try:
                answer.length = await self._send(called, context)
            except HoldfastError as error:
                answer = refused(error)
        await finish(site, called, answer, context)

    async def _send(self, called: Called, context: Context) -> int:
        entry, (start, stop), pieces = called.found
        called.version = entry.version
        attributes = Attributes(
            version=entry.version,
            size=entry.size,
            modified_ns=entry.modified_ns,
            start=start,
            stop=stop,
        )
        if entry.expires_ns:
            attributes.expires_ns = entry.expires_ns
        if entry.attrs and entry.attributes.content_type is not None:
            attributes.content_type = entry.attributes.content_type
        site = self._site
        await context.write(LoadChunk(attributes=attributes).SerializeToString())
        while (piece := await on_thread(site, lambda: next(pieces, None))) is not None:
            for at in range(0, len(piece), CHUNK_BYTES):
                chunk = LoadChunk(data=piece[at : at + CHUNK_BYTES])
                await context.write(chunk.SerializeToString())
        return int(stop - start)


def _look(site: Site, request: Request) -> None:
    called = cast("Called", request)
    composite = site.tenant_of(request).space + request.key.encode()

    def look() -> object:
        found = reading.look(site.corridor, composite, request.key)
        start, stop = span_of(called, found.entry)
        pieces: Iterator[bytes]
        if found.value is not None:
            pieces = iter((found.value[start:stop],))
        else:
            pieces = reading.pieces(site.corridor, composite, request.key, found.entry, start, stop)
        return found.entry, (start, stop), pieces

    def found(told_of: object) -> Answer:
        called.found = told_of
        return Answer()

    site.ask(request, look, found)


LOAD: Final = Route("load", direct(_look), "alone")


# -- a list ----------------------------------------------------------------------------------


class Listing:
    """Answers ``List``: pages, each read when the one before has left.

    Args:
        site: admits it and reads.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    async def answer(self, body: bytes, context: Context) -> None:
        """Answer one call."""
        site, called = self._site, Called(self._site, context)

        def prepare() -> None:
            message = called.message = parse("ListRequest", body)
            called.aim(message.namespace)
            called.query = encode_query({"prefix": message.prefix}).encode()
            called.found = Pages(site, called)
            site.admit_call(called, LIST, 0)

        answer = await conduct(site, called, prepare)
        if answer.status < BAD:
            try:
                await self._send(called.found, answer.body, context)
            except HoldfastError as error:
                answer = refused(error)
        await finish(site, called, answer, context)

    async def _send(self, pages: Pages, first: bytes, context: Context) -> None:
        page = first
        while True:
            await context.write(page)
            if pages.done:
                return
            page = await on_thread(self._site, pages.read_on)


class Pages:
    """A list under way: what was asked, and how far it is. All of it is one read.

    Args:
        site: has the store.
        called: what is asked.

    Raises:
        InvalidValue: an argument is not valid.
    """

    def __init__(self, site: Site, called: Called) -> None:
        message = called.message
        space = site.store.namespace(site.tenant_of(called).name)
        self._called = called
        self._left = message.limit if message.HasField("limit") else None
        if message.by not in {"", "text", "component"}:
            raise InvalidValue(argument="by", reason="text or component")
        by: Literal["text", "component"] = message.by or "text"
        self._details = message.details
        listed: Callable[..., Iterator[Any]] = space.entries if self._details else space.list
        self._rows = listed(
            message.prefix,
            recursive=not message.flat,
            by=by,
            limit=self._left,
            after=message.after if message.HasField("after") else None,
        )
        self.done = False

    def read(self) -> bytes:
        """The next page as a message; ``done`` behind the last."""
        most = LIST_PAGE if self._left is None else min(self._left, LIST_PAGE)
        rows = list(islice(self._rows, most))
        if self._left is not None:
            self._left -= len(rows)
        self.done = len(rows) < most or self._left == 0
        if self.done:
            self._rows = iter(())  # what it cost is told with the last page
        names = [row.key for row in rows] if self._details else rows
        sent = sum(len(name.encode()) for name in names)
        self._called.sent_bytes = sent + (self._called.sent_bytes or 0)
        page = Page(objects=map(message_of, rows)) if self._details else Page(keys=names)
        if len(rows) == most and names:
            page.next = names[-1]
        return cast("bytes", page.SerializeToString())

    def read_on(self) -> bytes:
        """As ``read``, behind the first page: what it costs is added to that."""
        with bills.opened() as bill:
            page = self.read()
        self._called.cost_atto += bill.cost_atto
        return page


def _first_page(site: Site, request: Request) -> None:
    pages: Pages = cast("Called", request).found
    site.ask(request, pages.read, lambda page: Answer(200, b"", cast("bytes", page)))


LIST: Final = Route("list", _first_page, "alone")
