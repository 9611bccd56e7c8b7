"""Opening one LMDB environment: verified before, made where it is absent, its errors translated.

An environment is a folder with ``data.mdb``, LMDB's ``lock.mdb`` and our
``data.sum``; it takes three descriptors and one map. How it is opened, and why:

- sync is on; NOSYNC, WRITEMAP and MAPASYNC are forbidden (rule 2);
- the lock is on: its table of readers tells the writer which pages are needed;
- read-ahead is on: a view is small (its bucket is bounded) and was just read from
  end to end to verify it. Out of the page cache a view of 87 MiB took 43 us a get
  with it and 67 us without, a list of everything 0.2 s against 2.0 s;
- LMDB 0.9 and its file format, whatever ``LMDB_DEFAULT_LIB_VERSION`` says;
- names are not synced to the folder: a view that a crash takes is rebuilt.
"""

from __future__ import annotations

import errno
import os
import pathlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import lmdb

from holdfast.errors import Corrupt, HoldfastError, StorageFailed
from holdfast.views import lmdb_sums
from holdfast.views.lmdb_file import Meta, inspect, read_metas, read_rows
from holdfast.views.lmdb_judged import Judgement, Pages, Readable, identity_of
from holdfast.views.lmdb_rows import (
    HOUSE,
    SEEDS,
    commit_row,
    format_row,
    hold_commit,
    hold_format,
    seal,
)
from holdfast.views.port import Table

NAMES: Final = (*(table.name.lower().encode() for table in Table), b"house")
LOCK_BYTES: Final = 8192  # of LMDB's lock file, for 126 readers
OURS: Final = -1  # the view's own table is the last

# LMDB's handles of the tables, by their numbers; its type has no public name.
Handles = tuple[Any, ...]


class Paths(NamedTuple):
    """The files of an environment."""

    folder: Path
    data: Path
    sums: Path
    lock: Path
    copy: Path  # a folder, while a copy without free pages is made

    @classmethod
    def of(cls, folder: str) -> Paths:
        """Those in this folder."""
        home = Path(folder)
        return cls(home, home / "data.mdb", home / "data.sum", home / "lock.mdb", home / "copy")

    def identity(self) -> tuple[int, ...] | None:
        """What changes when anybody writes the data file; None where there is none."""
        try:
            return identity_of(self.data.stat())
        except OSError:
            return None


def judged(error: lmdb.Error, where: str) -> HoldfastError:
    """What an error of LMDB means: the disk or the system refused, or the file is damaged."""
    cause = type(error).__name__
    if error.code == errno.EIO:
        cause = f"{error}, or a write that was cut short: LMDB says this of a full disk, too"
    if error.code > 0 or isinstance(error, lmdb.PanicError):
        return StorageFailed(errno=errno.errorcode.get(error.code, "?"), cause=cause)
    return Corrupt(position=where, why=cause)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Errors of LMDB and of the system leave as ours."""
    try:
        yield
    except lmdb.Error as error:
        raise judged(error, where) from error
    except OSError as error:
        raise StorageFailed.of(error) from error


def verify(paths: Paths, *, walk: bool = False) -> Meta | None:
    """Hold the data file against its sums, or walk its trees; None where it holds nothing.

    Args:
        paths: the environment's files.
        walk: walk the trees even where the sums agree.

    Raises:
        Corrupt: the file is damaged, cut short or not ours.
        StorageFailed: the disk does not read it.
    """
    with translated("view file"), _data_file(paths) as descriptor:
        metas = None if descriptor is None else read_metas(descriptor)
        if descriptor is None or metas is None or metas[0].transaction == 0:
            return None
        sums = lmdb_sums.read(paths.sums, metas[0])
        if sums is not None:
            lmdb_sums.hold(descriptor, metas[0], sums)
        if sums is None or walk:
            inspect(descriptor, metas[0], frozenset(NAMES))
        _hold_commits(descriptor, metas)
        return metas[0]


@contextmanager
def _data_file(paths: Paths) -> Iterator[int | None]:
    """The data file, open to be read; None where there is none."""
    try:
        descriptor = os.open(paths.data, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _hold_commits(descriptor: int, metas: tuple[Meta, Meta]) -> None:
    for meta in metas:
        if meta.transaction:
            hold_commit(read_rows(descriptor, meta, NAMES[OURS]).get, meta.transaction)


def judgement(paths: Paths, least_bytes: int) -> Judgement | None:
    """What judges the data file while it is read; None where it is small, or to be walked.

    Args:
        paths: the environment's files.
        least_bytes: of a file that takes long to judge.

    Raises:
        Corrupt, FormatTooNew: the file is damaged, cut short or not ours, as far as was seen.
        StorageFailed: the disk does not read it.
    """
    with translated("view file"), _data_file(paths) as descriptor:
        if descriptor is None:
            return None
        there = os.fstat(descriptor)
        metas = read_metas(descriptor) if there.st_size >= least_bytes else None
        sums = lmdb_sums.read(paths.sums, metas[0]) if metas is not None else None
        if metas is None or sums is None:
            return None
        _hold_commits(descriptor, metas)
        begun = Judgement(paths.data, Readable(metas[0], sums, identity_of(there)), NAMES)
        begun.ask(_hold_format)
        return begun


def _hold_format(pages: Pages, handles: Handles) -> None:
    hold_format(lambda key: pages.get(key, None, handles[OURS]))


def keep_sums(paths: Paths) -> None:
    """Measure what was just committed, so that the next open need not walk.

    The commit stands whether or not this succeeds.
    """
    with suppress(OSError, Corrupt), _data_file(paths) as descriptor:
        metas = None if descriptor is None else read_metas(descriptor)
        if descriptor is None or metas is None:
            return
        before = lmdb_sums.read(paths.sums, metas[1])
        if before is None:
            sums = lmdb_sums.measure(descriptor, metas[0])
        else:
            sums = lmdb_sums.bring_forward(descriptor, metas, before)
        lmdb_sums.write(paths.sums, metas[0], sums)


def open_environment(paths: Paths, map_bytes: int) -> tuple[lmdb.Environment, Handles]:
    """Open an environment that was verified, or make one.

    Args:
        paths: the environment's files.
        map_bytes: the least size of the map; a file that is larger gets twice its size.

    Raises:
        Corrupt, FormatTooNew: what is there cannot be used.
        StorageFailed: the disk or the system refuses (descriptors, address space).
    """
    with translated("view"):
        pathlib.Path(paths.folder).mkdir(exist_ok=True, parents=True)
        shutil.rmtree(paths.copy, ignore_errors=True)  # a crash came between
        identity = paths.identity()
        _allocate_lock(paths.folder)
        try:
            return _opened(paths, max(map_bytes, 2 * identity[2] if identity else 0))
        except BaseException:
            if identity is None:  # a full disk takes a part of it, which is no view
                paths.data.unlink(missing_ok=True)
            raise


def _opened(paths: Paths, map_bytes: int) -> tuple[lmdb.Environment, Handles]:
    environment = lmdb.open(
        str(paths.folder),
        map_size=map_bytes,
        metasync=True,
        sync=True,
        map_async=False,
        writemap=False,
        readahead=True,
        max_dbs=len(NAMES),
        lock=True,
        lib_version=0,
    )
    try:
        return environment, _handles(environment)
    except BaseException:
        environment.close()
        raise


def _allocate_lock(folder: Path) -> None:
    """Give LMDB's lock file its blocks.

    It is mapped: where a full disk has no page of it to give, the process ends.
    """
    descriptor = os.open(folder / "lock.mdb", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.posix_fallocate(descriptor, 0, LOCK_BYTES)
    finally:
        os.close(descriptor)


def _handles(environment: lmdb.Environment) -> Handles:
    if environment.stat()["entries"] == 0:
        with environment.begin(write=True) as transaction:
            made = [environment.open_db(name, transaction) for name in NAMES]
            for key, value in seal(SEEDS[HOUSE], [format_row(), commit_row(transaction.id())]):
                transaction.put(key, value, db=made[OURS])
    handles = tuple(environment.open_db(name, create=False) for name in NAMES)
    with environment.begin(db=handles[OURS]) as transaction:
        hold_format(transaction.get)
    return handles
