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
from holdfast.values import Receipt

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.group import Gathering
    from holdfast.views.state import State

Batch = tuple[
    Sequence[bytes], Sequence[str], Sequence[bytes | memoryview]
]  # composite keys, names, values
STORE = int(Type.STORE)


def plan(bucket: Bucket, group: Gathering, batch: Batch) -> list[Receipt]:
    """Stage the records of plain stores; their receipts. Under the bucket's lock."""
    keys, names, values = batch
    version, now, bucket_id = bucket.version, bucket.time.now_ns(), bucket.id
    segment = group.segment
    buffers = group.buffers
    pack_head, pack_row, pack_check = HEAD.pack, ENTRY.pack, CHECK.pack
    start = at = group.base + group.length
    rows = []
    receipts = []
    for key, name, value, crc in zip(keys, names, values, map(crc32c, values), strict=True):
        version += 1
        size = len(value)
        head = pack_head(STORE, 0, len(key), size, crc, 0, version, now, 0) + key
        check = crc32c(key, crc ^ ((version ^ (version >> 32)) & FOLD))
        buffers += (head, value, pack_check(check))
        at += len(head)
        rows.append(pack_row(version, now, 0, size, crc, 0, 0, segment, at))
        at += size + CHECK_BYTES
        receipts.append(Receipt(name, version, size, None, bucket_id))
    bucket.version = version
    bucket.highest = max(bucket.highest, *keys)
    group.pending.update(zip(keys, rows, strict=True))
    group.count += len(rows)
    group.length += at - start
    return receipts


def fits(group: Gathering, batch: Batch) -> bool:
    """Whether the group can take a batch by its keys alone: each is stored once."""
    keys = set(batch[0])
    return group.plain and len(keys) == len(batch[0]) and keys.isdisjoint(group.pending)


def publish(state: State, group: Gathering) -> None:
    """Make a group of nothing but plain stores visible. Under the bucket's lock."""
    active = state.active
    keys, tally, rows = active.keys, active.tally, group.pending
    if not keys.keys().isdisjoint(rows):
        for key in keys.keys() & rows.keys():
            old = keys[key]
            if old:
                tally.count(key, old, -1)
    keys.update(rows)
    tally.keys += len(rows)
    tally.live[group.segment] = tally.live.get(group.segment, 0) + group.length
    active.payload += sum(map(len, rows)) + ENTRY_BYTES * len(rows)


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
    bucket.highest = max(bucket.highest, key)
    bucket.wrote(length)
    return Receipt(name, version, size, None, bucket.id)
