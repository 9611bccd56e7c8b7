"""Leases by themselves: what ends them, what does not, and what is kept of those that ended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast import Store
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import checkpoint
from holdfast.bucket.locks import SPARE, Held
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import LockHeld, LockLost
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy

SECOND_NS = 1_000_000_000
KEY = b"acme\0k"


@pytest.fixture(name="clock")
def clock_of_this_test() -> ManualClock:
    return ManualClock()


@pytest.fixture(name="store")
def store_in_memory(clock: ManualClock) -> Iterator[Store]:
    with open_on(MemoryDisk(), "s", clock=clock, entropy=SeededEntropy(1), upkeep=False) as store:
        yield store


def bucket_of(store: Store) -> Bucket:
    (bucket,) = store.placement.directory
    return bucket


def held(store: Store) -> Held | None:
    bucket = bucket_of(store)
    return bucket.locks.holder(bucket, KEY)


def churn(store: Store, times: int = 3 * SPARE) -> None:
    """Take and give back another lock, again and again."""
    acme = store.namespace("acme")
    for _ in range(times):
        acme.lock("other", ttl=1).release()


def test_a_lease_holds_for_its_time_and_not_a_moment_longer(
    store: Store, clock: ManualClock
) -> None:
    lock = store.namespace("acme").lock("k", ttl=10)
    found = held(store)
    assert found is not None
    assert (found.fence, found.ttl_ns) == (lock.fence, 10 * SECOND_NS)
    clock.advance(10 * SECOND_NS - 1)
    assert held(store) == found
    with pytest.raises(LockHeld):
        store.namespace("acme").lock("k", ttl=10)
    clock.advance(1)
    assert held(store) is None
    assert store.namespace("acme").lock("k", ttl=10).fence > lock.fence


def test_what_is_kept_of_leases_that_ended_is_bounded(store: Store, clock: ManualClock) -> None:
    """Of those that were given back, of those that were not, of keys that nobody ever locked."""
    acme, locks = store.namespace("acme"), bucket_of(store).locks
    for number in range(10 * SPARE):
        acme.lock(f"back{number}", ttl=100).release()
        acme.lock(f"left{number}", ttl=1)
        with pytest.raises(LockLost):
            acme.put(f"never{number}", b"", fence=1)
        clock.advance(SECOND_NS)
    in_force = 100 + 1
    assert len(locks._ends) + len(locks._held) <= 2 * 2 * in_force + SPARE


def test_a_past_lease_that_was_carried_over_does_not_hold_again(
    store: Store, clock: ManualClock
) -> None:
    """What began before this bucket was opened may have ended earlier than the state can tell."""
    store.namespace("acme").lock("k", ttl=100)
    found = held(store)
    assert found is not None
    clock.advance(50 * SECOND_NS)
    bucket_of(store).locks.carry(KEY, found._replace(ends_ns=clock.monotonic_ns()))
    churn(store)
    assert held(store) is None


def test_a_lease_whose_change_failed_ends_when_it_would_have(
    store: Store, clock: ManualClock
) -> None:
    """What was written of it did not last: the state is asked, and the time goes on."""
    clock.advance(5 * SECOND_NS)  # the store was opened before
    store.namespace("acme").lock("k", ttl=100)
    before = held(store)
    clock.advance(60 * SECOND_NS)
    churn(store)
    clock.advance(2 * SECOND_NS)
    churn(store)  # the past leases of it are forgotten now, and no other
    bucket_of(store).locks.release(KEY)
    assert held(store) is None  # as the group that is on its way decided
    bucket_of(store).locks.forget(KEY)
    assert held(store) == before
    clock.advance(38 * SECOND_NS)
    assert held(store) is None


@pytest.mark.parametrize("absorbed", [False, True])
def test_a_lock_that_was_given_back_is_not_remembered(store: Store, *, absorbed: bool) -> None:
    lock = store.namespace("acme").lock("k", ttl=10)
    if absorbed:
        checkpoint(bucket_of(store))
    lock.release()
    bucket_of(store).locks.forget(KEY)
    assert held(store) is None


def test_what_a_child_holds_is_not_known_here(store: Store) -> None:
    bucket = bucket_of(store)
    for key in ("j", "k", "l"):
        store.namespace("acme").lock(key, ttl=10)
    bucket.locks.leave(KEY)
    assert sorted(bucket.locks._held) == [b"acme\0j"]


def test_a_lease_is_carried_over_as_it_stands(store: Store, clock: ManualClock) -> None:
    store.namespace("acme").lock("k", ttl=100)
    clock.advance(60 * SECOND_NS)
    locks, found = bucket_of(store).locks, held(store)
    assert found is not None
    carried = found._replace(lock_id=b"i" * 20)
    locks.carry(KEY, carried)
    assert held(store) == carried
    assert locks._ends[b"i" * 20] == found.ends_ns
    locks.carry(KEY, None)
    assert held(store) is None
