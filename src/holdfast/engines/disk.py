"""The machine's own disk: the ``Disk`` port by system calls, nothing kept in between."""

from __future__ import annotations

# ruff: noqa: D102, PTH103, PTH105, PTH106, PTH108, PTH112, PTH208 - the port tells; plain paths
import errno
import mmap
import os
import stat
import sys
from collections.abc import Sequence
from os import pread, preadv, pwrite, pwritev

from holdfast.engines.port import Buffer, Disk, File, Mapped
from holdfast.engines.whole import sync_folder

# What one pwritev may gather: IOV_MAX of Linux, and the least that others offer.
GATHER = 1024
# Linux takes a large write in pages as large as it. In pieces of 128 KiB and more a write of
# 1 MiB took 2 to 3 us a KiB in many rounds on a virtual machine, in pieces of 64 KiB 0.3 in
# all 18; presumably large pages are memory that the machine has yet to be given.
LARGE_BYTES = 128 << 10
PIECE_BYTES = 64 << 10

if sys.platform == "darwin":
    import fcntl

    def _flush(fd: int) -> None:
        # fsync there stops at the drive's cache: fsync(2) of macOS names F_FULLFSYNC instead.
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)

else:
    _flush = os.fdatasync

if sys.version_info >= (3, 13):

    def _map(fd: int) -> mmap.mmap:
        return mmap.mmap(fd, 0, access=mmap.ACCESS_READ, trackfd=False)

else:

    def _map(fd: int) -> mmap.mmap:
        return mmap.mmap(fd, 0, access=mmap.ACCESS_READ)  # holds a descriptor of its own


class OsFile(File):
    """An open file of the operating system.

    Args:
        fd: a descriptor, for writing too where there will be any; this object owns it now.
    """

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, offset: int, buffers: Sequence[Buffer]) -> int:
        if len(buffers) == 1:  # the way of almost every commit: one call, nothing built
            buffer = buffers[0]
            if len(buffer) < LARGE_BYTES:
                written = pwrite(self._fd, buffer, offset)
                if written == len(buffer):
                    return written
        return self._write_all(offset, buffers)

    def _write_all(self, offset: int, buffers: Sequence[Buffer]) -> int:
        at, small = offset, []
        for view in (memoryview(buffer).cast("B") for buffer in buffers if len(buffer)):
            if len(view) < LARGE_BYTES:
                small.append(view)
                continue
            at, small = self._gathered(at, small), []
            done = 0
            while done < len(view):
                piece = view[done : done + PIECE_BYTES - at % PIECE_BYTES]
                done += len(piece)
                at = self._gathered(at, [piece])
        return self._gathered(at, small) - offset

    def _gathered(self, at: int, views: list[memoryview]) -> int:
        """Write views, as many as one call takes at a time; where they end."""
        first = 0
        while first < len(views):
            written = pwritev(self._fd, views[first : first + GATHER], at)
            if written <= 0:
                raise OSError(errno.EIO, "the disk takes no bytes")
            at += written
            first = _skip(views, first, written)
        return at

    def sync(self) -> None:
        if self._fd < 0:  # of which fdatasync would make a ValueError
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        _flush(self._fd)

    def read(self, offset: int, length: int) -> bytes:
        return pread(self._fd, length, offset)

    if hasattr(os, "RWF_NOWAIT"):

        def read_now(self, offset: int, length: int) -> bytes | None:
            buffer = bytearray(length)
            try:
                count = preadv(self._fd, (buffer,), offset, os.RWF_NOWAIT)
            except OSError as error:
                if error.errno in {errno.EAGAIN, errno.EOPNOTSUPP}:
                    return None
                raise
            return bytes(buffer) if count == length else None

    def map(self) -> Mapped:
        # The kernel maps no empty file. No file here is ever shortened, so the
        # pages of a map cannot vanish under a reader (rule 12).
        return _map(self._fd) if self.size() else b""

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


def _skip(views: list[memoryview], first: int, count: int) -> int:
    """The first view that ``count`` more written bytes leave something of; it is cut to that."""
    while first < len(views) and count >= len(views[first]):
        count -= len(views[first])
        first += 1
    if count:
        views[first] = views[first][count:]
    return first


def _open_to_read(path: str) -> int:
    """A descriptor for reading alone, of no folder; of a pipe without waiting for a writer."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    return fd


class OsDisk(Disk):
    """The files of the operating system; files and folders are made for their owner alone.

    Example:
        >>> import tempfile
        >>> disk = OsDisk()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = disk.open(f"{folder}/a", create=True)
        ...     count = file.write(0, [b"hold", b"fast"])
        ...     count, file.read(2, 4), disk.list(folder)
        (8, b'ldfa', ['a'])
    """

    def open(self, path: str, *, create: bool = False, write: bool = True) -> File:
        if not (write or create):
            return OsFile(_open_to_read(path))
        flags = os.O_RDWR | os.O_CLOEXEC
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL if create else flags, 0o600)
        return self._file(fd)

    def _file(self, fd: int) -> File:
        return OsFile(fd)

    def link(self, source: str, target: str) -> None:
        os.link(source, target)

    def unlink(self, path: str) -> None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError):  # Linux says EISDIR, POSIX says EPERM
            if not os.path.isdir(path):
                raise
            os.rmdir(path)

    def rename(self, source: str, target: str) -> None:
        os.replace(source, target)

    def list(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def make_folder(self, path: str) -> None:
        os.makedirs(path, mode=0o700, exist_ok=True)

    def sync_folder(self, path: str) -> None:
        sync_folder(path)

    def free_bytes(self, path: str) -> int:
        figures = os.statvfs(path)
        return figures.f_bavail * figures.f_frsize
