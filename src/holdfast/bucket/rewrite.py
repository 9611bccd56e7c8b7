"""Records written again: evacuated as they are, or joined with those behind them.

Neither changes what an object is, only where its bytes lie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.bucket import rows
from holdfast.errors import LimitExceeded
from holdfast.limits import EXTENTS, VALUE_RECORD_BYTES
from holdfast.log.entry import EXTENSION, Extent, encode_attributes, keeps, pack, placed
from holdfast.log.records import REMOVALS, Flag, Type, record_bytes
from holdfast.operations import Evacuate
from holdfast.views.port import Table
from holdfast.views.state import FLAGS, FLAGS_AT

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.group import Gathering

STORED = Flag.MANAGED | Flag.MARKED | Flag.PERMANENT | Flag.LARGE
SIDE_TABLES: dict[int, Table] = {
    Type.CONSUMERS: Table.CONSUMERS,
    Type.LOCK: Table.LOCKS,
    Type.UPLOAD: Table.UPLOADS,
}


def evacuate(bucket: Bucket, operation: Evacuate, group: Gathering) -> bool:
    """Write a record again where it is still alive; whether it was."""
    found = evacuated_row(
        bucket, operation.type, operation.key, operation.version, operation.segment
    )
    if found is None:
        return False
    table, row = found
    flags = operation.flags | Flag.MOVED
    if operation.type == Type.STORE:
        flags = (flags & ~STORED) | (FLAGS.unpack_from(row, FLAGS_AT)[0] & STORED)
    offset = group.add(
        operation.type,
        operation.key,
        operation.value,
        operation.version,
        operation.modified_ns,
        flags=flags,
        expires_ns=operation.expires_ns,
        attrs=operation.attrs,
    )
    if table is Table.KEYS:
        row = placed(row, operation.version, operation.segment, (group.segment, offset))
    else:
        taken = record_bytes(len(operation.key), len(operation.attrs), len(operation.value))
        row = rows.pack_row(operation.version, group.segment, taken, operation.value)
    bucket.stage(group, table, operation.key, row)
    return True


def evacuated_row(  # noqa: PLR0917 - the five things that name a record
    bucket: Bucket, kind: int, key: bytes, version: int, segment: int
) -> tuple[Table, bytes] | None:
    """The row that a record in ``segment`` keeps alive, or None.

    A removal keeps nothing alive but stays while older segments may hold what
    it removed: it gets a row of its own in SEGMENTS, which only counts.
    """
    if kind in REMOVALS or kind == Type.UNLOCK:
        return Table.SEGMENTS, b""
    if kind == Type.RELEASE:
        entry = bucket.peek_entry(key)
        stands = entry is not None and entry.extents[0].version < version
        return (Table.SEGMENTS, b"") if stands else None
    table = SIDE_TABLES.get(kind, Table.KEYS)
    row = bucket.peek(table, key)
    if row is None:
        return None
    if table is Table.KEYS:
        alive = keeps(row, version, segment)
    else:
        side = rows.unpack_row(row)
        alive = (side.version, side.segment) == (version, segment)
    return (table, row) if alive else None


def join(bucket: Bucket, key: bytes, name: str, group: Gathering) -> None:
    """Rewrite an object's last extents as one, so that appends stay O(n) in all.

    The suffix whose extents are no larger than what follows them is joined:
    sizes stay geometric, a byte is rewritten O(log n) times. No joined extent
    passes the size of one record.
    """
    old = bucket.peek_entry(key)
    if old is None or len(old.extents) < EXTENTS:
        return
    first, total = len(old.extents) - 1, old.extents[-1].length
    while first > 0:
        length = old.extents[first - 1].length
        if total + length > VALUE_RECORD_BYTES or (length > total and len(old.extents) - first > 1):
            break
        first -= 1
        total += length
    if first == len(old.extents) - 1:
        raise LimitExceeded(limit="EXTENTS", key=name)
    value = b"".join(bucket.read_extent(key, e) for e in old.extents[first:])
    version = bucket.next_version()
    old.version = version
    if first == 0:
        kind, flags, expires, attrs = Type.STORE, old.flags & STORED, old.expires_ns, old.attrs
        if flags & Flag.LARGE:
            attrs = encode_attributes(msgspec.structs.replace(old.attributes, crc=old.crc))
            old.attrs = attrs
    else:
        kind, flags, expires = Type.JOIN, 0, 0
        # All behind the extent that stays: what a join of before replaced may outlast it.
        attrs = EXTENSION.pack(old.size, old.crc, old.extents[first - 1].version + 1)
    offset = group.add(
        kind, key, value, version, old.modified_ns, flags=flags, expires_ns=expires, attrs=attrs
    )
    joined = Extent(version, group.segment, offset, len(value))
    old.extents = (*old.extents[:first], joined)
    bucket.stage(group, Table.KEYS, key, pack(old))
