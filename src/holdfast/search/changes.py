"""What a slice of a bucket's log says of its objects; the last record of a key decides."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Final

import msgspec

from holdfast.log.group import Group
from holdfast.log.records import CHECK_BYTES, HEAD, HEAD_BYTES, REMOVALS, Flag, Type, decode
from holdfast.search.documents import Maker

VISIBLE, HIDDEN = b"\x00", b"\x01"  # what follows a namespace's name
RESERVED: Final = b"!"  # names of the store's own begin with it, and no caller's do
STORE: Final = int(Type.STORE)
UNUSUAL: Final = int(Flag.MOVED | Flag.LARGE)

Makers = Callable[[bytes], "Maker | None"]  # namespace -> what makes its documents


class Told(msgspec.Struct, gc=False):
    """A whole value as its record says it, and what the record says beside."""

    value: bytes
    attrs: bytes
    expires_ns: int


LOOK: Final = Told(b"", b"", -1)  # the object must be looked at
Pending = dict[bytes, Told | None]  # composite key -> what it says now; None: removed


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
        body, base, at = bytes(group.body), group.head.body, 0
        pending, start, stop = self.pending, self._start, self._stop
        space, says = b"\xff", False  # of the record before
        self.held_bytes += len(body)
        version = 0
        for _ in range(group.head.records):
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
                said = body[attrs_at:value_at]
                pending[composite] = Told(body[value_at : value_at + size], said, expires)
        self.version = version if group.head.records else 0

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
