"""Stores that ask nothing and meet nothing special: the hot path, many at once.

The same records, rows and counts as plan.py and ``Bucket.publish`` make, in one
loop without a call per operation. Used where no object of the bucket needs a
look before it is overwritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crc32c import crc32c

from holdfast.log.entry import ENTRY, ENTRY_BYTES
from holdfast.log.records import CHECK, CHECK_BYTES, FOLD, HEAD, Type
from holdfast.operations import Store
from holdfast.values import Receipt
from holdfast.views.port import Table

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.group import Gathering
    from holdfast.views.state import State

STORE = int(Type.STORE)
KEYS = Table.KEYS


def plan(bucket: Bucket, group: Gathering, operations: Sequence[Store]) -> list[Receipt]:
    """Stage the records of plain stores; their receipts. Under the bucket's lock."""
    version, now, bucket_id, segment = bucket.version, bucket.time.now_ns(), bucket.id, group.segment
    pending = bucket.pending if bucket.durable else None
    buffers, changes = group.buffers, group.changes
    start = at = group.base + group.length
    highest = bucket.highest
    receipts = []
    for operation in operations:
        key, value = operation.key, operation.value
        version += 1
        size = len(value)
        crc = crc32c(value)
        head = HEAD.pack(STORE, 0, len(key), size, crc, 0, version, now, 0) + key
        check = CHECK.pack(crc32c(key, crc ^ ((version ^ (version >> 32)) & FOLD)))
        buffers += (head, value, check)
        at += len(head)
        row = ENTRY.pack(version, now, 0, size, crc, 0, 0, segment, at)
        at += size + CHECK_BYTES
        changes.append((KEYS, key, row))
        if pending is not None:
            pending[key] = row
        if key > highest:
            highest = key
        receipts.append(Receipt(operation.name, version, size, None, bucket_id))
    bucket.version = version
    bucket.highest = highest
    group.count += len(receipts)
    group.length += at - start
    return receipts


def publish(state: State, group: Gathering) -> None:
    """Make a group of nothing but plain stores visible. Under the bucket's lock."""
    active = state.active
    keys, tally = active.keys, active.tally
    known = len(keys)
    key_bytes = 0
    for _, key, row in group.changes:
        old = keys.get(key)
        keys[key] = row
        key_bytes += len(key)
        if old:
            tally.count(key, old, -1)
            tally.keys += 1
        elif old is not None:
            tally.keys += 1
    tally.keys += len(keys) - known
    tally.live[group.segment] = tally.live.get(group.segment, 0) + group.length
    active.payload += key_bytes + ENTRY_BYTES * len(group.changes)


def store_now(bucket: Bucket, key: bytes, name: str, value: bytes | memoryview) -> Receipt:
    """Write and publish one plain store; for interval and never. Under the bucket's lock.

    Raises:
        OSError: it was not written; nothing has changed but the version.
    """
    bucket.version = version = bucket.version + 1
    now = bucket.time.now_ns()
    log = bucket.log
    size = len(value)
    crc = crc32c(value)
    head = HEAD.pack(STORE, 0, len(key), size, crc, 0, version, now, 0) + key
    check = CHECK.pack(crc32c(key, crc ^ ((version ^ (version >> 32)) & FOLD)))
    body = b"".join((head, value, check))
    length = len(body)
    offset = log.append_body(body, 1) + len(head)
    number = log.number
    active = bucket.state.active
    keys, tally = active.keys, active.tally
    old = keys.get(key)
    keys[key] = ENTRY.pack(version, now, 0, size, crc, 0, 0, number, offset)
    if old:
        tally.count(key, old, -1)
    tally.keys += 1
    live = tally.live
    live[number] = live.get(number, 0) + length
    active.payload += ENTRY_BYTES + len(key)
    if key > bucket.highest:
        bucket.highest = key
    bucket.wrote(length)
    return Receipt(name, version, size, None, bucket.id)
