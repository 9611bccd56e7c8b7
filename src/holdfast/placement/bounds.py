"""How near its bound a bucket is that is to grow, and what holds its writers back meanwhile.

No writer splits a bucket that upkeep can split beside it. What is left to see to is
that upkeep gets there: it is asked a quarter before the bound, less 4 MiB, and the
nearer a bucket comes the more slowly it is filled, by waits of milliseconds that many
writes share, where one write would else wait for seconds until a whole split is done.
"""

from __future__ import annotations

from typing import Final

from holdfast.bucket.bucket import Bucket
from holdfast.clock import MACHINE, Clock
from holdfast.limits import SECOND_NS

BRAKED: Final = 0.25  # of what is left to the bound: from here on writers are slowed
FORCED: Final = 4  # times that slack: nobody came, so a writer splits
FASTEST_BYTES_S: Final = 32 << 20  # of a bucket's writers together where the brake sets in ...
HALVINGS: Final = 6  # ... and so often half of that at the bound
WAIT_S: Final = 0.04  # of one call at most


def overrun(bucket: Bucket) -> float:
    """How far a bucket is on its way from where it is to grow, 0, to its bound, 1."""
    over, slack = bucket.weight - bucket.bound, bucket.settings.slack_bytes
    return over / slack if slack > 0 else FORCED * float(over >= 0)


class Brake:
    """Slows the writers of buckets that fill faster than they are split.

    Args:
        clock: the machine's, which tells when a bucket may be written to again, and waits.
    """

    def __init__(self, clock: Clock = MACHINE) -> None:
        self._clock = clock
        self._free_ns: dict[str, int] = {}  # when what a bucket was brought is paid for

    def wait(self, bucket: Bucket, size_bytes: int) -> None:
        """Wait as long as ``size_bytes`` more are worth, at most ``WAIT_S``."""
        over = overrun(bucket)
        if over < BRAKED:
            self._free_ns.pop(bucket.id, None)
            return
        now = self._clock.monotonic_ns()
        share = min(1.0, (over - BRAKED) / (1 - BRAKED))
        rate = FASTEST_BYTES_S >> round(HALVINGS * share)
        free = max(now, self._free_ns.get(bucket.id, now)) + size_bytes * SECOND_NS // rate
        self._free_ns[bucket.id] = free = min(free, now + round(WAIT_S * SECOND_NS))
        self._clock.sleep((free - now) / SECOND_NS)
