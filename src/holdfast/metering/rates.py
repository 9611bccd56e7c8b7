"""How many requests a namespace had in the last hour, reads and writes apart."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Final, NamedTuple

MINUTE_NS: Final = 60_000_000_000
MINUTES: Final = 60
SPACES_KEPT: Final = 10_000  # of one minute; what comes beyond is not counted


class PerHour(NamedTuple):
    """Requests of the last hour."""

    reads: int
    writes: int


class Rates:
    """Counts by namespace over a sliding hour, in steps of a minute. In memory only.

    Args:
        now_ns: nanoseconds since 1970.

    Example:
        >>> rates = Rates(lambda: 0)
        >>> rates.count("acme", writes=True)
        >>> rates.per_hour("acme")
        PerHour(reads=0, writes=1)
    """

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._minutes: dict[int, dict[str, list[int]]] = {}
        self._lock = Lock()

    def count(self, namespace: str, *, writes: bool) -> None:
        """Count one request of a namespace."""
        with self._lock:
            spaces = self._minute()
            counted = spaces.get(namespace)
            if counted is None:
                if len(spaces) >= SPACES_KEPT:
                    return
                counted = spaces.setdefault(namespace, [0, 0])
            counted[writes] += 1

    def per_hour(self, namespace: str) -> PerHour:
        """What a namespace asked for in the last hour."""
        with self._lock:
            self._minute()
            told = [spaces.get(namespace, (0, 0)) for spaces in self._minutes.values()]
        return PerHour(sum(reads for reads, _ in told), sum(writes for _, writes in told))

    def _minute(self) -> dict[str, list[int]]:
        """The counters of this minute; those of an hour ago are let go."""
        number = self._now_ns() // MINUTE_NS
        spaces = self._minutes.get(number)
        if spaces is None:
            spaces = self._minutes[number] = {}
            for past in [one for one in self._minutes if one <= number - MINUTES]:
                del self._minutes[past]
        return spaces
