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

    __slots__ = ("_most_bytes", "_need", "_packs", "_parts", "held_bytes", "part_bytes", "whole")

    def __init__(self, most_bytes: int, *, packs: bool) -> None:
        self._most_bytes = most_bytes
        self._packs = packs
        self._parts: list[bytes] = []
        self._need = PREFIX_BYTES
        self.part_bytes = 0  # of a message that is not whole
        self.whole: deque[bytes] = deque()
        self.held_bytes = 0  # that those take which are

    def feed(self, data: bytes) -> None:
        """Take bytes.

        Raises:
            Refused: they are no messages, or of one that is too large.
        """
        self._parts.append(data)
        self.part_bytes += len(data)
        while self.part_bytes >= self._need:
            self._cut()

    def _cut(self) -> None:
        """Take the messages out of the parts that are whole."""
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        at, end, size = 0, len(data), 0
        while end - at >= PREFIX_BYTES:
            packed, size = PREFIX.unpack_from(data, at)
            self._hold(packed, size)
            stop = at + PREFIX_BYTES + size
            if stop > end:
                break
            message = data[at + PREFIX_BYTES : stop]
            at = stop
            self._add(self._unpacked(message) if packed else message)
        self._parts = [data[at:]] if at < end else []
        self.part_bytes = end - at
        self._need = PREFIX_BYTES
        if self.part_bytes >= PREFIX_BYTES:
            self._need += size

    def _hold(self, packed: int, size: int) -> None:
        if size > self._most_bytes:
            told = f"Received message larger than max ({size} vs. {self._most_bytes})"
            raise Refused(RESOURCE_EXHAUSTED, told)
        if packed > 1 or (packed and not self._packs):
            raise Refused(INTERNAL, "packed in a way that was not said")

    def _add(self, message: bytes) -> None:
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
