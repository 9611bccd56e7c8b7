"""Growing: rolls, splits, and what every key sees of them."""

from __future__ import annotations

import pytest

import holdfast
from holdfast.bucket.bucket import Bucket
from holdfast.errors import Moved
from holdfast.placement.bounds import WAIT_S, Brake
from holdfast.store import Store
from holdfast.testing import ManualClock
from tests.growth.growing import (
    LEAST,
    ORDERS,
    hold_contents,
    hold_in_one_bucket,
    hold_tiling,
    in_memory,
    ordered,
    tick_on,
)

VALUE = b"v" * 400
BOUND = 32 << 20
HALF_MIB = b"v" * (1 << 19)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("ticks", [False, True])
def test_every_key_is_in_one_bucket_at_every_moment(order: str, *, ticks: bool) -> None:
    keys = ordered([f"k{number:05d}" for number in range(1_500)], order)
    with in_memory() as (store, clock):
        ns = store.namespace("acme")
        model = {}
        for count, key in enumerate(keys, 1):
            ns.put(key, VALUE + key.encode())
            model[key] = VALUE + key.encode()
            if count % 250 == 0:
                status = store.status()
                hold_tiling(status.buckets)
                assert sum(bucket.keys for bucket in status.buckets) == len(model)
                hold_in_one_bucket(store, "acme", key, model[key])
                hold_contents(ns, model)
            if ticks and count % 100 == 0:
                tick_on(store, clock)
        status = store.status()
        assert len(status.buckets) >= 8
        assert max(bucket.live_bytes for bucket in status.buckets) < LEAST + 1_000
        assert store.check().ok


def test_ascending_keys_fill_their_buckets() -> None:
    with in_memory() as (store, _):
        ns = store.namespace("acme")
        for number in range(1_500):
            ns.put(f"k{number:05d}", VALUE)
        *full, _ = store.status().buckets
        assert all(LEAST <= bucket.live_bytes < LEAST + 1_000 for bucket in full)
        # Rolled, so nothing was moved: what is not alive is the head of each put's group.
        assert all(bucket.dead_bytes < 50 * bucket.keys + 1_000 for bucket in full)


def test_a_bucket_out_of_range_says_where_the_key_lives() -> None:
    with in_memory() as (store, _):
        ns = store.namespace("acme")
        first = store.bucket(store.locate("acme", "k").bucket)
        for number in range(1_000):
            ns.put(f"k{number:05d}", VALUE)
        with pytest.raises(Moved) as caught:
            first.get("acme", "k00999")
        assert caught.value.place == store.locate("acme", "k00999")
        with pytest.raises(Moved):
            first.put("acme", "k00999", b"")
        with pytest.raises(Moved):
            first.stat("acme", "k00999")
        assert ns.get("k00999") == VALUE
        assert first.stat("acme", "k00000").bucket == first.id
        assert first.put("acme", "k00000", b"new").bucket == first.id
        assert first.get("acme", "k00000") == b"new"


@pytest.mark.parametrize("order", ORDERS)
def test_versions_begin_above_those_of_the_parents(order: str) -> None:
    """Of one key they grow through every roll, split and merge."""
    keys = ordered([f"k{number:05d}" for number in range(1_000)], order)
    with in_memory() as (store, clock):
        ns = store.namespace("acme")
        versions: dict[str, int] = {}

        def put(key: str, value: bytes) -> None:
            version = ns.put(key, value).version
            assert version > versions.get(key, 0)
            versions[key] = version

        for key in (*keys, *keys):
            put(key, VALUE)
        fences = {}
        for key in keys[::50]:
            with ns.lock(key) as lock:
                fences[key] = lock.fence
        assert all(fences[key] > versions[key] for key in fences)
        for key in set(keys) - set(fences):
            ns.delete(key)
        store.collect()
        tick_on(store, clock, 3)
        assert len(store.status().buckets) <= 2
        for key, fence in fences.items():
            with ns.lock(key) as lock:
                assert lock.fence > fence
        for key in keys:
            put(key, b"after")


def test_one_key_is_one_bucket_however_large_it_is() -> None:
    with in_memory() as (store, clock):
        ns = store.namespace("acme")
        for _ in range(5):
            ns.put("a", bytes(3 * LEAST))
            tick_on(store, clock, 2)
            assert len(store.status().buckets) == 1


def test_one_huge_object_does_not_split() -> None:
    with in_memory() as (store, _):
        ns = store.namespace("acme")
        for _ in range(20):
            ns.append("log", b"x" * 30_000)
        hold_contents(ns, {"log": b"x" * 600_000})
        assert len(store.status().buckets) <= 2


def crowd(store: Store) -> list[Bucket]:
    """Fill a bucket until it is to grow, as where upkeep has a thread; those to be split soon."""
    asked: list[Bucket] = []
    store.placement.split_soon, store.placement.beside = asked.append, True
    ns = store.namespace("acme")
    full = store.placement.settings.full_bytes // len(HALF_MIB)
    for number in range(full + 2):
        ns.put(f"k{number % full:02d}-{number}", HALF_MIB)  # the last two lie between others
    return asked


def test_a_writer_leaves_a_split_to_upkeep_and_is_slowed_by_moments_until_it_came() -> None:
    clock = ManualClock()
    with holdfast.open(":memory:", bucket_bytes=BOUND, upkeep=False, clock=clock) as store:
        store.placement.brake = Brake(clock)
        asked = crowd(store)
        ns = store.namespace("acme")
        (crowded,) = {bucket.id: bucket for bucket in asked}.values()
        assert [bucket.state for bucket in store.status().buckets] == ["open"]
        waits = []
        for number in range(6):  # to its bound
            before = clock.monotonic_ns()
            ns.put(f"k05-{number:03d}", HALF_MIB)
            waits.append((clock.monotonic_ns() - before) / 1e9)
        assert waits[-1] == pytest.approx(WAIT_S)
        assert all(waits[i] <= waits[i + 1] for i in range(len(waits) - 1))
        assert len(store.status().buckets) == 1
        assert 0 <= crowded.weight - BOUND < len(HALF_MIB)
        store.placement.split_full(crowded)
        assert len(store.status().buckets) == 2
        before = clock.monotonic_ns()
        ns.put("k05-after", HALF_MIB)
        assert clock.monotonic_ns() == before


def test_a_bucket_that_was_split_before_is_split_again_beside_its_writers() -> None:
    clock = ManualClock()
    with holdfast.open(":memory:", bucket_bytes=BOUND, upkeep=False, clock=clock) as store:
        asked = crowd(store)
        store.placement.split_full(asked.pop())
        parent = store.placement.directory.find(b"")
        asked.clear()
        ns = store.namespace("acme")
        number = 0
        while not asked:
            ns.put(f"k05-{number:03d}", HALF_MIB)
            number += 1
        assert asked == [parent]
        store.placement.split_full(parent)
        assert len(store.status().buckets) == 3
        assert store.check().ok


def test_where_nobody_comes_to_split_a_writer_does() -> None:
    clock = ManualClock()
    with holdfast.open(":memory:", bucket_bytes=BOUND, upkeep=False, clock=clock) as store:
        crowd(store)
        ns = store.namespace("acme")
        for number in range(40):
            ns.put(f"k05-{number:03d}", HALF_MIB)
        assert len(store.status().buckets) > 1
        assert store.check().ok


def test_a_roll_is_the_writers_own() -> None:
    with holdfast.open(":memory:", bucket_bytes=32 << 20, upkeep=False) as store:
        store.placement.split_soon = lambda _: None
        ns = store.namespace("acme")
        for number in range(70):
            ns.put(f"k{number:03d}", b"v" * (1 << 19))
        assert len(store.status().buckets) == 2
