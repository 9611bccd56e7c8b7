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
import re

import msgspec

from holdfast.clock import Entropy
from holdfast.engines.port import Disk
from holdfast.errors import Corrupt, InUse, StorageFailed
from holdfast.limits import MIB
from holdfast.log.sealed import FORMAT, SealedT, sealed, unsealed

NAME = "HOLDFAST"
LOCK = "LOCK"
STORE_ID_BYTES = 16
LIVES = 1 << 62  # no store is restored so often
SEALED_BYTES = MIB  # of a store file that are read


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
    found = read_sealed(disk, path, NAME, StoreFile)
    if found is None or _is_sound(found):
        return found
    raise Corrupt(position=NAME, what="the store file says what cannot be")


def _is_sound(found: StoreFile) -> bool:
    names = (*found.data_dirs, found.index_dir)
    is_store = re.fullmatch(r"[0-9a-f]{32}", found.store) is not None
    is_alive = 1 <= found.incarnation < LIVES and bool(found.data_dirs)
    return is_store and is_alive and all(name and "\0" not in name for name in names)


def read_sealed(disk: Disk, path: str, name: str, kind: type[SealedT]) -> SealedT | None:
    """What a file with a checksum of its own says, or None where there is none.

    Raises:
        Corrupt: it does not verify; FormatTooNew.
    """
    try:
        file = disk.open(f"{path}/{name}")
    except FileNotFoundError:
        return None
    try:
        data = file.read(0, min(file.size(), SEALED_BYTES))
    finally:
        file.close()
    return unsealed(data, kind, name)


def write_store_file(disk: Disk, path: str, wanted: StoreFile) -> StoreFile:
    """Put a store file in its place, whole and durable."""
    return write_sealed(disk, path, NAME, wanted)


def write_sealed(disk: Disk, path: str, name: str, wanted: SealedT) -> SealedT:
    """Put such a file in its place, whole and durable; as it was written."""
    wanted = sealed(wanted)
    fresh = f"{path}/{name}.new"
    disk.unlink(fresh)
    file = disk.open(fresh, create=True)
    try:
        file.write(0, (msgspec.json.encode(wanted),))
        file.sync()
    finally:
        file.close()
    disk.rename(fresh, f"{path}/{name}")
    disk.sync_folder(path)
    return wanted


def new_store_file(entropy: Entropy, data_dirs: tuple[str, ...], index_dir: str) -> StoreFile:
    """The store file of a store that begins now."""
    store = entropy.bytes(STORE_ID_BYTES).hex()
    return StoreFile(FORMAT, store, 1, data_dirs, index_dir)


class Ownership:
    """An OS lock on a folder, held until released.

    Args:
        path: the folder.
        name: of the lock's file.
        shared: with others that share; the file then names nobody.

    Raises:
        InUse: another process, or another open store of this one, holds it.
        StorageFailed: the lock file cannot be made.
    """

    def __init__(self, path: str, name: str = LOCK, *, shared: bool = False) -> None:
        self._shared = shared
        try:
            self._fd = os.open(f"{path}/{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageFailed.of(error, path=path) from error
        try:
            fcntl.flock(self._fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            told = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise InUse(path=path, pid=int(told) if told.isdigit() else None) from None
        except OSError as error:
            os.close(self._fd)
            raise StorageFailed.of(error, path=path) from error
        if not shared:
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
        if not self._shared:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
        os.close(self._fd)


class Owners:
    """Every lock that an open store holds; none for one in memory."""

    def __init__(self) -> None:
        self._held: list[Ownership] = []

    def take(self, path: str, name: str = LOCK, *, shared: bool = False) -> None:
        """Hold one more folder, as ``Ownership`` does."""
        self._held.append(Ownership(path, name, shared=shared))

    def disown(self) -> None:
        """Let go of what a child inherited."""
        for one in self._held:
            one.disown()

    def release(self) -> None:
        """Let the next owner in, into the store's own folder last."""
        while self._held:
            self._held.pop().release()
