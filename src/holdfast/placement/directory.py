"""The directory: which bucket holds a key. One bisect over the starts of all ranges."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from holdfast.bucket.bucket import Bucket
from holdfast.errors import Closed, Corrupt

LOWEST = b""
HIGHEST = b"\xff"  # namespaces begin with ASCII, so every composite key is below this


class Directory:
    """An ordered table of ranges, replaced as a whole at each change.

    Readers take ``table`` once and search it; they need no lock. ``version``
    counts the changes.
    """

    def __init__(self, buckets: Iterable[Bucket]) -> None:
        self.version = 0
        self.closed = False
        self.table: tuple[list[bytes], list[Bucket]] = ([], [])
        self.replace(buckets)

    def replace(self, buckets: Iterable[Bucket]) -> None:
        """Begin anew from these buckets; Corrupt where their ranges do not tile the keyspace."""
        ordered = sorted(buckets, key=lambda bucket: bucket.start)
        edge = LOWEST
        for bucket in ordered:
            if bucket.start != edge:
                raise Corrupt(position=f"bucket {bucket.id}", what="ranges of buckets do not meet")
            edge = bucket.stop
        if edge != HIGHEST:
            raise Corrupt(position="directory", what="no bucket holds the highest keys")
        self.table = ([bucket.start for bucket in ordered], ordered)
        self.version += 1

    def find(self, key: bytes) -> Bucket:
        """The bucket that holds a composite key."""
        starts, buckets = self.table
        return buckets[bisect_right(starts, key) - 1]

    def look_again(self) -> None:
        """Asked by whoever found a key moved: Closed where nothing will be found any more."""
        if self.closed:
            raise Closed

    def add(self, child: Bucket) -> None:
        """Put a bucket in, right of the one that held its start."""
        starts, buckets = self.table
        at = bisect_right(starts, child.start)
        self.table = (
            [*starts[:at], child.start, *starts[at:]],
            [*buckets[:at], child, *buckets[at:]],
        )
        self.version += 1

    def swap(self, old: Bucket, new: Bucket) -> None:
        """Put a bucket in the place of one with the same range."""
        starts, buckets = self.table
        self.table = (starts, [new if bucket is old else bucket for bucket in buckets])
        self.version += 1

    def remove(self, gone: Bucket) -> None:
        """Take a bucket out; its left neighbour holds its range now."""
        buckets = [bucket for bucket in self.table[1] if bucket is not gone]
        self.table = ([bucket.start for bucket in buckets], buckets)
        self.version += 1

    def __iter__(self) -> Iterator[Bucket]:
        return iter(self.table[1])

    def __len__(self) -> int:
        return len(self.table[1])
