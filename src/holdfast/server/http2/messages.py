"""Messages of a call, put together from the bytes that come.

0          1                5
| packed?  | length         | message ...
"""

from __future__ import annotations

import zlib
from collections import deque
from struct import Struct
from typing import Final

from holdfast.wire.protobuf.statuses import INTERNAL, RESOURCE_EXHAUSTED

PREFIX: Final = Struct(">BL")
PREFIX_BYTES: Final = PREFIX.size
KEPT_BYTES: Final = 64  # that a message takes beside its own: many may hold nothing at all
ANY_FORMAT: Final = zlib.MAX_WBITS + 32  # gzip and deflate are told apart by their heads


class Refused(Exception):
    """A message that is not taken.

    Args:
        number: of the status that the call ends with.
        text: beside it.
    """

    def __init__(self, number: int, text: str) -> None:
        super().__init__(number, text)
        self.number = number
        self.text = text


class Incoming:
    """The messages of one call that have come.

    Args:
        most_bytes: of one of them.
        packs: whether the caller said that it packs them.
    """

    __slots__ = (
        "_most_bytes",
        "_need",
        "_packed",
        "_packs",
        "_parts",
        "held_bytes",
        "part_bytes",
        "whole",
    )

    def __init__(self, most_bytes: int, *, packs: bool) -> None:
        self._most_bytes = most_bytes
        self._packs = packs
        self._parts: list[bytes] = []  # of a message that is not whole, but for its head
        self._packed: int | None = None  # what that said; None where it is not whole itself
        self._need = PREFIX_BYTES
        self.part_bytes = 0  # of a message that is not whole, with its head
        self.whole: deque[bytes] = deque()
        self.held_bytes = 0  # that those take which are

    def feed(self, data: bytes) -> None:
        """Take bytes.

        Raises:
            Refused: they are no messages, or of one that is too large.
        """
        self._parts.append(data)
        self.part_bytes += len(data)
        if self.part_bytes >= self._need:
            self._cut(self._completed())

    def _completed(self) -> bytes:
        """Take the message that began before; what is behind it.

        Its parts are joined without what follows, so that a large one is copied once.
        """
        parts, packed = self._parts, self._packed
        if packed is None:
            return b"".join(parts)
        rest = b""
        over = self.part_bytes - self._need
        if over:
            last = parts[-1]
            parts[-1], rest = last[:-over], last[-over:]
        self._add(b"".join(parts), packed)
        return rest

    def _cut(self, data: bytes) -> None:
        """Take the messages that are whole, and the head of the one that is not."""
        at, end = 0, len(data)
        self._need, self._packed = PREFIX_BYTES, None
        while end - at >= PREFIX_BYTES:
            packed, size = PREFIX.unpack_from(data, at)
            self._hold(packed, size)
            begun, stop = at + PREFIX_BYTES, at + PREFIX_BYTES + size
            if stop > end:
                self._need, self._packed = PREFIX_BYTES + size, packed
                self._parts, self.part_bytes = [data[begun:]], end - at
                return
            self._add(data[begun:stop], packed)
            at = stop
        self._parts, self.part_bytes = [data[at:]], end - at

    def _hold(self, packed: int, size: int) -> None:
        if size > self._most_bytes:
            told = f"Received message larger than max ({size} vs. {self._most_bytes})"
            raise Refused(RESOURCE_EXHAUSTED, told)
        if packed > 1 or (packed and not self._packs):
            raise Refused(INTERNAL, "packed in a way that was not said")

    def _add(self, message: bytes, packed: int) -> None:
        if packed:
            message = self._unpacked(message)
        self.whole.append(message)
        self.held_bytes += len(message) + KEPT_BYTES

    def _unpacked(self, message: bytes) -> bytes:
        unpacking = zlib.decompressobj(ANY_FORMAT)
        try:
            told = unpacking.decompress(message, self._most_bytes + 1)
        except zlib.error:
            raise Refused(INTERNAL, "cannot be unpacked") from None
        if len(told) > self._most_bytes:
            raise Refused(RESOURCE_EXHAUSTED, "Received message larger than max, unpacked")
        if not unpacking.eof:
            raise Refused(INTERNAL, "cannot be unpacked")
        return told

    def take(self) -> bytes:
        """The next message."""
        message = self.whole.popleft()
        self.held_bytes -= len(message) + KEPT_BYTES
        return message
