"""What a connection sends: frames, as many as the peer has room for.

A peer says how many bytes of each stream, and of all together, it will take (RFC 9113, section
5.2). What is over that waits here, call by call. Frames of one turn of the loop leave together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from holdfast.server.http2.bounds import BUFFER_BYTES
from holdfast.server.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_BYTES,
    HEAD,
    HEADERS,
    MOST_WINDOW,
    NO_ERROR,
    WINDOW,
    Broken,
    rst_stream,
)
from holdfast.server.http2.messages import PREFIX, PREFIX_BYTES

if TYPE_CHECKING:
    from holdfast.server.http2.call import Call

JOINED_BYTES: Final = 1 << 16  # are copied rather than sent as many pieces


class Sender:
    """The sending half of one connection.

    Args:
        loop: on which it is used.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._out: list[bytes | memoryview] = []
        self._flushing = False
        self._window = WINDOW
        self._waiting: dict[int, Call] = {}  # calls that wait for room of the connection
        self.transport: asyncio.Transport | None = None
        self.frame_bytes = FRAME_BYTES
        self.initial_window = WINDOW
        self.unsent_bytes = 0
        self.is_choked = False  # the socket takes nothing
        self.has_moved = False  # bytes of messages have left since somebody asked

    # -- the socket ----------------------------------------------------------------------

    def begin(self, transport: asyncio.BaseTransport) -> None:
        """Send by this transport from now on."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=BUFFER_BYTES)

    def add(self, frame: bytes) -> None:
        """Send a frame that needs no room."""
        self._out.append(frame)
        self._plan()

    def _plan(self) -> None:
        """See to it that what was added is flushed."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)

    def hold(self) -> None:
        """Keep what is added until it is flushed."""
        self._flushing = True

    def flush(self) -> None:
        """Hand everything to the socket."""
        self._flushing = False
        out, self._out = self._out, []
        transport = self.transport
        if transport is None or transport.is_closing() or not out:
            return
        if sum(map(len, out)) <= JOINED_BYTES:
            transport.write(b"".join(out))
        else:
            transport.writelines(out)

    # -- messages ------------------------------------------------------------------------

    def message(self, call: Call, message: bytes) -> None:
        """Send a message, now or when there is room."""
        size = PREFIX_BYTES + len(message)
        if call.unsent_bytes or size > min(call.window, self._window, self.frame_bytes):
            call.moved_s = call.moved_s if call.unsent_bytes else call.now_s
            call.unsent += (memoryview(PREFIX.pack(0, len(message))), memoryview(message))
            call.unsent_bytes += size
            self.unsent_bytes += size
            self._push(call)
            return
        call.window -= size
        self._window -= size
        self.has_moved = True
        head = HEAD.pack(size >> 8, size & 0xFF, DATA, 0, call.stream)
        self._out.append(head + PREFIX.pack(0, len(message)))
        self.add(message)

    def headers(self, stream: int, block: bytes) -> None:
        """Send what an answer begins with."""
        size = len(block)
        self.add(HEAD.pack(size >> 8, size & 0xFF, HEADERS, END_HEADERS, stream) + block)

    def end(self, call: Call, block: bytes) -> None:
        """Send what a call ends with, behind all of its messages."""
        call.last = block
        if not call.unsent_bytes:
            self._end(call, block)

    def _end(self, call: Call, block: bytes) -> None:
        size, stream = len(block), call.stream
        flags = END_HEADERS | END_STREAM
        if size > self.frame_bytes:
            raise AssertionError("trailers are bounded")
        self.add(HEAD.pack(size >> 8, size & 0xFF, HEADERS, flags, stream) + block)
        if not call.has_ended:  # the peer need not send the rest
            self.add(rst_stream(stream, NO_ERROR))
        call.gone()

    def forget(self, call: Call) -> None:
        """Send nothing more of a call."""
        self._waiting.pop(call.stream, None)
        self.unsent_bytes -= call.unsent_bytes
        call.unsent_bytes = 0
        call.unsent.clear()

    # -- room ----------------------------------------------------------------------------

    def widen(self, call: Call | None, size: int) -> None:
        """The peer has room for more, of a call or of all together.

        Raises:
            Broken: for more than can be counted.
        """
        if call is not None:
            call.window += size
            if call.window > MOST_WINDOW:
                raise Broken(FLOW_CONTROL_ERROR)
            if call.unsent_bytes:
                self._push(call)
            return
        self._window += size
        if self._window > MOST_WINDOW:
            raise Broken(FLOW_CONTROL_ERROR)
        for waiting in list(self._waiting.values()):
            if self._window <= 0:
                return
            self._push(waiting)

    def _push(self, call: Call) -> None:
        """Send as much of a call as there is room for."""
        while call.unsent_bytes:
            room = min(call.window, self._window, self.frame_bytes, call.unsent_bytes)
            if room <= 0:
                self._wait(call)
                return
            call.moved_s = call.now_s
            self.has_moved = True
            self._out.append(HEAD.pack(room >> 8, room & 0xFF, DATA, 0, call.stream))
            self._take(call.unsent, room)
            call.window -= room
            call.unsent_bytes -= room
            self._window -= room
            self.unsent_bytes -= room
        self._waiting.pop(call.stream, None)
        if call.last is not None:
            self._end(call, call.last)
        call.sent()

    def _wait(self, call: Call) -> None:
        """Remember a call that has room of its own, and waits for that of all together."""
        if call.window > 0:
            self._waiting[call.stream] = call
        else:
            self._waiting.pop(call.stream, None)

    def _take(self, unsent: deque[memoryview], size: int) -> None:
        while size:
            piece = unsent[0]
            if len(piece) <= size:
                self._out.append(unsent.popleft())
                size -= len(piece)
            else:
                self._out.append(piece[:size])
                unsent[0] = piece[size:]
                size = 0
        self._plan()
