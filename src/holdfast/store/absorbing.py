"""The trees of the buckets that this process holds, and where their objects are read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from holdfast.certify.absorb import PAGE, Absorbed
from holdfast.errors import Changed, Moved
from holdfast.log.entry import Entry
from holdfast.log.records import Flag
from holdfast.placement.elsewhere import Elsewhere, Page
from holdfast.request import large

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.store.store import Store

ATTEMPTS: Final = 64  # a bucket may split or merge, again and again


class Absorbing:
    """What the buckets of a process have absorbed. Used by one thread at a time.

    Args:
        store: the open store, or the part of one.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.absorbed: dict[str, Absorbed] = {}

    def catch_up(self) -> list[Absorbed]:
        """Absorb all that was published before the call; the trees in order of their ranges.

        Raises:
            Changed: ranges changed each time. Corrupt, StorageFailed: an object cannot be read.
        """
        directory = self._store.placement.directory
        for _ in range(ATTEMPTS):
            known = self.absorbed
            self.absorbed = {
                bucket.id: known[bucket.id]
                if bucket.id in known and known[bucket.id].bucket is bucket
                else Absorbed(bucket, self.pieces)
                for bucket in directory
            }
            pieces = list(self.absorbed.values())
            try:
                for piece in pieces:
                    piece.catch_up()
            except Moved:
                directory.look_again()
                continue
            return pieces
        raise Changed(what="ranges of buckets")

    def pieces(self, composite: bytes, entry: Entry) -> Iterable[bytes]:
        """The whole value of an object, piece by piece."""
        corridor = self._store.corridor
        if entry.flags & Flag.LARGE:
            return large.pieces(corridor, composite, "", entry, 0, entry.size)
        whole = corridor.read(
            composite, lambda bucket: bucket.read_extents(composite, entry, 0, entry.size)
        )
        return (whole,)


def page_of(bucket: Bucket | Elsewhere, start: bytes, stop: bytes) -> Page:
    """Rows of a range, expired ones among them: they are in the tree until they are removed."""
    if isinstance(bucket, Elsewhere):
        return bucket.rows(start, stop, PAGE)
    return bucket.page(start, stop, PAGE)
