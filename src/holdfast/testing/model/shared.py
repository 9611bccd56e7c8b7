"""What all namespaces of one model share: time, chance, the counter of versions."""

from __future__ import annotations

from holdfast.clock import Clock, Entropy
from holdfast.errors import Closed
from holdfast.values import DeadLetter


class Shared:
    """Time that only the monotonic clock moves, and versions that only grow.

    Args:
        clock: wall time is asked once, here; steps of it afterwards change nothing.
        entropy: where lock ids come from.
    """

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self.clock = clock
        self.entropy = entropy
        self.version = 0
        self.closed = False
        self.failures: list[DeadLetter] = []  # of put_soon, not yet flushed
        self.dead_letters: list[DeadLetter] = []
        self._offset_ns = clock.wall_ns() - clock.monotonic_ns()

    def now_ns(self) -> int:
        """The store's time, nanoseconds since 1970."""
        return self.clock.monotonic_ns() + self._offset_ns

    def next_version(self) -> int:
        """A version above all that were handed out."""
        self.version += 1
        return self.version

    def require_open(self) -> None:
        """Raise Closed once the store is closed."""
        if self.closed:
            raise Closed
