"""Proofs: absorbing changes into the tree, making proofs of single keys, verifying them.

A first seal of the empty store comes before the clock starts, so what is timed is the way
that a store in use goes: replaying what was written since the last seal. Makes and verifies
are timed one by one, of keys drawn all over the bucket; their medians are told, and the
largest proof. ``verify`` remembers roots whose signature held: "verify_p50_ms" is of one proof
alone, with nothing remembered, "known_p50_ms" of one whose root was met before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import TypeVar

from bench.data import key_at, scattered, values
from bench.measure import Stopwatch, quiet_heap
from bench.spec import Job, Outcome
from bench.workloads import steps
from holdfast.certify import roots
from holdfast.certify.cose import public_key as read_key
from holdfast.certify.verify import Verified, verify
from holdfast.store import Namespace, Store
from holdfast.values import Proven

T = TypeVar("T")
_BATCH = 1_000
_PROOFS = 500


def measure(job: Job) -> Outcome:
    """Absorb ``operations`` keys; then prove and verify some of them."""
    pool = values(job.value_bytes)
    engine = steps.opened(job)
    store: Store = engine.store  # type: ignore[attr-defined] # only ours proves
    namespace: Namespace = engine.namespace  # type: ignore[attr-defined]
    public_key = read_key(store.public_key())
    store.certifier.seal()
    chosen = list(scattered(0, job.operations))
    for batch in steps.batches(steps.pairs(engine, chosen, pool), _BATCH):
        engine.put_many(batch)
    quiet_heap()
    with Stopwatch() as watch:
        store.certifier.seal()
    keys = [key_at(index) for index in chosen[:: max(1, len(chosen) // _PROOFS)]]
    made, making_ms = _timed([_making(namespace, key) for key in keys])
    of = [(namespace.name, key) for key in keys]
    steps.check(engine, chosen, pool)
    engine.close()  # whoever verifies has no store, and no upkeep beside
    checks = [_verifying(*pair, public_key) for pair in zip(made, of, strict=True)]
    _, verifying_ms = _timed(checks, roots.verified.cache_clear)
    _, known_ms = _timed(checks)
    figures = {
        "absorbed_per_s": job.operations / watch.seconds,
        "make_p50_ms": making_ms,
        "verify_p50_ms": verifying_ms,
        "known_p50_ms": known_ms,
        "proof_max_bytes": float(max(len(one.proof) for one in made)),
    }
    return Outcome(job.operations, watch.seconds, watch.other_cores, None, figures)


def _making(namespace: Namespace, key: str) -> Callable[[], Proven]:
    return lambda: namespace.prove(key, sealed=True)


def _verifying(proven: Proven, of: tuple[str, str], public_key: object) -> Callable[[], Verified]:
    name, key = of
    return lambda: verify(name, key, proven.value, proven.proof, public_key=public_key)


def _timed(
    calls: list[Callable[[], T]], before: Callable[[], object] = bool
) -> tuple[list[T], float]:
    """What each call answered, and the median of what they took in milliseconds.

    ``before`` is called before each, and not counted.
    """
    answers, took = [], []
    for call in calls:
        before()
        begun = time.perf_counter_ns()
        answers.append(call())
        took.append((time.perf_counter_ns() - begun) / 1e6)
    return answers, median(took)
