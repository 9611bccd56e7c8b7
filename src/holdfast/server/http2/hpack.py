"""Header blocks as they travel (RFC 7541).

    1xxxxxxx   a field of the tables by its number
    01xxxxxx   a field, and the table is to have it: name by number or as text, value as text
    001xxxxx   how large the table may be
    0000xxxx, 0001xxxx   a field, and the table is not to have it

A number takes what its first byte has left of bits and, where that is not enough, seven of each
byte that follows, the low ones first. A text is its length, whose first bit says whether it is
packed, and its bytes. What is sent from here never uses the table: nobody has to keep one for us.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import Final

from holdfast.server.http2.frames import COMPRESSION_ERROR, Broken
from holdfast.server.http2.huffman import Damaged, decode

Field = tuple[bytes, bytes]
TABLE_BYTES: Final = 4096  # that a caller's table may take; what it is told to keep to
FIELD_BYTES: Final = 32  # that a field takes beside name and value
NUMBER_BYTES: Final = 4  # of a number, behind its first byte
PACKED, SEVEN = 0x80, 7
INDEXED, KEPT, RESIZED = 0x80, 0x40, 0x20
METHODS: Final = ((b":method", b"GET"), (b":method", b"POST"))
PATHS: Final = ((b":path", b"/"), (b":path", b"/index.html"))
SCHEMES: Final = ((b":scheme", b"http"), (b":scheme", b"https"))
STATUSES: Final = tuple(
    (b":status", status) for status in (b"200", b"204", b"206", b"304", b"400", b"404", b"500")
)
NAMES: Final = (
    b"accept-language accept-ranges accept access-control-allow-origin age allow authorization "
    b"cache-control content-disposition content-encoding content-language content-length "
    b"content-location content-range content-type cookie date etag expect expires from host "
    b"if-match if-modified-since if-none-match if-range if-unmodified-since last-modified link "
    b"location max-forwards proxy-authenticate proxy-authorization range referer refresh "
    b"retry-after server set-cookie strict-transport-security transfer-encoding user-agent vary "
    b"via www-authenticate"
).split()
STATIC: Final[tuple[Field, ...]] = (
    (b":authority", b""),
    *METHODS,
    *PATHS,
    *SCHEMES,
    *STATUSES,
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    *((name, b"") for name in NAMES),
)
OK_STATUS: Final = b"\x88"  # :status 200


class Decoder:
    """Reads the header blocks of one connection, in the order in which they came.

    Args:
        most_bytes: of the fields of one block, each with 32 more.
        most_fields: of one block.
    """

    def __init__(self, most_bytes: int, most_fields: int) -> None:
        self._most_bytes = most_bytes
        self._most_fields = most_fields
        self._table: deque[Field] = deque()  # the newest first
        self._size_bytes = 0
        self._room_bytes = TABLE_BYTES
        self.changes = 0  # of the table so far
        self.is_exceeded = False  # the last block had more than it may

    def decode(self, block: bytes) -> list[Field]:
        """The fields of a block.

        Of one that is larger than it may be, its first: it is decoded all the same, for the table.

        Raises:
            Broken: it is none; the connection cannot go on.
        """
        try:
            return self._decode(block)
        except (IndexError, Damaged):
            raise Broken(COMPRESSION_ERROR) from None

    def _decode(self, block: bytes) -> list[Field]:
        fields: list[Field] = []
        at, end, left = 0, len(block), self._most_bytes
        self.is_exceeded = False
        while at < end:
            first = block[at]
            if first & INDEXED:
                index, at = _number(block, at, 7)
                field = self._field(index)
            elif first & KEPT:
                field, at = self._literal(block, at, 6)
                self._keep(field)
            elif first & RESIZED:
                size, at = _number(block, at, 5)
                self._resize(size, is_first=not fields)
                continue
            else:
                field, at = self._literal(block, at, 4)
            left -= len(field[0]) + len(field[1]) + FIELD_BYTES
            if left < 0 or len(fields) >= self._most_fields:
                self.is_exceeded = True
            else:
                fields.append(field)
        return fields

    def _field(self, index: int) -> Field:
        if not index:
            raise IndexError
        if index <= len(STATIC):
            return STATIC[index - 1]
        return self._table[index - len(STATIC) - 1]

    def _literal(self, block: bytes, at: int, bits: int) -> tuple[Field, int]:
        index, at = _number(block, at, bits)
        if index:
            name = self._field(index)[0]
        else:
            name, at = _text(block, at)
        value, at = _text(block, at)
        return (name, value), at

    def _keep(self, field: Field) -> None:
        self.changes += 1
        self._table.appendleft(field)
        self._size_bytes += _weight(field)
        self._shrink()

    def _resize(self, size: int, *, is_first: bool) -> None:
        if size > TABLE_BYTES or not is_first:
            raise Broken(COMPRESSION_ERROR)
        self.changes += 1
        self._room_bytes = size
        self._shrink()

    def _shrink(self) -> None:
        while self._size_bytes > self._room_bytes:
            self._size_bytes -= _weight(self._table.pop())


def _weight(field: Field) -> int:
    return len(field[0]) + len(field[1]) + FIELD_BYTES


def _number(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """A number whose first byte has so many bits of it, and where it ends."""
    most = (1 << bits) - 1
    number = block[at] & most
    at += 1
    if number < most:
        return number, at
    for shift in range(0, NUMBER_BYTES * SEVEN, SEVEN):
        byte = block[at]
        at += 1
        number += (byte & PACKED - 1) << shift
        if byte < PACKED:
            return number, at
    raise Broken(COMPRESSION_ERROR)


def _text(block: bytes, at: int) -> tuple[bytes, int]:
    is_packed = block[at] & PACKED
    size, at = _number(block, at, SEVEN)
    end = at + size
    if end > len(block):
        raise IndexError
    text = block[at:end]
    return (decode(text) if is_packed else text), end


# -- what is sent ------------------------------------------------------------------------------


def number(value: int, bits: int, first: int = 0) -> bytes:
    r"""A number, with what stands before it in its first byte.

    Example:
        >>> number(1337, 5)
        b'\x1f\x9a\n'
    """
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    told = bytearray((first | most,))
    value -= most
    while value >= PACKED:
        told.append(value & PACKED - 1 | PACKED)
        value >>= SEVEN
    told.append(value)
    return bytes(told)


@lru_cache(256)
def _named(name: bytes) -> bytes:
    return b"\x00" + number(len(name), SEVEN) + name


def field(name: bytes, value: bytes) -> bytes:
    """A field as it is sent: as text, for no table."""
    size = len(value)
    length = bytes((size,)) if size < PACKED - 1 else number(size, SEVEN)
    return _named(name) + length + value
