"""What the server tells Prometheus: counts and latencies of requests, and the state of the house.

Requests are counted in plain integers; the text is made when it is asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

if TYPE_CHECKING:
    from holdfast.server.site import Site

BOUNDS_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
BOUNDS_NS: Final = tuple(round(bound * 1e9) for bound in BOUNDS_S)


class Times:
    """How often something took how long: a histogram."""

    __slots__ = ("counts", "sum_ns")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_NS) + 1)
        self.sum_ns = 0

    def add(self, took_ns: int) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS_NS, took_ns)] += 1
        self.sum_ns += took_ns


class Metrics:
    """The counters of one server. Used on its loop.

    Args:
        site: whose state is told too.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._requests: dict[tuple[str, int], int] = {}
        self._times: dict[str, Times] = {}
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)

    def count(self, operation: str, status: int, took_ns: int) -> None:
        """Count one answered request."""
        named = (operation, status)
        self._requests[named] = self._requests.get(named, 0) + 1
        times = self._times.get(operation)
        if times is None:
            times = self._times[operation] = Times()
        times.add(took_ns)

    def text(self) -> bytes:
        """Everything, as Prometheus reads it. Reads the figures of the store: on a thread."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client."""
        counted = CounterMetricFamily(
            "holdfast_requests", "Requests answered", labels=["operation", "status"]
        )
        for (operation, status), count in list(self._requests.items()):
            counted.add_metric([operation, str(status)], count)
        yield counted
        took = HistogramMetricFamily(
            "holdfast_request_seconds", "From begun to answered", labels=["operation"]
        )
        for operation, times in list(self._times.items()):
            took.add_metric([operation], _cumulated(times), times.sum_ns / 1e9)
        yield took
        yield from self._state()

    def _state(self) -> Iterator[Metric]:
        site = self._site
        corridor = site.corridor
        told: dict[str, tuple[str, float]] = {
            "holdfast_connections": ("Connections that are open", site.connections()),
            "holdfast_writes_waiting": ("Writes that wait for their commit", site.lanes.count),
            "holdfast_buckets": ("Buckets of the store", len(corridor.directory)),
            "holdfast_live_bytes": (
                "Bytes of live records, about",
                sum(bucket.weight for bucket in corridor.directory),
            ),
            "holdfast_dead_letters": (
                "Queued writes that could not be stored",
                len(site.store.dead_letters()),
            ),
        }
        for name, (text, value) in told.items():
            yield GaugeMetricFamily(name, text, value=value)


def _cumulated(times: Times) -> list[tuple[str, float]]:
    buckets, total = [], 0
    for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), times.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
