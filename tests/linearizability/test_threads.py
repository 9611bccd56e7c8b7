"""Threads on few keys: what they were told must fit one order; seeded bugs must not."""

from __future__ import annotations

import importlib
import itertools
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import NotFound, VersionMismatch
from holdfast.testing.linearizability import (
    HistoryRecorder,
    KeyModel,
    Operation,
    RecordedNamespace,
    check_history,
)
from holdfast.testing.model import ModelStore

KEYS = ["a", "a/b", "b", "\u00e9"]
THREADS = 6
OPERATIONS = 120  # of each thread; 180 for each key, which the checker judges in milliseconds

# The store's, the model's and broken ones around them: known by shape, not by type.
Namespace = Any


class OneAtATime:
    """The model behind one lock: linearizable by construction, and free of the store."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.below = ModelStore().namespace("acme")

    def __getattr__(self, verb: str) -> Callable[..., object]:
        call = getattr(self.below, verb)

        def alone(*arguments: object, **options: object) -> object:
            with self.guard:
                return call(*arguments, **options)

        return alone


class Broken:
    """A namespace with one verb gone wrong."""

    def __init__(self, below: Namespace) -> None:
        self.below = below

    def __getattr__(self, verb: str) -> object:
        return getattr(self.below, verb)


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
            breathe()
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


def breathe() -> None:
    """Let the other threads come first, without waiting for time."""
    for _ in range(2_000):
        pass


@contextmanager
def frequent_switches() -> Iterator[None]:
    """Threads of one interpreter take turns every 5 ms; here they do every 20 us."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(2e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def work(namespace: Namespace, recorder: HistoryRecorder, process: int, seed: int) -> None:
    chance = random.Random(f"{seed}/{process}")
    recorded = RecordedNamespace(namespace, recorder, process)
    for step in range(OPERATIONS):
        key, value = chance.choice(KEYS), (b"%d/%d " % (process, step)).ljust(1_024, b".")
        verb = chance.choice(["get", "get", "get", "put", "cas", "cas", "delete"])
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


def histories_of(namespace: Namespace, seed: int = 1) -> dict[str, list[Operation]]:
    recorder = HistoryRecorder()
    threads = [
        threading.Thread(target=work, args=(namespace, recorder, process, seed))
        for process in range(THREADS)
    ]
    with frequent_switches():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    histories = recorder.histories()
    assert sum(map(len, histories.values())) == THREADS * OPERATIONS
    return histories


def are_linearizable(histories: dict[str, list[Operation]]) -> bool:
    return all(check_history(history, KeyModel()).linearizable for history in histories.values())


@pytest.fixture(params=["model", "memory", "disk", "small buckets"])
def namespace(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Namespace]:
    if request.param == "model":
        yield OneAtATime()
        return
    holdfast = importlib.import_module("holdfast")
    where = ":memory:" if request.param == "memory" else tmp_path / "data"
    options = {"bucket_bytes": 64 * 1024} if request.param == "small buckets" else {}
    with holdfast.open(where, **options) as store:
        yield store.namespace("acme")


def test_threads_see_one_order(namespace: Namespace) -> None:
    histories = histories_of(namespace)
    overlapping = sum(
        later.began < earlier.ended
        for history in histories.values()
        for earlier, later in itertools.pairwise(history)
    )
    assert overlapping > 10, "the threads did not meet, so nothing was tested"
    assert are_linearizable(histories)


@pytest.mark.parametrize("broken", [StaleReads, LooksThenPuts, ForgetsSomeDeletes])
def test_a_seeded_bug_is_caught(namespace: Namespace, broken: type[Broken]) -> None:
    assert any(not are_linearizable(histories_of(broken(namespace), seed)) for seed in range(5))
