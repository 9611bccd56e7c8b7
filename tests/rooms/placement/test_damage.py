"""Damage beside growth: what is shared is never written to, and the right bucket is named."""

from __future__ import annotations

import pytest

from holdfast.engines.memory import MemoryDisk
from holdfast.errors import Corrupt
from holdfast.log.group import GROUP_HEAD_BYTES
from holdfast.log.header import SEGMENT_HEAD_BYTES
from holdfast.store.store import Store
from tests.growth.growing import hold_contents, in_memory, tick_on

MODEL = {f"k{number:03d}": bytes([number]) * 500 for number in range(60)}


def split(disk: MemoryDisk) -> tuple[str, str]:
    """A store with a parent and the child that shares its segments; their ids."""
    with in_memory(disk) as (store, clock):
        store.namespace("acme").put_many(list(MODEL.items()))
        (bucket,) = store.placement.directory
        assert store.placement.grow(bucket, b"acme\x00k000")
        parent, child = store.placement.directory
        child.finish_birth()
        tick_on(store, clock)
        return parent.id, child.id


def path_of(bucket: str, number: int) -> str:
    return f"store/log/{bucket}/{number:016x}.seg"


def numbers_of(disk: MemoryDisk, bucket: str) -> list[int]:
    return sorted(int(name[:16], 16) for name in disk.list(f"store/log/{bucket}"))


def content(disk: MemoryDisk, bucket: str, number: int) -> bytes:
    file = disk.open(path_of(bucket, number))
    return file.read(0, file.size())


def flip(disk: MemoryDisk, bucket: str, number: int, at: int) -> None:
    (byte,) = content(disk, bucket, number)[at:][:1]
    disk.open(path_of(bucket, number)).write(at, [bytes([byte ^ 1])])


def test_a_shared_segment_whose_key_block_is_damaged_is_left_as_it_is() -> None:
    disk = MemoryDisk()
    parent, child = split(disk)
    flip(disk, parent, 1, len(content(disk, parent, 1)) - 9)
    before = content(disk, parent, 1)
    assert before == content(disk, child, 1)

    with in_memory(disk, seed=1) as (store, clock):
        ns = store.namespace("acme")
        ns.put("k000", b"new")
        ns.put("k059", b"new")
        tick_on(store, clock, 3)
        assert content(disk, parent, 1) == before
        hold_contents(ns, MODEL | {"k000": b"new", "k059": b"new"})
        store.rebuild()
        hold_contents(ns, MODEL | {"k000": b"new", "k059": b"new"})
        store.collect("compacting")
        hold_contents(ns, MODEL | {"k000": b"new", "k059": b"new"})
        assert store.check().problems == ()


def stand_ins(store: Store) -> set[str]:
    return {bucket.id for bucket in store.placement.directory if bucket.damage is not None}


def test_a_child_that_is_not_born_does_not_stand_for_its_damaged_parent() -> None:
    disk = MemoryDisk()
    parent, child = split(disk)
    own = set(numbers_of(disk, child)) - set(numbers_of(disk, parent)[:1])
    for number in own:  # it has what was shared with it, and no log of its own
        disk.unlink(path_of(child, number))
    for number in numbers_of(disk, parent):  # so that nobody knows what it gave away
        flip(disk, parent, number, SEGMENT_HEAD_BYTES + GROUP_HEAD_BYTES + 50)
    with in_memory(disk, seed=1) as (store, _):
        assert stand_ins(store) == {parent}
        with pytest.raises(Corrupt) as told:
            store.namespace("acme").get("k000")
        assert parent in str(told.value)
