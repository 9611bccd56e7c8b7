"""What the tests with threads share: threads that meet, and namespaces wrapped around others."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from holdfast.testing.model import ModelStore

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


class Interleaved(Broken):
    """Gives way to other threads inside every call, so that calls overlap on any machine."""

    def __getattr__(self, verb: str) -> Callable[..., object]:
        call = getattr(self.below, verb)

        def giving_way(*arguments: object, **options: object) -> object:
            give_way()
            answer = call(*arguments, **options)
            give_way()
            return answer

        return giving_way


def give_way() -> None:
    """Let go of the interpreter for a moment; no time is waited for."""
    time.sleep(0)


@contextmanager
def frequent_switches() -> Iterator[None]:
    """Threads of one interpreter take turns every 5 ms; here they do every 20 us."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(2e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def together(count: int, work: Callable[[int], object]) -> None:
    """Run ``work(number)`` on so many threads, which begin at one moment; raise what one raises."""
    start = threading.Barrier(count)
    failures: list[BaseException] = []

    def run(number: int) -> None:
        start.wait()
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    with frequent_switches():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
