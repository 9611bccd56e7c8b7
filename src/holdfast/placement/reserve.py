"""What is set aside on the disk, so that a full one can still be emptied (rule 10).

A segment and a quarter are the collectors': evacuating one segment needs at most
that. Another quarter is for deletes, locks and time marks, and to begin new
segments. Measured by the largest segment there is, so a small store sets little
aside; it grows with the store, by doubling. Each bucket adds the pages in which its
log goes on: deletes that fall everywhere need one of each. The largest view adds what
it takes, as a commit may write all of it anew, but no more than a segment does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.dormant import Dormant
from holdfast.bucket.failing import BEGINNING, COLLECTING, DELETING
from holdfast.bucket.settings import Settings

COLLECTORS: Final = 5  # quarters of a segment that are the collectors', or ...
STEPS: Final = 32  # ... as many parts of them as there is room for: who deletes gets none of it
DELETES: Final = 1  # quarters for deletes
ROOM: Final = 2  # segments that must be free for growth, and before the reserve is lent
PLENTY: Final = 4  # the same, where the reserve is lent: it is filled from that
LEAST_BYTES: Final = 8 << 10  # that must be free, or a log might not go on
SMALLEST: Final = 64 << 10  # segment that is reckoned with
LAST_BYTES: Final = 64 << 10  # that stay aside while the rest is lent: a log may have to begin anew
EACH_BYTES: Final = 8 << 10  # for a bucket: the page its log ends in, and that of a new segment
ROW_BYTES: Final = 100  # of a view for each of its keys, in a large one
EACH_PART: Final = 64  # of the bound of a bucket, where that is less


class Reserve:
    """The bytes that are set aside in each data folder.

    Args:
        settings: of the store.
    """

    def __init__(self, settings: Settings) -> None:
        self._ground = settings.ground
        self._most = settings.segment_bytes
        self._segment = min(SMALLEST, self._most)
        self._each = min(EACH_BYTES, settings.bucket_bytes // EACH_PART)
        self._buckets = 1
        self._view = 0

    def fit(self, buckets: Iterable[Bucket]) -> None:
        """Set aside what the largest segment asks for, and what each bucket adds."""
        largest, listed = 0, list(buckets)
        keys = max((b.view_tally.keys for b in listed if not b.dormant), default=0)
        self._view = max(self._view, min(self._most, 1 << (keys * ROW_BYTES).bit_length()))
        for bucket in listed:
            if isinstance(bucket, Dormant):
                largest = max(largest, bucket.told.largest)
            else:
                stops = (info.stop for info in list(bucket.log.ended.values()))
                largest = max(largest, bucket.log.stop, *stops, 0)
            if largest >= self._most:
                break
        while self._segment < min(largest, self._most):
            self._segment = min(2 * self._segment, self._most)
        while self._buckets < len(listed):
            self._buckets *= 2
        self.fill()

    def fill(self) -> bool:
        """Set aside what belongs there; whether there was room for all of it."""
        held = [
            self._ground.reserve(self._quarters(COLLECTORS), COLLECTING),
            self._ground.reserve(self._quarters(DELETES), DELETING),
            self._ground.reserve(self._last, BEGINNING),
        ]
        return all(held)

    def keep_for_collectors(self) -> None:
        """Leave the quarter to deletes; as much of the rest as there is room for stays aside."""
        self._ground.reserve(0, DELETING)
        self._ground.reserve(self._last, BEGINNING)
        for part in range(STEPS, 0, -1):
            if self._ground.reserve(self._quarters(COLLECTORS) * part // STEPS, COLLECTING):
                return

    def lend(self) -> None:
        """Give back all but the last of it, to be filled again soon."""
        self._ground.reserve(0, DELETING)
        self._ground.reserve(0, COLLECTING)
        self._ground.reserve(self._last, BEGINNING)

    def can_go_on(self, bucket: str) -> bool:
        """Whether a bucket's log can take what is not growth."""
        return self._ground.free_bytes(bucket) >= LEAST_BYTES

    def is_roomy(self, bucket: str) -> bool:
        """Whether a bucket's disk has room to grow."""
        return self._ground.free_bytes(bucket) >= ROOM * self._unit

    def has_plenty(self, bucket: str) -> bool:
        """Whether it is enough, for a disk that was full, with all of the reserve lent."""
        return self._ground.free_bytes(bucket) >= PLENTY * self._unit

    @property
    def _last(self) -> int:
        return min(LAST_BYTES, self._quarters(1) // 2)

    @property
    def _unit(self) -> int:
        return self._segment + self._view + self._buckets * self._each

    def _quarters(self, count: int) -> int:
        return self._unit * count // 4
