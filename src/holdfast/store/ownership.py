"""Who owns a store's folder, and what its store file says.

``HOLDFAST`` is JSON: format, store id, incarnation, where the values and the
index lie, and a checksum. It is written to a new name and renamed, so there is
always a whole one. ``LOCK`` is held with an OS file lock as long as the store
is open and names the owner's process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

import msgspec
from crc32c import crc32c

from holdfast.clock import Entropy
from holdfast.engines.port import Disk
from holdfast.errors import Corrupt, FormatTooNew, InUse, StorageFailed

FORMAT = 1
NAME = "HOLDFAST"
LOCK = "LOCK"
STORE_ID_BYTES = 16


class StoreFile(msgspec.Struct, frozen=True):
    """What the store file says. Folders are absolute, or relative to the store's own."""

    format: int
    store: str
    incarnation: int
    data_dirs: tuple[str, ...]
    index_dir: str
    crc: int = 0


def read_store_file(disk: Disk, path: str) -> StoreFile | None:
    """The store file in a folder, or None where there is none; Corrupt, FormatTooNew."""
    name = f"{path}/{NAME}"
    try:
        file = disk.open(name)
    except FileNotFoundError:
        return None
    try:
        data = file.read(0, file.size())
    finally:
        file.close()
    try:
        found = msgspec.json.decode(data, type=StoreFile)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Corrupt(position=NAME, what="the store file cannot be read") from None
    if found.format > FORMAT:
        raise FormatTooNew(position=NAME, version=found.format)
    if found.crc != _crc(found):
        raise Corrupt(position=NAME, what="the store file fails its checksum")
    return found


def write_store_file(disk: Disk, path: str, wanted: StoreFile) -> StoreFile:
    """Put a store file in its place, whole and durable."""
    wanted = msgspec.structs.replace(wanted, crc=_crc(wanted))
    fresh = f"{path}/{NAME}.new"
    disk.unlink(fresh)
    file = disk.open(fresh, create=True)
    try:
        file.write(0, (msgspec.json.encode(wanted),))
        file.sync()
    finally:
        file.close()
    disk.rename(fresh, f"{path}/{NAME}")
    disk.sync_folder(path)
    return wanted


def new_store_file(entropy: Entropy, data_dirs: tuple[str, ...], index_dir: str) -> StoreFile:
    """The store file of a store that begins now."""
    store = entropy.bytes(STORE_ID_BYTES).hex()
    return StoreFile(FORMAT, store, 1, data_dirs, index_dir)


def _crc(file: StoreFile) -> int:
    return crc32c(msgspec.json.encode(msgspec.structs.replace(file, crc=0)))


class Ownership:
    """An OS lock on a store's folder, held until released.

    Args:
        path: the store's folder.

    Raises:
        InUse: another process, or another open store of this one, holds it.
        StorageFailed: the lock file cannot be made.
    """

    def __init__(self, path: str) -> None:
        try:
            self._fd = os.open(f"{path}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageFailed.of(error, path=path) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            told = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise InUse(path=path, pid=int(told) if told.isdigit() else None) from None
        except OSError as error:
            os.close(self._fd)
            raise StorageFailed.of(error, path=path) from error
        with contextlib.suppress(OSError):  # a full disk: deletes must work there, unnamed too
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    @property
    def descriptor(self) -> int:
        """Of the lock's file: a process that inherits it holds the folder too."""
        return self._fd

    def disown(self) -> None:
        """Let go of what a child inherited of it; the parent holds the folder alone again."""
        os.close(self._fd)

    def release(self) -> None:
        """Let the next owner in."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
        os.close(self._fd)
