"""Threads on few keys of two buckets, each asking another process of one store: one order."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

import holdfast
from holdfast.client.store import RemoteStore
from holdfast.testing.linearizability import HistoryRecorder, Operation
from tests.doors.test_workers import SMALL, Served, serving
from tests.linearizability.driving import Broken, Namespace, together
from tests.linearizability.test_threads import (
    THREADS,
    StaleReads,
    are_linearizable,
    count_of_overlaps,
    histories_of,
    work,
)

pytestmark = [pytest.mark.push, pytest.mark.timeout(120)]
SEEDS = range(2)
WORKERS, KILL_EACH = 2, 120  # processes; calls between two deaths
ENDS = {"a": "k0001/", "\u00e9": "k0599/"}  # where each key lives: at one end of the store


class Spread:
    """A namespace whose keys live in buckets of both processes, which callers take in turns.

    Args:
        doors: the namespace, as each way to the store shows it.
        served: the processes.
    """

    def __init__(self, doors: Sequence[Namespace], served: Served) -> None:
        self.doors = doors
        self.served = served
        self.guard = threading.Lock()
        self.of_thread: dict[int, Namespace] = {}

    def __getattr__(self, verb: str) -> Callable[..., object]:
        def call(key: str, *arguments: object, **options: object) -> object:
            made: object = getattr(self.door(), verb)(ENDS[key[-1]] + key, *arguments, **options)
            return made

        return call

    def door(self) -> Namespace:
        """The way of this thread, the same as long as it lives."""
        with self.guard:
            number = len(self.of_thread)
            return self.of_thread.setdefault(
                threading.get_ident(), self.doors[number % len(self.doors)]
            )


class Deadly(Broken):
    """A namespace whose processes are killed in turns, in the middle of what is asked of them."""

    def __init__(self, spread: Spread) -> None:
        super().__init__(spread)
        self.calls = itertools.count(1)
        self.deaths = 0

    def __getattr__(self, verb: str) -> Callable[..., object]:
        call: Callable[..., object] = getattr(self.below, verb)

        def deadly(*arguments: object, **options: object) -> object:
            if next(self.calls) % KILL_EACH == 0:
                workers = self.below.served.workers()
                if len(workers) == WORKERS:
                    os.kill(workers[self.deaths % WORKERS], signal.SIGKILL)
                    self.deaths += 1
            return call(*arguments, **options)

        return deadly


@pytest.fixture
def spread(tmp_path: Path) -> Iterator[Spread]:
    folder, chance = tmp_path / "data", Random(7)
    with holdfast.open(folder, bucket_bytes=SMALL) as store:
        filling = {f"k{number:04d}": chance.randbytes(700) for number in range(600)}
        store.namespace("acme").put_many(filling)
    with serving(folder) as served, ExitStack() as stack:

        def connect(url: str, *, direct: bool = False) -> RemoteStore:
            remote = holdfast.connect(url, token=served.token, direct=direct, timeout=60)
            return stack.enter_context(remote)

        whole = connect(served.url)
        owners = {whole.locate("acme", end).address for end in ENDS.values()}
        assert len(owners) == 2, "one process owns both keys: nothing is relayed"
        stores = [*map(connect, sorted(owners)), connect(served.url, direct=True)]
        yield Spread([store.namespace("acme") for store in stores], served)


def test_threads_at_two_processes_see_one_order(spread: Spread) -> None:
    for seed in SEEDS:
        histories = histories_of(spread, seed)
        assert count_of_overlaps(histories) > 50, "the threads did not meet: nothing was tested"
        assert are_linearizable(histories), f"seed {seed}"


def histories_with_deaths(spread: Spread, seed: int) -> dict[str, list[Operation]]:
    """What threads were told while processes died; what was refused, undone, is not in it."""
    recorder, deadly = HistoryRecorder(), Deadly(spread)
    together(THREADS, lambda process: work(deadly, recorder, seed, process))
    assert deadly.deaths, "nobody died: nothing was tested"
    return recorder.histories()


def test_threads_see_one_order_while_processes_are_killed(spread: Spread) -> None:
    histories = histories_with_deaths(spread, 7)
    assert count_of_overlaps(histories) > 50, "the threads did not meet: nothing was tested"
    assert are_linearizable(histories)


@pytest.mark.nightly
@pytest.mark.timeout(1_800)
def test_by_night_threads_see_one_order_while_processes_are_killed(spread: Spread) -> None:
    for seed in range(100, 120):
        assert are_linearizable(histories_with_deaths(spread, seed)), f"seed {seed}"


def test_a_seeded_bug_is_caught_behind_workers(spread: Spread) -> None:
    broken = StaleReads(spread)
    assert any(not are_linearizable(histories_of(broken, seed)) for seed in SEEDS)
