"""What a slice of a bucket's log says of its objects; the last record of a key decides."""

from __future__ import annotations

from collections.abc import Callable, Container
from struct import Struct
from typing import Final

import msgspec

from holdfast.log.group import Group
from holdfast.log.records import CHECK_BYTES, HEAD, HEAD_BYTES, REMOVALS, Flag, Type, decode
from holdfast.search.documents import Maker

VISIBLE, HIDDEN = b"\x00", b"\x01"  # what follows a namespace's name
RESERVED: Final = b"!"  # names of the store's own begin with it, and no caller's do
STORE: Final = int(Type.STORE)
UNUSUAL: Final = int(Flag.MOVED | Flag.LARGE)
SHAPE: Final = Struct("<BBHI4xI16xQ")  # HEAD's kind, flags, lengths and expiry
VERSION_AT: Final = 16  # of a record's head

Makers = Callable[[bytes], "Maker | None"]  # namespace -> what makes its documents


class Told(msgspec.Struct, gc=False):
    """A whole value as its record says it, and what the record says beside."""

    value: bytes
    attrs: bytes
    expires_ns: int


LOOK: Final = Told(b"", b"", -1)  # the object must be looked at
Change = bytes | Told | None  # a value that nothing is said beside; what is told; removed
Pending = dict[bytes, Change]  # by composite key


class Changes:
    """Takes in group after group.

    Args:
        makers: what makes the documents of a namespace.
        span: the range of composite keys that counts.
        spaces: the namespaces of which something is found already.
    """

    def __init__(self, makers: Makers, span: tuple[bytes, bytes], spaces: Container[bytes]) -> None:
        self.pending: Pending = {}
        self.held_bytes = 0
        self.version = 0  # of the last record
        self._makers = Seen(makers)
        self._start, self._stop = span
        self._spaces = spaces

    def read(self, group: Group) -> None:
        """Take in what a group's records say; texts are looked at later, the last one only."""
        body, count = bytes(group.body), group.head.records
        self.held_bytes += len(body)
        if not count:
            self.version = 0
        elif not self._read_plain(body, count):
            self._read_each(body, count, group.head.body)

    def _read_plain(self, body: bytes, count: int) -> bool:
        """Take in a group of nothing but values of one namespace; False where it is not that."""
        unpack, at, begun = SHAPE.unpack_from, 0, 0
        keys: list[bytes] = []
        values: list[Change] = []
        for _ in range(count):
            kind, flags, wide, size, attrs, expires = unpack(body, at)
            if kind != STORE or flags & UNUSUAL or attrs:
                return False
            begun = at
            value_at = at + HEAD_BYTES + wide
            keys.append(body[at + HEAD_BYTES : value_at])
            at = value_at + size
            value = body[value_at:at]
            values.append(Told(value, b"", expires) if expires else value)
            at += CHECK_BYTES
        low, high = min(keys), max(keys)
        space, says = self._may_say(low)
        if not (high.startswith(space) and self._start <= low and high < self._stop):
            return False
        pending, told = self.pending, zip(keys, values, strict=True)
        pending.update(told if says else [one for one in told if one[0] in pending])
        self.version = int.from_bytes(body[begun + VERSION_AT : begun + VERSION_AT + 8], "little")
        return True

    def _read_each(self, body: bytes, count: int, base: int) -> None:
        """Take in a group's records one by one."""
        pending, start, stop, at = self.pending, self._start, self._stop, 0
        space, says = b"\xff", False  # of the record before
        version = 0
        for _ in range(count):
            kind, flags, wide, size, _, attrs, version, _, expires = HEAD.unpack_from(body, at)
            if kind != STORE or flags & UNUSUAL:
                record, at = decode(body, at, base)
                if not record.flags & Flag.MOVED and start <= record.key < stop:
                    self._read_unusual(record.key, kind)
                continue
            key_at = at + HEAD_BYTES
            attrs_at = key_at + wide
            value_at = attrs_at + attrs
            at = value_at + size + CHECK_BYTES
            composite = body[key_at:attrs_at]
            if not start <= composite < stop:
                continue
            if not composite.startswith(space):
                space, says = self._may_say(composite)
            if says or attrs or composite in pending:
                value = body[value_at : value_at + size]
                said = body[attrs_at:value_at]
                pending[composite] = Told(value, said, expires) if said or expires else value
        self.version = version

    def _may_say(self, composite: bytes) -> tuple[bytes, bool]:
        """What keys of its namespace begin with; whether a plain store in it changes anything."""
        space = space_of(composite)
        maker = self._makers[space]
        says = maker is not None and (bool(maker.rules.rules) or space in self._spaces)
        return space + VISIBLE, says

    def _read_unusual(self, composite: bytes, kind: int) -> None:
        if self._makers[space_of(composite)] is None:
            return
        if kind in REMOVALS:
            self.pending[composite] = None
        elif kind in {STORE, Type.APPEND, Type.JOIN}:
            self.pending[composite] = LOOK


class Seen(dict[bytes, "Maker | None"]):
    """What makes the documents of each namespace, asked once a group."""

    def __init__(self, makers: Makers) -> None:
        super().__init__()
        self._ask = makers

    def __missing__(self, space: bytes) -> Maker | None:
        visible = space and HIDDEN not in space and not space.startswith(RESERVED)
        found = self[space] = self._ask(space) if visible else None
        return found


def space_of(composite: bytes) -> bytes:
    """The namespace of a composite key; empty where there is none."""
    return composite[: composite.find(VISIBLE)] if VISIBLE in composite else b""


def bounds(namespace: bytes, start: bytes, stop: bytes) -> tuple[bytes, bytes | None]:
    """Which of its keys a range that meets a namespace holds; high None: to the end."""
    space = namespace + VISIBLE
    low = start[len(space) :] if start.startswith(space) else b""
    high = stop[len(space) :] if stop.startswith(space) else None
    return low, high
