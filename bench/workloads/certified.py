"""Durable put_many into a store that is asked for proofs, against one that never was.

``variant`` "lazily": a first seal came before the clock starts and upkeep reads on in the log
by itself; the next proof is asked for when all is written, not counted. "sealed": another
thread seals every second. "plain": nobody ever asked for a proof.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import cast

from bench.compare.ours import Ours
from bench.data import scattered, values
from bench.measure import Stopwatch, each, quiet_heap
from bench.spec import Job, Outcome
from bench.workloads import steps
from holdfast.store import Store

_EVERY_S = 1.0


def measure(job: Job) -> Outcome:
    """Store ``operations`` new keys in batches against the clock."""
    pool = values(job.value_bytes)
    engine = cast("Ours", steps.opened(job))
    indexes = list(scattered(job.first, job.operations))
    groups = list(steps.batches(steps.pairs(engine, indexes, pool), job.batch))
    seals: list[int] = []
    if job.variant != "plain":
        engine.store.certifier.seal()
    quiet_heap()
    with _sealing(engine.store, seals, wanted=job.variant == "sealed"), Stopwatch() as watch:
        each(engine.put_many, groups)
    if job.variant != "plain":
        engine.store.certifier.seal()
    steps.check(engine, indexes, pool)
    engine.close()
    return Outcome(
        job.operations, watch.seconds, watch.other_cores, None, {"seals": float(len(seals))}
    )


@contextmanager
def _sealing(store: Store, seals: list[int], *, wanted: bool) -> Iterator[None]:
    """Seal every second from another thread, where that is wanted."""
    ended = Event()

    def run() -> None:
        while not ended.wait(_EVERY_S):
            seals.append(store.certifier.seal().root.revision)

    thread = Thread(target=run)
    if wanted:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if wanted:
            thread.join()
