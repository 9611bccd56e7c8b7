"""Backup: the store as it was at one moment, copied while writers go on (rule 17).

    <folder>/<bucket>/<number:016x>.seg     segments, as the store has them
    <folder>/BACKUP                         the manifest, written last

The moment is when the commits of all buckets are held together: nothing is in
flight then, nothing pending, and every bucket's log position, state and
segments are noted. That takes as long as it takes to note them; the copying
goes on behind it. A log only grows and an ended segment never changes, so the
bytes before a noted position stay what they were; segments are pinned until
they are copied, and collectors and merges leave pinned ones alone.

A sealed segment gets a second name (a hard link) where the folder is on the
same file system, everything else is copied. Each file is read back from where
it lies now, its groups are verified, and its size and digest go into the
manifest: what a backup holds, verifies. Views are not copied; they are derived.

The manifest is JSON with a checksum over itself. A folder without one is a
backup that was interrupted.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from hashlib import blake2b
from posixpath import dirname

import msgspec

from holdfast.bucket import commit
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import Pace, no_pace
from holdfast.engines.port import Disk, File, Segment
from holdfast.engines.segment import FileSegment
from holdfast.errors import Corrupt, InvalidValue, StorageFailed
from holdfast.limits import MIB
from holdfast.log.header import SEGMENT_HEAD_BYTES, Identity, LogState, SegmentInfo, unpack_head
from holdfast.log.log import Log
from holdfast.placement.placement import Placement
from holdfast.upkeep.manifest import (
    NAME,
    BackupBucket,
    BackupFile,
    Manifest,
    Part,
    encode_manifest,
    file_name,
    manifest_of,
)
from holdfast.upkeep.scrub import verified_groups
from holdfast.values import Progress

CHUNK_BYTES = MIB
DIGEST_BYTES = 32
GROUPS_SLICE = 50  # groups verified between two calls of pace
# What link(2) answers where it cannot link; then the bytes are copied.
UNLINKABLE = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}


class Noted(msgspec.Struct):
    """One bucket at the moment: its state, its last segment, and what is to be copied still."""

    bucket: Bucket
    state: LogState
    last: SegmentInfo
    waiting: list[SegmentInfo]
    purses: bytes = b""


def back_up(
    placement: Placement,
    disk: Disk,
    path: str,
    *,
    own_disk: bool,
    pace: Pace = no_pace,
    progress: Progress | None = None,
) -> Manifest:
    """Copy the store as it is at one moment between this call and its return.

    Args:
        placement: the store's buckets.
        disk: where the backup goes.
        path: a folder there that is absent or empty.
        own_disk: whether that is the disk that the store is on, so that links can be tried.
        pace: called between slices of work.
        progress: counts bytes.

    Raises:
        InvalidValue: the folder is not empty, or no folder.
        Corrupt: a segment does not verify, with its position; no backup was made.
        StorageFailed: the disk refused, or a bucket of the store is broken.
    """
    target = Target(disk, path, links=own_disk, pace=pace, progress=progress)
    try:
        target.begin()
        part = target.bring(note(placement), placement.settings.identity)
        manifest = manifest_of([part])
        target.finish(manifest)
    except BaseException as error:
        target.take_back()
        if isinstance(error, OSError):
            raise StorageFailed.of(error, path=error.filename or path) from error
        raise
    return manifest


# -- the moment --------------------------------------------------------------------


def note(placement: Placement) -> list[Noted]:
    """Hold the commits of every bucket, in the order of their ranges, and note them all."""
    with placement.changing, held(placement) as noted:
        return noted


@contextmanager
def held(placement: Placement) -> Iterator[list[Noted]]:
    """The same, held until this is left; whoever asks keeps ranges from changing meanwhile."""
    with ExitStack() as commits:
        buckets = list(placement.directory)
        for bucket in buckets:
            commits.enter_context(commit.alone(bucket))
        for bucket in buckets:
            if bucket.broken:
                raise StorageFailed(bucket=bucket.id, cause=bucket.broken)
        lent = {birth.child: birth.shared for bucket in buckets for birth in bucket.births}
        yield [_note(bucket, lent.get(bucket.id, ())) for bucket in buckets]


def _note(bucket: Bucket, lent: Sequence[int]) -> Noted:
    """Note a bucket, without what is ``lent``: whoever opens the parent shares that with it.

    That is so until the parent's log says that the child stands, also where the child has files
    of its own by then: of a copy nobody could tell that it is one of the parent's.
    """
    log = bucket.log
    last = SegmentInfo(log.number, log.bucket, log.number, log.stop, log.digest)
    segments = (*log.ended.values(), last)
    now = bucket.time.now_ns()
    state = msgspec.structs.replace(bucket.log_state(), segments=segments, time_ns=now)
    waiting = [info for info in segments if info.number not in lent]
    log.pinned.update(info.number for info in waiting)
    purses = msgspec.msgpack.encode(bucket.purses.told()) if bucket.purses else b""
    return Noted(bucket, state, last, waiting, purses)


def let_go(noted: list[Noted]) -> None:
    """Let collectors have everything that was noted and is not copied."""
    for one in noted:
        _unpin(one, list(one.waiting))


def _unpin(one: Noted, infos: list[SegmentInfo]) -> None:
    """Let collectors have what is in the backup now."""
    pinned = one.bucket.log.pinned
    with one.bucket.lock:
        for info in infos:
            one.waiting.remove(info)
            pinned[info.number] -= 1
            if not pinned[info.number]:
                del pinned[info.number]


# -- the files ---------------------------------------------------------------------


class Target:
    """The folder that becomes a backup, and what was made in it so far.

    Args:
        disk: where it is.
        path: the folder.
        links: whether hard links to the store's files can be tried.
        pace: called between slices of work.
        progress: counts bytes.
    """

    def __init__(
        self, disk: Disk, path: str, *, links: bool, pace: Pace, progress: Progress | None = None
    ) -> None:
        self._disk = disk
        self._path = path
        self._links = links
        self._pace = pace
        self._progress = progress or Progress()
        self._made: list[str] = []

    def begin(self) -> None:
        """Make the folder; InvalidValue where there is something in it."""
        _require_empty(self._disk, self._path)
        make_folder(self._disk, self._path)

    def bring(self, noted: list[Noted], identity: Identity) -> Part:
        """Bring what was noted in, durable; it is let go of in any case."""
        try:
            files = self._bring(noted)
        finally:
            let_go(noted)
        buckets = tuple(BackupBucket(one.bucket.id, one.state, one.purses) for one in noted)
        return Part(identity.store.hex(), identity.incarnation, buckets, tuple(files))

    def _bring(self, noted: list[Noted]) -> list[BackupFile]:
        """Every segment; links first, for they are quick and end the pins."""
        files: list[BackupFile] = []
        self._progress.total = sum(info.stop for one in noted for info in one.waiting)
        for one in noted:
            folder = f"{self._path}/{one.bucket.id}"
            self._disk.make_folder(folder)
            self._made.append(folder)
        linked = [
            (one, info) for one in noted for info in list(one.waiting) if self._link(one, info)
        ]
        for one in noted:
            for info in list(one.waiting):
                self._copy(one.bucket.log.segment(info.number), info.stop, self._name(one, info))
                _unpin(one, [info])
                files.append(self._told(one.bucket.log, info))
            self._disk.sync_folder(f"{self._path}/{one.bucket.id}")
        files += [self._told(one.bucket.log, info) for one, info in linked]
        self._disk.sync_folder(self._path)
        return files

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest: from here on it is a backup."""
        name = f"{self._path}/{NAME}"
        file = self._disk.open(name, create=True)
        self._made.append(name)
        try:
            file.write(0, [encode_manifest(manifest)])
            file.sync()
        finally:
            file.close()
        self._disk.sync_folder(self._path)

    def take_back(self) -> None:
        """Remove what a backup that failed has made, as far as the disk lets us."""
        for name in reversed(self._made):
            with suppress(OSError):
                self._disk.unlink(name)
        if self._made:
            with suppress(OSError):
                self._disk.sync_folder(self._path)

    def clear(self) -> None:
        """Remove all that several processes brought, of which one failed; it was empty before."""
        with suppress(OSError):
            for bucket in self._disk.list(self._path):
                folder = f"{self._path}/{bucket}"
                names = [] if bucket == NAME else self._disk.list(folder)
                for name in (*(f"{folder}/{inner}" for inner in names), folder):
                    self._disk.unlink(name)
            self._disk.sync_folder(self._path)

    def _name(self, one: Noted, info: SegmentInfo) -> str:
        return f"{self._path}/{file_name(one.bucket.id, info.number)}"

    def _link(self, one: Noted, info: SegmentInfo) -> bool:
        """Give a sealed segment a name in the backup too; False where it must be copied."""
        if not self._links or info is one.last or not _is_sealed(one.bucket, info.number):
            return False
        segment = one.bucket.log.segment(info.number)
        if not isinstance(segment, FileSegment):
            return False
        name = self._name(one, info)
        try:
            self._disk.link(segment.path, name)
        except OSError as error:
            if error.errno not in UNLINKABLE:
                raise
            return False
        self._made.append(name)
        _unpin(one, [info])
        return True

    def _copy(self, source: Segment, stop: int, name: str) -> None:
        file = self._disk.open(name, create=True)
        self._made.append(name)
        try:
            for at in range(0, stop, CHUNK_BYTES):
                file.write(at, [source.read(at, min(stop, at + CHUNK_BYTES))])
                self._pace()
        finally:
            file.close()

    def _told(self, log: Log, info: SegmentInfo) -> BackupFile:
        """Make a file of the backup durable, and read it: its groups verify, this is its digest."""
        file = self._disk.open(f"{self._path}/{file_name(log.bucket, info.number)}")
        try:
            file.sync()  # a link's too: its key block may never have been, for a crash or an error
            self._verify(log, info, file)
            size = file.size()
            digest = digest_of(file, size, self._pace)
            self._progress.done += info.stop
            return BackupFile(log.bucket, info.number, size, digest)
        finally:
            file.close()

    def _verify(self, log: Log, info: SegmentInfo, file: File) -> None:
        where = log.where(info.number, 0)
        head = unpack_head(file.read(0, SEGMENT_HEAD_BYTES), where)
        origin = (log.identity.store, info.origin, info.origin_number)
        if (head.store, head.bucket, head.number) != origin:
            raise Corrupt(position=where, what="this segment belongs elsewhere")
        groups = verified_groups(
            lambda start, stop: file.read(start, stop - start), log.where, head.digest, info
        )
        for index, _ in enumerate(groups):
            if index % GROUPS_SLICE == GROUPS_SLICE - 1:
                self._pace()


def _is_sealed(bucket: Bucket, number: int) -> bool:
    """Whether a segment's key block stands, so that nothing is written to it any more."""
    log = bucket.log
    if number in log.sealed:
        return True
    with bucket.sealing:
        return log.key_block(number) is not None


def digest_of(file: File, size: int, pace: Pace = no_pace) -> str:
    """The BLAKE2b-256 of a file's first ``size`` bytes, in hex."""
    digest = blake2b(digest_size=DIGEST_BYTES)
    for at in range(0, size, CHUNK_BYTES):
        digest.update(file.read(at, min(CHUNK_BYTES, size - at)))
        pace()
    return digest.hexdigest()


# -- folders -----------------------------------------------------------------------


def _require_empty(disk: Disk, path: str) -> None:
    try:
        names = disk.list(path)
    except NotADirectoryError:
        raise InvalidValue(argument="path", reason="not a folder") from None
    if names:
        raise InvalidValue(argument="path", reason="the folder is not empty")


def make_folder(disk: Disk, path: str) -> None:
    """Make a folder and those above it, each name durable."""
    absent = []
    at = path
    while not _is_there(disk, at):
        absent.append(at)
        at = dirname(at) or "."
    disk.make_folder(path)
    for folder in reversed(absent):
        disk.sync_folder(dirname(folder) or ".")


def _is_there(disk: Disk, folder: str) -> bool:
    try:
        disk.free_bytes(folder)
    except FileNotFoundError:
        return False
    return True
