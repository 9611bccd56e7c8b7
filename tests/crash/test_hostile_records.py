"""Records that verify and say what cannot be: a typed error or none, whatever reads them.

Whoever can write the disk can write checksums, too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec
import pytest
from crc32c import crc32c

from holdfast.bucket import commit, fork
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.seal import seal_all
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import Corrupt, HoldfastError
from holdfast.log.entry import ENTRY, EXTENTS_FLAG
from holdfast.log.group import GROUP_HEAD_BYTES, Kind, seal_head
from holdfast.log.header import pack_head
from holdfast.log.keyblock import BLOCK, OFFSET, ROW
from holdfast.log.records import Flag, Type, encode
from holdfast.store import Store
from holdfast.testing.clock import ManualClock
from tests.crash.test_refusals import copy_of, opened

ELSEWHERE = ["../../../elsewhere", b"", b"\xff", 1, 2, []]
VALUES = [
    b"",
    b"\xff",
    b"\x93\x01",
    b"\x90",
    b"\xc1" * 40,
    msgspec.msgpack.encode([1, 2, 3]),
    msgspec.msgpack.encode([[1, 2]]),
    msgspec.msgpack.encode(ELSEWHERE),
]
KEPT = {f"k{number}": bytes([number]) * 40 for number in range(8)}


@pytest.mark.parametrize("kind", [Kind.CONTROL, Kind.RECORDS], ids=["control", "records"])
@pytest.mark.parametrize("record", Type, ids=lambda record: record.name)
def test_what_cannot_be_is_told_as_such(record: Type, kind: Kind) -> None:
    for value in VALUES:
        disk = _disk_with(record, kind, value)
        with suppress(HoldfastError):
            _use(disk, repair=False)
        with suppress(HoldfastError):
            _use(disk, repair=True)
        with suppress(HoldfastError), opened(disk, ManualClock(), "always", 3) as store:
            store.check(repair=True)
            report = store.check()
            assert report.ok, (value, report.problems)
        assert disk.list("") == ["store"], value  # an id that is a path leads nowhere


def _disk_with(record: Type, kind: Kind, value: bytes) -> MemoryDisk:
    """A store whose log ends with such a record, as a crash leaves it."""
    disk, clock = MemoryDisk(), ManualClock()
    store = opened(disk, clock, "always", 1)
    store.namespace("n").put("k", b"1")
    (bucket,) = store.placement.directory
    key = b"n\0k" if kind is Kind.RECORDS else b""
    with commit.alone(bucket):
        buffers = encode(record, key, value, bucket.next_version(), bucket.time.now_ns())
        bucket.log.append(buffers, 1, sum(map(len, buffers)), kind)
        bucket.log.sync()
    return copy_of(disk)


def _use(disk: MemoryDisk, *, repair: bool) -> None:
    with opened(disk, ManualClock(), "always", 2) as store:
        ns = store.namespace("n")
        for call in (lambda: ns.get("k"), lambda: ns.stat("k"), lambda: list(ns.list())):
            with suppress(HoldfastError):
                call()
        store.check(repair=repair)
        store.tick(1)
        with suppress(HoldfastError):
            store.collect()
        store.rebuild()


# -- a child's beginning --------------------------------------------------------------


def divided(store: Store) -> tuple[Bucket, Bucket]:
    """The only bucket of a store with a few objects, cut in two: parent and child."""
    store.namespace("n").put_many(KEPT)
    placement = store.placement
    (parent,) = placement.directory
    child = fork.split(parent, placement.new_id(), b"n\0k4", placement.directory.add)
    assert child is not None
    return parent, child


def test_a_child_that_begins_with_nonsense_is_one_damaged_bucket() -> None:
    disk, clock = MemoryDisk(), ManualClock()
    store = opened(disk, clock, "always", 1)
    _, child = divided(store)
    crash = copy_of(disk)  # the parent does not know yet that the child stands
    head, digest = pack_head(child.settings.identity, child.id, child.log.number, None)
    body = b"".join(map(bytes, encode(Type.STATE, b"", b"\xc1 no state", 1, 1)))
    group, _ = seal_head(Kind.CONTROL, 1, len(body), crc32c(body), len(head), digest)
    _write(crash, child.id, child.log.number, head + group + body)
    with opened(crash, clock, "always", 2) as again:
        assert again.namespace("n").get("k1") == KEPT["k1"]
        with pytest.raises(Corrupt) as refused:
            again.namespace("n").get("k6")
        assert child.id in str(refused.value)


def test_a_parent_that_says_it_reaches_over_its_child_leaves_the_child_readable() -> None:
    disk, clock = MemoryDisk(), ManualClock()
    store = opened(disk, clock, "always", 1)
    parent, child = divided(store)
    parent.stop = child.stop  # what its next state says
    with commit.alone(parent):
        commit.switch(parent)
    with opened(copy_of(disk), clock, "always", 2) as again:
        with pytest.raises(Corrupt):
            again.namespace("n").get("k1")
        (whole,) = (one for one in again.placement.directory if one.damage is None)
        assert whole.lender is None  # whoever reads through a closed bucket asks for ever
        assert again.namespace("n").get("k6") == KEPT["k6"]


# -- key blocks -----------------------------------------------------------------------


def _offset(body: bytearray) -> None:
    OFFSET.pack_into(body, len(body) - OFFSET.size, 1 << 30)


def _swapped(body: bytearray) -> None:
    """Two offsets are each other's, and no search finds what lies there."""
    at = len(body) - 4 * OFFSET.size
    body[at:] = body[at + 8 :] + body[at : at + 8]


def _wide_key(body: bytearray) -> None:
    kind, pad, _, width = ROW.unpack_from(body, BLOCK.size)
    ROW.pack_into(body, BLOCK.size, kind, pad, 0xFFFF, width)


def _long_key(body: bytearray) -> None:
    """The first row takes the beginning of the second for its key."""
    kind, pad, length, width = ROW.unpack_from(body, BLOCK.size)
    ROW.pack_into(body, BLOCK.size, kind, pad, length + 9, width)


def _no_entry(body: bytearray) -> None:
    kind, pad, length, _ = ROW.unpack_from(body, BLOCK.size)
    ROW.pack_into(body, BLOCK.size, kind, pad, length, 0)


def _extents(body: bytearray) -> None:
    at = BLOCK.size + ROW.size + len(b"n\0k0")
    fields = list(ENTRY.unpack_from(body, at))
    fields[5] |= EXTENTS_FLAG
    ENTRY.pack_into(body, at, *fields)


def _version(body: bytearray) -> None:
    at = BLOCK.size + ROW.size + len(b"n\0k0")
    body[at : at + 8] = b"\xff" * 8


def _time(body: bytearray) -> None:
    at = BLOCK.size + ROW.size + len(b"n\0k0")
    body[at + 8 : at + 16] = b"\xff" * 8


def _place(body: bytearray) -> None:
    at = BLOCK.size + ROW.size + len(b"n\0k0")
    body[at + 44 : at + 52] = b"\xff" * 8


def _key(key: bytes) -> Callable[[bytearray], None]:
    def alter(body: bytearray) -> None:
        at = BLOCK.size + ROW.size
        body[at : at + len(key)] = key

    return alter


def _cut(length: int) -> Callable[[bytearray], None]:
    def alter(body: bytearray) -> None:
        del body[length:]

    return alter


LYING_BLOCKS = {
    "an offset out of it": _offset,
    "two offsets swapped": _swapped,
    "a key out of it": _wide_key,
    "a key over the next row": _long_key,
    "a row without an entry": _no_entry,
    "extents that are not there": _extents,
    "a version that cannot be": _version,
    "a time that cannot be": _time,
    "a place that cannot be": _place,
    "a key that is no text": _key(b"n\0\xff\xff"),
    "a key of no namespace": _key(b"nkkk"),
    "a key that is above the next": _key(b"n\0zz"),
    "no lengths": _cut(3),
    "no rows": _cut(BLOCK.size),
}


@pytest.mark.parametrize("alter", LYING_BLOCKS.values(), ids=LYING_BLOCKS.keys())
def test_a_key_block_that_lies_is_mended_and_nothing_is_lost(
    alter: Callable[[bytearray], None],
) -> None:
    disk, clock = MemoryDisk(), ManualClock()
    store = opened(disk, clock, "always", 1)
    store.namespace("n").put_many(KEPT)
    (bucket,) = store.placement.directory
    number = bucket.log.number
    with commit.alone(bucket):
        commit.switch(bucket)
    seal_all(bucket)
    info = bucket.log.ended[number]
    crash = copy_of(disk)
    data = _read(crash, bucket.id, number)
    body = bytearray(data[info.stop + GROUP_HEAD_BYTES :])
    alter(body)
    head, _ = seal_head(Kind.KEY_BLOCK, len(KEPT), len(body), crc32c(body), info.stop, info.digest)
    _write(crash, bucket.id, number, data[: info.stop] + head + bytes(body))
    _survives(crash, KEPT, lost=False)


# -- groups ---------------------------------------------------------------------------


def _store(
    key: bytes, attrs: bytes = b"", flags: int = 0, *, version: int = 99, modified_ns: int = 1
) -> bytes:
    parts = encode(Type.STORE, key, b"value", version, modified_ns, attrs=attrs, flags=flags)
    return b"".join(map(bytes, parts))


HUGE = msgspec.msgpack.encode([None, b"8 bytes.", 1 << 62, 0])
GOOD = _store(b"n\0z")
LYING_GROUPS = {
    "fewer records than it says": (GOOD, 2),
    "more than its records": (GOOD + b"more", 1),
    "a key out of it": (GOOD[:2] + b"\xff\xff" + GOOD[4:], 1),
    "a value out of it": (GOOD[:4] + b"\xff\xff" + GOOD[6:], 1),
    "a key that is no text": (_store(b"n\0\xff\xff"), 1),
    "a key of no namespace": (_store(b"nz"), 1),
    "a part without a number": (_store(b"n\1z"), 1),
    "attributes that are none": (_store(b"n\0z", b"\x07"), 1),
    "attributes that are no text": (_store(b"n\0z", b"\x91\xa2\xff\xff"), 1),
    "parts without end": (_store(b"n\0z", HUGE, Flag.LARGE), 1),
    "parts that nobody named": (_store(b"n\0z", b"", Flag.LARGE), 1),
    "a version that cannot be": (_store(b"n\0z", version=(1 << 64) - 1), 1),
    "a time that cannot be": (_store(b"n\0z", modified_ns=(1 << 64) - 1), 1),
}


@pytest.mark.parametrize(("body", "count"), LYING_GROUPS.values(), ids=LYING_GROUPS.keys())
@pytest.mark.parametrize("sealed", [False, True], ids=["active", "sealed"])
def test_a_group_that_lies_is_lost_and_no_other(body: bytes, count: int, *, sealed: bool) -> None:
    disk, clock = MemoryDisk(), ManualClock()
    store = opened(disk, clock, "always", 1)
    store.namespace("n").put_many(KEPT)
    (bucket,) = store.placement.directory
    with commit.alone(bucket):
        bucket.log.append([body], count, len(body))
        bucket.log.sync()
        if sealed:
            commit.switch(bucket)
    _survives(copy_of(disk), KEPT, lost=True)


def test_a_collector_passes_over_keys_that_cannot_be() -> None:
    disk, clock = MemoryDisk(), ManualClock()
    store = opened(disk, clock, "always", 1)
    (bucket,) = store.placement.directory
    with commit.alone(bucket):
        for key in (b"mm", b"n\1z", b"\xa8\0z"):
            body = _store(key)
            bucket.log.append([body], 1, len(body))
        bucket.log.sync()
    with opened(copy_of(disk), clock, "always", 2) as again:
        again.namespace("n").put("k", b"1")
        again.collect()
        with pytest.raises(Corrupt):
            again.namespaces()
        assert again.check(repair=True).problems
        assert again.namespaces() == ["n"]


def _survives(disk: MemoryDisk, kept: dict[str, bytes], *, lost: bool) -> None:
    """Whatever is asked is told as it is or refused; a repair keeps what is no lie, and ends it."""
    with suppress(HoldfastError):
        _use(copy_of(disk), repair=False)
    with opened(disk, ManualClock(), "always", 2) as store:
        report = store.check(repair=True)
        assert lost <= any(one.what.startswith("lost") for one in report.problems)
        _is_sound(store, kept)
    with opened(disk, ManualClock(), "always", 3) as store:
        _is_sound(store, kept)


def _is_sound(store: Store, kept: dict[str, bytes]) -> None:
    report = store.check()
    assert report.ok, report.problems
    space = store.namespace("n")
    assert {key: space.get(key) for key in kept} == kept
    assert kept.keys() <= set(space.list())
    assert space.put("k0", kept["k0"]).version < 1 << 63
    store.collect()


def _file(disk: MemoryDisk, bucket: str, number: int) -> str:
    folder = f"store/log/{bucket}"
    (name,) = (name for name in disk.list(folder) if int(name.split(".")[0], 16) == number)
    return f"{folder}/{name}"


def _read(disk: MemoryDisk, bucket: str, number: int) -> bytes:
    file = disk.open(_file(disk, bucket, number))
    return bytes(file.read(0, file.size()))


def _write(disk: MemoryDisk, bucket: str, number: int, data: bytes) -> None:
    """The segment as somebody else would have written it."""
    path = _file(disk, bucket, number)
    disk.unlink(path)
    disk.open(path, create=True).write(0, [data])
