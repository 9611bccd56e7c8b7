"""Buckets that say nothing of themselves any more, or are gone, among others (rule 22)."""

from __future__ import annotations

from itertools import combinations

import pytest

from holdfast.bucket import collect, commit, fork
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import Corrupt, StorageFailed
from holdfast.store import Store
from tests.crash.test_repair import (
    STATE_AT,
    VALUES,
    base,
    copy_of,
    mended,
    opened,
    readable,
    spoil,
)
from tests.segments import segments

__all__ = ["base"]


def buckets_of(disk: MemoryDisk) -> dict[str, list[str]]:
    """The paths of the segments of each bucket."""
    found: dict[str, list[str]] = {}
    for path in segments(disk):
        found.setdefault(path.split("/")[2], []).append(path)
    return found


def test_a_bucket_that_is_gone_is_a_gap_that_refuses(base: MemoryDisk) -> None:
    for paths in buckets_of(base).values():
        disk = copy_of(base)
        for path in paths:
            disk.unlink(path)
        store = opened(disk)
        found, refused = readable(store)
        assert refused > 0
        assert found == {key: VALUES[key] for key in found}
        assert len(found) + refused == len(VALUES)
        with pytest.raises(Corrupt, match="no segment of the bucket is left"):
            list(store.namespace("n").list())
        mended(disk, store, most_lost=refused)


def test_a_bucket_in_the_place_of_one_that_is_gone_begins_above_the_others(
    base: MemoryDisk,
) -> None:
    """Repairs raise the versions of a bucket; nobody knows how high those of a lost one were."""
    disk = copy_of(base)
    gone = max(buckets_of(disk))
    for _ in range(2):
        spoil(disk, next(path for path in segments(disk) if gone not in path), STATE_AT)
        with opened(disk) as store:
            store.check(repair=True)
    for path in buckets_of(disk)[gone]:
        disk.unlink(path)
    store = opened(disk)
    store.check(repair=True)
    space = store.namespace("n")
    lost = [key for key in VALUES if not space.exists(key)]
    assert lost
    before = max(space.put(key, b"").version for key in VALUES if key not in lost)
    assert all(space.put(key, b"").version > before for key in lost)


@pytest.mark.parametrize("count", [2, 3])
def test_those_that_say_nothing_are_put_where_their_keys_are(base: MemoryDisk, count: int) -> None:
    for chosen in combinations(buckets_of(base).items(), count):
        disk = copy_of(base)
        for _, paths in chosen:
            for path in paths:  # once each: buckets share some
                disk.open(path).write(STATE_AT, [b"\xee"])
        store = opened(disk)
        assert readable(store)[1] > 0
        mended(disk, store, most_lost=0)


def merged(disk: MemoryDisk) -> tuple[Store, str]:
    """A store of two buckets, and the first, which has all but its last keys from another."""
    store = opened(disk)
    space, placement = store.namespace("n"), store.placement
    pairs = list(VALUES.items())
    space.put_many(pairs[:20])
    (left,) = placement.directory
    right = fork.roll(left, placement.new_id(), add=placement.directory.add)
    assert right is not None
    space.put_many(pairs[20:40])
    third = fork.roll(right, placement.new_id(), add=placement.directory.add)
    assert third is not None
    space.put_many(pairs[40:60])
    fork.finish_moves(left)
    fork.finish_moves(right)
    assert placement._merge(left, right)
    space.put_many(pairs[:10])
    return store, left.id


@pytest.mark.parametrize("goes_on", [True, False])
def test_the_newest_segment_is_gone_of_one_that_has_others_from_a_merge(*, goes_on: bool) -> None:
    disk = MemoryDisk()
    store, name = merged(disk)
    left, _ = store.placement.directory
    if goes_on:  # what told of the merge goes
        with commit.alone(left):
            commit.switch(left)
        own = [number for number, info in left.log.ended.items() if info.origin == name]
        collect.prepare(left)
        collect.collect(left, own, collect.Collected())
    disk = copy_of(disk)
    disk.unlink(f"store/log/{name}/{left.log.number:016x}.seg")
    store = opened(disk, 3)
    found, refused = readable(store)
    assert found.keys() >= set(list(VALUES)[40:60])
    if refused:
        with pytest.raises(Corrupt, match="belongs elsewhere"):
            store.namespace("n").get("key/000")
        report = store.check(repair=True)
        assert any("segments that are missing" in problem.what for problem in report.problems)
    found, refused = readable(store)
    assert refused == 0
    assert found.keys() >= set(list(VALUES)[20:60])
    assert all(found[key] == VALUES[key] for key in found)
    assert store.check().ok


def test_a_bucket_whose_only_segment_is_empty_keeps_its_name() -> None:
    disk = MemoryDisk()
    _, name = merged(disk)
    disk = copy_of(disk)
    for path in buckets_of(disk)[name]:
        disk.unlink(path)
    disk.open(path, create=True).sync()
    with pytest.raises(Corrupt, match=f"bucket {name}.*no segment has a beginning"):
        opened(disk, 3).namespace("n").get("key/000")


@pytest.mark.parametrize("clean", [True, False])
def test_a_store_without_any_segment_is_no_new_one(*, clean: bool) -> None:
    disk = MemoryDisk()
    store = opened(disk)
    store.namespace("n").put("key/000", VALUES["key/000"])
    if clean:
        store.close()
    disk = copy_of(disk)
    (path,) = segments(disk)
    kept = disk.open(path)
    data = kept.read(0, kept.size())
    disk.unlink(path)
    for _ in range(2):
        with pytest.raises(StorageFailed, match="none of its segments"):
            opened(disk)
    assert not segments(disk)
    disk.open(path, create=True).write(0, [data])
    assert readable(opened(disk)) == ({"key/000": VALUES["key/000"]}, 0)
