"""What every bucket of a store shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec

from holdfast.bucket.gates import Gates
from holdfast.bucket.lag import Lags
from holdfast.bucket.room import Room
from holdfast.clock import BucketTime, Clock, Entropy
from holdfast.engines.port import Segments
from holdfast.log.header import Identity
from holdfast.views.port import View

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket

Sync = Literal["always", "interval", "never"]
SLACK_PART = 4  # of its bound that is left of a bucket where it is to grow, less ...
SLACK_LESS = 4 << 20  # ... so many bytes: that is filled while upkeep gets to the split


class Behind:
    """Where writers ask that their bucket be synced beside them; None where nobody does that."""

    __slots__ = ("soon",)

    def __init__(self) -> None:
        self.soon: Callable[[Bucket], None] | None = None


class Settings(msgspec.Struct, frozen=True):
    """The ground, the clocks and the bounds that buckets are given.

    ``bucket_bytes`` bounds a bucket's live bytes, ``segment_bytes`` a segment;
    ``open_view`` makes the view of a bucket id, ``drop_view`` forgets it for good.
    ``in_place``: sealed segments are mapped; without it every read is a call, so that
    a cold page never holds the interpreter (rule 12). ``lags``: reads that are not charged yet.
    ``behind``: who syncs beside writers. ``room``: what all overlays may hold. ``gates``: how
    often namespaces may be asked.
    """

    ground: Segments
    identity: Identity
    open_view: Callable[[str], View]
    drop_view: Callable[[str], None]
    clock: Clock
    time: BucketTime
    entropy: Entropy
    sync: Sync
    bucket_bytes: int
    segment_bytes: int
    lags: Lags
    in_place: bool = True
    behind: Behind = msgspec.field(default_factory=Behind)
    room: Room = msgspec.field(default_factory=Room)
    gates: Gates = msgspec.field(default_factory=lambda: Gates(lambda: 0))

    @property
    def slack_bytes(self) -> int:
        """What writers may still bring to a bucket that is to grow, before it is at its bound."""
        return max(0, self.bucket_bytes // SLACK_PART - SLACK_LESS)

    @property
    def full_bytes(self) -> int:
        """Live bytes from which on a bucket is to grow."""
        return self.bucket_bytes - self.slack_bytes
