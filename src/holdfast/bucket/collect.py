"""Collectors: give the space of dead records back (docs/ARCHITECTURE.md).

Both evacuate: what is alive in a segment is written again, unchanged, into the
active segment, and then the segment is dropped. *Copying* takes segments that
are less than half alive and needs spare room for what it copies; *compacting*
takes one segment at a time, the deadest first, into a reserve of one segment
that nothing else may use. No live byte is ever overwritten, and a segment that
another bucket or a backup shares is only let go of, never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING

import msgspec

from holdfast.bucket import commit, noting
from holdfast.bucket.checkpoint import Pace, checkpoint, never, no_pace
from holdfast.bucket.deciding import apply_in_lots
from holdfast.bucket.rewrite import SIDE_TABLES
from holdfast.bucket.rows import unpack_row
from holdfast.bucket.seal import read, read_rows, seal
from holdfast.errors import HoldfastError, Moved
from holdfast.log.doubt import doubted
from holdfast.log.entry import ENTRY, ENTRY_BYTES, keeps, tells_of, unpack
from holdfast.log.keyblock import KeyBlock, Plain, Row, build
from holdfast.log.ordering import in_order, paced
from holdfast.log.records import NEVER as NO_TIME
from holdfast.log.records import REMOVALS, Flag, Type
from holdfast.operations import Evacuate
from holdfast.views.port import Table

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket

BATCH_BYTES = 1 << 20
BATCH_ROWS = 100
CHUNK = 256  # segments dropped by one record
LOT = 32  # rows that are looked up between two calls of pace: less than 0.1 ms
LOOKS = 300  # rows that are only looked at between two
KEPT_ROWS = 100_000  # of segments without a key block, so that they are read once
SEEK_ROWS = 8  # rows of a key block that are passed over in the time of one search
HALF = 0.5
DEAD_PART = 4  # of a segment that must be dead before the active one is ended for it
ENDINGS = REMOVALS | {Type.UNLOCK}  # keep nothing alive, but hold something dead
OBJECTS = frozenset((Type.STORE, Type.APPEND, Type.JOIN))  # what a removal ends
LOCKS = frozenset((Type.LOCK,))  # what an unlock ends
REVIVED = OBJECTS | LOCKS
NEVER = 1 << 64


class Collected(msgspec.Struct):
    """What a collection has done so far: bytes moved, and segments that were dropped.

    ``dropped`` has the bytes of each file by its bucket of origin and number there: buckets
    that share one drop it once each, and the last of them gives its space back.
    """

    dropped: dict[tuple[str, int], int] = {}
    moved: int = 0
    segments: int = 0

    def add(self, other: Collected) -> None:
        """Count another collection in."""
        self.dropped.update(other.dropped)
        self.moved += other.moved
        self.segments += other.segments


def candidates(bucket: Bucket, most_alive: float, *, again: bool = True) -> list[int]:
    """Ended segments whose live share is below ``most_alive``, the oldest first.

    The oldest first, because a removal may go once no older segment holds what
    it removed. Only segments that the view has absorbed, if it has absorbed any: a
    checkpoint must be found in the log, and all that follows it. With
    ``again=False`` evacuated removals count as alive, so that upkeep does not move
    what had to stay over and over.
    """
    if bucket.lender is not None or bucket.births:
        return []
    tally, pinned = bucket.tally(), bucket.pinned()
    chosen = []
    for number, info in list(bucket.log.ended.items()):
        if number in pinned:
            continue
        if is_absorbed(bucket, number):
            live = max(0, tally.live.get(number, 0))
            live += 0 if again else bucket.kept.get(number, 0)
            if live < most_alive * info.stop:
                chosen.append(number)
    return sorted(chosen)


def is_absorbed(bucket: Bucket, number: int) -> bool:
    """Whether no view needs this ended segment to catch up: it is absorbed, or there is none."""
    absorbed, log = bucket.absorbed, bucket.log
    if absorbed is None or number < absorbed.segment:
        return True
    # What was shared or taken in has a number above, and was absorbed with the rest.
    foreign = log.ended[number].origin != bucket.id or number > absorbed.segment
    return foreign and absorbed.segment == log.number


def collect(
    bucket: Bucket,
    numbers: list[int],
    done: Collected,
    pace: Pace = no_pace,
    *,
    room: int = 0,
    enough: Callable[[], bool] = never,
) -> None:
    """Evacuate and drop segments, as many at a time as leave one segment's worth alive.

    Where there is ``room`` for more bytes, more go at a time: deletes are held
    against fewer segments that stay. ``enough`` is asked behind each lot.

    Whoever comes second waits: upkeep and a writer that splits may choose the same
    segments, and one would read what the other drops.
    """
    with bucket.collecting:
        there = [number for number in numbers if number in bucket.log.ended]
        endings = Endings(bucket, pace)
        for chunk in _chunks(bucket, there, max(bucket.settings.segment_bytes, room)):
            endings.look(chunk)
            _collect_chunk(bucket, chunk, endings, done)
            if enough():
                return


def try_collect(bucket: Bucket, pace: Pace = no_pace, enough: Callable[[], bool] = never) -> bool:
    """Copy what is less than half alive, unless somebody collects already; whether it was done."""
    if not bucket.collecting.acquire(blocking=False):
        return False
    try:
        prepare(bucket, pace)
        collect(bucket, candidates(bucket, HALF), Collected(), pace, enough=enough)
    finally:
        bucket.collecting.release()
    return True


def _chunks(bucket: Bucket, numbers: list[int], most: int) -> Iterator[list[int]]:
    live = bucket.tally().live
    chunk: list[int] = []
    size = 0
    for number in numbers:
        taken = live.get(number, 0) + bucket.kept.get(number, 0)
        if chunk and (size + taken > most or len(chunk) >= CHUNK):
            yield chunk
            chunk, size = [], 0
        chunk.append(number)
        size += taken
    if chunk:
        yield chunk


def _collect_chunk(bucket: Bucket, chunk: list[int], endings: Endings, done: Collected) -> None:
    """Evacuate some segments and drop them by one record, all or none.

    None, where one of them is needed meanwhile: deletes are left behind in view of
    all that goes. The log is durable beyond what was moved before it says so.
    """
    log = bucket.log
    pace = endings.pace
    sizes = {}
    for number in chunk:
        if number not in log.ended:
            return
        sizes[number] = log.segment(number).size
        done.moved += _evacuate(bucket, number, endings, pace)
    bucket.sync_to(bucket.published)
    with commit.alone(bucket):
        if bucket.births or not log.ended.keys() - bucket.pinned() >= set(chunk):
            return
        commit.write_control(bucket, Type.DROP, msgspec.msgpack.encode(chunk))
        for number in chunk:  # whoever looks next, a backup too, finds what the log says
            info = log.ended.pop(number)
            done.dropped[info.origin, info.origin_number] = sizes[number]
    for number in chunk:
        bucket.kept.pop(number, None)
        noting.forget(bucket, number)
        log.drop(number)
        pace()
    done.segments += len(chunk)


def expel(bucket: Bucket, start: bytes, stop: bytes, pace: Pace = no_pace) -> bool:
    """Leave no record of a foreign range in any ended segment; whether that is so.

    A fork shares segments with all that is in them. A bucket that took a range
    back while such a segment still holds old records of it would find them when
    it derives its view again: the deletes that stood against them may be gone.
    """
    bucket.finish_birth(pace)
    with bucket.lock:
        ended = sorted(bucket.log.ended)
    foreign = [number for number in ended if _holds_range(bucket, number, start, stop)]
    if foreign:
        prepare(bucket, pace)
        collect(bucket, foreign, Collected(), pace)
    return not any(number in bucket.log.ended for number in foreign)


def _holds_range(bucket: Bucket, number: int, start: bytes, stop: bytes) -> bool:
    block = bucket.log.key_block(number)
    if block is None:
        seal(bucket, number)
        block = bucket.log.key_block(number)
    if block is None:
        return True
    index = block.seek(start)
    return index < block.count and block.row(index).key < stop


def _evacuate(bucket: Bucket, number: int, endings: Endings, pace: Pace) -> int:
    """Write a segment's live records again; the bytes of their values."""
    batch: list[Evacuate] = []
    size = moved = 0
    for row in _alive(bucket, number, endings):
        operation = _operation(bucket, row, number)
        batch.append(operation)
        size += len(operation.value)
        if size >= BATCH_BYTES or len(batch) >= BATCH_ROWS:
            moved += _move(bucket, batch, pace)
            batch, size = [], 0
    return moved + _move(bucket, batch, pace)


def _alive(bucket: Bucket, number: int, endings: Endings) -> Iterator[Row]:
    """The rows of records that must be written again, in the order of their keys.

    They are judged without reading a value, many at a time: most are dead, and get no object.
    """
    block = bucket.log.key_block(number)
    rows = endings.read(number) if block is None else block.plain()
    lots = iter(lambda: list(islice(rows, LOT)), [])
    worth = chain.from_iterable(
        _worth(bucket, lot, number, endings) for lot in paced(lots, 1, endings.pace)
    )
    if block is not None:
        yield from worth
        return
    for run in in_order(list(worth), endings.pace, itemgetter(0)):
        yield from run


def _worth(bucket: Bucket, lot: list[Plain], number: int, endings: Endings) -> list[Row]:
    """Those of some records that must be written again."""
    # Under the lock: while the view is derived again, the state knows nothing.
    with bucket.lock:
        entries = bucket.state.entries([key for key, _, _, _ in lot])
    found = []
    for row, entry in zip(lot, entries, strict=True):
        key, _, kind, told = row
        alive: bool | None = entry is not None
        if kind != Type.STORE:
            alive = None
        elif entry is not None:
            alive = tells_of(entry, told)
        if alive is None:
            alive = _is_worth(bucket, Row._make(row), entry, number, endings)
        if alive and bucket.start <= key < bucket.stop:
            found.append(Row._make(row))
    return found


def _is_worth(  # noqa: PLR0917 - a record, and what is known of its key
    bucket: Bucket, row: Row, entry: bytes | None, number: int, endings: Endings
) -> bool:
    """Whether the published state or what stays behind needs a record.

    Not what groups on their way will make of it: those may fail.
    """
    if row.type in ENDINGS:
        return endings.is_needed(row, entry)
    table = SIDE_TABLES.get(row.type, Table.KEYS)
    if table is not Table.KEYS:
        with bucket.lock:
            known = bucket.state.get(table, row.key)
        side = None if known is None else unpack_row(known)
        return side is not None and (side.version, side.segment) == (row.version, number)
    if entry is None:
        return False
    if row.type == Type.RELEASE:
        extents = unpack(entry).extents
        return bool(extents) and extents[0].version < row.version
    return keeps(entry, row.version, number)


class Endings:
    """Which deletes and unlocks must stay: those that stand against a record that stays.

    Args:
        bucket: whose records.
        pace: called between slices of work.
    """

    def __init__(self, bucket: Bucket, pace: Pace) -> None:
        self._bucket = bucket
        self.pace = pace
        self._kept: dict[int, list[Plain]] = {}  # rows of segments without a key block
        self._unwritten: dict[int, KeyBlock] = {}  # of segments that are not sealed yet
        self._oldest: dict[int, int] = {}  # by segment: the lowest version it could revive
        self._older: dict[tuple[bytes, bool], int] = {}

    def look(self, going: list[int]) -> None:
        """Find what stays behind when these segments are dropped together."""
        self._older, self._kept = {}, {}
        asked: dict[bytes, int] = {}
        for number in going:
            for key, version, kind, _ in self._rows(number):
                if kind in ENDINGS:
                    asked[key] = max(version, asked.get(key, 0))
        if not asked:
            return
        latest = max(asked.values())
        for number in sorted(set(self._bucket.log.ended) - set(going)):
            if self._oldest_in(number) < latest:
                block = self._block(number)
                few = len(asked) * SEEK_ROWS < block.count
                found = _found(block, asked) if few else block.plain(REVIVED, self.pace)
                for row in paced(found, LOOKS, self.pace):
                    self._note(row, asked)

    def is_needed(self, row: Row, entry: bytes | None) -> bool:
        """Whether a segment that stays holds what this record ended; ``entry`` is its key's."""
        unlocks = row.type == Type.UNLOCK
        if self._older.get((row.key, unlocks), NEVER) >= row.version:
            return False
        # The object that came after it says as much.
        return unlocks or entry is None or unpack(entry).extents[0].version < row.version

    def read(self, number: int) -> Iterator[Plain]:
        """Rows of a segment without a key block, all that live among them; in no order."""
        rows = self._kept.pop(number, None) or noting.rows_of(self._bucket, number, self.pace)
        return iter(rows or read_rows(self._bucket.log, number, self.pace))

    def _rows(self, number: int) -> Iterable[Plain]:
        """The rows of a segment that goes, its endings at the least; read once if they are few."""
        block = self._bucket.log.key_block(number)
        if block is not None:
            return block.plain(ENDINGS, self.pace)
        rows = list(self.read(number))
        if len(rows) + sum(map(len, self._kept.values())) <= KEPT_ROWS:
            self._kept[number] = rows
        return paced(rows, LOOKS, self.pace)

    def _note(self, row: Plain, asked: dict[bytes, int]) -> None:
        key, version, kind, _ = row
        if kind in REVIVED and version < asked.get(key, 0):
            name = (key, kind in LOCKS)
            self._older[name] = min(version, self._older.get(name, NEVER))

    def _block(self, number: int) -> KeyBlock:
        block = self._bucket.log.key_block(number) or self._unwritten.get(number)
        if block is None:
            body, _ = build(read(self._bucket.log, number, self.pace))
            block = self._unwritten[number] = KeyBlock(body, number)
        return block

    def _oldest_in(self, number: int) -> int:
        oldest = self._oldest.get(number)
        if oldest is None:
            rows = self._block(number).plain(REVIVED, self.pace)
            oldest = min((version for _, version, _, _ in rows), default=NEVER)
            self._oldest[number] = oldest
        return oldest


def _found(block: KeyBlock, keys: Iterable[bytes]) -> Iterator[Row]:
    """The rows of some keys."""
    for key in keys:
        yield from block.rows_of(key)


def _operation(bucket: Bucket, row: Row, number: int) -> Evacuate:
    version, modified, expires, size, _, flags, _, _, offset = ENTRY.unpack_from(row.entry)
    with doubted(bucket.id):  # nobody has looked at these rows since they were read
        if max(modified, expires) >= NO_TIME:  # the value's own check does not cover these
            raise ValueError("a time that no clock gets to")
        value = bucket.log.value(row.key, version, number, offset, size)
    attrs = row.entry[ENTRY_BYTES:]
    return Evacuate(
        row.key,
        row.type,
        flags & ~int(Flag.MOVED) & 0xFF,
        attrs,
        value,
        version,
        modified,
        expires,
        number,
    )


def _move(bucket: Bucket, batch: list[Evacuate], pace: Pace) -> int:
    """Apply a batch of evacuations; where a key moved to another bucket, that one cares."""
    if not batch:
        return 0
    try:
        outcomes = apply_in_lots(bucket, batch, pace)
    except Moved:
        mine = [o for o in batch if bucket.start <= o.key < bucket.stop]
        return _move(bucket, mine, pace) if len(mine) < len(batch) else 0
    for outcome in outcomes:
        if isinstance(outcome, HoldfastError):
            raise outcome
    return sum(len(o.value) for o, done in zip(batch, outcomes, strict=True) if done)


def prepare(bucket: Bucket, pace: Pace = no_pace) -> None:
    """Let what is dead be seen and dropped: count exactly, absorb what lies in the way.

    The active segment ends too, where more than half of it is dead and that is
    worth a new one.
    """
    bucket.finish_birth(pace)
    tally = bucket.resolve_all(pace)
    log = bucket.log
    with commit.alone(bucket):
        live = tally.live.get(log.number, 0)
        if log.stop - live > max(live, bucket.settings.segment_bytes // DEAD_PART):
            commit.switch(bucket)
    if not all(is_absorbed(bucket, number) for number in list(log.ended)):
        checkpoint(bucket, pace)
        bucket.resolve_all(pace)
