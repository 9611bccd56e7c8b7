"""Expired objects go, whatever remembers them, and nothing else does."""

from __future__ import annotations

from holdfast.bucket.checkpoint import checkpoint
from holdfast.store.store import Store
from tests.growth.growing import SECOND_NS, in_memory, tick_on


def absorb(store: Store) -> None:
    for bucket in list(store.placement.directory):
        checkpoint(bucket)


def keys_left(store: Store) -> int:
    return sum(bucket.keys for bucket in store.status().buckets)


def test_a_tick_removes_what_expired_in_memory_and_in_the_view() -> None:
    with in_memory() as (store, clock):
        ns = store.namespace("acme")
        for number in range(50):
            ns.put(f"a{number:02d}", b"", ttl=10)
        absorb(store)
        for number in range(50):
            ns.put(f"b{number:02d}", b"", ttl=10)
        ns.put("stays", b"")
        tick_on(store, clock)
        assert keys_left(store) == 101
        clock.advance(10 * SECOND_NS)
        tick_on(store, clock)
        assert keys_left(store) == 1


def test_many_memories_that_are_stale_hide_no_object_that_expired() -> None:
    with in_memory(bucket_bytes=1 << 20) as (store, clock):
        ns = store.namespace("acme")
        for number in range(1_000):
            ns.put(f"a{number:04d}", b"", ttl=10)
        ns.put("b", b"", ttl=11)
        absorb(store)
        for number in range(1_000):
            ns.put(f"a{number:04d}", b"")  # these stay; the view does not know yet
        clock.advance(20 * SECOND_NS)
        tick_on(store, clock)
        assert keys_left(store) == 1_000


def test_a_bucket_where_nothing_expires_any_more_is_left_in_peace() -> None:
    with in_memory() as (store, clock):
        ns = store.namespace("acme")
        ns.put("a", b"", ttl=1)
        ns.put("b", b"")
        tick_on(store, clock, 2)
        absorb(store)
        tick_on(store, clock, 20)
        (bucket,) = store.placement.directory
        before = bucket.published
        tick_on(store, clock, 20)
        assert bucket.published == before  # no more marks of time
        ns.put("c", b"", ttl=1)
        assert bucket.may_expire
        clock.advance(2 * SECOND_NS)
        tick_on(store, clock)
        assert keys_left(store) == 1


def test_what_expires_after_a_split_goes_from_both_halves() -> None:
    with in_memory() as (store, clock):
        ns = store.namespace("acme")
        for number in range(400):
            ns.put(f"k{number * 7919 % 400:05d}", b"v" * 400, ttl=100)
        assert len(store.status().buckets) > 1
        clock.advance(50 * SECOND_NS)
        tick_on(store, clock)
        assert keys_left(store) == 400
        clock.advance(50 * SECOND_NS)
        tick_on(store, clock, 5)
        assert keys_left(store) == 0
        assert len(store.status().buckets) == 1
