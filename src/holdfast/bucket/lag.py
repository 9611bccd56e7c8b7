"""How far charges of reads are behind: at most 10,000 reads of a namespace, in all buckets.

A read is counted in memory and charged later, so a crash loses what was not charged yet. A
bucket is granted a number of reads at a time; who counts one more is granted the next, or,
where as many as may be behind were granted, has everything charged before it is answered. So
the bound holds whatever upkeep is busy with, and a read that is within the grant looks at one
number. Before half of it is used whoever charges beside the readers (``upkeep/charger.py``) is
called, so that none of them waits for the disk; where few read it looks twice a second, which
bounds the time.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.counted import Reads

READS_MOST: Final = 10_000  # of a namespace that a crash may lose, in all processes of a store
GRANTED: Final = 8  # no more than such a part of them is granted and not used
GRANT: Final = 20  # nor such a part to one bucket
EARLY: Final = 5 / 8  # of them are left when it is time to charge: the interpreter is to be had
# by whoever does when a reader gave it up, thousands of reads later, twice until the disk begins.
Charge = Callable[["Bucket", bytes], object]


def _nobody() -> None:
    """Nobody charges by the clock: ticks do."""


class Lag:
    """The reads of one namespace, in all buckets of this process, since they were charged last.

    Args:
        namespace: whose.
        most: reads that may be behind.
        charge: charges what a bucket has counted, durably.
        near: calls whoever charges beside the readers.
    """

    def __init__(
        self, namespace: bytes, most: int, charge: Charge, near: Callable[[], object] = _nobody
    ) -> None:
        self.granting = Lock()  # of what is left and what was granted
        self._most = self._left = most
        self._has_called = False
        self._near = near
        self._namespace = namespace
        self._charge = charge
        self._turn = Lock()
        self._buckets: WeakValueDictionary[str, Bucket] = WeakValueDictionary()

    def hold(self, bucket: Bucket) -> None:
        """Charge what this bucket counts, too."""
        self._buckets[bucket.id] = bucket

    def grant(self, reads: Reads) -> None:
        """Let a bucket that used its grant count more; charged before, where it must be."""
        while not self._grant(reads):
            self._catch_up(once_over=True)

    def _grant(self, reads: Reads) -> bool:
        with self.granting:
            part = self._most // max(GRANT, GRANTED * len(self._buckets))
            part = 0 if reads.is_held else part
            count = max(0, min(max(part, reads.over(), 1), self._left))
            self._left -= count
            reads.due += count
            is_enough = not reads.over()
        self._call()
        return is_enough

    def recall(self, reads: Reads) -> None:
        """Take back what a bucket was granted and has not used."""
        with self.granting:
            self._recall(reads)

    def _recall(self, reads: Reads) -> None:
        unused = reads.unused()
        reads.due -= unused
        self._left += unused

    def number(self, *, waits: bool) -> None:
        """Count one read that no bucket's grant is for.

        Args:
            waits: until all is charged, where it must be; who does not asks ``is_over`` before.
        """
        while True:
            with self.granting:
                has_left = self._left > 0
                self._left -= has_left or not waits
            if has_left or not waits:
                break
            self._catch_up(once_over=True)
        self._call()

    def _call(self) -> None:
        """Have it charged beside the readers where it is time, and nobody was called for that."""
        if not self._has_called and self._left <= self._most * EARLY:
            self._has_called = True
            self._near()

    def is_over(self, more: int = 0) -> bool:
        """Whether no more may be read, or not so many, until it is charged: who cannot wait."""
        needed = max(more, 1)
        if self._left >= needed:
            return False
        with self.granting:
            return self._left + sum(reads.unused() for reads in self._counting()) < needed

    def _counting(self) -> list[Reads]:
        """What each bucket counts."""
        counted = (bucket.reads.get(self._namespace) for bucket in list(self._buckets.values()))
        return [reads for reads in counted if reads is not None]

    def catch_up(self) -> None:
        """Charge all that was counted.

        What a bucket cannot charge because its disk refuses is lost in the tenant's favour.
        """
        self._catch_up()

    def _catch_up(self, *, once_over: bool = False) -> None:
        with self._turn:
            with self.granting:
                for reads in self._counting():
                    self._recall(reads)
                left = self._left
            if once_over and left > 0:
                return  # somebody else has charged it by now
            for bucket in list(self._buckets.values()):
                with suppress(HoldfastError):
                    self._charge(bucket, self._namespace)
            with self.granting:  # what was counted meanwhile is behind
                self._left += self._most - left
            self._has_called = False


class Lags(dict[bytes, Lag]):
    """The lags of a process by namespace; empty where nothing is metered.

    Args:
        charge: as of ``Lag``.
    """

    def __init__(self, charge: Charge) -> None:
        super().__init__()
        self.most = READS_MOST  # less, where several processes share it
        self.begun: Callable[[], object] = _nobody  # called with the first of them
        self.near: Callable[[], object] = _nobody  # called when it is time to charge
        self._charge = charge
        self._turn = Lock()

    def of(self, bucket: Bucket, namespace: bytes) -> Lag:
        """The lag of a namespace, which a bucket counts for from now on."""
        with self._turn:
            is_first = not self
            lag = self.get(namespace)
            if lag is None:
                lag = self[namespace] = Lag(namespace, self.most, self._charge, self._call)
            lag.hold(bucket)
        if is_first:
            self.begun()
        return lag

    def _call(self) -> None:
        self.near()

    def catch_up(self) -> None:
        """Charge all that was counted."""
        for lag in list(self.values()):
            lag.catch_up()
