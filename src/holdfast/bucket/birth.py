"""How a bucket comes to be: created, or recovered from its log and its view."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter

import msgspec

from holdfast.bucket import commit, rows
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import (
    CHECKPOINT,
    Checkpoint,
    checkpoint,
    encode_mark,
    expiry_row,
    read_checkpoint,
)
from holdfast.bucket.read import EXPIRES_SLICE, NEVER
from holdfast.bucket.rewrite import SIDE_TABLES
from holdfast.bucket.settings import Settings
from holdfast.errors import Corrupt, FormatTooNew, StorageFailed
from holdfast.limits import OVERLAY_RECORDS_LEAST
from holdfast.log.entry import DELETED, ENTRY, Entry, fold, pack, unpack
from holdfast.log.group import Kind
from holdfast.log.header import Birth, LogState, Merge
from holdfast.log.keyblock import Row, moved, sorted_rows
from holdfast.log.log import Group, Log, Position
from holdfast.log.records import REMOVALS, Flag, Type, record_bytes
from holdfast.log.recovery import Recovered, recover
from holdfast.views.memory_view import MemoryView
from holdfast.views.port import Table, View, Writer
from holdfast.views.state import CAREFUL, EXPIRES, EXPIRES_AT, SIDE, TABLES, State, needs_care

Plain = tuple[bytes, int, int, bytes]  # a Row, or the same without its names
PLAIN_SLICE = slice(36, 38)
PLAIN = bytes(2)
PAGE = 500
KEY_TYPES = REMOVALS | {Type.STORE, Type.APPEND, Type.RELEASE, Type.JOIN}


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
    _apply_controls(opened, found.groups)
    _restore(opened, found, mark)
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
    if mark is not None and opened.log.continues(mark.position):
        try:
            opened.restore_counts(mark)
            if (mark.start, mark.stop) != (opened.start, opened.stop):
                _cut_view(opened, mark)
            _replay(opened, found, mark.position)
        except Corrupt:
            if not _view_is_bad(opened):
                raise
        else:
            return
    rebuild(opened, found)


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
    sources: list[Iterable[Row]] = [segment_rows(log, number) for number in sorted(log.ended)]
    tail = found.groups if found is not None else list(log.groups(log.number))
    sources.append(sorted_rows(_group_rows(tail, log.number)))
    _note_floors(opened, tail)
    for key, listed in groupby(_merged(sources), key=itemgetter(0)):
        if opened.start <= key < opened.stop:
            special += _fold_key(opened, fresh, key, listed)
    opened.begin_anew(fresh, special)
    blank = _is_blank(opened.view)
    if not blank:
        with opened.view.writer() as writer:
            writer.clear()
    fresh.view = opened.view
    if found is None or not blank or fresh.records() >= OVERLAY_RECORDS_LEAST:
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
        sources: list[Iterable[Row]] = [segment_rows(log, n) for n in sorted(log.ended)]
        tail = list(_group_rows(log.groups(log.number), log.number))
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
        if row.type in KEY_TYPES:
            entry = fold(entry, row.type, row.entry)
        elif row.type == Type.CONSUMERS and entry is not None:
            _set_managed(entry, row)
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
        if side is not None and not _says_gone(table, side):
            into.put_side(table, key, _side_row(opened, key, side))
    return int(entry is not None and bool(entry.flags & CAREFUL))


def _folded(opened: Bucket, listed: Iterable[Row]) -> tuple[Entry | None, dict[Table, Row | None]]:
    """What a key's records make of its object, and the last record of each side table."""
    entry = None
    sides: dict[Table, Row | None] = {}
    for row in listed:
        opened.version = max(opened.version, row.version)
        if row.type in KEY_TYPES:
            entry = fold(entry, row.type, row.entry)
            if _begins_anew(row):
                sides[Table.CONSUMERS] = None
        elif row.type == Type.UNLOCK:
            sides[Table.LOCKS] = None
        elif (table := SIDE_TABLES.get(_known(row.type))) is not None:
            sides[table] = row
            if table is Table.CONSUMERS and entry is not None:
                _set_managed(entry, row)
    return entry, sides


def _put_entry(opened: Bucket, key: bytes, row: bytes) -> None:
    if row[EXPIRES_SLICE] != NEVER:
        opened.may_expire = True
    if needs_care(row):
        opened.special += 1
    opened.state.put_entry(key, row)


def _says_gone(table: Table, side: Row) -> bool:
    """An UPLOAD record without a value says that no upload is left."""
    return table is Table.UPLOADS and ENTRY.unpack_from(side.entry)[3] == 0


def _set_managed(entry: Entry, row: Row) -> None:
    size = ENTRY.unpack_from(row.entry)[3]
    flags = entry.flags & ~Flag.MARKED | Flag.MANAGED
    entry.flags = flags if size else flags | Flag.MARKED


def _side_row(opened: Bucket, key: bytes, row: Row) -> bytes:
    """A side table's row from its record; the record's value is read."""
    version, _, _, size, _, _, _, segment, offset = ENTRY.unpack_from(row.entry)
    payload = opened.log.value(key, version, segment, offset, size)
    return rows.pack_row(version, segment, record_bytes(len(key), 0, size), payload)


def segment_rows(log: Log, number: int) -> Iterable[Row]:
    """The rows of an ended segment, sorted: its key block, or a scan where it has none yet."""
    block = log.key_block(number)
    if block is not None:
        return block
    return sorted_rows(_group_rows(log.groups(number), number))


def _group_rows(groups: Iterable[Group], number: int) -> Iterator[Plain]:
    for group in groups:
        if group.head.kind == Kind.RECORDS:
            yield from group.rows(number)


def _replay(opened: Bucket, found: Recovered, after: Position) -> None:
    """Apply everything behind a position, in the order of the log."""
    log = opened.log
    for number in sorted(n for n in log.ended if n >= after.segment):
        if number == after.segment:
            rows_behind = _group_rows(log.groups(number, after), number)
            _apply_rows(opened, _own(opened, rows_behind))
        else:
            _apply_rows(opened, _own(opened, segment_rows(log, number)))
    tail = [
        group
        for group in found.groups
        if after.segment != log.number or group.head.start >= after.stop
    ]
    _apply_rows(opened, _group_rows(tail, log.number))
    _note_floors(opened, found.groups)


def _own(opened: Bucket, listed: Iterable[Plain]) -> Iterator[Plain]:
    return (row for row in listed if opened.start <= row[0] < opened.stop)


def _apply_rows(opened: Bucket, listed: Iterable[Plain]) -> None:
    """Fold records into the state one by one."""
    state = opened.state
    highest = opened.version
    for key, version, kind, entry in listed:
        highest = max(highest, version)
        if (
            kind == Type.STORE
            and not opened.special
            and entry[PLAIN_SLICE] == PLAIN
            and entry[EXPIRES_SLICE] == NEVER
        ):
            state.put_entry(key, entry)
        else:
            _apply_row(opened, Row(key, version, kind, entry))
    opened.version = highest


def _apply_row(opened: Bucket, row: Row) -> None:
    state, key = opened.state, row.key
    if row.type in KEY_TYPES:
        _apply_object(opened, row)
        return
    if moved(row) and not _moves(opened, row):
        return
    if row.type == Type.UNLOCK:
        state.put_side(Table.LOCKS, key, DELETED)
    elif (table := SIDE_TABLES.get(_known(row.type))) is not None:
        if _says_gone(table, row):
            state.put_side(table, key, DELETED)
            return
        state.put_side(table, key, _side_row(opened, key, row))
        entry = state.entry(key) if table is Table.CONSUMERS else None
        if entry is not None:
            known = unpack(entry)
            _set_managed(known, row)
            _put_entry(opened, key, pack(known))


def _moves(opened: Bucket, row: Row) -> bool:
    """Whether an evacuated side record is the one that its row stands for.

    What it was moved from was seen before, so another row, or none, is newer:
    an unlock that is moved behind the next lock must not end that one.
    """
    table = SIDE_TABLES.get(_known(row.type))
    known = opened.state.get(table, row.key) if table is not None else None
    return bool(known) and rows.unpack_row(known or b"").version == row.version


def _apply_object(opened: Bucket, row: Row) -> None:
    state, key = opened.state, row.key
    flags = ENTRY.unpack_from(row.entry)[5]
    old = state.entry(key)
    if flags & Flag.MOVED and (old is None or row.type in REMOVALS):
        return  # what it was moved from was already seen, and is dead
    entry = fold(unpack(old) if old else None, row.type, row.entry)
    if entry is not None:
        _put_entry(opened, key, pack(entry))
    elif old is not None:
        state.put_entry(key, DELETED)
    anew = _begins_anew(row) and not flags & Flag.MOVED
    if anew and state.get(Table.CONSUMERS, key) is not None:
        state.put_side(Table.CONSUMERS, key, DELETED)


def _begins_anew(row: Row) -> bool:
    """Whether a record ends what was of its key: consumers of before are gone.

    An append whose object was overwritten and collected does not, nor does
    anything else that finds no object to change.
    """
    if row.type in REMOVALS:
        return True
    return row.type == Type.STORE and bool(ENTRY.unpack_from(row.entry)[5] & Flag.FRESH)


def _note_floors(opened: Bucket, groups: Iterable[Group]) -> None:
    """Versions, bucket time and the highest key never go back, whatever the last record was.

    What sessions applied is told by the state and by these records alone, not by views.
    """
    latest = 0
    for group in groups:
        if group.head.kind == Kind.KEY_BLOCK:
            continue
        for record in group.records():
            if group.head.kind == Kind.RECORDS:
                latest = max(latest, record.modified_ns)
                if record.type == Type.SESSION:
                    opened.sessions.replay(record.key, group.value(record), record.modified_ns)
            opened.version = max(opened.version, record.version)
            opened.highest = max(opened.highest, record.key)
    opened.time.raise_to(latest)


def _apply_controls(opened: Bucket, groups: Iterable[Group]) -> None:
    """What the newest segment's control records say after its state."""
    opened.time.raise_to(found_time(groups))
    for group in groups:
        if group.head.kind == Kind.CONTROL:
            for record in group.records():
                _apply_control(opened, record.type, group.value(record))


def found_time(groups: Iterable[Group]) -> int:
    """How far bucket time may have got, by a segment's control records.

    A time mark runs ahead of time; a close says where it really stood.
    """
    latest = 0
    for group in groups:
        if group.head.kind == Kind.CONTROL:
            for record in group.records():
                closed = record.type == Type.CLOSE
                latest = record.modified_ns if closed else max(latest, record.modified_ns)
    return latest


def _apply_control(opened: Bucket, kind: int, value: bytes) -> None:
    if kind == Type.SPLIT:
        birth = msgspec.msgpack.decode(value, type=Birth)
        opened.births = (*opened.births, birth)
        opened.stop = birth.start
    elif kind == Type.BORN:
        child = value.decode()
        opened.births = tuple(b for b in opened.births if b.child != child)
    elif kind == Type.MERGE:
        merge = msgspec.msgpack.decode(value, type=Merge)
        opened.start = min(opened.start, merge.start)
        opened.stop = max(opened.stop, merge.stop)
        opened.version = max(opened.version, merge.version)
        opened.highest = max(opened.highest, merge.highest)
        opened.retired = (*opened.retired, merge.bucket)
        opened.time.raise_to(merge.time_ns)
        opened.sessions.take_in(merge.numbers, merge.time_ns)
    elif kind == Type.RETIRED:
        gone = value.decode()
        opened.retired = tuple(b for b in opened.retired if b != gone)
    else:
        _known(kind)


def _known(kind: int) -> Type:
    """The type of a record; FormatTooNew where a later version wrote it (D10)."""
    try:
        return Type(kind)
    except ValueError:
        raise FormatTooNew(what="record type", version=kind) from None


def _drop_orphans(opened: Bucket, numbers: list[int]) -> None:
    """Segments that the log does not name: unfinished shares, or dropped ones."""
    for number in numbers:
        if number != opened.log.number and number not in opened.log.ended:
            opened.log.drop(number)
