"""A bound on how many views are open at once: an environment takes three descriptors and a map.

Before one more opens, the one that has been open longest is parked, unless it is
being written to. A parked view opens again by itself when it is asked.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Protocol


class Parkable(Protocol):
    """What this bound needs of a view."""

    def try_park(self) -> bool:
        """Give descriptors and map back unless somebody is in the way; whether it did."""


class OpenViews:
    """Keeps at most ``limit`` views open among those that share it.

    Args:
        limit: at least 1; views that are written to come on top.
    """

    def __init__(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._open: OrderedDict[Parkable, None] = OrderedDict()
        self._lock = Lock()

    def make_room(self) -> None:
        """Park the longest open until one more is within the limit."""
        for _ in range(len(self._open)):
            with self._lock:
                if len(self._open) < self._limit:
                    return
                oldest = next(iter(self._open))
                self._open.move_to_end(oldest)
            oldest.try_park()

    def entered(self, view: Parkable) -> None:
        """``view`` is open now."""
        with self._lock:
            self._open[view] = None

    def left(self, view: Parkable) -> None:
        """``view`` is open no more."""
        with self._lock:
            self._open.pop(view, None)

    def __len__(self) -> int:
        return len(self._open)
