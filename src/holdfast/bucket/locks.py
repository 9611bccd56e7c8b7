"""Who holds which lock, timed by the owner's monotonic clock (rule 7).

The log remembers that a lock was taken, not when it ends: after open, take-over
or split it runs its full time again, never less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from holdfast.bucket import rows
from holdfast.views.port import Table

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.clock import Clock


class Held(NamedTuple):
    """A lock in force: 20-byte id, fence, length of its lease, monotonic end."""

    lock_id: bytes
    fence: int
    ttl_ns: int
    ends_ns: int


class Locks:
    """The locks of one bucket.

    Args:
        clock: whose monotonic time counts.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic_ns()  # from when a lease that nobody asked for runs
        self._again: dict[bytes, int] = {}  # the same for leases that were forgotten later
        self._held: dict[bytes, Held | None] = {}

    def holder(self, bucket: Bucket, key: bytes) -> Held | None:
        """The lock that holds a key now, or None."""
        if key in self._held:
            held = self._held[key]
        else:
            held = self._held[key] = self._remembered(bucket, key)
        if held is None or held.ends_ns <= self._clock.monotonic_ns():
            return None
        return held

    def take(self, key: bytes, held: Held) -> None:
        """Begin (or begin anew) a lease."""
        self._held[key] = held._replace(ends_ns=self._clock.monotonic_ns() + held.ttl_ns)

    def release(self, key: bytes) -> None:
        """End a lease."""
        self._held[key] = None

    def carry(self, key: bytes, held: Held | None) -> None:
        """Take a lease over from a bucket that is merged in, as it stands there."""
        self._held[key] = held

    def forget(self, key: bytes) -> None:
        """Know nothing of a key any more: a lease that the state holds runs anew from here."""
        self._held.pop(key, None)
        self._again[key] = self._clock.monotonic_ns()

    def ended(self) -> list[tuple[bytes, bytes]]:
        """Keys and ids of leases that ran out (their rows may go); forgets released ones."""
        now = self._clock.monotonic_ns()
        for key in [key for key, held in self._held.items() if held is None]:
            del self._held[key]
        return [
            (key, held.lock_id)
            for key, held in self._held.items()
            if held is not None and held.ends_ns <= now
        ]

    def _remembered(self, bucket: Bucket, key: bytes) -> Held | None:
        row = bucket.peek(Table.LOCKS, key)
        if not row:
            return None
        side = rows.unpack_row(row)
        lock_id, ttl_ns = rows.LOCK.unpack(side.payload)
        since = self._again.pop(key, self._since)
        return Held(lock_id, side.version, ttl_ns, since + ttl_ns)
