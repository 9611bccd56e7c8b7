"""Room in memory: overlays take it portion by portion, as long as all together fit (rules 4, 10).

What is in overlays is what the next opening replays, so one bound on all of them bounds that.
A writer looks at it once in a portion, and never at what the other buckets hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import TYPE_CHECKING, Final

from holdfast.limits import OVERLAY_BYTES, OVERLAYS_BYTES
from holdfast.views.state import PORTION_LEAST, Overlay

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket

PORTION_BYTES: Final = 1 << 20
SHORT: Final = 0.75


class Room:
    """What the overlays of all buckets were given, but for the first portion of each, in bytes."""

    def __init__(self) -> None:
        self._given = 0
        self._lock = Lock()

    def widen(self, overlay: Overlay) -> bool:
        """Give an overlay another portion; whether there was one, and it may take that much."""
        if overlay.has_most_records() or overlay.held >= OVERLAY_BYTES:
            return False
        portion = min(max(overlay.held, PORTION_LEAST), PORTION_BYTES)
        with self._lock:
            more = min(overlay.held + portion, OVERLAY_BYTES) - overlay.most
            if self._given + more > OVERLAYS_BYTES:
                return False
            self._given += more
            overlay.most += more
        return True

    def is_short(self) -> bool:
        """Whether something should be absorbed before somebody has to wait for it."""
        return self._given >= OVERLAYS_BYTES * SHORT

    def count(self, overlay: Overlay) -> None:
        """Count what an overlay was given by a replay, which nobody asked whether it fits."""
        with self._lock:
            more = max(0, overlay.held - overlay.most)
            self._given += more
            overlay.most += more

    def give_back(self, overlays: Iterable[Overlay]) -> None:
        """Take back what was given to overlays that are gone; twice is as good as once."""
        with self._lock:
            for overlay in overlays:
                self._given -= overlay.most - PORTION_LEAST
                overlay.most = PORTION_LEAST


def fits(bucket: Bucket) -> bool:
    """Whether the bucket's overlay takes more, with another portion if need be."""
    with bucket.lock:
        active = bucket.state.active
        if active.is_full() and not bucket.settings.room.widen(active):
            return False
        bucket.crowded = bucket.weight >= bucket.bound
        return True


def makes_way(bucket: Bucket) -> bool:
    """The same; what takes no more goes below a new overlay, if none waits there."""
    with bucket.lock:
        if not fits(bucket):
            if bucket.state.frozen or bucket.lender is not None:
                return False
            bucket.freeze()
        return True
