"""Requests become effects: each function decides one operation and stages its records.

A plan reads what the bucket knows, pending groups included, and either raises a
typed error and stages nothing, or stages records that say what happened
(version, time, absolute expiry, fence), never what was asked (rule 3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crc32c import crc32c

from holdfast.bucket import rows
from holdfast.bucket.locks import Held
from holdfast.bucket.rewrite import evacuate, join
from holdfast.bucket.sharing import has_room, hold_room
from holdfast.errors import (
    Busy,
    Changed,
    Exists,
    FenceTooOld,
    InvalidExpiry,
    LimitExceeded,
    LockHeld,
    LockLost,
    NotFound,
    Permanent,
    VersionMismatch,
)
from holdfast.limits import (
    CONSUMERS,
    EXTENTS,
    READ_GRACE_NS,
    VIEW_KEY_BYTES,
)
from holdfast.log.entry import (
    DELETED,
    ENTRY,
    EXTENSION,
    Attributes,
    Entry,
    Extent,
    encode_attributes,
    pack,
)
from holdfast.log.records import Flag, Type, record_bytes
from holdfast.operations import (
    Append,
    Consumers,
    Delete,
    Evacuate,
    Lock,
    Operation,
    Release,
    Renew,
    Store,
    StoreOptions,
    Unlock,
    Upload,
)
from holdfast.values import Receipt
from holdfast.views.port import Table

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.group import Gathering

KEPT = Flag.MANAGED | Flag.MARKED
PLAIN = StoreOptions()


class MustJoin(Exception):
    """An append found no room for another extent."""


def store(bucket: Bucket, operation: Store, group: Gathering) -> Receipt:
    """Create or replace an object."""
    key, value = operation.key, operation.value
    if operation.options is not None or bucket.special or len(key) > VIEW_KEY_BYTES:
        return _store_asking(bucket, operation, group)
    version = bucket.next_version()
    now = bucket.time.now_ns()
    crc = crc32c(value)
    size = len(value)
    offset = group.add(Type.STORE, key, value, version, now, value_crc=crc)
    entry = ENTRY.pack(version, now, 0, size, crc, 0, 0, group.segment, offset)
    bucket.stage(group, Table.KEYS, key, entry)
    return Receipt(operation.name, version, size, None, bucket.id)


def _store_asking(bucket: Bucket, operation: Store, group: Gathering) -> Receipt:
    """A store that must look first: options, or objects here that need care."""
    options = operation.options or PLAIN
    key, value = operation.key, operation.value
    now = bucket.time.now_ns()
    old = bucket.peek_entry(key)
    alive = old if old is not None and _lives(old, now) else None
    _conditions(bucket, operation, options, alive)
    expires = _expiry(operation, options, alive, now)
    if old is None:
        hold_room(bucket, Table.KEYS, key, operation.name)
    version = bucket.next_version()
    parts = options.parts
    crc = crc32c(value)
    attrs = encode_attributes(_attributes(options, options.terms if expires else 0))
    if options.index:
        bucket.searched = True
    flags = Flag.PERMANENT if options.permanent else 0
    flags |= alive.flags & KEPT if alive is not None else Flag.FRESH
    if parts is not None:
        flags |= Flag.LARGE
    if options.consumers is not None and (options.consumers or flags & Flag.MANAGED):
        flags = flags & ~Flag.MARKED | Flag.MANAGED
        flags |= 0 if options.consumers else Flag.MARKED
    offset = group.add(
        Type.STORE,
        key,
        value,
        version,
        now,
        flags=flags,
        expires_ns=expires,
        attrs=attrs,
        value_crc=crc,
    )
    extent = Extent(version, group.segment, offset, len(value))
    size = len(value) + (parts.length if parts else 0)
    total = parts.crc if parts else crc
    entry = Entry(version, now, expires, size, total, flags & ~Flag.FRESH, attrs, (extent,))
    bucket.stage(group, Table.KEYS, key, pack(entry))
    if flags & Flag.FRESH and old is not None and old.flags & Flag.MANAGED:
        bucket.stage(group, Table.CONSUMERS, key, DELETED)
    if options.consumers is not None and flags & Flag.MANAGED:
        _write_consumers(bucket, group, key, options.consumers, now)
    if parts is not None:
        _forget_upload(bucket, group, key, parts.upload)
    _replace_parts(bucket, group, key, old, parts.upload if parts else None, now)
    return Receipt(operation.name, version, size, expires or None, bucket.id)


def _lives(entry: Entry, now: int) -> bool:
    return not entry.expires_ns or entry.expires_ns > now


def _conditions(
    bucket: Bucket, operation: Store, options: StoreOptions, alive: Entry | None
) -> None:
    name = operation.name
    if alive is not None and alive.flags & Flag.PERMANENT:
        raise Permanent(key=name)
    if options.fence is not None:
        _hold_fence(bucket, operation.key, name, options.fence)
    if options.if_absent and alive is not None:
        raise Exists(key=name, version=alive.version)
    if options.if_version is not None and (alive is None or alive.version != options.if_version):
        raise VersionMismatch(
            key=name,
            expected=options.if_version,
            actual=alive.version if alive is not None else None,
        )
    if options.expect is not None and bucket.peek(Table.KEYS, operation.key) != options.expect:
        raise Changed(key=name)
    if options.parts is not None:
        _hold_parts(bucket, operation.key, options.parts.upload)


def _hold_parts(bucket: Bucket, key: bytes, upload: bytes) -> None:
    """Refuse a manifest whose parts may be gone: its upload was given up meanwhile (rule 8)."""
    known = ((note.upload, note.state) for note in _uploads(bucket, key))
    if (upload, rows.BEGUN) not in known:
        raise Busy(bucket=bucket.id)


def _hold_fence(bucket: Bucket, key: bytes, name: str, fence: int) -> None:
    held = bucket.locks.holder(bucket, key)
    if held is None:
        raise LockLost(key=name, fence=fence)
    if fence < held.fence:
        raise FenceTooOld(key=name, fence=fence, held=held.fence)
    if fence > held.fence:
        raise LockLost(key=name, fence=fence)


def _expiry(operation: Store, options: StoreOptions, alive: Entry | None, now: int) -> int:
    if options.keep_ttl:
        if alive is None:
            raise NotFound(key=operation.name)
        if options.permanent and alive.expires_ns:
            raise InvalidExpiry(key=operation.name, reason="what is permanent cannot expire")
        return alive.expires_ns
    return now + options.ttl_ns if options.ttl_ns is not None else 0


def _attributes(options: StoreOptions, terms: int) -> Attributes:
    parts = options.parts
    if parts is None:
        told = options.index, options.tags, terms
        return Attributes(options.content_type, None, 0, 0, *told)
    return Attributes(
        options.content_type,
        parts.upload,
        parts.length,
        parts.crc,
        index=options.index,
        tags=options.tags,
        terms=terms,
    )


def _write_consumers(  # noqa: PLR0917 - bucket, group and key go together
    bucket: Bucket, group: Gathering, key: bytes, ids: tuple[bytes, ...] | list[bytes], now: int
) -> None:
    payload = b"".join(ids)
    version = bucket.next_version()
    group.add(Type.CONSUMERS, key, payload, version, now)
    taken = record_bytes(len(key), 0, len(payload))
    row = rows.pack_row(version, group.segment, taken, payload)
    bucket.stage(group, Table.CONSUMERS, key, row)


def _replace_parts(  # noqa: PLR0917 - the six things that decide it
    bucket: Bucket,
    group: Gathering,
    key: bytes,
    old: Entry | None,
    current: bytes | None,
    now: int,
) -> None:
    """Begin the grace of parts that nobody will find any more (rule 8)."""
    if old is None or not old.flags & Flag.LARGE:
        return
    upload = old.attributes.upload
    # Without room for a note the parts are garbage at once: a reader is told Changed.
    noted = bucket.peek(Table.UPLOADS, key) is not None or has_room(bucket, Table.UPLOADS, key)
    if upload is not None and upload != current and noted:
        _note_upload(bucket, group, key, (upload, rows.REPLACED, now))


def _note_upload(
    bucket: Bucket, group: Gathering, key: bytes, note: tuple[bytes, int, int]
) -> None:
    """Note the state of an upload; what was replaced longer ago than the grace is forgotten."""
    upload, state, now = note
    version = bucket.next_version()
    notes = [
        known
        for known in _uploads(bucket, key)
        if known.upload != upload and (known.state == rows.BEGUN or _is_in_grace(known, now))
    ]
    notes.append(rows.UploadNote(upload, state, version, now))
    _write_uploads(bucket, group, key, version, notes)


def _is_in_grace(note: rows.UploadNote, now: int) -> bool:
    return note.state == rows.REPLACED and note.time_ns + READ_GRACE_NS > now


def _forget_upload(bucket: Bucket, group: Gathering, key: bytes, upload: bytes) -> None:
    """The manifest itself says from now on that the upload is committed, or it is given up."""
    notes = _uploads(bucket, key)
    left = [note for note in notes if note.upload != upload]
    if left != notes:
        _write_uploads(bucket, group, key, bucket.next_version(), left)


def _uploads(bucket: Bucket, key: bytes) -> list[rows.UploadNote]:
    row = bucket.peek(Table.UPLOADS, key)
    return rows.unpack_uploads(rows.unpack_row(row).payload) if row else []


def _write_uploads(  # noqa: PLR0917 - bucket, group and key go together
    bucket: Bucket, group: Gathering, key: bytes, version: int, notes: list[rows.UploadNote]
) -> None:
    payload = rows.pack_uploads(notes)
    group.add(Type.UPLOAD, key, payload, version, bucket.time.now_ns())
    taken = record_bytes(len(key), 0, len(payload))
    row = rows.pack_row(version, group.segment, taken, payload) if notes else DELETED
    bucket.stage(group, Table.UPLOADS, key, row)


def append(bucket: Bucket, operation: Append, group: Gathering) -> int:
    """Add bytes to a value, or create it; the total size in bytes."""
    key, value = operation.key, operation.value
    now = bucket.time.now_ns()
    old = bucket.peek_entry(key)
    if old is None or not _lives(old, now):
        options = None if old is None else PLAIN
        return store(bucket, Store(key, operation.name, value, options), group).size
    if old.flags & Flag.PERMANENT:
        raise Permanent(key=operation.name)
    if len(old.extents) >= EXTENTS:
        raise MustJoin
    version = bucket.next_version()
    old.size += len(value)
    old.crc = crc32c(value, old.crc)
    attrs = EXTENSION.pack(old.size, old.crc, 0)
    offset = group.add(Type.APPEND, key, value, version, now, attrs=attrs)
    old.version, old.modified_ns = version, now
    old.extents = (*old.extents, Extent(version, group.segment, offset, len(value)))
    bucket.stage(group, Table.KEYS, key, pack(old))
    return old.size


def append_joining(bucket: Bucket, operation: Append, group: Gathering) -> int:
    """The same; where its entry is full, extents are joined first."""
    try:
        return append(bucket, operation, group)
    except MustJoin:
        join(bucket, operation.key, operation.name, group)
        return append(bucket, operation, group)


def delete(bucket: Bucket, operation: Delete, group: Gathering) -> int:
    """Remove an object; the bytes of its value."""
    key, why = operation.key, operation.why
    now = bucket.time.now_ns()
    old = bucket.peek_entry(key)
    gone = old is None or not _lives(old, now)
    if old is None or (gone and why not in ("expired", "dropped")):
        raise NotFound(key=operation.name)
    if why == "asked" and old.flags & Flag.PERMANENT:
        raise Permanent(key=operation.name)
    if (why == "expired" and not gone) or (
        why == "unreferenced" and (not old.flags & Flag.MARKED or old.flags & Flag.PERMANENT)
    ):
        raise Changed(key=operation.name)
    if operation.if_version is not None and old.version != operation.if_version:
        raise Changed(key=operation.name)
    kinds = {"expired": Type.EXPIRE, "unreferenced": Type.UNREFERENCED}
    group.add(kinds.get(why, Type.DELETE), key, b"", bucket.next_version(), now)
    bucket.stage(group, Table.KEYS, key, DELETED)
    if old.flags & Flag.MANAGED:
        bucket.stage(group, Table.CONSUMERS, key, DELETED)
    _replace_parts(bucket, group, key, old, None, now)
    return old.size


def release(bucket: Bucket, operation: Release, group: Gathering) -> None:
    """Lift ``permanent``."""
    old = bucket.peek_entry(operation.key)
    now = bucket.time.now_ns()
    if old is None or not _lives(old, now):
        raise NotFound(key=operation.name)
    if not old.flags & Flag.PERMANENT:
        return
    group.add(Type.RELEASE, operation.key, b"", bucket.next_version(), now)
    _restage(bucket, group, operation.key, old, old.flags & ~Flag.PERMANENT)


def _restage(  # noqa: PLR0917 - bucket, group and key go together
    bucket: Bucket, group: Gathering, key: bytes, old: Entry, flags: int
) -> None:
    """The same object under other flags."""
    old.flags = flags
    bucket.stage(group, Table.KEYS, key, pack(old))


def consumers(bucket: Bucket, operation: Consumers, group: Gathering) -> list[bytes]:
    """Change a reference list; the ids that a removal did not find."""
    key = operation.key
    now = bucket.time.now_ns()
    old = bucket.peek_entry(key)
    if old is None or not _lives(old, now):
        raise NotFound(key=operation.name)
    row = bucket.peek(Table.CONSUMERS, key)
    held = rows.split_ids(rows.unpack_row(row).payload) if row else []
    missing: list[bytes] = []
    if operation.action == "set":
        after = list(operation.ids)
    elif operation.action == "append":
        after = [*held, *operation.ids]
    else:
        after, missing = rows.without(held, operation.ids)
    if len(after) > CONSUMERS:
        raise LimitExceeded(limit="CONSUMERS", most=CONSUMERS, asked=len(after))
    if after == held:
        return missing
    _write_consumers(bucket, group, key, after, now)
    flags = (old.flags & ~Flag.MARKED) | Flag.MANAGED
    if not after:
        flags |= Flag.MARKED
    if flags != old.flags:
        _restage(bucket, group, key, old, flags)
    return missing


def lock(bucket: Bucket, operation: Lock, group: Gathering) -> int:
    """Take a lease; its fence."""
    key = operation.key
    held = bucket.locks.holder(bucket, key)
    if held is not None:
        raise LockHeld(key=operation.name)
    if bucket.peek(Table.LOCKS, key) is None:
        hold_room(bucket, Table.LOCKS, key, operation.name)
    payload = rows.LOCK.pack(operation.lock_id, operation.ttl_ns)
    version = bucket.next_version()
    group.add(Type.LOCK, key, payload, version, bucket.time.now_ns())
    row = rows.pack_row(version, group.segment, record_bytes(len(key), 0, len(payload)), payload)
    bucket.stage(group, Table.LOCKS, key, row)
    bucket.locks.take(key, Held(operation.lock_id, version, operation.ttl_ns, 0))
    return version


def unlock(bucket: Bucket, operation: Unlock, group: Gathering) -> None:
    """Give a lease back."""
    _held_by(bucket, operation)
    group.add(Type.UNLOCK, operation.key, b"", bucket.next_version(), bucket.time.now_ns())
    bucket.stage(group, Table.LOCKS, operation.key, DELETED)
    bucket.locks.release(operation.key)


def renew(bucket: Bucket, operation: Renew, _group: Gathering) -> int:
    """Begin a lease's time anew; its fence, which stays.

    Needs no record: a reopened lock runs its full time anyway.
    """
    held = _held_by(bucket, operation)
    bucket.locks.take(operation.key, held)
    return held.fence


def _held_by(bucket: Bucket, operation: Unlock | Renew) -> Held:
    held = bucket.locks.holder(bucket, operation.key)
    if held is None or held.lock_id != operation.lock_id:
        raise LockLost(key=operation.name)
    return held


def upload(bucket: Bucket, operation: Upload, group: Gathering) -> None:
    """Note that a large object's parts are being written, or that they no longer count.

    What was replaced a moment ago is neither: readers have its parts for the grace.
    """
    now = bucket.time.now_ns()
    noted = _uploads(bucket, operation.key)
    is_read = any(note.upload == operation.upload and _is_in_grace(note, now) for note in noted)
    if operation.state == "given_up":
        if not is_read:
            _forget_upload(bucket, group, operation.key, operation.upload)
    elif is_read:
        raise Changed(key=operation.name)
    else:
        if bucket.peek(Table.UPLOADS, operation.key) is None:
            hold_room(bucket, Table.UPLOADS, operation.key, operation.name)
        note = (operation.upload, rows.BEGUN, now)
        _note_upload(bucket, group, operation.key, note)


Planner = Callable[["Bucket", Any, "Gathering"], object]
PLANNERS: dict[type[Operation], Planner] = {
    Store: store,
    Append: append_joining,
    Delete: delete,
    Release: release,
    Consumers: consumers,
    Lock: lock,
    Unlock: unlock,
    Renew: renew,
    Upload: upload,
    Evacuate: evacuate,
}
