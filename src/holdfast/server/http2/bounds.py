"""What one caller may make the server keep, and for how long: one table."""

from __future__ import annotations

from typing import Final

import msgspec

TAKEN_BYTES: Final = 1 << 16  # of a frame that comes: more than a peer need be able to send
STREAM_WINDOW: Final = 1 << 20  # bytes of a call that come before any of them is taken
CONNECTION_WINDOW: Final = 1 << 22  # of all calls of a connection, before we say go on
QUEUED_BYTES: Final = 1 << 18  # of messages that wait to be taken, before no more of a call come
UNSENT_BYTES: Final = 8 << 20  # of a connection's answers, before no call of it is begun
BUFFER_BYTES: Final = 1 << 18  # in the socket's buffer, before nothing more is read or sent
TURN: Final = 128  # calls, or as much work, that one turn of the loop does for a connection
IDLE_FRAMES: Final = 10_000  # that carry nothing, one after the other
FRAGMENTS: Final = 64  # of one header block
BLOCKS_KEPT, BLOCK_BYTES = 256, 1024  # header blocks that are known again, and how large
PING_S: Final = 60.0  # of silence, before a peer is asked whether it is there
LINGER_S: Final = 2.0  # behind the reason why a connection ends, for the peer to read it
PONG_S: Final = 20.0  # and before it is taken to be gone


class Bounds(msgspec.Struct, frozen=True):
    """Bounds that are set.

    Args:
        message_bytes: of one message, unpacked.
        calls: under way at once, of all connections.
        connections: at once.
        header_bytes: of the header of a call, each field with 32 more; ``header_count`` fields.
        header_s: seconds in which a connection must say what it is, and a header must have come.
        body_s: seconds without a byte of a message that has begun.
        idle_s: seconds that a connection without a call is kept.
        send_s: seconds in which a reader takes nothing.
        held_bytes: of messages that came and are not taken, all together.
    """

    message_bytes: int
    calls: int
    connections: int
    header_bytes: int
    header_count: int
    header_s: float
    body_s: float
    idle_s: float
    send_s: float
    held_bytes: int
