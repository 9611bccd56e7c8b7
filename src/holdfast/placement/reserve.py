"""What is set aside on the disk, so that a full one can still be emptied (rule 10).

A segment and a quarter are the collectors': evacuating one segment needs at most
that. Another quarter is for deletes, locks and time marks, and to begin new
segments. Measured by the largest segment there is, so a small store sets little
aside; it grows with the store, by doubling.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.dormant import Dormant
from holdfast.bucket.settings import Settings

QUARTERS: Final = 6  # of a segment that are set aside
COLLECTORS: Final = (5, 4, 2)  # that stay aside when there is not room for all
ROOM: Final = 2  # segments that must be free for growth, and before the reserve is lent
LEAST_BYTES: Final = 8 << 10  # that must be free, or a log might not go on
SMALLEST: Final = 64 << 10  # segment that is reckoned with


class Reserve:
    """The bytes that are set aside in each data folder.

    Args:
        settings: of the store.
    """

    def __init__(self, settings: Settings) -> None:
        self._ground = settings.ground
        self._most = settings.segment_bytes
        self._segment = min(SMALLEST, self._most)

    def fit(self, buckets: Iterable[Bucket]) -> None:
        """Set aside what the largest segment asks for."""
        largest = 0
        for bucket in buckets:
            if isinstance(bucket, Dormant):
                largest = max(largest, bucket.told.largest)
            else:
                stops = (info.stop for info in list(bucket.log.ended.values()))
                largest = max(largest, bucket.log.stop, *stops, 0)
            if largest >= self._most:
                break
        while self._segment < min(largest, self._most):
            self._segment = min(2 * self._segment, self._most)
        self.fill()

    def fill(self) -> bool:
        """Set aside what belongs there; whether there was room for all of it."""
        return self._ground.reserve(self._quarters(QUARTERS))

    def keep_for_collectors(self) -> None:
        """Leave the quarter to deletes; as much of the rest as there is room for stays aside."""
        for count in COLLECTORS:
            if self._ground.reserve(self._quarters(count)):
                return

    def lend(self) -> None:
        """Give it all back, to be filled again soon."""
        self._ground.reserve(0)

    def can_go_on(self, bucket: str) -> bool:
        """Whether a bucket's log can take what is not growth."""
        return self._ground.free_bytes(bucket) >= LEAST_BYTES

    def is_roomy(self, bucket: str) -> bool:
        """Whether a bucket's disk has room to grow."""
        return self._ground.free_bytes(bucket) >= ROOM * self._segment

    def _quarters(self, count: int) -> int:
        return self._segment * count // 4
