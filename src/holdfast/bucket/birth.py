"""How a bucket comes to be: created, or recovered from its log and its view."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter

import msgspec

from holdfast.bucket import commit, noting, replay
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import (
    CHECKPOINT,
    Checkpoint,
    checkpoint,
    encode_mark,
    expiry_row,
    read_checkpoint,
)
from holdfast.bucket.rewrite import SIDE_TABLES
from holdfast.bucket.settings import Settings
from holdfast.errors import Corrupt, StorageFailed
from holdfast.limits import UNABSORBED_RECORDS
from holdfast.log.entry import Entry, fold, pack
from holdfast.log.header import LogState
from holdfast.log.keyblock import Row, sorted_rows
from holdfast.log.log import Log, Position
from holdfast.log.records import Flag, Type
from holdfast.log.recovery import Recovered, recover
from holdfast.views.memory_view import MemoryView
from holdfast.views.port import Table, View, Writer
from holdfast.views.state import CAREFUL, EXPIRES, EXPIRES_AT, SIDE, TABLES, State

PAGE = 500
LITTLE_RECORDS = 50_000  # that opening may leave in memory where nothing was absorbed before
NOWHERE = Position(0, 0, 0, 0)  # before every segment


def create(settings: Settings, bucket: str, state: LogState) -> Bucket:
    """A new, empty bucket: durable on return. FileExistsError where it was born before."""
    log = Log(settings.ground, bucket, settings.identity)
    for info in state.segments:
        log.adopt(info)
    log.begin(log.next_number(), None, state)
    return Bucket(settings, log, state)


def open_bucket(settings: Settings, bucket: str, numbers: list[int]) -> Bucket | None:
    """A bucket as its last owner left it, or None where it was never born.

    Raises:
        Corrupt: damage inside the log, with its position.
    """
    view = settings.open_view(bucket)
    opened = None
    try:
        opened = _opened(settings, bucket, numbers, view)
    finally:
        if opened is None:
            view.close()
    return opened


def _opened(settings: Settings, bucket: str, numbers: list[int], view: View) -> Bucket | None:
    try:
        mark = read_checkpoint(view.get(Table.META, CHECKPOINT))
    except (Corrupt, msgspec.DecodeError):
        mark = None
    found = recover(
        settings.ground, bucket, numbers, settings.identity, mark.position if mark else None
    )
    if found is None:
        return None
    opened = Bucket(settings, found.log, found.state, view)
    replay.apply_controls(opened, found.groups)
    _restore(opened, found, mark)
    noting.resume(opened, found.groups)
    _drop_orphans(opened, numbers)
    opened.opened_version = opened.version
    if found.torn or max(opened.log.ended, default=0) > opened.log.number:
        _go_on_above(opened)
    return opened


def _go_on_above(opened: Bucket) -> None:
    """Write in a new segment: behind a torn tail, or above what a merge brought.

    Replay goes by number, so what is written behind a merge must lie above it.
    Where the disk allows no new segment the bucket can be read all the same.
    """
    try:
        commit.switch(opened)
    except StorageFailed as error:
        opened.broken = str(error)


def _restore(opened: Bucket, found: Recovered, mark: Checkpoint | None) -> None:
    """Bring the state up to the log's end: from the view's checkpoint, or from nothing."""
    after = _absorbed(opened, mark)
    if after is None:
        rebuild(opened, found)
        return
    try:
        if opened.births:  # a child may read through it: what is wrong is to be found now
            with opened.view.writer():
                pass
        if mark is not None:
            opened.restore_counts(mark)
            if (mark.start, mark.stop) != (opened.start, opened.stop):
                _cut_view(opened, mark)
        replay.replay(opened, found, after)
    except Corrupt:
        if not _view_is_bad(opened):
            raise
        rebuild(opened, found)
        return
    if opened.state.records() > UNABSORBED_RECORDS:
        checkpoint(opened)


def _absorbed(opened: Bucket, mark: Checkpoint | None) -> Position | None:
    """Behind which place of the log everything is still to be applied; None: begin anew."""
    if mark is not None:
        return mark.position if opened.log.continues(mark.position) else None
    return NOWHERE if opened.log.is_whole() and _is_blank(opened.view) else None


def _cut_view(opened: Bucket, mark: Checkpoint) -> None:
    """Take out of a view what a split gave away, as its last step would have done.

    If they stayed, a merge that brings the range back would show rows that the
    child deleted meanwhile.
    """
    left = opened.view_tally
    with opened.view.writer() as writer:
        for start, stop in ((b"", opened.start), (opened.stop, None)):
            for table in TABLES:
                _cut_table(opened, writer, table, (start, stop))
        mark_now = encode_mark(opened, mark.position, mark.version, left)
        writer.put(Table.META, [(CHECKPOINT, mark_now)])
    opened.special = left.special
    opened.weight = left.total()


def _cut_table(
    opened: Bucket, writer: Writer, table: Table, span: tuple[bytes, bytes | None]
) -> None:
    """Delete a table's rows in a span, and count them out."""
    at, stop = span
    while stop is None or at < stop:
        page = opened.view.scan(table, at, stop, PAGE)
        if not page:
            return
        writer.delete(table, [key for key, _ in page])
        for key, row in page:
            if table is Table.KEYS:
                opened.view_tally.count(key, row, -1)
            else:
                _, segment, taken = SIDE.unpack_from(row)
                opened.view_tally.count_bytes(segment, -taken)
        if table is Table.KEYS:
            writer.delete(Table.EXPIRY, _expiry_keys(page))
        at = page[-1][0] + b"\0"


def _expiry_keys(page: list[tuple[bytes, bytes]]) -> list[bytes]:
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


def rebuild(opened: Bucket, found: Recovered | None = None) -> None:
    """Derive the state again from key blocks and log, then the view from that.

    Readers see the state of before until the new one is whole, so a log that
    cannot be read leaves everything as it was.
    """
    log = opened.log
    fresh = State(MemoryView())  # with nothing below it until the view is cleared
    special = 0
    sources: list[Iterable[Row]] = [
        replay.segment_rows(log, number) for number in sorted(log.ended)
    ]
    tail = found.groups if found is not None else list(log.groups(log.number))
    sources.append(sorted_rows(replay.group_rows(tail, log.number)))
    replay.note_floors(opened, tail)
    for key, listed in groupby(_merged(sources), key=itemgetter(0)):
        if opened.start <= key < opened.stop:
            special += _fold_key(opened, fresh, key, listed)
    opened.begin_anew(fresh, special)
    blank = _is_blank(opened.view)
    if not blank:
        with opened.view.writer() as writer:
            writer.clear()
    fresh.view = opened.view
    if found is None or not blank or fresh.records() >= LITTLE_RECORDS:
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
