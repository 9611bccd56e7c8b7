"""``holdfast.open``: check the arguments, own the folder, recover every bucket."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from posixpath import dirname

from holdfast.bucket.gates import Gates
from holdfast.bucket.lag import Lags
from holdfast.bucket.settings import Settings, Sync
from holdfast.bucket.settling import charge_reads
from holdfast.clock import BucketTime, Clock, Entropy, SystemClock, SystemEntropy
from holdfast.engines.ahead import OPEN_WINDOWS, AheadDisk
from holdfast.engines.disk import OsDisk
from holdfast.engines.files import FileSegments
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.errors import Corrupt, InvalidValue, StorageFailed
from holdfast.limits import (
    BUCKET_BYTES,
    BUCKET_BYTES_LEAST,
    OPEN_BUCKETS,
    SEGMENT_BYTES,
    SEGMENT_BYTES_LEAST,
    SEGMENTS_PER_BUCKET,
)
from holdfast.log.header import Identity
from holdfast.placement.placement import WHOLE, Share
from holdfast.placement.reserve import LEAST_BYTES
from holdfast.request import arguments
from holdfast.store import closed, folders
from holdfast.store.ownership import (
    NAME,
    Owners,
    StoreFile,
    new_store_file,
    read_store_file,
    write_store_file,
)
from holdfast.store.restore import refuse_others
from holdfast.store.store import Store
from holdfast.store.timemark import TimeMark
from holdfast.views.memory_view import MemoryView
from holdfast.views.open_views import OpenViews
from holdfast.views.port import View

MEMORY = ":memory:"
SYNCS = ("always", "interval", "never")
VIEW_DESCRIPTORS = 3
WINDOWS_PART = 8  # of all descriptors


def open_store(
    path: str | os.PathLike[str],
    *,
    sync: Sync = "always",
    bucket_bytes: int = BUCKET_BYTES,
    index_dir: str | os.PathLike[str] | None = None,
    data_dirs: Sequence[str | os.PathLike[str]] | None = None,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    upkeep: bool = True,
    in_place: bool = True,
    base_url: str | None = None,
) -> Store:
    """Open the store in a folder, creating it where there is none.

    Args:
        path: the store's folder, or ``":memory:"``.
        sync: "always": a write is durable when it returns. "interval": within
            100 ms. "never": when the operating system likes.
        bucket_bytes: live bytes at which a bucket grows a sibling, from 64 KiB.
        index_dir: where the index lives (keys on the fast disk).
        data_dirs: where the values live; buckets spread by free space. Both
            are remembered, and kept when asked for again.
        clock: tells the time; the machine's own if None.
        entropy: gives ids; the machine's own if None.
        upkeep: run upkeep from a thread; False leaves it to ``tick``.
        in_place: read through memory maps; False: by calls, which never hold the interpreter.
        base_url: where a server of this store answers, for ``Namespace.share``.

    Raises:
        InUse: the store is open already, here or in another process (``pid``).
        InvalidValue: an argument is out of its range, or ``path`` names a file.
        StorageFailed: a folder is missing or cannot be used; nothing was written.
        Corrupt: damage inside a log, with its position.
        FormatTooNew: written by a later version.

    Example:
        >>> import holdfast
        >>> with holdfast.open(":memory:") as store:
        ...     store.namespaces()
        []
    """
    _refuse_nonsense(sync, bucket_bytes, data_dirs, base_url)
    arguments.able(clock, arguments.CLOCK, "clock")
    arguments.able(entropy, arguments.ENTROPY, "entropy")
    store = open_on(
        OsDisk() if path != MEMORY else MemoryDisk(),
        arguments.path(path),
        sync=sync,
        bucket_bytes=bucket_bytes,
        index_dir=None if index_dir is None else arguments.noted_path(index_dir, "index_dir"),
        data_dirs=None if data_dirs is None else _folders(data_dirs),
        clock=clock or SystemClock(),
        entropy=entropy or SystemEntropy(),
        upkeep=arguments.flag(upkeep, "upkeep"),
        in_place=arguments.flag(in_place, "in_place"),
    )
    store.base_url = base_url
    return store


def _refuse_nonsense(
    sync: object, bucket_bytes: object, data_dirs: object, base_url: object
) -> None:
    """InvalidValue for an argument that cannot be meant."""
    if sync not in SYNCS:
        raise InvalidValue(argument="sync", reason="always, interval or never")
    if arguments.integer(bucket_bytes, "bucket_bytes") < BUCKET_BYTES_LEAST:
        raise InvalidValue(argument="bucket_bytes", least=BUCKET_BYTES_LEAST)
    if isinstance(data_dirs, str | bytes | os.PathLike):
        raise InvalidValue(argument="data_dirs", reason="not a list of folders")
    if base_url is not None:
        arguments.text(base_url, "base_url")


def _folders(data_dirs: Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    listed = arguments.listed(data_dirs, "data_dirs")
    return tuple(arguments.noted_path(folder, "data_dirs") for folder in listed)


def open_on(
    disk: Disk,
    path: str,
    *,
    sync: Sync = "always",
    bucket_bytes: int = BUCKET_BYTES,
    index_dir: str | None = None,
    data_dirs: tuple[str, ...] | None = None,
    clock: Clock,
    entropy: Entropy,
    upkeep: bool = False,
    open_view: Callable[[str], View] | None = None,
    in_place: bool = True,
    share: Share = WHOLE,
) -> Store:
    """Open a store on any disk, or the part of it that is this process's.

    ``open_view`` overrides the view (simulation, tests). With a ``share`` somebody else owns
    the folder and sees to it that no two processes hold the same range.
    """
    real = isinstance(disk, OsDisk)
    root = os.path.abspath(path) if real else path.strip(":") or "store"  # noqa: PTH100
    with _owned(disk, root, alone=real and share is WHOLE) as owners:
        found, fresh = _store_file(disk, root, entropy, index_dir, data_dirs, real=real)
        mark = TimeMark(disk, root, share.name)  # before anything is written
        unclaimed = folders.own(owners, disk, root, found, fresh=fresh, whole=share is WHOLE)
        # Windows are copied into under the interpreter lock: not for whoever avoids maps,
        # and of no use to whoever waits for the disk at every write.
        mapped = in_place and sync != "always"
        logs = AheadDisk(mapped=mapped, windows=_windows()) if type(disk) is OsDisk else disk
        ground = _ground(logs, root, found, create=fresh, part=share.name)
        folders.claim(disk, root, found, unclaimed)
        views = _Views(folders.under(root, found.index_dir), real=real, given=open_view)
        if fresh:
            found = write_store_file(disk, root, found)
        settings = Settings(
            ground=ground,
            identity=Identity(bytes.fromhex(found.store), found.incarnation),
            open_view=views.open,
            drop_view=views.drop,
            clock=clock,
            time=BucketTime(clock, mark.adopt(), mark.write),
            entropy=entropy,
            sync=sync,
            bucket_bytes=bucket_bytes,
            segment_bytes=segment_bytes(bucket_bytes),
            lags=Lags(charge_reads),
            in_place=in_place,
            gates=Gates(clock.monotonic_ns),
        )
        # Before anything can be written.
        left = closed.take(disk, root, settings.identity, folders.data_folders(root, found))
        return Store(
            settings, root, owners, disk=disk, file=found, upkeep=upkeep, share=share, left=left
        )


@contextmanager
def _owned(disk: Disk, root: str, *, alone: bool) -> Iterator[Owners]:
    """Own the folder, and let go of it where what follows fails; an OSError is StorageFailed."""
    try:
        refuse_others(disk, root)
        _make_root(disk, root)
        with ExitStack() as undoing:
            owners = Owners()
            undoing.callback(owners.release)
            if alone:
                owners.take(root)
            yield owners
            undoing.pop_all()
    except OSError as error:
        raise StorageFailed.of(error, path=error.filename or root) from error


def _make_root(disk: Disk, root: str) -> None:
    """Make the store's folder and those above it, each name durable.

    Without it a power cut may take a whole store away that has answered writes.
    """
    absent = []
    path = root
    while path and not _is_folder(disk, path):
        absent.append(path)
        path = dirname(path)
    if absent:
        disk.make_folder(root)
    for made in reversed(absent):
        disk.sync_folder(dirname(made) or ".")


def _is_folder(disk: Disk, path: str) -> bool:
    try:
        disk.free_bytes(path)
    except FileNotFoundError:
        return False
    return True


def segment_bytes(bucket_bytes: int) -> int:
    """The size at which a segment ends, from the bound of its bucket."""
    return max(SEGMENT_BYTES_LEAST, min(SEGMENT_BYTES, bucket_bytes // SEGMENTS_PER_BUCKET))


def _store_file(  # noqa: PLR0917 - what the file says and where
    disk: Disk,
    root: str,
    entropy: Entropy,
    index_dir: str | None,
    data_dirs: tuple[str, ...] | None,
    *,
    real: bool,
) -> tuple[StoreFile, bool]:
    """What the store file says, or will say, and whether the store begins now."""
    full: Callable[[str], str] = os.path.abspath if real else str
    asked_data = None if data_dirs is None else tuple(map(full, data_dirs))
    asked_index = None if index_dir is None else full(index_dir)
    found = read_store_file(disk, root)
    if found is None:
        return new_store_file(entropy, asked_data or ("log",), asked_index or "index"), True
    if asked_data is not None and set(asked_data) != set(folders.data_folders(root, found)):
        raise InvalidValue(argument="data_dirs", reason="the store was begun with others")
    if asked_index is not None and asked_index != folders.under(root, found.index_dir):
        found = with_index(found, asked_index)
        write_store_file(disk, root, found)
    return found, False


def with_index(found: StoreFile, index_dir: str) -> StoreFile:
    """The same store with its index elsewhere: an index is only a view."""
    return StoreFile(found.format, found.store, found.incarnation, found.data_dirs, index_dir)


def _ground(disk: Disk, root: str, found: StoreFile, *, create: bool, part: str) -> FileSegments:
    open_files, homes = _descriptors() // 2 - _windows(), folders.data_folders(root, found)
    ground = FileSegments(disk, homes, create=create, open_files=open_files, part=part)
    if create and ground.listing():
        raise Corrupt(position=NAME, what="the store file is missing")
    if ground.free_bytes(NAME) < LEAST_BYTES:
        ground.reserve(0)  # what an opening writes must have room; upkeep fills it again
    return ground


def _descriptors() -> int:
    """Descriptors that the store may hold: two thirds of what the process is allowed."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = soft if soft != resource.RLIM_INFINITY else 1 << 16
    return max(16, min(allowed * 2 // 3, 8 * OPEN_BUCKETS))


def _windows() -> int:
    """Of those of the segments, the ones that windows may take."""
    return min(OPEN_WINDOWS, _descriptors() // WINDOWS_PART)


class _Views:
    """Opens and forgets the views of buckets."""

    def __init__(self, folder: str, *, real: bool, given: Callable[[str], View] | None) -> None:
        self._folder = folder
        self._real = real
        self._given = given
        self._among = OpenViews(_descriptors() // 2 // VIEW_DESCRIPTORS)
        if real and given is None:
            Path(folder).mkdir(parents=True, exist_ok=True)

    def open(self, bucket: str) -> View:
        if self._given is not None:
            return self._given(bucket)
        if not self._real:
            return MemoryView()
        from holdfast.views.lmdb_view import LmdbView  # noqa: PLC0415 - :memory: needs no LMDB

        return LmdbView(f"{self._folder}/{bucket}", among=self._among)

    def drop(self, bucket: str) -> None:
        if self._given is not None or not self._real:
            return
        folder = Path(self._folder, bucket)
        try:
            if folder.is_dir():
                for file in folder.iterdir():
                    file.unlink(missing_ok=True)
                folder.rmdir()
        except OSError as error:
            raise StorageFailed.of(error, bucket=bucket) from error
