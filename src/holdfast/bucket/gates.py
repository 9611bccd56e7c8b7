"""How often a namespace may be asked, and by how many at once, who have the store in hand.

A server's doors hold requests themselves, those of all its processes together
(``server/bounds.py``); where one serves the store, nothing is held here. What the house does by
itself is let in, and so is what ``put_soon`` stores: it was held when it was queued.

A write is under way from when it is decided until its group is on the disk, or failed. A read
is answered where it is asked for, so it finds others under way and nobody finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, get_ident
from typing import Final

from holdfast.errors import LimitExceeded
from holdfast.limits import SECOND_NS

RATE: Final = "requests_per_s"  # as ``configure`` calls it
CONCURRENT: Final = "concurrent_max"


def may_enter(rate: int, now: int, before: int, part_ns: int) -> bool:
    """Whether one more is let in.

    Args:
        rate: that may be within a second.
        now: let in within this second.
        before: within the second before, of which counts what is not a second ago.
        part_ns: of this second that has passed.
    """
    lately_ns = now * SECOND_NS + before * (SECOND_NS - part_ns)
    # One more where some of it is from the second before: who asks evenly is never refused.
    return now < rate and lately_ns < (rate + 1) * SECOND_NS


class Window:
    """What is asked of one namespace: at most ``rate`` a second, ``most`` at once; None: any."""

    __slots__ = ("_before", "_lock", "_now", "_second", "_under_way", "most", "rate")

    def __init__(self, rate: int | None, most: int | None) -> None:
        self.rate = rate
        self.most = most
        self._lock = Lock()
        self._second = self._now = self._before = self._under_way = 0

    def spend(self, now_ns: int, *, again: bool = False) -> str | None:
        """Let one in; the name of the bound that does not. ``again``: the rate has counted it."""
        with self._lock:
            if self.most is not None and self._under_way >= self.most:
                return CONCURRENT
            rate = None if again else self.rate
            return None if rate is None or self._is_in_rate(rate, now_ns) else RATE

    def _is_in_rate(self, rate: int, now_ns: int) -> bool:
        second, part_ns = divmod(now_ns, SECOND_NS)
        if second != self._second:
            self._before = self._now if second == self._second + 1 else 0
            self._second, self._now = second, 0
        if not may_enter(rate, self._now, self._before, part_ns):
            return False
        self._now += 1
        return True

    def begin(self) -> None:
        """One that was let in is under way."""
        with self._lock:
            self._under_way += 1

    def end(self) -> None:
        """It is no more."""
        with self._lock:
            self._under_way -= 1


class Gates:
    """The bounds on requests of one store's namespaces. Safe for threads.

    ``windows`` are those that are held, by namespace; where there is none, nobody need enter.

    Args:
        now_ns: the clock that never goes back.
    """

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._lock = Lock()
        self.windows: dict[bytes, Window] = {}
        self._house: set[int] = set()  # threads that are let in
        self._are_held = True

    def hold(self, namespace: bytes, rate: int | None, most: int | None = None) -> None:
        """Let a namespace be asked so often in a second, by so many at once; None: as wanted."""
        with self._lock:
            known = self.windows.get(namespace)
            if (rate is None and most is None) or not self._are_held:
                self.windows.pop(namespace, None)
            elif known is None:
                self.windows[namespace] = Window(rate, most)
            else:
                known.rate, known.most = rate, most

    def leave_to_doors(self) -> None:
        """Hold nothing any more: a server does."""
        with self._lock:
            self._are_held = False
            self.windows.clear()

    def let_in(self) -> None:
        """Let in whatever this thread asks for."""
        self._house.add(get_ident())

    def enter(self, namespace: bytes, *, again: bool = False) -> Window | None:
        """Begin a request; what counts it while it is under way, if anything does.

        Args:
            namespace: whose.
            again: it was begun before, and waits for what it did not get.

        Raises:
            LimitExceeded: there were too many within the last second, or are at once; nothing
                was done.
        """
        window = self.windows.get(namespace)
        if window is None or get_ident() in self._house:
            return None
        over = window.spend(self._now_ns(), again=again)
        if over is None:
            return window
        most = window.most if over == CONCURRENT else window.rate
        raise LimitExceeded(limit=over, most=most, namespace=namespace.decode())
