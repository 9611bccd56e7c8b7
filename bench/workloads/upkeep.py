"""Durable puts one by one while every kind of upkeep has work, against the quiet store.

``prepare`` leaves a store with nothing absorbed, two thirds of its bytes dead and
expired keys, killed before any upkeep could run. ``variant`` "quiet" opens it
with upkeep off; otherwise upkeep runs by itself, as users have it. How much of
the run was truly busy is measured too: a tenth of the puts counts as busy when
the store's figures moved during it for another reason than the puts.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from bench.compare import start
from bench.data import scattered, values
from bench.measure import Stopwatch, quiet_heap
from bench.spec import Job, Outcome
from bench.workloads import steps

if TYPE_CHECKING:
    from bench.compare.ours import Ours

_ROUNDS = 3  # each key is written this often: two thirds of the log are dead
_SLICES = 10


def prepare(job: Job) -> Outcome:
    """Write every key ``_ROUNDS`` times, the first tenth to expire, then die."""
    setting = msgspec.structs.replace(job.setting, durability="never", upkeep=False)
    engine = cast("Ours", start(job.engine, Path(job.folder), setting))
    pool = values(job.value_bytes)
    for _ in range(_ROUNDS):
        steps.fill(engine, job.keys, pool)
    for key, value in steps.pairs(engine, range(job.keys // 10), pool):
        engine.namespace.put(key, value, ttl=1)
    os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(0, 0.0)


def measure(job: Job) -> Outcome:
    """Time the puts in tenths; between them, untimed, look what upkeep did."""
    setting = msgspec.structs.replace(job.setting, upkeep=job.variant != "quiet")
    engine = cast("Ours", start(job.engine, Path(job.folder), setting))
    indexes = list(scattered(job.first, job.operations))
    items = list(steps.pairs(engine, indexes, values(job.value_bytes)))
    put, seconds, cores, busy = engine.put, 0.0, 0.0, 0
    seen = _work(engine)
    quiet_heap()
    for batch in steps.batches(items, job.operations // _SLICES):
        with Stopwatch() as watch:
            for key, value in batch:
                put(key, value)
        seconds, cores = seconds + watch.seconds, max(cores, watch.other_cores)
        seen, before = _work(engine), seen
        busy += seen != before
    engine.close()
    return Outcome(job.operations, seconds, cores, None, {"busy_share": busy / _SLICES})


def _work(engine: Ours) -> tuple[int, int]:
    """What only upkeep makes smaller: dead bytes, and what the overlay holds beyond the puts."""
    status = engine.store.status()
    return status.dead_bytes, len(status.buckets)
