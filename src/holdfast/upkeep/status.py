"""Where the bytes are: live, dead and on disk, told apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.hidden import owner_of
from holdfast.errors import Corrupt, Moved
from holdfast.placement.directory import HIGHEST, LOWEST, Directory
from holdfast.placement.elsewhere import Elsewhere
from holdfast.request.arguments import HIDDEN
from holdfast.upkeep.space import Held, dead_of, held
from holdfast.values import BucketStatus, Place, Problem, Status

Bound = tuple[str, str] | None
TRIES = 3
NOTHING: Final[Mapping[str, int]] = {}


class Counted(msgspec.Struct, frozen=True):
    """What is counted of one bucket, before files that it shares are divided among sharers."""

    id: str
    start: bytes
    stop: bytes
    state: str
    keys: int
    heap_bytes: int
    search_behind: int
    held: Held


def status(
    directory: Directory,
    dead_letters: int,
    behind: Mapping[str, int] = NOTHING,
    problems: Iterable[Problem] = (),
) -> Status:
    """The figures of every bucket, exact: what is unresolved is looked up first.

    A segment that buckets share is on disk once: each counts what it keeps alive
    of it, and an equal part of the rest.
    """
    return figures_of(count(directory, behind), dead_letters, problems)


def count(directory: Directory, behind: Mapping[str, int] = NOTHING) -> tuple[Counted, ...]:
    """What is to be counted of each of our buckets, in the order of their ranges.

    ``behind``: by bucket, how many records its search index lacks.
    """
    while True:  # a bucket that was merged away meanwhile is counted with its neighbour
        buckets = _settled(directory)
        try:
            counted = tuple(_counted(one, behind.get(one.id, 0)) for one in buckets)
        except Corrupt:
            if not any(bucket.closed for bucket in buckets):
                raise
        else:
            if not any(bucket.closed for bucket in buckets):
                return counted
        directory.look_again()


def figures_of(
    counted: Sequence[Counted], dead_letters: int, problems: Iterable[Problem] = ()
) -> Status:
    """The figures of a whole store, of what was counted of all its buckets."""
    dead = dead_of({one.id: one.held for one in counted})
    buckets = tuple(_bucket_status(one, dead[one.id]) for one in counted)
    return Status(
        buckets,
        sum(bucket.live_bytes for bucket in buckets),
        sum(bucket.dead_bytes for bucket in buckets),
        sum(bucket.disk_bytes for bucket in buckets),
        dead_letters,
        sum(bucket.search_behind for bucket in buckets),
        tuple(problems),
    )


def _counted(bucket: Bucket, behind: int) -> Counted:
    tally = bucket.resolve_all()
    return Counted(
        bucket.id,
        bucket.start,
        bucket.stop,
        bucket.doing(),
        tally.keys,
        bucket.state.bytes_held(),
        behind,
        held(bucket, tally),
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


def _bucket_status(one: Counted, dead_bytes: int) -> BucketStatus:
    """One bucket's figures."""
    return BucketStatus(
        one.id,
        _bound(one.start),
        _bound(one.stop),
        one.state,
        one.keys,
        one.held.live,
        dead_bytes,
        one.held.live + dead_bytes + one.held.view,
        one.heap_bytes,
        one.search_behind,
    )


def _bound(composite: bytes) -> Bound:
    """A range's end as (namespace, key), or None at the ends of the keyspace.

    Where that is among the parts of a large object, the key is the object's, with words behind.
    """
    if composite in (LOWEST, HIGHEST):
        return None
    ends = [i for i in (composite.find(b"\0"), composite.find(b"\1")) if i >= 0]
    at = min(ends, default=len(composite))
    words = ""
    if composite[at : at + 1] == HIDDEN:
        composite, _, number = owner_of(composite)
        words = f" (part {number + 1})"
    name = composite[at + 1 :].decode("utf-8", "backslashreplace")
    key = name.removesuffix("\0")  # as a bucket begins that was rolled
    return composite[:at].decode(), f"{key}{words}{name[len(key) :]}"


def place_of(directory: Directory, composite: bytes, space: bytes, address: str = "local") -> Place:
    """Where a key lives; the range is cut to the caller's namespace.

    Args:
        directory: of the buckets.
        composite: the key.
        space: the namespace.
        address: where this process answers.
    """
    while isinstance(bucket := directory.find(composite), Elsewhere):
        try:
            return bucket.place(composite, space)
        except Moved:  # it is on its way between two processes: asked again until it is there
            directory.look_again()
    # Behind its keys are parts of large objects, where a bucket may end too.
    hidden = space + HIDDEN
    inside = space < bucket.start < hidden
    start = _bound(bucket.start) if inside else None
    stop = _bound(bucket.stop) if bucket.stop < hidden else None
    return Place(bucket.id, start, stop, address, directory.version)
