"""Locks: a lease on a key, and a fence that keeps out whoever lost it."""
# ruff: noqa: D102, PLR2004, S101 - a suite speaks in assertions, its tests are told by their names

from __future__ import annotations

from typing import cast

import pytest

from holdfast.errors import FenceTooOld, InvalidExpiry, LockHeld, LockLost
from holdfast.limits import SECOND_NS
from holdfast.testing.clock import ManualClock
from holdfast.testing.conformance.base import SuiteBase, fill, pass_seconds
from holdfast.testing.face import NamespaceFace, StoreFace


class LockTests(SuiteBase):
    """lock, unlock and puts with a fence."""

    def test_a_lock_has_an_id_and_a_fence(self, ns: NamespaceFace) -> None:
        with ns.lock("a") as lock:
            assert isinstance(lock.id, str)
            assert isinstance(lock.fence, int)
            assert len(lock.id) >= 20

    def test_ids_are_never_the_same(self, ns: NamespaceFace) -> None:
        assert len({ns.lock(f"k{number}").id for number in range(100)}) == 100

    def test_a_held_key_is_not_locked_again(self, ns: NamespaceFace) -> None:
        ns.lock("a")
        with pytest.raises(LockHeld):
            ns.lock("a")
        ns.lock("b")

    def test_leaving_the_context_releases(self, ns: NamespaceFace) -> None:
        with ns.lock("a"), pytest.raises(LockHeld):
            ns.lock("a")
        ns.lock("a")

    def test_an_error_inside_goes_on_and_releases(self, ns: NamespaceFace) -> None:
        class TestError(Exception):
            """An error of the test's own."""

        with pytest.raises(TestError), ns.lock("a"):
            raise TestError
        ns.lock("a")

    def test_release_and_unlock(self, ns: NamespaceFace) -> None:
        lock = ns.lock("a")
        lock.release()
        lock = ns.lock("a")
        ns.unlock("a", lock.id)
        ns.lock("a")

    def test_what_is_released_is_lost(self, ns: NamespaceFace) -> None:
        lock = ns.lock("a")
        lock.release()
        for call in (lock.release, lock.renew, lambda: ns.unlock("a", lock.id)):
            with pytest.raises(LockLost):
                call()

    def test_only_the_holder_unlocks(self, ns: NamespaceFace) -> None:
        lock, other = ns.lock("a"), ns.lock("b")
        for wrong in (other.id, "", "0" * 40, lock.id[:-1], lock.id + "0", lock.id.upper() + " "):
            with pytest.raises(LockLost):
                ns.unlock("a", wrong)
        with pytest.raises(LockHeld):
            ns.lock("a")
        ns.unlock("a", lock.id)

    @pytest.mark.parametrize("lock_id", ["", "0" * 40, "nobody"])
    def test_what_was_never_locked_is_not_unlocked(self, ns: NamespaceFace, lock_id: str) -> None:
        # enclave-kv 1.2: an empty id "unlocked" a key that nobody had locked.
        fill(ns, ["a"])
        for key in ("a", "absent"):
            with pytest.raises(LockLost):
                ns.unlock(key, lock_id)

    def test_a_lock_holds_to_its_last_nanosecond(
        self, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        ns.lock("a", ttl=10)
        clock.advance(10 * SECOND_NS - 1)
        with pytest.raises(LockHeld):
            ns.lock("a")
        clock.advance(1)
        ns.lock("a")

    def test_a_lock_holds_30_seconds_by_default(
        self, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        ns.lock("a")
        clock.advance(30 * SECOND_NS - 1)
        with pytest.raises(LockHeld):
            ns.lock("a")
        clock.advance(1)
        ns.lock("a")

    def test_an_expired_lock_is_lost(self, ns: NamespaceFace, clock: ManualClock) -> None:
        lock = ns.lock("a", ttl=1)
        pass_seconds(clock, 1)
        for call in (lock.renew, lock.release, lambda: ns.unlock("a", lock.id)):
            with pytest.raises(LockLost):
                call()

    def test_an_expired_lock_does_not_release_its_successor(
        self, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        # enclave-kv 1.2: between its look and its delete an unlock could take another's lock.
        old = ns.lock("a", ttl=1)
        pass_seconds(clock, 1)
        new = ns.lock("a", ttl=100)
        for call in (old.release, old.renew, lambda: ns.unlock("a", old.id)):
            with pytest.raises(LockLost):
                call()
        with pytest.raises(LockHeld):
            ns.lock("a")
        new.release()

    def test_leaving_after_expiry_is_quiet(self, ns: NamespaceFace, clock: ManualClock) -> None:
        with ns.lock("a", ttl=1):
            pass_seconds(clock, 1)
            new = ns.lock("a", ttl=100)
        with pytest.raises(LockHeld):
            ns.lock("a")
        new.release()

    def test_leaving_after_release_is_quiet(self, ns: NamespaceFace) -> None:
        with ns.lock("a") as lock:
            lock.release()

    def test_renew_runs_the_full_ttl_again(self, ns: NamespaceFace, clock: ManualClock) -> None:
        lock = ns.lock("a", ttl=10)
        for _ in range(3):
            clock.advance(10 * SECOND_NS - 1)
            lock.renew()
        clock.advance(10 * SECOND_NS - 1)
        with pytest.raises(LockHeld):
            ns.lock("a")
        clock.advance(1)
        ns.lock("a")

    def test_a_renewed_lock_still_writes(self, ns: NamespaceFace, clock: ManualClock) -> None:
        lock = ns.lock("a", ttl=10)
        pass_seconds(clock, 5)
        lock.renew()
        pass_seconds(clock, 9)
        ns.put("a", b"1", fence=lock.fence)
        lock.release()

    def test_waiting_outlasts_the_holder(self, ns: NamespaceFace, clock: ManualClock) -> None:
        begun = clock.monotonic_ns()
        ns.lock("a", ttl=2)
        ns.lock("a", wait=5)
        assert 2 * SECOND_NS <= clock.monotonic_ns() - begun <= 5 * SECOND_NS

    def test_waiting_comes_to_an_end(self, ns: NamespaceFace, clock: ManualClock) -> None:
        begun = clock.monotonic_ns()
        ns.lock("a", ttl=60)
        with pytest.raises(LockHeld):
            ns.lock("a", wait=3)
        assert 3 * SECOND_NS <= clock.monotonic_ns() - begun <= 4 * SECOND_NS

    def test_not_waiting_takes_no_time(self, ns: NamespaceFace, clock: ManualClock) -> None:
        # enclave-kv 1.2: the whole server stood still while one client waited for a lock.
        begun = clock.monotonic_ns()
        ns.lock("a")
        with pytest.raises(LockHeld):
            ns.lock("a")
        assert clock.monotonic_ns() == begun

    @pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), True, "never"])
    def test_lives_of_locks_that_are_none(self, ns: NamespaceFace, ttl: object) -> None:
        with pytest.raises(InvalidExpiry):
            ns.lock("a", ttl=cast("float", ttl))
        ns.lock("a")

    def test_fences_grow(self, ns: NamespaceFace, clock: ManualClock) -> None:
        # enclave-kv 1.2: no fencing token, so a late writer could not be told apart.
        fences = []
        for step in range(20):
            fences.append(ns.lock("a", ttl=1).fence)
            if step % 3 == 0:
                ns.put("a", b"1")
            if step % 4 == 0:
                ns.delete("a", missing_ok=True)
            pass_seconds(clock, 1)
        assert fences == sorted(set(fences))

    def test_fences_and_versions_come_from_one_counter(self, ns: NamespaceFace) -> None:
        version = ns.put("a", b"1").version
        lock = ns.lock("a")
        assert lock.fence > version
        assert ns.put("a", b"2").version > lock.fence

    def test_the_holder_writes(self, ns: NamespaceFace) -> None:
        with ns.lock("a") as lock:
            ns.put("a", b"1", fence=lock.fence)
            ns.put("a", b"2", fence=lock.fence)
        assert ns.get("a") == b"2"

    def test_who_lost_the_lock_to_another_does_not(
        self, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        old = ns.lock("a", ttl=1)
        pass_seconds(clock, 1)
        new = ns.lock("a", ttl=100)
        with pytest.raises(FenceTooOld):
            ns.put("a", b"late", fence=old.fence)
        assert not ns.exists("a")
        ns.put("a", b"1", fence=new.fence)
        with pytest.raises(FenceTooOld):
            ns.put("a", b"late", fence=old.fence)
        assert ns.get("a") == b"1"

    def test_who_lost_the_lock_to_nobody_does_not(
        self, ns: NamespaceFace, clock: ManualClock
    ) -> None:
        lock = ns.lock("a", ttl=1)
        pass_seconds(clock, 1)
        with pytest.raises(LockLost):
            ns.put("a", b"late", fence=lock.fence)
        lock = ns.lock("a")
        lock.release()
        with pytest.raises(LockLost):
            ns.put("a", b"late", fence=lock.fence)
        assert not ns.exists("a")

    def test_a_fence_guards_its_own_key(self, ns: NamespaceFace) -> None:
        lock = ns.lock("a")
        with pytest.raises(LockLost):
            ns.put("b", b"1", fence=lock.fence)
        later = ns.lock("b")
        with pytest.raises(FenceTooOld):
            ns.put("b", b"1", fence=lock.fence)
        with pytest.raises((LockLost, FenceTooOld)):
            ns.put("a", b"1", fence=later.fence)
        assert list(ns.list()) == []

    @pytest.mark.parametrize("fence", [0, 1 << 60])
    def test_fences_that_nobody_was_given(self, ns: NamespaceFace, fence: int) -> None:
        with pytest.raises(LockLost):
            ns.put("a", b"1", fence=fence)
        ns.lock("a")
        with pytest.raises((LockLost, FenceTooOld)):
            ns.put("a", b"1", fence=fence)
        assert not ns.exists("a")

    def test_a_put_without_a_fence_needs_no_lock(self, ns: NamespaceFace) -> None:
        ns.lock("a")
        ns.put("a", b"1")
        ns.append("a", b"2")
        ns.delete("a")

    def test_a_lock_is_no_object(self, store: StoreFace, ns: NamespaceFace) -> None:
        # enclave-kv 1.2: locks were ordinary data of a namespace with another name.
        ns.lock("dir/a")
        assert not ns.exists("dir/a")
        assert list(ns.list()) == list(ns.list(recursive=False)) == []
        assert list(store.namespaces()) == []
        assert len(ns.mapping()) == 0

    def test_a_lock_outlives_the_object(self, store: StoreFace, ns: NamespaceFace) -> None:
        ns.put("a", b"1", consumers=["x"])
        lock = ns.lock("a", ttl=1_000)
        ns.delete("a")
        ns.put("a", b"2", consumers=["x"])
        ns.consumers("a").remove(["x"])
        store.collect()
        store.rebuild()
        with pytest.raises(LockHeld):
            ns.lock("a")
        ns.put("a", b"3", fence=lock.fence)
        lock.release()

    def test_locks_of_namespaces_are_their_own(self, store: StoreFace) -> None:
        store.namespace("x").lock("a")
        store.namespace("x.lock").lock("a")
        with pytest.raises(LockHeld):
            store.namespace("x").lock("a")

    def test_wall_time_does_not_touch_a_lock(self, ns: NamespaceFace, clock: ManualClock) -> None:
        # Rule 7: a lock is timed by its owner's monotonic clock.
        ns.lock("a", ttl=10)
        clock.step_wall(3_600 * SECOND_NS)
        with pytest.raises(LockHeld):
            ns.lock("a")
        clock.step_wall(-7_200 * SECOND_NS)
        pass_seconds(clock, 10)
        ns.lock("a")

    def test_fences_of_other_conditions_hold_too(self, ns: NamespaceFace) -> None:
        first = ns.put("a", b"1")
        lock = ns.lock("a")
        second = ns.put("a", b"2", fence=lock.fence, if_version=first.version)
        lock.release()
        with pytest.raises(LockLost):
            ns.put("a", b"3", fence=lock.fence, if_version=second.version)
        assert ns.get("a") == b"2"
