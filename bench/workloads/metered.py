"""Durable put_many and gets of a namespace that pays, against one that is free.

``variant`` says what and how: "put" and "get" of a namespace with the tariff ``enclave`` and a
balance, "put-free" and "get-free" without. Upkeep charges the reads, posts and refills by itself
meanwhile, as it does for everybody. Gets are of a store that was closed and opened again.
"""

from __future__ import annotations

from typing import cast

from bench.compare.ours import Ours
from bench.data import scattered, values
from bench.measure import Stopwatch, backed_memory, each, quiet_heap
from bench.spec import Job, Outcome
from bench.workloads import steps

_BALANCE = 10**21  # a thousand dollars in 10^-18 USD
_TIMES = 2  # what is put or read: in the log, and in the memory that keeps it near


def measure(job: Job) -> Outcome:
    """Store new keys in batches, or get them all in another order, against the clock."""
    what, _, free = (job.variant or "").partition("-")
    pool = values(job.value_bytes)
    engine = cast("Ours", steps.opened(job))
    if not free:
        engine.store.accounts.deposit(engine.namespace.name, _BALANCE, "bench")
        engine.namespace.configure(tariff="enclave")
    indexes = list(scattered(job.first, job.operations))
    pairs = list(steps.pairs(engine, indexes, pool))
    groups = list(steps.batches(pairs, job.batch))
    keys = [key for key, _ in pairs]
    if what == "get":
        each(engine.put_many, groups)
        engine.close()  # what the load left upkeep to do is not the gets'
        engine = cast("Ours", steps.opened(job))
        engine.warm()
    quiet_heap()
    backed_memory(_TIMES * job.operations * job.value_bytes)
    with Stopwatch() as watch:
        if what == "get":
            each(engine.get, keys)
        else:
            each(engine.put_many, groups)
    figures = {"processor_us": watch.processor_s / job.operations * 1e6}
    if not free:
        figures["charged"] = float(engine.namespace.usage().cost_atto)
    steps.check(engine, indexes, pool)
    engine.close()
    return Outcome(job.operations, watch.seconds, watch.other_cores, None, figures)
