"""A bucket that was not asked for anything since the store was opened.

After a clean close the buckets' ranges are told by one file (store/closed.py), so
an opening need not read every log. Whoever asks such a bucket for more than its
range opens it, the same way as ever: from its own log and view. What the file told
decides nothing but where that bucket stands, and a log that says otherwise is
refused.
"""

from __future__ import annotations

from threading import RLock

import msgspec

from holdfast.bucket import commit
from holdfast.bucket.birth import open_bucket
from holdfast.bucket.bucket import NOWHERE, Bucket
from holdfast.bucket.repair import damaged
from holdfast.bucket.settings import Settings
from holdfast.engines.port import refused
from holdfast.errors import Closed, Corrupt

ELSEWHERE = "the range of a bucket is not the one of the last close"
MISSING = "no segment of the bucket is left"


class Told(msgspec.Struct, frozen=True, array_like=True):
    """What a clean close says of one bucket.

    Its range, the segments that exist, and the end of the largest, in bytes.
    """

    bucket: str
    start: bytes
    stop: bytes
    numbers: tuple[int, ...]
    largest: int


class Dormant(Bucket):
    """Stands in the directory for a bucket that is not open yet, and becomes it.

    Only what is set here is known of it. To ask for anything else opens it: the
    missing attributes arrive, and the object is a plain ``Bucket`` from then on, so
    who holds it need not know, and nothing is asked twice.

    Args:
        settings: what all buckets share.
        told: what the last close said of it.
    """

    dormant = far = True

    def __init__(self, settings: Settings, told: Told) -> None:
        # Not the parent's: what that would set is what shall be missing.
        self.settings = settings
        self.told = told
        self.id = told.bucket
        self.start = told.start
        self.stop = told.stop
        self.closed = False
        self._waking = RLock()

    def __getattr__(self, name: str) -> object:
        """Called for what is missing: open the bucket, and look again."""
        if name.startswith("__"):
            raise AttributeError(name)
        Dormant.wake(self)  # somebody may have made it a plain one just now
        return getattr(self, name)

    def wake(self) -> None:
        """Open the bucket, whoever comes first; one that is damaged refuses from then on.

        Raises:
            Closed: the store was closed meanwhile; StorageFailed: the disk refused.
        """
        with self._waking:
            if not self.dormant:
                return
            if self.closed:
                raise Closed(what="store")
            span = self.start, self.stop
            try:
                opened = self._opened()
            except Corrupt as error:
                opened = damaged(self.settings, self.id, span, error)
            except OSError as error:
                raise refused(self.id, error) from error
            self.__dict__.update(opened.__dict__)  # at once: others may be looking
            self.__class__ = Bucket  # type: ignore[assignment]
            self.meter()

    def _opened(self) -> Bucket:
        told = self.told
        opened = open_bucket(self.settings, told.bucket, list(told.numbers))
        where = f"bucket {told.bucket}"
        if opened is None:
            raise Corrupt(position=where, what=MISSING)
        if (opened.start, opened.stop) != (told.start, told.stop) or not is_settled(opened):
            opened.close()
            raise Corrupt(position=where, what=ELSEWHERE)
        opened.cold = opened.view.file is not None  # until somebody sees that it is in memory
        return opened

    def disown(self) -> None:
        """As ``Bucket.disown``; it is not opened for that."""
        self._waking = RLock()
        Bucket.disown(self)

    def close(self) -> None:
        """Never open it."""
        with self._waking:
            if self.dormant:
                self.closed = True
                self.start = self.stop = NOWHERE
                return
        Bucket.close(self)


def is_settled(bucket: Bucket) -> bool:
    """Whether no split or merge has left anything to do."""
    return not (bucket.births or bucket.retired or bucket.standing or bucket.lender)


def leave(bucket: Bucket) -> Told | None:
    """Take no more writes; what a clean close may say of it, None where it must be read.

    Nothing is written to it afterwards, so what is told stays true.
    """
    if isinstance(bucket, Dormant):
        with bucket._waking:  # noqa: SLF001 - it is ours
            if bucket.dormant:
                return bucket.told
    with commit.alone(bucket):
        log = bucket.log
        sound = bucket.broken is None and bucket.damage is None and is_settled(bucket)
        ends = [info.stop for info in log.ended.values()]
        numbers = tuple(sorted({*log.ended, log.number}))
        told = Told(bucket.id, bucket.start, bucket.stop, numbers, max([log.stop, *ends]))
        bucket.stop = bucket.start  # whoever is on the way finds the store closed
        return told if sound and log.synced == log.stop else None
