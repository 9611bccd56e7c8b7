"""The part of CBOR (RFC 8949) that proofs use, read strictly and within bounds.

Integers, byte strings, text, arrays, maps, tags, null and booleans; definite lengths only.
Read once, decided once: depth and bytes are bounded before anything is made of them, no map
may have a key twice, and nothing may follow. With ``shortest=True`` each number must have
its shortest form and a map's keys their order, so that two encodings of one meaning do not
exist; what other implementations wrote is read without that demand.

A general decoder turns tags into dates, patterns and shared references; a verifier wants
none of that from a stranger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from holdfast.errors import ProofInvalid

DEPTH_MOST: Final = 16
UINT, NINT, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)
SIMPLE_VALUES: Final = {20: False, 21: True, 22: None}
SIMPLE_CODES: Final = {False: 0xF4, True: 0xF5, None: 0xF6}
WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}
INLINE_MOST: Final = 23


@dataclass(frozen=True)
class Tagged:
    """A value under a tag number."""

    tag: int
    value: object


def encode(value: object) -> bytes:
    """The deterministic encoding (RFC 8949 section 4.2.1) of a value made of these types.

    Raises:
        TypeError: the value is of another type.
    """
    return b"".join(_pieces(value))


def head(major: int, number: int) -> bytes:
    """The first bytes of an item: its major type and its number, shortest form."""
    if number <= INLINE_MOST:
        return bytes([major << 5 | number])
    for code, width in WIDTHS.items():
        if number < 1 << 8 * width:
            return bytes([major << 5 | code]) + number.to_bytes(width, "big")
    raise OverflowError


def _pieces(value: object) -> list[bytes]:
    if value is None or isinstance(value, bool):
        return [bytes([SIMPLE_CODES[value]])]
    if isinstance(value, int):
        return [head(UINT, value) if value >= 0 else head(NINT, -1 - value)]
    if isinstance(value, bytes):
        return [head(BYTES, len(value)), value]
    if isinstance(value, str):
        text = value.encode()
        return [head(TEXT, len(text)), text]
    return _compound(value)


def _compound(value: object) -> list[bytes]:
    if isinstance(value, Tagged):
        return [head(TAG, value.tag), *_pieces(value.value)]
    if isinstance(value, Mapping):
        rows = sorted((encode(key), encode(item)) for key, item in value.items())
        return [head(MAP, len(rows)), *(piece for row in rows for piece in row)]
    if isinstance(value, Sequence):
        return [head(ARRAY, len(value)), *(piece for item in value for piece in _pieces(item))]
    raise TypeError


def decode(data: bytes, *, bytes_most: int, shortest: bool = True) -> object:
    """The value that the bytes encode: int, bytes, str, list, dict, Tagged, bool or None.

    Args:
        data: one item and nothing behind it.
        bytes_most: longer data is refused unread.
        shortest: refuse numbers that are not in their shortest form, and maps out of order.

    Raises:
        ProofInvalid: ``reason="encoding"``, or "bytes" and "depth" past those bounds.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ProofInvalid(reason="encoding")
    if len(data) > bytes_most:
        raise ProofInvalid(reason="bytes")
    data = bytes(data)
    reader = _Reader(data, shortest=shortest)
    value = reader.item(DEPTH_MOST)
    if reader.at != len(data):
        raise ProofInvalid(reason="encoding")
    return value


class _Reader:
    """A place in the bytes that moves on with what is read."""

    def __init__(self, data: bytes, *, shortest: bool) -> None:
        self.at = 0
        self._data = data
        self._shortest = shortest

    def item(self, depth: int) -> object:
        if depth == 0:
            raise ProofInvalid(reason="depth")
        major, number = self._head()
        if major <= NINT:
            return number if major == UINT else -1 - number
        if major <= TEXT:
            return self._string(number, text=major == TEXT)
        if major == ARRAY:
            return [self.item(depth - 1) for _ in range(self._count(number))]
        if major == MAP:
            return self._map(self._count(number), depth - 1)
        if major == TAG:
            return Tagged(number, self.item(depth - 1))
        if number not in SIMPLE_VALUES:
            raise ProofInvalid(reason="encoding")
        return SIMPLE_VALUES[number]

    def _take(self, count: int) -> bytes:
        start = self.at
        stop = start + count
        if stop > len(self._data):
            raise ProofInvalid(reason="encoding")
        self.at = stop
        return self._data[start:stop]

    def _head(self) -> tuple[int, int]:
        at = self.at
        if at >= len(self._data):
            raise ProofInvalid(reason="encoding")
        first = self._data[at]
        self.at = at + 1
        major, code = first >> 5, first & 31
        if code <= INLINE_MOST:
            return major, code
        if code not in WIDTHS or major == SIMPLE:
            raise ProofInvalid(reason="encoding")
        width = WIDTHS[code]
        number = int.from_bytes(self._take(width), "big")
        least = INLINE_MOST + 1 if width == 1 else 1 << 4 * width
        if self._shortest and number < least:
            raise ProofInvalid(reason="encoding")
        return major, number

    def _string(self, count: int, *, text: bool) -> bytes | str:
        piece = self._take(count)
        if not text:
            return piece
        try:
            return piece.decode()
        except UnicodeDecodeError:
            raise ProofInvalid(reason="encoding") from None

    def _count(self, number: int) -> int:
        """A number of items that the bytes left can hold, so that nothing is made for a lie."""
        if number > len(self._data) - self.at:
            raise ProofInvalid(reason="encoding")
        return number

    def _map(self, count: int, depth: int) -> dict[object, object]:
        found: dict[object, object] = {}
        before = b""  # how the key before is encoded
        for _ in range(count):
            start = self.at
            key = self.item(depth)
            if not isinstance(key, int | str | bytes) or isinstance(key, bool) or key in found:
                raise ProofInvalid(reason="encoding")
            encoded = self._data[start : self.at]
            if self._shortest and encoded < before:
                raise ProofInvalid(reason="encoding")
            found[key], before = self.item(depth), encoded
        return found
