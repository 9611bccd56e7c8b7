"""Locks under threads: one holder at a time, fences that grow, and no write of one who lost it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import NamedTuple

import pytest

from holdfast.errors import FenceTooOld, LockHeld, LockLost
from holdfast.testing.linearizability import HistoryRecorder, Operation, check_history
from tests.linearizability.driving import Broken, Interleaved, Namespace, together

THREADS = 5
ROUNDS = 40
SEEDS = range(3)
PATIENCE_S = 60  # for whoever holds the lock, or gives it back


class LockState(NamedTuple):
    """The fence of the holder, and the highest fence that was given."""

    holder: int | None
    floor: int


class LockModel:
    """One lease: ``("lock",)`` answers a fence or None, ``("unlock", fence)`` and
    ``("write", fence)`` whether that fence holds."""

    def first(self) -> LockState:
        return LockState(None, -1)

    def step(self, state: LockState, operation: Operation) -> LockState | None:
        verb, answer = operation.call[0], operation.answer
        if verb == "lock":
            if not isinstance(answer, int):
                return None if state.holder is None else state
            free = state.holder is None and answer > state.floor
            return LockState(answer, answer) if free else None
        holds = state.holder == operation.call[1]
        if answer != holds:
            return None
        return LockState(None, state.floor) if holds and verb == "unlock" else state


class Contest:
    """Threads that want one lock; who was refused waits until it is given back, or just before.

    Or the others would use up their rounds while one waits for the disk.
    """

    def __init__(self, namespace: Namespace, recorder: HistoryRecorder) -> None:
        self.namespace = namespace
        self.recorder = recorder
        self.count = 0
        self._moved = threading.Condition()

    def move(self) -> None:
        with self._moved:
            self.count += 1
            self._moved.notify_all()

    def wait(self, seen: int) -> None:
        with self._moved:
            moved = self._moved.wait_for(lambda: self.count > seen, PATIENCE_S)
        assert moved, "refused, and nobody gives the lock back"


def work(contest: Contest, seed: int, process: int) -> None:
    chance, key = random.Random(f"{seed}/{process}"), f"lock/{seed}"
    ns, recorder = Interleaved(contest.namespace), contest.recorder

    def tell(call: tuple[object, ...], make: Callable[[], object]) -> object:
        pending = recorder.begin(process, key, call)
        try:
            answer = make()
        except LockHeld:
            answer = None
        except (LockLost, FenceTooOld):
            answer = False
        pending.ok(answer)
        return answer

    def locked() -> int:
        held.append(ns.lock(key, ttl=3_600))
        return int(held[-1].fence)

    held: list[Namespace] = []
    for _ in range(ROUNDS):
        seen = contest.count
        if tell(("lock",), locked) is None:
            contest.wait(seen)
            continue
        lock = held[-1]
        for fence in (lock.fence, chance.choice(held).fence):
            tell(("write", fence), lambda fence=fence: bool(ns.put(key, b"1", fence=fence)))  # type: ignore[misc]
        contest.move()
        tell(("unlock", lock.fence), lambda lock=lock: ns.unlock(key, lock.id) is None)  # type: ignore[misc]
        contest.move()


def is_exclusive(namespace: Namespace, seed: int) -> bool:
    contest = Contest(namespace, HistoryRecorder())
    together(THREADS, lambda process: work(contest, seed, process))
    (history,) = contest.recorder.histories().values()
    assert sum(isinstance(operation.answer, int) for operation in history) > ROUNDS // 2
    return check_history(history, LockModel()).linearizable


class TwoHolders(Broken):
    """Hands out a lock that somebody else holds, now and then."""

    def __init__(self, below: Namespace) -> None:
        super().__init__(below)
        self.refused = 0
        self.holder: Namespace = None

    def lock(self, key: str, *, ttl: float) -> object:
        try:
            self.holder = self.below.lock(key, ttl=ttl)
        except LockHeld:
            self.refused += 1
            if self.refused % 5:
                raise
        return self.holder


def test_there_is_one_holder_at_a_time(namespace: Namespace) -> None:
    for seed in SEEDS:
        assert is_exclusive(namespace, seed), f"seed {seed}"


@pytest.mark.nightly
@pytest.mark.timeout(3_600)
def test_by_night_there_is_one_holder_at_a_time(namespace: Namespace) -> None:
    for seed in range(500):
        assert is_exclusive(namespace, seed), f"seed {seed}"


def test_two_holders_are_caught(namespace: Namespace) -> None:
    assert any(not is_exclusive(TwoHolders(namespace), seed) for seed in SEEDS)
