"""One connection: frames come in and become calls; what the peer breaks ends it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from holdfast.server.http2 import frames
from holdfast.server.http2.bounds import (
    BLOCK_BYTES,
    CONNECTION_WINDOW,
    IDLE_FRAMES,
    LINGER_S,
    PING_S,
    PONG_S,
    STREAM_WINDOW,
    TAKEN_BYTES,
    TURN,
    UNSENT_BYTES,
)
from holdfast.server.http2.call import Call
from holdfast.server.http2.frames import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_BYTES,
    FRAME_SIZE_ERROR,
    HEAD_BYTES,
    NO_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_BITS,
    Broken,
)
from holdfast.server.http2.heads import Heads
from holdfast.server.http2.opening import Malformed, Opening
from holdfast.server.http2.sending import Sender
from holdfast.wire.protobuf.statuses import RESOURCE_EXHAUSTED

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.server.http2.server import Http2Server

PING_BYTES: Final = 8
EVERY: Final = STREAM_BITS


class Connection(asyncio.Protocol):
    """The protocol of one connection, on the loop.

    Args:
        server: whose methods are called.
    """

    def __init__(self, server: Http2Server) -> None:
        self.server = server
        self.calls: dict[int, Call] = {}
        self.host = ""
        self.sender = Sender(server.loop)
        self._transport: asyncio.Transport | None = None
        self._heads = Heads(server.bounds, server.methods)
        self._rest = b""
        self._preface = PREFACE  # what of it has not come
        self._is_set_up = False  # its settings have come
        self._begins: deque[Call] = deque()  # calls that have come, and wait to be begun
        self._credit = CONNECTION_WINDOW  # that the peer may send before we say go on
        self._last = 0  # the highest stream that began
        self._most = EVERY  # that may begin
        self._work = 0  # in this turn
        self._is_pausing = self._is_over = False
        self._idle_frames = 0
        self._since_s = self._heard_s = self._choked_s = self._ended_s = server.now_s
        self._stuck_since_s: float | None = None  # with a part of a frame, or of a header
        self._is_pinged = False
        self._sees: dict[int, Callable[[int, int, bytes], None]] = {
            frames.DATA: self._see_data,
            frames.HEADERS: self._see_headers,
            frames.PRIORITY: self._see_priority,
            frames.RST_STREAM: self._see_rst_stream,
            frames.SETTINGS: self._see_settings,
            frames.PUSH_PROMISE: self._see_push_promise,
            frames.PING: self._see_ping,
            frames.GOAWAY: self._see_goaway,
            frames.WINDOW_UPDATE: self._see_window_update,
            frames.CONTINUATION: self._see_continuation,
        }

    # -- the transport -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Tell our settings, and how much may come."""
        self.sender.begin(transport)
        self._transport = self.sender.transport
        self.host = (transport.get_extra_info("peername") or ("",))[0]
        if not self.server.enter(self):
            self._is_over = True
            transport.close()
            return
        bounds = self.server.bounds
        told = {
            frames.MAX_CONCURRENT_STREAMS: bounds.calls,
            frames.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            frames.MAX_FRAME_SIZE: TAKEN_BYTES,
            frames.MAX_HEADER_LIST_SIZE: bounds.header_bytes,
        }
        self.sender.add(frames.settings(told))
        self.sender.add(frames.window_update(0, CONNECTION_WINDOW - frames.WINDOW))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Everything under way is given up."""
        self._is_over = True
        self.server.leave(self)
        for call in list(self.calls.values()):
            call.dropped()

    def pause_writing(self) -> None:
        """The peer takes nothing: nothing more is taken from it."""
        self.sender.is_choked = True
        self._choked_s = self.server.now_s
        self._pause()

    def resume_writing(self) -> None:
        """It does again."""
        self.sender.is_choked = False
        for call in list(self.calls.values()):
            call.sent()
        self._take_on()

    def eof_received(self) -> bool:
        """The peer says nothing more; answers would go nowhere."""
        return False

    def _pause(self) -> None:
        if self._transport is not None and not self._is_pausing:
            self._is_pausing = True
            self._transport.pause_reading()

    def _take_on(self) -> None:
        """Go on with what has come, and with reading."""
        if not self._is_pausing or self.sender.is_choked or self._is_over:
            return
        self._is_pausing = False
        if self._transport is not None:
            self._transport.resume_reading()
        self.data_received(b"")

    # -- frames ------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if self._is_over:
            return
        self._heard_s = self.server.now_s
        self._is_pinged = False
        self._work = 0
        self.sender.hold()
        try:
            self._take_all(data)
            self._go_on()
        except Broken as error:
            self.fail(error.code)
        self.sender.flush()

    def _take_all(self, data: bytes) -> None:
        """Take frames, the first of which may have begun before: what is behind is not copied."""
        rest, stop = self._rest, 0
        if rest:
            stop = frames.lacking(rest, data)
            if self._preface or not 0 < stop < len(data):
                data, stop = rest + data, 0
            else:
                self._take(rest + data[:stop])
                if self._rest:  # what came is more than one turn may take
                    data, stop = self._rest + data[stop:], 0
        self._take(data, stop)

    def _take(self, data: bytes, at: int = 0) -> None:
        end = len(data)
        if self._preface:
            at = self._greet(data)
        head = frames.HEAD.unpack_from
        begun = at
        while end - at >= HEAD_BYTES and not (self._is_pausing or self._is_over):
            high, low, kind, flags, stream = head(data, at)
            stop = at + HEAD_BYTES + (high << 8 | low)
            if stop - at - HEAD_BYTES > TAKEN_BYTES:
                raise Broken(FRAME_SIZE_ERROR)
            if stop > end:
                break
            payload = data[at + HEAD_BYTES : stop]
            at = stop
            if self._heads.is_open and kind != frames.CONTINUATION:
                raise Broken(PROTOCOL_ERROR)
            self._sees.get(kind, _nothing)(flags, stream & STREAM_BITS, payload)
        self._rest = data[at:] if at < end else b""
        if not self._rest and not self._heads.is_open:
            self._stuck_since_s = None
        elif at > begun or self._stuck_since_s is None:
            self._stuck_since_s = self.server.now_s

    def _greet(self, data: bytes) -> int:
        """Take what every connection begins with; where that ends."""
        size = min(len(data), len(self._preface))
        if data[:size] != self._preface[:size]:
            raise Broken(PROTOCOL_ERROR)
        self._preface = self._preface[size:]
        return size

    def _tire(self, weight: int) -> None:
        """Count work; over a bound the rest of what came waits for the loop's next turn."""
        self._work += weight
        if self._work >= TURN and not self._is_pausing:
            self._pause()
            self.server.loop.call_soon(self._take_on)

    def _note_idle(self) -> None:
        """A frame that carries nothing: too many of them are an attack."""
        if self.sender.has_moved:
            self.sender.has_moved, self._idle_frames = False, 0
        self._idle_frames += 1
        if self._idle_frames > IDLE_FRAMES:
            raise Broken(ENHANCE_YOUR_CALM)

    # -- calls -------------------------------------------------------------------------------

    def _see_headers(self, flags: int, stream: int, payload: bytes) -> None:
        if not stream & 1 or not self._is_set_up:
            raise Broken(PROTOCOL_ERROR)
        head = self._heads.begin(flags, stream, payload)
        if head is not None:
            self._headed(*head)

    def _see_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        head = self._heads.go_on(flags, stream, payload)
        if head is not None:
            self._headed(*head)

    def _headed(self, stream: int, flags: int, block: bytes) -> None:
        """A header is whole."""
        has_ended = bool(flags & frames.END_STREAM)
        self._tire(1 + len(block) // BLOCK_BYTES)
        if stream <= self._last:
            self._heads.skip(block)
            call = self.calls.get(stream)
            if call is not None:
                if not has_ended or call.has_ended:
                    raise Broken(PROTOCOL_ERROR)
                call.end()
            return
        self._last = stream
        try:
            begun = self._heads.opening(block)
        except Malformed:
            self.sender.add(frames.rst_stream(stream, PROTOCOL_ERROR))
            return
        if stream > self._most or len(self.calls) >= self.server.bounds.calls:
            self.sender.add(frames.rst_stream(stream, REFUSED_STREAM))
            return
        self._open(stream, begun, has_ended=has_ended)

    def _open(self, stream: int, begun: Opening, *, has_ended: bool) -> None:
        server = self.server
        deadline_ns = None
        if begun.timeout_ns is not None:
            deadline_ns = server.clock.monotonic_ns() + begun.timeout_ns
        call = self.calls[stream] = Call(self, stream, begun, deadline_ns)
        server.under_way += 1
        call.has_ended = has_ended
        if begun.refusal is not None:
            call.refuse(*begun.refusal)
        elif server.under_way > server.bounds.calls:
            call.refuse(RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
        elif has_ended:
            call.end()
        elif call.method.asks_many:
            call.start()

    def begin(self, call: Call) -> None:
        """Have a call answered behind all that came with it: that may take it back."""
        self._begins.append(call)

    def _go_on(self) -> None:
        """Begin calls, as long as enough of the answers before them has left."""
        while self._begins and self.sender.unsent_bytes <= UNSENT_BYTES:
            self._idle_frames = 0
            self._begins.popleft().go()

    def _spend(self, size: int) -> None:
        """Count bytes that came against those that may."""
        self._credit -= size
        if self._credit < 0:
            raise Broken(FLOW_CONTROL_ERROR)
        if self._credit < CONNECTION_WINDOW // 2:
            self.give(0, CONNECTION_WINDOW - self._credit)
            self._credit = CONNECTION_WINDOW

    def _see_data(self, flags: int, stream: int, payload: bytes) -> None:
        size = len(payload)
        self._spend(size)
        piece = frames.unpadded(payload, flags)
        call = self.calls.get(stream)
        if call is None:
            if not stream or stream > self._last:
                raise Broken(PROTOCOL_ERROR)
            return
        if call.has_ended:
            raise Broken(frames.STREAM_CLOSED)
        has_ended = flags & frames.END_STREAM
        if not size and not has_ended:
            self._note_idle()
        if size:
            self._idle_frames = 0
            call.feed(piece, size)
        if has_ended:
            call.end()

    def give(self, stream: int, size: int) -> None:
        """Let the peer send so many bytes more."""
        self.sender.add(frames.window_update(stream, size))

    def reset(self, call: Call, code: int) -> None:
        """Give a call up, and tell the peer."""
        self.sender.forget(call)
        self.sender.add(frames.rst_stream(call.stream, code))
        call.gone()

    def _see_rst_stream(self, _flags: int, stream: int, payload: bytes) -> None:
        if len(payload) != frames.LONG.size:
            raise Broken(FRAME_SIZE_ERROR)
        if not stream or stream > self._last:
            raise Broken(PROTOCOL_ERROR)
        self._note_idle()
        call = self.calls.get(stream)
        if call is not None:
            call.dropped()

    # -- of the connection -------------------------------------------------------------------

    def _see_settings(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise Broken(PROTOCOL_ERROR)
        if flags & frames.ACK and not payload:
            return
        if flags & frames.ACK or len(payload) % frames.SETTING.size:
            raise Broken(FRAME_SIZE_ERROR)
        self._is_set_up = True
        self._note_idle()
        self._tire(1 + len(self.calls) // 8)
        sender, window = self.sender, self.sender.initial_window
        for name, value in dict(frames.SETTING.iter_unpack(payload)).items():
            self._set(name, value)
        # Before anything that only they let pass: a peer goes by them once it has read this.
        sender.add(frames.frame(frames.SETTINGS, frames.ACK, 0))
        if sender.initial_window != window:
            for call in list(self.calls.values()):
                sender.widen(call, sender.initial_window - window)

    def _set(self, name: int, value: int) -> None:
        sender = self.sender
        if name == frames.INITIAL_WINDOW_SIZE:
            if value > frames.MOST_WINDOW:
                raise Broken(FLOW_CONTROL_ERROR)
            sender.initial_window = value
        elif name == frames.MAX_FRAME_SIZE:
            if not FRAME_BYTES <= value <= frames.MOST_FRAME_BYTES:
                raise Broken(PROTOCOL_ERROR)
            sender.frame_bytes = value
        elif name == frames.ENABLE_PUSH and value > 1:
            raise Broken(PROTOCOL_ERROR)

    def _see_window_update(self, _flags: int, stream: int, payload: bytes) -> None:
        if len(payload) != frames.LONG.size:
            raise Broken(FRAME_SIZE_ERROR)
        size = frames.LONG.unpack(payload)[0] & STREAM_BITS
        if not size or stream > self._last:
            raise Broken(PROTOCOL_ERROR)
        self._note_idle()
        call = self.calls.get(stream)
        if call is not None or not stream:
            self.sender.widen(call, size)

    def _see_ping(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise Broken(PROTOCOL_ERROR)
        if len(payload) != PING_BYTES:
            raise Broken(FRAME_SIZE_ERROR)
        if not flags & frames.ACK:
            self._note_idle()
            self.sender.add(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _see_priority(self, _flags: int, stream: int, payload: bytes) -> None:
        if not stream:
            raise Broken(PROTOCOL_ERROR)
        if len(payload) != frames.PRIORITY_BYTES:
            raise Broken(FRAME_SIZE_ERROR)
        self._note_idle()

    def _see_push_promise(self, _flags: int, _stream: int, _payload: bytes) -> None:
        raise Broken(PROTOCOL_ERROR)

    def _see_goaway(self, _flags: int, stream: int, _payload: bytes) -> None:
        if stream:
            raise Broken(PROTOCOL_ERROR)
        self._most = self._last  # calls under way go on
        self.close_if_done()

    # -- its end -----------------------------------------------------------------------------

    def fail(self, code: int) -> None:
        """End the connection, for this reason."""
        if self._is_over:
            return
        self._is_over = True
        self._ended_s = self.server.now_s
        self.sender.add(frames.goaway(self._last, code))
        self.sender.flush()
        for call in list(self.calls.values()):
            call.dropped()
        transport = self._transport
        if transport is None:
            return
        if transport.can_write_eof():  # what still comes is read, or the reason would be lost
            transport.write_eof()
        else:
            transport.close()

    def drain(self) -> None:
        """Take no more calls; close when those under way are answered."""
        if self._is_over:
            self.abort()
            return
        self._most = self._last
        self.sender.add(frames.goaway(self._last, NO_ERROR))
        self.close_if_done()

    def abort(self) -> None:
        """Close at once."""
        self._is_over = True
        if self._transport is not None:
            self._transport.abort()

    def close_if_done(self) -> None:
        """Close, if nothing is under way."""
        if not self.calls and not self._is_over and self._transport is not None:
            self._is_over = True
            self.sender.flush()
            self._transport.close()

    def look(self, now_s: float, now_ns: int) -> None:
        """End what takes longer than it may; called some times in a second."""
        bounds = self.server.bounds
        if self._is_over:
            if now_s - self._ended_s > LINGER_S:
                self.abort()
            return
        if self._most < EVERY:
            self.close_if_done()
        for call in list(self.calls.values()):
            call.look(now_s, now_ns)
        self._go_on()
        if not self._is_set_up:
            if now_s - self._since_s > bounds.header_s:
                self.fail(frames.SETTINGS_TIMEOUT)
        elif self._is_stuck(now_s):
            self.abort()
        else:
            self._look_idle(now_s, bounds.idle_s)

    def _is_stuck(self, now_s: float) -> bool:
        """Whether the peer takes nothing of its answers, or does not end what it began to say."""
        bounds = self.server.bounds
        stuck = self._stuck_since_s
        if self.sender.is_choked:
            return now_s - self._choked_s > bounds.send_s
        return stuck is not None and not self._is_pausing and now_s - stuck > bounds.body_s

    def _look_idle(self, now_s: float, idle_s: float) -> None:
        silent_s = now_s - self._heard_s
        if not self.calls and silent_s > idle_s:
            self.drain()
        elif silent_s > PING_S + PONG_S:
            self.abort()
        elif silent_s > PING_S and not self._is_pinged:
            self._is_pinged = True
            self.sender.add(frames.frame(frames.PING, 0, 0, bytes(PING_BYTES)))


def _nothing(_flags: int, _stream: int, _payload: bytes) -> None:
    """A frame of a kind that means nothing here."""
