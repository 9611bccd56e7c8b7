"""Upkeep: bounded steps that keep the store small, quick to open and up to date.

One thread (or whoever calls ``tick``) looks at every bucket and does what is
due. Between slices of work the thread sleeps at least as long as it worked:
a busy Python thread would take nearly all durable puts with it (rule 11).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event, RLock, Thread
from typing import NamedTuple

from holdfast.bucket import commit, room
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import Pace, checkpoint, no_pace
from holdfast.bucket.dormant import Dormant
from holdfast.bucket.fork import finish_moves
from holdfast.bucket.printing import grow_presence, grow_prints
from holdfast.bucket.seal import may_wait, seal_all, seal_due, seal_rest
from holdfast.bucket.settling import charge_reads
from holdfast.clock import MACHINE
from holdfast.errors import Closed, HoldfastError
from holdfast.limits import (
    INTERVAL_SYNC_S,
    OVERLAY_BYTES,
    OVERLAY_RECORDS,
    SECOND_NS,
    SYNC_MARK_S,
    UNABSORBED_BYTES,
    UNABSORBED_RECORDS,
)
from holdfast.log.log import Position
from holdfast.log.records import Type
from holdfast.placement.bounds import BRAKED, overrun
from holdfast.request.corridor import Corridor
from holdfast.upkeep import expire
from holdfast.upkeep.failing import Failures
from holdfast.upkeep.pacing import Pacer, outlived
from holdfast.upkeep.reclaim import Reclaim
from holdfast.upkeep.scrub import Scrub
from holdfast.upkeep.space import given_back
from holdfast.upkeep.syncing import Syncing
from holdfast.values import CollectReport, Progress

IDLE_S = 0.05
QUIET_S = 0.25  # where nothing waits for it: each look takes the interpreter from readers
SETTLE_RECORDS = 1_000  # an open replays so many in a moment
SETTLE_BYTES = 1 << 20
BUSY_BYTES = 1 << 19  # of a log between two looks: its key blocks may wait
LOADED_BYTES = 4 << 20  # the same: what is built for reading would not last
SWEEP_NS = 60 * SECOND_NS  # between two looks for parts that nobody needs
WAKE_REST = 4  # times as long as the opening of one bucket took: it is one long slice
LOOKS = 16  # at idle buckets between two sleeps

Lazy = Callable[[Pace, Callable[[], bool]], None]  # pace, enough: asked before each slice


class Upkeep:
    """The chores of one store.

    Args:
        corridor: the way to every bucket.
    """

    def __init__(self, corridor: Corridor) -> None:
        self._corridor = corridor
        self._placement, self._settings = corridor.placement, corridor.placement.settings
        self._clock = self._settings.clock
        self._turn = RLock()
        self._stop, self._wake = Event(), Event()
        self._thread: Thread | None = None
        self._syncing: Syncing | None = None
        self.pacer = Pacer(MACHINE.thread_ns, MACHINE.sleep)
        self._synced_ns = self._shrunk_ns = self._clock.monotonic_ns()
        self._swept_ns = self._synced_ns - SWEEP_NS  # an open may have left something
        self._round: Iterator[None] | None = None  # what a tick left for the next
        self._until_ns: int | None = None
        self._asked: set[object] = set()  # callers that wait for their turn
        self._pace: Pace = no_pace
        self._moved = True  # something will be due before long
        self._seen: dict[str, tuple[Position, bool]] = {}  # where a log ended, and was all sealed
        self._absorbed: dict[str, tuple[Position | None, int]] = {}  # and the version then
        self._expiry = expire.Watch()
        self._reclaim = Reclaim(corridor.placement, corridor.pressure)
        self.index: Callable[[Pace, Callable[[], bool]], None] = nothing  # who searches sets it
        self._rooms = 0  # how often room was made
        self._next_room_ns = 0  # not before this is it worth to try again
        corridor.pressure.relieve = self.make_room
        self._crowded: dict[str, Bucket] = {}  # to be split before all else
        self.lazy: list[Lazy] = []  # what follows the logs where it is wanted
        self.failures = Failures()
        self.scrub = Scrub(corridor.placement)

    # -- the thread -----------------------------------------------------------------

    def start(self) -> None:
        """Run ``tick`` from a thread until ``stop``."""
        self._placement.split_soon, self._placement.beside = self.split_soon, True
        self._thread = Thread(target=self._run, name="holdfast-upkeep", daemon=True)
        self._thread.start()
        if self._settings.sync != "always":
            self._syncing = Syncing(self._settings.behind, self._note)
            self._syncing.start()

    def stop(self) -> None:
        """End the threads."""
        if self._syncing is not None:
            self._syncing.stop()
            self._syncing = None
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self.pacer.closing = True
            self._thread.join()
            self._thread = None

    def hurry(self) -> None:
        """A writer waits for memory: do not sleep between slices."""
        self.pacer.hurry = True
        self._wake.set()

    def _run(self) -> None:
        self.pacer.begin()
        self._attempt(self._ease)  # first: nobody waits for it, and much is written at once
        while not self._stop.is_set():
            self._wake.wait(self._rest_s())
            self._wake.clear()
            with self._turn:
                outlived(partial(self._attempt, partial(self._go_on, None, self.pacer)))
            self.pacer.hurry = False

    def _rest_s(self) -> float:
        """How long to wait for somebody to call before the next look."""
        quiet = self._round is None and not self._moved and self._settings.sync != "interval"
        return QUIET_S if quiet else IDLE_S

    # -- one look ---------------------------------------------------------------------

    def tick(self, budget_s: float | None = None) -> None:
        """Do what is due, until ``budget_s`` seconds are spent; the next tick goes on from there.

        What fails in one bucket is noted in ``failures`` and tried again in the next round.
        """
        with self._called_upon():
            self._go_on(budget_s, no_pace)

    @contextmanager
    def _called_upon(self) -> Iterator[None]:
        """Take the turn of what upkeep does by itself; the thread goes on afterwards."""
        self._asked.add(caller := object())
        try:
            self.hurry()
            with self._turn:
                self._asked.discard(caller)
                yield
        finally:  # whoever was interrupted while it waited, too
            self._asked.discard(caller)

    def _go_on(self, budget_s: float | None, pace: Pace) -> None:
        """A round, or what is left of one, as far as the budget goes."""
        now = self._clock.monotonic_ns()
        self._until_ns = None if budget_s is None else now + round(budget_s * SECOND_NS)
        self._pace = pace
        self._settings.time.draw()
        self._settings.time.mark_ahead()
        self._sync_intervals()
        if self._round is None:
            self._moved = False
            self._round = self._chores()
        # Every time, wherever the last one left its round: what is searched is soon asked for.
        self._attempt(lambda: self.index(self._pace, self._is_wanted))
        for _ in self._round:
            if self._is_spent():
                return
        self._round = None

    def look_soon(self, *, at_once: bool) -> None:
        """Something was left for the next round: do not wait for a call before it, or at all."""
        self._moved = True
        if at_once:
            self._wake.set()

    def may_leave(self) -> bool:
        """Whether what is due may wait: others do, or the thread looks at it again soon."""
        return self._pace is self.pacer or self._stop.is_set() or bool(self._asked)

    def _is_wanted(self) -> bool:
        """Whether somebody waits for what only upkeep can do."""
        return self._is_called() or (self._pace is self.pacer and self.pacer.hurry)

    def _is_spent(self) -> bool:
        if self._stop.is_set() or self._asked:
            return True
        return self._until_ns is not None and self._clock.monotonic_ns() > self._until_ns

    def _is_called(self) -> bool:
        """Whether work that can be left should be."""
        return bool(self._crowded) or self._is_spent()

    def _chores(self) -> Iterator[None]:
        """One round over everything, a bounded step at a time."""
        for count, bucket in enumerate(list(self._corridor.directory)):
            self._split_crowded()
            if isinstance(bucket, Dormant):
                self._attempt(partial(Dormant.wake, bucket))
                self.pacer.rest = WAKE_REST
                self._pace()
            self._attempt(partial(self._look_at, bucket))
            if count % LOOKS == LOOKS - 1:
                self._pace()
            yield
        self._attempt(self._bound_memory)
        self._settings.time.release(partial(expire.is_over, self._corridor.directory))
        yield
        now = self._clock.monotonic_ns()
        if now - self._shrunk_ns > SECOND_NS:
            self._shrunk_ns = now
            shrink = lambda: self._placement.shrink(self._pace, self._is_called)  # noqa: E731
            lighten = lambda: self._placement.lighten(self._pace, self._is_called)  # noqa: E731
            tidy = () if self._corridor.pressure.full else (shrink, self._reclaim_due, lighten)
            for chore in (*tidy, self._ease):
                self._attempt(chore)
                yield
        if now - self._swept_ns > SWEEP_NS:
            self._swept_ns = now
            self._attempt(lambda: expire.sweep_uploads(self._corridor, self._pace))
            yield
        for follow in self.lazy:
            self._attempt(partial(follow, self._pace, self._is_called))
            yield
        self._attempt(lambda: self.failures.extend(self.scrub.step(self._pace)))

    def _attempt(self, chore: Callable[[], object]) -> None:
        """One bucket's failure is that bucket's; the next round tries again."""
        try:
            chore()
        except Closed:
            if self._thread is not None:
                self._stop.set()
        except (OSError, HoldfastError) as error:
            self._note(error)

    def _note(self, error: Exception) -> None:
        self.failures.append(str(error))

    def split_soon(self, bucket: Bucket) -> None:
        """A bucket is full, or seems so: split it, beside its writers."""
        if bucket.id not in self._crowded:
            self._crowded[bucket.id] = bucket
            self._wake.set()
        elif overrun(bucket) > BRAKED:
            self.hurry()

    def _split_crowded(self) -> None:
        while self._crowded:
            bucket, *_ = self._crowded.values()  # taken at once: writers add others
            if not bucket.closed and not bucket.broken:
                self._attempt(partial(self._placement.split_full, bucket, self._pace))
            self._crowded.pop(bucket.id)

    def _look_at(self, bucket: Bucket) -> None:
        """What is due of a bucket: what fails there keeps none of the rest from its turn."""
        if bucket.broken:
            self._attempt(partial(self._placement.heal, bucket))
        for chore in (self._keep, self._expire, self._mark_time):
            if not (bucket.closed or bucket.broken or self._stop.is_set()):
                self._attempt(partial(chore, bucket))
        self._moved |= is_awaited(bucket)

    def _keep(self, bucket: Bucket) -> None:
        if self._corridor.pressure.full:
            return  # what there is of room is for deletes and collectors
        if bucket.view.damage is not None:  # found when its pages were read
            self._placement.rebuild(bucket)
        if bucket.lender is not None:
            bucket.finish_birth(self._pace)
        if bucket.standing or bucket.retired:
            with self._placement.changing:  # a writer that grows it does the same
                finish_moves(bucket)
        if checkpoint_due(bucket):
            checkpoint(bucket, self._pace)
        published, (seen, sealed) = bucket.published, self._seen.get(bucket.id, (None, False))
        growth = 0 if seen is None else grown(seen, published)
        if not sealed or seen != published:
            sealed = not (growth > BUSY_BYTES and may_wait(bucket))
            sealed = sealed and seal_due(bucket, self._pace, partial(checkpoint_due, bucket))
            self._moved |= not sealed
        else:
            seal_rest(bucket, self._pace, self._clock.monotonic_ns())
        self._seen[bucket.id] = published, sealed
        if bucket.prints is None and growth <= LOADED_BYTES and not self._stop.is_set():
            grow_prints(bucket, self._pace, self._is_called)
        grow_presence(bucket, self._pace, self._is_called)

    def _expire(self, bucket: Bucket) -> None:
        if bucket.lender is not None:
            return  # what its lender remembers is not among its own yet
        if bucket.may_expire and self._expiry.is_due(bucket):
            now = bucket.time.now_ns()
            expire.sweep_expired(bucket, self._pace)
            self._expiry.swept(bucket, now)

    def _bound_memory(self) -> None:
        """Absorb the largest overlays while all together are too large (rule 4)."""
        buckets = [b for b in self._corridor.directory if not b.broken and b.lender is None]
        known = {bucket.id for bucket in self._corridor.directory}
        self._expiry.forget_all_but(known)
        self._seen = {name: at for name, at in self._seen.items() if name in known}
        self._absorbed = {name: at for name, at in self._absorbed.items() if name in known}
        behind = {bucket.id: self._backlog(bucket) for bucket in buckets}
        total = Backlog(*map(sum, zip(*behind.values(), strict=True))) if behind else NOTHING
        for bucket in sorted(buckets, key=lambda b: -behind[b.id].weight()):
            if self._stop.is_set() or not (total.weight() >= 1 or self._settings.room.is_short()):
                return
            checkpoint(bucket, self._pace)
            total = total.less(behind[bucket.id])

    def _backlog(self, bucket: Bucket) -> Backlog:
        """What a bucket's view has not absorbed; records are counted since that was seen."""
        known = self._absorbed.get(bucket.id)
        if known is None or known[0] != bucket.absorbed:
            known = (bucket.absorbed, bucket.version - bucket.state.records())
            self._absorbed[bucket.id] = known
        return Backlog(
            bucket.state.bytes_held(), unabsorbed_bytes(bucket), bucket.version - known[1]
        )

    def _ease(self) -> None:
        """Set enough aside; where the disk was full, see whether there is room, or make some."""
        pressure = self._corridor.pressure
        bucket = next(iter(self._corridor.directory), None)
        if bucket is None:
            return
        if not pressure.full:
            self._placement.reserve.fit(self._corridor.directory)
        elif not pressure.ease(bucket) and self.make_room():
            pressure.ease(bucket)

    def _reclaim_due(self) -> None:
        self._reclaim.due(self._pace, self._is_called)
        self.failures.extend(map(str, self._reclaim.failures))

    def _sync_intervals(self) -> None:
        now = self._clock.monotonic_ns()
        early = now - self._synced_ns < INTERVAL_SYNC_S * SECOND_NS
        if early or self._settings.sync != "interval":
            return
        self._synced_ns = now
        for bucket in list(self._corridor.directory):
            if not (bucket.dormant or bucket.broken) and bucket.log.stop > bucket.log.synced:
                bucket.sync_published()

    def _mark_time(self, bucket: Bucket) -> None:
        """Write down how far bucket time may get, and what is known durable (rules 5, 7)."""
        now = bucket.time.now_ns()
        if bucket.may_expire and now > bucket.time_mark:  # the store's own covers what comes first
            mark = bucket.time.mark_ns
            with commit.alone(bucket):
                commit.write_mark(bucket, Type.TIME, mark)
                bucket.time_mark = mark  # only now: a mark that failed is none
        elif bucket.wants_sync_mark(self._clock.monotonic_ns(), SYNC_MARK_S):
            with commit.alone(bucket):
                commit.write_mark(bucket, Type.TIME, now)

    def has_room(self, bucket: Bucket) -> bool:
        """Whether the bucket's memory can take more; if not, upkeep hurries."""
        if room.fits(bucket):
            return True
        if self._thread is None:
            if bucket.state.frozen:
                self.tick()
            return True
        self.hurry()
        return room.makes_way(bucket)

    def settle(self) -> None:
        """Leave everything absorbed and sealed, so that the next open has little to do."""
        with self._turn:
            for bucket in list(self._corridor.directory):
                if bucket.dormant or bucket.broken:
                    continue
                try:
                    settle(bucket)
                except (OSError, HoldfastError) as error:
                    self.failures.append(str(error))

    def make_room(self) -> bool:
        """A disk is full: collect what is dead, through the reserve; whether that gained any.

        Whoever comes while another does has waited for that.
        """
        if self._clock.monotonic_ns() < self._next_room_ns:
            return False
        asked, squeeze = self._rooms, self._reclaim.squeeze
        with self._called_upon():
            if asked == self._rooms:
                self._rooms += 1
                squeeze.make_room()
                self._next_room_ns = self._clock.monotonic_ns() + SECOND_NS * (not squeeze.gained)
                self.failures.extend(map(str, squeeze.failures))
            return squeeze.gained

    # -- on demand ------------------------------------------------------------------------

    def collect(self, mode: str, progress: Progress, pace: Pace = no_pace) -> CollectReport:
        """Remove what is garbage, then give its space back."""
        started = self._clock.monotonic_ns()
        with self._called_upon():
            removed = expire.sweep_parts(self._corridor, pace)
            for bucket in list(self._corridor.directory):
                removed += expire.sweep_expired(bucket, pace)
                removed += expire.sweep_marked(bucket, pace)
            removed += expire.sweep_parts(self._corridor, pace)
            done = self._reclaim.on_demand(mode, pace, progress)
            if self._placement.shrink(pace):  # what was taken in may be collected further
                done.add(self._reclaim.on_demand(mode, pace, progress))
        seconds = (self._clock.monotonic_ns() - started) / SECOND_NS
        freed = given_back(done.dropped, self._corridor.directory)
        return CollectReport(freed, done.moved, done.segments, mode, seconds, removed)


def nothing(_pace: Pace, _is_spent: Callable[[], bool]) -> None:
    """Nobody searches this store."""


def is_awaited(bucket: Bucket) -> bool:
    """Whether before long a mark is to be written, or reads are to be charged."""
    return bucket.marked_at != bucket.log.stop or any(map(len, bucket.reads.values()))


def grown(before: Position, now: Position) -> int:
    """Bytes by which a log grew between two looks; no fewer than that in a new segment."""
    return now.stop + (UNABSORBED_BYTES if before.segment != now.segment else -before.stop)


def settle(bucket: Bucket) -> None:
    """Charge its reads, absorb its memory; end and seal a tail that would take long to read."""
    bucket.finish_birth()
    for namespace in list(bucket.reads):
        charge_reads(bucket, namespace)
    bucket.sync_published()
    if bucket.log.stop > SETTLE_BYTES:
        with commit.alone(bucket):
            commit.switch(bucket)
        seal_all(bucket)
        checkpoint(bucket)
    elif bucket.state.records() > SETTLE_RECORDS or bucket.special:
        checkpoint(bucket)
    with commit.alone(bucket):
        if bucket.log.position != bucket.closed_at:
            commit.write_mark(bucket, Type.CLOSE, bucket.time.now_ns())


def checkpoint_due(bucket: Bucket) -> bool:
    """Whether the overlay is worth absorbing, or too large to go on with (rule 4)."""
    if bucket.state.frozen:
        return bucket.lender is None
    overlay = bucket.state.active
    records = overlay.records()
    return records >= OVERLAY_RECORDS // 2 or overlay.held >= OVERLAY_BYTES


class Backlog(NamedTuple):
    """What views have not absorbed: bytes in memory, bytes and records in the log."""

    memory: int
    log: int
    records: int

    def weight(self) -> float:
        """The largest part of a bound that this takes; from 1 on something must be absorbed.

        Half of what recovery may have to replay, because an absorption takes its time.
        """
        return max(
            self.memory / (2 * OVERLAY_BYTES),
            2 * self.log / UNABSORBED_BYTES,
            2 * self.records / UNABSORBED_RECORDS,
        )

    def less(self, other: Backlog) -> Backlog:
        """Without what was absorbed."""
        return Backlog(*(a - b for a, b in zip(self, other, strict=True)))


NOTHING = Backlog(0, 0, 0)


def unabsorbed_bytes(bucket: Bucket) -> int:
    """Bytes of a bucket's log behind what its view has absorbed."""
    log, absorbed = bucket.log, bucket.absorbed
    if absorbed is None:
        return log.stop + sum(info.stop for info in list(log.ended.values()))
    if absorbed.segment == log.number:
        return log.stop - absorbed.stop
    later = [info.stop for n, info in list(log.ended.items()) if n >= absorbed.segment]
    return log.stop + sum(later) - absorbed.stop
