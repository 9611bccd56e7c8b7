"""A backup under four writers is a state between its start and its end.

Three writers count, first in a key on the left, then in one on the right, so in
every state of the store a left count is the right one or one ahead. The fourth
replaces a large object that spans buckets; it is of one round alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import holdfast
from holdfast.bucket.settings import Sync
from holdfast.store import Namespace

BUCKET_BYTES = 256 * 1024
LARGE_BYTES = 1_500_000
SELDOM = 20  # rounds of the fourth for each large object: replaced parts stay for an hour
COUNTERS = range(3)
ROUNDS = 251  # the large object's byte, modulo this


class Writers:
    """The four, and how far they have come."""

    def __init__(self, ns: Namespace) -> None:
        self.counts = [0, 0, 0, 0]
        self.failures: list[BaseException] = []
        self._ns = ns
        self._stop = threading.Event()
        for worker in COUNTERS:
            ns.put(f"a{worker}", b"0")
            ns.put(f"z{worker}", b"0")
        ns.put("large", bytes(LARGE_BYTES))

    def count(self, worker: int) -> None:
        """One round of a counter; a third key makes the store grow and leaves dead bytes."""
        told = b"%d" % self.counts[worker]
        self._ns.put(f"a{worker}", told)
        self._ns.put(f"z{worker}", told)
        self._ns.put(f"m{self.counts[worker] % 200:03d}", bytes(1_000))

    def replace(self, worker: int) -> None:
        """One round of the large object."""
        turn, rest = divmod(self.counts[worker], SELDOM)
        if rest:
            self._ns.put(f"n{rest}", bytes(1_000))
        else:
            self._ns.put("large", bytes([turn % ROUNDS]) * LARGE_BYTES)

    def write_on(self) -> None:
        """Wait until each has begun a round more: one that gets no turn writes beside nobody."""
        before = list(self.counts)
        for _ in range(6_000):
            if self.failures or all(
                now > was for now, was in zip(self.counts, before, strict=True)
            ):
                return
            threading.Event().wait(0.01)
        raise AssertionError

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let them write while the context lasts."""
        threads = [threading.Thread(target=self._run, args=(self.count, n)) for n in COUNTERS]
        threads.append(threading.Thread(target=self._run, args=(self.replace, 3)))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _run(self, write: Callable[[int], None], worker: int) -> None:
        try:
            while not self._stop.is_set():
                self.counts[worker] += 1
                write(worker)
        except BaseException as failure:  # noqa: BLE001 - told by the test's own thread
            self.failures.append(failure)


def judge(ns: Namespace, start: list[int], end: list[int]) -> None:
    """Hold a restored namespace against what was counted when the backup began and ended.

    A count is raised before it is written, so what was acknowledged is one less.
    """
    for worker in COUNTERS:
        left, right = (int(ns.get(f"{side}{worker}")) for side in "az")
        assert left - right in {0, 1}
        assert start[worker] - 1 <= left <= end[worker]
    large = ns.get("large")
    assert len(large) == LARGE_BYTES
    turns = range((start[3] - 1) // SELDOM, end[3] // SELDOM + 1)
    assert set(large) <= {turn % ROUNDS for turn in turns}
    assert len(set(large)) == 1


@pytest.mark.push
@pytest.mark.parametrize("sync", ["always", "never"])
def test_under_four_writers_it_is_a_state_between_start_and_end(tmp_path: Path, sync: Sync) -> None:
    spans = []
    with holdfast.open(tmp_path / "data", sync=sync, bucket_bytes=BUCKET_BYTES) as store:
        writers = Writers(store.namespace("acme"))
        with writers.running():
            for number in range(2):
                writers.write_on()
                start = list(writers.counts)
                store.backup(tmp_path / f"backup{number}")
                spans.append((start, list(writers.counts)))
        assert not writers.failures
    with holdfast.open(tmp_path / "data", upkeep=False, bucket_bytes=BUCKET_BYTES) as store:
        assert store.check().ok
    assert spans[-1][1] > spans[0][0]
    for number, (start, end) in enumerate(spans):
        holdfast.restore(tmp_path / f"backup{number}", tmp_path / f"again{number}")
        with holdfast.open(tmp_path / f"again{number}", upkeep=False) as again:
            judge(again.namespace("acme"), start, end)
            assert again.check().ok
