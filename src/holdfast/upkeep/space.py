"""What the buckets take of the disk, and how much of it is alive.

A fork shares segments: one file has a name in several buckets. So bytes are
counted by file. Each bucket is charged what it keeps alive of a file, and an
equal part of the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import Pace, no_pace
from holdfast.log.log import Position
from holdfast.views.state import Tally

# The bound is 1.5 times what is alive, and two segments: keep away from it.
DISK_FACTOR: Final = 1.48
WORTH_PARTS: Final = 8  # less than 1/8 of the live bytes dead is not worth moving the others
# What views take is made up for by moving records: all of it up to half of what is
# alive, an eighth where they take over half (tiny values): nothing would keep the bound.
VIEWS_MOST: Final = 2
VIEWS_LEAST: Final = 8
VIEWS_HOPELESS: Final = 2

SegmentName = tuple[str, int]  # bucket of origin and number there: one file, however shared


class Piece(NamedTuple):
    """What one bucket holds of one segment: the file's bytes, and those kept alive here."""

    segment: SegmentName
    disk: int
    live: int


class Held(NamedTuple):
    """What a bucket holds: live bytes, its pieces of segments, the bytes of its view."""

    live: int
    pieces: tuple[Piece, ...]
    view: int


class Figures(NamedTuple):
    """Bytes of a whole store: alive, in segments that exist once, in views."""

    live: int
    log: int
    views: int

    @property
    def dead(self) -> int:
        """Bytes in segments that nothing keeps alive."""
        return max(0, self.log - self.live)


def held(bucket: Bucket, tally: Tally) -> Held:
    """What a bucket holds, given its exact counts."""
    log = bucket.log
    with bucket.lock:
        sizes = log.sizes()
        infos = dict(log.ended)
    pieces = []
    for number, size in sizes.items():
        info = infos.get(number)
        name = (info.origin, info.origin_number) if info else (bucket.id, number)
        pieces.append(Piece(name, size, max(0, tally.live.get(number, 0))))
    return Held(tally.total(), tuple(pieces), bucket.view.disk_bytes())


def figures(all_held: Iterable[Held]) -> Figures:
    """The sums over buckets, each file once."""
    live = views = 0
    files: dict[SegmentName, int] = {}
    for one in all_held:
        live += one.live
        views += one.view
        files.update((piece.segment, piece.disk) for piece in one.pieces)
    return Figures(live, sum(files.values()), views)


def given_back(dropped: Mapping[SegmentName, int], buckets: Iterable[Bucket]) -> int:
    """Bytes of the files among those that buckets dropped which no bucket has any more."""
    kept: set[SegmentName] = set()
    for bucket in buckets:
        with bucket.lock:
            kept.update((info.origin, info.origin_number) for info in bucket.log.ended.values())
    return sum(size for name, size in dropped.items() if name not in kept)


def dead_of(all_held: Mapping[str, Held]) -> dict[str, int]:
    """By bucket: the dead bytes of its segments, those of shared ones in equal parts."""
    alive: Counter[SegmentName] = Counter()
    sharers: Counter[SegmentName] = Counter()
    for one in all_held.values():
        for piece in one.pieces:
            alive[piece.segment] += piece.live
            sharers[piece.segment] += 1
    return {
        name: sum(
            -(-max(0, piece.disk - alive[piece.segment]) // sharers[piece.segment])
            for piece in one.pieces
        )
        for name, one in all_held.items()
    }


class Known(NamedTuple):
    """What a bucket held when its log ended there, whether that is exact, and in which round."""

    position: Position
    held: Held
    exact: bool
    round: int


class Space:
    """The figures of a store, counted again only where a bucket changed.

    Args:
        segment_bytes: of the store; the reserve takes one and a half of the two that the
            bound allows.
    """

    def __init__(self, segment_bytes: int) -> None:
        self._allowed = segment_bytes // 2
        self._known: dict[str, Known] = {}
        self._round = 0

    def begin_round(self) -> None:
        """From here on a bucket that nobody wrote to since the last round is one that rests.

        Between two looks of one round nobody may have come to write: who looks had the
        interpreter meanwhile.
        """
        self._round += 1

    def look(
        self, buckets: Iterable[Bucket], pace: Pace = no_pace, *, exact: bool = True
    ) -> dict[str, Held]:
        """What each bucket holds now.

        Args:
            buckets: to look at.
            pace: called between slices of work.
            exact: count what rows in memory hide. Without it only where nobody wrote since
                an earlier round: a checkpoint counts the same for next to nothing.
        """
        known: dict[str, Known] = {}
        for bucket in buckets:
            before = self._known.get(bucket.id)
            position = bucket.published
            if before is not None and before.position != position:
                before = None
            rests = before is not None and before.round < self._round
            if before is None or (not before.exact and (exact or rests)):
                counted = exact or rests or bucket.is_counted()
                tally = bucket.resolve_all(pace) if counted else bucket.tally()
                before = Known(position, held(bucket, tally), counted, self._round)
                pace()
            known[bucket.id] = before
        self._known = known
        return {name: one.held for name, one in known.items()}

    def shrunk(self, bucket: Bucket) -> None:
        """A bucket's view takes less of the disk, though nobody wrote to it."""
        known = self._known.get(bucket.id)
        if known is not None:
            held = known.held._replace(view=bucket.view.disk_bytes())
            self._known[bucket.id] = known._replace(held=held)

    def is_full(self, now: Figures) -> bool:
        """Whether the store takes more of the disk than its bound.

        Views of tiny buckets or tiny values are not made up for without end.
        """
        most = now.live * DISK_FACTOR + self._allowed
        parts = VIEWS_LEAST if now.views * VIEWS_HOPELESS > now.live else VIEWS_MOST
        return now.log + min(now.views, now.live // parts) > most

    def is_over(self, now: Figures) -> bool:
        """Whether it is over its bound, and collecting would help."""
        return self.is_full(now) and now.dead * WORTH_PARTS > now.live
