"""One call: what came of it, what it is answered with, and its end."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

from holdfast.server.http2 import opening
from holdfast.server.http2.bounds import QUEUED_BYTES, STREAM_WINDOW
from holdfast.server.http2.frames import CANCEL, FLOW_CONTROL_ERROR, Broken
from holdfast.server.http2.messages import Incoming, Refused
from holdfast.wire.protobuf.statuses import DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, UNKNOWN

if TYPE_CHECKING:
    from holdfast.server.http2.connection import Connection
    from holdfast.server.http2.methods import Method
    from holdfast.server.http2.opening import Opening, Pair

log = logging.getLogger("holdfast.server")


class Ended(Exception):
    """What answers a call has ended it."""


class Call:
    """One call; what answers it knows it as gRPC's context.

    Args:
        connection: that it came by.
        stream: its number there.
        begun: what it began with.
        deadline_ns: when its caller will wait no longer, by the monotonic clock.
    """

    def __init__(
        self, connection: Connection, stream: int, begun: Opening, deadline_ns: int | None
    ) -> None:
        self.opening = begun
        self.stream = stream
        self.deadline_ns = deadline_ns
        self.window = connection.sender.initial_window
        self.unsent: deque[memoryview] = deque()
        self.unsent_bytes = 0
        self.last: bytes | None = None  # its trailers
        self.has_ended = False  # the caller has said everything
        self.heard_s = self.moved_s = connection.server.now_s
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        most_bytes = connection.server.bounds.message_bytes
        self._incoming = Incoming(most_bytes, packs=begun.encoding != b"identity")
        self._counted_bytes = 0  # that the server holds for it
        self._credit = 0  # bytes that the caller may send anew and does not know of
        self._is_begun = self._is_gone = self._is_told = False
        self._trailers: tuple[Pair, ...] = ()
        self._waits: asyncio.Future[None] | None = None  # what answers, for a message
        self._leaves: asyncio.Future[None] | None = None  # and for one to leave

    # -- what comes ----------------------------------------------------------------------

    @property
    def method(self) -> Method:
        """What answers it."""
        method = self.opening.method
        if method is None:
            raise AssertionError("a call without a method is refused")
        return method

    @property
    def now_s(self) -> float:
        """The time, as the server last looked."""
        return self._connection.server.now_s

    def feed(self, data: bytes, size: int) -> None:
        """Take bytes of messages, from a frame of so many.

        Raises:
            Broken: they are more than the caller was told may come.
        """
        self.heard_s = self.now_s
        self._credit += size
        if self._credit > STREAM_WINDOW:
            raise Broken(FLOW_CONTROL_ERROR)
        if self.last is not None:
            return
        try:
            self._incoming.feed(data)
        except Refused as error:
            self.refuse(error.number, error.text)
            return
        if not self._count():
            self.refuse(UNAVAILABLE, "too much waits")
            return
        self._give()
        if self.method.asks_many:
            self._begin()
            self._wake()

    def start(self) -> None:
        """Have it answered before anything more has come."""
        self._begin()

    def end(self) -> None:
        """The caller has said everything."""
        self.has_ended = True
        if self.last is not None:
            return
        if self._incoming.part_bytes:
            self.refuse(INTERNAL, "it ends within a message")
        elif not self.method.asks_many and len(self._incoming.whole) != 1:
            self.refuse(INTERNAL, "one message was expected")
        else:
            self._begin()
            self._wake()

    def look(self, now_s: float, now_ns: int) -> None:
        """End it if it takes longer than it may."""
        bounds = self._connection.server.bounds
        is_late = self.deadline_ns is not None and self.deadline_ns <= now_ns
        if is_late or (self._is_waited_for and now_s - self.heard_s > bounds.body_s):
            self.expire()
        elif self.unsent_bytes and now_s - self.moved_s > bounds.send_s:
            self.cancel()

    @property
    def _is_waited_for(self) -> bool:
        """Whether its caller must go on with a message, and was not told to wait."""
        incoming = self._incoming
        expected = incoming.part_bytes > 0 or not (self._is_begun or self.has_ended)
        return expected and incoming.held_bytes < QUEUED_BYTES

    def _count(self) -> bool:
        """Tell the server what is held; whether it may be."""
        if self._is_gone:
            return True
        held = self._incoming.held_bytes + self._incoming.part_bytes
        server = self._connection.server
        server.held_bytes += held - self._counted_bytes
        self._counted_bytes = held
        return server.held_bytes <= server.bounds.held_bytes

    def _give(self) -> None:
        """Let the caller send more, unless enough waits here."""
        if (
            self._credit >= STREAM_WINDOW // 2
            and self._incoming.held_bytes < QUEUED_BYTES
            and not self.has_ended
        ):
            self._connection.give(self.stream, self._credit)
            self._credit = 0

    def _wake(self) -> None:
        waits = self._waits
        if waits is not None and not waits.done():
            waits.set_result(None)

    def take(self) -> bytes | None:
        """The next message, if it is there."""
        if not self._incoming.whole:
            return None
        message = self._incoming.take()
        self._count()
        self._give()
        return message

    async def __anext__(self) -> bytes:
        """The next message."""
        while (message := self.take()) is None:
            if self.has_ended:
                raise StopAsyncIteration
            self._waits = asyncio.get_running_loop().create_future()
            await self._waits
        return message

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Its messages."""
        return self

    # -- answering -----------------------------------------------------------------------

    def _begin(self) -> None:
        """Have it answered."""
        if self._is_begun:
            return
        self._is_begun = True
        self._connection.begin(self)

    def go(self) -> None:
        """Have it answered now."""
        if self._is_gone:
            return
        begin = self.method.begin
        if begin is None:
            self.task = asyncio.ensure_future(self._run())
            self.task.add_done_callback(self._done)
            return
        try:
            begin(self.take() or b"", self)
        except Exception:
            log.exception("a call failed")
            self.refuse(UNKNOWN, "the server has a fault")

    def _done(self, _task: object) -> None:
        if self._is_gone:
            self._connection.server.under_way -= 1

    async def _run(self) -> None:
        try:
            await self._answer()
        except Ended:
            pass
        except asyncio.CancelledError:
            self.cancel()
        except Exception:
            log.exception("a call failed")
            self.refuse(UNKNOWN, "the server has a fault")
        else:
            self._finish()

    async def _answer(self) -> None:
        method = self.method
        asked: Any = self
        if not method.asks_many:
            asked = self.take()
        if method.read is not None:
            asked = self._read(method) if method.asks_many else method.read(asked)
        if method.answer is None:
            raise AssertionError("it is answered by begin")
        told = method.answer(asked, self)
        if isinstance(told, AsyncIterator):
            async for message in told:
                await self.write(message)
            return
        message = await told
        if not method.tells_many:
            self.message(self._bytes_of(message))

    def _bytes_of(self, message: Any) -> bytes:  # noqa: ANN401 - what its method tells
        written = self.method.written
        told: bytes = message if written is None else written(message)
        return told

    async def _read(self, method: Method) -> AsyncIterator[Any]:
        async for message in self:
            yield message if method.read is None else method.read(message)

    def message(self, message: bytes) -> None:
        """Send a message, when there is room."""
        if self._is_gone:
            return
        sender = self._connection.sender
        if not self._is_told:
            self._is_told = True
            sender.headers(self.stream, opening.BEGUN)
        sender.message(self, message)

    def reply(self, message: bytes, trailers: Iterable[Pair]) -> None:
        """End a call well, by its only message."""
        self.message(message)
        self._end(opening.WELL + opening.fields_of(trailers))

    def refuse(self, number: int, text: str, trailers: Iterable[Pair] = ()) -> None:
        """End a call that did not go well, by a status of gRPC's."""
        self._end(opening.refused(number, text, trailers))

    def _finish(self) -> None:
        self._end(opening.WELL + opening.fields_of(self._trailers))

    def _end(self, block: bytes) -> None:
        if self._is_gone or self.last is not None:
            return
        if not self._is_told:
            self._is_told = True
            block = opening.status_of(self.opening.http_status) + opening.GRPC + block
        self._connection.sender.end(self, block)

    def sent(self) -> None:
        """All of its messages have left."""
        if self._leaves is not None and not self._leaves.done():
            self._leaves.set_result(None)

    # -- as grpc's context ---------------------------------------------------------------

    @property
    def is_gone(self) -> bool:
        """Whether it is over, or was given up."""
        return self._is_gone

    @property
    def host(self) -> str:
        """The address of whoever is at the other end."""
        return self._connection.host

    def invocation_metadata(self) -> tuple[Pair, ...]:
        """What the caller says beside the message."""
        return self.opening.metadata

    def left_ns(self) -> int | None:
        """Nanoseconds until its deadline, at least 0; None where it has none."""
        if self.deadline_ns is None:
            return None
        return max(0, self.deadline_ns - self._connection.server.clock.monotonic_ns())

    def set_trailing_metadata(self, trailers: Iterable[Pair]) -> None:
        """Say what a call that goes well ends with."""
        self._trailers = tuple(trailers)

    async def write(self, message: Any) -> None:  # noqa: ANN401 - as its method tells it
        """Send one of several messages; returns when it has left."""
        self.message(self._bytes_of(message))
        while (self.unsent_bytes or self._connection.sender.is_choked) and not self._is_gone:
            self._leaves = asyncio.get_running_loop().create_future()
            await self._leaves

    async def abort(
        self,
        code: Any,  # noqa: ANN401 - grpc ships without types
        details: str = "",
        trailing_metadata: Iterable[Pair] = (),
    ) -> None:
        """End a call that did not go well, by one of grpc's own statuses.

        Raises:
            Ended: always.
        """
        number: int = code.value[0]
        self.refuse(number, details, trailing_metadata)
        raise Ended

    # -- its end -------------------------------------------------------------------------

    def expire(self) -> None:
        """Its deadline has passed."""
        self._connection.sender.forget(self)
        self.refuse(DEADLINE_EXCEEDED, "Deadline Exceeded")
        self._stop()

    def cancel(self) -> None:
        """Give it up, and say so."""
        if not self._is_gone:
            self._connection.reset(self, CANCEL)
        self._stop()

    def dropped(self) -> None:
        """The caller has given it up, or is gone."""
        self._connection.sender.forget(self)
        self.gone()
        self._stop()

    def _stop(self) -> None:
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()

    def gone(self) -> None:
        """Nothing of it will be sent any more."""
        if self._is_gone:
            return
        self._is_gone = True
        server = self._connection.server
        if self.task is None or self.task.done():
            server.under_way -= 1
        server.held_bytes -= self._counted_bytes
        self._counted_bytes = 0
        self._connection.calls.pop(self.stream, None)
        self.sent()
