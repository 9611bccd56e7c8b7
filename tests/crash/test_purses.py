"""Purses at every cut of the disk: effect and charge are one, and all of it is conserved."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import pytest

from holdfast.bucket.dividing import held
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.errors import BalanceEmpty, LimitExceeded
from holdfast.store import Store
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import MODES, CrashDisk, Mode

SECOND = 1_000_000_000
FUNDS = 10**17
NAME = b"acme"
SAMPLED = 37  # every so manyth cut; the others wait for the night


def opened(disk: Disk, clock: ManualClock, seed: int) -> Store:
    return open_on(disk, "store", bucket_bytes=1 << 16, clock=clock, entropy=SeededEntropy(seed))


def put(store: Store, index: int) -> None:
    acme = store.namespace("acme")
    ttl = 50 + index if index % 3 == 0 else None
    acme.put(f"k{index * 7919 % 97:03}", b"v" * 1_500, ttl=ttl)


def put_many(store: Store, index: int) -> None:
    pairs = [(f"m{index:03}-{i}", b"w" * 900) for i in range(5)]
    store.namespace("acme").put_many(pairs)


def append(store: Store, index: int) -> None:
    store.namespace("acme").append(f"a{index % 3}", b"x" * 300)


def delete(store: Store, _index: int) -> None:
    acme = store.namespace("acme")
    acme.delete(next(iter(acme.list(limit=1))))


KINDS = (put, put_many, put, append, put, put, delete, append)
STEPS: tuple[Callable[[Store, int], None], ...] = tuple(KINDS[i % 8] for i in range(120))


class Run(NamedTuple):
    """The recorded run: its disk, for each step the points behind it, and when it was."""

    disk: CrashDisk
    points: tuple[int, ...]
    operations: tuple[int, ...]
    times_ns: tuple[int, ...]


def used(store: Store) -> int:
    """Writes that were charged."""
    purses = [b.purses[NAME] for b in store.placement.directory if NAME in b.purses]
    return sum(purse.totals[2] for purse in purses)


@cache
def recorded() -> Run:
    disk, clock = CrashDisk(MemoryDisk()), ManualClock()
    store = opened(disk, clock, 1)
    store.accounts.deposit("acme", FUNDS, "one")
    store.namespace("acme").configure(tariff="enclave", bytes_max=10_000_000)
    points, counts, times = [disk.points], [used(store)], [clock.wall_ns()]
    for index, step in enumerate(STEPS):
        step(store, index)
        counts.append(used(store))
        if index % 10 == 9:
            clock.advance(31 * SECOND)
            store.tick(60)
        points.append(disk.points)
        times.append(clock.wall_ns())
    return Run(disk, tuple(points), tuple(counts), tuple(times))


def judge(store: Store) -> None:
    """Everything is counted exactly, and nothing was made or lost."""
    for bucket in store.placement.directory:
        purse = bucket.purses[NAME]
        there = held(bucket, NAME, bucket.start, bucket.stop)
        assert there == (purse.used_bytes, purse.used_objects, purse.rent_bytes)
        assert purse.float_atto >= 0
    store.meters.settle()
    books = store.accounts.ledger.books()
    books.check()
    account = books.account("acme")
    purses = [bucket.purses[NAME] for bucket in store.placement.directory]
    held_by_purses = sum(purse.float_atto for purse in purses)
    charged = sum(purse.charged_atto for purse in purses)
    assert account.balance + held_by_purses + charged == FUNDS
    assert account.transit == 0
    assert sum(purse.allotted_bytes for purse in purses) <= 10_000_000


def judge_cut(mode: Mode, point: int) -> None:
    run = recorded()
    answered = max(at for at, points in enumerate(run.points) if points < point)
    at = point if point <= run.points[-1] else None
    clock = ManualClock(run.times_ns[answered])
    store = opened(run.disk.after_cut(mode, point, at=at), clock, 2)
    before = run.operations[answered]
    under_way = run.operations[min(answered + 1, len(STEPS))]
    assert used(store) in {before, under_way}, point
    judge(store)
    for index in range(answered, len(STEPS)):  # whoever was not answered asks again
        STEPS[index](store, index)
    clock.advance(90 * SECOND)
    store.tick(60)
    judge(store)
    store.close()


def cuts() -> range:
    run = recorded()
    return range(run.points[0] + 1, run.points[-1] + 2)


def test_the_run_has_everything_inside() -> None:
    run = recorded()
    assert len(cuts()) > 300
    store = opened(run.disk.after_cut(MODES[0], run.points[-1] + 1), ManualClock(), 2)
    assert len(list(store.placement.directory)) >= 2
    store.close()


@pytest.mark.push
@pytest.mark.parametrize("mode", MODES)
def test_some_cuts(mode: Mode) -> None:
    for point in cuts()[::SAMPLED]:
        judge_cut(mode, point)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", MODES)
def test_every_cut(mode: Mode) -> None:
    for point in cuts():
        judge_cut(mode, point)


@pytest.mark.push
def test_a_year_of_ticks() -> None:
    """Rent, floods, an empty reserve, a refill, and a wall clock that jumps to and fro."""
    clock = ManualClock()
    store = opened(MemoryDisk(), clock, 3)
    price = 1_763_750_000
    store.accounts.deposit("reserve", 700 * price, "capital")
    store.accounts.rule("acme", 100 * price, 500 * price, per_day=3)
    acme = store.namespace("acme")
    acme.configure(tariff="enclave", bytes_max=1_000_000, grace="30d")
    refused = stored = 0
    begun = store.bucket_time_ns()
    for day in range(365):
        for index in range(40 if day % 30 == 7 else 2):  # floods
            try:
                acme.put(f"k{index}", b"v", ttl=3600 if index % 2 else None)
                stored += 1
            except (BalanceEmpty, LimitExceeded):
                refused += 1
        if day % 50 == 9:
            clock.step_wall((-1) ** day * 40 * 86_400 * SECOND)
        if day == 200:
            store.accounts.deposit("reserve", 100_000 * price, "more capital")
        clock.advance(86_400 * SECOND)
        store.tick(60)
        books = store.accounts.ledger.books()
        books.check()
        total = sum(account.funds + account.charged for account in books.accounts.values())
        assert total == books.deposited
    used_now = acme.usage()
    assert refused
    assert used_now.requests["C"] == stored
    assert all(bucket.purses[NAME].float_atto >= 0 for bucket in store.placement.directory)
    passed = (store.bucket_time_ns() - begun) // SECOND
    assert abs(passed - 365 * 86_400) <= 365 * 86_400 * 5 // 100
    assert used_now.byte_seconds <= used_now.live_bytes * passed + stored * 4 * 3_600
    store.close()
