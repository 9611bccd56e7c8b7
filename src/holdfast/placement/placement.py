"""Where keys live, and how that changes: open every bucket, roll, split, merge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import RLock
from typing import NamedTuple

from holdfast.bucket import birth, commit, failing, fork, repair
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import Pace, absorb_waiting, never, no_pace
from holdfast.bucket.collect import expel, try_collect
from holdfast.bucket.dormant import Dormant, Told
from holdfast.bucket.settings import Settings
from holdfast.errors import Corrupt, InvalidValue, OutcomeUnknown, StorageFailed
from holdfast.log.doubt import doubted
from holdfast.log.header import LogState
from holdfast.log.records import Type
from holdfast.placement import mending
from holdfast.placement.bounds import FORCED, Brake, overrun
from holdfast.placement.choose import middle
from holdfast.placement.directory import HIGHEST, LOWEST, Directory, tile
from holdfast.placement.elsewhere import Elsewhere
from holdfast.placement.merging import Merging, shares_too_many
from holdfast.placement.reserve import Reserve

ID_BYTES = 8
CROWD_TIMES = 4  # segments there may be for each that a full bucket needs
CROWD_MOST = 4  # times as many, and a split waits until some are dropped
AGAIN_PART = 8  # of the bound that a bucket gains before another try to cut it


class Share(NamedTuple):
    """The part of a store that this process holds: one range, and who holds the others.

    ``name`` is the process's among those that share the store, empty where it is alone.
    """

    start: bytes = LOWEST
    stop: bytes = HIGHEST
    others: tuple[Elsewhere, ...] = ()
    name: str = ""


WHOLE = Share()


class Placement:
    """The buckets of one store and the directory over them.

    Args:
        settings: what all buckets share.
        share: the part that this process holds. Buckets never leave it by growing: a child
            lies in its parent's range, and only neighbours of the same process merge.
        told: what a clean close said of the buckets; else, or where what exists is not
            what it said, every log is read.
    """

    def __init__(self, settings: Settings, share: Share = WHOLE, told: Sequence[Told] = ()) -> None:
        self.settings = settings
        self.share = share
        self.changing = RLock()  # one change of ranges at a time
        self.reserve = Reserve(settings)
        self.brake = Brake()
        self._usual = -(-settings.bucket_bytes // settings.segment_bytes)
        self.split_soon: Callable[[Bucket], object] = self.split_full
        self.beside = False  # upkeep sets both where it splits beside the writers
        self._lenders: dict[str, Bucket] = {}  # open parents, by children that are to be opened
        self._waits = True  # whether more of these may be found
        if self._is_all(told) and share is WHOLE:
            self.directory = Directory(Dormant(settings, one) for one in told)
        else:
            self.directory = Directory(self._open_all(share), share.others)
            for bucket in list(self.directory):
                if bucket.damage is None:
                    self._finish(bucket)
        self._merging = Merging(self.directory, settings.full_bytes, self._merge)

    # -- opening ------------------------------------------------------------------

    def _is_all(self, told: Sequence[Told]) -> bool:
        """Whether the segments that exist are exactly those of a close, and its ranges tile."""
        named = {one.bucket: list(one.numbers) for one in told}
        return named == self.settings.ground.listing() and tile((o.start, o.stop) for o in told)

    def _open_all(self, share: Share) -> list[Bucket]:
        """Every bucket of a range, parents and children in whatever order they can be opened."""
        ground = self.settings.ground
        opened: dict[str, Bucket] = {}
        damage: mending.Damage = {}
        unborn: set[str] = set()
        waiting = self._names(share)
        self._waits = True
        while waiting:
            # Listed anew each round: what was tried before may have dropped torn segments.
            listed = ground.listing()
            redone: set[str] = set()
            before = len(opened), len(waiting)
            for name in sorted(waiting):
                if name in redone:  # what is listed of it is no longer all
                    continue
                try:
                    bucket, children = self._open(name, listed.get(name, []), opened)
                except Corrupt as error:
                    # A child may wait for what its parent must share with it first.
                    damage[name] = error
                    continue
                waiting.discard(name)
                damage.pop(name, None)
                if bucket is None:
                    unborn.add(name)
                    continue
                opened[name] = bucket
                redone.update(children)
            waiting |= redone - opened.keys()
            waiting -= _retired(opened)  # half buried perhaps; their segments live elsewhere
            if (len(opened), len(waiting)) == before:
                if not self._waits:
                    break
                self._waits = False  # who waited for a parent has none that lends
        unread = self._share_with_damaged(opened)
        damage = unread | {name: damage[name] for name in waiting}
        return self._placed(opened, damage, unborn - opened.keys(), share)

    def _names(self, share: Share) -> set[str]:
        """The buckets to open. Where a bucket begins never changes, so that tells whose it is."""
        listed = self.settings.ground.listing()
        if not share.name:
            return set(listed)
        states = mending.states_of(self.settings, listed)
        return {
            name
            for name, state in states.items()
            if state is not None and share.start <= state.start < share.stop
        }

    def _open(
        self, name: str, numbers: list[int], opened: dict[str, Bucket]
    ) -> tuple[Bucket | None, list[str]]:
        """A bucket, and the children of its splits that have to be opened (again)."""
        lender = self._lenders.get(name)
        waits = lender is None and self._waits
        bucket = birth.open_bucket(self.settings, name, numbers, lender, waits=waits)
        if bucket is None:
            return None, []
        self._lenders.pop(name, None)
        try:
            return bucket, self._redo(bucket, opened)
        except Corrupt:
            bucket.close()
            raise

    def _placed(
        self, opened: dict[str, Bucket], damage: mending.Damage, unborn: set[str], share: Share
    ) -> list[Bucket]:
        """The buckets that live, with one that refuses wherever one is damaged.

        Of those that were never born nothing is left, unless nothing else explains a gap.
        """
        states = mending.states_of(self.settings, damage)
        for name in (_retired(opened) | mending.swallowed(states)) & opened.keys():
            opened.pop(name).close()
        cut_short = mending.overreaching(opened.values())
        cut_short |= mending.left_alone(opened, cut_short)
        for name in cut_short:
            opened.pop(name).close()
        damage, states = damage | cut_short, states | mending.states_of(self.settings, cut_short)
        living = list(opened.values())
        fresh = not (living or damage)
        gaps = [] if fresh else mending.gaps_of(living, (share.start, share.stop))
        new_id = None if share.name else self.new_id  # of a part not all that there is was read
        placed = mending.stand_ins(
            self.settings, gaps, damage, states, unborn=unborn, new_id=new_id
        )
        mending.refuse_misplaced(damage, states, placed)
        for name in unborn - {bucket.id for bucket in placed}:
            self.settings.ground.retire(name)
        return [self._first()] if fresh and not share.name else [*living, *placed]

    def _redo(self, parent: Bucket, opened: dict[str, Bucket]) -> list[str]:
        """Do again what follows from the splits in a parent's log; the children to open."""
        children = []
        lent = birth.lent(parent)
        for planned in parent.births:
            if planned.child not in opened:
                if planned is not lent:
                    fork.share_segments(parent, planned)
                if not fork.is_born(parent, planned):
                    fork.be_born(parent, planned).close()
                children.append(planned.child)
        if lent is not None:
            fork.prepare(parent)
            if lent.child in opened:
                opened[lent.child].lender = parent
            else:
                self._lenders[lent.child] = parent
        return children

    def _share_with_damaged(self, opened: dict[str, Bucket]) -> mending.Damage:
        """Give children that cannot be opened what their parents hold for them, to be mended from.

        Parents that turn out to be damaged, too, are taken out of ``opened`` and told.
        """
        damage = {}
        for name, parent in self._lenders.items():
            try:
                for planned in parent.births:
                    if planned.child == name:
                        fork.share_segments(parent, planned)
                absorb_waiting(parent)
                birth.cut_view(parent)
            except Corrupt as error:
                damage[parent.id] = error
                opened.pop(parent.id).close()
        self._lenders.clear()
        return damage

    def _first(self) -> Bucket:
        now = self.settings.time.now_ns()
        return birth.create(self.settings, self.new_id(), LogState(LOWEST, HIGHEST, 0, now))

    def _finish(self, bucket: Bucket) -> None:
        """Settle what a crash left between a decision and its last step, or leave it to upkeep."""
        if bucket.births:
            borrow = {one.id for one in self.directory if one.lender is bucket}
            bucket.standing.update({planned.child for planned in bucket.births} - borrow)
        with suppress(StorageFailed, OutcomeUnknown):  # a full disk can be read all the same
            fork.finish_moves(bucket)

    def mend(self, bucket: Bucket) -> list[str]:
        """Keep what verifies of a damaged bucket and open it again; what could not be kept.

        Raises:
            Corrupt: it cannot be mended, or is still damaged; StorageFailed.
        """
        with self.changing:
            if bucket.closed:
                return []
            if bucket.damage is None:
                self._settle(bucket)
            span = bucket.start, bucket.stop
            with commit.alone(bucket):
                bucket.stop = bucket.start  # whoever is on the way looks again
                bucket.close()
            try:
                others = {other.id: other for other in self.directory}
                return repair.mend(self.settings, bucket.id, span, others)
            finally:
                self.directory.swap(bucket, self._reopened(bucket, span))

    def _reopened(self, bucket: Bucket, span: tuple[bytes, bytes]) -> Bucket:
        """A bucket opened once more, or one that refuses where it cannot be."""
        numbers = self.settings.ground.listing().get(bucket.id, [])
        try:
            opened = birth.open_bucket(self.settings, bucket.id, numbers)
        except Corrupt as error:
            return repair.damaged(self.settings, bucket.id, span, error)
        except (StorageFailed, OSError) as error:  # the disk does not tell: not to be read for now
            unread = Corrupt(position=bucket.id, what=str(error))
            return repair.damaged(self.settings, bucket.id, span, unread)
        return opened or repair.damaged(self.settings, bucket.id, span, mending.MISSING)

    def new_id(self) -> str:
        """An id that no bucket had before."""
        return self.settings.entropy.bytes(ID_BYTES).hex()

    # -- sharing a store among processes ---------------------------------------------

    def give(self, start: bytes, stop: bytes, others: Sequence[Elsewhere]) -> None:
        """Leave a range to another process: settle its buckets and close them.

        Args:
            start: where it begins, at an edge of our share.
            stop: where it ends, exclusive.
            others: who holds all that is not ours, once this is done.

        Raises:
            InvalidValue: the range is not made of whole buckets at an edge; nothing was done.
        """
        with self.changing:
            leaving = [b for b in self.directory if start <= b.start < stop]
            staying = [b for b in self.directory if b not in leaving]
            if not leaving or leaving[0].start != start or leaving[-1].stop != stop:
                raise InvalidValue(argument="start", reason="no whole buckets")
            share = _without(self.share, start, stop)
            for bucket in self.directory:
                bucket.finish_birth()
            for bucket in leaving:
                fork.finish_moves(bucket)  # or whoever opens it would open its children too
            for bucket in leaving:
                self._leave(bucket)
            self.directory.replace(staying, others)
            self.share = share

    @staticmethod
    def _leave(bucket: Bucket) -> None:
        """Close a bucket that another process will open; whoever is on the way looks again."""
        bucket.sync_published()
        with bucket.absorbing, commit.alone(bucket):
            commit.write_mark(bucket, Type.CLOSE, bucket.time.now_ns())
            bucket.close()

    def take(self, start: bytes, stop: bytes, others: Sequence[Elsewhere]) -> None:
        """Hold a range beside ours that another process left, and open its buckets."""
        with self.changing:
            share = _with(self.share, start, stop)
            opened = self._open_all(self.share._replace(start=start, stop=stop))
            self.directory.replace([*self.directory, *opened], others)
            self.share = share
            for bucket in opened:
                if bucket.damage is None:
                    self._finish(bucket)

    def route(self, others: Sequence[Elsewhere]) -> None:
        """Take note of who holds what, after two others changed it between them."""
        with self.changing:
            self.directory.replace(list(self.directory), others)

    # -- growing ------------------------------------------------------------------

    def grow(self, bucket: Bucket, key: bytes, pace: Pace = no_pace) -> bool:
        """Make room for ``key`` in a full bucket: roll at the right edge, else split.

        Whether the ranges changed. A bucket with one key stays whole: the bound
        is soft by one record. While another change of ranges is under way, nobody
        waits for it whose bucket may still take a little more.
        """
        if not self.changing.acquire(blocking=overrun(bucket) >= FORCED):
            return False
        try:
            if not bucket.start <= key < bucket.stop or bucket.closed:
                return True
            return self._grow(bucket, key, pace)
        finally:
            self.changing.release()

    def has_outgrown(self, bucket: Bucket, key: bytes) -> bool:
        """Whether a bucket is full and its writer, who brings ``key``, has to make it grow.

        A roll is quick. To split takes a look at every row in memory, and a bucket whose
        last split is not finished has to be waited for: upkeep does that beside the
        writers, who are slowed meanwhile, and one of them only where nobody else came.
        """
        if bucket.weight < bucket.bound:
            return False
        rolls = key > bucket.highest and bucket.lender is None and bucket.is_counted()
        if rolls or overrun(bucket) >= FORCED:
            return bucket.is_full()
        self.split_soon(bucket)
        return False

    def split_full(self, bucket: Bucket, pace: Pace = no_pace) -> None:
        """Split a bucket that seems full, if it is."""
        self._settle(bucket, pace)
        bucket.resolve_all(pace)
        if bucket.is_full():
            # Not its highest key: that may be one of a part that was cut off before.
            self.grow(bucket, bucket.start, pace)

    def _grow(self, bucket: Bucket, key: bytes, pace: Pace) -> bool:
        """Roll or split. Under the lock of changes."""
        if self._child(bucket, key, pace) is None:
            # As it will be the next time: not before there is some more in it.
            bucket.bound = bucket.weight + self.settings.bucket_bytes // AGAIN_PART
            return False
        bucket.bound = self.settings.full_bytes
        with suppress(OSError, StorageFailed, OutcomeUnknown):  # then upkeep does it later
            fork.finish_moves(bucket)
        self.reserve.fit(self.directory)
        return True

    def _child(self, bucket: Bucket, key: bytes, pace: Pace) -> Bucket | None:
        """What takes a part of a bucket's range, or None where it cannot be cut now."""
        if not self.reserve.is_roomy(bucket.id):
            return None  # a full disk has no room for a split that is half done
        try:
            fork.finish_moves(bucket)
            if key > bucket.highest:
                return fork.roll(bucket, self.new_id(), add=self.directory.add)
            return self._split(bucket, pace)
        except (OSError, StorageFailed, OutcomeUnknown, Corrupt):
            return None  # the bound is soft: no write fails because growth did

    def _split(self, bucket: Bucket, pace: Pace) -> Bucket | None:
        """Cut a bucket near the middle, once nothing of its last split is left to do."""
        self._settle(bucket, pace)
        if len(bucket.log.ended) > self._usual * CROWD_TIMES * (CROWD_MOST if self.beside else 1):
            try_collect(bucket, pace)
        start = middle(bucket, pace)
        if start is None:
            return None
        return fork.split(bucket, self.new_id(), start, self.directory.add, pace=pace)

    def lighten(self, pace: Pace = no_pace, enough: Callable[[], bool] = never) -> None:
        """Drop what splits left behind in buckets of many segments, before it is shared on and on.

        Args:
            pace: called between slices of work.
            enough: asked now and then; True leaves the rest for later.
        """
        for bucket in list(self.directory):
            many = not bucket.dormant and len(bucket.log.ended) > CROWD_TIMES * self._usual
            if many and not (bucket.births or bucket.broken or enough()):
                try_collect(bucket, pace, enough)

    def _settle(self, bucket: Bucket, pace: Pace = no_pace) -> None:
        """Let a bucket read through nobody, and nobody through it."""
        bucket.finish_birth(pace)
        for child in list(self.directory):
            if child.lender is bucket:
                child.finish_birth(pace)

    def rebuild(self, bucket: Bucket, *, in_memory: bool = False) -> None:
        """Throw a bucket's view away and derive it again from its log.

        Its writers wait and nobody splits it; readers go on. ``in_memory``: no view is
        written, and the disk has its room. What an interrupted write left half visible
        is visible then, and the bucket can be written again.
        """
        with self.changing:
            if bucket.closed:
                return
            self._settle(bucket)
            with (
                bucket.absorbing,
                commit.alone(bucket),
                failing.mended(bucket),
                doubted(bucket.id),
            ):
                birth.rebuild(bucket, in_memory=in_memory)

    def heal(self, bucket: Bucket) -> None:
        """Let a bucket be written again that only reads, if what was wrong can be mended."""
        if bucket.broken == failing.INTERRUPTED:
            self.rebuild(bucket)
        else:
            failing.go_on(bucket)

    # -- shrinking ----------------------------------------------------------------

    def shrink(self, pace: Pace = no_pace, enough: Callable[[], bool] = never) -> int:
        """Merge neighbours that became small; how many buckets went (merging.py).

        Args:
            pace: called between two looks.
            enough: asked before each look; True ends the work early.
        """
        return self._merging.shrink(pace, enough)

    def _merge(self, left: Bucket, right: Bucket) -> bool:
        """Make two neighbours one, if nothing speaks against it."""
        with self.changing:
            if any(bucket.broken or _is_gone(bucket) for bucket in (left, right)):
                return False
            left.finish_birth()
            right.finish_birth()
            if shares_too_many(left, right):
                return False
            if not (expel(left, right.start, right.stop) and expel(right, left.start, left.stop)):
                return False
            try:
                if not fork.merge(left, right):
                    return False
            finally:
                # Once it is decided the left holds the range, whatever failed after it.
                if _is_gone(right):
                    self.directory.remove(right)
            fork.bury(left, right.id)
        return True


def _without(share: Share, start: bytes, stop: bytes) -> Share:
    """A share less a range at one of its edges."""
    if start == share.start:
        return share._replace(start=stop)
    if stop == share.stop:
        return share._replace(stop=start)
    raise InvalidValue(argument="start", reason="not at an edge")


def _with(share: Share, start: bytes, stop: bytes) -> Share:
    """A share and a range beside it."""
    if share.start == share.stop:
        return share._replace(start=start, stop=stop)
    if stop == share.start:
        return share._replace(start=start)
    if start == share.stop:
        return share._replace(stop=stop)
    raise InvalidValue(argument="start", reason="not beside the share")


def _is_gone(bucket: Bucket) -> bool:
    return bucket.closed


def _retired(opened: dict[str, Bucket]) -> set[str]:
    """The buckets that were merged into one of these."""
    return {name for bucket in opened.values() for name in bucket.retired}
