"""Where the bytes are: live, dead and on disk, told apart."""

from __future__ import annotations

from holdfast.bucket.bucket import Bucket
from holdfast.placement.directory import HIGHEST, LOWEST, Directory
from holdfast.request.arguments import BEYOND
from holdfast.upkeep.upkeep import disk_bytes
from holdfast.values import BucketStatus, Place, Status

Bound = tuple[str, str] | None


def status(directory: Directory, dead_letters: int) -> Status:
    """The figures of every bucket, exact: what is unresolved is looked up first."""
    told = tuple(bucket_status(bucket) for bucket in list(directory))
    return Status(
        told,
        sum(bucket.live_bytes for bucket in told),
        sum(bucket.dead_bytes for bucket in told),
        sum(bucket.disk_bytes for bucket in told),
        dead_letters,
    )


def bucket_status(bucket: Bucket) -> BucketStatus:
    """One bucket's figures."""
    bucket.finish_birth()
    tally = bucket.resolve_all()
    live = tally.total()
    disk = disk_bytes(bucket) + bucket.view.disk_bytes()
    written = sum(info.stop for info in bucket.log.ended.values()) + bucket.log.stop
    return BucketStatus(
        bucket.id,
        _bound(bucket.start),
        _bound(bucket.stop),
        bucket.doing(),
        tally.keys,
        live,
        max(0, written - live),
        disk,
        bucket.state.bytes_held(),
    )


def _bound(composite: bytes) -> Bound:
    """A range's end as (namespace, key), or None at the ends of the keyspace."""
    if composite in (LOWEST, HIGHEST):
        return None
    ends = [i for i in (composite.find(b"\0"), composite.find(b"\1")) if i >= 0]
    at = min(ends, default=len(composite))
    return composite[:at].decode(), composite[at + 1 :].decode("utf-8", "backslashreplace")


def place_of(directory: Directory, composite: bytes, space: bytes) -> Place:
    """Where a key lives; the range is cut to the caller's namespace (rule 15)."""
    bucket = directory.find(composite)
    inside = space < bucket.start < space + BEYOND
    start = _bound(bucket.start) if inside else None
    stop = _bound(bucket.stop) if bucket.stop < space + BEYOND else None
    return Place(bucket.id, start, stop, "local", directory.version)
