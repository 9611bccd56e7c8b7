"""What one process counts of its requests and its ranges, and how those of several are added.

A counter must only grow, or whoever reads it takes the fall for a new beginning. So of a
process that ended, what it was last seen to have counted is kept, and what its successor
counts is added to that.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from holdfast.server.times import BOUNDS_NS


class Figures(msgspec.Struct):
    """The figures of one process.

    Args:
        life: names the process; another one in its place has another.
        requests: how many were answered, by operation and status.
        times: how often an operation took how long, by the bounds of the histogram.
        sums_ns: how long all of an operation took together.
        connections: that are open.
        waiting: writes that wait for their commit.
        buckets: that it holds, and ``live_bytes`` of their live records, about.
        dead_letters: queued writes that could not be stored.
        search_behind: records that search indexes have not absorbed.
        low_events: how often an account was told to be low.
        reserve_usd: the operator's reserve, where the books are kept.
        scrub_problems: what the scrub found damaged; ``upkeep_failures``: how often upkeep failed.
        up: whether it answered.
    """

    life: str = ""
    requests: dict[str, dict[int, int]] = {}
    times: dict[str, list[int]] = {}
    sums_ns: dict[str, int] = {}
    connections: int = 0
    waiting: int = 0
    buckets: int = 0
    live_bytes: int = 0
    dead_letters: int = 0
    search_behind: int = 0
    low_events: int = 0
    reserve_usd: float = 0.0
    scrub_problems: int = 0
    upkeep_failures: int = 0
    up: bool = True

    @property
    def answered(self) -> int:
        """All requests."""
        return sum(sum(by_status.values()) for by_status in self.requests.values())


def total(all_of_them: Iterable[Figures]) -> Figures:
    """The sum of the figures of several processes.

    Example:
        >>> one, other = Figures(requests={"load": {200: 1}}), Figures(requests={"load": {200: 2}})
        >>> total([one, other]).requests
        {'load': {200: 3}}
    """
    told = Figures()
    for one in all_of_them:
        _count_in(told, one)
        told.connections += one.connections
        told.waiting += one.waiting
        told.buckets += one.buckets
        told.live_bytes += one.live_bytes
        told.dead_letters += one.dead_letters
        told.search_behind += one.search_behind
        told.reserve_usd += one.reserve_usd
        told.scrub_problems += one.scrub_problems
    return told


def _count_in(told: Figures, one: Figures) -> None:
    """Add counters, which only grow."""
    for operation, by_status in one.requests.items():
        known = told.requests.setdefault(operation, {})
        for status, count in by_status.items():
            known[status] = known.get(status, 0) + count
    for operation, counts in one.times.items():
        so_far = told.times.get(operation) or [0] * (len(BOUNDS_NS) + 1)
        told.times[operation] = [a + b for a, b in zip(so_far, counts, strict=True)]
    for operation, took_ns in one.sums_ns.items():
        told.sums_ns[operation] = told.sums_ns.get(operation, 0) + took_ns
    told.low_events += one.low_events
    told.upkeep_failures += one.upkeep_failures


class Place:
    """One process after another in the same place: their counters together."""

    def __init__(self) -> None:
        self._before = Figures()  # of processes that have ended
        self._last = Figures()

    def seen(self, found: Figures | None) -> Figures:
        """The figures of the place, from those of its process; None where it does not answer."""
        if found is None:
            found = Figures(life=self._last.life, up=False)
            _count_in(found, self._last)
        elif found.life != self._last.life:
            _count_in(self._before, self._last)
        self._last = found
        told = msgspec.structs.replace(
            found, requests={}, times={}, sums_ns={}, low_events=0, upkeep_failures=0
        )
        _count_in(told, self._before)
        _count_in(told, found)
        return told
