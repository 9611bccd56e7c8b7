"""Beside the writers: what is answered before it is durable becomes durable later.

For ``interval`` and ``never``: a thread that does little but call the disk does it
(``upkeep/syncing.py``), and whoever needs the log durable up to some place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.bucket.commit import LATE_PART, LOST, alone, full_at, may_be_lost, switch

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
    for _ in range(SYNCS):
        sync_behind(bucket)
        if log.stop < full:
            return
        if log.stop - log.synced < full // LATE_PART:
            break
    with alone(bucket):
        if not bucket.closed and log.stop >= full:
            switch(bucket)
