"""What outlives closing and opening again."""
# ruff: noqa: D102, S101 - a suite speaks in assertions, its tests are told by their names

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.errors import LockHeld, LockLost, NotFound, Permanent, VersionMismatch
from holdfast.limits import SECOND_NS
from holdfast.testing.conformance.base import Opened, SuiteBase, fill, pass_seconds, patterned
from holdfast.testing.face import StoreFace

Reopen = Callable[[StoreFace], StoreFace]
MIB = 1 << 20


class DurableSuite(SuiteBase):
    """Inherit beside StoreSuite where a store can be closed and opened again.

    Besides ``opened`` the class brings ``reopen``, which closes the store that
    it is given and answers the same one, opened again with the same clock.
    """

    def test_everything_is_there_again(self, opened: Opened, reopen: Reopen) -> None:
        store, _ = opened
        ns = store.namespace("acme")
        ns.put("a", b"1", ttl=60, consumers=["x", b"y"], content_type="text/plain")
        ns.put("large", patterned(MIB + 9))
        ns.put("permanent", b"1", permanent=True)
        ns.put("marked", b"1", consumers=["x"])
        ns.consumers("marked").remove(["x"])
        for piece in (b"1", b"2", b"3"):
            ns.append("appended", piece)
        fill(store.namespace("other"), ["k"])
        before = list(ns.entries())
        store = reopen(store)
        ns = store.namespace("acme")
        assert [entry.key for entry in ns.entries()] == [entry.key for entry in before]
        assert list(ns.entries()) == before
        assert ns.get("appended") == b"123"
        assert ns.get("large") == patterned(MIB + 9)
        assert list(ns.consumers("a").list()) == ["x", b"y"]
        assert list(store.namespaces()) == ["acme", "other"]
        with pytest.raises(Permanent):
            ns.delete("permanent")
        assert store.check().ok

    def test_what_is_gone_stays_gone(self, opened: Opened, reopen: Reopen) -> None:
        store, clock = opened
        ns = store.namespace("acme")
        fill(ns, ["deleted", "kept"])
        ns.delete("deleted")
        ns.put("expired", b"1", ttl=5)
        fill(store.namespace("dropped"), ["k"])
        store.drop_namespace("dropped")
        pass_seconds(clock, 5)
        store = reopen(store)
        assert list(store.namespace("acme").list()) == ["kept"]
        assert list(store.namespaces()) == ["acme"]

    def test_opening_at_an_earlier_wall_time_revives_nothing(
        self, opened: Opened, reopen: Reopen
    ) -> None:
        # Rule 7: bucket time begins at the log's mark, whatever the wall says.
        store, clock = opened
        ns = store.namespace("acme")
        ns.put("a", b"1", ttl=60)
        pass_seconds(clock, 60)
        store.tick()
        assert not ns.exists("a")
        clock.step_wall(-3_600 * SECOND_NS)
        store = reopen(store)
        assert not store.namespace("acme").exists("a")

    def test_versions_and_fences_go_on(self, opened: Opened, reopen: Reopen) -> None:
        store, _ = opened
        ns = store.namespace("acme")
        first = ns.put("a", b"1")
        lock = ns.lock("b")
        lock.release()
        ns.put("gone", b"1")
        last = ns.put("gone", b"2")
        ns.delete("gone")
        ns = reopen(store).namespace("acme")
        assert ns.stat("a").version == first.version
        assert ns.lock("b").fence > max(lock.fence, last.version)
        again = ns.put("a", b"2", if_version=first.version)
        assert again.version > max(lock.fence, last.version)
        with pytest.raises(VersionMismatch):
            ns.put("a", b"3", if_version=first.version)

    def test_a_lock_runs_its_full_ttl_again(self, opened: Opened, reopen: Reopen) -> None:
        store, clock = opened
        ns = store.namespace("acme")
        lock = ns.lock("a", ttl=30)
        pass_seconds(clock, 20)
        ns = reopen(store).namespace("acme")
        clock.advance(30 * SECOND_NS - 1)
        with pytest.raises(LockHeld):
            ns.lock("a")
        ns.put("a", b"1", fence=lock.fence)
        clock.advance(1)
        with pytest.raises(LockLost):
            ns.put("a", b"2", fence=lock.fence)
        assert ns.lock("a").fence > lock.fence

    def test_a_lock_is_released_by_its_id(self, opened: Opened, reopen: Reopen) -> None:
        store, _ = opened
        kept = store.namespace("acme").lock("kept")
        store.namespace("acme").lock("released").release()
        ns = reopen(store).namespace("acme")
        ns.lock("released")
        ns.unlock("kept", kept.id)
        ns.lock("kept")

    def test_queued_puts_are_stored_before_closing(self, opened: Opened, reopen: Reopen) -> None:
        store, _ = opened
        for number in range(50):
            store.namespace("acme").put_soon(f"k{number}", b"%d" % number)
        ns = reopen(store).namespace("acme")
        assert ns.get_many([f"k{number}" for number in range(50)]) == [
            b"%d" % number for number in range(50)
        ]

    def test_closing_many_times(self, opened: Opened, reopen: Reopen) -> None:
        store, _ = opened
        for step in range(5):
            ns = store.namespace("acme")
            ns.append("log", b"%d" % step)
            ns.put(f"k{step}", b"1")
            store = reopen(store)
        ns = store.namespace("acme")
        assert ns.get("log") == b"01234"
        assert list(ns.list("k")) == [f"k{step}" for step in range(5)]

    def test_an_unfinished_stream_is_nothing(self, opened: Opened, reopen: Reopen) -> None:
        store, _ = opened
        file = store.namespace("acme").open("a", "wb")
        writer = file.__enter__()
        writer.write(patterned(MIB + 1))
        ns = reopen(store).namespace("acme")
        with pytest.raises(NotFound):
            ns.get("a")
        assert list(ns.list()) == []
