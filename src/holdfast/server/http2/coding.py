"""Header fields as they travel (RFC 7541): hpack reads them, what is sent uses no table.

Nobody has to keep a table for us: a field that is sent is its name and its value, as text.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import hpack

from holdfast.server.http2.frames import COMPRESSION_ERROR, Broken

Field = tuple[bytes, bytes]
FIELD_BYTES: Final = 32  # that a field takes beside name and value (section 4.1)
BOMB_BYTES: Final = 1 << 18  # told in one block by numbers of the table: no caller means that
OK_STATUS: Final = b"\x88"  # :status 200
LAST_BIT, SEVEN = 0x80, 7


class Decoder:
    """Reads the header blocks of one connection, in the order in which they came.

    Args:
        most_bytes: of the fields of one block, each with 32 more.
        most_fields: of one block.
    """

    def __init__(self, most_bytes: int, most_fields: int) -> None:
        self._most_bytes = most_bytes
        self._most_fields = most_fields
        self._reads = hpack.Decoder(BOMB_BYTES)
        self.changes = 0  # of the table so far, at least
        self.is_exceeded = False  # the last block had more than it may

    def decode(self, block: bytes) -> list[Field]:
        """The fields of a block; none of one that is larger than it may be.

        Raises:
            Broken: it is no block; the connection cannot go on.
        """
        kept = self._reads.header_table.dynamic_entries
        newest, count = kept[0] if kept else None, len(kept)
        try:
            fields: list[Field] = list(self._reads.decode(block, raw=True))
        except hpack.HPACKError:
            raise Broken(COMPRESSION_ERROR) from None
        if len(kept) != count or (kept and kept[0] is not newest):
            self.changes += 1
        size = sum(len(name) + len(value) + FIELD_BYTES for name, value in fields)
        self.is_exceeded = size > self._most_bytes or len(fields) > self._most_fields
        return [] if self.is_exceeded else fields


def number(value: int, bits: int, first: int = 0) -> bytes:
    r"""A number, with what stands before it in its first byte (section 5.1).

    Example:
        >>> number(1337, 5)
        b'\x1f\x9a\n'
    """
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    told = bytearray((first | most,))
    value -= most
    while value >= LAST_BIT:
        told.append(value & LAST_BIT - 1 | LAST_BIT)
        value >>= SEVEN
    told.append(value)
    return bytes(told)


@lru_cache(256)
def _named(name: bytes) -> bytes:
    return b"\x00" + number(len(name), SEVEN) + name


def field(name: bytes, value: bytes) -> bytes:
    """A field as it is sent: as text, for no table (section 6.2.2)."""
    size = len(value)
    length = bytes((size,)) if size < LAST_BIT - 1 else number(size, SEVEN)
    return _named(name) + length + value
