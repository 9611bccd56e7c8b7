"""Long keys share rows of the view: at most 1,000 that agree in their first 480 bytes (rule 4).

It is decided before anything is written, so that no checkpoint ever meets a
row that has no room. Keys whose time has come count until they are removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import LimitExceeded
from holdfast.limits import VIEW_KEY_BYTES, VIEW_KEYS_SHARED
from holdfast.views.port import Table

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket


def span(key: bytes) -> tuple[bytes, bytes]:
    """The range of the keys that share a row with a long ``key``.

    Example:
        >>> low, high = span(b"k" * 481)
        >>> low <= b"k" * 1024 < high
        True
    """
    head = key[:VIEW_KEY_BYTES]
    return head + b"\0", head[:-1] + bytes((head[-1] + 1,))  # UTF-8 has no byte 0xff


def sharing(bucket: Bucket, table: Table, key: bytes) -> int:
    """How many keys of a bucket share the row of a long ``key``, pending ones included."""
    with bucket.lock:
        low, high = span(key)
        low, high = max(low, bucket.start), min(high, bucket.stop)
        shown, _ = bucket.state.page(table, low, high, VIEW_KEYS_SHARED + 1)
        keys = {row[0] for row in shown}
        for known, row in bucket.pending_rows(table).items():
            if not low <= known < high:
                continue
            if row:
                keys.add(known)
            else:
                keys.discard(known)
        return len(keys)


def has_room(bucket: Bucket, table: Table, key: bytes) -> bool:
    """Whether a table of the bucket can take a row for a key that has none yet."""
    return len(key) <= VIEW_KEY_BYTES or sharing(bucket, table, key) < VIEW_KEYS_SHARED


def hold_room(bucket: Bucket, table: Table, key: bytes, name: str) -> None:
    """Refuse a key that would be one too many to share a row: LimitExceeded."""
    if not has_room(bucket, table, key):
        raise LimitExceeded(limit="VIEW_KEYS_SHARED", most=VIEW_KEYS_SHARED, key=name)
