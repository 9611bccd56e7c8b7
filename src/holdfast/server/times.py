"""How often something took how long: a histogram that is quick to add to."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

BOUNDS_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
BOUNDS_NS: Final = tuple(round(bound * 1e9) for bound in BOUNDS_S)


class Times:
    """How often something took how long.

    ``counts`` has one more than there are bounds: what took longer than all of them.
    """

    __slots__ = ("counts", "sum_ns")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_NS) + 1)
        self.sum_ns = 0

    def add(self, took_ns: int) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS_NS, took_ns)] += 1
        self.sum_ns += took_ns


def cumulated(counts: list[int]) -> list[tuple[str, float]]:
    """Counts as Prometheus wants them: each with all below its bound."""
    buckets, total = [], 0
    for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
