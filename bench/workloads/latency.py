"""How long one put takes, at full speed, while the store grows, checkpoints and collects.

Half of the puts are new keys and half overwrite, so old segments die and are
collected, in buckets small enough to be left behind. A bare fdatasync loop runs
beside it as a witness: a put over a bound is excused only where that loop
stalled at the same time and for at least half as long.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from bench.beside import Call, Witness, stalled
from bench.compare import Engine, Pair
from bench.data import drawn, scattered, values
from bench.measure import Stopwatch, percentile, quiet_heap
from bench.spec import Job, Outcome
from bench.workloads import steps

_SLOW_NS = 5_000_000  # calls worth laying over the witness's


def measure(job: Job) -> Outcome:
    """Time ``operations`` puts one by one."""
    pool = values(job.value_bytes)
    engine = steps.opened(job)
    items = _items(job, engine, pool)
    witness = Witness(Path(job.folder).with_name("witness"))
    quiet_heap()
    with Stopwatch() as watch:
        taken, slow = _timed(engine, items)
    share = steps.overlay_share(engine, job.keys + job.operations)
    witnessed = witness.stop()
    engine.close()
    figures = _spread("", taken) | _spread("bare_", [lasted for _, lasted in witnessed])
    unexcused = [lasted for begun, lasted in slow if not stalled((begun, lasted), witnessed)]
    figures["unexcused_max_ms"] = max(unexcused, default=0) / 1e6
    figures["excused"] = float(len(slow) - len(unexcused))
    return Outcome(job.operations, watch.seconds, watch.other_cores, share, figures)


def _items(job: Job, engine: Engine, pool: Sequence[bytes]) -> list[Pair]:
    """New keys and overwritten ones in turns."""
    half = job.operations // 2
    new = steps.pairs(engine, scattered(job.first, half), pool)
    old = steps.pairs(engine, drawn(job.keys, half), pool)
    return [item for turn in zip(new, old, strict=True) for item in turn]


def _timed(engine: Engine, items: list[Pair]) -> tuple[list[int], list[Call]]:
    """Every duration in nanoseconds, and the slow calls with their start."""
    taken, slow = [], []
    put, now = engine.put, time.monotonic_ns
    for key, value in items:
        begun = now()
        put(key, value)
        lasted = now() - begun
        taken.append(lasted)
        if lasted > _SLOW_NS:
            slow.append((begun, lasted))
    return taken, slow


def _spread(name: str, taken: list[int]) -> dict[str, float]:
    ordered = sorted(taken) or [0]
    return {
        f"{name}p50_us": percentile(ordered, 0.5) / 1e3,
        f"{name}p99_us": percentile(ordered, 0.99) / 1e3,
        f"{name}p999_ms": percentile(ordered, 0.999) / 1e6,
        f"{name}max_ms": ordered[-1] / 1e6,
    }
