"""When upkeep reads on in the logs for the trees of proofs: by the way, or at once.

A write pays nothing for proofs: while a bucket is written, its tree is followed for a tenth of
the time, and only read, not put together. What was not read waits until nobody writes, or until
somebody wants a seal, which reads all there is; so that this is not too long, a tree that is
further behind than ``BEHIND`` is followed like anything else that upkeep does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from holdfast.clock import MACHINE, Clock

if TYPE_CHECKING:
    from holdfast.certify.absorb import Absorbed
    from holdfast.log.log import Position

BEHIND: Final = 1_000_000  # records: a seal reads them in some seconds
RESTS: Final = 9  # times as long as it worked
QUIET_NS: Final = 500_000_000  # without a write; a slow disk keeps a writer waiting that long


class Following:
    """How far each tree is to be followed now. For upkeep's thread alone.

    Args:
        clock: tells time; how long a thread worked, the machine does.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._worked = MACHINE.thread_ns
        self._seen: dict[str, tuple[Position, int]] = {}  # where a log ended, and since when
        self._due_ns = 0

    def yields(self, piece: Absorbed) -> bool:
        """Whether a tree has to wait for those who write to its bucket."""
        published, now = piece.bucket.published, self._clock.monotonic_ns()
        seen, since = self._seen.get(piece.id, (None, now))
        if seen != published:
            self._seen[piece.id] = (published, now)
            since = now
        return now - since < QUIET_NS and piece.behind() < BEHIND

    def is_due(self) -> bool:
        """Whether it has rested as long as it has to beside writers."""
        return self._clock.monotonic_ns() >= self._due_ns

    def begin(self) -> int:
        """What ``rest`` must be told."""
        return self._worked()

    def rest(self, begun: int) -> None:
        """Rest for as long as the work since ``begin`` demands."""
        worked = self._worked() - begun
        self._due_ns = self._clock.monotonic_ns() + RESTS * worked

    def forget_all_but(self, known: Iterable[str]) -> None:
        """Buckets that are gone need no look."""
        kept = set(known)
        self._seen = {name: at for name, at in self._seen.items() if name in kept}
