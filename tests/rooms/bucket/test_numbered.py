"""Numbered stores that come together: each is applied once, as those that come alone are."""

from __future__ import annotations

import pytest

from holdfast.bucket import numbered
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import checkpoint
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import SessionUnknown, StorageFailed
from holdfast.limits import SESSION_NUMBERS
from holdfast.testing import ManualClock
from holdfast.testing.simulator_world import Faulty
from tests.growth.growing import SECOND_NS, in_memory
from tests.rooms.bucket.test_sessions import kept_in, only

Pairs = dict[str, bytes]


def some(count: int, value: bytes = b"v", start: int = 0) -> Pairs:
    return {f"k{n:03}": value for n in range(start, start + count)}


def known_numbers(bucket: Bucket) -> list[int]:
    told = bucket.sessions.told(bucket.time.now_ns())
    return [number for space in told.spaces for s in space.sessions for number, _ in s.kept]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many stores each batch had that went the short way."""
    seen: list[int] = []
    store_many = numbered.store_many

    def note(*arguments: object) -> object:
        receipts = store_many(*arguments)  # type: ignore[arg-type] # as they came
        seen.append(len(receipts or ()))
        return receipts

    monkeypatch.setattr(numbered, "store_many", note)
    return seen


def test_a_batch_that_comes_again_changes_nothing(quick: list[int]) -> None:
    with in_memory() as (store, _):
        ns, session = store.namespace("acme"), store.begin_session()
        first = ns.numbered(session, 5).put_many(some(10))
        ns.put("k003", b"newer")
        assert ns.numbered(session, 5).put_many(some(10)) == first
        assert quick == [10, 0]
        assert ns.get("k003") == b"newer"
        assert known_numbers(only(store)) == list(range(5, 15))


def test_of_a_batch_that_was_applied_in_part_the_rest_is(quick: list[int]) -> None:
    with in_memory() as (store, _):
        ns, session = store.namespace("acme"), store.begin_session()
        first = ns.numbered(session, 1).put_many(some(3, b"1"))
        second = ns.numbered(session, 2).put_many(some(4, b"2", start=1))
        assert quick == [3, 0]
        assert second[:2] == first[1:]
        assert [ns.get(key) for key in some(5)] == [b"1", b"1", b"1", b"2", b"2"]


def test_the_floor_forgets_numbers_and_makes_room() -> None:
    with in_memory() as (store, _):
        ns, session = store.namespace("acme"), store.begin_session()
        for number in range(1, 5 * SESSION_NUMBERS, SESSION_NUMBERS // 2):
            ns.numbered(session, number, number).put_many(some(SESSION_NUMBERS // 2))
        assert len(known_numbers(only(store))) == SESSION_NUMBERS // 2


def test_a_session_that_ended_is_unknown_to_a_batch() -> None:
    with in_memory() as (store, clock):
        ns, session = store.namespace("acme"), store.begin_session()
        clock.advance(8 * 86_400 * SECOND_NS)
        with pytest.raises(SessionUnknown):
            ns.numbered(session, 1).put_many(some(3))
        assert not list(ns.list())


def test_a_batch_that_failed_is_free_to_come_again() -> None:
    disk, clock = Faulty(MemoryDisk(), 1), ManualClock()
    with kept_in(disk, clock) as store:
        ns, session = store.namespace("acme"), store.begin_session()
        disk.armed = True
        with pytest.raises(StorageFailed):
            ns.numbered(session, 1).put_many(some(5))
        assert known_numbers(only(store)) == []
        first = ns.numbered(session, 1).put_many(some(5))
        assert ns.numbered(session, 1).put_many(some(5)) == first
        assert list(ns.list()) == list(some(5))


@pytest.mark.parametrize("tariff", [None, "enclave"])
def test_numbers_of_batches_outlive_segments_and_opening(tariff: str | None) -> None:
    disk, clock = MemoryDisk(), ManualClock()
    with kept_in(disk, clock) as store:
        ns, session = store.namespace("acme"), store.begin_session()
        if tariff is not None:
            store.accounts.deposit("acme", 10**18, "invoice 1")
            ns.configure(tariff=tariff)
        first = [
            ns.numbered(session, number, max(0, number - 500)).put_many(
                {f"k{n:04}": bytes(900) for n in range(number, number + 50)}
            )
            for number in range(0, 1_000, 50)
        ]
        for bucket in store.placement.directory:
            checkpoint(bucket)
        store.tick()
        assert sum(len(bucket.log.ended) for bucket in store.placement.directory) > 2
    with kept_in(disk, clock) as store:
        assert store.check().ok
        for rebuilt in (False, True):
            if rebuilt:
                store.rebuild()
            ns = store.namespace("acme")
            again = ns.numbered(session, 950).put_many({f"k{n:04}": b"" for n in range(950, 1_000)})
            assert [r.version for r in again] == [r.version for r in first[-1]]
            assert len(list(ns.list())) == 1_000
            assert ns.stat("k0950").size == 900
