"""The stream of batches: each is answered in its order, and nothing waits that need not.

plain loads, in memory    answered on the loop, at once
plain stores              in the lanes of their buckets, beside what else is stored
all else                  on a thread, when everything before it is answered
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, cast

from holdfast.bucket.many import AFAR
from holdfast.errors import (
    Busy,
    DeadlineExceeded,
    HoldfastError,
    InvalidValue,
    LimitExceeded,
    NotFound,
    RateLimited,
)
from holdfast.limits import BATCH_BYTES, BATCH_OPERATIONS, REQUESTS_DUE
from holdfast.request import reading
from holdfast.server.answers import Answer, refused
from holdfast.server.batches import Run
from holdfast.server.http2.call import Ended
from holdfast.server.lanes import Stores
from holdfast.server.plain_batches import AT_ONCE
from holdfast.server.requests import Request
from holdfast.server.routes import Route
from holdfast.server.rpc.called import BAD, Called, Context, refuse, trailers_of
from holdfast.server.rpc.unary import MESSAGE_VALUE_BYTES
from holdfast.values import Receipt, Receipts
from holdfast.wire.batch import Batch, Call
from holdfast.wire.headers import Numbered, numbered_of, numbered_text
from holdfast.wire.problems import unreadable
from holdfast.wire.protobuf import quick
from holdfast.wire.protobuf.statuses import SESSION
from holdfast.wire.protobuf.words import Said, operations_of, outcome_message, parse, split

if TYPE_CHECKING:
    from holdfast.server.site import Site
    from holdfast.server.tenants import Tenant

UNSENT_BYTES: Final = 1 << 20
BESIDE_BYTES: Final = 8 << 20  # of stores that one stream has under way side by side
Kind = Literal["read", "write", "alone"]


class Asked(Called):
    """One batch of a stream."""

    atomic = False
    calls: Sequence[Call] = ()
    count = 0  # operations so far
    kind: Kind = "alone"
    messages: Sequence[bytes] = ()  # its answer
    plain: quick.Plain = quick.Plain("", [], [], [])

    def tell(self, outcomes: Sequence[object]) -> Answer:
        """The results of its calls as an answer."""
        results = [
            outcome_message(call.verb, outcome)
            for call, outcome in zip(self.calls, outcomes, strict=True)
        ]
        self.messages = [reply.SerializeToString() for reply in split(results, MESSAGE_VALUE_BYTES)]
        return Answer(length=sum(map(len, self.messages)))

    def tell_quick(self, results: Iterable[bytes], cost_atto: int) -> Answer:
        """Its results, as they are written already, as an answer of one message."""
        body = b"".join(results)
        self.messages = (body,)
        return Answer(length=len(body), cost_atto=cost_atto)

    def take_long(self) -> None:
        """Be carried out as any batch: on a thread, by itself."""
        self.calls = [Call("load", name) for name in self.plain.names]
        self.kind = "alone"


class Batches:
    """Answers ``Batch``.

    Args:
        site: admits and carries out.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    async def answer(self, messages: Said, context: Context) -> None:
        """Answer one stream, to its end or to the first batch that is refused whole."""
        stream = Stream(self._site, context)
        reading_on = asyncio.ensure_future(stream.read(messages))
        try:
            last, answer = await stream.write()
        finally:
            reading_on.cancel()
            stream.forget()
        stream.finish(last, answer)


class Stream:
    """One stream of batches.

    Args:
        site: admits and carries out.
        context: the call.
    """

    def __init__(self, site: Site, context: Context) -> None:
        self._site = site
        self._context = context
        self._changed = asyncio.Event()
        self._cost_atto = 0  # of what was answered
        self._due: deque[Asked] = deque()
        self._due_bytes = 0  # of all of them
        self._ended = False
        self._gathered: Asked | None = None
        self._last = Called(site, context)
        self._numbered: Numbered | None = None
        self._open: set[Asked] = set()  # batches that came in and are not answered
        self._over: Answer | None = None
        self._ranges = 0  # the directory's version when stores were begun last
        self._room = asyncio.Event()
        self._tenant: Tenant | None = None  # that was asked last
        self._unsent_bytes = 0  # of answers that nobody took

    # -- taking --------------------------------------------------------------------------

    async def read(self, messages: Said) -> None:
        """Take what comes, no faster than it is answered, to the end or the first refusal."""
        try:
            await self._take(messages)
        except HoldfastError as error:
            self._over = refused(error)
        except Exception as error:  # noqa: BLE001 - the caller is told, and so is the log
            self._over = self._site.fault(error)
        finally:
            self._ended = True
            self._changed.set()

    async def _take(self, messages: Said) -> None:
        async for body in messages:
            while len(self._due) >= REQUESTS_DUE or self._unsent_bytes >= UNSENT_BYTES:
                await self._room_made()
            asked = self._gather(body)
            if asked is None:
                continue
            if asked.kind == "read":
                await self._read_in_turn(asked)
            else:
                await self._begin_in_turn(asked)
        if self._gathered is not None:
            raise unreadable("more of the batch was announced than came")

    async def _room_made(self) -> None:
        self._room.clear()
        await self._room.wait()

    def _gather(self, body: bytes) -> Asked | None:
        """The batch that this message makes whole; None where more of it is to come."""
        if self._gathered is not None:
            return self._grow(self._gathered, body)
        plain = quick.plain(body)
        if plain is None:
            return self._grow(None, body)
        asked = self._begun(plain.namespace)
        if not self._is_quick(asked, plain):
            return self._grow(asked, body)
        asked.size_bytes = len(body)
        return asked

    def _grow(self, asked: Asked | None, body: bytes) -> Asked | None:
        """The same for a batch of any kind, which may have begun before."""
        message = parse("BatchRequest", body)
        if asked is None:
            asked = self._begun(message.namespace)
        if self._gathered is None:
            asked.atomic = message.atomic
        elif message.namespace not in {"", self._site.tenant_of(asked).name}:
            raise InvalidValue(argument="namespace", reason="not the batch's")
        self._gathered = asked
        asked.size_bytes += len(body)
        _bound(asked, message)
        if self._site.gather(asked, len(body)) is not None:
            raise Busy(gathered_bytes=self._site.gathered_bytes)
        asked.calls = [*asked.calls, *operations_of(message, asked.count)]
        asked.count = len(asked.calls)
        if message.more:
            return None
        self._gathered = None
        self._number(asked)
        return asked

    def _begun(self, namespace: str) -> Asked:
        asked = Asked(self._site, self._context, dict(self._last.headers))
        asked.aim(namespace)
        self._open.add(asked)
        self._site.admit_call(asked, BATCH, 0)
        return asked

    def _is_quick(self, asked: Asked, plain: quick.Plain) -> bool:
        """Whether a plain batch is not too large, and the caller may ask all of it."""
        count, site = len(plain.keys), self._site
        if count > (BATCH_OPERATIONS if plain.values else AT_ONCE) or SESSION in asked.headers:
            return False
        tenant, principal = site.tenant_of(asked), asked.principal
        verb = "store" if plain.values else "load"
        passes = site.door.passes
        if principal is None or not passes(principal, tenant.name, verb, asked.address):
            return False
        asked.plain, asked.kind = plain, "write" if plain.values else "read"
        return True

    def _number(self, asked: Asked) -> None:
        """Give the batch the numbers behind those of the batches before it."""
        if SESSION not in asked.headers:
            return
        mine = self._numbered or numbered_of(asked.headers)
        if mine is not None:
            asked.headers[SESSION] = numbered_text(mine)
            self._numbered = Numbered(mine.session, mine.number + len(asked.calls), mine.floor)

    # -- carrying out -----------------------------------------------------------------------

    async def _read_in_turn(self, asked: Asked) -> None:
        """Answer loads whose values lie in memory; others are carried out on a thread.

        Behind what is due they wait for it and are looked for then: were they sent to a
        thread for that, a stream that is never idle would go there for ever after one miss.
        """
        while self._due:
            await self._room_made()
        asked.began_ns = self._site.clock.monotonic_ns()
        answer = _look(self._site, asked)
        if answer is None:
            asked.take_long()
            await self._begin_in_turn(asked)
            return
        self._let_go(asked)
        self._note(asked, answer)
        await self._send(asked)

    async def _begin_in_turn(self, asked: Asked) -> None:
        """Begin a batch, when what is under way may be beside it."""
        while self._due and not (asked.kind == "write" and self._may_join(asked)):
            await self._room_made()
        asked.owner = self
        if asked.kind == "write":
            await self._store(asked)
        else:
            self._wait_for(asked)
            self._site.begin(asked)

    def _may_join(self, asked: Asked) -> bool:
        """Whether stores may be begun beside what is due: their lanes keep the order of each key.

        Unless ranges changed meanwhile: then a key may have another lane.
        """
        ranges = self._site.corridor.directory.version
        size = asked.size_bytes + self._due_bytes
        return self._due[-1].kind == "write" and self._ranges == ranges and size <= BESIDE_BYTES

    async def _store(self, asked: Asked) -> None:
        """Have plain stores carried out; while too much waits, after what this stream has due.

        Raises:
            Busy, RateLimited: too much waits of others.
        """
        while True:
            try:
                _store(self._site, asked)
            except (Busy, RateLimited):
                if not self._due:
                    raise
                await self._room_made()
            else:
                break
        self._ranges = self._site.corridor.directory.version
        self._wait_for(asked)

    def _wait_for(self, asked: Asked) -> None:
        """Answer a batch in its turn."""
        self._due.append(asked)
        self._due_bytes += asked.size_bytes

    def answered(self, request: Request) -> None:
        """A batch has its answer."""
        self._unsent_bytes += sum(map(len, cast("Asked", request).messages))
        self._changed.set()

    def read_on(self) -> None:
        """Nothing here is taken in by bits."""

    def forget(self) -> None:
        """Let go of what was gathered and not answered."""
        for asked in self._open:
            self._site.forget(asked)

    # -- answering --------------------------------------------------------------------------

    def finish(self, last: Called, answer: Answer) -> None:
        """End the stream, with what all of it cost."""
        site, context = self._site, self._context
        site.note(last, answer)
        trailers = trailers_of(
            site, last.tenant or self._tenant, self._cost_atto + answer.cost_atto
        )
        if answer.status < BAD:
            context.set_trailing_metadata(trailers)
        else:
            refuse(site, last.number, answer, trailers, context)
            raise Ended

    async def write(self) -> tuple[Called, Answer]:
        """Send answers as they are there, in order; the last one, at the end of the stream."""
        while True:
            while self._due and self._due[0].reply is not None:
                asked = self._due[0]
                answer = cast("Answer", asked.reply)
                self._let_go(asked)
                if answer.status >= BAD:
                    return asked, answer
                self._note(asked, answer)
                await self._send(asked)
                self._unsent_bytes -= sum(map(len, asked.messages))
                self._due.popleft()
                self._due_bytes -= asked.size_bytes
                self._room.set()
            if self._ended and not self._due:
                return self._last, self._over or Answer()
            self._changed.clear()
            await self._changed.wait()

    def _let_go(self, asked: Asked) -> None:
        self._open.discard(asked)
        self._site.forget(asked)

    def _note(self, asked: Asked, answer: Answer) -> None:
        self._site.note(asked, answer)
        self._tenant = asked.tenant
        self._cost_atto += answer.cost_atto

    async def _send(self, asked: Asked) -> None:
        for message in asked.messages:
            await self._context.write(message)


def _store(site: Site, asked: Asked) -> None:
    """Have a batch of plain stores carried out; Busy, RateLimited where too much waits."""
    asked.began_ns = site.clock.monotonic_ns()
    deadline_ns, tenant, plain = site.deadline_ns(asked), site.tenant_of(asked), asked.plain
    space = tenant.space

    def settle(outcomes: object) -> None:
        tenant.leave()
        site.conclude(asked, outcomes, partial(_stored, asked))

    site.tenants.admit(tenant)
    try:
        stores = Stores([space + key for key in plain.keys], plain.names, plain.values)
        site.lanes.put_stores(stores, settle, deadline_ns)
    except HoldfastError:
        tenant.leave()
        raise


def _stored(asked: Asked, told: object) -> Answer:
    keys = asked.plain.keys
    if isinstance(told, Receipts):
        return asked.tell_quick(quick.stored_together(told, keys), told.cost_atto * len(told))
    outcomes = cast("list[object]", told)
    late = [outcome for outcome in outcomes if isinstance(outcome, DeadlineExceeded)]
    if late:
        raise late[0]  # the batch was not begun
    results = [_result(outcome) for outcome in outcomes]
    cost_atto = sum(one.cost_atto for one in results if isinstance(one, Receipt))
    return asked.tell_quick(quick.stored(results, keys), cost_atto)


def _result(outcome: object) -> Receipt | quick.Result:
    if isinstance(outcome, Receipt):
        return outcome
    return quick.result(outcome_message("store", outcome))


def _bound(asked: Asked, message: Said) -> None:
    if asked.size_bytes > BATCH_BYTES:
        raise LimitExceeded(limit="BATCH_BYTES", most=BATCH_BYTES, asked=asked.size_bytes)
    count = asked.count + len(message.operations)
    if count > BATCH_OPERATIONS:
        raise LimitExceeded(limit="BATCH_OPERATIONS", most=BATCH_OPERATIONS, asked=count)


def _carry_out(site: Site, request: Request) -> None:
    """Carry out a batch of any operations on a thread."""
    asked = cast("Asked", request)
    run = Run(site, request, MESSAGE_VALUE_BYTES)
    whole = Batch(list(asked.calls), asked.atomic)
    site.work(
        request, lambda: run.results(whole), lambda told: asked.tell(cast("Sequence[object]", told))
    )


def _look(site: Site, asked: Asked) -> Answer | None:
    """The answer where all that is asked lies in memory; None where something does not."""
    tenant, plain = site.tenant_of(asked), asked.plain
    space = tenant.space
    if not site.charging.may_read(tenant, len(plain.keys)):
        return None  # each of them is told
    keys = [space + key for key in plain.keys]
    found = reading.load_many(site.corridor, keys, MESSAGE_VALUE_BYTES, waits=False)
    if found is None or AFAR in found:
        return None
    results: list[bytes] = []
    sizes: list[int] = []
    for name, value in zip(plain.names, found, strict=True):
        if isinstance(value, bytes):
            results += quick.loaded(value)
            sizes.append(len(value))
        else:
            results += quick.result(outcome_message("load", NotFound(key=name)))
    return asked.tell_quick(results, site.charging.loaded(tenant, sizes))


BATCH: Final = Route("batch", _carry_out, "alone")
