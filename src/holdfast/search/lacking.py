"""What an index has not absorbed: it hides what is gone meanwhile, and counts for who asks.

Others may have written far more to the same bucket: a count is of one namespace, below the
prefixes that were asked about, and tells nothing of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.bucket.bucket import Bucket
from holdfast.log.group import Group
from holdfast.log.log import Position
from holdfast.log.records import REMOVALS, Flag, Type, decode
from holdfast.search.changes import VISIBLE
from holdfast.search.matching import above_prefix
from holdfast.search.shelf import Shelf

PAGE = 1_000


class Lacking:
    """The records of a log behind the position at which an index stands, as far as was looked."""

    def __init__(self) -> None:
        self._since: Position | None = None
        self._looked_to: Position | None = None
        self._keys: dict[bytes, list[bytes]] = {}

    def start(self, at: Position) -> Position:
        """From where to look on, for an index that stands here."""
        if at != self._since or self._looked_to is None:
            self._since, self._looked_to, self._keys = at, at, {}
        return self._looked_to

    def looked_to(self, end: Position) -> None:
        """Everything up to here was read."""
        self._looked_to = end

    def read(self, group: Group, shelves: Mapping[bytes, Shelf]) -> None:
        """Hide what a group removed, and what it replaced by something that ends by itself."""
        at = 0
        for _ in range(group.head.records):
            record, at = decode(group.body, at, group.head.body)
            namespace, _, key = record.key.partition(VISIBLE)
            if record.flags & Flag.MOVED:
                continue
            self._keys.setdefault(namespace, []).append(key)
            shelf = shelves.get(namespace)
            may_end = record.type == Type.STORE and record.expires_ns
            if shelf is not None and (record.type in REMOVALS or may_end):
                shelf.remove(key)

    def count(self, namespace: bytes, prefixes: tuple[bytes, ...]) -> int:
        """How many of them are of keys of a namespace that begin with one of these."""
        return sum(key.startswith(prefixes) for key in self._keys.get(namespace, ()))


def unread(
    bucket: Bucket, span: tuple[bytes, bytes], namespace: bytes, prefixes: Sequence[bytes]
) -> int:
    """How many keys a range holds of which nothing was read yet.

    Raises:
        Moved: the bucket no longer holds the range.
    """
    count = 0
    for prefix in prefixes:
        begin = namespace + VISIBLE + prefix
        at: bytes | None = max(span[0], begin)
        stop = min(span[1], above_prefix(begin) or span[1])
        while at is not None and at < stop:
            rows, at = bucket.page(at, stop, PAGE)
            count += len(rows)
    return count
