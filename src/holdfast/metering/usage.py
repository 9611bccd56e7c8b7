"""Hourly counters: what each namespace asked for, and what it was charged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

HOUR_NS: Final = 3_600_000_000_000
HOURS_KEPT: Final = 48
SPACES_KEPT: Final = 100_000  # of one hour; what comes beyond is counted together
OTHERS: Final = "*"


class Hour:
    """One namespace in one hour: requests, bytes that came in and went out, the charge."""

    __slots__ = ("cost_atto", "in_bytes", "out_bytes", "requests")

    def __init__(self) -> None:
        self.requests = self.in_bytes = self.out_bytes = self.cost_atto = 0


class Usage:
    """Counts by namespace and hour. Used from one thread.

    Args:
        now_ns: nanoseconds since 1970.

    Example:
        >>> usage = Usage(lambda: 7 * HOUR_NS)
        >>> usage.count("acme", in_bytes=10, out_bytes=0, cost_atto=0)
        >>> usage.hour("acme", 7).requests
        1
    """

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._hours: dict[int, dict[str, Hour]] = {}
        self._number = -1
        self._spaces: dict[str, Hour] = {}
        self.tick()

    def tick(self) -> None:
        """Take note of the time; called more often than once an hour."""
        number = self._now_ns() // HOUR_NS
        if number != self._number:
            self._number = number
            self._spaces = self._hours.setdefault(number, {})
            for past in [hour for hour in self._hours if hour <= number - HOURS_KEPT]:
                del self._hours[past]

    def count(self, namespace: str, *, in_bytes: int, out_bytes: int, cost_atto: int) -> None:
        """Count one request of a namespace."""
        hour = self._spaces.get(namespace)
        if hour is None:
            if len(self._spaces) >= SPACES_KEPT:
                namespace = OTHERS
            hour = self._spaces.setdefault(namespace, Hour())
        hour.requests += 1
        hour.in_bytes += in_bytes
        hour.out_bytes += out_bytes
        hour.cost_atto += cost_atto

    def hour(self, namespace: str, number: int) -> Hour:
        """What a namespace asked for in an hour, counted from 1970; zeros where nothing."""
        return self._hours.get(number, {}).get(namespace) or Hour()
