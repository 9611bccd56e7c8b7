"""Reads are charged late, but not too late: a crash loses 10,000 of a namespace at the most."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from random import Random
from threading import Thread
from typing import NamedTuple

import pytest

import holdfast
from holdfast.bucket import fork
from holdfast.bucket.lag import READS_MOST, Lag
from holdfast.bucket.settings import Sync
from holdfast.bucket.settling import Settlement, charge_reads, settle
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.metering.tariffs import shipped
from holdfast.store import Store
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import MODES, CrashDisk, FailingDisk, Kind, Mode
from tests.crash.reader import FIRST, KEYS

READER = Path(__file__).with_name("reader.py")
USD = 10**18
WRITES: tuple[Kind, ...] = ("write",)
ENCLAVE = shipped()["enclave"].terms
COST = ENCLAVE.c + ENCLAVE.egress_atto  # of reading a byte
LOOKS = 500  # reads between two looks


def opened(disk: Disk, seed: int, sync: Sync = "always") -> Store:
    entropy = SeededEntropy(seed)
    return open_on(disk, "store", clock=ManualClock(), entropy=entropy, upkeep=False, sync=sync)


def filled(store: Store) -> None:
    store.accounts.deposit("acme", USD, "invoice 1")
    acme = store.namespace("acme")
    acme.configure(tariff="enclave")
    acme.put_many((f"k{i:02}", b"v") for i in range(KEYS))


def split(store: Store, key: str) -> None:
    placement, start = store.placement, f"acme\0{key}".encode()
    with placement.changing:
        child = fork.split(placement.directory.find(start), placement.new_id(), start)
        assert child is not None
        placement.directory.add(child)


def charged(store: Store) -> int:
    """Reads that are paid for, after what a crash left."""
    return store.namespace("acme").usage().requests["C"] - KEYS


class Run(NamedTuple):
    """A disk as it was recorded, and how many reads were answered at which of its points."""

    disk: CrashDisk
    answered: tuple[tuple[int, int], ...]


@cache
def recorded(kinds: tuple[str, ...]) -> Run:
    disk = CrashDisk(MemoryDisk())
    store = opened(disk, 1)
    filled(store)
    split(store, "k20")
    acme, answered = store.namespace("acme"), [(disk.points, 0)]
    for look in range(1, 3 * READS_MOST // LOOKS):
        for number in range(LOOKS):
            getattr(acme, kinds[number % len(kinds)])(f"k{number * 7 % KEYS:02}")
        answered.append((disk.points, look * LOOKS))
    return Run(disk, tuple(answered))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kinds", [("get",), ("get", "exists", "stat")])
def test_no_cut_takes_more_reads_than_it_may(mode: Mode, kinds: tuple[str, ...]) -> None:
    run = recorded(kinds)
    first, last = run.answered[0][0], run.answered[-1][0]
    assert 4 <= last - first < 100  # written to in the middle of it, by who reads, and seldom
    for point in range(first + 1, last + 2):
        before = max(reads for points, reads in run.answered if points < point)
        at = point if point <= last else None
        with opened(run.disk.after_cut(mode, point, at=at), 2) as store:
            paid = charged(store)
        assert before - READS_MOST <= paid <= before + LOOKS


def test_threads_that_read_at_once_are_counted_each() -> None:
    with opened(MemoryDisk(), 3) as store:
        filled(store)
        acme = store.namespace("acme")
        threads = [Thread(target=lambda: [acme.get("k01") for _ in range(4_000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (bucket,) = store.placement.directory
        waiting = len(bucket.reads[b"acme"])
        assert waiting <= READS_MOST
        assert sum(p.totals[2] for p in bucket.purses.values()) + waiting == 16_000 + KEYS
        assert charged(store) == 16_000


@pytest.mark.parametrize("sync", ["always", "never"])  # in a group, and alone
def test_what_the_disk_refuses_to_take_is_charged_later(sync: Sync) -> None:
    disk = FailingDisk(MemoryDisk(), 0, kinds=WRITES)
    with opened(disk, 4, sync) as store:
        filled(store)
        acme = store.namespace("acme")
        for _ in range(READS_MOST):
            acme.get("k01")
        disk._span = range(disk.calls + 1, disk.calls + 2)
        acme.get("k01")  # has to be charged first, which is refused: it is answered all the same
        assert disk.failed == 1
        assert charged(store) == READS_MOST + 1


def test_who_must_not_wait_is_told_when_it_is_time() -> None:
    done: list[str] = []
    lag = Lag(b"acme", 10, lambda *_: done.append("charged"))
    for number in range(10):
        assert not lag.is_over()
        assert not lag.is_over(10 - number)
        assert lag.is_over(11 - number)
        lag.number(waits=False)
    assert lag.is_over()
    lag.catch_up()
    assert not lag.is_over()
    assert not done  # no bucket holds any


def test_early_enough_whoever_charges_beside_the_readers_is_called_once() -> None:
    called: list[int] = []
    reads: list[int] = []
    lag = Lag(b"acme", 10, lambda *_: None, lambda: called.append(len(reads)))

    def read(times: int) -> None:
        for number in range(times):
            reads.append(number)
            lag.number(waits=True)

    read(10)
    assert called == [4]
    lag.catch_up()
    read(20)
    assert called == [4, 14, 24]  # the read of number 21 charged all there was


@pytest.mark.parametrize("buckets", [1, 3, 30])
def test_buckets_share_the_bound_however_many_they_are(buckets: int) -> None:
    most = 60
    with opened(MemoryDisk(), 5) as store:
        store.placement.settings.lags.most = most
        filled(store)
        for number in range(1, buckets):
            split(store, f"k{number:02}")
        acme, chance = store.namespace("acme"), Random(6)
        acme.configure(tariff="enclave")
        rounds = 0
        waiting = [0]
        for _ in range(2_000):
            getattr(acme, chance.choice(("get", "get", "exists")))(f"k{chance.randrange(40):02}")
            found = (bucket.reads.get(b"acme") for bucket in store.placement.directory)
            waiting.append(sum(len(reads) for reads in found if reads is not None))
            rounds += waiting[-1] < waiting[-2]
        assert max(waiting) <= most
        assert rounds <= 2_000 / (most * 0.8)  # and most of it is used
        assert charged(store) == 2_000


def test_reads_go_on_where_others_have_the_money() -> None:
    """A bucket that cannot pay for what was read there is not a tenant who cannot."""
    with opened(MemoryDisk(), 8) as store:
        filled(store)
        keys = ["k00", "k10", "k20", "k30"]
        for key in keys[1:]:
            split(store, key)
        acme, meters, books = store.namespace("acme"), store.meters, store.accounts.ledger
        rich, *poor = [store.placement.directory.find(f"acme\0{key}".encode()) for key in keys]
        meters.step()
        meters.funding.call_back(meters.metered()[b"acme"], USD)
        everything = books.account("acme").balance
        number = books.fund("acme", rich.id, everything).transfer
        settle(rich, b"acme", Settlement(received=(number, everything)))
        assert not any(bucket.purses[b"acme"].float_atto for bucket in poor)
        for times in range(1, 4):
            for bucket, key in zip(poor, keys[1:], strict=True):
                assert acme.get(key) == b"v"
                charge_reads(bucket, b"acme")
                assert bucket.purses[b"acme"].owed.amount == times * COST
        meters.step()
        assert not any(bucket.purses[b"acme"].owed.amount for bucket in poor)
        assert [acme.get(key) for key in keys] == [b"v"] * 4
        assert charged(store) == 13


def test_a_free_namespace_beside_one_that_pays_is_not_counted() -> None:
    with opened(MemoryDisk(), 7) as store:
        free, acme = store.namespace("free"), store.namespace("acme")
        free.put("k01", b"v")
        assert free.get("k01") == b"v"
        filled(store)  # both handles were there before
        for _ in range(3):
            assert free.get("k01") == acme.get("k01") == b"v"
        with acme.bill() as bill:
            acme.get("k01")
            free.get("k01")
        assert (bill.reads, charged(store)) == (1, 4)
        assert not free.usage().requests


@pytest.mark.parametrize("lines", [7, 60])
def test_a_reader_is_killed(tmp_path: Path, lines: int) -> None:
    folder = tmp_path / "data"
    with holdfast.open(folder, upkeep=False) as store:
        filled(store)
    command = [sys.executable, str(READER), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        told += process.stdout.readlines()
    whole = [line for line in told if line.endswith(b"\n")]
    answered = max([FIRST, *(int(line) for line in whole if line[:-1].isdigit())])
    assert whole[0] == b"charged\n"
    with holdfast.open(folder, upkeep=False) as store:
        paid = charged(store)
    assert paid >= max(FIRST, answered - READS_MOST)
