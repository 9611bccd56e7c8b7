"""Which neighbours become one: few buckets, without merging what soon splits again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import Pace
from holdfast.bucket.sharing import sharing
from holdfast.errors import HoldfastError
from holdfast.limits import MERGE_PART, VIEW_KEY_BYTES, VIEW_KEYS_SHARED
from holdfast.log.log import Position
from holdfast.placement.directory import Directory
from holdfast.placement.elsewhere import Elsewhere
from holdfast.views.port import Table

MOST_TIMES: Final = 2  # buckets there may be for each that the live bytes need
FULLER: Final = (12, 15, 16)  # sixteenths of the bound that neighbours may fill together
EMPTY: Final = 12  # where one of them is empty
SIXTEENTHS: Final = 16
LONG_TABLES: Final = (Table.KEYS, Table.LOCKS, Table.UPLOADS)  # rows under an object's own key


class Seen(NamedTuple):
    """A pair of neighbours that was left as it is: where their logs ended, and the limit."""

    right: str
    positions: tuple[Position, Position]
    most: int


class Merging:
    """Finds neighbours that are small together and has them merged.

    Under a quarter of the bound together, so that a merged bucket does not soon
    split again; an empty one goes to any neighbour with room. While there are over
    twice the buckets that the live bytes need, fuller neighbours merge too.

    Args:
        directory: of the buckets.
        bucket_bytes: their bound, in live bytes.
        merge: makes two neighbours one; whether it did.
    """

    def __init__(
        self, directory: Directory, bucket_bytes: int, merge: Callable[[Bucket, Bucket], bool]
    ) -> None:
        self._directory = directory
        self._bound = bucket_bytes
        self._merge = merge
        self._seen: dict[str, Seen] = {}

    def shrink(self, pace: Pace, enough: Callable[[], bool]) -> int:
        """Merge what should be; how many buckets went."""
        merged = self._merge_below(self._bound // MERGE_PART, pace, enough)
        for part in FULLER:
            if not self.too_many():
                break
            most = self._bound * part // SIXTEENTHS
            merged += self._merge_below(most, pace, lambda: enough() or not self.too_many())
        known = {bucket.id for bucket in self._directory}
        self._seen = {name: seen for name, seen in self._seen.items() if name in known}
        return merged

    def too_many(self) -> bool:
        """Whether there are over twice the buckets that the live bytes need."""
        buckets = list(self._directory)
        live = sum(bucket.weight for bucket in buckets)
        least = max(1, -(-live // self._bound))
        return len(buckets) > MOST_TIMES * least

    def _merge_below(self, most: int, pace: Pace, enough: Callable[[], bool]) -> int:
        merged = at = 0
        while not enough():
            buckets = self._directory.table[1]
            if at + 1 >= len(buckets):
                break
            left, right = buckets[at], buckets[at + 1]
            if isinstance(left, Elsewhere) or isinstance(right, Elsewhere):
                at += 1
                continue
            if self._should(left, right, most) and self._attempt(left, right, most):
                merged += 1
            else:
                at += 1
            pace()
        return merged

    def _attempt(self, left: Bucket, right: Bucket, most: int) -> bool:
        """Merge; two buckets that cannot are left alone, unless the merge was decided."""
        try:
            return self._merge(left, right)
        except (OSError, HoldfastError):
            if right.closed:
                raise
            # What was tried begins a segment each time: not again until something changes.
            self._seen[left.id] = Seen(right.id, (left.published, right.published), most)
            return False

    def _should(self, left: Bucket, right: Bucket, most: int) -> bool:
        """Whether two neighbours are small together; asked again only when one changed."""
        positions = (left.published, right.published)
        seen = Seen(right.id, positions, most)
        known = self._seen.get(left.id)
        if known is not None and known[:2] == seen[:2] and known.most >= most:
            return False
        ours, theirs = left.resolve_all().total(), right.resolve_all().total()
        if not ours or not theirs:
            most = max(most, self._bound * EMPTY // SIXTEENTHS)
        if ours + theirs < most:
            return True
        self._seen[left.id] = seen
        return False


def shares_too_many(left: Bucket, right: Bucket) -> bool:
    """Whether keys on both sides of the border would share one row of a view too many.

    Keys that agree in their first 480 bytes share a row, at most 1,000 of them
    (rule 4); a border between two such keys begins with those bytes itself.
    """
    if len(right.start) <= VIEW_KEY_BYTES:
        return False
    return any(
        sharing(left, table, right.start) + sharing(right, table, right.start) > VIEW_KEYS_SHARED
        for table in LONG_TABLES
    )
