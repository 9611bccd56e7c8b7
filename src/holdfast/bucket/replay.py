"""What a log says, applied to a bucket's state: behind a checkpoint, record by record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from holdfast.bucket import dividing, rows
from holdfast.bucket.read import EXPIRES_SLICE, NEVER
from holdfast.bucket.rewrite import SIDE_TABLES
from holdfast.errors import FormatTooNew
from holdfast.log.entry import DELETED, ENTRY, ENTRY_BYTES, Entry, fold, pack, unpack
from holdfast.log.group import Group, Kind
from holdfast.log.header import Birth, Merge
from holdfast.log.keyblock import Plain, Row, moved, sorted_rows
from holdfast.log.records import BESIDE, REMOVALS, Flag, Type, record_bytes
from holdfast.log.records import NEVER as TOO_HIGH
from holdfast.log.runs import Runs, Stores, plain_bytes, runs_of_block, runs_of_groups
from holdfast.views.port import Table
from holdfast.views.state import needs_care

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.log.log import Log, Position
    from holdfast.log.recovery import Recovered

READ_BYTES = 1 << 22
ASIDE = BESIDE | dividing.TELLING  # records of what the state keeps beside keys
KEY_TYPES = REMOVALS | {Type.STORE, Type.APPEND, Type.RELEASE, Type.JOIN}


def replay(opened: Bucket, found: Recovered, after: Position, stop: bytes) -> None:
    """Apply everything behind a position, in the order of the log, to keys below ``stop``."""
    log = opened.log
    span = opened.start, stop
    for number in sorted(n for n in log.ended if n >= after.segment):
        block = log.key_block(number) if number > after.segment else None
        if block is not None:
            _apply_runs(opened, runs_of_block(block), span)
        else:
            runs = Runs(number)
            _apply_runs(opened, log.scanned(number, runs.scan, after, READ_BYTES), span)
            _apply_runs(opened, (runs.run,), span)
    tail = (
        group
        for group in found.groups
        if after.segment != log.number or group.head.start >= after.stop
    )
    _apply_runs(opened, runs_of_groups(tail, log.number), span)
    note_floors(opened, found.groups)
    opened.weight = opened.state.tally(opened.view_tally).total()


def _apply_runs(opened: Bucket, runs: Iterable[Stores | Row], span: tuple[bytes, bytes]) -> None:
    """Fold records of a range of keys into the state."""
    start, stop = span
    for run in runs:
        if isinstance(run, Stores):
            if run.keys:
                _apply_stores(opened, run, span)
        elif start <= run.key < stop:
            _raise_version(opened, run.version)
            _apply_row(opened, run)


def _raise_version(opened: Bucket, version: int) -> None:
    """Count on from a version that was met; ValueError where nothing could come behind it."""
    if version >= TOO_HIGH:
        raise ValueError("a version that no counter gets to")
    opened.version = max(opened.version, version)


def _raise_time(opened: Bucket, latest: int) -> None:
    """Go on from a time that was met; all buckets of the store do, so it must be one."""
    if latest >= TOO_HIGH:
        raise ValueError("a time that no clock gets to")
    opened.time.raise_to(latest)


def _apply_stores(opened: Bucket, run: Stores, span: tuple[bytes, bytes]) -> None:
    """Take in plain stores at once: what ``_apply_row`` makes of each of them."""
    start, stop = span
    _raise_version(opened, run.version)
    active = opened.state.active
    rows = dict(zip(run.keys, run.entries, strict=True))
    if not start <= min(rows) or not max(rows) < stop:
        rows = {key: row for key, row in rows.items() if start <= key < stop}
    taken = run.taken_bytes
    if len(rows) < len(run.keys):  # not ours, or stored twice
        pairs = zip(run.keys, run.entries, strict=True)
        taken -= sum(plain_bytes(key, row) for key, row in pairs if rows.get(key) is not row)
    for key in run.fresh if opened.special else ():
        if key in rows and opened.state.get(Table.CONSUMERS, key) is not None:
            opened.state.put_side(Table.CONSUMERS, key, DELETED)
    active.put_plain(rows, run.segment, taken)
    active.held += sum(map(len, rows.values())) - ENTRY_BYTES * len(rows)
    for expires_ns, key in run.timed:
        if key in rows:
            opened.may_expire = True
            active.expires(expires_ns, key)


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
    for group in groups:
        if group.head.kind == Kind.KEY_BLOCK:
            continue
        version, latest, highest, kinds = group.reach()
        _raise_version(opened, version)
        opened.highest = max(opened.highest, highest)
        if group.head.kind == Kind.RECORDS:
            _raise_time(opened, latest)
        if not kinds.isdisjoint(ASIDE):
            _replay_aside(opened, group)


def _replay_aside(opened: Bucket, group: Group) -> None:
    """What sessions applied and what purses hold, in the order of the log."""
    for record in group.records():
        if record.type == Type.SESSION:
            opened.sessions.replay(record.key, group.value(record), record.modified_ns)
        elif record.type in dividing.TELLING:
            dividing.replay(opened.purses, record, group.value(record))
            opened.meter()


def apply_controls(opened: Bucket, groups: Iterable[Group]) -> None:
    """What the newest segment's control records say after its state."""
    _raise_time(opened, found_time(groups))
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
    _raise_version(opened, version)
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
