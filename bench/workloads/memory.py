"""Anonymous memory a key: what the index costs that the page cache cannot take back.

Counted from a process that only imported the engine; the greater of the highest
sample while loading (``prepare``) and of a store opened again and read from. Keys
are made one by one and thrown away, so none of them is counted.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

from bench.compare import Engine, start
from bench.data import key_at, scattered, values
from bench.measure import Stopwatch, anonymous_bytes, each
from bench.spec import Job, Outcome
from bench.workloads import steps

_BATCH = 1_000
_SAMPLES = 200


def measure(job: Job) -> Outcome:
    """Load ``keys`` from nothing, close, open, read; sample memory on the way."""
    pool = values(job.value_bytes)
    start(job.engine, Path(job.folder).with_name("imports"), job.setting).close()
    gc.collect()
    floor = anonymous_bytes()
    with Stopwatch() as watch:
        engine = steps.opened(job)
        loading = _load(engine, job.keys, pool)
        engine.close()
    engine = steps.opened(job)
    chosen = scattered(0, job.keys)
    each(engine.get, (engine.native(key_at(next(chosen))) for _ in range(job.operations)))
    gc.collect()
    reading = anonymous_bytes()
    share = steps.overlay_share(engine, job.keys)
    engine.close()
    figures = {
        "loading_bytes_per_key": (loading - floor) / job.keys,
        "reopened_bytes_per_key": (reading - floor) / job.keys,
        "worst_bytes_per_key": (max(loading, reading) - floor) / job.keys,
    }
    return Outcome(job.keys, watch.seconds, watch.other_cores, share, figures)


def _load(engine: Engine, keys: int, pool: Sequence[bytes]) -> int:
    """Store the keys and answer the highest of ``_SAMPLES`` memory samples."""
    highest = 0
    every = max(1, keys // _BATCH // _SAMPLES)
    source = steps.pairs(engine, scattered(0, keys), pool)
    for number, batch in enumerate(steps.batches(source, _BATCH)):
        engine.put_many(batch)
        if number % every == 0:
            highest = max(highest, anonymous_bytes())
    return max(highest, anonymous_bytes())
