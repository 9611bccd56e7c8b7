"""Whose the folders are where a store has its values.

Each says in ``OWNER`` which store has it. It stands before the store file does: so where the
others of a store's folders have one and an empty folder has none, that is where a disk should
be mounted.

A copy of a store's folder names the same data folders outside it, and whoever opens both writes
each over the other. So one that the store file names by an absolute path says where that store's
own folder is, too; and whoever has the store open holds a lock there (``LOCK``) as in its own
folder. What lies in the store's folder moves and is copied with it.

``OWNER`` is JSON as the store file is: format, store id, the store's folder (each byte of its
name a character, for it may be no UTF-8; empty for a folder within it), and a checksum.

An index is derived, and its environments are named by unpredictable ids: stores may have one
folder for theirs. There is a lock there for each store.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from holdfast.engines.disk import OsDisk
from holdfast.engines.files import RESERVE
from holdfast.engines.port import Disk
from holdfast.errors import Corrupt, InvalidValue, StorageFailed
from holdfast.log.sealed import FORMAT
from holdfast.store.ownership import (
    LOCK,
    Owners,
    StoreFile,
    read_sealed,
    read_store_file,
    write_sealed,
)
from holdfast.store.restore import refuse_file
from holdfast.upkeep.backup import make_folder

NAME = "OWNER"
_BUCKET = re.compile(r"[0-9a-f]{16}")


class Owner(msgspec.Struct, frozen=True):
    """Which store a data folder belongs to, and where that store's folder is, unless around it."""

    format: int
    store: str
    root: str
    crc: int = 0


def outside(found: StoreFile) -> list[str]:
    """The data folders that do not move with the store's own."""
    return [folder for folder in dict.fromkeys(found.data_dirs) if folder.startswith("/")]


def data_folders(root: str, found: StoreFile) -> list[str]:
    """The paths of all data folders."""
    return [under(root, folder) for folder in dict.fromkeys(found.data_dirs)]


def under(root: str, folder: str) -> str:
    """The path of a folder that the store file names."""
    return folder if folder.startswith("/") else f"{root}/{folder}"


def own(
    owners: Owners, disk: Disk, root: str, found: StoreFile, *, fresh: bool, whole: bool
) -> list[str]:
    """Look whose a store's data folders are, and hold those that lie outside its own.

    Args:
        owners: what it holds already.
        disk: where all of it is.
        root: its own folder.
        found: what the store file says, or will say.
        fresh: it begins now.
        whole: all of it is opened; if not, who has all of it has looked.

    Returns:
        The folders that are to be claimed before anything else is written there.

    Raises:
        InUse: another has it open: this is a copy, or it was moved meanwhile.
        InvalidValue: a folder belongs to another store, or to the one that this is a copy of,
            or has a file of somebody else where the lock should be.
        StorageFailed: a folder is missing, or empty; nothing was written.
    """
    every = data_folders(root, found)
    for folder in every:
        if fresh:
            make_folder(disk, folder)
        else:
            _require_folder(disk, folder)
    if whole and not fresh:
        _require_mounted(disk, every)
        _require_segments(disk, every)
    for folder in outside(found) if whole else ():
        names = disk.list(folder)
        if LOCK in names and NAME not in names:
            refuse_file(disk, folder, LOCK)
    if isinstance(disk, OsDisk):
        _lock(owners, root, found, shared=not whole)
    return _unclaimed(disk, root, found, fresh=fresh) if whole else []


def _require_folder(disk: Disk, folder: str) -> None:
    try:
        disk.free_bytes(folder)
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "data folder is missing", folder) from None


def _require_mounted(disk: Disk, folders: Sequence[str]) -> None:
    """StorageFailed at an empty folder where all those with buckets say whose they are.

    Of a store from before that was said none says it.
    """
    told = [folder for folder in folders if NAME in disk.list(folder)]
    empty = [folder for folder in folders if folder not in told and not _is_used(disk, folder)]
    if empty and len(told) + len(empty) == len(folders):
        cause = "the data folder holds none of its buckets: is its disk mounted?"
        raise StorageFailed(path=empty[0], cause=cause)


def _require_segments(disk: Disk, folders: Sequence[str]) -> None:
    """StorageFailed where all segments of a store are gone that had a bucket.

    Its first one is durable before a reserve is set aside, so what has that did not just begin.
    """
    begun = [folder for folder in folders if RESERVE in disk.list(folder)]
    if begun and not any(_has_segments(disk, folder) for folder in folders):
        raise StorageFailed(path=begun[0], cause="the data folders hold none of its segments")


def _lock(owners: Owners, root: str, found: StoreFile, *, shared: bool) -> None:
    for folder in outside(found):
        if folder != root:
            owners.take(folder, shared=shared)
    if found.index_dir.startswith("/"):
        Path(found.index_dir).mkdir(parents=True, exist_ok=True)
        owners.take(found.index_dir, f"{LOCK}-{found.store}", shared=shared)


def _unclaimed(disk: Disk, root: str, found: StoreFile, *, fresh: bool) -> list[str]:
    """The folders that are to be claimed, those without buckets first.

    So a crash amid claiming leaves none of these without a word where all others have it.
    """
    wanted = []
    for folder in data_folders(root, found):
        mine, told = _owner(root, found, folder), read_sealed(disk, folder, NAME, Owner)
        if told is not None and (told.store, told.root) == (mine.store, mine.root):
            continue
        if told is not None and mine.root:
            _refuse_anothers(disk, root, folder, told, store=None if fresh else found.store)
        wanted.append(folder)
    return sorted(wanted, key=lambda folder: _is_used(disk, folder))


def refuse_within(path: str, root: str, found: StoreFile, *, real: bool) -> None:
    """Refuse a backup among the store's segments, or within its index.

    It would be taken for buckets, or go with the index, which may be deleted. Beside them, in the
    store's own folder, nothing asks what it is.

    Args:
        path: where the backup is to be.
        root: the store's own folder.
        found: what its store file says.
        real: all of them are folders of the machine, whose names may be links.

    Raises:
        InvalidValue: it is one of these; ``folder`` says which.
    """
    resolved: Callable[[str], str] = os.path.realpath if real else str
    place = resolved(path)
    for folder in (*data_folders(root, found), under(root, found.index_dir)):
        if f"{place}/".startswith(f"{resolved(folder)}/"):
            reason = "inside the store's values, or its index"
            raise InvalidValue(argument="path", reason=reason, folder=folder)


def claim(disk: Disk, root: str, found: StoreFile, folders: Sequence[str]) -> None:
    """Say in folders that they are this store's, durably."""
    for folder in folders:
        write_sealed(disk, folder, NAME, _owner(root, found, folder))


def _owner(root: str, found: StoreFile, folder: str) -> Owner:
    """What is to be said in a folder."""
    place = os.fsencode(root).decode("latin-1") if folder in outside(found) else ""
    return Owner(FORMAT, found.store, place)


def _refuse_anothers(disk: Disk, root: str, folder: str, told: Owner, *, store: str | None) -> None:
    """InvalidValue unless the store that had a folder is gone from where it was.

    ``store`` is the one that is opened, which was moved then; None where one begins.
    """
    there = _named(told.root)
    if store not in {None, told.store}:
        reason = "a data folder belongs to another store"
        raise InvalidValue(argument="path", reason=reason, folder=folder, owner=there)
    if _has(disk, there, folder, told.store) and not _are_one(disk, root, there):
        reason = "a data folder belongs to the store that owner names: open, move or remove that"
        raise InvalidValue(argument="path", reason=reason, folder=folder, owner=there)


def _named(root: str) -> str:
    """The path that an owner gave; Corrupt where it can be none."""
    if "\0" in root or max(root, default="") > "\xff":
        raise Corrupt(position=NAME, what="no folder has this name")
    return os.fsdecode(root.encode("latin-1"))


def _has(disk: Disk, root: str, folder: str, store: str) -> bool:
    """Whether a store is where it was, and this folder its own still."""
    try:
        found = read_store_file(disk, root)
    except NotADirectoryError:
        return False
    return found is not None and found.store == store and folder in outside(found)


def _are_one(disk: Disk, root: str, other: str) -> bool:
    """Whether two names are of one folder."""
    return isinstance(disk, OsDisk) and Path(root).samefile(other)


def _is_used(disk: Disk, folder: str) -> bool:
    """Whether there are buckets in a folder."""
    return any(_buckets(disk, folder))


def _has_segments(disk: Disk, folder: str) -> bool:
    return any(disk.list(f"{folder}/{bucket}") for bucket in _buckets(disk, folder))


def _buckets(disk: Disk, folder: str) -> Iterator[str]:
    return filter(_BUCKET.fullmatch, disk.list(folder))
