"""Upkeep: bounded steps that keep the store small, quick to open and up to date.

One thread (or whoever calls ``tick``) looks at every bucket and does what is
due. Between slices of work the thread sleeps at least as long as it worked:
a busy Python thread would take nearly all durable puts with it (rule 11).
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, RLock, Thread

from holdfast.bucket import collect as collector
from holdfast.bucket import commit
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import Pace, checkpoint, no_pace
from holdfast.bucket.collect import Collected
from holdfast.bucket.seal import seal_all
from holdfast.errors import Closed, HoldfastError
from holdfast.limits import (
    INTERVAL_SYNC_S,
    OVERLAY_BYTES,
    OVERLAY_RECORDS,
    OVERLAY_RECORDS_LEAST,
    OVERLAY_TREE_PART,
    SYNC_MARK_S,
    TIME_MARK_NS,
)
from holdfast.log.records import Type
from holdfast.request.corridor import Corridor
from holdfast.upkeep import expire
from holdfast.upkeep.scrub import Scrub
from holdfast.values import CollectReport

SECOND_NS = 1_000_000_000
IDLE_S = 0.05
SETTLE_RECORDS = 1_000  # an open replays so many in a moment
SETTLE_BYTES = 1 << 20
WORTH = 0.95  # of a segment's live share: above, moving it would free next to nothing
DISK_FACTOR = 1.5  # bytes on disk stay under this times what is alive, and two segments


class Pacer:
    """Sleeps between slices: as long as the slice took, unless somebody waits for the work."""

    LEAST_S = 0.0002

    def __init__(self, clock_ns: Callable[[], int], sleep: Callable[[float], None]) -> None:
        self._now = clock_ns
        self._sleep = sleep
        self._since = clock_ns()
        self.hurry = False

    def __call__(self) -> None:
        if not self.hurry:
            worked = (self._now() - self._since) / SECOND_NS
            self._sleep(max(worked, self.LEAST_S))
        self._since = self._now()


class Upkeep:
    """The chores of one store.

    Args:
        corridor: the way to every bucket.
    """

    def __init__(self, corridor: Corridor) -> None:
        self._corridor = corridor
        self._placement = corridor.placement
        self._settings = corridor.placement.settings
        self._clock = self._settings.clock
        self._turn = RLock()
        self._stop = Event()
        self._wake = Event()
        self._thread: Thread | None = None
        self._pacer = Pacer(self._clock.monotonic_ns, self._clock.sleep)
        self._synced_ns = self._shrunk_ns = self._clock.monotonic_ns()
        self.failures: list[str] = []
        self.scrub = Scrub(corridor.placement)

    # -- the thread -----------------------------------------------------------------

    def start(self) -> None:
        """Run ``tick`` from a thread until ``stop``."""
        self._thread = Thread(target=self._run, name="holdfast-upkeep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._pacer.hurry = True
            self._thread.join()
            self._thread = None

    def hurry(self) -> None:
        """A writer waits for memory: do not sleep between slices."""
        self._pacer.hurry = True
        self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(IDLE_S)
            self._wake.clear()
            self._attempt(self._pacer)
            self._pacer.hurry = False

    def _attempt(self, pace: Pace) -> None:
        try:
            self.tick(None, pace)
        except Closed:
            self._stop.set()
        except (OSError, HoldfastError) as error:
            # One bucket's failure is that bucket's; the next tick tries again.
            self.failures = [*self.failures[-99:], str(error)]

    # -- one look ---------------------------------------------------------------------

    def tick(self, budget_s: float | None = None, pace: Pace = no_pace) -> None:
        """Do what is due in each bucket, until ``budget_s`` seconds are spent."""
        started = self._clock.monotonic_ns()
        with self._turn:
            self._settings.time.draw()
            self._sync_intervals()
            for bucket in list(self._corridor.directory):
                if self._stop.is_set():
                    return
                self._keep(bucket, pace)
                spent = (self._clock.monotonic_ns() - started) / SECOND_NS
                if budget_s is not None and spent > budget_s:
                    return
            self._shrink(pace)
            self.failures += self.scrub.step(pace)

    def _keep(self, bucket: Bucket, pace: Pace) -> None:
        if bucket.closed or bucket.broken:
            return
        if bucket.lender is not None:
            bucket.finish_birth(pace)
        if checkpoint_due(bucket):
            checkpoint(bucket, pace)
        seal_all(bucket, pace)
        expire.sweep_expired(bucket, pace)
        self._mark_time(bucket)
        if collection_due(bucket):
            self._collect_bucket(bucket, "auto", pace, again=False)

    def _sync_intervals(self) -> None:
        if self._settings.sync != "interval":
            return
        now = self._clock.monotonic_ns()
        if now - self._synced_ns < INTERVAL_SYNC_S * SECOND_NS:
            return
        self._synced_ns = now
        for bucket in list(self._corridor.directory):
            bucket.sync_published()

    def _mark_time(self, bucket: Bucket) -> None:
        """Write down how far bucket time may get, and what is known durable (rules 5, 7)."""
        now = bucket.time.now_ns()
        if bucket.may_expire and now + TIME_MARK_NS // 2 > bucket.time_mark:
            with commit.alone(bucket):
                bucket.time_mark = now + TIME_MARK_NS
                commit.write_mark(bucket, Type.TIME, bucket.time_mark)
        elif bucket.wants_sync_mark(self._clock.monotonic_ns(), SYNC_MARK_S):
            with commit.alone(bucket):
                commit.write_mark(bucket, Type.TIME, max(now, bucket.time_mark))

    def _shrink(self, pace: Pace) -> None:
        now = self._clock.monotonic_ns()
        if now - self._shrunk_ns > SECOND_NS:
            self._shrunk_ns = now
            self._placement.shrink(pace)

    def has_room(self, bucket: Bucket) -> bool:
        """Whether the bucket's memory can take more; if not, upkeep hurries."""
        if len(bucket.state.active.keys) < OVERLAY_RECORDS or not bucket.state.frozen:
            return True
        if self._thread is None:
            self.tick()
            return True
        self.hurry()
        return False

    def settle(self) -> None:
        """Leave everything absorbed and sealed, so that the next open has little to do."""
        with self._turn:
            for bucket in list(self._corridor.directory):
                if bucket.broken:
                    continue
                try:
                    settle(bucket)
                except (OSError, HoldfastError) as error:
                    self.failures.append(str(error))

    # -- on demand ------------------------------------------------------------------------

    def collect(self, mode: str, pace: Pace = no_pace) -> CollectReport:
        """Remove what is garbage, then give its space back."""
        started = self._clock.monotonic_ns()
        done = Collected()
        removed = 0
        with self._turn:
            removed += expire.sweep_parts(self._corridor, pace)
            for bucket in list(self._corridor.directory):
                removed += expire.sweep_expired(bucket, pace)
                removed += expire.sweep_marked(bucket, pace)
            removed += expire.sweep_parts(self._corridor, pace)
            self._placement.shrink(pace)
            for bucket in list(self._corridor.directory):
                collector.prepare(bucket, pace)
                part = self._collect_bucket(bucket, mode, pace)
                done.freed += part.freed
                done.moved += part.moved
                done.segments += part.segments
        seconds = (self._clock.monotonic_ns() - started) / SECOND_NS
        return CollectReport(done.freed, done.moved, done.segments, mode, seconds, removed)

    def _collect_bucket(
        self, bucket: Bucket, mode: str, pace: Pace, *, again: bool = True
    ) -> Collected:
        done = Collected()
        if mode in ("auto", "copying"):
            self._copy(bucket, done, pace, again=again)
        if mode == "compacting" or (mode == "auto" and too_large(bucket)):
            self._compact(bucket, done, pace, again=again)
        return done

    def _copy(self, bucket: Bucket, done: Collected, pace: Pace, *, again: bool) -> None:
        """Evacuate segments less than half alive, while there is room for the copies."""
        for number in collector.candidates(bucket, collector.HALF, again=again):
            live = bucket.tally().live.get(number, 0)
            room = self._settings.ground.free_bytes(bucket.id)
            if room > live + self._settings.segment_bytes:
                collector.collect_one(bucket, number, done, pace)

    def _compact(self, bucket: Bucket, done: Collected, pace: Pace, *, again: bool) -> None:
        """Evacuate one segment at a time into the reserve, until the bound is kept."""
        ground = self._settings.ground
        for number in collector.candidates(bucket, WORTH, again=again):
            if not too_large(bucket) and done.segments:
                return
            live = bucket.tally().live.get(number, 0)
            if ground.free_bytes(bucket.id) < live + self._settings.segment_bytes:
                ground.reserve(0)
            try:
                collector.collect_one(bucket, number, done, pace)
            finally:
                ground.reserve(self._settings.segment_bytes)


def settle(bucket: Bucket) -> None:
    """Absorb a bucket's memory; end and seal a tail that would take long to read."""
    bucket.finish_birth()
    bucket.sync_published()
    if bucket.state.records() > SETTLE_RECORDS or bucket.special:
        checkpoint(bucket)
    if bucket.log.stop > SETTLE_BYTES:
        with commit.alone(bucket):
            bucket.log.switch(bucket.log_state())
            bucket.published = bucket.log.position
        checkpoint(bucket)
        seal_all(bucket)
    with commit.alone(bucket):
        if bucket.log.position != bucket.closed_at:
            commit.write_mark(bucket, Type.CLOSE, bucket.time.now_ns())


def checkpoint_due(bucket: Bucket) -> bool:
    """Whether the overlay is worth absorbing, or too large to go on with (rule 4)."""
    if bucket.state.frozen:
        return bucket.lender is None
    overlay = bucket.state.active
    records = overlay.records()
    if records >= OVERLAY_RECORDS // 2 or overlay.bytes_held() >= OVERLAY_BYTES:
        return True
    return records >= max(OVERLAY_RECORDS_LEAST, bucket.view_tally.keys // OVERLAY_TREE_PART)


def disk_bytes(bucket: Bucket) -> int:
    """Bytes that a bucket's segments take."""
    return sum(bucket.log.sizes().values())


def too_large(bucket: Bucket) -> bool:
    """Whether a bucket takes more of the disk than its bound (design 6.5)."""
    live = bucket.tally().total()
    most = live * DISK_FACTOR + 2 * bucket.settings.segment_bytes
    return disk_bytes(bucket) > most


def collection_due(bucket: Bucket) -> bool:
    """Whether collecting would bring a bucket back under its bound."""
    return too_large(bucket) and bool(collector.candidates(bucket, WORTH, again=False))
