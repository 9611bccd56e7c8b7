"""Shrinking: neighbours become one, and nothing that is gone comes back."""

from __future__ import annotations

import pytest

from holdfast.engines.memory import MemoryDisk
from holdfast.errors import LockHeld
from holdfast.operations import Store
from tests.growth.growing import (
    LEAST,
    ORDERS,
    SECOND_NS,
    hold_contents,
    hold_tiling,
    in_memory,
    least_buckets,
    ordered,
    tick_on,
)

VALUE = b"v" * 400


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", ["collect", "tick"])
def test_few_objects_need_few_buckets(order: str, way: str) -> None:
    keys = ordered([f"k{number:05d}" for number in range(3_000)], order)
    with in_memory() as (store, clock):
        ns = store.namespace("acme")
        for key in keys:
            ns.put(key, VALUE)
        before = len(store.status().buckets)
        kept = dict.fromkeys(keys[::20], VALUE)
        for key in keys:
            if key not in kept:
                ns.delete(key)
        if way == "collect":
            store.collect()
        else:
            tick_on(store, clock, 5)
        status = store.status()
        assert before >= 20
        assert len(status.buckets) <= 2 * least_buckets(store)
        hold_tiling(status.buckets)
        hold_contents(ns, kept)
        assert store.check().ok


def test_a_merged_bucket_does_not_split_at_once() -> None:
    with in_memory() as (store, clock):
        ns = store.namespace("acme")
        for number in range(1_500):
            ns.put(f"k{number:05d}", VALUE)
        for number in range(1_500):
            if number % 10:
                ns.delete(f"k{number:05d}")
        tick_on(store, clock, 5)
        before = len(store.status().buckets)
        for number in range(0, 1_500, 100):
            ns.put(f"k{number:05d}x", VALUE)
        tick_on(store, clock, 5)
        assert len(store.status().buckets) == before


@pytest.mark.parametrize("rebuilt", [False, True])
def test_what_was_deleted_behind_a_split_stays_deleted_after_the_merge(*, rebuilt: bool) -> None:
    """The parent's segments still hold the old records; the child's deletes were dropped."""
    keys = [f"k{number:05d}" for number in range(160)]
    with in_memory() as (store, clock):
        ns = store.namespace("acme")
        mixed = ordered(keys, "random")
        for at in range(0, len(mixed), 20):  # the lower half is longer, and outlasts a collection
            ns.put_many([(key, VALUE + VALUE * (key < "k00060")) for key in mixed[at : at + 20]])
        tick_on(store, clock, 3)
        _, upper = store.status().buckets
        above = [key for key in keys if key >= upper.start[1]]  # type: ignore[index]
        for key in above[5:]:
            ns.delete(key)
        store.collect()  # the upper bucket lets go of old records and of deletes
        assert len(store.status().buckets) == 2
        for key in above[:5]:
            ns.delete(key)
        store.collect()
        assert len(store.status().buckets) == 1
        if rebuilt:
            store.rebuild()
        assert list(ns.list()) == [key for key in keys if key not in above]
        assert store.check().problems == ()


def test_a_lock_of_the_right_one_is_held_on() -> None:
    """Though the left one was opened longer ago than the lock lasts."""
    keys = [f"k{number:05d}" for number in range(300)]
    with in_memory() as (store, clock):
        ns = store.namespace("acme")
        ns.put_many([(key, VALUE) for key in keys])
        tick_on(store, clock, 3)
        assert len(store.status().buckets) > 1
        clock.advance(1_000 * SECOND_NS)
        lock = ns.lock(keys[-1], ttl=60)
        for key in keys:
            ns.delete(key)
        store.collect()
        assert len(store.status().buckets) == 1
        with pytest.raises(LockHeld):
            ns.lock(keys[-1])
        ns.put(keys[-1], b"fenced", fence=lock.fence)


def test_two_buckets_with_long_keys_of_one_head_stay_two() -> None:
    """Together they would share one row of the index more than a thousandfold.

    No way leads there any more, because keys are counted over borders too. Stores from
    before that may hold so many, so a bucket takes them here without being asked by a door.
    """
    disk, keys = MemoryDisk(), [f"{'h' * 600}{number:05d}" for number in range(1_100)]
    with in_memory(disk, bucket_bytes=4 * LEAST) as (store, clock):
        ns = store.namespace("acme")
        for key in keys[:1_000]:
            ns.put(key, b"")
        tick_on(store, clock, 3)
        assert len(store.status().buckets) > 1
        for key in keys[1_000:]:
            composite = b"acme\x00" + key.encode()
            store.placement.directory.find(composite).apply_one(Store(composite, key, b""))
    with in_memory(disk, bucket_bytes=1 << 30) as (store, clock):  # so large that all would fit
        tick_on(store, clock, 3)
        assert len(store.status().buckets) == 2
        assert store.namespace("acme").get_many(keys) == [b""] * 1_100
        store.rebuild()
        assert store.check().ok
