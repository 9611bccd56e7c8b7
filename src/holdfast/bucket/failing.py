"""A write that failed is not stored, nor is what was decided on top of it (rule 1).

The segment ends at the last place known durable and the next one begins: what was written
behind that place is no part of the log then. Where no segment can be begun nobody knows what
a crash would show, and the bucket serves reads only. Whoever is interrupted, by a Ctrl-C,
has failed like who was refused by the disk.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from holdfast.bucket import numbered, purse
from holdfast.bucket.noting import Noted
from holdfast.engines.port import LeftBehind, Segments
from holdfast.errors import HoldfastError, OutcomeUnknown, StorageFailed

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.group import Gathering
    from holdfast.log.log import Made

T = TypeVar("T")
Failure = OSError | HoldfastError  # the first happened while writing, the second before it
INTERRUPTED = "a write was interrupted"
HALF_BEGUN = "a write was interrupted while a segment was begun"
LEFT = "a segment that could not be begun could not be cleared away"
LOST = "a sync failed: what was written since the last one may be lost"
NO_SEGMENT = "no new segment could be begun"
PIECES = BEGINNING, DELETING, COLLECTING = 2, 1, 0  # of the reserve, as a full disk gives them up


def fail(bucket: Bucket, group: Gathering, error: Failure) -> None:
    """The group is not stored, nor is what was decided on top of it. Under the lock."""
    reason = restart(bucket, error) if isinstance(error, OSError) else error
    victims, following = [group], bucket.gathering
    if following is not None:
        victims.append(following)
        bucket.gathering = None  # nobody joins what has failed
    for victim in victims:
        victim.error = reason
        bucket.unstage(victim.fail())
        if victim.bookings:
            purse.undo(victim)
        if victim.noted:
            numbered.undo(bucket, victim)
    if following is not None:
        following.settled = True
        for gate in following.waiters:
            gate.release()


def lose(bucket: Bucket, group: Gathering) -> None:
    """Who brought a group to disk was interrupted, and nobody knows what is visible of it.

    Unless it was cut off again.
    """
    if group.error is not None:
        return
    bucket.broken = bucket.broken or INTERRUPTED
    group.error = OutcomeUnknown(bucket=bucket.id, cause=bucket.broken)
    purse.leave(group)


def spoil(bucket: Bucket, group: Gathering) -> None:
    """Who decided was interrupted, and left half an operation in a group. Under the lock.

    Nothing of the group is written: whoever leads it is told, or nobody is in it.
    """
    error = StorageFailed(bucket=bucket.id, errno="EINTR", cause=INTERRUPTED)
    if bucket.durable and (group.waiters or (bucket.leading and bucket.inflight is None)):
        group.error = error
    elif bucket.gathering is group:
        bucket.gathering = None
        fail(bucket, group, error)
        group.settled = True  # who comes back to it, as upkeep does, has nobody to wait for


def interrupted(bucket: Bucket) -> HoldfastError:
    """Cut off what an interrupted write left: it is not stored. As ``restart``."""
    bucket.broken = HALF_BEGUN  # unless what follows comes to its end
    error = restart(bucket, InterruptedError(errno.EINTR, INTERRUPTED))
    if bucket.broken == HALF_BEGUN:
        bucket.broken = None
    return error


def restart(bucket: Bucket, error: OSError) -> HoldfastError:
    """End the segment at the last place known durable and begin the next; what to tell the writer.

    What was written behind that place is then no part of the log, so "failed"
    means "not stored". Where no new segment can be begun nobody knows what the
    disk will show: OutcomeUnknown, and the bucket serves reads only. Under the lock.
    """
    name = errno.errorcode.get(error.errno or 0, "?")
    log = bucket.log
    lost = None
    try:
        if not bucket.durable and log.durable.stop != log.stop:
            lost = _save_unsynced(bucket)
        if lost is None:
            log.cut_back()
            switch_with_reserve(bucket)
            return StorageFailed(bucket=bucket.id, errno=name, cause=str(error))
    except OSError as again:
        error = again
    why = LEFT if isinstance(error, LeftBehind) else NO_SEGMENT if lost is None else LOST
    bucket.broken = f"{name}: {why}"
    return OutcomeUnknown(bucket=bucket.id, errno=name, cause=str(error))


@contextmanager
def mended(bucket: Bucket) -> Iterator[None]:
    """Derive the state anew inside: it counts again what an interrupted write left half visible."""
    broken = bucket.broken
    if broken == INTERRUPTED:
        bucket.broken = None
    try:
        yield
    except BaseException:
        bucket.broken = broken
        raise


def go_on(bucket: Bucket) -> None:
    """Begin the segment that could not be begun, if that is all that is wrong: there is room now.

    What was cut off stays cut off, so who was told OutcomeUnknown wrote nothing. What may be
    left of a segment that was half begun lies below the next, which does not know it.
    """
    with bucket.lock:
        broken = bucket.broken or ""
        if broken == HALF_BEGUN:
            bucket.log.reserved = bucket.log.next_number()
        if broken == HALF_BEGUN or broken.endswith(NO_SEGMENT):
            switch_with_reserve(bucket)
            bucket.broken = None


def _save_unsynced(bucket: Bucket) -> OSError | None:
    """Make what earlier writes were answered for durable, before the log is cut."""
    try:
        bucket.log.sync()
    except OSError as error:
        return error
    return None


def may_be_lost(bucket: Bucket, cause: str) -> OutcomeUnknown:
    """Which versions were answered since the last sync that held (rule 1)."""
    first, last = bucket.synced_version + 1, bucket.version
    return OutcomeUnknown(bucket=bucket.id, cause=cause, first_version=first, last_version=last)


def switch_with_reserve(bucket: Bucket, made: Made | None = None) -> None:
    """End the active segment and begin the next; OSError where even the reserve is no help."""
    log, ground = bucket.log, bucket.settings.ground
    try:
        with_reserve(ground, lambda: log.switch(bucket.segment_state(), made))
    except OSError:
        raise
    except BaseException:
        bucket.broken = HALF_BEGUN
        raise
    bucket.heed_at = 0
    bucket.noted[bucket.log.number] = Noted()


def with_reserve(ground: Segments, begin: Callable[[], T]) -> T:
    """Begin a segment; a full disk gives its reserve for it."""
    try:
        return begin()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return _begin_after(error, ground, begin)


def _begin_after(error: OSError, ground: Segments, begin: Callable[[], T]) -> T:
    """Begin a segment in what a piece of the reserve leaves, the smallest first."""
    for piece in PIECES:
        if ground.reserve(0, piece):
            try:
                return begin()
            except OSError as again:
                if again.errno != errno.ENOSPC or isinstance(again, LeftBehind):
                    raise
    raise error
