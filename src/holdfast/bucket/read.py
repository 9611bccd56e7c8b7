"""Reading a bucket: no lock on the way, every value checked against key and version.

A reader may meet a location whose segment was just evacuated; then the entry
has changed too, so it is asked again. Only a place that fails twice under the
same entry is damage.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from crc32c import crc32c
from xxhash import xxh3_64_intdigest

from holdfast.bucket import rows
from holdfast.errors import Changed, Corrupt, Moved, NotFound, StorageFailed
from holdfast.limits import READ_GRACE_NS
from holdfast.log.entry import ENTRY, SPECIAL, Entry, Extent, unpack
from holdfast.log.records import CHECK, FOLD, HEAD_BYTES, Flag
from holdfast.views.port import Table
from holdfast.views.prints import ABSENT, OFFSET_BITS, OFFSET_MASK, Prints

if TYPE_CHECKING:
    from threading import RLock
    from weakref import WeakSet

    from holdfast.clock import BucketTime
    from holdfast.log.log import Log, Position
    from holdfast.views.state import State

LENGTH_AND_VERSION = struct.Struct("<I8xQ")  # of a record's head, from its fifth byte
BEHIND = HEAD_BYTES - 4
EXPIRES_SLICE = slice(16, 24)
NEVER = bytes(8)
NOW_BYTES = 1 << 18  # more is not read at once: whoever sends it sends it piece by piece


class Object(msgspec.Struct, gc=False):
    """A live object as the bucket knows it; ``parts`` hold the first ``parts_bytes``."""

    entry: Entry
    consumers: int
    upload: bytes | None
    parts_bytes: int


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Hold:
    """Segments that somebody reads from: they stay for as long as this object does, at most ..."""

    segments: frozenset[int]
    until_ns: int  # ... and bucket time has not come to this


class Reader:
    """The reading half of a bucket.

    Who must not wait asks no bucket that is ``far``: it is not open yet, or of another process.
    ``cold``: nor for what only its view knows, of which not all is in memory.
    """

    far = False
    cold = False

    id: str
    start: bytes
    stop: bytes
    state: State
    prints: Prints | None
    log: Log
    time: BucketTime
    lock: RLock
    holds: WeakSet[Hold]

    def load(self, key: bytes) -> bytes | Entry:
        """A whole value; or the entry, where the value is not one slice.

        Raises:
            NotFound, Moved, Corrupt.
        """
        if not self.start <= key < self.stop:
            raise Moved(bucket=self.id)
        return self.load_here(key)

    def load_here(self, key: bytes) -> bytes | Entry:
        """As ``load``, for a caller who has just seen that the key is in range."""
        state = self.state
        row = state.keys.get(key)
        if row is not None or state.frozen:
            return self._load_row(key, row or self.entry(key))
        prints = self.prints
        if prints is None:
            view = state.view
            row = view.get(Table.KEYS, key)
            if row is None and (state.view is not view or self.state is not state):
                row = self.entry(key)
            return self._load_row(key, row)
        at = prints.find(xxh3_64_intdigest(key, prints.seed) >> 1, ABSENT)
        mapped = self.log.maps.get(at >> OFFSET_BITS)
        if mapped is None:
            return self._load_row(key, self.entry(key))
        # A guess that the record must confirm: its check binds key, version and value.
        offset = at & OFFSET_MASK
        size, version = LENGTH_AND_VERSION.unpack_from(mapped, offset - len(key) - BEHIND)
        stop = offset + size
        value = mapped[offset:stop]
        folded = version if version <= FOLD else (version ^ (version >> 32)) & FOLD
        if crc32c(key, crc32c(value) ^ folded) == CHECK.unpack_from(mapped, stop)[0]:
            return value
        return self._load_row(key, self.entry(key))

    def entry(self, key: bytes) -> bytes | None:
        """The index entry of a key, or None; asked again where the state was derived anew."""
        while True:
            state = self.state
            row = state.entry(key)
            if row is not None or self.state is state:
                return row

    def _load_row(self, key: bytes, row: bytes | None) -> bytes | Entry:
        """The value that an index entry leads to."""
        if not row:
            raise self._absence(key)
        version, _, expires, size, _, flags, _, segment, offset = ENTRY.unpack_from(row)
        if expires and expires <= self.time.now_ns():
            raise NotFound
        if flags & SPECIAL:
            return unpack(row)
        stop = offset + size
        mapped = self.log.maps.get(segment)
        try:
            if mapped is not None:
                value, check = mapped[offset:stop], CHECK.unpack_from(mapped, stop)[0]
            else:
                value, check = self.log.read_value(segment, offset, size)
        except (Corrupt, StorageFailed, struct.error):
            return self._load_again(key, row)
        if crc32c(key, crc32c(value) ^ ((version ^ (version >> 32)) & FOLD)) == check:
            return value
        return self._load_again(key, row)

    def load_now(self, key: bytes) -> tuple[bytes, bytes | None] | None:
        """An object's index entry and its value; no value where it is not one slice in memory.

        None where the index would have to be waited for. Never waits for the disk (rule 12).

        Raises:
            NotFound, Moved.
        """
        self._hold_range(key)
        if self.cold and not self.state.holds((key,)):
            return None
        row = self.state.entry(key)
        if not row:
            raise self._absence(key)
        version, _, expires, size, _, flags, _, segment, offset = ENTRY.unpack_from(row)
        if expires and expires <= self.time.now_ns():
            raise NotFound
        if flags & SPECIAL or size > NOW_BYTES:
            return row, None
        found = self.log.read_now(segment, offset, size)
        if found is None:
            return row, None
        value, check = found
        if crc32c(key, crc32c(value) ^ ((version ^ (version >> 32)) & FOLD)) == check:
            return row, value
        return row, None

    def stands(self, key: bytes, row: bytes, base: object) -> bool:
        """Whether an object's entry is still ``row``, which it was after ``base`` was read.

        ``base`` is that of the bucket's state. Never waits; False where that is not known.
        """
        return self.start <= key < self.stop and self.state.stands(key, row, base)

    def _load_again(self, key: bytes, row: bytes) -> bytes | Entry:
        """The slow way of ``load``: read, and ask again where the object moved meanwhile."""
        while True:
            entry = unpack(row)
            extent = entry.extents[0]
            try:
                return self.log.value(
                    key, extent.version, extent.segment, extent.offset, extent.length
                )
            except (Corrupt, StorageFailed):
                again = self.entry(key)
                if again is None:
                    raise self._absence(key) from None
                self._hold_range(key)
                if again == row:
                    raise
                row = again
                if unpack(row).flags & Flag.LARGE or len(unpack(row).extents) > 1:
                    return unpack(row)

    def _hold_range(self, key: bytes) -> None:
        if not self.start <= key < self.stop:
            raise Moved(bucket=self.id)

    def _absence(self, key: bytes) -> Moved | NotFound:
        """Why a key is not here: the range may have been cut since it was looked at."""
        return NotFound() if self.start <= key < self.stop else Moved(bucket=self.id)

    def object(self, key: bytes) -> Object:
        """What is known of a live object; NotFound, Moved otherwise."""
        entry, ids = self._listed(key)
        attributes = entry.attributes
        return Object(entry, len(ids), attributes.upload, attributes.parts_bytes)

    def living(self, key: bytes) -> Entry:
        """A live object's entry, without its list; as ``object``, but never waits for a lock."""
        self._hold_range(key)
        row = self.entry(key)
        if row is None:
            raise self._absence(key)
        entry = unpack(row)
        if entry.expires_ns and entry.expires_ns <= self.time.now_ns():
            raise NotFound
        return entry

    def _listed(self, key: bytes) -> tuple[Entry, list[bytes]]:
        """A live object's entry and its reference list, both of one moment."""
        entry = self.living(key)
        if not entry.flags & Flag.MANAGED:
            return entry, []
        with self.lock:  # they lie in two tables, which a group changes one behind the other
            entry = self.living(key)
            row = self.state.get(Table.CONSUMERS, key) if entry.flags & Flag.MANAGED else None
        return entry, rows.split_ids(rows.unpack_row(row).payload) if row else []

    def row(self, key: bytes) -> bytes | None:
        """An object's index entry as it stands, or None; Moved."""
        row = self.entry(key)
        self._hold_range(key)  # behind the look: what was given away is not absent
        return row

    def consumers(self, key: bytes) -> list[str | bytes]:
        """The ids of an object's reference list, in order."""
        return list(map(rows.decode_id, self._listed(key)[1]))

    def read_extents(self, key: bytes, entry: Entry, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` of what an entry's extents hold together."""
        pieces = []
        at = 0
        for extent in entry.extents:
            low, high = max(start - at, 0), min(stop - at, extent.length)
            if low < high:
                pieces.append(self._extent(key, extent)[low:high])
            at += extent.length
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def hold(self, key: bytes, entry: Entry) -> Hold:
        """Keep what an entry's extents lie in, replaced or not, for the grace of readers (rule 8).

        Raises:
            Changed: that is not the object any more. Moved.
        """
        with self.lock:
            row = self.row(key)
            if row is None or unpack(row).extents != entry.extents:
                raise Changed
            segments = frozenset(extent.segment for extent in entry.extents)
            made = Hold(segments, self.time.now_ns() + READ_GRACE_NS)
            self.holds.add(made)
        return made

    def pinned(self) -> set[int]:
        """The segments that backups still have to copy, or somebody reads from."""
        with self.lock:
            now = self.time.now_ns()
            held = (hold.segments for hold in self.holds if now < hold.until_ns)
            return {*self.log.pinned}.union(*held)

    def _extent(self, key: bytes, extent: Extent) -> bytes:
        """An extent's bytes; where it was evacuated meanwhile, from its new place."""
        while True:
            try:
                return self.log.value(
                    key, extent.version, extent.segment, extent.offset, extent.length
                )
            except (Corrupt, StorageFailed):
                row = self.entry(key)
                self._hold_range(key)
                found = unpack(row).extents if row else ()
                moved = next((e for e in found if e.version == extent.version), None)
                if moved == extent:
                    raise
                if moved is None:
                    raise Changed from None
                extent = moved

    def continues(self, position: Position, *, merged: bool = False) -> bool:
        """As ``Log.continues``, for a caller who holds the lock.

        Not where the bucket was merged away: its files go, or have gone.
        """
        return self.start < self.stop and self.log.continues(position, merged=merged)

    def page(
        self,
        start: bytes,
        stop: bytes,
        limit: int,
        table: Table = Table.KEYS,
        *,
        uncut: bool = False,
    ) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """About ``limit`` rows from ``start``, and where to go on below ``stop``.

        That may be where this bucket ends: told with the rows, because a split or a merge may
        move the end as soon as the lock is given back. Expired objects are among the rows: the
        caller knows what it asks for. Moved where ``start`` lies elsewhere. ``uncut`` as in
        ``View.scan``.
        """
        self.state.order(table)  # before the lock: writers need not wait for that
        with self.lock:
            if not self.start <= start < self.stop:
                raise Moved(bucket=self.id)
            end = min(stop, self.stop)
            page, after = self.state.page(table, start, end, limit, uncut=uncut)
            return page, end if after is None and end < stop else after
