"""Where to cut a bucket: near the middle of its live bytes."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import Pace, no_pace
from holdfast.log.entry import DELETED, ENTRY

EXACT_KEYS = 20_000  # below this every key is looked at
SAMPLES = 64
PAGE = 200


def middle(bucket: Bucket, pace: Pace = no_pace) -> bytes | None:
    """A key with live keys on both sides of the cut, or None where there is none."""
    if bucket.tally().keys <= EXACT_KEYS:
        return _exact(bucket, pace)
    return _sampled(bucket, pace) or _exact(bucket, pace)


def _exact(bucket: Bucket, pace: Pace) -> bytes | None:
    """The key at which half of the live bytes lie below."""
    weights: list[tuple[bytes, int]] = []
    at: bytes | None = bucket.start
    while at is not None and at < bucket.stop:
        rows, at = bucket.page(at, bucket.stop, PAGE)
        weights += [(key, len(key) + ENTRY.unpack_from(row)[3]) for key, row in rows]
        pace()
    half = sum(weight for _, weight in weights) // 2
    passed = 0
    for index, (key, weight) in enumerate(weights):
        if passed >= half and index:
            return key
        passed += weight
    return weights[-1][0] if len(weights) > 1 else None


def _sampled(bucket: Bucket, pace: Pace) -> bytes | None:
    """The median of keys spread over every key block and the overlay."""
    keys: list[bytes] = []
    for number in list(bucket.log.ended):
        block = bucket.log.key_block(number)
        if block is not None:
            keys += block.sample(SAMPLES)
            bucket.log.forget_blocks()  # one at a time: together they are much memory
        pace()
    recent, rows = list(bucket.state.keys), bucket.state.keys  # as they came, so in no order
    keys += [key for key in recent[:: max(1, len(recent) // SAMPLES)] if rows[key] != DELETED]
    mine = sorted(key for key in keys if bucket.start <= key < bucket.stop)
    if not mine:
        return None
    cut = len(mine) // 2
    start = mine[cut]
    # Not asked in order: to put an overlay's keys in order takes many milliseconds at once.
    below = (key for key in mine[:cut] if key < start)
    return start if _lives(bucket, below) and _lives(bucket, mine[cut:]) else None


def _lives(bucket: Bucket, keys: Iterable[bytes]) -> bool:
    """Whether any of some keys is there."""
    return any(bucket.state.entry(key) is not None for key in keys)
