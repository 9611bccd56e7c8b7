"""Single gets of random keys from a store that was closed and opened again.

``variant`` "written": from a store that this very process has just filled, so
ours answers from the overlay and RocksDB partly from its memtable.
"""

from __future__ import annotations

from bench.data import key_at, sample, values
from bench.measure import Stopwatch, each, quiet_heap
from bench.spec import Job, Outcome
from bench.workloads import steps


def prepare(job: Job) -> Outcome:
    """Load the keys, settle them, close."""
    engine = steps.opened(job)
    steps.fill(engine, job.keys, values(job.value_bytes))
    engine.settle()
    engine.close()
    return Outcome(job.keys, 0.0)


def measure(job: Job) -> Outcome:
    """Get ``operations`` different keys once to warm up and once against the clock."""
    pool = values(job.value_bytes)
    engine = steps.opened(job)
    if job.variant == "written":
        steps.fill(engine, job.keys, pool)
    chosen = sample(job.keys, job.operations)
    keys = [engine.native(key_at(index)) for index in chosen]
    engine.warm()
    share = steps.overlay_share(engine, job.keys)
    rounds = max(1, job.operations // len(keys))  # few large values: read them again
    each(engine.get, keys)
    quiet_heap()
    with Stopwatch() as watch:
        for _ in range(rounds):
            each(engine.get, keys)
    steps.check(engine, chosen, pool)
    engine.close()
    return Outcome(rounds * len(keys), watch.seconds, watch.other_cores, share)
