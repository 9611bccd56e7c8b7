"""Beside the writers: what is answered before it is durable becomes durable later.

For ``interval`` and ``never``: a thread that does little but call the disk does it
(``upkeep/syncing.py``), and whoever needs the log durable up to some place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.bucket.commit import LATE_PART, beside, full_at, switch
from holdfast.bucket.failing import LEFT, LOST, may_be_lost
from holdfast.engines.port import refused

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket

SYNCS = 4  # in a row, before the end of a segment has writers wait for what is not synced


def sync_behind(bucket: Bucket) -> None:
    """Make what is published now durable, while others go on writing. For interval and never.

    Raises:
        OutcomeUnknown: writes that were answered since the last sync may be lost;
            the versions are named, and the bucket only reads from here on.
    """
    log = bucket.log
    with bucket.lock:
        reached, version, active = bucket.published, bucket.version, log.active
        if bucket.closed or log.is_durable(reached):
            return
        if bucket.broken:
            raise may_be_lost(bucket, bucket.broken)
    try:
        active.sync()
    except OSError as error:
        with bucket.lock:
            bucket.broken = LOST
            raise may_be_lost(bucket, str(error)) from error
    with bucket.lock:
        log.note_durable(reached)
        bucket.synced_version = max(bucket.synced_version, version)


def sync_on(bucket: Bucket) -> None:
    """Sync a bucket beside its writers, and begin its next segment where one is due.

    What the next segment says of this one must be true after a crash, so writers wait
    for what is not synced then. They wait for little: it is synced until little is left.

    Raises:
        OutcomeUnknown: as ``sync_behind``. StorageFailed: no segment could be begun.
    """
    log, full = bucket.log, full_at(bucket)
    sync_behind(bucket)
    if log.stop >= full:
        with beside(bucket):
            if not bucket.closed and log.stop >= full:
                _begin_next(bucket, full)
        if log.loose is not None:  # a writer that rolls the bucket waits for none of this
            sync_behind(bucket)
            with bucket.sealing:
                settle_end(bucket)


def _begin_next(bucket: Bucket, full: int) -> None:
    """End the active segment and begin the next, which is made before and made durable after.

    Writers wait for as little of it as must be in order: what the next one says of this one
    is durable before it is written.
    """
    log, ground = bucket.log, bucket.settings.ground
    with bucket.lock:
        log.reserved = number = log.next_number()
    try:
        segment = ground.begin(bucket.id, number, ())
    except OSError:
        with bucket.lock:
            switch(bucket)  # with the reserve of a full disk, or the reason why not
        return
    try:
        for _ in range(SYNCS):  # not before: much is written while the file is made
            sync_behind(bucket)
            if log.stop - log.synced < full // LATE_PART:
                break
        with bucket.lock:
            if log.number < number:  # no writer has begun one, who found too much in this
                switch(bucket, (number, segment))
    finally:
        if log.number != number:
            _discard(bucket, number)


def _discard(bucket: Bucket, number: int) -> None:
    """Drop a segment that was made and not begun: after a crash it might look as if it was."""
    try:
        bucket.settings.ground.drop(bucket.id, number)
    except OSError as error:
        bucket.broken = LEFT
        raise refused(bucket.id, error) from error


def settle_end(bucket: Bucket) -> None:
    """Have no crash undo the last end of a segment, and cut off what lies behind it.

    Before that nothing else may be written there. Under ``bucket.sealing``.
    """
    log, ended = bucket.log, bucket.log.loose
    if ended is None:
        return
    try:
        if not log.synced:
            log.active.sync()
    except OSError as error:
        raise refused(bucket.id, error) from error
    ended.finish()
    log.loose = None
