"""How many requests of a namespace there were lately, in all processes that serve a store.

Each process writes a table of its own and reads those of the others, in one mapped file, so
nobody waits for a lock and a process that dies takes nothing along. A table is 16,384 slots:

    id       u64   BLAKE2b of the namespace's name, 8 bytes; 0 where the slot is free
    second   u64   of the clock that does not go back, when the slot was written last
    now      u32   requests that were let in within that second
    before   u32   within the second before
    at once  u32   requests under way
    -        u32   0

A request is let in where fewer than the bound were within this second, and no more within the
last 1,000 ms, all processes together: what came in the second before counts by the part of it
that is not a second ago.
Two processes that look at the same moment may both let one in.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final, NamedTuple

from holdfast.bucket.gates import may_enter
from holdfast.limits import SECOND_NS

SLOT: Final = struct.Struct("<QQIII4x")
SLOTS: Final = 16_384
TABLE_BYTES: Final = SLOTS * SLOT.size
TRIES: Final = 64  # slots that may be looked at before a namespace is given up
IDLE_S: Final = 2  # a slot that was not written for so long, with nothing under way, is free


class Seen(NamedTuple):
    """What a slot says."""

    id: int
    second: int
    now: int
    before: int
    under_way: int

    def within(self, second: int) -> tuple[int, int]:
        """Requests of a second, and of the one before."""
        if self.second == second:
            return self.now, self.before
        return 0, self.now if self.second == second - 1 else 0


class Bounds:
    """Counts requests of namespaces that have a bound.

    Args:
        tables: one table of ``TABLE_BYTES`` for each process; all of one if None.
        index: which of them is this process's own; it is emptied.

    Example:
        >>> bounds = Bounds()
        >>> [bounds.spend("acme", 2, 0) for _ in range(3)]
        [True, True, False]
    """

    def __init__(self, tables: memoryview | None = None, index: int = 0) -> None:
        self._tables = memoryview(bytearray(TABLE_BYTES)) if tables is None else tables
        self._own = index * TABLE_BYTES
        self._others = [
            at for at in range(0, len(self._tables), TABLE_BYTES) if at != index * TABLE_BYTES
        ]
        self._tables[self._own : self._own + TABLE_BYTES] = bytes(TABLE_BYTES)
        self._ids: dict[str, int] = {}

    def spend(self, name: str, rate: int, now_ns: int) -> bool:
        """Let a request in, unless there were ``rate`` within the last second.

        Args:
            name: of the namespace.
            rate: requests per second.
            now_ns: of the clock that does not go back, and is the same for all processes.
        """
        second, part_ns = divmod(now_ns, SECOND_NS)
        wanted = self._id(name)
        place = self._mine(wanted, second)
        if place is None:
            return False
        own = self._at(place)
        now, before = own.within(second)
        all_now, all_before = now, before
        for seen in self._elsewhere(wanted):
            there, there_before = seen.within(second)
            all_now += there
            all_before += there_before
        if not may_enter(rate, all_now, all_before, part_ns):
            return False
        self._write(place, Seen(wanted, second, now + 1, before, own.under_way))
        return True

    def tell(self, name: str, under_way: int, now_ns: int) -> None:
        """Have the others know how many requests of a namespace are under way here."""
        second = now_ns // SECOND_NS
        wanted = self._id(name)
        place = self._mine(wanted, second)
        if place is not None:
            now, before = self._at(place).within(second)
            self._write(place, Seen(wanted, second, now, before, under_way))

    def under_way_elsewhere(self, name: str) -> int:
        """How many requests of a namespace are under way in the other processes."""
        return sum(seen.under_way for seen in self._elsewhere(self._id(name)))

    def _id(self, name: str) -> int:
        known = self._ids.get(name)
        if known is None:
            digest = blake2b(name.encode(), digest_size=8).digest()
            known = int.from_bytes(digest, "big") or 1
            if len(self._ids) >= SLOTS:
                self._ids.clear()
            self._ids[name] = known
        return known

    def _elsewhere(self, wanted: int) -> Iterator[Seen]:
        for table in self._others:
            for place in _places(table, wanted):
                seen = self._at(place)
                if seen.id == wanted:
                    yield seen
                if seen.id in {0, wanted}:
                    break

    def _mine(self, wanted: int, second: int) -> int | None:
        """Where a namespace is counted here: its slot, else a free one."""
        free = None
        for place in _places(self._own, wanted):
            seen = self._at(place)
            if seen.id == wanted:
                return place
            idle = not seen.under_way and seen.second + IDLE_S < second
            if free is None and (idle or not seen.id):
                free = place
            if not seen.id:
                break
        return free

    def _at(self, place: int) -> Seen:
        return Seen(*SLOT.unpack_from(self._tables, place))

    def _write(self, place: int, seen: Seen) -> None:
        # In one piece, so that who reads meanwhile sees the old one or the new one.
        self._tables[place : place + SLOT.size] = SLOT.pack(*seen)


def _places(table: int, wanted: int) -> Iterator[int]:
    """Where a namespace may stand in a table, in the order in which slots are taken."""
    first = wanted % SLOTS
    for at in range(first, first + TRIES):
        yield table + at % SLOTS * SLOT.size
