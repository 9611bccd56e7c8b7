"""The specification's eight calls, their results and their costs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import holdfast
from holdfast.adapters.enclave_kv import Database, KeyInfo
from holdfast.bucket import settling
from holdfast.errors import (
    InvalidExpiry,
    InvalidNamespace,
    InvalidValue,
    LockHeld,
    LockLost,
    NotFound,
)
from holdfast.store import Store
from holdfast.testing.clock import ManualClock

PCR = "ab" * 48
HOUR = 3_600_000_000_000
A, B, C = 17_637_500_000, 3_527_500_000, 1_763_750_000
STORAGE = 8_796


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Iterator[Store]:
    with holdfast.open(":memory:", clock=clock, upkeep=False) as opened:
        yield opened


@pytest.fixture
def charged(store: Store) -> Database:
    """A database whose enclave pays."""
    (bucket,) = store.placement.directory
    settling.begin(bucket, PCR.encode(), store.tariffs.get("enclave").terms)
    settling.settle(bucket, PCR.encode(), settling.Settlement(received=(1, 10**18)))
    return Database(store)


def test_the_eight_calls(store: Store, clock: ManualClock) -> None:
    database = Database(store)
    assert database.store(PCR, "dir/a", b"value", HOUR) == 0
    assert database.store(PCR, "dir/b/c", "text", HOUR) == 0
    assert database.load(PCR, "dir/b/c") == (b"text", 0)
    assert database.exists(PCR, "dir/a") == (0, True)
    assert database.exists(PCR, "dir/x") == (0, False)
    assert database.list(PCR, "d", True) == (["dir/a", "dir/b/c"], 0)  # noqa: FBT003
    assert database.list(PCR, "dir", False) == (["dir/a", "dir/b"], 0)  # noqa: FBT003
    info, cost = database.stat(PCR, "dir/a")
    assert (info, cost) == (KeyInfo("dir/a", clock.wall_ns(), 5, is_terminal=True), 0)
    assert database.stat(PCR, "dir")[0].is_terminal is False
    lock_id, cost = database.lock(PCR, "dir/a")
    assert (len(lock_id), cost) == (20, 0)
    with pytest.raises(LockHeld):
        database.lock(PCR, "dir/a")
    assert database.unlock(PCR, "dir/a", list(lock_id)) == 0
    assert database.delete(PCR, "dir/a") == 0
    with pytest.raises(NotFound):
        database.load(PCR, "dir/a")


def test_every_call_says_what_it_cost(charged: Database) -> None:
    assert charged.store(PCR, "k", bytes(99), 60 * 10**9) == C + 100 * 60 * STORAGE
    lock_id, cost = charged.lock(PCR, "k")
    assert cost == B
    assert charged.unlock(PCR, "k", lock_id) == B
    rest = 100 * 60 * STORAGE * 4 // 5
    assert charged.delete(PCR, "k") == C - rest


def test_a_time_to_live_below_a_second_is_not_free(charged: Database) -> None:
    assert charged.store(PCR, "k", b"", 1) == C + STORAGE


def test_growth_is_not_free_when_the_expiry_is_kept(charged: Database) -> None:
    charged.store(PCR, "k", bytes(9), 60 * 10**9)
    grown = charged.store(PCR, "k", bytes(999), -1)
    assert grown == C + (1_000 - 10) * 60 * STORAGE


def test_a_gib_for_a_month_is_no_credit(store: Store) -> None:
    cost = store.tariffs.get("enclave").terms
    assert cost.storage_atto * (1 << 30) * 30 * 86_400 == 24_480_488_953_479_168_000


def test_only_key_and_value_are_paid_for(charged: Database) -> None:
    assert charged.store(PCR, "k", bytes(2_000), 10**9) == C + 2_001 * STORAGE


@pytest.mark.parametrize("expiry", [0, -2, True, 1.5, 1 << 63])
def test_an_expiry_that_is_none_is_refused(store: Store, expiry: int) -> None:
    with pytest.raises(InvalidExpiry):
        Database(store).store(PCR, "k", b"", expiry)


def test_keeping_the_expiry_of_nothing_stores_nothing(store: Store) -> None:
    with pytest.raises(NotFound):
        Database(store).store(PCR, "k", b"", -1)
    assert Database(store).exists(PCR, "k") == (0, False)


@pytest.mark.parametrize("expiry", [1, 999, 10**6 + 1, (1 << 61) + 1])
def test_an_expiry_is_kept_to_the_nanosecond(store: Store, clock: ManualClock, expiry: int) -> None:
    Database(store).store(PCR, "k", b"", expiry)
    assert store.namespace(PCR).stat("k").expires_ns == clock.wall_ns() + expiry


def test_enclaves_do_not_see_each_other(store: Store) -> None:
    database = Database(store)
    database.store("aa", "b/c", b"1", HOUR)
    assert database.exists("aa", "c") == (0, False)
    assert database.list("a", "", True) == ([], 0)  # noqa: FBT003
    with pytest.raises(InvalidNamespace):
        database.load("aa/b", "c")


@pytest.mark.parametrize("lock_id", [b"", b"x", [1, 2, 300], ["a"] * 20])
def test_no_lock_is_given_back_by_what_is_none(store: Store, lock_id: list[int]) -> None:
    database = Database(store)
    with pytest.raises((InvalidValue, LockLost)):
        database.unlock(PCR, "never", lock_id)
