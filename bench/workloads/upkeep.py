"""Durable puts one by one while every kind of upkeep has work, against the quiet store.

Before each tenth of the puts a third of the store is overwritten against no
clock, part of it to expire in a second: that makes work for checkpoints, sealing,
expiry and collection. ``variant`` "quiet" does the same with upkeep off;
otherwise upkeep runs by itself, as users have it. How much of the run was truly
busy is measured too (``busy_share``): a tenth counts when a checkpoint, a
collection, a split or a merge was at work during it.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import msgspec

from bench.compare import start
from bench.compare.ours import Ours, trace
from bench.data import scattered, values
from bench.measure import Stopwatch, quiet_heap
from bench.spec import Job, Outcome
from bench.workloads import steps

_SLICES = 10
_PART = 3  # of the keys are overwritten before each slice
_BATCH = 1_000
_EXPIRING = 10  # every so many batches of them is given a second to live


def measure(job: Job) -> Outcome:
    """Time the puts in tenths; before each, untimed, make work."""
    setting = msgspec.structs.replace(job.setting, upkeep=job.variant != "quiet")
    engine = cast("Ours", start(job.engine, Path(job.folder), setting))
    indexes = scattered(job.first, job.operations)
    items = list(steps.pairs(engine, indexes, values(job.value_bytes)))
    put, seconds, cores, busy = engine.put, 0.0, 0.0, 0
    for number, batch in enumerate(steps.batches(items, job.operations // _SLICES)):
        _wear(engine, job, number)
        before = trace(engine.store)
        quiet_heap()
        with Stopwatch() as watch:
            for key, value in batch:
                put(key, value)
        busy += trace(engine.store).moved_since(before)
        seconds, cores = seconds + watch.seconds, max(cores, watch.other_cores)
    engine.close()
    return Outcome(job.operations, seconds, cores, None, {"busy_share": busy / _SLICES})


def _wear(engine: Ours, job: Job, number: int) -> None:
    """Overwrite the next third of the store."""
    count = job.keys // _PART
    first = number % _PART * count
    pairs = steps.pairs(engine, scattered(first, count), values(job.value_bytes))
    for turn, batch in enumerate(steps.batches(pairs, _BATCH)):
        expiring = turn % _EXPIRING == 0
        engine.namespace.put_many(batch, ttl=1 if expiring else None)
