"""How upkeep's thread shares the interpreter: it rests as long as it worked (rule 11)."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.clock import Clock

SECOND_NS = 1_000_000_000


class Pacer:
    """Sleeps between slices: as long as the slice took, unless somebody waits for the work.

    Args:
        clock_ns: tells how long a slice took. Where the clock knows what the thread itself
            worked, that: calls that wait for the disk do not count (rule 11).
        sleep: waits so many seconds.
    """

    LEAST_S = 0.0002
    HURRIED_S = 0.00005  # so that a thread that waits for the interpreter has its turn

    def __init__(self, clock_ns: Callable[[], int], sleep: Callable[[float], None]) -> None:
        self._now = clock_ns
        self._sleep = sleep
        self._since = clock_ns()
        self.hurry = False
        self.closing = False
        self.rest = 1  # times as long as the next slice took

    def __call__(self) -> None:
        """Sleep; only for a moment if somebody waits, and not where nobody else works any more."""
        if self.closing:
            return
        worked = (self._now() - self._since) / SECOND_NS
        self._sleep(self.HURRIED_S if self.hurry else max(worked * self.rest, self.LEAST_S))
        self.rest = 1
        self._since = self._now()


def paced(clock: Clock) -> Pacer:
    """What a caller's own long work rests by, on the thread that does it."""
    return Pacer(clock.monotonic_ns, clock.sleep)
