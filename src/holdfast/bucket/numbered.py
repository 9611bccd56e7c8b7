"""Numbered stores that ask nothing and meet nothing special, many at once (rule 9).

What ``once.py`` does of each is done of all of them: they are admitted to their session
together, what they came to is noted together, and one SESSION record says so in the group
that carries them. Where a number was applied before, or anything else needs a look, each is
decided for itself.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

import msgspec

from holdfast.bucket import metered, plain
from holdfast.bucket.outcomes import Stored
from holdfast.bucket.sessions import namespace_of
from holdfast.errors import HoldfastError
from holdfast.log.header import SessionRecord
from holdfast.log.records import Type
from holdfast.values import Receipts

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.group import Gathering
    from holdfast.operations import Once


class Noted(msgspec.Struct, frozen=True):
    """What numbers of one session came to, in a group that is not published yet."""

    namespace: bytes
    session: bytes
    outcomes: dict[int, bytes]


def store_many(
    bucket: Bucket, group: Gathering, batch: plain.Batch, first: Once
) -> Receipts | None:
    """Stage stores without options whose numbers follow one another from ``first`` on.

    None where any of them needs a look. Under the bucket's lock.
    """
    keys = batch[0]
    low, high = min(keys), max(keys)
    namespace = namespace_of(low)
    if namespace_of(high) != namespace or not _are_new(bucket, namespace, first, len(keys)):
        return None
    receipts = (
        metered.store_many(bucket, group, batch, (low, high))
        if bucket.purses
        else plain.plan(bucket, group, batch, high)
    )
    if receipts is None:
        return None
    told = list(map(Stored, receipts.versions, receipts.sizes, repeat(None)))
    numbers = range(first.number, first.number + len(told))
    outcomes = dict(zip(numbers, map(msgspec.msgpack.encode, told), strict=True))
    _write_down(bucket, group, keys[0], Noted(namespace, first.session, outcomes))
    return receipts


def _are_new(bucket: Bucket, namespace: bytes, first: Once, count: int) -> bool:
    """Whether a session takes so many numbers, none of which it knows."""
    try:
        return bucket.sessions.takes(namespace, first, count, bucket.time.now_ns())
    except HoldfastError:
        return False  # each for itself is told why


def _write_down(bucket: Bucket, group: Gathering, key: bytes, noted: Noted) -> None:
    """Add the record of numbers to the group that carries what they came to."""
    bucket.sessions.stage_all(noted.namespace, noted.session, noted.outcomes)
    group.noted.append(noted)
    floor = bucket.sessions.floor(noted.namespace, noted.session)
    record = SessionRecord(noted.session, floor, tuple(noted.outcomes.items()))
    before = group.length
    value, version = msgspec.msgpack.encode(record), bucket.next_version()
    group.add(Type.SESSION, key, value, version, bucket.time.now_ns())
    group.beside += group.length - before


def publish(bucket: Bucket, group: Gathering) -> None:
    """Keep what the numbers of a published group came to."""
    for noted in group.noted:
        bucket.sessions.settle_all(noted.namespace, noted.session, noted.outcomes)


def undo(bucket: Bucket, group: Gathering) -> None:
    """Forget the numbers of a failed group."""
    for noted in group.noted:
        bucket.sessions.forget_all(noted.namespace, noted.session, noted.outcomes)
    group.noted = []
