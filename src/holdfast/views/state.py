"""A bucket's state: the newest rows in memory, the rest in its view.

Rows live in layers, newest first: the active overlay, overlays that are being
absorbed, the view. A reader asks them in that order, and an overlay leaves only
after the view's commit, so no reader misses a row on its way down (rule 2).
Deleted rows stay in an overlay as ``DELETED`` until they are absorbed.
"""

from __future__ import annotations

import struct
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from heapq import heappush
from itertools import islice
from typing import NamedTuple

from sortedcontainers import SortedList

from holdfast.limits import OVERLAY_RECORDS
from holdfast.log.entry import DELETED, ENTRY, ENTRY_BYTES, live_bytes, unpack
from holdfast.log.ordering import in_order
from holdfast.log.packs import Pack
from holdfast.log.records import OVERHEAD, Flag
from holdfast.views.port import Table, View
from holdfast.views.presence import Presence

ROW_OVERHEAD = 220  # bytes of two bytes objects and a dict slot, measured
PLAIN_HELD = ENTRY_BYTES + ROW_OVERHEAD  # of a plain store's row in memory, beside its key
CHANGED_MOST = 10_000  # keys of an overlay that are noted because they were set twice
ORDERED_LEAST = 10_000  # keys of an overlay that are put in order while nobody waits, and ...
ORDERED_PART = 4  # ... the part of all that must be new, else each goes where it belongs
ORDERED_AT_ONCE = 500  # that others wait for
PORTION_LEAST = 64 << 10  # bytes that each overlay may take, however many there are
EXPIRES = struct.Struct("<Q")
EXPIRES_AT = 16  # of the expiry in an entry (log/entry.py)
FLAGS = struct.Struct("<H")
FLAGS_AT = 36  # of the flags in an entry
SIDE = struct.Struct("<QII")  # the head of a side table's row (bucket/rows.py)
COUNTED = struct.Struct("<24xQ4xH2xI8x")  # size, flags and segment of an entry
CAREFUL = Flag.PERMANENT | Flag.MANAGED | Flag.LARGE
TABLES = (Table.KEYS, Table.CONSUMERS, Table.LOCKS, Table.UPLOADS, Table.SESSIONS)


def needs_care(row: bytes) -> bool:
    """Whether an entry's object must be looked at before it is overwritten."""
    return bool(FLAGS.unpack_from(row, FLAGS_AT)[0] & CAREFUL)


class Tally:
    """Counts of objects and bytes: of a view, or what an overlay adds to those below it.

    ``live`` is the bytes of records that rows keep alive, by segment;
    ``special`` counts objects that a plain store must not overwrite unseen.
    """

    __slots__ = ("keys", "live", "special")

    def __init__(self, keys: int = 0, special: int = 0, live: dict[int, int] | None = None):
        self.keys = keys
        self.special = special
        self.live: dict[int, int] = defaultdict(int, live or {})

    def count(self, key: bytes, row: bytes, sign: int) -> None:
        """Count an object in (``sign`` 1) or out (-1)."""
        _, _, _, size, _, flags, attrs_len, segment, _ = ENTRY.unpack_from(row)
        self.keys += sign
        if flags:
            entry = unpack(row)
            if flags & CAREFUL:
                self.special += sign
            for at, taken in live_bytes(key, entry):
                self.live[at] += sign * taken
        else:
            taken = OVERHEAD + len(key) + attrs_len + size
            self.live[segment] += sign * taken

    def count_out(self, key: bytes, row: bytes) -> None:
        """Count an object out that is replaced, unless it was removed already."""
        if row:
            self.count(key, row, -1)

    def count_all_out(self, keys: Collection[bytes], rows: Sequence[bytes]) -> None:
        """The same for many, quicker where all are plain entries."""
        if set(map(len, rows)) != {ENTRY_BYTES}:
            for key, row in zip(keys, rows, strict=True):
                self.count_out(key, row)
            return
        live, told = self.live, COUNTED.iter_unpack(b"".join(rows))
        for key, row, (size, flags, segment) in zip(keys, rows, told, strict=True):
            if flags:
                self.count(key, row, -1)
            else:
                self.keys -= 1
                live[segment] -= OVERHEAD + len(key) + size

    def count_bytes(self, segment: int, taken: int) -> None:
        """Count bytes of a segment in, or out where negative."""
        self.live[segment] += taken

    def add(self, other: Tally) -> None:
        """Take another tally's counts in."""
        self.keys += other.keys
        self.special += other.special
        for segment, taken in other.live.items():
            self.live[segment] += taken

    def total(self) -> int:
        """Live bytes over all segments."""
        return sum(self.live.values())


class Overlay:
    """Rows in memory, per table, with their keys in order when a list asks.

    ``tally`` counts what this overlay's own rows are, and counts out what the
    first ``resolved`` keys hide in the layers below; the others are looked up
    when somebody needs exact figures, in batches, and at the latest when the
    overlay is absorbed. An absorption that began before anybody looked counts by
    runs of ascending keys, up to ``counted_to``, because keys that turn out to be new
    to the view need no look; whoever looks meanwhile leaves in ``counted`` what it did.
    """

    __slots__ = (
        "_arrivals",
        "_order",
        "_stops",
        "changed",
        "counted",
        "counted_to",
        "expiring",
        "held",
        "keys",
        "most",
        "packed",
        "packs",
        "present",
        "resolved",
        "tables",
        "tally",
        "timed",
    )

    def __init__(self) -> None:
        self.tally = Tally()
        self.resolved = 0
        self.counted: set[bytes] | None = None
        self.counted_to = b""
        self.timed = False  # whether any row ever had an expiry
        self.present: Presence | None = None  # knows all keys of this one, and those that come
        self._arrivals: list[bytes] = []
        self.tables: dict[Table, dict[bytes, bytes]] = {table: {} for table in TABLES}
        self.keys = self.tables[Table.KEYS]
        # Rows once more, for columns, but for those that came alone (``strays``) and those that
        # were set twice (``changed``); None where these are many.
        self.packs: list[Pack] | None = []
        self.packed = 0  # rows in packs
        self.changed: set[bytes] = set()
        self._stops: list[int] = []  # of each pack, among the keys as they arrived
        self.expiring: list[tuple[int, bytes]] = []
        self.held = 0  # bytes of memory, approximately
        self.most = PORTION_LEAST  # of these, before somebody asks for more (bucket/room.py)
        self._order: dict[Table, SortedList[bytes]] = {}

    def records(self) -> int:
        """Rows held, all tables."""
        return sum(map(len, self.tables.values()))

    def is_full(self) -> bool:
        """Whether it may take no more (rules 4, 10). Stores reach the bytes before the count."""
        return self.held >= self.most or self.has_most_records()

    def has_most_records(self) -> bool:
        """Whether no other portion of memory lets it take more."""
        return len(self.keys) >= OVERLAY_RECORDS

    def put_plain(
        self,
        rows: dict[bytes, bytes],
        segment: int,
        taken_bytes: int,
        *,
        fresh: Presence | None = None,
    ) -> bool:
        """Set the entries of plain stores whose records take so many bytes of one segment.

        Whether none of them was there; ``fresh`` knows the keys, of which none was.
        """
        keys, tally = self.keys, self.tally
        new = fresh is not None or keys.keys().isdisjoint(rows)
        if not new:
            again = keys.keys() & rows.keys()
            old = list(map(keys.__getitem__, again))
            self.held -= ROW_OVERHEAD * len(old) + sum(map(len, again)) + sum(map(len, old))
            tally.count_all_out(again, old)
            self.change(again)
        keys.update(rows)
        if self.present is not None and self.present is not fresh:
            self.present.add(rows)
        tally.keys += len(rows)
        tally.count_bytes(segment, taken_bytes)
        self.held += sum(map(len, rows)) + PLAIN_HELD * len(rows)
        return new

    def pack(self, pack: Pack) -> None:
        """Keep rows once more that have just been set and were not there before."""
        if self.packs is not None:
            self.packs.append(pack)
            self.packed += len(pack)
            self._stops.append(len(self.keys))

    def change(self, keys: Collection[bytes]) -> None:
        """Note keys whose rows are set once more: what packs say of them is not the last word."""
        if self.packs:
            self.changed.update(keys)
            if len(self.changed) > CHANGED_MOST:
                self.packs = None
                self.changed = set()

    def strays(self, pace: Callable[[], None]) -> list[bytes]:
        """Keys that came alone, as they arrived; ``pace`` is called between slices of others."""
        keys, at, found = iter(self.keys), 0, list[bytes]()
        for pack, stop in zip(self.packs or (), self._stops, strict=True):
            found += islice(keys, stop - len(pack) - at)
            deque(islice(keys, len(pack)), maxlen=0)
            at = stop
            pace()
        return found + list(keys)

    def expires(self, expires_ns: int, key: bytes) -> None:
        """Remember when a row's time comes."""
        self.timed = True
        heappush(self.expiring, (expires_ns, key))

    def arrived(self, start: int, count: int) -> list[bytes]:
        """Keys of objects by the order of their first arrival, ``count`` from ``start``."""
        fresh = len(self.keys) - len(self._arrivals)
        if fresh:
            # Rows are never taken out of a dict, so what is new came last.
            newest = list(islice(reversed(self.keys), fresh))
            self._arrivals += reversed(newest)
        return self._arrivals[start : start + count]

    def uncounted(self, keys: list[bytes]) -> list[bytes]:
        """Those of some keys of which it is not ``counted`` what they hide."""
        counted, most = self.counted, self.counted_to
        if counted is None:
            return keys
        return [key for key in keys if key > most and key not in counted]

    def count_hidden(self, rows: dict[bytes, bytes]) -> None:
        """Count out rows that those of this overlay hide, but for those ``counted``."""
        keys = self.uncounted(list(rows))
        for key in keys:
            self.tally.count(key, rows[key], -1)
        if self.counted is not None:
            self.counted.update(keys)

    def order(self, table: Table) -> None:
        """Put many keys in order before ``slice`` is asked for some; nobody need wait meanwhile.

        So many that they would all be put in order anew. Those that come meanwhile are the last,
        and are put where they belong until few are left.
        """
        rows, known = self.tables[table], len(self._order.get(table, ()))
        if len(rows) - known < max(ORDERED_LEAST, len(rows) // ORDERED_PART):
            return
        made = SortedList(key for run in in_order(list(rows), lambda: None) for key in run)
        while len(rows) - len(made) > ORDERED_AT_ONCE:
            made.update(list(islice(rows, len(made), None)))
        if len(made) > len(self._order.get(table, ())):
            self._order[table] = made

    def slice(
        self, table: Table, start: bytes, stop: bytes, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """At most ``limit`` rows with ``start <= key < stop``, deleted ones included."""
        rows = self.tables[table]
        if not rows:
            return []
        order = self._order.get(table)
        if order is None:
            order = self._order[table] = SortedList(rows)
        elif len(order) < len(rows):
            # Rows are never taken out of a dict, so what is new came last.
            order.update(islice(reversed(rows), len(rows) - len(order)))
        keys = islice(order.irange(start, stop, inclusive=(True, False)), limit)
        return [(key, rows[key]) for key in keys]


class Beneath(NamedTuple):
    """What some keys of an overlay hide: rows of the overlays below it, and who knows the rest."""

    view: View
    found: dict[bytes, bytes]
    left: list[bytes]

    def rows(self) -> dict[bytes, bytes]:
        """The rows that they hide. The view is asked: nobody has to wait for that."""
        found = self.found | self.view.get_many(Table.KEYS, self.left)
        return {key: row for key, row in found.items() if row}


class State:
    """The layered rows of one bucket. Writers hold the bucket's lock; readers need none.

    ``base`` stands for the rows of the view: as long as it is the same, so is what lies there
    under a key that no overlay has.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self.base = object()
        self.active = Overlay()
        self.keys = self.active.keys
        self.frozen: tuple[Overlay, ...] = ()

    def entry(self, key: bytes) -> bytes | None:
        """The index entry of a composite key, or None."""
        found = self._overlaid(key)
        return self._viewed(Table.KEYS, key) if found is None else found or None

    def stands(self, key: bytes, row: bytes, base: object) -> bool:
        """Whether ``entry`` would still give the row that it gave after ``base`` was read.

        Never asks the view; False where only that could tell.
        """
        found = self._overlaid(key)
        return self.base is base if found is None else found == row

    def _overlaid(self, key: bytes) -> bytes | None:
        """What the first overlay that has a key says of it; None where none has."""
        found = self.keys.get(key)
        if found is None:
            for layer in self.frozen:
                found = layer.keys.get(key)
                if found is not None:
                    break
        return found

    def holds(self, keys: Iterable[bytes]) -> bool:
        """Whether overlays say of all keys what there is, so that the view need not be asked."""
        layers = (self.active, *self.frozen)
        return all(any(key in layer.keys for layer in layers) for key in keys)

    def entries(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The index entries of composite keys, in any order; as ``entry``, the view asked once."""
        rows: list[bytes | None] = list(map(self.keys.get, keys))
        for layer in self.frozen:
            if None not in rows:
                break
            get = layer.keys.get
            rows = [get(k) if row is None else row for k, row in zip(keys, rows, strict=True)]
        if None in rows:
            left = sorted({k for k, row in zip(keys, rows, strict=True) if row is None})
            found = self._viewed_many(left)
            rows = [found.get(k) if row is None else row for k, row in zip(keys, rows, strict=True)]
        return [row or None for row in rows]

    def _viewed_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Entries of the view; asked again where another took its place meanwhile."""
        while True:
            view = self.view
            found = view.get_many(Table.KEYS, keys)
            if len(found) == len(keys) or self.view is view:
                return found

    def _viewed(self, table: Table, key: bytes) -> bytes | None:
        """A row of the view; asked again where another view took its place meanwhile.

        What a child read through its parent's view is taken out of that once the
        child has its own.
        """
        while True:
            view = self.view
            row = view.get(table, key)
            if row is not None or self.view is view:
                return row

    def get(self, table: Table, key: bytes) -> bytes | None:
        """A row of any table, or None."""
        for layer in (self.active, *self.frozen):
            found = layer.tables[table].get(key)
            if found is not None:
                return found or None
        return self._viewed(table, key)

    def put_entry(self, key: bytes, row: bytes) -> None:
        """Set an object's entry; ``DELETED`` removes it. The caller holds the bucket's lock."""
        active = self.active
        old = self.keys.get(key)
        self.keys[key] = row
        if active.present is not None:
            active.present.add((key,))
        active.held += len(row) + (ROW_OVERHEAD + len(key) if old is None else -len(old))
        if old is not None:
            active.change((key,))
        if old:
            active.tally.count(key, old, -1)
        if row:
            active.tally.count(key, row, 1)
            expires = EXPIRES.unpack_from(row, EXPIRES_AT)[0]
            if expires:
                active.expires(expires, key)

    def put_side(self, table: Table, key: bytes, row: bytes) -> None:
        """Set a side table's row; ``DELETED`` removes it. The caller holds the bucket's lock."""
        active = self.active
        old = self.get(table, key)
        for known, sign in ((old, -1), (row, 1)):
            if known:
                _, segment, taken = SIDE.unpack_from(known)
                active.tally.count_bytes(segment, sign * taken)
        there = active.tables[table].get(key)
        active.held += len(row) + (ROW_OVERHEAD + len(key) if there is None else -len(there))
        active.tables[table][key] = row

    def unresolved(self) -> Overlay | None:
        """The oldest overlay of which not all is counted out that it hides."""
        layers = (*reversed(self.frozen), self.active)
        return next((one for one in layers if one.resolved < len(one.keys)), None)

    def beneath(self, overlay: Overlay, keys: list[bytes]) -> Beneath:
        """Where what ``keys`` (ascending) of an overlay hide is found, unless it is ``counted``."""
        layers, keys = (self.active, *self.frozen), overlay.uncounted(keys)
        found: dict[bytes, bytes] = {}
        for layer in layers[layers.index(overlay) + 1 :]:
            hits = {k: row for k in keys if (row := layer.keys.get(k)) is not None}
            found.update(hits)
            keys = [k for k in keys if k not in hits]
        return Beneath(self.view, found, keys)

    def tally(self, view_tally: Tally) -> Tally:
        """The counts over all layers; exact once every overlay is resolved."""
        total = Tally(view_tally.keys, view_tally.special, dict(view_tally.live))
        for layer in (self.active, *self.frozen):
            total.add(layer.tally)
        return total

    def freeze(self) -> Overlay:
        """Put a new overlay on top; the old one is now read-only."""
        old = self.active
        fresh = Overlay()
        # In this order: a reader that meets the new overlay finds the old one behind it.
        self.frozen = (old, *self.frozen)
        self.active = fresh
        self.keys = fresh.keys
        return old

    def thaw(self, absorbed: Iterable[Overlay]) -> None:
        """Let go of overlays that the view has committed."""
        gone = set(map(id, absorbed))
        self.base = object()  # before they go: who does not meet them any more sees that
        self.frozen = tuple(layer for layer in self.frozen if id(layer) not in gone)

    def order(self, table: Table) -> None:
        """What takes a ``page`` of many rows in memory long, for who comes without a lock."""
        for layer in (self.active, *self.frozen):
            layer.order(table)

    def page(
        self,
        table: Table,
        start: bytes,
        stop: bytes,
        limit: int,
        *,
        uncut: bool = False,
    ) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """About ``limit`` live rows from ``start``, and where the next page starts or None.

        ``uncut`` as in ``View.scan``.

        Overlays are sliced first, then the view's snapshot is read. A source
        that was cut off at ``limit`` bounds what is known; the page ends there.
        """
        layers = [layer.slice(table, start, stop, limit) for layer in (self.active, *self.frozen)]
        rows = self.view.scan(table, start, stop, limit, uncut=uncut)
        sources = [rows, *layers]
        horizon = min((s[-1][0] for s in sources if len(s) >= limit), default=None)
        layers = [layer for layer in layers if layer]
        if layers:
            merged = dict(rows)
            for layer in reversed(layers):
                merged.update(layer)
            rows = sorted(
                item
                for item in merged.items()
                if item[1] != DELETED and (horizon is None or item[0] <= horizon)
            )
        after = None if horizon is None else horizon + b"\0"
        return rows, after

    def records(self) -> int:
        """Rows not yet absorbed."""
        return self.active.records() + sum(layer.records() for layer in self.frozen)

    def bytes_held(self) -> int:
        """Memory of all overlays, approximately, in bytes."""
        return self.active.held + sum(layer.held for layer in self.frozen)
