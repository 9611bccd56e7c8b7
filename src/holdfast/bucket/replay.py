"""What a log says, applied to a bucket's state: behind a checkpoint, record by record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from holdfast.bucket import rows
from holdfast.bucket.read import EXPIRES_SLICE, NEVER
from holdfast.bucket.rewrite import SIDE_TABLES
from holdfast.errors import FormatTooNew
from holdfast.log.entry import DELETED, ENTRY, Entry, fold, pack, unpack
from holdfast.log.group import Group, Kind
from holdfast.log.header import Birth, Merge
from holdfast.log.keyblock import Row, moved, sorted_rows
from holdfast.log.records import REMOVALS, Flag, Type, record_bytes
from holdfast.views.port import Table
from holdfast.views.state import needs_care

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.log.log import Log, Position
    from holdfast.log.recovery import Recovered

Plain = tuple[bytes, int, int, bytes]  # a Row, or the same without its names
PLAIN_SLICE = slice(36, 38)
PLAIN = bytes(2)
KEY_TYPES = REMOVALS | {Type.STORE, Type.APPEND, Type.RELEASE, Type.JOIN}


def replay(opened: Bucket, found: Recovered, after: Position) -> None:
    """Apply everything behind a position, in the order of the log."""
    log = opened.log
    for number in sorted(n for n in log.ended if n >= after.segment):
        if number == after.segment:
            rows_behind = group_rows(log.groups(number, after), number)
            _apply_rows(opened, _own(opened, rows_behind))
        else:
            _apply_rows(opened, _own(opened, segment_rows(log, number)))
    tail = [
        group
        for group in found.groups
        if after.segment != log.number or group.head.start >= after.stop
    ]
    _apply_rows(opened, group_rows(tail, log.number))
    note_floors(opened, found.groups)


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
    elif (table := SIDE_TABLES.get(known_type(row.type))) is not None:
        if says_gone(table, row):
            state.put_side(table, key, DELETED)
            return
        state.put_side(table, key, side_row(opened, key, row))
        entry = state.entry(key) if table is Table.CONSUMERS else None
        if entry is not None:
            known = unpack(entry)
            set_managed(known, row)
            _put_entry(opened, key, pack(known))


def _moves(opened: Bucket, row: Row) -> bool:
    """Whether an evacuated side record is the one that its row stands for.

    What it was moved from was seen before, so another row, or none, is newer:
    an unlock that is moved behind the next lock must not end that one.
    """
    table = SIDE_TABLES.get(known_type(row.type))
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
    anew = begins_anew(row) and not flags & Flag.MOVED
    if anew and state.get(Table.CONSUMERS, key) is not None:
        state.put_side(Table.CONSUMERS, key, DELETED)


def begins_anew(row: Row) -> bool:
    """Whether a record ends what was of its key: consumers of before are gone.

    An append whose object was overwritten and collected does not, nor does
    anything else that finds no object to change.
    """
    if row.type in REMOVALS:
        return True
    return row.type == Type.STORE and bool(ENTRY.unpack_from(row.entry)[5] & Flag.FRESH)


def note_floors(opened: Bucket, groups: Iterable[Group]) -> None:
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


def apply_controls(opened: Bucket, groups: Iterable[Group]) -> None:
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
        known_type(kind)


def known_type(kind: int) -> Type:
    """The type of a record; FormatTooNew where a later version wrote it (D10)."""
    try:
        return Type(kind)
    except ValueError:
        raise FormatTooNew(what="record type", version=kind) from None


def _put_entry(opened: Bucket, key: bytes, row: bytes) -> None:
    if row[EXPIRES_SLICE] != NEVER:
        opened.may_expire = True
    if needs_care(row):
        opened.special += 1
    opened.state.put_entry(key, row)


def says_gone(table: Table, side: Row) -> bool:
    """An UPLOAD record without a value says that no upload is left."""
    return table is Table.UPLOADS and ENTRY.unpack_from(side.entry)[3] == 0


def set_managed(entry: Entry, row: Row) -> None:
    """Make of an object what a CONSUMERS record says: managed, marked where none is left."""
    size = ENTRY.unpack_from(row.entry)[3]
    flags = entry.flags & ~Flag.MARKED | Flag.MANAGED
    entry.flags = flags if size else flags | Flag.MARKED


def side_row(opened: Bucket, key: bytes, row: Row) -> bytes:
    """A side table's row from its record; the record's value is read."""
    version, _, _, size, _, _, _, segment, offset = ENTRY.unpack_from(row.entry)
    payload = opened.log.value(key, version, segment, offset, size)
    return rows.pack_row(version, segment, record_bytes(len(key), 0, size), payload)


def segment_rows(log: Log, number: int) -> Iterable[Row]:
    """The rows of an ended segment, sorted: its key block, or a scan where it has none yet."""
    block = log.key_block(number)
    if block is not None:
        return block
    return sorted_rows(group_rows(log.groups(number), number))


def group_rows(groups: Iterable[Group], number: int) -> Iterator[Plain]:
    """The rows of a segment's groups, in the order of the log."""
    for group in groups:
        if group.head.kind == Kind.RECORDS:
            yield from group.rows(number)
