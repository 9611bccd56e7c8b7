"""``holdfast.restore``: make a store of a backup; it begins a new life (rule 17).

    1  the folder says RESTORING
    2  every file is copied, and its size and digest are those of the manifest
    3  every bucket begins a new segment: the new incarnation in its head, in its
       state the floor of versions, the next multiple of 2^40 above the backup's
    4  the store file HOLDFAST, then RESTORING goes

The segments that were copied keep the incarnation they were written in; the new
one behind them names them, and recovery wants the newest segment of a bucket to
be of the store's own incarnation. So a segment that the store wrote after the
backup, in its earlier life, is refused here though its number and its store fit.

What was interrupted before 4 is no store; the same call begins it again. Views
are derived when the store is opened. Locks that the backup holds run their full
time again, as after any open (rule 7), and their fences stay below every new one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

import msgspec

from holdfast.engines.disk import OsDisk
from holdfast.engines.files import FileSegments
from holdfast.engines.port import Disk
from holdfast.errors import Corrupt, InvalidValue, StorageFailed
from holdfast.limits import MIB
from holdfast.log.header import Identity, PursedState
from holdfast.log.log import Log
from holdfast.log.purses import decode_purses
from holdfast.log.sealed import FORMAT
from holdfast.request import arguments
from holdfast.store import closed, timemark
from holdfast.store.ownership import LOCK, NAME, Ownership, StoreFile, write_store_file
from holdfast.upkeep.backup import digest_of, make_folder
from holdfast.upkeep.manifest import NAME as MANIFEST
from holdfast.upkeep.manifest import (
    BackupBucket,
    BackupFile,
    Manifest,
    file_name,
    read_manifest,
)
from holdfast.values import Progress

MARKER = "RESTORING"
SEEN_BYTES = 32  # of a file that may be ours: what an opening that was interrupted left
OURS: dict[str, Callable[[bytes], bool]] = {
    LOCK: lambda data: not data or data.strip().isdigit(),
    closed.NAME: lambda data: data.startswith(closed.MAGIC),
    timemark.NAME: lambda data: data.startswith(timemark.MAGIC),
}
DATA = "log"
INDEX = "index"
VERSION_STEP_BITS = 40
CHUNK_BYTES = MIB


def restore(
    path: str | os.PathLike[str],
    into: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
) -> None:
    """Make a store of a backup.

    Args:
        path: the folder that ``store.backup`` made; it is only read, and may be read-only.
        into: the new store's folder, absent or empty.
        progress: is kept up to date, for whoever looks: bytes.

    Raises:
        InvalidValue: there is no backup, or the folder is not empty.
        Corrupt: the backup is damaged or incomplete; ``position`` names the file.
        FormatTooNew: a later version made the backup.
        InUse: another restore works in the folder.
        StorageFailed: the disk refused. What was made is no store: call again.

    Example:
        >>> import holdfast, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with holdfast.open(f"{folder}/data") as store:
        ...         receipt = store.namespace("acme").put("a", b"1")
        ...         store.backup(f"{folder}/backup")
        ...     holdfast.restore(f"{folder}/backup", f"{folder}/again")
        ...     with holdfast.open(f"{folder}/again") as store:
        ...         store.namespace("acme").get("a")
        b'1'
    """
    source, target = arguments.path(path), arguments.path(into, "into")
    told = arguments.progress(progress)
    restore_on(OsDisk(), os.path.abspath(source), os.path.abspath(target), told)  # noqa: PTH100 - plain


def restore_on(disk: Disk, path: str, into: str, progress: Progress | None = None) -> None:
    """The same on any disk."""
    try:
        manifest = read_manifest(disk, path)
        _require_room(disk, into)
        make_folder(disk, into)
        owner = Ownership(into) if isinstance(disk, OsDisk) else None
        try:
            _require_room(disk, into)
            _restore(disk, path, into, manifest, progress=progress or Progress())
        finally:
            if owner is not None:
                owner.release()
    except OSError as error:
        raise StorageFailed.of(error, path=error.filename or into) from error


def _restore(disk: Disk, path: str, into: str, manifest: Manifest, *, progress: Progress) -> None:
    progress.total = sum(file.size for file in manifest.files)
    marker = f"{into}/{MARKER}"
    _clear(disk, into)
    disk.open(marker, create=True).close()
    disk.sync_folder(into)
    try:
        ground = FileSegments(disk, [f"{into}/{DATA}"], create=True)
        for file in manifest.files:
            _copy(disk, path, file, ground)
            progress.done += file.size
        identity = Identity(bytes.fromhex(manifest.store), manifest.incarnation + 1)
        for bucket in manifest.buckets:
            _begin(ground, bucket, identity, floor_above(manifest.version))
        store = StoreFile(FORMAT, manifest.store, identity.incarnation, (DATA,), INDEX)
        write_store_file(disk, into, store)
    except BaseException:
        with suppress(OSError):
            _clear(disk, into)
        raise
    disk.unlink(marker)
    disk.sync_folder(into)


def floor_above(version: int) -> int:
    """The next multiple of 2^40 above a version.

    Example:
        >>> floor_above(7) == floor_above((1 << 40) - 1) == 1 << 40
        True
    """
    return ((version >> VERSION_STEP_BITS) + 1) << VERSION_STEP_BITS


def _copy(disk: Disk, path: str, told: BackupFile, ground: FileSegments) -> None:
    """Copy a file that is what the manifest says; Corrupt, by its name, where it is not."""
    name = file_name(told.bucket, told.number)
    try:
        source = disk.open(f"{path}/{name}", write=False)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise Corrupt(position=name, what="a file of the backup is missing") from None
    try:
        if source.size() != told.size or digest_of(source, told.size) != told.digest:
            raise Corrupt(position=name, what="a file of the backup is damaged")
        first = source.read(0, min(told.size, CHUNK_BYTES))
        segment = ground.begin(told.bucket, told.number, [first])
        for at in range(CHUNK_BYTES, told.size, CHUNK_BYTES):
            segment.append([source.read(at, min(CHUNK_BYTES, told.size - at))])
        segment.sync()
        segment.park()
    finally:
        source.close()


def _begin(ground: FileSegments, told: BackupBucket, identity: Identity, floor: int) -> None:
    """Begin a bucket's first segment of the new incarnation."""
    log = Log(ground, told.id, identity)
    for info in told.state.segments:
        log.adopt(info)
    last = told.state.segments[-1]
    fields = msgspec.structs.asdict(told.state) | {"version": floor}
    purses = decode_purses(told.purses) if told.purses else ()
    log.begin(log.next_number(), last, PursedState(**fields, purses=purses))
    log.park()


def _require_room(disk: Disk, into: str) -> None:
    """Refuse a folder with anything in it but what an interrupted restore left."""
    try:
        names = set(disk.list(into))
    except NotADirectoryError:
        raise InvalidValue(argument="into", reason="not a folder") from None
    allowed = {MARKER, DATA, LOCK, f"{NAME}.new"} if MARKER in names else {LOCK}
    if names - allowed:
        raise InvalidValue(argument="into", reason="the folder is not empty")


def refuse_others(disk: Disk, path: str) -> None:
    """Refuse to begin a store at a file, where a backup is, or where a restore was interrupted."""
    try:
        names = set(disk.list(path))
    except NotADirectoryError:
        raise InvalidValue(argument="path", reason="not a folder") from None
    if NAME in names:
        return
    if MANIFEST in names:
        raise InvalidValue(argument="path", reason="this is a backup: restore it elsewhere")
    if MARKER in names:
        raise InvalidValue(argument="path", reason="a restore was interrupted here: restore again")
    for name in names & OURS.keys():
        refuse_file(disk, path, name)


def refuse_file(disk: Disk, path: str, name: str) -> None:
    """Refuse to overwrite a file of somebody else where there is no store."""
    if not OURS[name](_beginning(disk, f"{path}/{name}")):
        reason = f"there is no store, and a file {name} that a store would overwrite"
        raise InvalidValue(argument="path", reason=reason, folder=path)


def _beginning(disk: Disk, path: str) -> bytes:
    file = disk.open(path)
    try:
        return file.read(0, min(file.size(), SEEN_BYTES))
    finally:
        file.close()


def _clear(disk: Disk, into: str) -> None:
    """Remove what an interrupted restore left, the marker last."""
    if MARKER not in disk.list(into):
        return
    disk.unlink(f"{into}/{NAME}")  # first: what is left of its segments is no store
    disk.sync_folder(into)
    data = f"{into}/{DATA}"
    for bucket in disk.list(data):
        for name in disk.list(f"{data}/{bucket}"):
            disk.unlink(f"{data}/{bucket}/{name}")
        disk.unlink(f"{data}/{bucket}")
    disk.unlink(data)
    disk.unlink(f"{into}/{NAME}.new")
    disk.sync_folder(into)
    disk.unlink(f"{into}/{MARKER}")
    disk.sync_folder(into)
