"""Threads on few keys: what they were told must fit one order; seeded bugs must not."""

from __future__ import annotations

import itertools
import random
from typing import cast

import pytest

from holdfast.errors import NotFound, VersionMismatch
from holdfast.testing.face import NamespaceFace
from holdfast.testing.linearizability import (
    HistoryRecorder,
    KeyModel,
    Operation,
    RecordedNamespace,
    check_history,
)
from tests.linearizability.driving import Broken, Interleaved, Namespace, give_way, together

KEYS = ["a", "\u00e9"]  # few, so that calls on one key meet in one commit group and across two
THREADS = 6
OPERATIONS = 80  # of each thread; 240 for each key, which the checker judges in milliseconds
SEEDS = range(5)


class StaleReads(Broken):
    """A read cache that writes of others do not invalidate."""

    def __init__(self, below: Namespace) -> None:
        super().__init__(below)
        self.cache: dict[str, list[bytes]] = {}

    def get(self, key: str) -> bytes:
        cached = self.cache.get(key)
        if cached:
            return cached.pop()
        value: bytes = self.below.get(key)
        self.cache[key] = [value] * 3
        return value


class LooksThenPuts(Broken):
    """if_version as a look and a put: another may come between the two."""

    def put(self, key: str, data: bytes, *, if_version: int | None = None) -> object:
        if if_version is not None:
            found = version_of(self.below, key)
            if found != if_version:
                raise VersionMismatch(expected=if_version, actual=found)
            give_way()
        return self.below.put(key, data)


class ForgetsSomeDeletes(Broken):
    """A delete that is answered and now and then not done."""

    count = 0

    def delete(self, key: str) -> None:
        self.count += 1
        if self.count % 4:
            self.below.delete(key)
        else:
            self.below.get(key)


def work(namespace: Namespace, recorder: HistoryRecorder, seed: int, process: int) -> None:
    chance = random.Random(f"{seed}/{process}")
    recorded = RecordedNamespace(cast("NamespaceFace", Interleaved(namespace)), recorder, process)
    for step in range(OPERATIONS):
        key = f"{seed}/{chance.choice(KEYS)}"  # absent when its history begins
        value = (b"%d/%d " % (process, step)).ljust(1_024, b".")
        verb = chance.choice(["get", "get", "put", "put", "cas", "cas", "delete"])
        if verb == "get":
            recorded.get(key)
        elif verb == "put":
            recorded.put(key, value)
        elif verb == "delete":
            recorded.delete(key)
        else:
            recorded.compare_and_set(key, version_of(namespace, key), value)


def version_of(namespace: Namespace, key: str) -> int:
    try:
        return int(namespace.stat(key).version)
    except NotFound:
        return 0


def histories_of(namespace: Namespace, seed: int) -> dict[str, list[Operation]]:
    recorder = HistoryRecorder()
    together(THREADS, lambda process: work(namespace, recorder, seed, process))
    histories = recorder.histories()
    assert sum(map(len, histories.values())) == THREADS * OPERATIONS
    return histories


def are_linearizable(histories: dict[str, list[Operation]]) -> bool:
    return all(check_history(history, KeyModel()).linearizable for history in histories.values())


def count_of_overlaps(histories: dict[str, list[Operation]]) -> int:
    return sum(
        later.began < earlier.ended
        for history in histories.values()
        for earlier, later in itertools.pairwise(history)
    )


def test_threads_see_one_order(namespace: Namespace) -> None:
    for seed in SEEDS:
        histories = histories_of(namespace, seed)
        assert count_of_overlaps(histories) > 50, "the threads did not meet: nothing was tested"
        assert are_linearizable(histories), f"seed {seed}"


@pytest.mark.nightly
@pytest.mark.timeout(3_600)
def test_by_night_threads_see_one_order(namespace: Namespace) -> None:
    for seed in range(500):
        assert are_linearizable(histories_of(namespace, seed)), f"seed {seed}"


@pytest.mark.parametrize("broken", [StaleReads, LooksThenPuts, ForgetsSomeDeletes])
def test_a_seeded_bug_is_caught(namespace: Namespace, broken: type[Broken]) -> None:
    assert any(not are_linearizable(histories_of(broken(namespace), seed)) for seed in SEEDS)
