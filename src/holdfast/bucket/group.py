"""The gathering group: records decided but not yet written, and what they change."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from holdfast.bucket.rows import pack_row, unpack_row
from holdfast.errors import HoldfastError
from holdfast.log.entry import pack, unpack
from holdfast.log.group import GROUP_HEAD_BYTES
from holdfast.log.records import encode
from holdfast.views.port import Table

if TYPE_CHECKING:
    from holdfast.bucket.numbered import Noted
    from holdfast.bucket.purse import Booking
    from holdfast.views.presence import Presence

Change = tuple[Table, bytes, bytes]  # a row and its new content (DELETED removes)


class Gathering:
    """One commit group while it gathers.

    Entries need their value's place before the group is written, so the place
    is foretold: ``segment`` and ``base`` are where the group's body will begin
    if nothing intervenes. ``Bucket`` relocates the entries when something did.
    """

    __slots__ = (
        "base",
        "beside",
        "bookings",
        "buffers",
        "changes",
        "count",
        "error",
        "fresh",
        "length",
        "noted",
        "pending",
        "pending_side",
        "plain",
        "segment",
        "settled",
        "waiters",
    )

    def __init__(self, segment: int, start: int) -> None:
        self.segment = segment
        self.base = start + GROUP_HEAD_BYTES
        self.buffers: list[bytes | memoryview] = []
        self.changes: list[Change] = []
        # The last word of this group on each row, for what is decided on top of it.
        self.pending: dict[bytes, bytes] = {}
        self.pending_side: dict[tuple[Table, bytes], bytes] = {}
        self.count = 0
        self.length = 0
        # Nothing but stores without options (plain.py): then ``pending`` alone says what changes.
        self.plain = True
        self.bookings: list[Booking] = []  # what its writes take from purses (purse.py)
        self.noted: list[Noted] = []  # numbers of stores that are ``plain`` (numbered.py)
        # What knows its keys, where it is ``plain`` and none of them has a row in memory
        # (metered.py).
        self.fresh: Presence | None = None
        self.beside = 0  # bytes of records that keep nothing alive, in a group that is ``plain``
        self.settled = False
        self.error: HoldfastError | None = None
        self.waiters: list[Lock] = []

    def add(  # noqa: PLR0917 - a record has this many fields
        self,
        kind: int,
        key: bytes,
        value: bytes | memoryview,
        version: int,
        modified_ns: int,
        *,
        flags: int = 0,
        expires_ns: int = 0,
        attrs: bytes = b"",
        value_crc: int | None = None,
    ) -> int:
        """Append a record; the offset in the segment where its value will lie."""
        buffers = encode(
            kind,
            key,
            value,
            version,
            modified_ns,
            flags=flags,
            expires_ns=expires_ns,
            attrs=attrs,
            value_crc=value_crc,
        )
        self.buffers += buffers
        before = len(buffers[0])
        offset = self.base + self.length + before
        self.length += before + len(value) + 4
        self.count += 1
        return offset

    def mark(self) -> tuple[int, int, int, int]:
        """A place to roll back to."""
        return len(self.buffers), len(self.changes), self.count, self.length

    def mix(self) -> None:
        """Tell changes one by one from here on: something that is not a plain store comes."""
        if self.plain:
            self.plain = False
            self.changes = [(Table.KEYS, key, row) for key, row in self.pending.items()]

    def stage(self, table: Table, key: bytes, row: bytes) -> None:
        """Note a change that this group makes."""
        self.changes.append((table, key, row))
        self._tell(table, key, row)

    def _tell(self, table: Table, key: bytes, row: bytes) -> None:
        if table is Table.KEYS:
            self.pending[key] = row
        elif table is not Table.SEGMENTS:
            self.pending_side[table, key] = row

    def _tell_all(self) -> None:
        self.pending.clear()
        self.pending_side.clear()
        for change in self.changes:
            self._tell(*change)

    def rows_of(self, table: Table) -> dict[bytes, bytes]:
        """What this group sets of a table."""
        if table is Table.KEYS:
            return self.pending
        return {key: row for (its, key), row in self.pending_side.items() if its is table}

    def roll_back(self, mark: tuple[int, int, int, int]) -> list[Change]:
        """Forget what was added since ``mark``; the changes that are no more."""
        buffers, changes, self.count, self.length = mark
        undone = self.changes[changes:]
        del self.buffers[buffers:]
        del self.changes[changes:]
        self._tell_all()
        return undone

    def fail(self) -> list[Change]:
        """Forget everything; the changes that will not be."""
        return self.roll_back((0, 0, 0, 0))

    def holds(self, segment: int, offset: int) -> bool:
        """Whether this place lies in the body that this group foretells."""
        return segment == self.segment and self.base <= offset < self.base + self.length

    def bytes_at(self, offset: int, length: int) -> bytes:
        """Bytes of the body that is not written yet."""
        at = offset - self.base
        return b"".join(self.buffers)[at : at + length]

    def relocate(self, segment: int, start: int) -> None:
        """Tell entries where the body really begins, when something intervened."""
        base = start + GROUP_HEAD_BYTES
        if (segment, base) == (self.segment, self.base):
            return
        if self.plain:
            for key, row in self.pending.items():
                self.pending[key] = self._moved(Table.KEYS, row, segment, base)
        self.changes = [
            (table, key, self._moved(table, row, segment, base)) for table, key, row in self.changes
        ]
        if not self.plain:
            self._tell_all()
        self.segment, self.base = segment, base

    def _moved(self, table: Table, row: bytes, segment: int, base: int) -> bytes:
        if not row or table is Table.SESSIONS:
            return row
        if table is not Table.KEYS:
            side = unpack_row(row)
            return pack_row(side.version, segment, side.record_bytes, side.payload)
        entry = unpack(row)
        entry.extents = tuple(
            e._replace(segment=segment, offset=e.offset - self.base + base)
            if self.holds(e.segment, e.offset)
            else e
            for e in entry.extents
        )
        return pack(entry)
