"""The stream of batches: each is answered in its order, and nothing waits that need not.

plain loads, in memory    answered on the loop, at once
plain stores              on a thread; what comes meanwhile shares the next commit
all else                  on a thread, when everything before it is answered
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, cast

from holdfast.errors import (
    Busy,
    DeadlineExceeded,
    HoldfastError,
    InvalidValue,
    LimitExceeded,
    NotFound,
)
from holdfast.limits import BATCH_BYTES, BATCH_OPERATIONS, REQUESTS_DUE
from holdfast.request import reading
from holdfast.server.answers import Answer, refused
from holdfast.server.batches import Run
from holdfast.server.requests import Request
from holdfast.server.routes import Route
from holdfast.server.rpc.called import BAD, Called, Context, finish
from holdfast.server.rpc.unary import MESSAGE_VALUE_BYTES
from holdfast.values import Receipt
from holdfast.wire.batch import Batch, Call
from holdfast.wire.headers import Numbered, numbered_of, numbered_text
from holdfast.wire.problems import unreadable
from holdfast.wire.protobuf import quick
from holdfast.wire.protobuf.statuses import SESSION
from holdfast.wire.protobuf.words import Said, operations_of, outcome_message, parse, split

if TYPE_CHECKING:
    from holdfast.server.site import Site

AT_ONCE: Final = 256  # operations that the loop answers by itself
UNSENT_BYTES: Final = 1 << 20
Kind = Literal["read", "write", "alone"]


class Asked(Called):
    """One batch of a stream."""

    atomic = False
    calls: Sequence[Call] = ()
    count = 0  # operations so far
    kind: Kind = "alone"
    loads: Sequence[bytes] = ()
    messages: Sequence[bytes] = ()  # its answer
    stores: Sequence[tuple[str, bytes, bytes]] = ()
    until_ns: int | None = None  # when it may no longer be begun

    def tell(self, outcomes: Sequence[object]) -> Answer:
        """The results of its calls as an answer."""
        results = [
            outcome_message(call.verb, outcome)
            for call, outcome in zip(self.calls, outcomes, strict=True)
        ]
        self.messages = [reply.SerializeToString() for reply in split(results, MESSAGE_VALUE_BYTES)]
        return Answer(length=sum(map(len, self.messages)))

    def tell_quick(self, results: Sequence[bytes]) -> Answer:
        """Its results, as they are written already, as an answer of one message."""
        body = b"".join(results)
        self.messages = (body,)
        return Answer(length=len(body))


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
        watch = Watch(self._site, stream)
        try:
            last, answer = await stream.write()
        finally:
            watch.stop()
            reading_on.cancel()
            stream.forget()
        await finish(self._site, last, answer, context)


class Watch:
    """Sees that a caller who reads nothing does not keep a stream for ever.

    Args:
        site: says how long it may.
        stream: that is watched; its handler's task is the one that runs.
    """

    def __init__(self, site: Site, stream: Stream) -> None:
        self._site = site
        self._stream = stream
        self._task = asyncio.current_task()
        self._timer = site.loop.call_later(site.settings.send_s, self._look)

    def _look(self) -> None:
        since_s, most_s = self._stream.sending_since_s, self._site.settings.send_s
        if since_s is not None and self._site.now_s - since_s >= most_s and self._task is not None:
            self._task.cancel()
            return
        self._timer = self._site.loop.call_later(most_s, self._look)

    def stop(self) -> None:
        """The stream has ended."""
        self._timer.cancel()


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
        self._due: deque[Asked] = deque()
        self._ended = False
        self._gathered: Asked | None = None
        self._last = Called(site, context)
        self._numbered: Numbered | None = None
        self._over: Answer | None = None
        self._room = asyncio.Event()
        self._stores = Stores(site)
        self._unsent_bytes = 0  # of answers that nobody took
        self.sending_since_s: float | None = None

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
            if asked.kind == "read" and not self._due:
                await self._answer_now(asked)
            else:
                await self._begin_in_turn(asked)
        if self._gathered is not None:
            raise unreadable("more of the batch was announced than came")

    async def _room_made(self) -> None:
        self._room.clear()
        await self._room.wait()

    def _gather(self, body: bytes) -> Asked | None:
        """The batch that this message makes whole; None where more of it is to come."""
        message = parse("BatchRequest", body)
        asked = self._gathered
        if asked is None:
            asked = self._begun(message)
            self._site.admit_call(asked, BATCH, 0)
            if not message.more and self._is_quick(asked, message):
                asked.size_bytes = len(body)
                return asked
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

    def _begun(self, message: Said) -> Asked:
        asked = Asked(self._site, self._context, dict(self._last.headers))
        asked.aim(message.namespace)
        asked.atomic = message.atomic
        return asked

    def _is_quick(self, asked: Asked, message: Said) -> bool:
        """Whether a batch is of plain loads, or of plain stores, that the caller may ask all."""
        operations = message.operations
        if asked.atomic or SESSION in asked.headers or not operations:
            return False
        verb = operations[0].WhichOneof("verb")
        tenant, principal = self._site.tenant_of(asked), asked.principal
        if verb not in {"load", "store"} or principal is None:
            return False
        if not self._site.door.passes(principal, tenant.name, verb):
            return False
        if verb == "load" and len(operations) <= AT_ONCE:
            asked.loads = quick.plain_loads(operations) or ()
        if verb == "store" and len(operations) <= BATCH_OPERATIONS:
            asked.stores = quick.plain_stores(operations) or ()
        if asked.loads or asked.stores:
            asked.kind = "read" if asked.loads else "write"
        return asked.kind != "alone"

    def _number(self, asked: Asked) -> None:
        """Give the batch the numbers behind those of the batches before it."""
        if SESSION not in asked.headers:
            return
        mine = self._numbered or numbered_of(asked.headers)
        if mine is not None:
            asked.headers[SESSION] = numbered_text(mine)
            self._numbered = Numbered(mine.session, mine.number + len(asked.calls), mine.floor)

    # -- carrying out -----------------------------------------------------------------------

    async def _answer_now(self, asked: Asked) -> None:
        """Answer loads whose values lie in memory; of others the thread's answer is waited for."""
        asked.began_ns = self._site.clock.monotonic_ns()
        results = _look(self._site, asked)
        if results is None:
            asked.calls = [Call("load", key.decode()) for key in asked.loads]
            asked.kind = "alone"
            await self._begin_in_turn(asked)
            return
        self._site.note(asked, asked.tell_quick(results))
        await self._send(asked)

    async def _begin_in_turn(self, asked: Asked) -> None:
        """Begin a batch, when what is under way may be beside it."""
        if asked.kind == "read":  # it is not alone any more
            asked.calls = [Call("load", key.decode()) for key in asked.loads]
            asked.kind = "alone"
        while self._due and not (self._due[-1].kind == asked.kind == "write"):
            await self._room_made()
        self._due.append(asked)
        asked.owner = self
        if asked.kind == "write":
            self._stores.put(asked)
        else:
            self._site.begin(asked)

    def answered(self, request: Request) -> None:
        """A batch has its answer."""
        self._unsent_bytes += sum(map(len, cast("Asked", request).messages))
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
                await self._send(asked)
                self._unsent_bytes -= sum(map(len, asked.messages))
                self._due.popleft()
                self._room.set()
            if self._ended and not self._due:
                return self._last, self._over or Answer()
            self._changed.clear()
            await self._changed.wait()

    async def _send(self, asked: Asked) -> None:
        self.sending_since_s = self._site.now_s
        for message in asked.messages:
            await self._context.write(message)
        self.sending_since_s = None


class Stores:
    """Plain stores of one stream on their way: what comes while some are stored is stored next.

    Args:
        site: has the threads.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._waiting: list[Asked] = []
        self._busy = False

    def put(self, asked: Asked) -> None:
        """Have a batch stored; RateLimited where its namespace has too much under way."""
        asked.began_ns = self._site.clock.monotonic_ns()
        asked.until_ns = self._site.deadline_ns(asked)
        self._site.tenants.admit(self._site.tenant_of(asked))
        self._waiting.append(asked)
        self._go_on()

    def _go_on(self) -> None:
        if self._busy or not self._waiting:
            return
        group, self._waiting = self._waiting, []
        self._busy = True
        self._site.write(lambda: self._store(group), lambda told: self._stored(group, told))

    def _store(self, group: list[Asked]) -> list[Answer]:
        """Store all of a group, on a thread; the answer of each."""
        now_ns = self._site.clock.monotonic_ns()
        due = [one for one in group if one.until_ns is None or one.until_ns > now_ns]
        keys = [self._site.tenant_of(one).space + raw for one in due for _, raw, _ in one.stores]
        names = [name for one in due for name, _, _ in one.stores]
        values = [value for one in due for _, _, value in one.stores]
        outcomes: Sequence[object]
        try:
            outcomes = self._site.corridor.store_each((keys, names, values))
        except HoldfastError as error:
            outcomes = [error] * len(keys)
        left = iter(outcomes)
        return [
            _told(one, [next(left) for _ in one.stores])
            if one.until_ns is None or one.until_ns > now_ns
            else refused(DeadlineExceeded())
            for one in group
        ]

    def _stored(self, group: list[Asked], told: object) -> None:
        for index, asked in enumerate(group):
            self._site.tenant_of(asked).under_way -= 1
            if isinstance(told, BaseException):
                asked.answer(self._site.fault(told))
            else:
                asked.answer(cast("list[Answer]", told)[index])
        self._busy = False
        self._go_on()


def _told(asked: Asked, outcomes: Sequence[object]) -> Answer:
    return asked.tell_quick(
        [
            quick.stored(outcome, raw)
            if isinstance(outcome, Receipt)
            else quick.result(outcome_message("store", outcome))
            for (_, raw, _), outcome in zip(asked.stores, outcomes, strict=True)
        ]
    )


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


def _look(site: Site, asked: Asked) -> list[bytes] | None:
    """What lies in memory of all that is asked; None where something does not."""
    space, corridor = site.tenant_of(asked).space, site.corridor
    results: list[bytes] = []
    size = 0
    for key in asked.loads:
        try:
            near = reading.look_at_row(corridor, space + key)
        except HoldfastError as error:
            told = NotFound(key=key.decode()) if isinstance(error, NotFound) else error
            results.append(quick.result(outcome_message("load", told)))
            continue
        if near is None or near[1] is None:
            return None
        size += len(near[1])
        if size > MESSAGE_VALUE_BYTES:
            return None
        results.append(quick.loaded(near[1]))
    return results


BATCH: Final = Route("batch", _carry_out, "alone")
