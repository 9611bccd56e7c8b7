"""Stores that ask nothing and meet nothing special: the hot path, many at once.

The same records, rows and counts as plan.py and ``Bucket.publish`` make, in one
loop without a call per operation. Used where no object of the bucket needs a
look before it is overwritten.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from typing import TYPE_CHECKING

from crc32c import crc32c

from holdfast.bucket import commit, failing
from holdfast.bucket.group import Gathering
from holdfast.errors import HoldfastError
from holdfast.log.entry import ENTRY, PLAIN_ENTRY
from holdfast.log.group import GROUP_HEAD_BYTES
from holdfast.log.packs import packed
from holdfast.log.records import (
    CHECK,
    CHECK_BYTES,
    FOLD,
    HEAD_BYTES,
    OVERHEAD,
    PLAIN_HEAD,
    Type,
)
from holdfast.operations import Store
from holdfast.values import Receipt, Receipts
from holdfast.views.port import Table
from holdfast.views.state import PLAIN_HELD

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket

Batch = tuple[
    Sequence[bytes], Sequence[str], Sequence[bytes | memoryview]
]  # composite keys, names, values
Span = tuple[int, int, int]  # where groups begin and stop in their segment; their records
STORE = int(Type.STORE)
APART = 32  # rows that are worth a dict of their own among those that are noted
ALIKE_LEAST = 16  # stores of one size that are worth a look whether they are
ALIKE_BYTES = 4 << 10  # of a value: larger ones are not copied once more
SPAN_BYTES = 1 << 20  # of groups beside those of plain stores that are read together
MIXED_MOST = 1_000  # such spans in a segment: more, and all of it is read
_pack_head, _pack_entry, _pack_check = PLAIN_HEAD.pack, PLAIN_ENTRY.pack, CHECK.pack


def plan(
    bucket: Bucket, group: Gathering, batch: Batch, high: bytes, *, cost_atto: int = 0
) -> Receipts:
    """Stage the records of plain stores; their receipts. Under the bucket's lock.

    ``high`` is the highest of the keys; ``cost_atto`` what each of them is charged.
    """
    keys, names, values = batch
    versions = range(bucket.version + 1, bucket.version + 1 + len(keys))
    now, begun = bucket.time.now_ns(), group.length
    rows = _stage_alike(group, batch, versions, now) or _stage(group, batch, versions, now)
    sizes, taken = list(map(len, values)), group.length - begun
    bucket.version += len(keys)
    bucket.highest = max(bucket.highest, high)
    group.fresh = None
    pending, before = group.pending, len(group.pending)
    if not group.plain:  # what is alive of it is counted change by change
        pending.update(zip(keys, rows, strict=True))
        group.changes += zip(repeat(Table.KEYS), keys, rows)
    elif before and not pending.keys().isdisjoint(keys):
        group.beside += _replaced_bytes(group, keys) + _repeated_bytes(keys, sizes, taken)
        pending.update(zip(keys, rows, strict=True))
    else:
        pending.update(zip(keys, rows, strict=True))
        if len(pending) - before < len(keys):
            group.beside += _repeated_bytes(keys, sizes, taken)
    group.count += len(rows)
    return Receipts(names, versions, sizes, bucket.id, cost_atto)


def _stage(group: Gathering, batch: Batch, versions: range, now: int) -> list[bytes]:
    """Add the records of stores of any sizes; their rows."""
    keys, _, values = batch
    segment, buffers = group.segment, group.buffers
    pack_head, pack_entry, pack_check = _pack_head, _pack_entry, _pack_check
    at = group.base + group.length
    rows: list[bytes] = []
    add = rows.append
    for key, value, crc, version in zip(keys, values, map(crc32c, values), versions, strict=True):
        size, wide = len(value), len(key)
        folded = version if version <= FOLD else (version ^ (version >> 32)) & FOLD
        check = crc32c(key, crc ^ folded)
        buffers += (
            pack_head(STORE, wide, size, crc, version, now),
            key,
            value,
            pack_check(check),
        )
        at += HEAD_BYTES + wide
        add(pack_entry(version, now, size, crc, segment, at))
        at += size + CHECK_BYTES
    group.length = at - group.base
    return rows


def _stage_alike(group: Gathering, batch: Batch, versions: range, now: int) -> list[bytes] | None:
    """As ``_stage``, of small values and keys of one size each: records are packed in place."""
    keys, _, values = batch
    size, wide = len(values[0]), len(keys[0])
    if (
        (len(keys) < ALIKE_LEAST or size > ALIKE_BYTES or versions[-1] > FOLD)
        or (len(set(map(len, values))) > 1 or len(set(map(len, keys))) > 1)
        or set(map(type, values)) != {bytes}
    ):
        return None
    record, pack_entry, segment = _record(wide, size), _pack_entry, group.segment
    pack_into, step = record.pack_into, record.size
    body, place = bytearray(step * len(keys)), 0
    at = group.base + group.length + HEAD_BYTES + wide
    rows: list[bytes] = []
    add = rows.append
    for key, value, crc, version in zip(keys, values, map(crc32c, values), versions, strict=True):
        check = crc32c(key, crc ^ version)
        pack_into(body, place, STORE, wide, size, crc, version, now, key, value, check)
        add(pack_entry(version, now, size, crc, segment, at + place))
        place += step
    group.buffers.append(memoryview(body))
    group.length += len(body)
    return rows


@lru_cache(maxsize=64)
def _record(wide: int, size: int) -> struct.Struct:
    """A whole record of a plain store: head, key, value and check (log/records.py)."""
    return struct.Struct(f"{PLAIN_HEAD.format}{wide}s{size}s{CHECK.format[1:]}")


def add(  # noqa: PLR0917 - a record has this many fields
    group: Gathering, kind: int, key: bytes, value: bytes, version: int, modified_ns: int
) -> int:
    """Append a record without flags, attributes or expiry to a group; the bytes it takes.

    As ``Gathering.add``, by what has just packed stores: what a batch runs through is short.
    """
    crc, wide, size = crc32c(value), len(key), len(value)
    folded = version if version <= FOLD else (version ^ (version >> 32)) & FOLD
    head = _pack_head(kind, wide, size, crc, version, modified_ns)
    group.buffers.append(b"".join((head, key, value, _pack_check(crc32c(key, crc ^ folded)))))
    group.count += 1
    length = OVERHEAD + wide + size
    group.length += length
    return length


def fits(group: Gathering, batch: Batch, *, charged: bool) -> bool:
    """Whether the group can take a batch by its keys alone.

    What is ``charged`` depends on what it replaces, so there none of its keys is in the group.
    """
    if not charged:
        return True
    pending = group.pending
    return group.plain and (not pending or pending.keys().isdisjoint(batch[0]))


def _replaced_bytes(group: Gathering, keys: Sequence[bytes]) -> int:
    """Bytes of the records that a group has of keys that it stores again behind them."""
    pending, unpack = group.pending, ENTRY.unpack_from
    again = pending.keys() & set(keys)
    return sum(OVERHEAD + len(key) + int(unpack(pending[key])[3]) for key in again)


def _repeated_bytes(keys: Sequence[bytes], sizes: list[int], taken: int) -> int:
    """Bytes of the records of a batch whose keys it stores again behind them.

    ``sizes`` are those of the values, ``taken`` the bytes of all of its records.
    """
    size = sizes[0]
    if sizes.count(size) == len(sizes):
        last = set(keys)
        return taken - (OVERHEAD + size) * len(last) - sum(map(len, last))
    sized = dict(zip(keys, sizes, strict=True))
    return taken - OVERHEAD * len(sized) - sum(map(len, sized)) - sum(sized.values())


def publish(bucket: Bucket, group: Gathering) -> None:
    """Make a group of nothing but plain stores visible. Under the bucket's lock."""
    rows = group.pending
    if len(rows) == 1 and not group.beside and not group.bookings:
        ((key, row),) = rows.items()
        _publish_one(bucket, key, row, group.segment, length=group.length)
        return
    active, taken = bucket.state.active, group.length - group.beside
    new = active.put_plain(rows, group.segment, taken, fresh=group.fresh)
    pack = packed(rows) if new and len(rows) >= APART else None
    if pack is not None:
        active.pack(pack)
    bucket.log.records -= len(group.bookings) + len(group.noted)  # what is noted are rows
    noted = bucket.noted.get(group.segment)
    if noted is None:
        return
    if pack is not None:
        noted.append(pack)
    elif new and len(rows) >= APART:
        noted.append(rows)
    else:
        noted.last.update(rows)


def pass_over(bucket: Bucket, group: Gathering) -> None:
    """Note where a published group lies that holds other records, too: its rows are not noted.

    Those that follow one another are read together.
    """
    number = group.segment
    if number not in bucket.noted:
        return
    spans = bucket.mixed.setdefault(number, [])
    start, stop, count = group.base - GROUP_HEAD_BYTES, group.base + group.length, group.count
    if spans and spans[-1][1] == start and stop - spans[-1][0] <= SPAN_BYTES:
        start, _, before = spans.pop()
        count += before
    spans.append((start, stop, count))
    if len(spans) > MIXED_MOST:
        del bucket.noted[number], bucket.mixed[number]


def _publish_one(bucket: Bucket, key: bytes, row: bytes, number: int, *, length: int) -> None:
    """Make one plain store visible whose record takes so many bytes of a segment."""
    active = bucket.state.active
    keys, tally = active.keys, active.tally
    if key in keys:
        tally.count_out(key, keys[key])
        active.held -= PLAIN_HELD + len(key)
        active.change((key,))
    keys[key] = row
    if active.present is not None:
        active.present.add((key,))
    if number in bucket.noted:
        bucket.noted[number].last[key] = row
    tally.keys += 1
    tally.live[number] += length
    active.held += PLAIN_HELD + len(key)


def _store_gathered(bucket: Bucket, key: bytes, name: str, value: bytes | memoryview) -> object:
    """Apply one store without options as part of a group."""
    receipts = bucket.store_many(([key], [name], [value]), key, key)
    return bucket.apply_one(Store(key, name, value)) if receipts is None else receipts[0]


def store_one(bucket: Bucket, key: bytes, name: str, value: bytes | memoryview) -> object:
    """Apply one store without options; its error is raised.

    With interval and never it is written and published here, in one piece: no
    group is gathered, because nobody else can join it.
    """
    log = bucket.log
    if bucket.gathers or bucket.special or log.stop >= bucket.heed_at:
        return _store_leading(bucket, key, name, value)
    with bucket.lock:
        if not bucket.start <= key < bucket.stop or bucket.broken is not None:
            bucket.admit_range(key, key)
        bucket.version = version = bucket.version + 1
        now, size, wide, crc = bucket.time.now_ns(), len(value), len(key), crc32c(value)
        folded = version if version <= FOLD else (version ^ (version >> 32)) & FOLD
        check = crc32c(key, crc ^ folded)
        head = _pack_head(STORE, wide, size, crc, version, now)
        number, at = log.number, log.stop + GROUP_HEAD_BYTES + HEAD_BYTES + wide
        row = _pack_entry(version, now, size, crc, number, at)
        active = bucket.state.active  # from here on as ``_publish_one`` does it
        keys, tally = active.keys, active.tally
        hidden = keys.get(key)
        try:
            log.append_single(b"".join((head, key, value, _pack_check(check))))
        except OSError as error:
            raise failing.restart(bucket, error) from error
        except BaseException:
            failing.interrupted(bucket)
            raise
        keys[key] = row  # no call is made before: what is written is visible, interrupted or not
        if number in bucket.noted:
            bucket.noted[number].last[key] = row
        tally.keys += 1
        length = OVERHEAD + wide + size
        tally.live[number] += length
        active.held = held = active.held + PLAIN_HELD + wide
        if hidden is not None:
            tally.count_out(key, hidden)
            active.held = held = held - PLAIN_HELD - wide
            active.change((key,))
        if key > bucket.highest:  # noqa: PLR1730 - a call to max costs more than the rest
            bucket.highest = key
        bucket.weight = weight = bucket.weight + length
        full = weight >= bucket.bound or held >= active.most
        bucket.crowded = full or bucket.crowded
    return Receipt(name, version, size, None, bucket.id)


def _store_leading(bucket: Bucket, key: bytes, name: str, value: bytes | memoryview) -> object:
    """Apply one store as a durable group of its own, where nobody leads; else among others."""
    group, version = None, 0
    try:
        if bucket.durable and not bucket.leading:  # looked at again under the lock
            with bucket.lock:
                group = _take_off(bucket, key, value)
                version = bucket.version
        if group is not None:
            commit.carry(bucket, group)
    except HoldfastError:
        raise
    except BaseException:
        commit.let_go(bucket, group, None)
        raise
    if group is None:
        return _store_gathered(bucket, key, name, value)
    if group.error is not None:
        raise group.error
    return Receipt(name, version, len(value), None, bucket.id)


def _take_off(bucket: Bucket, key: bytes, value: bytes | memoryview) -> Gathering | None:
    """Lead a group of one plain store, or None where it has to be gathered."""
    log = bucket.log
    heed = log.stop >= bucket.heed_at
    taken = bucket.leading or bucket.gathering is not None
    if heed or taken or bucket.purses or bucket.special:
        return None
    bucket.admit_range(key, key)
    group = Gathering(log.number, log.stop)
    _plan_one(bucket, group, key, value)
    commit.take_off(bucket, group)
    bucket.leading = True
    return group


def _plan_one(bucket: Bucket, group: Gathering, key: bytes, value: bytes | memoryview) -> None:
    """Stage one plain store in an empty group. The same as ``plan``, quicker."""
    bucket.version = version = bucket.version + 1
    now, size, wide, crc = bucket.time.now_ns(), len(value), len(key), crc32c(value)
    folded = version if version <= FOLD else (version ^ (version >> 32)) & FOLD
    check = crc32c(key, crc ^ folded)
    head = _pack_head(STORE, wide, size, crc, version, now)
    group.buffers = [head, key, value, _pack_check(check)]
    at = group.base + HEAD_BYTES + wide
    group.pending[key] = _pack_entry(version, now, size, crc, group.segment, at)
    group.count = 1
    group.length = OVERHEAD + wide + size
    if key > bucket.highest:  # noqa: PLR1730 - a call to max costs more than the rest
        bucket.highest = key
