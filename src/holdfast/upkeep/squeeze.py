"""A full disk: the files that give most room for the least (rule 10).

A fork shares segments, and a file gives its space back when the last of its buckets drops
it. So a file is judged as a whole: what is alive of it in all its buckets has to fit into the
reserve, and is moved by all of them, one file after the other. Where a view would have to
absorb first, its bucket has the index in memory for a while: a view only takes room.
So has a child whose split was not finished when the disk filled, and its parent: they hold
what they share as long as one reads through the other's view, whatever is deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from holdfast.bucket import collect as collector
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import checkpoint
from holdfast.bucket.collect import Collected
from holdfast.bucket.fork import finish_moves, take_over
from holdfast.errors import HoldfastError, StorageFailed
from holdfast.placement.placement import Placement
from holdfast.request.pressure import Pressure
from holdfast.upkeep.space import SegmentName

OVERHEAD: Final = 64  # of what is evacuated that its commit groups may take beside
MARGIN_BYTES: Final = 4 << 10  # for what each log says of itself, and the page it ends in
GAIN_BYTES: Final = 2 << 10  # by a file that is worth moving
OTHERS: Final = 8  # of it, that who deletes meanwhile may take
MOVED: Final = 16  # files in one go, while somebody waits
BORN: Final = 4  # children that stop reading through their parents in one go
MEMORY_KEYS: Final = 100_000  # of a bucket whose index may be in memory while a disk is full


class Held(NamedTuple):
    """What one bucket holds of a file: its number there, bytes alive, and what is in the way."""

    bucket: Bucket
    number: int
    live: int
    ready: bool  # to be dropped as it is
    stuck: bool  # not to be dropped at all for now


class File(NamedTuple):
    """A segment's file and all buckets that hold it. Sizes are bytes."""

    size: int
    holders: tuple[Held, ...]

    @property
    def live(self) -> int:
        """What is alive of it, in all buckets."""
        return sum(held.live for held in self.holders)

    @property
    def need(self) -> int:
        """What moving that takes."""
        return self.live + self.live // OVERHEAD + MARGIN_BYTES * len(self.holders)


class Squeeze:
    """Makes room in one store.

    ``failures`` tells what stopped the last time; ``gained``, whether it was not in vain all the
    same: then the next time may give room where that one did not.

    Args:
        placement: the buckets.
        pressure: of what is written to them.
    """

    def __init__(self, placement: Placement, pressure: Pressure) -> None:
        self._placement, self._pressure = placement, pressure
        self._ground = placement.settings.ground
        self.failures: list[Exception] = []
        self.gained = False

    def make_room(self) -> Collected:
        """Collect the files with least alive in them, each where that fits, through the reserve.

        Nothing may fail for want of room here: a log that cannot go on only reads.
        """
        self.failures = []
        done = Collected()
        buckets = list(self._placement.directory)
        with self._pressure.lending():
            born = self._finish_splits(buckets)
            self._collect(buckets, done)
        self.gained = bool(born or done.segments) or self._give_view_up(buckets)
        return done

    def _finish_splits(self, buckets: list[Bucket]) -> int:
        """Let some children, and their parents, stand alone; how many do that did not."""
        for bucket in buckets:
            if bucket.standing or bucket.retired:
                self._attempt(bucket, partial(self._finish_moves, bucket))
        born = 0
        for child in [bucket for bucket in buckets if bucket.lender is not None]:
            if born == BORN:
                break
            self._attempt(child, partial(_bear, child))
            born += child.lender is None
        return born

    def _give_view_up(self, buckets: list[Bucket]) -> bool:
        """Where nothing else gives room to delete, the largest view does; whether there was one."""
        if all(self._placement.reserve.can_go_on(bucket.id) for bucket in buckets):
            return False
        small = [
            bucket
            for bucket in buckets
            if not (bucket.dormant or bucket.lender or bucket.births)
            and bucket.view_tally.keys <= MEMORY_KEYS
        ]
        largest = max(small, key=lambda bucket: bucket.view.disk_bytes(), default=None)
        if largest is None or not largest.view.disk_bytes():
            return False
        self._attempt(largest, partial(self._placement.rebuild, largest, in_memory=True))
        return not largest.view.disk_bytes()

    def _finish_moves(self, bucket: Bucket) -> None:
        with self._placement.changing:
            finish_moves(bucket)

    def _collect(self, buckets: list[Bucket], done: Collected) -> None:
        for bucket in buckets:
            if bucket.lender is None:
                self._attempt(bucket, bucket.resolve_all)
        self._drop(files_of(buckets), done)
        for absorb in (False, True):
            self._move(files_of(buckets), done, absorb=absorb)

    def _drop(self, files: list[File], done: Collected) -> None:
        """Let every bucket go of what it holds nothing alive of, by one record each."""
        dead: dict[Bucket, list[int]] = {}
        for file in files:
            for held in file.holders:
                if held.ready and not held.live:
                    dead.setdefault(held.bucket, []).append(held.number)
        for bucket, numbers in dead.items():
            if self._placement.reserve.can_go_on(bucket.id):
                self._attempt(bucket, partial(collector.collect, bucket, numbers, done))

    def _move(self, files: list[File], done: Collected, *, absorb: bool) -> None:
        """Evacuate whole files, those with least alive first, until there is room enough."""
        worth = [file for file in files if is_worth(file, absorb=absorb)]
        for file in sorted(worth, key=lambda one: one.need)[:MOVED]:
            holders = [held.bucket.id for held in file.holders]
            room = min(map(self._ground.free_bytes, holders))
            if file.need + file.live // OTHERS > room or all(
                map(self._placement.reserve.has_plenty, holders)
            ):
                return
            for held in file.holders:
                self._attempt(held.bucket, partial(self._move_one, held, done))

    def _move_one(self, held: Held, done: Collected) -> None:
        """Have one bucket move what it keeps of a file; what its view has not absorbed stays."""
        bucket = held.bucket
        if not held.ready:
            self._absorb(bucket)
        if held.number in bucket.log.ended and collector.is_absorbed(bucket, held.number):
            collector.collect(bucket, [held.number], done)

    def _absorb(self, bucket: Bucket) -> None:
        """Have nothing stand in the way; a commit may write a whole view anew."""
        if bucket.view_tally.keys > MEMORY_KEYS:
            checkpoint(bucket)
        else:
            self._placement.rebuild(bucket, in_memory=True)

    def _attempt(self, bucket: Bucket, work: Callable[[], object]) -> None:
        """One bucket's failure is that bucket's: the others go on."""
        if bucket.closed or bucket.broken:
            return
        try:
            work()
        except (OSError, HoldfastError) as error:
            self.failures.append(error)
        finally:
            bucket.log.forget_blocks()


def _bear(child: Bucket) -> None:
    """Let a child stand alone; where it gets a view that does not fit, give its room back."""
    parent = child.lender
    if parent is None:
        return
    keys = parent.view_tally.keys
    try:
        take_over(child, in_memory=keys <= MEMORY_KEYS)
    except StorageFailed:
        if child.lender is not None and child.state.view is not child.view:
            child.view.shrink(blank=True)
        raise


def files_of(buckets: list[Bucket]) -> list[File]:
    """Every ended segment's file, with all that hold it."""
    sizes: dict[SegmentName, int] = {}
    holders: dict[SegmentName, list[Held]] = {}
    for bucket in buckets:
        live = bucket.tally().live
        with bucket.lock:
            infos = dict(bucket.log.ended)
        away = bool(bucket.closed or bucket.broken or bucket.births or bucket.lender)
        pinned = bucket.pinned()
        for number, info in infos.items():
            name = info.origin, info.origin_number
            stuck = away or number in pinned
            ready = not stuck and collector.is_absorbed(bucket, number)
            held = Held(bucket, number, max(0, live.get(number, 0)), ready, stuck)
            sizes[name] = info.stop
            holders.setdefault(name, []).append(held)
    return [File(sizes[name], tuple(held)) for name, held in holders.items()]


def is_worth(file: File, *, absorb: bool) -> bool:
    """Whether moving a file gives room; one that waits for its views only if ``absorb``."""
    if any(held.stuck for held in file.holders) or file.need > file.size - GAIN_BYTES:
        return False
    return absorb != all(held.ready for held in file.holders)
