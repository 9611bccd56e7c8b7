"""Where keys live, and how that changes: open every bucket, roll, split, merge."""

from __future__ import annotations

from threading import RLock

from holdfast.bucket import birth, fork
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import Pace, no_pace
from holdfast.bucket.settings import Settings
from holdfast.errors import Corrupt, HoldfastError
from holdfast.limits import MERGE_PART
from holdfast.log.header import LogState
from holdfast.placement.choose import middle
from holdfast.placement.directory import HIGHEST, LOWEST, Directory

ID_BYTES = 8


class Placement:
    """The buckets of one store and the directory over them.

    Args:
        settings: what all buckets share.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.changing = RLock()  # one change of ranges at a time
        self.directory = Directory(self._open_all())
        for bucket in list(self.directory):
            self._finish(bucket)

    # -- opening ------------------------------------------------------------------

    def _open_all(self) -> list[Bucket]:
        """Every bucket, parents and children in whatever order they can be opened."""
        ground = self.settings.ground
        opened: dict[str, Bucket] = {}
        waiting = set(ground.listing())
        while waiting:
            trouble: Corrupt | None = None
            before = len(waiting)
            for name in sorted(waiting):
                try:
                    # Listed anew: what was tried before may have dropped torn segments.
                    bucket = birth.open_bucket(self.settings, name, ground.listing().get(name, []))
                except Corrupt as error:
                    # A child may wait for what its parent must share with it first.
                    trouble = error
                    continue
                waiting.discard(name)
                if bucket is None:
                    ground.retire(name)
                    continue
                opened[name] = bucket
                waiting.update(self._redo(bucket, opened))
            if len(waiting) == before and trouble is not None:
                raise trouble
        return self._living(opened) or [self._first()]

    def _redo(self, parent: Bucket, opened: dict[str, Bucket]) -> list[str]:
        """Do again what follows from the splits in a parent's log; the children to open."""
        children = []
        for planned in parent.births:
            if planned.child not in opened:
                fork.share_segments(parent, planned)
                if not fork.is_born(parent, planned):
                    fork.be_born(parent, planned).close()
                children.append(planned.child)
        return children

    @staticmethod
    def _living(opened: dict[str, Bucket]) -> list[Bucket]:
        retired = {name for bucket in opened.values() for name in bucket.retired}
        return [bucket for name, bucket in opened.items() if name not in retired]

    def _first(self) -> Bucket:
        now = self.settings.time.now_ns()
        return birth.create(self.settings, self.new_id(), LogState(LOWEST, HIGHEST, 0, now))

    def _finish(self, bucket: Bucket) -> None:
        """Settle what a crash left between a decision and its last step."""
        for planned in bucket.births:
            fork.confirm(bucket, planned.child)
        for gone in bucket.retired:
            fork.bury(bucket, gone)

    def new_id(self) -> str:
        """An id that no bucket had before."""
        return self.settings.entropy.bytes(ID_BYTES).hex()

    # -- growing ------------------------------------------------------------------

    def grow(self, bucket: Bucket, key: bytes) -> bool:
        """Make room for ``key`` in a full bucket: roll at the right edge, else split.

        Whether the ranges changed. A bucket with one key stays whole: the bound
        is soft by one record.
        """
        with self.changing:
            if not bucket.start <= key < bucket.stop or bucket.closed:
                return True
            child = None
            if key > bucket.highest:
                child = fork.roll(bucket, self.new_id())
            else:
                start = middle(bucket)
                if start is not None:
                    child = fork.split(bucket, self.new_id(), start)
            if child is None:
                return False
            self.directory.add(child)
            return True

    # -- shrinking ----------------------------------------------------------------

    def shrink(self, pace: Pace = no_pace) -> int:
        """Merge neighbours that are small together; how many buckets went.

        Only under a quarter of the bound, so that a merged bucket does not soon
        split again.
        """
        merged = 0
        at = 0
        while True:
            buckets = self.directory.table[1]
            if at + 1 >= len(buckets):
                return merged
            left, right = buckets[at], buckets[at + 1]
            if self._small(left, right) and self._merge(left, right):
                merged += 1
            else:
                at += 1
            pace()

    def _small(self, left: Bucket, right: Bucket) -> bool:
        most = self.settings.bucket_bytes // MERGE_PART
        if left.weight > 2 * most + left.settings.segment_bytes and left.absorbed is None:
            return False
        together = left.resolve_all().total() + right.resolve_all().total()
        return together < most

    def _merge(self, left: Bucket, right: Bucket) -> bool:
        with self.changing:
            try:
                if not fork.merge(left, right):
                    return False
            except (OSError, HoldfastError):
                if not right.closed:
                    return False
                raise
            self.directory.remove(right)
            fork.bury(left, right.id)
            return True
