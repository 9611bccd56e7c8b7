"""How far charges of reads are behind: at most 10,000 reads of a namespace, in all buckets.

A read is counted in memory and charged later, so a crash loses what was not charged yet. Each
read draws a number; whoever draws one that is too far behind the last charge has everything
charged before it is answered. So the bound holds whatever upkeep is busy with. Half way there
whoever charges beside the readers (``upkeep/charger.py``) is called, so that none of them
waits for the disk, and where few read it looks twice a second, which bounds the time.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket

READS_MOST: Final = 10_000  # of a namespace that a crash may lose, in all processes of a store
Charge = Callable[["Bucket", bytes], object]


def _nobody() -> None:
    """Nobody charges by the clock: ticks do."""


class Lag:
    """The reads of one namespace, in all buckets of this process, since they were charged last.

    ``draw`` numbers a read that was counted; from the number ``heed_at`` on ``heed`` is due, and
    from ``until`` on nobody is answered before ``catch_up``.

    Args:
        namespace: whose.
        most: reads that may be behind.
        charge: charges what a bucket has counted, durably.
        near: calls whoever charges beside the readers.
    """

    def __init__(
        self, namespace: bytes, most: int, charge: Charge, near: Callable[[], object] = _nobody
    ) -> None:
        self.draw = count().__next__
        self.until = self._most = most
        self.heed_at = most // 2
        self._near = near
        self.last = 0  # number that was drawn last, as far as who cannot wait has to know
        self._namespace = namespace
        self._charge = charge
        self._turn = Lock()
        self._buckets: WeakValueDictionary[str, Bucket] = WeakValueDictionary()

    def hold(self, bucket: Bucket) -> None:
        """Charge what this bucket counts, too."""
        self._buckets[bucket.id] = bucket

    def heed(self, number: int) -> None:
        """Have it charged beside the readers; where that did not come in time, wait for it."""
        if number >= self.until:
            self.catch_up(number)
        else:
            self.heed_at = self.until  # called once; if another was just charged, not for that
            self._near()

    def is_near(self) -> bool:
        """Whether it is time to charge, for who cannot wait for it later."""
        return self.last >= self.until - self._most // 2

    def is_over(self, more: int = 0) -> bool:
        """Whether no more may be read, or not so many, until it is charged: who cannot wait."""
        return self.last + more >= self.until

    def catch_up(self, number: int | None = None) -> None:
        """Charge all that was counted; with a ``number``, unless that is near enough by now.

        What a bucket cannot charge because its disk refuses is lost in the tenant's favour.
        """
        with self._turn:
            if number is not None and number < self.until:
                return
            begun = self.draw()
            for bucket in list(self._buckets.values()):
                with suppress(HoldfastError):
                    self._charge(bucket, self._namespace)
            self.until = begun + self._most
            self.heed_at = begun + self._most // 2
            self.last = begun


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
