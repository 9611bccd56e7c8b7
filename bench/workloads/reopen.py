"""Opening a store: how long until the first get is answered.

``prepare`` leaves what ``kill -9`` leaves in the worst case that rule 4 allows:
``operations`` records that no checkpoint has absorbed, and no close. Without it
the store was closed cleanly.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import msgspec

from bench.compare import start
from bench.data import key_at, scattered, values
from bench.measure import Stopwatch, backed_memory, quiet_heap
from bench.spec import Job, Outcome
from bench.workloads import steps

_BATCH = 100
_HELD_BYTES = 330  # of memory that an opening touches for a record that was not absorbed


def prepare(job: Job) -> Outcome:
    """Write with no upkeep, then end this process as ``kill -9`` does."""
    setting = msgspec.structs.replace(job.setting, upkeep=False)
    engine = start(job.engine, Path(job.folder), setting)
    steps.fill(engine, job.keys, values(job.value_bytes), _BATCH)
    os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(0, 0.0)


def measure(job: Job) -> Outcome:
    """Time open and the first get; imports are done before the clock starts."""
    pool = values(job.value_bytes)
    start(job.engine, Path(job.folder).with_name("imports"), job.setting).close()
    quiet_heap()
    backed_memory(job.keys * _HELD_BYTES)
    with Stopwatch() as watch:
        begun = time.perf_counter()
        engine = steps.opened(job)
        open_s = time.perf_counter() - begun
        engine.get(engine.native(key_at(job.keys // 2)))
    share = steps.overlay_share(engine, job.keys)
    steps.check(engine, list(scattered(0, job.keys)), pool)
    engine.close()
    figures = {
        "open_and_get_s": watch.seconds,
        "open_s": open_s,
        "processor_s": watch.processor_s,
    }
    return Outcome(1, watch.seconds, watch.other_cores, share, figures)
