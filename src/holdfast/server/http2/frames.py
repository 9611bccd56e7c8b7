"""Frames of HTTP/2 (RFC 9113, sections 4 and 6).

     0       3      4       5        9
     | length | kind | flags | stream | payload ...

The first bit of the stream's number means nothing. ``stream`` 0 is the connection.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD: Final = Struct(">HBBBL")
HEAD_BYTES: Final = HEAD.size
LENGTH_BYTES: Final = 3  # of a frame's head: how long its payload is
STREAM_BITS: Final = 0x7FFFFFFF
SETTING: Final = Struct(">HL")
LONG, DOUBLE = Struct(">L"), Struct(">LL")

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE = range(6)
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(6, 10)

END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
PRIORITY_BYTES: Final = 5

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6
WINDOW: Final = 65_535  # of a connection and of its streams, until something else is said
FRAME_BYTES: Final = 16_384  # of a frame, at most, until something else is said
MOST_FRAME_BYTES: Final = (1 << 24) - 1
MOST_WINDOW: Final = (1 << 31) - 1

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT = range(5)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = range(5, 10)
ENHANCE_YOUR_CALM: Final = 11


class Broken(Exception):
    """The peer broke the protocol: the connection ends.

    Args:
        code: what it is told.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def head(kind: int, flags: int, stream: int, size: int) -> bytes:
    """What stands before the payload of a frame."""
    return HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    r"""A whole frame.

    Example:
        >>> frame(SETTINGS, ACK, 0)
        b'\x00\x00\x00\x04\x01\x00\x00\x00\x00'
    """
    return head(kind, flags, stream, len(payload)) + payload


def lacking(rest: bytes, data: bytes) -> int:
    """Bytes of ``data`` that belong to the frame of which ``rest`` has the beginning.

    Less than 1 where it has all of it; all of ``data`` where that does not even end its head.
    """
    begun = rest if len(rest) >= HEAD_BYTES else rest + data[: HEAD_BYTES - len(rest)]
    if len(begun) < HEAD_BYTES:
        return len(data)
    return HEAD_BYTES + int.from_bytes(begun[:LENGTH_BYTES], "big") - len(rest)


def settings(told: dict[int, int]) -> bytes:
    """The frame that tells settings."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*one) for one in told.items()))


def window_update(stream: int, size: int) -> bytes:
    """The frame that lets the peer send so many bytes more."""
    return frame(WINDOW_UPDATE, 0, stream, LONG.pack(size))


def rst_stream(stream: int, code: int) -> bytes:
    """The frame that ends a stream at once."""
    return frame(RST_STREAM, 0, stream, LONG.pack(code))


def goaway(last: int, code: int) -> bytes:
    """The frame that says the last stream that is answered, and why no other will be."""
    return frame(GOAWAY, 0, 0, DOUBLE.pack(last, code))


def unpadded(payload: bytes, flags: int) -> bytes:
    """A payload without its padding.

    Raises:
        Broken: it is all padding, and more.
    """
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Broken(PROTOCOL_ERROR)
    return payload[1 : len(payload) - payload[0]]
