"""A namespace that pays, cut at any point of its disk: no charge without effect, none without.

A run writes, grows, shrinks, is topped up and told to the books; its disk is cut at points all
over it. What is found then holds a charge for exactly the writes that are there, the books and
the purses have every unit that was deposited, and a statement says so.
"""

from __future__ import annotations

from functools import cache
from random import Random
from typing import NamedTuple

import pytest

from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.ledger import statement
from holdfast.store import Namespace, Store
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import MODES, CrashDisk, Mode

SECOND_NS = 1_000_000_000
USD = 10**18
DEPOSITED = 100 * USD
STEPS = 260
KEYS = 100
BYTES_MAX = 1 << 20
SAMPLES = 20  # cuts of each mode; the night takes more


def opened(disk: Disk, seed: int) -> Store:
    return open_on(
        disk,
        "store",
        bucket_bytes=1 << 16,
        clock=ManualClock(),
        entropy=SeededEntropy(seed),
        upkeep=False,
    )


class Moment(NamedTuple):
    """Behind a step: the points of the disk, what was charged so far, what was stored."""

    points: int
    charged: int
    sizes: dict[str, int]


class Run(NamedTuple):
    """A run as it was recorded."""

    disk: CrashDisk
    moments: tuple[Moment, ...]
    buckets: int


class Customer:
    """Whoever writes, by a seed."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.chance = Random(seed)
        self.sizes: dict[str, int] = {}
        self.locks = 0
        self.acme: Namespace = store.namespace("acme")

    def key(self) -> str:
        return f"k{self.chance.randrange(KEYS):03}"

    def step(self) -> None:
        kind = self.chance.choices(
            ("put", "put_many", "delete", "append", "lock", "tick"), (10, 2, 4, 2, 1, 3)
        )[0]
        getattr(self, kind)()

    def put(self) -> None:
        key, size = self.key(), self.chance.randrange(8_000)
        self.acme.put(key, bytes(size), ttl=self.chance.choice((60, 3_600, "30d")))
        self.sizes[key] = size

    def put_many(self) -> None:
        size = self.chance.randrange(2_000)
        pairs = {self.key(): bytes(size) for _ in range(5)}
        self.acme.put_many(pairs, ttl="1h")
        self.sizes |= dict.fromkeys(pairs, size)

    def delete(self) -> None:
        if self.sizes:
            key = self.chance.choice(sorted(self.sizes))
            self.acme.delete(key)
            del self.sizes[key]

    def append(self) -> None:
        if self.sizes:
            key = self.chance.choice(sorted(self.sizes))
            self.sizes[key] = self.acme.append(key, bytes(self.chance.randrange(500)))

    def lock(self) -> None:
        self.locks += 1
        self.acme.lock(f"lock {self.locks}")

    def tick(self) -> None:
        clock = self.store.clock
        assert isinstance(clock, ManualClock)
        clock.advance(self.chance.randrange(1, 20) * SECOND_NS // 10)
        self.store.tick(10.0)


@cache
def recorded(seed: int) -> Run:
    disk = CrashDisk(MemoryDisk())
    store = opened(disk, seed)
    store.accounts.deposit("reserve", DEPOSITED, "bank")
    store.accounts.rule("acme", USD, USD, 100)
    store.accounts.transfer("reserve", "acme", USD, "welcome")
    customer = Customer(store, seed)
    customer.acme.configure(tariff="enclave", bytes_max=BYTES_MAX, objects_max=10_000)
    moments = [Moment(disk.points, 0, {})]
    buckets = charged = 0
    for _ in range(STEPS):
        with customer.acme.bill() as bill:
            customer.step()
        charged += bill.cost_atto
        moments.append(Moment(disk.points, charged, dict(customer.sizes)))
        buckets = max(buckets, len(store.status().buckets))
    return Run(disk, tuple(moments), buckets)


def is_conserved(store: Store) -> None:
    """Every unit that was deposited is in an account, a float or a charge, and nothing below 0."""
    store.meters.settle()
    books = store.accounts.ledger.books()
    books.check()
    assert books.deposited == DEPOSITED
    for name, account in books.accounts.items():
        purses = [
            purse
            for bucket in store.placement.directory
            if (purse := bucket.purses.get(name.encode())) is not None
        ]
        assert account.transit == 0
        assert account.float_ == sum(p.float_atto + p.sums.amount for p in purses)
        assert account.charged == sum(p.charged_atto - p.sums.amount for p in purses)
        assert all(p.float_atto >= 0 for p in purses)
        assert sum(p.allotted_bytes for p in purses) <= BYTES_MAX
        assert sum(p.allotted_objects for p in purses) <= 10_000


def judge(run: Run, mode: Mode, point: int) -> None:
    answered = max(i for i, moment in enumerate(run.moments) if moment.points < point)
    at = point if point <= run.moments[-1].points else None
    with opened(run.disk.after_cut(mode, point, at=at), 99) as store:
        is_conserved(store)
        acme = store.namespace("acme")
        used = acme.usage()
        found = {stat.key: stat.size for stat in acme.entries()}  # which is charged from here on
        assert used.objects == len(found)
        assert used.live_bytes == sum(len(key) + size for key, size in found.items())
        possible = run.moments[answered : answered + 2]
        if found == possible[0].sizes:
            assert used.cost_atto in {moment.charged for moment in possible}
        elif found == possible[-1].sizes:
            assert used.cost_atto == possible[-1].charged
        document = store.statement("acme", 0, 1 << 62)
        held = statement.verify(document, public_key=store.public_key())
        assert held.closing.charged == acme.usage().cost_atto > used.cost_atto
        acme.put("after", b"1", ttl=60)
        is_conserved(store)


def cuts(run: Run, mode: Mode, count: int) -> list[int]:
    """Points all over a run, others for each mode; and the one behind its end."""
    first, last = run.moments[0].points + 1, run.moments[-1].points
    drawn = Random(MODES.index(mode)).sample(range(first, last + 1), min(count, last - first))
    return [*sorted(drawn), last + 1]


def test_the_run_grows_over_buckets_and_is_charged() -> None:
    run = recorded(1)
    assert run.buckets >= 3
    assert run.moments[-1].charged > 0


@pytest.mark.push
@pytest.mark.parametrize("mode", MODES)
def test_cuts_all_over_a_run(mode: Mode) -> None:
    run = recorded(1)
    for point in cuts(run, mode, SAMPLES):
        judge(run, mode, point)


def test_a_bucket_that_is_cut_while_the_books_are_told() -> None:
    """Pages of the books are objects too: writing one may divide the bucket of who is told."""
    judge(recorded(4), "kept", 461)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(2, 10))
def test_cuts_all_over_other_runs(mode: Mode, seed: int) -> None:
    run = recorded(seed)
    for point in cuts(run, mode, 500):
        judge(run, mode, point)
