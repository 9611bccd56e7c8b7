"""Collectors: give the space of dead records back (design 6.5).

Both evacuate: what is alive in a segment is written again, unchanged, into the
active segment, and then the segment is dropped. *Copying* takes segments that
are less than half alive and needs spare room for what it copies; *compacting*
takes one segment at a time, the deadest first, into a reserve of one segment
that nothing else may use. No live byte is ever overwritten, and a segment that
another bucket or a backup shares is only let go of, never changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.bucket import commit
from holdfast.bucket.checkpoint import Pace, checkpoint, no_pace
from holdfast.bucket.seal import seal
from holdfast.errors import HoldfastError, Moved
from holdfast.log.entry import ENTRY, ENTRY_BYTES
from holdfast.log.keyblock import Row
from holdfast.log.records import REMOVALS, Flag, Type
from holdfast.operations import Evacuate

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket

BATCH_BYTES = 1 << 20
BATCH_ROWS = 100
HALF = 0.5
DEAD_PART = 4  # of a segment that must be dead before the active one is ended for it
ENDINGS = REMOVALS | {Type.UNLOCK}  # keep nothing alive, but hold something dead


class Collected(msgspec.Struct):
    """What a collection has done so far: bytes and segments."""

    freed: int = 0
    moved: int = 0
    segments: int = 0


def candidates(bucket: Bucket, most_alive: float, *, again: bool = True) -> list[int]:
    """Ended segments whose live share is below ``most_alive``, the oldest first.

    The oldest first, because a removal may go once no older segment holds what
    it removed. Only segments that the view has absorbed: a checkpoint must be
    found in the log. With ``again=False`` evacuated removals count as alive, so
    that upkeep does not move what had to stay over and over.
    """
    absorbed = bucket.absorbed
    if absorbed is None or bucket.lender is not None or bucket.births:
        return []
    tally = bucket.tally()
    chosen = []
    for number, info in list(bucket.log.ended.items()):
        if number in bucket.log.pinned:
            continue
        foreign = info.origin != bucket.id or number > absorbed.segment
        if number < absorbed.segment or (foreign and absorbed.segment == bucket.log.number):
            live = max(0, tally.live.get(number, 0))
            live += 0 if again else bucket.kept.get(number, 0)
            if live < most_alive * info.stop:
                chosen.append(number)
    return sorted(chosen)


def collect(bucket: Bucket, numbers: list[int], pace: Pace = no_pace) -> Collected:
    """Evacuate and drop these segments, one after the other."""
    done = Collected()
    for number in numbers:
        collect_one(bucket, number, done, pace)
    return done


def collect_one(bucket: Bucket, number: int, done: Collected, pace: Pace = no_pace) -> None:
    """Evacuate one segment and drop it. The log is durable beyond what was moved first."""
    if number not in bucket.log.ended:
        return
    if bucket.log.key_block(number) is None:
        seal(bucket, number, pace)
    size = bucket.log.segment(number).size
    done.moved += _evacuate(bucket, number, pace)
    bucket.sync_to(bucket.published)
    with commit.alone(bucket):
        if number not in bucket.log.ended or number in bucket.log.pinned or bucket.births:
            return
        commit.write_control(bucket, Type.DROP, msgspec.msgpack.encode([number]))
        del bucket.log.ended[number]  # whoever looks next, a backup too, finds what the log says
    bucket.kept.pop(number, None)
    bucket.log.drop(number)
    done.freed += size
    done.segments += 1


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
        collect(bucket, foreign, pace)
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


def _evacuate(bucket: Bucket, number: int, pace: Pace) -> int:
    """Write a segment's live records again; the bytes of their values."""
    block = bucket.log.key_block(number)
    if block is None:
        return 0
    batch: list[Evacuate] = []
    size = moved = 0
    for row in block:
        if not bucket.start <= row.key < bucket.stop or not _worth(bucket, row, number):
            continue
        operation = _operation(bucket, row, number)
        batch.append(operation)
        size += len(operation.value)
        if size >= BATCH_BYTES or len(batch) >= BATCH_ROWS:
            moved += _move(bucket, batch)
            batch, size = [], 0
            pace()
    return moved + _move(bucket, batch)


def _worth(bucket: Bucket, row: Row, number: int) -> bool:
    """Whether a record may still be alive, judged without reading its value."""
    if row.type in ENDINGS:
        return _may_be_needed(bucket, row, number)
    from holdfast.bucket.plan import evacuated_row  # noqa: PLC0415

    with bucket.lock:
        return evacuated_row(bucket, row.type, row.key, row.version, number) is not None


def _may_be_needed(bucket: Bucket, row: Row, number: int) -> bool:
    """Whether a segment other than this one may hold what this removal removed."""
    for other in list(bucket.log.ended):
        if other == number:
            continue
        block = bucket.log.key_block(other)
        if block is None or _holds_older(block.rows_of(row.key), row.version):
            return True
    return False


def _holds_older(rows: list[Row], version: int) -> bool:
    return any(row.version < version and row.type not in ENDINGS for row in rows)


def _operation(bucket: Bucket, row: Row, number: int) -> Evacuate:
    version, modified, expires, size, _, flags, _, _, offset = ENTRY.unpack_from(row.entry)
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


def _move(bucket: Bucket, batch: list[Evacuate]) -> int:
    """Apply a batch of evacuations; where a key moved to another bucket, that one cares."""
    if not batch:
        return 0
    try:
        outcomes = bucket.apply(batch)
    except Moved:
        mine = [o for o in batch if bucket.start <= o.key < bucket.stop]
        return _move(bucket, mine) if len(mine) < len(batch) else 0
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
            log.switch(bucket.log_state())
    absorbed = bucket.absorbed
    if absorbed is None or any(n >= absorbed.segment for n in list(log.ended)):
        checkpoint(bucket, pace)
        bucket.resolve_all(pace)
