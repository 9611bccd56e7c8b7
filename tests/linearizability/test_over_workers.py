"""Threads on few keys of two buckets, each asking another process of one store: one order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

import holdfast
from holdfast.client.store import RemoteStore
from tests.doors.test_workers import SMALL, serving
from tests.linearizability.driving import Namespace
from tests.linearizability.test_threads import (
    StaleReads,
    are_linearizable,
    count_of_overlaps,
    histories_of,
)

pytestmark = [pytest.mark.push, pytest.mark.timeout(120)]
SEEDS = range(2)
ENDS = {"a": "k0001/", "\u00e9": "k0599/"}  # where each key lives: at one end of the store


class Spread:
    """A namespace whose keys live in buckets of both processes, which callers take in turns.

    Args:
        doors: the namespace, as each way to the store shows it.
    """

    def __init__(self, doors: Sequence[Namespace]) -> None:
        self.doors = doors
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
        yield Spread([store.namespace("acme") for store in stores])


def test_threads_at_two_processes_see_one_order(spread: Spread) -> None:
    for seed in SEEDS:
        histories = histories_of(spread, seed)
        assert count_of_overlaps(histories) > 50, "the threads did not meet: nothing was tested"
        assert are_linearizable(histories), f"seed {seed}"


def test_a_seeded_bug_is_caught_behind_workers(spread: Spread) -> None:
    broken = StaleReads(spread)
    assert any(not are_linearizable(histories_of(broken, seed)) for seed in SEEDS)
