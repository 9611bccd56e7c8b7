"""Durable put_many and gets of a namespace that pays, against one that is free.

``variant`` says what and how. "put" is of a namespace with the tariff ``enclave`` and a balance,
"put-free" of one without. Upkeep charges, posts and refills by itself meanwhile, as it does for
everybody. "get" is of two stores in one process, which were closed and opened again: one pays.
They are asked in turns for the same keys, so that the moments in which a machine is slow are
those of both, and the turn of the one that pays ends when all it read is charged.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple, cast

from bench.compare import start
from bench.compare.ours import Ours
from bench.data import scattered, values
from bench.measure import Stopwatch, backed_memory, each, quiet_heap
from bench.spec import Job, Outcome
from bench.workloads import steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.compare import Key

_BALANCE = 10**21  # a thousand dollars in 10^-18 USD
_TIMES = 2  # what is put or read: in the log, and in the memory that keeps it near
_TURNS = 10  # each of them of a tenth of the keys
_ROUNDS = 2


def measure(job: Job) -> Outcome:
    """Store new keys in batches, or get them all in another order, against the clock."""
    return _gets(job) if job.variant == "get" else _puts(job)


def _puts(job: Job) -> Outcome:
    pays = job.variant == "put"
    pool = values(job.value_bytes)
    engine = cast("Ours", steps.opened(job))
    if pays:
        _charge(engine)
    indexes = list(scattered(job.first, job.operations))
    groups = list(steps.batches(list(steps.pairs(engine, indexes, pool)), job.batch))
    quiet_heap()
    backed_memory(_TIMES * job.operations * job.value_bytes)
    with Stopwatch() as watch:
        each(engine.put_many, groups)
    figures = {"processor_us": watch.processor_s / job.operations * 1e6}
    if pays:
        figures["charged"] = float(engine.namespace.usage().cost_atto)
    steps.check(engine, indexes, pool)
    engine.close()
    return Outcome(job.operations, watch.seconds, watch.other_cores, None, figures)


class _Turn(NamedTuple):
    """Seconds for the same gets."""

    free: float
    pays: float


def _gets(job: Job) -> Outcome:
    pool = values(job.value_bytes)
    indexes = list(scattered(job.first, job.operations))
    free, pays = (_loaded(job, indexes, pool, pays=pays) for pays in (False, True))
    keys = [key for key, _ in steps.pairs(pays, indexes, pool)]
    size = max(1, len(keys) // _TURNS)
    parts = [keys[at : at + size] for at in range(0, len(keys), size)]
    quiet_heap()
    backed_memory(2 * _TIMES * job.operations * job.value_bytes)
    with Stopwatch() as watch:
        turns = [_turn(free, pays, part, n) for n, part in enumerate(_ROUNDS * parts)]
    figures = {
        "of_free_ratio": median(turn.free / turn.pays for turn in turns),
        "charged": float(pays.namespace.usage().cost_atto),
    }
    for engine in (free, pays):
        steps.check(engine, indexes, pool)
        engine.close()
    seconds = sum(turn.pays for turn in turns)
    return Outcome(_ROUNDS * len(keys), seconds, watch.other_cores, None, figures)


def _loaded(job: Job, indexes: list[int], pool: Sequence[bytes], *, pays: bool) -> Ours:
    """A store that holds what is read, opened anew: what the load left to do is not the gets'."""
    folder = Path(job.folder) / ("pays" if pays else "free")
    folder.mkdir(parents=True, exist_ok=True)
    engine = cast("Ours", start(job.engine, folder, job.setting))
    if pays:
        _charge(engine)
    each(engine.put_many, steps.batches(steps.pairs(engine, indexes, pool), job.batch))
    engine.close()
    engine = cast("Ours", start(job.engine, folder, job.setting))
    engine.warm()
    return engine


def _charge(engine: Ours) -> None:
    engine.store.accounts.deposit(engine.namespace.name, _BALANCE, "bench")
    engine.namespace.configure(tariff="enclave")


def _turn(free: Ours, pays: Ours, keys: list[Key], number: int) -> _Turn:
    """Both get the same keys; which of them does first alternates."""
    took = {}
    for engine in (free, pays) if number % 2 else (pays, free):
        begun = time.perf_counter()
        each(engine.get, keys)
        if engine is pays:
            engine.store.placement.settings.lags.catch_up()
        took[engine] = time.perf_counter() - begun
    return _Turn(took[free], took[pays])
