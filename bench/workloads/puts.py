"""Puts of new keys in scattered order: one by one, or ``batch`` at a time.

``variant`` "closed": the clock stops after ``close``, so every checkpoint and
flush that the writes owe is counted.
"""

from __future__ import annotations

from bench.compare import Engine, Pair
from bench.data import scattered, values
from bench.measure import Stopwatch, backed_memory, each, quiet_heap
from bench.spec import Job, Outcome
from bench.workloads import steps

_TIMES = 4  # what is put: in the log, in tables in memory and on disk, and some more


def measure(job: Job) -> Outcome:
    """Store ``operations`` new keys against the clock; read some back afterwards."""
    pool = values(job.value_bytes)
    engine = steps.opened(job)
    indexes = list(scattered(job.first, job.operations))
    items = list(steps.pairs(engine, indexes, pool))
    groups = list(steps.batches(items, job.batch)) if job.batch > 1 else []
    quiet_heap()
    backed_memory(_TIMES * job.operations * job.value_bytes)
    with Stopwatch() as watch:
        _put(engine, items, groups)
        if job.variant == "closed":
            engine.close()
    if job.variant == "closed":
        engine = steps.opened(job)
    share = steps.overlay_share(engine, job.first + job.operations)
    if job.engine != "bare":
        steps.check(engine, indexes, pool)
    engine.close()
    spent = {"processor_us": watch.processor_s / job.operations * 1e6}
    return Outcome(job.operations, watch.seconds, watch.other_cores, share, spent)


def _put(engine: Engine, items: list[Pair], groups: list[list[Pair]]) -> None:
    if groups:
        each(engine.put_many, groups)
        return
    put = engine.put
    for key, value in items:
        put(key, value)
