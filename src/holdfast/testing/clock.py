"""Time that tests move by hand, and chance that a seed repeats.

Both implement the ports of ``holdfast.clock``; neither asks the machine for
anything, so a run is the same everywhere and a failure can be run again.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Final

from holdfast.errors import InvalidValue
from holdfast.limits import SECOND_NS
from holdfast.request import arguments

START_NS: Final = 1_700_000_000 * SECOND_NS  # 2023-11-14T22:13:20Z, for no other reason than order


class ManualClock:
    """A clock that stands still until it is told to go on.

    ``wall_ns`` and ``monotonic_ns`` advance together by ``advance``; only wall
    time follows ``step_wall``; ``sleep`` is ``advance``, so nothing ever waits.
    The monotonic clock has an origin of its own, as the machine's has, so that
    mixing the two up shows.

    Args:
        now_ns: wall time to begin with, nanoseconds since 1970.

    Raises:
        InvalidValue: it is no integer.

    Example:
        >>> clock = ManualClock(now_ns=1_000)
        >>> clock.advance(500)
        >>> clock.wall_ns()
        1500
    """

    def __init__(self, now_ns: int = START_NS) -> None:
        self._guard = threading.Lock()
        self._wall_ns = arguments.integer(now_ns, "now_ns")
        self._monotonic_ns = SECOND_NS

    def wall_ns(self) -> int:
        """Nanoseconds since 1970, as the hand set them."""
        return self._wall_ns

    def monotonic_ns(self) -> int:
        """Nanoseconds since an origin of no meaning; never goes back."""
        return self._monotonic_ns

    def advance(self, duration_ns: int) -> None:
        """Let ``duration_ns`` nanoseconds pass on both clocks.

        Raises:
            InvalidValue: the duration is negative, or no integer; only ``step_wall`` goes back.
        """
        if arguments.integer(duration_ns, "duration_ns") < 0:
            raise InvalidValue(argument="duration_ns", reason="negative")
        with self._guard:
            self._wall_ns += duration_ns
            self._monotonic_ns += duration_ns

    def step_wall(self, offset_ns: int) -> None:
        """Set wall time off by ``offset_ns`` (an operator or NTP); no time passes."""
        arguments.integer(offset_ns, "offset_ns")
        with self._guard:
            self._wall_ns += offset_ns

    def sleep(self, seconds: float) -> None:
        """Pass ``seconds`` at once; nothing and less pass no time, as with the real one."""
        if seconds > 0:
            self.advance(round(seconds * SECOND_NS))


class SeededEntropy:
    """Unpredictable-looking bytes that the same seed gives again.

    SHAKE-256 over the seed and the number of the call; good for ids in tests
    and for nothing that must stay secret.

    Args:
        seed: any integer; equal seeds give equal bytes, call by call.

    Example:
        >>> SeededEntropy(7).bytes(4) == SeededEntropy(7).bytes(4)
        True
    """

    def __init__(self, seed: int) -> None:
        self._guard = threading.Lock()
        self._seed = str(seed)
        self._calls = 0

    def bytes(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        with self._guard:
            self._calls += 1
            call = self._calls
        return hashlib.shake_256(f"{self._seed}/{call}".encode()).digest(count)
