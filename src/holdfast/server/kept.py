"""Small objects as they are told, in memory, so that who asks for them again is not read for.

An answer is told again only while the object's index entry is the one that led to it: that
entry names version and place, and the bytes there were verified against both when they were
read. So nothing has to be forgotten when an object is written, removed or moved.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import msgspec

from holdfast.bucket.read import EXPIRES_SLICE, NEVER
from holdfast.server.answers import rest_of
from holdfast.server.objects import headers_of_row

if TYPE_CHECKING:
    from holdfast.placement.directory import Directory

VALUE_BYTES: Final = 16 << 10  # of what is kept: of larger ones the copies cost more than the read
ONE_IN: Final = 8  # is kept where another must go: so who reads everything pushes little out
OVERHEAD_BYTES: Final = 240  # of one beside its bytes: 222 were measured


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A live object as it was read.

    ``row`` is its entry, and ``base`` what stood for the index below before that was looked up
    (``State.stands``). ``rest`` is its answer from the length on, ``size`` the value's bytes.
    """

    row: bytes
    base: object
    rest: bytes
    size: int

    @property
    def value(self) -> bytes:
        """The object's value."""
        return self.rest[len(self.rest) - self.size :]


class Kept:
    """Objects that were told, up to some bytes. Used on the loop.

    It has only keys that stand in a path as they are: who finds one need not look at its bytes.

    Args:
        directory: of the store.
        most_bytes: of all of them, with what they are kept in; 0 keeps none.
    """

    def __init__(self, directory: Directory, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.held_bytes = 0
        self._directory = directory
        self._passed = 0  # that were not kept, one after the other
        self._seen: OrderedDict[bytes, Seen] = OrderedDict()

    def find(self, key: bytes) -> Seen | None:
        """An object by its composite key, where it is kept and still as it was."""
        seen = self._seen.get(key)
        if seen is None:
            return None
        bucket = self._directory.find(key)
        if not bucket.far and bucket.stands(key, seen.row, seen.base):
            return seen
        del self._seen[key]
        self.held_bytes -= _weight(key, seen)
        return None

    def read(self, key: bytes) -> Seen | None:
        """An object that lies in memory, read; kept if it is small, and room is made for it.

        None where it does not lie there. The key is one that stands in a path as it is.

        Raises:
            NotFound, Moved.
        """
        bucket = self._directory.find(key)
        if bucket.far:
            return None
        base = bucket.state.base
        row, value = bucket.load_now(key) or (b"", None)
        if value is None:
            return None
        seen = Seen(row, base, rest_of(headers_of_row(row), value), len(value))
        if len(value) <= VALUE_BYTES and row[EXPIRES_SLICE] == NEVER:
            self._keep(key, seen)
        return seen

    def seen(self, key: bytes) -> Seen | None:
        """An object that is kept, or lies in memory, in that order; None and errors as of ``read``.

        Who has not looked at the key's bytes asks ``find`` first, and looks before ``read``.
        """
        return self.find(key) or self.read(key)

    def bound(self, most_bytes: int) -> None:
        """Keep no more than so many bytes from here on."""
        self.most_bytes = most_bytes
        while self.held_bytes > most_bytes:
            key, seen = self._seen.popitem(last=False)
            self.held_bytes -= _weight(key, seen)

    def _keep(self, key: bytes, seen: Seen) -> None:
        held_bytes = self.held_bytes + _weight(key, seen)
        if held_bytes > self.most_bytes and self._passed + 1 < ONE_IN:
            self._passed += 1
            return
        before = self._seen.get(key)
        if before is not None:
            held_bytes -= _weight(key, before)
        self._passed = 0
        self._seen[key] = seen
        self.held_bytes = held_bytes
        if held_bytes > self.most_bytes:
            self.bound(self.most_bytes)


def _weight(key: bytes, seen: Seen) -> int:
    return len(key) + len(seen.row) + len(seen.rest) + OVERHEAD_BYTES
