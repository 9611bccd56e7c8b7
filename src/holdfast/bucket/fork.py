"""Growth and shrinking of the keyspace: roll, split and merge (rule 6).

One record in one log is the commit point of each: SPLIT in the parent's, MERGE
in the survivor's. What comes after it may be done any number of times with the
same result, by whoever opens the bucket.

A split's child begins by borrowing: it reads the parent's segments through the
parent's files and the parent's rows through the parent's view, both cut to its
own range, while its own writes go to its own log. ``take_over`` ends that: the
segments are sealed and shared, the view is loaded in order from the parent's.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from holdfast.bucket import commit, dividing
from holdfast.bucket.birth import create, cut_view, go_on_above, read_through, rebuild
from holdfast.bucket.checkpoint import (
    CHECKPOINT,
    Pace,
    absorb_waiting,
    checkpoint,
    encode_mark,
    expiry_row,
    no_pace,
)
from holdfast.bucket.failing import with_reserve
from holdfast.bucket.rows import pack_row, unpack_row
from holdfast.bucket.seal import seal, seal_all
from holdfast.engines.port import refused
from holdfast.errors import Corrupt, HoldfastError, OutcomeUnknown, StorageFailed
from holdfast.log.doubt import doubted
from holdfast.log.entry import pack, unpack
from holdfast.log.header import (
    Birth,
    PursedMerge,
    PursedState,
    SegmentInfo,
    encode_birth,
    encode_merge,
)
from holdfast.log.records import Type
from holdfast.log.recovery import stands
from holdfast.views.port import Table, Writer
from holdfast.views.state import EXPIRES, EXPIRES_AT, SIDE, TABLES, Tally, needs_care

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.bucket.bucket import Bucket

    Add = Callable[[Bucket], None]

UNBORN = "a split was decided and its child could not be begun"
UNMERGED = "a merge was decided and could not be carried out"
PAGE = 50  # rows that are copied, or forgotten, between two calls of pace
MERGE_KEYS = 50_000  # rows that a merge may copy while both buckets wait


def _to_nobody(_: Bucket) -> None:
    """Leave it to the caller to let the child be found."""


def roll(
    bucket: Bucket, child: str, at: bytes | None = None, add: Add = _to_nobody
) -> Bucket | None:
    """A new, empty bucket on the right: everything above ``at`` (or every known key).

    Nothing is shared and nothing moves. None where no key lies above. ``add`` lets the new one
    be found; what its parent no longer has is never without a bucket, interrupted or not.
    """
    with commit.alone(bucket):
        start = max(at or b"", bucket.highest + b"\0")
        if not bucket.start < start < bucket.stop:
            return None
        return _fork(bucket, _birth(bucket, child, start), add)


def split(
    bucket: Bucket, child: str, start: bytes, add: Add = _to_nobody, *, pace: Pace = no_pace
) -> Bucket | None:
    """Cut the range in two: the child takes ``start`` and above, sharing every segment.

    ``add`` as of ``roll``. Key blocks are written before: on a disk that fills amid the split
    there would be no room for them, and neither could drop what they share.
    """
    bucket.finish_birth(pace)
    seal_all(bucket, pace)
    bucket.sync_published()  # beside the writers: there is little left while they wait
    with commit.alone(bucket):
        if bucket.births or not bucket.start < start < bucket.stop:
            return None
        commit.switch(bucket)
        segments = tuple(bucket.log.ended.values())
        return _fork(bucket, _birth(bucket, child, start, segments), add)


def _birth(
    bucket: Bucket, child: str, start: bytes, segments: tuple[SegmentInfo, ...] = ()
) -> Birth:
    """What the log is to say of a child that is made now."""
    now = bucket.time.now_ns()
    return Birth(child, start, bucket.stop, bucket.version, now, segments)


def _fork(bucket: Bucket, birth: Birth, add: Add) -> Bucket:
    """Decide a split and carry it out.

    If the child cannot be, or whoever is at this is interrupted, the parent takes no more writes
    until it is opened again: what it took above the cut would be lost when the split is done again.
    """
    shares = dividing.shares(bucket, birth.start, birth.time_ns)
    before = bucket.stop, bucket.births
    commit.write_control(bucket, Type.SPLIT, encode_birth(birth, shares))
    try:
        if shares:
            dividing.give(bucket.purses, birth, shares, bucket.version)
        return _deliver(bucket, birth, add)
    except BaseException as error:
        bucket.broken = UNBORN
        bucket.stop, bucket.births = before
        if isinstance(error, OSError):
            raise refused(bucket.id, error) from error
        raise


def _deliver(bucket: Bucket, birth: Birth, add: Add) -> Bucket:
    """Bring a child into being that the log has decided."""
    born = with_reserve(bucket.settings.ground, lambda: be_born(bucket, birth))
    born.forked_at, born.forked_from = born.log.position, bucket.id
    born.opened_version = bucket.opened_version
    born.may_expire, born.searched = bucket.may_expire, bucket.searched
    born.holds.update(bucket.holds)
    bucket.births = (*bucket.births, birth)
    bucket.stop = birth.start
    bucket.locks.leave(birth.start)
    if birth.segments:
        _lend(bucket, born, birth)
    else:
        bucket.standing.add(birth.child)  # ``finish_moves`` says so, once it can be found
    add(born)
    return born


def be_born(bucket: Bucket, birth: Birth) -> Bucket:
    """The child's own first segment, durable; OSError where the ground refuses."""
    state = PursedState(
        birth.start,
        birth.stop,
        birth.version + 1,
        birth.time_ns,
        birth.segments,
        highest=bucket.highest,
        numbers=bucket.sessions.told(bucket.time.now_ns()),
        purses=bucket.purses.shares.get(birth.child, ()),
    )
    return create(bucket.settings, birth.child, state, bucket.id if birth.segments else "")


def is_born(parent: Bucket, birth: Birth) -> bool:
    """Whether the child has a first segment of its own; a torn one is cleared away."""
    ground = parent.settings.ground
    shared = birth.shared
    own = [n for n in ground.listing().get(birth.child, []) if n not in shared]
    identity = parent.settings.identity
    try:
        with doubted(birth.child):
            stood = len(own) != 1 or stands(ground, birth.child, own[0], identity)
        if not stood:
            ground.drop(birth.child, own.pop())
    except Corrupt:
        return True  # and damaged, which is its own affair
    return bool(own)


def _lend(parent: Bucket, child: Bucket, birth: Birth) -> None:
    """Let the child read through the parent until it has taken over. Under the lock."""
    prepare(parent)
    read_through(child, parent)
    child.lender = parent
    child.log.borrow(parent.log, birth.shared)


def prepare(parent: Bucket) -> None:
    """Freeze what a child is to read through its parent; half of it counts as the child's."""
    parent.weight //= 2
    parent.freeze()


def _confirm(parent: Bucket, child: str) -> None:
    """Note in the parent's log that the child stands on its own. Under the lock."""
    commit.write_control(parent, Type.BORN, child.encode())
    parent.purses.shares.pop(child, None)
    parent.births = tuple(b for b in parent.births if b.child != child)
    parent.standing.discard(child)


def confirm(parent: Bucket, child: str) -> None:
    """The same, for whoever opens the parent and finds the child standing."""
    with commit.alone(parent):
        _confirm(parent, child)


def finish_moves(bucket: Bucket) -> None:
    """Do again what failed behind a decision: say that a child stands, bury what was merged in."""
    for child in list(bucket.standing):
        confirm(bucket, child)
    for gone in bucket.retired:
        bury(bucket, gone)


def share_segments(parent: Bucket, birth: Birth, pace: Pace = no_pace) -> None:
    """Seal what the child takes over and give it names of its own; idempotent."""
    for info in birth.segments:
        if not parent.log.has_key_block(info.number):
            with suppress(Corrupt):  # then each mends its own
                seal(parent, info.number, pace)
        try:
            parent.log.ground.share(parent.id, info.number, birth.child, info.number)
        except OSError as error:
            raise refused(parent.id, error) from error


def take_over(child: Bucket, pace: Pace = no_pace, *, in_memory: bool = False) -> None:
    """End the borrowing: own segments, own view, and the parent forgets the range.

    One at a time: whoever comes second finds it done. The child borrows until the parent's view
    is cut, so what fails before that is done again. ``in_memory``: no view is written, and the
    parent's goes, too; both have their entries in memory until there is room for a checkpoint.
    """
    with child.absorbing:
        parent = child.lender
        if parent is None:
            return
        birth = next(b for b in parent.births if b.child == child.id)
        share_segments(parent, birth, pace)
        if in_memory:
            _part_in_memory(parent, child, birth)
        else:
            _part(parent, child, birth, pace)
        confirm(parent, child.id)
    child.resolve_all(pace)
    parent.resolve_all(pace)


def _part(parent: Bucket, child: Bucket, birth: Birth, pace: Pace) -> None:
    """Give the child a view of its own, and take its rows out of the parent's."""
    held = parent.state.frozen
    while any(layer in parent.state.frozen for layer in held):
        absorb_waiting(parent, pace)
    with parent.absorbing:
        if child.state.view is not child.view:  # else a crash came right behind it
            _load_view(parent, child, pace)
        cut_view(parent, pace)
        _stand(parent, child, birth)


def _part_in_memory(parent: Bucket, child: Bucket, birth: Birth) -> None:
    """Derive both from their logs, the child first: until then it reads the parent's view."""
    with parent.absorbing:
        with commit.alone(child):
            rebuild(child, in_memory=True)
        with commit.alone(parent):
            rebuild(parent, in_memory=True)
        _stand(parent, child, birth)


def _stand(parent: Bucket, child: Bucket, birth: Birth) -> None:
    """Let a child read its own files from now on. Nothing here takes room."""
    with child.lock:
        child.log.return_loans(birth.shared)
        child.lender = None
    parent.standing.add(child.id)


def _load_view(parent: Bucket, child: Bucket, pace: Pace) -> None:
    """The child's own view from the parent's."""
    with child.view.writer() as writer:
        tally = _copy_view(parent, child, writer, pace)
        mark = encode_mark(child, child.born_at, child.version, tally)
        writer.put(Table.META, [(CHECKPOINT, mark)])
    with child.lock:
        child.state.view = child.view
        child.state.thaw(child.state.frozen)
        child.view_tally = tally
        child.absorbed = child.born_at


def _copy_view(parent: Bucket, child: Bucket, writer: Writer, pace: Pace) -> Tally:
    """The parent's rows of the child's range, in order; what they add up to."""
    tally = Tally()
    for table in TABLES:
        at: bytes | None = child.start
        while at is not None:
            rows = parent.view.scan(table, at, child.stop, PAGE)
            writer.put(table, rows)
            _count(table, rows, tally, writer)
            at = rows[-1][0] + b"\0" if rows else None
            pace()
    return tally


def _count(table: Table, rows: list[tuple[bytes, bytes]], tally: Tally, writer: Writer) -> None:
    if table is not Table.KEYS:
        for _, row in rows:
            _, segment, taken = SIDE.unpack_from(row)
            tally.count_bytes(segment, taken)
        return
    expiring = []
    for key, row in rows:
        tally.count(key, row, 1)
        expires = EXPIRES.unpack_from(row, EXPIRES_AT)[0]
        if expires:
            expiring.append((expiry_row(expires, key), key))
    writer.put(Table.EXPIRY, sorted(expiring))


def merge(left: Bucket, right: Bucket) -> bool:
    """Make two neighbours one: the left takes the right's segments and range.

    Whether it happened: not while one of them is being born, borrows, or is too
    large to be copied while both wait.
    """
    for bucket in (left, right):
        bucket.finish_birth()
        finish_moves(bucket)  # what the right still has to bury nobody would know of after it
    seal_before = [n for n in list(right.log.ended) if not right.log.has_key_block(n)]
    for number in seal_before:
        seal(right, number)
    # A checkpoint takes ``absorbing`` before the lock; so must what holds both.
    with left.absorbing, right.absorbing, commit.alone(left), commit.alone(right):
        if left.births or right.births or left.stop != right.start:
            return False
        if right.tally().keys > MERGE_KEYS or left.broken or right.broken:
            return False
        if right.pinned():  # somebody still copies or reads what would be buried
            return False
        _swallow(left, right)
    return True


def _swallow(left: Bucket, right: Bucket) -> None:
    """Intend, share, decide, take in. Until it is decided everything can be taken back."""
    commit.switch(right)
    for number in right.log.ended:
        if not right.log.has_key_block(number):
            seal(right, number)
    first = left.log.next_number()
    sources = sorted(right.log.ended)
    renumbered = {number: first + index for index, number in enumerate(sources)}
    infos = tuple(
        msgspec.structs.replace(right.log.ended[number], number=renumbered[number])
        for number in sources
    )
    taken = PursedMerge(
        right.id,
        right.start,
        right.stop,
        right.version,
        right.time.now_ns(),
        infos,
        right.highest,
        right.sessions.told(right.time.now_ns()),
        right.purses.told(),
    )
    rows = list(_rows_of(right))  # before it is decided: reading may find damage
    left.log.reserved = first + len(infos) - 1
    _decide_merge(left, right, taken, renumbered)
    try:
        for info in infos:
            left.log.adopt(info)
        _put_rows(left, right, rows, renumbered)
        _take_in(left, right, taken)
    except BaseException:  # what either took from now on would be lost
        left.broken = right.broken = UNMERGED
        raise
    _write_on(left)


def _decide_merge(
    left: Bucket, right: Bucket, taken: PursedMerge, renumbered: dict[int, int]
) -> None:
    """Share the right's segments and write the record that makes them the left's."""
    before = left.version
    try:
        commit.write_control(left, Type.INTEND, msgspec.msgpack.encode(taken.segments))
        for number, new in renumbered.items():
            left.log.ground.share(right.id, number, left.id, new)
        left.version = max(left.version, right.version)
        commit.write_control(left, Type.MERGE, encode_merge(taken))
    except OutcomeUnknown as error:
        # If it was decided after all, what the right took from now on would be lost.
        right.broken = left.broken = str(error)
        raise
    except (OSError, HoldfastError) as error:
        left.version = max(left.version, before)
        for new in renumbered.values():
            with suppress(OSError):
                left.log.ground.drop(left.id, new)
        if isinstance(error, OSError):
            raise refused(left.id, error) from error
        raise


def _take_in(left: Bucket, right: Bucket, taken: PursedMerge) -> None:
    """What follows from a merge that was decided: nothing here may undo it."""
    left.highest = max(left.highest, right.highest)
    left.sessions.take_in(taken.numbers, taken.time_ns)
    dividing.join(left.purses, taken, left.version)
    left.meter()
    for namespace, reads in right.reads.items():
        left.reads_of(namespace).put_back(reads.taken(left.purses[namespace].terms))
    for namespace, purse in left.purses.items():
        left.reads_of(namespace).hush(silent=purse.is_silent(taken.time_ns))
    left.stop = right.stop
    left.retired = (*left.retired, right.id)
    right.stop = right.start
    right.closed = True
    right.settings.room.give_back((right.state.active, *right.state.frozen))
    left.weight += right.weight
    left.may_expire |= right.may_expire
    left.searched |= right.searched
    # What either began since it was opened is still being written.
    left.opened_version = min(left.opened_version, right.opened_version)


def _write_on(left: Bucket) -> None:
    """Write on above what was taken in, and absorb it."""
    try:
        go_on_above(left)  # what is written from now on must lie above what was adopted
        with suppress(StorageFailed):  # a full disk: upkeep tries again
            checkpoint(left)
    except OutcomeUnknown as error:
        left.broken = left.broken or str(error)


def _rows_of(bucket: Bucket) -> Iterator[tuple[Table, bytes, bytes]]:
    """Every row of a bucket."""
    for table in TABLES:
        at: bytes | None = bucket.start
        while at is not None:
            rows, at = bucket.state.page(table, at, bucket.stop, 1000)
            for key, row in rows:
                yield table, key, row


def _put_rows(
    left: Bucket,
    right: Bucket,
    rows: list[tuple[Table, bytes, bytes]],
    renumbered: dict[int, int],
) -> None:
    """The right's rows in the left's overlay, their segments under the new numbers."""
    for table, key, row in rows:
        if table is Table.KEYS:
            left.special += needs_care(row)
            left.state.put_entry(key, _renumber_entry(row, renumbered))
        else:
            left.state.put_side(table, key, _renumber_side(row, renumbered))
        if table is Table.LOCKS:
            left.locks.carry(key, right.locks.last(right, key))


def _renumber_entry(row: bytes, numbers: dict[int, int]) -> bytes:
    entry = unpack(row)
    entry.extents = tuple(e._replace(segment=numbers[e.segment]) for e in entry.extents)
    return pack(entry)


def _renumber_side(row: bytes, numbers: dict[int, int]) -> bytes:
    side = unpack_row(row)
    return pack_row(side.version, numbers[side.segment], side.record_bytes, side.payload)


def bury(left: Bucket, right: str) -> None:
    """Forget a bucket that was merged away: its segments live on under other names."""
    settings = left.settings
    try:
        settings.ground.retire(right)
    except OSError as error:
        raise refused(right, error) from error
    settings.drop_view(right)
    with commit.alone(left):
        left.retired = tuple(b for b in left.retired if b != right)
        commit.write_control(left, Type.RETIRED, right.encode())
