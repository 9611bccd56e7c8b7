"""How long work shares the interpreter: upkeep rests as long as it worked (rule 11).

Rests are the machine's affair and go by its own clock, never by the store's: one that is moved by
hand would be moved by them, and an object would expire before anybody let its time pass.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holdfast.clock import MACHINE, SystemClock
from holdfast.limits import SECOND_NS


class Pacer:
    """Sleeps between slices: as long as the slice took, unless somebody waits for the work.

    It is called wherever work can be left, some times in each slice: where only the end of a
    page or a batch called it, a slice was as long as that took, on this machine and that day.

    Args:
        clock_ns: tells how long a slice took. Where the clock knows what the thread itself
            worked, that: calls that wait for the disk do not count (rule 11).
        sleep: waits so many seconds.
    """

    SLICE_S = 0.0001  # with what is done until the next call, 0.2 ms at most
    LONGEST_S = 0.01  # of one slice: what took longer left the interpreter (a commit, a sort)
    HURRIED_S = 0.00005  # so that a thread that waits for the interpreter has its turn ...
    HURRIED_SLICE_S = 0.001  # ... after so much work: shorter slices would rest a quarter of it
    BESIDE = 4  # times as long as it worked, while others' work is waited for

    def __init__(self, clock_ns: Callable[[], int], sleep: Callable[[float], None]) -> None:
        self._now = clock_ns
        self._sleep = sleep
        self.begin()
        self.hurry = False
        self.closing = False
        self.rest = 1  # times as long as the next slice took
        self._beside: list[None] = []

    def begin(self) -> None:
        """Count work from here; where the clock tells a thread's own time, by that thread."""
        self._since = self._now()

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Rest four times as long as it works, while somebody waits for other work (rule 11)."""
        self._beside.append(None)
        try:
            yield
        finally:
            self._beside.pop()

    def __call__(self) -> None:
        """Sleep; only for a moment if somebody waits, and not where nobody else works any more."""
        if self.closing:
            return
        worked = (self._now() - self._since) / SECOND_NS
        if worked < (self.HURRIED_SLICE_S if self.hurry else self.SLICE_S):
            return
        worked = worked if self.rest > 1 else min(worked, self.LONGEST_S)
        rest = max(self.rest, self.BESIDE if self._beside else 1)
        self._sleep(self.HURRIED_S if self.hurry else worked * rest)
        self.rest = 1
        self.begin()


def outlived(chore: Callable[[], object]) -> None:
    """Do one chore of a thread that has others: a mistake of ours in it ends it, and no more.

    It is told as one that ends a thread is.
    """
    try:
        chore()
    except Exception as error:  # noqa: BLE001 - whatever it is, the other buckets need upkeep
        told = (type(error), error, error.__traceback__, threading.current_thread())
        threading.excepthook(threading.ExceptHookArgs(told))


class Turns:
    """Lets others have the interpreter, between slices of work that somebody waits for.

    A slice that took longer than it worked had to wait for others: they get turns for a while,
    and where there are none nothing is lost. Without it a durable writer waits for its turn for
    as long as the interpreter lets a thread go on, twice for each group.

    Args:
        clock: the machine's, which tells both.
    """

    SLICE_NS = 500_000
    WAITED_NS = 100_000
    TURNS = 32  # after a slice that had to wait

    def __init__(self, clock: SystemClock = MACHINE) -> None:
        self._clock = clock
        self._worked = clock.thread_ns
        self._left = 0
        self._since, self._spent = clock.monotonic_ns(), self._worked()

    def __call__(self) -> None:
        """Sleep for a moment, where a slice has passed and others wait."""
        passed = self._clock.monotonic_ns() - self._since
        if passed < self.SLICE_NS:
            return
        if passed - (self._worked() - self._spent) > self.WAITED_NS:
            self._left = self.TURNS
        if self._left:
            self._left -= 1
            self._clock.sleep(Pacer.HURRIED_S)
        self._since, self._spent = self._clock.monotonic_ns(), self._worked()


def paced() -> Pacer:
    """What a caller's own long work rests by, on the thread that does it."""
    return Pacer(MACHINE.monotonic_ns, MACHINE.sleep)
