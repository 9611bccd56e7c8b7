"""Free what nobody can see any more: expired objects, unreferenced ones, abandoned parts."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop

from holdfast.bucket import rows
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import WHEN, Pace
from holdfast.errors import Corrupt, HoldfastError, Moved
from holdfast.limits import READ_GRACE_NS
from holdfast.log.entry import unpack
from holdfast.log.records import Flag
from holdfast.operations import Delete, Operation, Upload
from holdfast.request.arguments import BEYOND, HIDDEN, VISIBLE
from holdfast.request.corridor import Corridor
from holdfast.request.large import owner_of
from holdfast.request.listing import rows as live_rows
from holdfast.views.port import Table

BATCH = 200


def expired_keys(bucket: Bucket, most: int) -> list[bytes]:
    """Up to ``most`` composite keys whose time has come, as views and overlays remember it.

    A memory may be stale: whoever removes an object asks the object itself.
    """
    now = bucket.time.now_ns()
    found = []
    with bucket.lock:
        for overlay in (bucket.state.active, *bucket.state.frozen):
            while overlay.expiring and overlay.expiring[0][0] <= now and len(found) < most:
                found.append(heappop(overlay.expiring)[1])
    if len(found) < most:
        stop = WHEN.pack(now + 1)
        found += [key for _, key in bucket.view.scan(Table.EXPIRY, b"", stop, most)]
    return [key for key in dict.fromkeys(found) if bucket.start <= key < bucket.stop]


def sweep_expired(bucket: Bucket, pace: Pace) -> int:
    """Remove expired objects of one bucket; how many went."""
    removed = 0
    while bucket.may_expire:
        keys = expired_keys(bucket, BATCH)
        gone = _remove(bucket, [Delete(key, "", "expired") for key in keys])
        removed += gone
        if not gone:
            return removed
        pace()
    return removed


def _remove(bucket: Bucket, operations: list[Operation]) -> int:
    if not operations:
        return 0
    try:
        outcomes = bucket.apply(operations)
    except Moved:
        return 0
    return sum(not isinstance(outcome, HoldfastError) for outcome in outcomes)


def sweep_marked(bucket: Bucket, pace: Pace) -> int:
    """Remove objects that lost their last consumer; how many went."""
    if not bucket.special:
        return 0
    removed = 0
    at: bytes | None = bucket.start
    while at is not None and at < bucket.stop:
        try:
            page, at = bucket.page(at, bucket.stop, 1000)
        except Moved:
            return removed
        marked = [key for key, row in page if unpack(row).flags & Flag.MARKED]
        removed += _remove(bucket, [Delete(key, "", "unreferenced") for key in marked])
        pace()
    return removed


def sweep_parts(corridor: Corridor, pace: Pace) -> int:
    """Remove parts whose owner says that they are garbage; how many went (rule 8)."""
    removed = 0
    for page in _hidden_pages(corridor):
        garbage = [key for key, _ in page if _is_garbage(corridor, key)]
        if garbage and corridor.placement.settings.sync != "always":
            _sync_all(corridor)
        for outcome in corridor.write_many([Delete(key, "", "dropped") for key in garbage]):
            removed += not isinstance(outcome, HoldfastError)
        pace()
    for bucket in list(corridor.directory):
        _forget_uploads(corridor, bucket)
    return removed


def _sync_all(corridor: Corridor) -> None:
    """What made parts garbage must not be lost by a crash that their removal survives."""
    for bucket in list(corridor.directory):
        bucket.sync_published()


def _hidden_pages(corridor: Corridor) -> Iterator[list[tuple[bytes, bytes]]]:
    """Pages of parts, seeking from one namespace's hidden range to the next."""
    at = b""
    while True:
        page = next((p for p in live_rows(corridor, at, b"\xff", 1) if p), None)
        if page is None:
            return
        key = page[0][0]
        ends = [i for i in (key.find(VISIBLE), key.find(HIDDEN)) if i >= 0]
        name = key[: min(ends)]
        yield from live_rows(corridor, name + HIDDEN, name + BEYOND)
        at = name + BEYOND


def _is_garbage(corridor: Corridor, hidden: bytes) -> bool:
    """Ask the bucket of the object's key; nobody else may decide it."""
    key, upload = owner_of(hidden)
    return corridor.read(key, lambda bucket: _disowned(bucket, key, upload))


def _disowned(bucket: Bucket, key: bytes, upload: bytes) -> bool:
    if not bucket.start <= key < bucket.stop:
        raise Moved(bucket=bucket.id)
    with bucket.lock:
        entry = bucket.peek_entry(key)
        row = bucket.peek(Table.UPLOADS, key + upload)
    if entry is not None and entry.flags & Flag.LARGE and entry.attributes.upload == upload:
        return False
    if row is None:
        return True
    side = rows.unpack_row(row)
    state, since = rows.UPLOAD.unpack(side.payload)
    if state == rows.BEGUN:
        return side.version <= bucket.opened_version
    return state == rows.GIVEN_UP or since + READ_GRACE_NS <= bucket.time.now_ns()


def _forget_uploads(corridor: Corridor, bucket: Bucket) -> None:
    """Let go of notes about uploads whose parts are all gone."""
    try:
        page, _ = bucket.page(bucket.start, bucket.stop, 1000, Table.UPLOADS)
    except Moved:
        return
    for full, _ in page:
        key, upload = full[: -rows.UPLOAD_ID_BYTES], full[-rows.UPLOAD_ID_BYTES :]
        if not _disowned(bucket, key, upload):
            continue
        namespace = key.partition(VISIBLE)[0]
        start = namespace + HIDDEN + upload
        if not any(page for page in live_rows(corridor, start, start + b"\xff", 1)):
            try:
                corridor.write(Upload(key, "", upload, "given_up"))
            except (HoldfastError, Corrupt):
                return
