"""The stream of batches: each is answered in its order, and nothing waits that need not.

all reads, in memory        answered on the loop, at once
few writes, of no options   joined to their buckets' lanes; the next batch may come beside them
all else                    on a thread, when everything before it is answered
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from holdfast.errors import Busy, HoldfastError, InvalidValue, LimitExceeded, NotFound
from holdfast.limits import BATCH_BYTES, BATCH_OPERATIONS, REQUESTS_DUE
from holdfast.operations import Store
from holdfast.request import reading
from holdfast.request.arguments import compose
from holdfast.server.answers import Answer, refused
from holdfast.server.batches import Run
from holdfast.server.requests import Request
from holdfast.server.routes import Route
from holdfast.server.rpc.called import BAD, Called, Context, finish
from holdfast.server.rpc.streams import send
from holdfast.server.rpc.unary import MESSAGE_VALUE_BYTES
from holdfast.wire.batch import Batch, Call
from holdfast.wire.headers import Numbered, numbered_of, numbered_text
from holdfast.wire.problems import unreadable
from holdfast.wire.protobuf.statuses import SESSION
from holdfast.wire.protobuf.words import (
    CLASSES,
    Said,
    operations_of,
    outcome_message,
    parse,
    split,
)

if TYPE_CHECKING:
    from holdfast.server.site import Site

AT_ONCE: Final = 128  # operations that the loop answers by itself
UNSENT_BYTES: Final = 1 << 20
PLAIN: Final = 1  # the one argument of a store that has no options
Kind = Literal["read", "write", "alone"]
BatchReply = CLASSES["BatchReply"]


class Asked(Called):
    """One batch of a stream."""

    calls: Sequence[Call] = ()
    kind: Kind = "alone"
    atomic = False
    messages: tuple[bytes, ...] = ()  # its answer

    def tell(self, outcomes: Sequence[object]) -> Answer:
        """Its results as an answer."""
        results = [
            outcome_message(call.verb, outcome)
            for call, outcome in zip(self.calls, outcomes, strict=True)
        ]
        self.messages = tuple(
            [reply.SerializeToString() for reply in split(results, MESSAGE_VALUE_BYTES)]
        )
        return Answer(length=sum(map(len, self.messages)))


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
        reading = asyncio.ensure_future(stream.read(messages))
        try:
            last, answer = await stream.write()
        finally:
            reading.cancel()
            stream.forget()
        await finish(self._site, last, answer, context)


class Stream:
    """One stream of batches.

    Args:
        site: admits and carries out.
        context: the call.
    """

    def __init__(self, site: Site, context: Context) -> None:
        self._site = site
        self._context = context
        self._due: deque[Asked] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False
        self._gathered: Asked | None = None
        self._last = Called(site, context)
        self._numbered: Numbered | None = None
        self._unsent_bytes = 0
        self._over: Answer | None = None

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
            while self._is_full():
                await self._room_made()
            whole = self._gather(body)
            if whole is not None:
                await self._begin_in_turn(whole)
        if self._gathered is not None:
            raise unreadable("more of the batch was announced than came")

    async def _room_made(self) -> None:
        self._room.clear()
        await self._room.wait()

    def _is_full(self) -> bool:
        return len(self._due) >= REQUESTS_DUE or self._unsent_bytes >= UNSENT_BYTES

    def _gather(self, body: bytes) -> Asked | None:
        """The batch that this message makes whole; None where more of it is to come."""
        message = parse("BatchRequest", body)
        asked = self._gathered
        if asked is None:
            asked = Asked(self._site, self._context)
            asked.aim(message.namespace)
            asked.atomic = message.atomic
            self._site.admit_call(asked, BATCH, 0)
        elif asked.tenant is None or message.namespace not in {"", asked.tenant.name}:
            raise InvalidValue(argument="namespace", reason="not the batch's")
        self._gathered = asked
        asked.size_bytes += len(body)
        _bound(asked, message)
        if self._site.gather(asked, len(body)) is not None:
            raise Busy(gathered_bytes=self._site.gathered_bytes)
        asked.calls = [*asked.calls, *operations_of(message, len(asked.calls))]
        if message.more:
            return None
        self._gathered = None
        self._number(asked)
        asked.kind = _kind_of(self._site, asked)
        return asked

    def _number(self, asked: Asked) -> None:
        """Give the batch the numbers behind those of the batches before it."""
        if SESSION not in asked.headers:
            return
        mine = self._numbered or numbered_of(asked.headers)
        if mine is not None:
            asked.headers[SESSION] = numbered_text(mine)
            self._numbered = Numbered(mine.session, mine.number + len(asked.calls), mine.floor)

    async def _begin_in_turn(self, asked: Asked) -> None:
        """Begin a batch, when what is under way may be beside it."""
        while self._due and not (self._due[-1].kind == asked.kind != "alone"):
            await self._room_made()
        self._due.append(asked)
        asked.owner = self
        self._site.begin(asked)

    def answered(self, _request: Request) -> None:
        """A batch has its answer."""
        self._changed.set()

    def read_on(self) -> None:
        """Nothing here is taken in by bits."""

    def forget(self) -> None:
        """Let go of what was gathered and not answered."""
        for asked in (*self._due, *([self._gathered] if self._gathered else ())):
            self._site.forget(asked)

    # -- answering --------------------------------------------------------------------------

    async def write(self) -> tuple[Called, Answer]:
        """Send answers as they are there, in order; the last one, at the end of the stream."""
        while True:
            while self._due and self._due[0].reply is not None:
                asked = self._due[0]
                answer = cast("Answer", asked.reply)
                self._site.forget(asked)
                if answer.status >= BAD:
                    return asked, answer
                self._site.note(asked, answer)
                for message in asked.messages:
                    await send(self._site, self._context, message)
                self._due.popleft()
                self._room.set()
            if self._ended and not self._due:
                return self._last, self._over or Answer()
            self._changed.clear()
            await self._changed.wait()


def _bound(asked: Asked, message: Said) -> None:
    if asked.size_bytes > BATCH_BYTES:
        raise LimitExceeded(limit="BATCH_BYTES", most=BATCH_BYTES, asked=asked.size_bytes)
    count = len(asked.calls) + len(message.operations)
    if count > BATCH_OPERATIONS:
        raise LimitExceeded(limit="BATCH_OPERATIONS", most=BATCH_OPERATIONS, asked=count)


def _kind_of(site: Site, asked: Asked) -> Kind:
    """How a batch may be carried out."""
    calls = asked.calls
    if asked.atomic or not 0 < len(calls) <= AT_ONCE or SESSION in asked.headers:
        return "alone"
    verb = calls[0].verb
    if any(call.verb != verb for call in calls):
        return "alone"
    principal, tenant = asked.principal, asked.tenant
    if principal is None or tenant is None:
        return "alone"
    if not site.door.passes(principal, tenant.name, verb):
        return "alone"
    if verb == "load":
        return "alone" if any(call.arguments for call in calls) else "read"
    plain = verb == "store" and all(len(call.arguments or ()) == PLAIN for call in calls)
    return "write" if plain else "alone"


def _carry_out(site: Site, request: Request) -> Answer | None:
    asked = cast("Asked", request)
    if asked.kind == "read":
        outcomes = _look(site, asked)
        if outcomes is not None:
            return asked.tell(outcomes)
    if asked.kind == "write" and asked.gathered_bytes <= UNSENT_BYTES:
        _join(site, asked)
        return None
    run = Run(site, request, MESSAGE_VALUE_BYTES)
    whole = Batch(list(asked.calls), asked.atomic)
    site.work(request, lambda: run.results(whole), lambda told: asked.tell(cast("list[Any]", told)))
    return None


def _look(site: Site, asked: Asked) -> list[object] | None:
    """What lies in memory of all that is asked; None where something does not."""
    space = site.tenant_of(asked).space
    outcomes: list[object] = []
    for call in asked.calls:
        try:
            near = reading.look_at_row(site.corridor, compose(space, call.key))
        except NotFound:
            outcomes.append(NotFound(key=call.key))
            continue
        except HoldfastError as error:
            outcomes.append(error)
            continue
        if near is None or near[1] is None:
            return None
        outcomes.append(near[1])
    return outcomes


def _join(site: Site, asked: Asked) -> None:
    """Put each store into its bucket's lane; the batch is answered when the last is settled."""
    space = site.tenant_of(asked).space
    outcomes: list[object] = [None] * len(asked.calls)
    left = len(asked.calls)

    def settle(index: int, outcome: object) -> Answer | None:
        nonlocal left
        outcomes[index] = outcome
        left -= 1
        return None if left else asked.tell(outcomes)

    for index, call in enumerate(asked.calls):
        value = (call.arguments or {})["value"]
        try:
            operation = Store(compose(space, call.key), call.key, value)
            site.commit_all(asked, operation, partial(settle, index), len(value))
        except HoldfastError as error:
            answer = settle(index, error)
            if answer is not None:
                asked.answer(answer)


BATCH: Final = Route("batch", _carry_out, "alone")
