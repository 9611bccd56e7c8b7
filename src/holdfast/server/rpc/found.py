"""Searches, and proofs of any size: asked in messages, answered by what answers HTTP."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, cast

from holdfast.errors import HoldfastError, InvalidValue
from holdfast.server import proofs, searching
from holdfast.server.answers import Answer, refused
from holdfast.server.requests import Request
from holdfast.server.routes import Route
from holdfast.server.rpc.called import BAD, Called, Context, conduct, finish
from holdfast.server.rpc.unary import told
from holdfast.values import Hits
from holdfast.wire.headers import range_text
from holdfast.wire.paths import encode_query
from holdfast.wire.proofs import Answered
from holdfast.wire.protobuf.found import hits_message, proof_chunks, proof_fields, search_fields
from holdfast.wire.protobuf.words import parse

if TYPE_CHECKING:
    from holdfast.server.site import Site

MSGPACK: Final = "application/msgpack"  # the form of proofs that has room for all of it


# -- searching -----------------------------------------------------------------------------------


def search(site: Site, called: Called) -> None:
    """Admit a search; its right is decided by the prefix."""
    called.aim(called.message.namespace)
    called.query = encode_query(search_fields(called.message)).encode()
    site.admit_call(called, SEARCH, 0)


def _search(site: Site, request: Request) -> None:
    fields = search_fields(cast("Called", request).message)
    work = partial(searching.find, site.store, site.tenant_of(request).name, fields)

    def found(hits: object) -> Answer:
        request.sent_bytes = cast("Hits", hits).told_bytes
        return told(hits_message(cast("Hits", hits)))

    site.ask(request, work, found)


SEARCH: Final = Route("search", _search, "alone")


# -- proving ---------------------------------------------------------------------------------------


class Proving:
    """Answers ``Proofs``.

    Args:
        site: admits it and has the store.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    async def answer(self, body: bytes, context: Context) -> None:
        """Answer one call."""
        site, called = self._site, Called(self._site, context)

        def prepare() -> None:
            called.message = parse("ProofRequest", body)
            self._admit(called)

        answer = await conduct(site, called, prepare)
        if answer.status < BAD:
            try:
                for chunk in proof_chunks(called.found):
                    await context.write(chunk.SerializeToString())
            except HoldfastError as error:
                answer = refused(error)
        await finish(site, called, answer, context)

    def _admit(self, called: Called) -> None:
        message = called.message
        key = message.key if message.HasField("key") else None
        called.aim(message.namespace, key)
        called.headers["accept"] = MSGPACK
        if message.HasField("start") is not message.HasField("stop") or (
            key is None and message.HasField("start")
        ):
            raise InvalidValue(argument="range", reason="start and stop, of a key")
        if message.HasField("start"):
            if not message.start < message.stop:
                raise InvalidValue(argument="range", reason="empty")
            called.headers["range"] = range_text(message.start, message.stop)
        called.query = encode_query(proof_fields(message)).encode()
        self._site.admit_call(called, OF_LIST if key is None else OF_OBJECT, 0)


def _prove(site: Site, request: Request) -> None:
    called = cast("Called", request)
    name, fields = site.tenant_of(request).name, proof_fields(called.message)
    if called.message.HasField("key"):
        prove = partial(proofs.prove, site.store, name, request)
    else:
        prove = partial(proofs.prove_page, site.store, name)

    def proved(answered: object) -> Answer:
        called.found = answered
        called.sent_bytes = cast("Answered", answered).sent_bytes
        return Answer(length=called.sent_bytes)

    site.work(request, partial(proofs.asked, prove, site.store, fields), proved)


OF_OBJECT: Final = Route("load", _prove, "alone")
OF_LIST: Final = Route("list", _prove, "alone")
