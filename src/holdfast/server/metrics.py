"""What the server tells Prometheus: counts and latencies of requests, and the state of the house.

Requests are counted in plain integers; the text is made when it is asked for. Where several
processes serve one store, each tells the sum of all of them (figures.py), and what is each
one's share of it under the label ``worker``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from holdfast.server.figures import Figures, total
from holdfast.server.times import Times, cumulated
from holdfast.values import ATTO_DIGITS

if TYPE_CHECKING:
    from holdfast.server.site import Site


USD: Final = 10**ATTO_DIGITS  # as 10^-18 of it


class Tally:
    """Requests of one operation that ended with one status, and how long they took."""

    __slots__ = ("_times", "count")

    def __init__(self, times: Times) -> None:
        self.count = 0
        self._times = times

    def add(self, took_ns: int) -> None:
        """Count one."""
        self.count += 1
        self._times.add(took_ns)


class Metrics:
    """The counters of one server. Used on its loop.

    Args:
        site: whose state is told too.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._requests: dict[tuple[str, int], Tally] = {}
        self._times: dict[str, Times] = {}
        self._life = site.store.entropy.bytes(8).hex()

    def count(self, operation: str, status: int, took_ns: int) -> None:
        """Count one answered request."""
        tally = self._requests.get((operation, status)) or self.tally(operation, status)
        tally.add(took_ns)

    def tally(self, operation: str, status: int) -> Tally:
        """Where requests of a kind are counted."""
        times = self._times.setdefault(operation, Times())
        return self._requests.setdefault((operation, status), Tally(times))

    def figures(self) -> Figures:
        """What this process has counted, and holds. Reads figures of the store: on a thread."""
        site = self._site
        buckets = list(site.corridor.directory)
        requests: dict[str, dict[int, int]] = {}
        for (operation, status), tally in list(self._requests.items()):
            if tally.count:
                requests.setdefault(operation, {})[status] = tally.count
        times = list(self._times.items())
        low_events, reserve_atto = site.store.seen_reserve()
        return Figures(
            self._life,
            requests,
            {operation: list(one.counts) for operation, one in times},
            {operation: one.sum_ns for operation, one in times},
            site.connections(),
            site.lanes.count,
            len(buckets),
            sum(bucket.weight for bucket in buckets),
            site.store.soon.died(),
            sum(site.store.search_behind().values()),
            low_events,
            reserve_atto / USD,
            len(site.store.upkeep.scrub.problems),
            site.store.upkeep.failures.total,
        )


def text_of(workers: Sequence[Figures]) -> bytes:
    """The figures of all processes of a store, as Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Text(workers))
    return generate_latest(registry)


class Text:
    """Figures for prometheus_client.

    Args:
        workers: those of each process.
    """

    def __init__(self, workers: Sequence[Figures]) -> None:
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client."""
        whole = total(self._workers)
        yield _requests(whole)
        yield _times(whole)
        low = "Times that an account was found low, at most one a minute for each"
        yield CounterMetricFamily("holdfast_balance_low", low, value=whole.low_events)
        failed = "Times that upkeep failed at something, or its scrub found damage"
        yield CounterMetricFamily("holdfast_upkeep_failures", failed, value=whole.upkeep_failures)
        told: dict[str, tuple[str, float]] = {
            "holdfast_connections": ("Connections that are open", whole.connections),
            "holdfast_writes_waiting": ("Writes that wait for their commit", whole.waiting),
            "holdfast_buckets": ("Buckets of the store", whole.buckets),
            "holdfast_live_bytes": ("Bytes of live records, about", whole.live_bytes),
            "holdfast_dead_letters": (
                "Queued writes that could not be stored",
                whole.dead_letters,
            ),
            "holdfast_search_behind": (
                "Records that search indexes have not absorbed",
                whole.search_behind,
            ),
            "holdfast_scrub_problems": (
                "What the scrub found damaged since the processes began",
                whole.scrub_problems,
            ),
            "holdfast_reserve_usd": ("What the operator's reserve has, about", whole.reserve_usd),
        }
        for name, (text, value) in told.items():
            yield GaugeMetricFamily(name, text, value=value)
        yield from self._shares()

    def _shares(self) -> Iterator[Metric]:
        """What each process has of it."""
        answered = CounterMetricFamily(
            "holdfast_worker_requests", "Requests that one process answered", labels=["worker"]
        )
        told = {
            "holdfast_worker_up": ("Whether the process answered", "up"),
            "holdfast_worker_connections": ("Connections of one process", "connections"),
            "holdfast_worker_writes_waiting": ("Writes that wait in one process", "waiting"),
            "holdfast_worker_buckets": ("Buckets that one process holds", "buckets"),
            "holdfast_worker_live_bytes": ("Bytes of live records there, about", "live_bytes"),
        }
        gauges = {
            name: GaugeMetricFamily(name, text, labels=["worker"])
            for name, (text, _) in told.items()
        }
        for number, worker in enumerate(self._workers):
            answered.add_metric([str(number)], worker.answered)
            for name, (_, field) in told.items():
                gauges[name].add_metric([str(number)], float(getattr(worker, field)))
        yield answered
        yield from gauges.values()


def _requests(whole: Figures) -> Metric:
    counted = CounterMetricFamily(
        "holdfast_requests", "Requests answered", labels=["operation", "status"]
    )
    for operation, by_status in whole.requests.items():
        for status, count in by_status.items():
            counted.add_metric([operation, str(status)], count)
    return counted


def _times(whole: Figures) -> Metric:
    took = HistogramMetricFamily(
        "holdfast_request_seconds", "From begun to answered", labels=["operation"]
    )
    for operation, counts in whole.times.items():
        took.add_metric([operation], cumulated(counts), whole.sums_ns.get(operation, 0) / 1e9)
    return took
