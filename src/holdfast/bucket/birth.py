"""How a bucket comes to be: created, or recovered from its log and its view.

A child whose parent still holds its rows goes on reading through the parent (fork.py), so
that an opening in the middle of a split derives nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import msgspec

from holdfast.bucket import commit, failing, noting, replay
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import (
    CHECKPOINT,
    Checkpoint,
    Pace,
    Rows,
    checkpoint,
    encode_mark,
    expiry_row,
    no_pace,
    read_checkpoint,
)
from holdfast.bucket.rewrite import SIDE_TABLES
from holdfast.bucket.settings import Settings
from holdfast.errors import Corrupt, StorageFailed
from holdfast.limits import UNABSORBED_RECORDS
from holdfast.log.doubt import doubted
from holdfast.log.entry import Entry, fold, pack
from holdfast.log.header import SEGMENT_HEAD_BYTES, Birth, LogState
from holdfast.log.keyblock import Row, sorted_rows
from holdfast.log.log import Log, Position
from holdfast.log.records import Flag, Type
from holdfast.log.recovery import Recovered, recover
from holdfast.views.memory_view import MemoryView
from holdfast.views.port import Table, View, Writer
from holdfast.views.state import CAREFUL, EXPIRES, EXPIRES_AT, SIDE, TABLES, State, Tally

PAGE = 200
LITTLE_RECORDS = 50_000  # that opening may leave in memory where nothing was absorbed before
NOWHERE = Position(0, 0, 0, 0)  # before every segment
WAITS = "it may have to read through its parent"


class _Expected(NamedTuple):
    """The bucket that is to be opened, who lends it rows, and whether that is still open."""

    bucket: str
    lender: Bucket | None
    waits: bool


def create(settings: Settings, bucket: str, state: LogState, parent: str = "") -> Bucket:
    """A new, empty bucket: durable on return. FileExistsError where it was born before.

    It lies where the ``parent`` does whose segments it is to share: a link is to the same disk.
    """
    log = Log(settings.ground, bucket, settings.identity)
    log.beside = parent
    for info in state.segments:
        log.adopt(info)
    log.begin(log.next_number(), None, state)
    return Bucket(settings, log, state)


def open_bucket(
    settings: Settings,
    bucket: str,
    numbers: list[int],
    lender: Bucket | None = None,
    *,
    waits: bool = False,
) -> Bucket | None:
    """A bucket as its last owner left it, or None where it was never born.

    Args:
        settings: what all buckets share.
        bucket: its id.
        numbers: its segments that exist, ascending.
        lender: its parent, which holds its rows (``lent``).
        waits: it is not known yet whether there is one.

    Raises:
        Corrupt: damage inside the log, with its position; or it has to wait for that.
    """
    view = settings.open_view(bucket)
    opened = None
    try:
        with doubted(bucket):
            opened = _opened(settings, numbers, view, _Expected(bucket, lender, waits))
    finally:
        if opened is None:
            view.close()
    return opened


def _opened(
    settings: Settings, numbers: list[int], view: View, expected: _Expected
) -> Bucket | None:
    bucket, lender, waits = expected
    try:
        mark = read_checkpoint(view.get(Table.META, CHECKPOINT))
    except (Corrupt, msgspec.DecodeError):
        mark = None
    if mark is not None and not mark.is_of(bucket, settings.identity):
        mark = None  # how far another's log was durable says nothing of this one
    births = () if lender is None else lender.births
    shared = next((birth.shared for birth in births if birth.child == bucket), ())
    absorbed = mark.position if mark else None
    found = recover(settings.ground, bucket, numbers, settings.identity, absorbed, lent=shared)
    if found is None:
        return None
    opened = Bucket(settings, found.log, found.state, view)
    replay.apply_controls(opened, found.groups)
    if waits and _absorbed(opened, mark) is None and _is_child(opened):
        raise Corrupt(position=f"bucket {bucket}", what=WAITS)
    if lender is not None:
        opened.log.borrow(lender.log, shared)
    if lender is not None and mark is None and _is_blank(view) and _is_as_born(opened, shared):
        _borrow(opened, found, lender)
    else:
        _restore(opened, found, mark)
    opened.lender = lender
    settings.room.count(opened.state.active)
    noting.resume(opened, found.groups)
    _drop_orphans(opened, numbers)
    opened.opened_version = opened.version
    if found.torn or max(opened.log.ended, default=0) > opened.log.number:
        go_on_above(opened)
    return opened


def go_on_above(bucket: Bucket) -> None:
    """Write in a new segment: behind a torn tail, or above what a merge brought.

    Replay goes by number, so what is written behind a merge must lie above it.
    Where the disk allows no new segment the bucket can be read all the same, until it does.
    """
    try:
        commit.switch(bucket)
    except StorageFailed as error:
        bucket.broken = bucket.broken or f"{error.facts.get('errno')}: {failing.NO_SEGMENT}"


def _is_child(opened: Bucket) -> bool:
    """Whether it shares segments with others, which a parent of its may not have done yet."""
    return any(info.origin != opened.id for info in opened.log.ended.values())


def _is_as_born(child: Bucket, shared: Collection[int]) -> bool:
    """Whether a child holds all that it began with, and wrote since, where it was written.

    It stood, and collected or merged since, where its parent could not say so: what it moved or
    deleted can then be told from its own log alone.
    """
    log = child.log
    return log.ended.keys() >= set(shared) and log.is_whole(max(shared, default=0) + 1)


def lent(parent: Bucket) -> Birth | None:
    """The split of a parent that was opened, whose child's rows it still holds; or None.

    It lets all of them go in one commit, when the child has a view of its own.
    """
    for birth in parent.births:
        start, stop = birth.start, birth.stop
        if birth.segments and (
            parent.view.scan(Table.KEYS, start, stop, 1)
            or any(start <= key < stop for key in parent.state.active.keys)
        ):
            return birth
    return None


def read_through(child: Bucket, parent: Bucket) -> None:
    """Let a child read what lies below its own overlay in its parent's frozen state."""
    child.state = State(parent.state.view)
    child.state.frozen = parent.state.frozen
    child.special = parent.special
    child.weight = parent.weight


def _borrow(opened: Bucket, found: Recovered, lender: Bucket) -> None:
    """Read through the parent again, as since its birth; its own log is applied above that."""
    read_through(opened, lender)
    opened.may_expire = lender.may_expire
    log = opened.log
    own = [number for number, info in log.ended.items() if info.origin == log.bucket]
    first = min([log.number, *own])
    at = Position(first, SEGMENT_HEAD_BYTES, SEGMENT_HEAD_BYTES, log.head(first).digest)
    opened.born_at = at
    replay.replay(opened, found, at, opened.stop)
    opened.weight = lender.weight + opened.state.active.tally.total()


def _restore(opened: Bucket, found: Recovered, mark: Checkpoint | None) -> None:
    """Bring the state up to the log's end: from the view's checkpoint, or from nothing."""
    after = _absorbed(opened, mark)
    if after is None:
        rebuild(opened, found)
        return
    try:
        _replay(opened, found, mark, after)
    except StorageFailed:  # a full disk has no room to bring the view up to date
        rebuild(opened, found, in_memory=True)
        return
    if opened.state.records() > UNABSORBED_RECORDS:
        _absorb_if_it_can(opened)


def _replay(opened: Bucket, found: Recovered, mark: Checkpoint | None, after: Position) -> None:
    """Apply what the view has not absorbed; where it turns out to be damaged, begin anew."""
    stop = _held_to(opened, mark)
    try:
        if opened.births:  # a child may read through it: what is wrong is to be found now
            with opened.view.writer():
                pass
        if mark is not None:
            opened.restore_counts(mark)
            if (mark.start, mark.stop) != (opened.start, stop):
                cut_view(opened)
        replay.replay(opened, found, after, stop)
    except Corrupt:
        if not _view_is_bad(opened):
            raise
        rebuild(opened, found)


def _absorbed(opened: Bucket, mark: Checkpoint | None) -> Position | None:
    """Behind which place of the log everything is still to be applied; None: begin anew."""
    if mark is not None:
        return mark.position if opened.log.continues(mark.position) else None
    return NOWHERE if opened.log.is_whole() and _is_blank(opened.view) else None


def _held_to(opened: Bucket, mark: Checkpoint | None) -> bytes:
    """Where the rows end that a bucket still holds: behind its range while a child reads them."""
    stops = [birth.stop for birth in opened.births if birth.segments]
    if stops and (mark is None or (mark.start, mark.stop) == (opened.start, stops[0])):
        return stops[0]
    return opened.stop


def cut_view(bucket: Bucket, pace: Pace = no_pace) -> None:
    """Take out of a view what a split gave away.

    If it stayed, a merge that brings the range back would show rows that the
    child deleted meanwhile.
    """
    left = Tally(bucket.view_tally.keys, bucket.view_tally.special, dict(bucket.view_tally.live))
    with bucket.view.writer() as writer:
        for table in TABLES:
            for span in ((b"", bucket.start), (bucket.stop, None)):
                for page in _pages(bucket.view, table, span):
                    _cut_out(writer, table, page, left)
                    pace()
        position = bucket.absorbed or bucket.born_at
        mark = encode_mark(bucket, position, bucket.version, left, cut=True)
        writer.put(Table.META, [(CHECKPOINT, mark)])
    with bucket.lock:
        bucket.special += left.special - bucket.view_tally.special
        bucket.view_tally = left


def _pages(view: View, table: Table, span: tuple[bytes, bytes | None]) -> Iterator[Rows]:
    """A table's rows in a span, in order, as a commit that goes on finds them."""
    at, stop = span
    while stop is None or at < stop:
        page = view.scan(table, at, stop, PAGE)
        if not page:
            return
        yield page
        at = page[-1][0] + b"\0"


def _cut_out(writer: Writer, table: Table, page: Rows, tally: Tally) -> None:
    """Delete rows of a table, and count them out."""
    keys = [key for key, _ in page]
    writer.delete(table, keys)
    if table is Table.KEYS:
        tally.count_all_out(keys, [row for _, row in page])
        writer.delete(Table.EXPIRY, _expiry_keys(page))
        return
    for _, row in page:
        _, segment, taken = SIDE.unpack_from(row)
        tally.count_bytes(segment, -taken)


def _expiry_keys(page: Rows) -> list[bytes]:
    return [
        expiry_row(expires, key)
        for key, row in page
        if (expires := EXPIRES.unpack_from(row, EXPIRES_AT)[0])
    ]


def _view_is_bad(opened: Bucket) -> bool:
    """Whether a Corrupt came out of the view, which is only a view, and not the log."""
    if opened.view.damage is not None:
        return True
    try:
        for table in Table:
            start: bytes | None = b""
            while start is not None:
                page = opened.view.scan(table, start, None, 1000)
                start = page[-1][0] + b"\0" if page else None
    except Corrupt:
        return True
    return False


def rebuild(opened: Bucket, found: Recovered | None = None, *, in_memory: bool = False) -> None:
    """Derive the state again from key blocks and log, then the view from that.

    Readers see the state of before until the new one is whole, so a log that
    cannot be read leaves everything as it was.

    Args:
        opened: the bucket.
        found: its log, where it is being opened; None where it is open.
        in_memory: leave the view blank and its room on the disk to others.
    """
    log = opened.log
    blank = _is_blank(opened.view)
    # With nothing below it until the view is cleared; where that fails the next checkpoint does.
    fresh = State(opened.view if blank else MemoryView())
    special = 0
    sources: list[Iterable[Row]] = [
        replay.segment_rows(log, number) for number in sorted(log.ended)
    ]
    tail = found.groups if found is not None else list(log.groups(log.number))
    sources.append(sorted_rows(replay.group_rows(tail, log.number)))
    replay.note_floors(opened, tail)
    with doubted(opened.id):
        for key, listed in groupby(_merged(sources), key=itemgetter(0)):
            if opened.start <= key < opened.stop:
                special += _fold_key(opened, fresh, key, listed)
    opened.begin_anew(fresh, special)
    try:
        _clear(opened.view, blank=blank, give_back=in_memory)
        fresh.view = opened.view
        if found is None and not in_memory:
            checkpoint(opened)
    except StorageFailed:
        if found is not None:
            return  # an opening goes on
        opened.view.shrink(blank=True)  # what it took of a full disk is for others
        fresh.view = opened.view
        raise
    if found is not None and (not blank or fresh.records() >= LITTLE_RECORDS):
        _absorb_if_it_can(opened)


def _clear(view: View, *, blank: bool, give_back: bool) -> None:
    """Take everything out of a view, if anything is in it; or give its room back, too."""
    if give_back:
        view.shrink(blank=True)
    elif not blank:
        with view.writer() as writer:
            writer.clear()


def _absorb_if_it_can(opened: Bucket) -> None:
    """Absorb what an opening replayed; where the disk has no room, upkeep tries again."""
    with suppress(StorageFailed):
        checkpoint(opened)


def _is_blank(view: View) -> bool:
    """Whether nothing was ever absorbed: then little may stay in memory, and no view is made.

    Thousands of small buckets open quickly so, and on a full disk at all.
    """
    try:
        return not any(view.count(table) for table in Table)
    except Corrupt:
        return False


def derive_entries(opened: Bucket) -> Iterator[tuple[bytes, bytes]]:
    """Every object's entry as key blocks and log alone tell it, in order."""
    log = opened.log
    with opened.lock:
        sources: list[Iterable[Row]] = [replay.segment_rows(log, n) for n in sorted(log.ended)]
        tail = list(replay.group_rows(log.groups(log.number), log.number))
    sources.append(sorted_rows(tail))
    for key, listed in groupby(_merged(sources), key=itemgetter(0)):
        if opened.start <= key < opened.stop:
            entry = fold_object(listed)
            if entry is not None:
                yield key, pack(entry)


def fold_object(listed: Iterable[Row]) -> Entry | None:
    """The object that all records of one key make, in the order of their versions, or None."""
    entry = None
    for row in listed:
        if row.type in replay.KEY_TYPES:
            entry = fold(entry, row.type, row.entry)
        elif row.type == Type.CONSUMERS and entry is not None:
            replay.set_managed(entry, row)
    return entry


def _merged(sources: list[Iterable[Row]]) -> Iterator[Row]:
    return merge(*sources, key=lambda row: (row.key, row.version, row.type))


def _fold_key(opened: Bucket, into: State, key: bytes, listed: Iterable[Row]) -> int:
    """All records of one key, in the order of their versions, as rows; 1 if they need care."""
    entry, sides = _folded(opened, listed)
    if entry is not None:
        opened.may_expire = opened.may_expire or bool(entry.expires_ns)
        into.put_entry(key, pack(entry))
    if entry is None or not entry.flags & Flag.MANAGED:
        sides.pop(Table.CONSUMERS, None)  # of an object that is no more
    for table, side in sides.items():
        if side is not None and not replay.says_gone(table, side):
            into.put_side(table, key, replay.side_row(opened, key, side))
    return int(entry is not None and bool(entry.flags & CAREFUL))


def _folded(opened: Bucket, listed: Iterable[Row]) -> tuple[Entry | None, dict[Table, Row | None]]:
    """What a key's records make of its object, and the last record of each side table."""
    entry = None
    sides: dict[Table, Row | None] = {}
    for row in listed:
        opened.version = max(opened.version, row.version)
        if row.type in replay.KEY_TYPES:
            entry = fold(entry, row.type, row.entry)
            if replay.begins_anew(row):
                sides[Table.CONSUMERS] = None
        elif row.type == Type.UNLOCK:
            sides[Table.LOCKS] = None
        elif (table := SIDE_TABLES.get(replay.known_type(row.type))) is not None:
            sides[table] = row
            if table is Table.CONSUMERS and entry is not None:
                replay.set_managed(entry, row)
    return entry, sides


def _drop_orphans(opened: Bucket, numbers: list[int]) -> None:
    """Segments that the log does not name: unfinished shares, or dropped ones."""
    for number in numbers:
        if number != opened.log.number and number not in opened.log.ended:
            opened.log.drop(number)
