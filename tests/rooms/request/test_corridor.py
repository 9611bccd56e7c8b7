"""The corridor's quick ways do what the slow one does."""

from __future__ import annotations

import pytest

import holdfast
from holdfast.bucket.settings import Sync
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import Busy, Permanent
from holdfast.limits import BUSY_DELAY_S
from holdfast.request.corridor import RETRY_S
from holdfast.values import Receipt
from tests.growth.growing import SECOND_NS, in_memory


@pytest.mark.parametrize("sync", ["always", "never"])
def test_of_stores_together_each_has_its_own_outcome(sync: Sync) -> None:
    with holdfast.open(":memory:", sync=sync, upkeep=False) as store:
        ns = store.namespace("acme")
        ns.put("b", b"kept", permanent=True)
        names = ["a", "b", "c"]
        keys = [b"acme\0" + name.encode() for name in names]
        first, refused, last = store.corridor.store_each((keys, names, [b"new"] * 3))
        assert isinstance(first, Receipt)
        assert isinstance(refused, Permanent)
        assert isinstance(last, Receipt)
        assert [ns.get(name) for name in names] == [b"new", b"kept", b"new"]
        with pytest.raises(Permanent) as told:
            store.corridor.store_many((keys, names, [b"newer"] * 3))
        assert told.value.index == 1
        assert ns.get("c") == b"newer"


def test_a_crowded_bucket_that_has_room_takes_plain_stores_the_quick_way() -> None:
    with in_memory(MemoryDisk()) as (store, _):
        ns = store.namespace("acme")
        (bucket,) = store.placement.directory
        bucket.crowded = True
        ns.put_many([("a", b"1"), ("b", b"2")])
        ns.put("c", b"3")
        kept = bucket.noted[bucket.log.number].last  # only quick ways keep rows so
        assert sorted(kept) == [b"acme\0a", b"acme\0b", b"acme\0c"]
        assert ns.get_many(["a", "b", "c"]) == [b"1", b"2", b"3"]


def test_where_memory_does_not_get_free_plain_stores_are_refused_one_and_all() -> None:
    with in_memory(MemoryDisk()) as (store, _):
        ns = store.namespace("acme")
        (bucket,) = store.placement.directory
        bucket.crowded = True
        store.corridor._admit = lambda _: False
        batch = ([b"acme\0a", b"acme\0b"], ["a", "b"], [b"1", b"2"])
        assert [type(outcome) for outcome in store.corridor.store_each(batch)] == [Busy, Busy]
        with pytest.raises(Busy) as told:
            ns.put_many([("a", b"1"), ("b", b"2")])
        assert told.value.index == 0
        with pytest.raises(Busy):
            ns.put("a", b"1")
        assert list(ns.list()) == []


def test_who_finds_no_room_in_memory_waits_before_it_is_refused() -> None:
    with in_memory(MemoryDisk()) as (store, clock):
        (bucket,) = store.placement.directory
        bucket.crowded = True
        answers = iter([False] * 100 + [True] + [False] * 100_000)
        store.corridor._admit = lambda _: next(answers)
        began_ns = clock.monotonic_ns()
        store.namespace("acme").put("a", b"1", content_type="text/plain")
        assert next(answers) is False
        assert clock.monotonic_ns() - began_ns == pytest.approx(100 * RETRY_S * SECOND_NS)
        began_ns = clock.monotonic_ns()
        with pytest.raises(Busy):
            store.namespace("acme").put("a", b"2", content_type="text/plain")
        waited_ns = clock.monotonic_ns() - began_ns
        assert waited_ns == pytest.approx(BUSY_DELAY_S * SECOND_NS, rel=0.01)
