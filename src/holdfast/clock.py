"""The only file that may ask for now or for chance.

Everything below the doors is handed a ``Clock`` and an ``Entropy``; nothing
else imports ``time``, ``random``, ``secrets`` or ``os.urandom`` (checked by
import-linter and by tests/house).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from threading import Lock
from typing import Final, Protocol

from holdfast.limits import CLOCK_DRAW_PERCENT, CLOCK_STEP_NS, SECOND_NS, TIME_MARK_NS

log = logging.getLogger("holdfast.clock")
FREE: Final = 1 << 63  # no mark is before it: nothing expires


class Clock(Protocol):
    """Tells the time and waits.

    ``wall_ns`` is nanoseconds since 1970 and may step; ``monotonic_ns`` never
    goes back and has no known origin; ``sleep`` waits ``seconds``.
    """

    def wall_ns(self) -> int: ...

    def monotonic_ns(self) -> int: ...

    def sleep(self, seconds: float) -> None: ...


class Entropy(Protocol):
    """Hands out ``count`` unpredictable bytes."""

    def bytes(self, count: int) -> bytes: ...


class SystemClock:
    """The machine's own clocks."""

    wall_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)
    sleep = staticmethod(time.sleep)
    thread_ns = staticmethod(time.thread_time_ns)


MACHINE = SystemClock()  # paces work beside requests, whatever clock a store goes by


class SystemEntropy:
    """The machine's own randomness."""

    bytes = staticmethod(os.urandom)


class BucketTime:
    """Time that is never back: the larger of wall time and what the log has seen.

    It starts at ``max(wall, floor)``, advances with the monotonic clock and is
    drawn towards wall time by at most 5 % of rate, so neither a step of the
    wall clock nor a restart revives what has expired (rule 7). Nor does it stand
    still: where it is ahead it goes on at 95 % of rate until it is not.

    Once it is bound nobody is told a time that is not written down: a crash cannot
    make it earlier, whoever asked and whatever else went on.

    Args:
        clock: the clock to follow.
        begin_ns: the latest time that is written down.
        write: makes a time durable that later lives begin at; False where it cannot.
    """

    def __init__(
        self, clock: Clock, begin_ns: int = 0, write: Callable[[int], bool] = lambda _: True
    ) -> None:
        self.steps = 0
        self._written = begin_ns
        self._mark = FREE  # the latest time that may be told
        self._write = write
        self._writing, self._drawing = Lock(), Lock()
        self._apart = 0  # how far wall time was from this when it was drawn last
        self._clock = clock
        self._now = clock.monotonic_ns
        self._last = clock.wall_ns()
        drawn = clock.monotonic_ns()
        # When it was drawn, what it is above the monotonic clock, and what of that is to go.
        self._line = (drawn, self._last - drawn, 0)
        self._begun = drawn
        self.raise_to(begin_ns)

    def now_ns(self) -> int:
        """Bucket time, nanoseconds since 1970."""
        drawn, offset, ahead = self._line
        monotonic = self._now()
        now = monotonic + offset
        if ahead:
            now -= _gone(monotonic - drawn, ahead)
        if now > self._last:
            if now > self._mark:
                self._write_mark(now, 0)
            self._last = now
            return now
        return self._last

    def bind(self) -> None:
        """Something may expire: from now on tell no time that is not written down."""
        if self._mark == FREE:
            with self._writing:
                self._mark = self._written
            self._write_mark(self._last, 0)

    def mark_ahead(self) -> None:
        """Write the next mark while half of this one is left, so that nobody waits for it."""
        if self._mark != FREE:
            self._write_mark(self.now_ns(), self._ahead() // 2)

    @property
    def told_ns(self) -> int:
        """The latest time that anybody was told."""
        return self._last

    @property
    def mark_ns(self) -> int:
        """How far time may get, by what is written down; for who keeps a mark of his own."""
        return max(self._written, self.now_ns())

    def release(self, is_calm: Callable[[], bool]) -> None:
        """Write no more marks, if nothing can expire: asked again once that would be seen."""
        if self._mark != FREE and is_calm():
            self._mark = FREE
            if not is_calm():  # whoever bound it meanwhile found it bound
                self.bind()

    def end(self) -> None:
        """Write down where time really stands, and no more from then on: the store is closed."""
        with self._writing:
            self._mark = FREE
            if self._written > self._last:
                self._write(self.now_ns())

    def _write_mark(self, now: int, left: int) -> None:
        """See to it that what is written down is more than ``left`` after ``now``."""
        with self._writing:
            if now + left > self._mark:
                mark = now + self._ahead()
                if self._write(mark):
                    self._mark = self._written = mark
                else:
                    self._mark = now + left + SECOND_NS  # time goes on, the disk is asked again

    def _ahead(self) -> int:
        """How far a mark goes: as far as this life took, or crash after crash would add up."""
        return min(TIME_MARK_NS, max(SECOND_NS, self._now() - self._begun))

    def raise_to(self, floor_ns: int) -> None:
        """Never again answer less than ``floor_ns`` (a log's time mark)."""
        with self._drawing:  # who draws it beside would lose this
            behind = floor_ns - self.now_ns()
            if behind > 0:
                drawn, offset, ahead = self._line
                self._line = (drawn, offset + behind, ahead)
                self._apart -= behind

    def draw(self) -> None:
        """Follow wall time by at most 5 % of the time passed since the last call.

        Where wall time was set by over 5 s since, that is an event: logged, counted in
        ``steps``, and followed no faster than any other difference.
        """
        with self._drawing:
            self._draw()

    def _draw(self) -> None:
        monotonic = self._clock.monotonic_ns()
        since, offset, ahead = self._line
        slowed = _gone(monotonic - since, ahead)
        offset -= slowed
        apart = self._clock.wall_ns() - (monotonic + offset)
        stepped = apart - self._apart - slowed
        if abs(stepped) > CLOCK_STEP_NS:
            self.steps += 1
            log.warning("wall time was set by %.1f s; bucket time goes on", stepped / SECOND_NS)
        drawn = _gone(monotonic - since, max(apart, 0))
        self._line = (monotonic, offset + drawn, max(-apart, 0))
        self._apart = apart - drawn


def _gone(passed: int, apart: int) -> int:
    """What of a difference is made up for in the time that passed."""
    return min(apart, passed * CLOCK_DRAW_PERCENT // 100)
