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


SPARE = 64  # leases and ends of some kept beyond those in force, before the past ones go


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
        self._opened = clock.monotonic_ns()
        self._held: dict[bytes, Held | None] = {}
        self._ends: dict[bytes, int] = {}  # by lock id: also of leases whose record failed
        self._most = SPARE

    def holder(self, bucket: Bucket, key: bytes) -> Held | None:
        """The lock that holds a key now, or None."""
        held = self.last(bucket, key)
        if held is None or held.ends_ns <= self._clock.monotonic_ns():
            return None
        return held

    def last(self, bucket: Bucket, key: bytes) -> Held | None:
        """The lock that was the last to hold a key, unless it was given back."""
        if key in self._held:
            return self._held[key]
        held = self._remembered(bucket, key)
        if held is not None:
            self._held[key] = held
        return held

    def take(self, key: bytes, held: Held) -> None:
        """Begin (or begin anew) a lease."""
        now = self._clock.monotonic_ns()
        self.carry(key, held._replace(ends_ns=now + held.ttl_ns))
        if len(self._held) + len(self._ends) > self._most:
            self._forget_past(now)

    def _forget_past(self, now: int) -> None:
        """Keep what is in force, and past leases that the state, asked again, would have hold."""
        self._held = {
            key: held
            for key, held in self._held.items()
            if held is not None and max(held.ends_ns, self._opened + held.ttl_ns) > now
        }
        self._ends = {lock_id: ends for lock_id, ends in self._ends.items() if ends > now}
        self._most = 2 * (len(self._held) + len(self._ends)) + SPARE

    def release(self, key: bytes) -> None:
        """End a lease."""
        self._held[key] = None

    def carry(self, key: bytes, held: Held | None) -> None:
        """Take a lease over as it stands, from a bucket that is merged in."""
        self._held[key] = held
        if held is not None:
            self._ends[held.lock_id] = held.ends_ns

    def leave(self, start: bytes) -> None:
        """Know nothing of keys from ``start`` on: a child holds them now, and ends them."""
        self._held = {key: held for key, held in self._held.items() if key < start}

    def forget(self, key: bytes) -> None:
        """Know nothing of a key any more, as what was written of it failed: ask the state again.

        A lease that the state still holds ends when it would have ended.
        """
        self._held.pop(key, None)

    def _remembered(self, bucket: Bucket, key: bytes) -> Held | None:
        row = bucket.peek(Table.LOCKS, key)
        if not row:
            return None
        side = rows.unpack_row(row)
        lock_id, ttl_ns = rows.LOCK.unpack(side.payload)
        ends_ns = self._ends.get(lock_id, self._opened + ttl_ns)
        return Held(lock_id, side.version, ttl_ns, ends_ns)
