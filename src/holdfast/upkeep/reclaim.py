"""Give the space of dead records back: which segments, in which order, by which collector.

*Copying* takes segments that are less than half alive, where there is room for
what it copies. *Compacting* takes one segment at a time; it serves a disk that
fills, and a store that is over its bound (1.5 times what is alive and two segments)
though every segment is half alive. Both go bucket by bucket, and stop where the disk
has no room to grow: a file that buckets share gives nothing back until the last of
them is done, and the reserve would go to whoever deletes meanwhile. From there on
files go one by one (squeeze.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from holdfast.bucket import collect as collector
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import Pace, never
from holdfast.bucket.collect import Collected
from holdfast.errors import HoldfastError
from holdfast.log.log import Position
from holdfast.placement.placement import Placement
from holdfast.request.pressure import Pressure
from holdfast.upkeep.space import Held, Space, dead_of, figures
from holdfast.upkeep.squeeze import Squeeze
from holdfast.values import Progress

# Live shares up to which segments are moved, one after the other: the dead ones first.
SHARES: Final = (0.5, 0.7, 0.85, 0.95)
AT_ONCE_BYTES: Final = 4 << 20  # moved before what held them is dropped, where there is room
SHRUNK_BYTES: Final = 1 << 20  # of a view that may be worth a copy without its free pages
LOOKS: Final = 16  # at the whole store while its buckets are collected


class Reclaim:
    """The collectors of one store.

    Args:
        placement: the buckets.
        pressure: of what is written to them.
    """

    def __init__(self, placement: Placement, pressure: Pressure) -> None:
        self._placement = placement
        self._ground = placement.settings.ground
        self._segment_bytes = placement.settings.segment_bytes
        self._space = Space(self._segment_bytes)
        self._tried: dict[tuple[str, float], Position] = {}
        self._shrunk: dict[str, Position | None] = {}  # what views had absorbed when that was tried
        self.squeeze = Squeeze(placement, pressure)
        self.failures: list[Exception] = []

    def on_demand(self, mode: str, pace: Pace, progress: Progress) -> Collected:
        """Collect every bucket: "copying", "compacting", or "auto" for what suits each segment.

        Raises what stopped the first bucket that failed, after the others had their turn.
        """
        done = Collected()
        self._collect_all(mode, done, pace, progress)
        if mode == "auto":
            self._keep_bound(done, pace)
        if self.failures:
            raise self.failures[0]
        return done

    def due(self, pace: Pace, enough: Callable[[], bool]) -> None:
        """Bring the store under its bound, where it is over; ``failures`` tells what failed.

        Args:
            pace: called between slices of work.
            enough: asked before each bucket; True leaves the rest for later.
        """
        self.failures = []
        self._keep_bound(Collected(), pace, enough)

    def _keep_bound(
        self, done: Collected, pace: Pace, enough: Callable[[], bool] | None = None
    ) -> None:
        """Collect the deadest buckets, ever fuller segments of them, until the bound is kept.

        Without ``enough`` somebody asked for it: then what was tried in vain is tried again.
        """
        again = enough is None
        self._space.begin_round()
        self._shrink(pace, enough or never, exact=again)
        for share in SHARES:
            buckets = self._deadest(pace, exact=again)
            step = max(1, len(buckets) // LOOKS)
            for index, bucket in enumerate(buckets):
                over = index % step or self._is_over(pace, exact=again)
                if (enough and enough()) or not over:
                    return
                if not again and self._tried.get((bucket.id, share)) == bucket.published:
                    continue
                if not self._has_room(bucket, done):
                    return
                compact = partial(self._compact, share, done, pace, again=again, bounded=True)
                self._attempt(bucket, compact)
                self._tried[bucket.id, share] = bucket.published

    def _shrink(self, pace: Pace, enough: Callable[[], bool], *, exact: bool) -> None:
        """Free pages of views first: what is copied for them is less, and no record is moved."""
        buckets = list(self._placement.directory)
        views = {name: one.view for name, one in self._look(pace, exact=exact).items()}
        self._shrunk = {name: at for name, at in self._shrunk.items() if name in views}
        for bucket in sorted(buckets, key=lambda one: -views.get(one.id, 0)):
            if views.get(bucket.id, 0) < SHRUNK_BYTES or enough() or self._is_short(bucket):
                return
            if not self._space.is_full(figures(self._look(pace, exact=exact).values())):
                return
            if self._shrunk.get(bucket.id) != bucket.absorbed:
                self._shrunk[bucket.id] = bucket.absorbed
                self._attempt(bucket, self._shrink_one)

    def _shrink_one(self, bucket: Bucket) -> None:
        if bucket.view.shrink():
            self._space.shrunk(bucket)

    def _deadest(self, pace: Pace, *, exact: bool) -> list[Bucket]:
        """The buckets, those with most dead bytes first."""
        buckets = list(self._placement.directory)
        known = {bucket.id for bucket in buckets}
        self._tried = {key: at for key, at in self._tried.items() if key[0] in known}
        dead = dead_of(self._space.look(buckets, pace, exact=exact))
        return sorted(buckets, key=lambda bucket: -dead[bucket.id])

    def _is_over(self, pace: Pace, *, exact: bool = False) -> bool:
        return self._space.is_over(figures(self._look(pace, exact=exact).values()))

    def _look(self, pace: Pace, *, exact: bool) -> dict[str, Held]:
        return self._space.look(list(self._placement.directory), pace, exact=exact)

    def _attempt(self, bucket: Bucket, work: Callable[[Bucket], None]) -> bool:
        """One bucket's failure is that bucket's: the others go on. Whether it did not fail."""
        if bucket.closed or bucket.broken:
            return True
        try:
            work(bucket)
        except (OSError, HoldfastError) as error:
            self.failures.append(error)
            return False
        finally:
            bucket.log.forget_blocks()
        return True

    def _collect_all(self, mode: str, done: Collected, pace: Pace, progress: Progress) -> None:
        """Collect each bucket; who found no room has another turn where others made some."""
        waiting = list(self._placement.directory)
        progress.total += len(waiting)
        makes_room = mode != "copying"
        while waiting:
            self.failures, before, failed = [], done.segments, []
            for bucket in waiting:
                if self._is_short(bucket):
                    makes_room = makes_room and self._has_room(bucket, done)
                    if not makes_room:
                        continue
                if self._attempt(bucket, partial(self._collect, mode, done, pace)):
                    progress.done += 1
                else:
                    failed.append(bucket)
            waiting = failed if done.segments > before else []

    def _has_room(self, bucket: Bucket, done: Collected) -> bool:
        """Whether a bucket's disk has room to grow, if need be once there was made some."""
        while self._is_short(bucket):
            done.add(self.squeeze.make_room())
            if not self.squeeze.gained:
                self.failures += [] if done.segments else self.squeeze.failures
                return not self._is_short(bucket)
        return True

    def _is_short(self, bucket: Bucket) -> bool:
        return not self._placement.reserve.is_roomy(bucket.id)

    # -- one bucket -----------------------------------------------------------------

    def _collect(self, mode: str, done: Collected, pace: Pace, bucket: Bucket) -> None:
        if mode == "compacting":
            self._compact(SHARES[-1], done, pace, bucket)
        else:
            self._copy(bucket, done, pace, compact=mode == "auto")

    def _copy(self, bucket: Bucket, done: Collected, pace: Pace, *, compact: bool) -> None:
        """Evacuate segments less than half alive, while there is room for the copies."""
        collector.prepare(bucket, pace)
        numbers = collector.candidates(bucket, collector.HALF)
        live = bucket.tally().live
        room = self._ground.free_bytes(bucket.id) - self._segment_bytes
        if room > sum(live.get(number, 0) for number in numbers):
            collector.collect(bucket, numbers, done, pace, room=min(room, AT_ONCE_BYTES))
        elif compact:
            enough = partial(self._is_short, bucket)
            collector.collect(bucket, numbers, done, pace, enough=enough)

    def _compact(
        self,
        share: float,
        done: Collected,
        pace: Pace,
        bucket: Bucket,
        *,
        again: bool = True,
        bounded: bool = False,
    ) -> None:
        """Evacuate segments whose live share is below ``share``: one segment's worth at a time.

        Only until the bound is kept, if ``bounded``: the fuller they are the more is moved.
        """
        collector.prepare(bucket, pace)
        enough = lambda: self._is_short(bucket) or (bounded and not self._is_over(pace))  # noqa: E731
        numbers = collector.candidates(bucket, share, again=again)
        collector.collect(bucket, numbers, done, pace, enough=enough)
