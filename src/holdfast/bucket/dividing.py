"""Purses through splits, merges and the ledger's hand: one control record each, replayed alike.

A split divides what a purse holds, so that both halves go on deciding alone: what is there
is counted, what is free is halved. Sums stay what they were: of money, of what is allotted,
of what is used. A merge joins two; what the ledger still has to hear of the bucket that goes
is kept with the other's (``Purse.others``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from holdfast.bucket.hidden import HIDDEN
from holdfast.bucket.purse import UNBOUNDED, Purse, Purses
from holdfast.charges import wide
from holdfast.limits import LIST_PAGE
from holdfast.log.entry import unpack
from holdfast.log.header import Birth, PursedBirth, PursedMerge
from holdfast.log.purses import Kept, Rent
from holdfast.log.records import Record, Type
from holdfast.views.port import Table

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket

TELLING: Final = frozenset((Type.CHARGE, Type.SPLIT, Type.BORN, Type.MERGE, Type.PURSE))


class Held(NamedTuple):
    """What is stored of a namespace in a range: bytes of keys and values, objects, rent bytes."""

    size_bytes: int = 0
    objects: int = 0
    rent_bytes: int = 0


def held(bucket: Bucket, namespace: bytes, start: bytes, stop: bytes, *, now_ns: int = 0) -> Held:
    """Count what a bucket holds of a namespace. Under the lock, with nothing pending.

    What has expired at ``now_ns``, in bucket time, counts no more; at 0 all that is there does.
    """
    cut = len(namespace) + 1
    at: bytes | None = max(start, bucket.start, namespace + b"\0")
    stop = min(stop, bucket.stop, namespace + HIDDEN)
    size = objects = rent = 0
    while at is not None and at < stop:
        page, at = bucket.state.page(Table.KEYS, at, stop, LIST_PAGE)
        for key, row in page:
            entry = unpack(row)
            if 0 < entry.expires_ns <= now_ns:
                continue
            taken = len(key) - cut + entry.size
            size += taken
            rent += 0 if entry.terms else taken
            objects += 1
    return Held(size, objects, rent)


def shares(bucket: Bucket, start: bytes, now_ns: int) -> tuple[Kept, ...]:
    """What the child of a split at ``start`` gets of every purse. Under the lock."""
    return tuple(
        _share(bucket, purse, start, now_ns)
        for purse in bucket.purses.values()
        if purse.span[0] < bucket.stop and start < purse.span[1]
    )


def _share(bucket: Bucket, purse: Purse, start: bytes, now_ns: int) -> Kept:
    kept = purse.kept()
    whole = start <= purse.span[0]
    there = (
        Held(purse.used_bytes, purse.used_objects, purse.rent_bytes)
        if whole
        else held(bucket, purse.namespace, start, bucket.stop)
    )
    free = purse.float_atto
    return Kept(
        purse.namespace,
        0,
        kept.terms,
        wide(free if whole else free // 2),
        0,
        (
            _part(purse.allotted_bytes, purse.used_bytes, there.size_bytes, whole=whole),
            _part(purse.allotted_objects, purse.used_objects, there.objects, whole=whole),
        ),
        (there.size_bytes, there.objects),
        Rent(there.rent_bytes, now_ns),
        (),
        kept.owed if whole else (),
        purse.grace_ns,
        purse.empty_ns,
    )


def _part(allotted: int, used: int, moved: int, *, whole: bool) -> int:
    """How much of an allotment goes with what moves: that, and half of what is free."""
    if whole or allotted == UNBOUNDED:
        return allotted
    return min(max(0, moved + (allotted - used) // 2), allotted)


def give(purses: Purses, birth: Birth, given: tuple[Kept, ...], version: int) -> None:
    """Take out of the parent's purses what a split gave; once."""
    purses.shares[birth.child] = given
    for share in given:
        purse = purses.get(share.namespace)
        if purse is not None and purse.version < version:
            purse.give(share, version, birth.time_ns)


def join(purses: Purses, merge: PursedMerge, version: int) -> None:
    """Hold what a merge brought; once."""
    for kept in merge.purses:
        purse = purses.get(kept.namespace)
        other = Purse(kept, merge.bucket)
        if purse is None:
            other.accrue(merge.time_ns)
            purses.put(msgspec.structs.replace(other.kept(), version=version))
        elif purse.version < version:
            purse.join(other, version, merge.time_ns)


def replay(purses: Purses, record: Record, value: bytes) -> None:
    """Do again what a record did to purses, once."""
    if record.type == Type.SPLIT:
        birth = msgspec.msgpack.decode(value, type=PursedBirth)
        if birth.purses:
            give(purses, birth, birth.purses, record.version)
    elif record.type == Type.BORN:
        purses.shares.pop(value.decode(), None)
    elif record.type == Type.MERGE:
        join(purses, msgspec.msgpack.decode(value, type=PursedMerge), record.version)
    elif record.type == Type.PURSE:
        kept = msgspec.msgpack.decode(value, type=Kept)
        known = purses.get(kept.namespace)
        if known is None or known.version < kept.version:
            purses.put(kept)
    elif record.type == Type.CHARGE:
        purses.replay(record, value)
