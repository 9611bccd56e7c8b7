"""Where the bytes are: live, dead and on disk, told apart."""

from __future__ import annotations

from holdfast.bucket.bucket import Bucket
from holdfast.errors import Corrupt
from holdfast.placement.directory import HIGHEST, LOWEST, Directory
from holdfast.placement.elsewhere import Elsewhere
from holdfast.request.arguments import BEYOND
from holdfast.upkeep.space import Held, dead_of, held
from holdfast.values import BucketStatus, Place, Status

Bound = tuple[str, str] | None
TRIES = 3


def status(directory: Directory, dead_letters: int) -> Status:
    """The figures of every bucket, exact: what is unresolved is looked up first.

    A segment that buckets share is on disk once: each counts what it keeps alive
    of it, and an equal part of the rest.
    """
    while True:  # a bucket that was merged away meanwhile is counted with its neighbour
        buckets = _settled(directory)
        try:
            told = _status(buckets, dead_letters)
        except Corrupt:
            if not any(bucket.closed for bucket in buckets):
                raise
        else:
            if not any(bucket.closed for bucket in buckets):
                return told
        directory.look_again()


def _status(buckets: list[Bucket], dead_letters: int) -> Status:
    tallies = {bucket.id: bucket.resolve_all() for bucket in buckets}
    all_held = {bucket.id: held(bucket, tallies[bucket.id]) for bucket in buckets}
    dead = dead_of(all_held)
    told = tuple(
        _bucket_status(bucket, tallies[bucket.id].keys, all_held[bucket.id], dead[bucket.id])
        for bucket in buckets
    )
    return Status(
        told,
        sum(bucket.live_bytes for bucket in told),
        sum(bucket.dead_bytes for bucket in told),
        sum(bucket.disk_bytes for bucket in told),
        dead_letters,
    )


def _settled(directory: Directory) -> list[Bucket]:
    """The buckets, once none borrows from another: until then both count the same keys."""
    for _ in range(TRIES):
        version = directory.version
        for bucket in directory:
            bucket.finish_birth()
        if directory.version == version:
            break
    return list(directory)


def _bucket_status(bucket: Bucket, keys: int, its: Held, dead: int) -> BucketStatus:
    """One bucket's figures."""
    return BucketStatus(
        bucket.id,
        _bound(bucket.start),
        _bound(bucket.stop),
        bucket.doing(),
        keys,
        its.live,
        dead,
        its.live + dead + its.view,
        bucket.state.bytes_held(),
    )


def _bound(composite: bytes) -> Bound:
    """A range's end as (namespace, key), or None at the ends of the keyspace."""
    if composite in (LOWEST, HIGHEST):
        return None
    ends = [i for i in (composite.find(b"\0"), composite.find(b"\1")) if i >= 0]
    at = min(ends, default=len(composite))
    return composite[:at].decode(), composite[at + 1 :].decode("utf-8", "backslashreplace")


def place_of(directory: Directory, composite: bytes, space: bytes, address: str = "local") -> Place:
    """Where a key lives; the range is cut to the caller's namespace.

    Args:
        directory: of the buckets.
        composite: the key.
        space: the namespace.
        address: where this process answers.
    """
    bucket = directory.find(composite)
    if isinstance(bucket, Elsewhere):
        return bucket.place(composite, space)
    inside = space < bucket.start < space + BEYOND
    start = _bound(bucket.start) if inside else None
    stop = _bound(bucket.stop) if bucket.stop < space + BEYOND else None
    return Place(bucket.id, start, stop, address, directory.version)
