"""Reads are charged at most a second late: a thread of its own looks twice in that time.

It is apart from upkeep because a round of upkeep over many buckets may take longer. It does
next to nothing where nothing was read, and never runs where nothing is metered; what it does
with the interpreter held is a few counters for each bucket that was read (rule 11).
"""

from __future__ import annotations

from threading import Event, Thread
from typing import Final

from holdfast.bucket.lag import Lags

LATE_S: Final = 0.4  # the rest of a second is for the disk


class Charger:
    """Charges what was counted, until it is stopped.

    Args:
        lags: what was counted.
    """

    def __init__(self, lags: Lags) -> None:
        self._lags = lags
        self._wake = Event()
        self._is_over = False
        self._thread: Thread | None = None

    def begin(self) -> None:
        """Charge from the first read on."""
        self._lags.begun = self._start
        self._lags.near = self._wake.set

    def _start(self) -> None:
        self._thread = Thread(target=self._run, name="holdfast-charger", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over:
            self._wake.wait(LATE_S)
            self._wake.clear()
            self._lags.catch_up()

    def stop(self) -> None:
        """End the thread; what was counted until now is left to whoever closes."""
        self._lags.begun = _nothing
        self._is_over = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()


def _nothing() -> None:
    """The store is being closed."""
