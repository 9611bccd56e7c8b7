"""CBOR as attestation documents use it (RFC 8949), and not one form more.

    head   3 bits major type, 5 bits argument (24, 25, 26, 27: in the next 1, 2, 4, 8 bytes)
    0, 1   integers      2 bytes      3 text      4 array      5 map      7 false, true, null

A reader of its own instead of cbor2, because a document is refused for what a
general decoder forgives: bytes behind the item, keys that come twice, ``true``
beside 1 as a key, tags, lengths that are not the shortest, strings in chunks.
Arrays and maps may be of indefinite length: newer security modules write the
payload so.
"""

from __future__ import annotations

from typing import Final

DEPTH: Final = 4  # payload, a field's map or array, its items: 3
CONTAINER_ITEMS: Final = 64  # 32 registers are the most that a document holds of anything
INDEFINITE: Final = 31
BREAK: Final = 0xFF
WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}
LEAST: Final = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}  # what needs that many bytes
SIMPLE: Final = {0xF4: False, 0xF5: True, 0xF6: None}

Item = int | bytes | str | bool | list["Item"] | dict["int | str", "Item"] | None


class Malformed(ValueError):
    """The bytes are not one item of the form above."""


def decode(data: bytes) -> Item:
    """The one item that ``data`` is.

    Raises:
        Malformed: it is none, or not all of it.

    Example:
        >>> decode(bytes.fromhex("bf616101ff"))
        {'a': 1}
    """
    reader = Reader(data)
    item = reader.item()
    reader.end()
    return item


class Reader:
    """Items one after the other.

    Args:
        data: the bytes.
        at: where the first item begins.
    """

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at

    def end(self) -> None:
        """Malformed unless every byte was read."""
        if self._at != len(self._data):
            raise Malformed

    def item(self, depth: int = 0) -> Item:
        """The next item."""
        first = self._byte()
        major, short = first >> 5, first & 0x1F
        if major == 7:  # noqa: PLR2004 - drawn above
            return self._simple(first)
        if major in {4, 5}:
            count = None if short == INDEFINITE else self._argument(short)
            if depth >= DEPTH:
                raise Malformed
            return self._array(count, depth + 1) if major == 4 else self._map(count, depth + 1)  # noqa: PLR2004
        argument = self._argument(short)
        if major < 2:  # noqa: PLR2004
            return ~argument if major else argument
        return self._string(major, argument)

    def _simple(self, first: int) -> bool | None:
        if first not in SIMPLE:
            raise Malformed
        return SIMPLE[first]

    def _string(self, major: int, length: int) -> bytes | str:
        raw = self._take(length)
        if major == 2:  # noqa: PLR2004
            return raw
        if major != 3:  # noqa: PLR2004 - tags
            raise Malformed
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise Malformed from None

    def _array(self, count: int | None, depth: int) -> list[Item]:
        items: list[Item] = []
        while self._more(count, len(items)):
            items.append(self.item(depth))
        return items

    def _map(self, count: int | None, depth: int) -> dict[int | str, Item]:
        fields: dict[int | str, Item] = {}
        while self._more(count, len(fields)):
            name = self.item(depth)
            # type(), not isinstance: True is an int to Python, and equal to the key 1.
            if (type(name) is not int and type(name) is not str) or name in fields:
                raise Malformed
            fields[name] = self.item(depth)
        return fields

    def _more(self, count: int | None, have: int) -> bool:
        if count is not None:
            if count > CONTAINER_ITEMS:
                raise Malformed
            return have < count
        if self._at < len(self._data) and self._data[self._at] == BREAK:
            self._at += 1
            return False
        if have >= CONTAINER_ITEMS:
            raise Malformed
        return True

    def _argument(self, short: int) -> int:
        if short < 24:  # noqa: PLR2004 - drawn above
            return short
        if short not in WIDTHS:
            raise Malformed
        value = int.from_bytes(self._take(WIDTHS[short]), "big")
        if value < LEAST[short]:
            raise Malformed
        return value

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, length: int) -> bytes:
        taken = self._data[self._at : self._at + length]
        if len(taken) != length:
            raise Malformed
        self._at += length
        return taken
