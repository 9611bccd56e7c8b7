"""The books at every cut of the disk: what was answered is there, once, and they balance."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import pytest

from holdfast import charges
from holdfast.bucket.settings import Sync
from holdfast.charges import Tally
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.ledger import entries, statement
from holdfast.ledger.ledger import Ledger, Report
from holdfast.store import Store
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import MODES, CrashDisk, Mode

SYNCS: tuple[Sync, ...] = ("always", "interval", "never")
DOLLAR = 10**18
CHARGED = 3 * (7 + 100 * 60 * 3 // 2)


def opened(disk: Disk, sync: Sync, seed: int) -> Store:
    return open_on(disk, "store", sync=sync, clock=ManualClock(), entropy=SeededEntropy(seed))


def written(ledger: Ledger) -> list[bytes]:
    """Every entry as it stands in the books, its time left out: a run has its own."""
    return [
        entries.canonical(entries.to_object(entry) | {"time_ns": 0}) for entry in ledger.history()
    ]


def a_report(ledger: Ledger, store: Store) -> None:
    tariff = store.tariffs.get("mine").terms
    tally = Tally({tariff.number: tariff})
    tally.add(charges.charge(tariff, "C", size_bytes=100, seconds=60), 3)
    ledger.report([Report("acme", "b", 1, ((1, 7),), 0, 9, tally.lines())])


STEPS: tuple[Callable[[Ledger, Store], object], ...] = (
    lambda ledger, _: ledger.deposit("reserve", 9 * DOLLAR, "one"),
    lambda ledger, _: ledger.transfer("reserve", "acme", DOLLAR, "two"),
    lambda ledger, store: ledger.price("acme", "mine", 1, store.tariffs.get("mine").terms),
    lambda ledger, _: ledger.rule("acme", 3 * DOLLAR, DOLLAR, per_day=5, parent="reserve"),
    lambda ledger, _: ledger.top_up(),
    lambda ledger, _: ledger.fund("acme", "b", DOLLAR),
    a_report,
    a_report,  # again: it is taken once
    lambda ledger, _: ledger.fund("acme", "c", 5),
    lambda ledger, _: ledger.void("acme", "c", 0),
)


class Run(NamedTuple):
    """The recorded run: its disk, and for each step the points and the books behind it."""

    disk: CrashDisk
    points: tuple[int, ...]
    books: tuple[list[bytes], ...]


@cache
def recorded(sync: Sync) -> Run:
    disk = CrashDisk(MemoryDisk())
    store = opened(disk, sync, 1)
    store.tariffs.set("mine", 'operation = 7\nstorage = "3/2"')
    ledger = store.accounts.ledger
    points, books = [disk.points], [written(ledger)]
    for step in STEPS:
        step(ledger, store)
        points.append(disk.points)
        books.append(written(ledger))
    return Run(disk, tuple(points), tuple(books))


def test_the_run_has_everything_inside() -> None:
    run = recorded("always")
    kinds = {entries.decode(entry).kind for entry in run.books[-1]}
    assert kinds >= {"deposit", "transfer", "terms", "rule", "top_up", "fund", "received"}
    assert kinds >= {"returned", "charged", "void"}
    assert run.books[-4] == run.books[-3]


@pytest.mark.parametrize("sync", SYNCS)
@pytest.mark.parametrize("mode", MODES)
def test_the_books_at_every_cut(sync: Sync, mode: Mode) -> None:
    run = recorded(sync)
    for point in range(run.points[0] + 1, run.points[-1] + 2):
        answered = max(at for at, points in enumerate(run.points) if points < point)
        at = point if point <= run.points[-1] else None
        store = opened(run.disk.after_cut(mode, point, at=at), sync, 2)
        ledger = store.accounts.ledger
        found = written(ledger)
        under_way = run.books[min(answered + 1, len(STEPS))]
        assert found in (run.books[answered], under_way), point
        ledger.books().check()
        for step in STEPS[answered:]:  # whoever was not answered asks again
            if found == run.books[answered] or step is not STEPS[answered]:
                step(ledger, store)
        assert written(ledger) == run.books[-1], point
        document = store.statement("acme", 0, 1 << 62)
        assert statement.verify(document, public_key=store.public_key()).closing.charged == CHARGED
        store.close()
