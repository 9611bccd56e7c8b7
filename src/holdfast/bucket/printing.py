"""Build the fingerprints in front of a bucket's view, in slices (views/prints.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.views.port import Table
from holdfast.views.prints import Prints

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.checkpoint import Pace

PRINTS_LEAST = 10_000  # keys in a view before fingerprints are worth their memory
PRINTS_SLICE = 200


def grow_prints(bucket: Bucket, pace: Pace) -> None:
    """Go on building a bucket's fingerprints, unless it has them or is too small for them."""
    if bucket.lender is not None or bucket.view_tally.keys < PRINTS_LEAST:
        return
    if bucket.growing is None:
        seed = int.from_bytes(bucket.settings.entropy.bytes(8))
        bucket.growing, bucket.grown_to = Prints(seed), bucket.start
    while bucket.prints is None and _grow_slice(bucket):
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
