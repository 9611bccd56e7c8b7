"""The directory: which bucket holds a key. One bisect over the starts of all ranges."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import cast

from holdfast.bucket.bucket import Bucket
from holdfast.errors import Closed, Corrupt
from holdfast.placement.elsewhere import Elsewhere

LOWEST = b""
HIGHEST = b"\xff"  # namespaces begin with ASCII, so every composite key is below this


def tile(ranges: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether ranges are the keyspace, each key in one."""
    edges = sorted(ranges)
    if not edges or edges[0][0] != LOWEST or edges[-1][1] != HIGHEST:
        return False
    meet = all(left[1] == right[0] for left, right in pairwise(edges))
    return meet and all(start < stop for start, stop in edges)


class Directory:
    """An ordered table of ranges, replaced as a whole at each change.

    Readers take ``table`` once and search it; they need no lock. ``version``
    counts the changes. Where several processes share a store, ranges of the
    others stand in the table as ``Elsewhere``, which answers what a request asks
    of a bucket; whoever walks over the directory meets only buckets of our own.
    """

    def __init__(self, buckets: Iterable[Bucket], others: Iterable[Elsewhere] = ()) -> None:
        self.version = 0
        self.closed = False
        self.shared = False
        self.table: tuple[list[bytes], list[Bucket]] = ([], [])
        self.replace(buckets, others)

    def replace(self, buckets: Iterable[Bucket], others: Iterable[Elsewhere] = ()) -> None:
        """Begin anew from these ranges; Corrupt where they do not tile the keyspace."""
        strangers = [cast("Bucket", other) for other in others if other.start < other.stop]
        self.shared = bool(strangers)
        ordered = sorted([*buckets, *strangers], key=lambda bucket: bucket.start)
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
            raise Closed(what="store")

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

    def disown(self) -> None:
        """Be closed, with every bucket, without touching a file: they are another process's."""
        self.closed = True
        for bucket in self:
            bucket.disown()

    def others(self) -> list[Elsewhere]:
        """The ranges that other processes hold."""
        return [bucket for bucket in self.table[1] if isinstance(bucket, Elsewhere)]

    def __iter__(self) -> Iterator[Bucket]:
        if not self.shared:
            return iter(self.table[1])
        return (bucket for bucket in self.table[1] if not isinstance(bucket, Elsewhere))

    def __len__(self) -> int:
        return sum(1 for _ in self)
