"""Prefix lists of exactly 1,000 keys, of random groups, warm."""

from __future__ import annotations

from itertools import pairwise

from bench.compare import Key
from bench.data import GROUP, prefix_of, sample, values
from bench.measure import Stopwatch, quiet_heap
from bench.spec import Job, Outcome
from bench.workloads import steps


def measure(job: Job) -> Outcome:
    """List ``operations`` prefixes against the clock; one operation is one list."""
    engine = steps.opened(job)
    groups = sample(job.keys // GROUP, job.operations)
    prefixes = [engine.native(prefix_of(group)) for group in groups]
    engine.warm()
    share = steps.overlay_share(engine, job.keys)
    for prefix in prefixes:
        _check(engine.list(prefix, GROUP), prefix)
    rounds = max(1, job.operations // len(prefixes))
    quiet_heap()
    with Stopwatch() as watch:
        for _ in range(rounds):
            for prefix in prefixes:
                engine.list(prefix, GROUP)
    steps.check(engine, [group * GROUP for group in groups], values(job.value_bytes))
    engine.close()
    return Outcome(rounds * len(prefixes), watch.seconds, watch.other_cores, share)


def _check(keys: list[Key], prefix: Key) -> None:
    ascending = all(low < high for low, high in pairwise(keys))
    inside = all(key[: len(prefix)] == prefix for key in keys)
    if len(keys) != GROUP or not ascending or not inside:
        raise steps.WrongValueError(prefix)
