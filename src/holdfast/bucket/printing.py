"""Build what stands in front of a bucket's view in memory, in slices (prints, presence)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.bucket.checkpoint import never
from holdfast.views.port import Table
from holdfast.views.prints import Prints

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.checkpoint import Pace

PRINTS_LEAST = 10_000  # keys in a view before fingerprints are worth their memory
PRINTS_SLICE = 100


def grow_prints(bucket: Bucket, pace: Pace, enough: Callable[[], bool] = never) -> None:
    """Go on building a bucket's fingerprints, unless it has them or is too small for them.

    By a slice at least; ``enough`` is asked behind each whether the rest is left for later.
    """
    if bucket.lender is not None or bucket.view_tally.keys < PRINTS_LEAST:
        return
    if bucket.growing is None:
        seed = int.from_bytes(bucket.settings.entropy.bytes(8))
        bucket.growing, bucket.grown_to = Prints(seed), bucket.start
    while bucket.prints is None and _grow_slice(bucket) and not enough():
        pace()


def _grow_slice(bucket: Bucket) -> bool:
    """Take a slice of the view into the fingerprints; whether there is more to do."""
    with bucket.absorbing:
        growing = bucket.growing
        if growing is None:  # a checkpoint let it go
            return False
        page = bucket.view.scan(Table.KEYS, bucket.grown_to, bucket.stop, PRINTS_SLICE)
        growing.put(page)
        if len(page) < PRINTS_SLICE:
            bucket.prints = growing
            return False
        bucket.grown_to = page[-1][0] + b"\0"
        return True


def grow_presence(bucket: Bucket, pace: Pace, enough: Callable[[], bool] = never) -> None:
    """Go on taking the view's keys into what knows them, where a write began one; as above."""
    while bucket.presence is not None and _grow_presence(bucket) and not enough():
        pace()


def _grow_presence(bucket: Bucket) -> bool:
    """Take in a slice of the view; whether there is more to do.

    Keys of a checkpoint that runs meanwhile are taken in by that, and scanned again here.
    """
    with bucket.absorbing:
        growing = bucket.presence
        if growing is None or growing.whole or bucket.lender is not None:
            return False
        page = bucket.view.scan(Table.KEYS, growing.grown_to, bucket.stop, PRINTS_SLICE)
        growing.add([key for key, _ in page])
        if len(page) < PRINTS_SLICE:
            growing.whole = True
            return False
        growing.grown_to = page[-1][0] + b"\0"
        return True
