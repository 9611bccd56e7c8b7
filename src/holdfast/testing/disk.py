"""Disks that fail on demand: the faults of the ``Disk`` port, each repeatable.

    CrashDisk     loses power at a numbered call; shows what a machine may find after
    FailingDisk   refuses the nth call, once or from then on, whole or half done
    FullDisk      runs out of bytes
    SlowDisk      takes its time to sync
    CountingDisk  counts calls and bytes

All but the first go around any other disk, so they combine: a full disk that is
slow, a failing one that loses power. Chance comes from a seed alone.
"""

from __future__ import annotations

# ruff: noqa: D102 - the port tells what each method does
import errno
import os
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from random import Random
from threading import Lock

from holdfast.engines.memory import Folder, Inode, MemoryDisk
from holdfast.engines.port import Buffer, Disk, File
from holdfast.testing.around import MUTATING, READING, Around, AroundFile, Kind
from holdfast.testing.platter import (
    MODES,
    Edit,
    Event,
    Mode,
    Named,
    Platter,
    Synced,
    SyncedFolder,
    Write,
    Wrote,
    copy_tree,
)

__all__ = [
    "FOREVER",
    "MODES",
    "MUTATING",
    "READING",
    "Around",
    "AroundFile",
    "CountingDisk",
    "CrashDisk",
    "FailingDisk",
    "FullDisk",
    "Kind",
    "Mode",
    "PowerCut",
    "SlowDisk",
]

FOREVER = sys.maxsize


class PowerCut(BaseException):
    """The power is gone; not an Exception, so that no handler of errors outlives it."""


# -- counted, slow, failing, full --------------------------------------------------


class CountingDisk(Around):
    """Counts every call, and the bytes of reads and writes, by kind; safe among threads.

    Example:
        >>> disk = CountingDisk(MemoryDisk())
        >>> disk.open("a", create=True).write(0, [b"one", b"two"])
        6
        >>> disk.calls["write"], disk.bytes["write"], disk.calls["sync"]
        (1, 6, 0)
    """

    def __init__(self, inner: Disk) -> None:
        super().__init__(inner)
        self.calls: Counter[Kind] = Counter()
        self.bytes: Counter[Kind] = Counter()
        self._lock = Lock()

    def reset(self) -> None:
        """Begin again from nothing."""
        with self._lock:
            self.calls.clear()
            self.bytes.clear()

    def before(self, kind: Kind) -> None:
        with self._lock:
            self.calls[kind] += 1

    def write(self, file: File, offset: int, buffers: Sequence[Buffer]) -> int:
        written = super().write(file, offset, buffers)
        with self._lock:
            self.bytes["write"] += written
        return written

    def read(self, file: File, offset: int, length: int) -> bytes:
        data = super().read(file, offset, length)
        with self._lock:
            self.bytes["read"] += len(data)
        return data


class SlowDisk(Around):
    """Sleeps before each sync of a file or folder.

    Args:
        inner: the disk that does the work.
        sync_s: seconds a sync takes longer.
        sleep: waits so many seconds; a clock's ``sleep``.
    """

    def __init__(self, inner: Disk, sync_s: float, sleep: Callable[[float], None]) -> None:
        super().__init__(inner)
        self._sync_s = sync_s
        self._sleep = sleep

    def before(self, kind: Kind) -> None:
        if kind in {"sync", "sync_folder"}:
            self._sleep(self._sync_s)


class FailingDisk(Around):
    """Refuses the nth call with an OSError; nothing of that call is done.

    ``calls`` counts the calls that could fail, ``failed`` those that did. A
    refused sync has synced nothing, and the next one says nothing of it, like
    a kernel that dropped the dirty pages.

    Args:
        inner: the disk that does the work.
        fail_at: the number of the first call to refuse, from 1; 0 refuses none.
        error: the errno to answer with.
        short: a refused write has written a part of its bytes, by chance none.
        times: how many calls in a row are refused; ``FOREVER`` for all from there.
        kinds: the kinds that are counted and refused: those that change
            something; ``MUTATING | READING`` for all.
        seed: of the chance that ``short`` needs.
    """

    def __init__(
        self,
        inner: Disk,
        fail_at: int,
        *,
        error: int = errno.EIO,
        short: bool = False,
        times: int = 1,
        kinds: Collection[Kind] = MUTATING,
        seed: int = 0,
    ) -> None:
        super().__init__(inner)
        self.calls = 0
        self.failed = 0
        self._span = range(fail_at, fail_at + times if fail_at else 0)
        self._error = error
        self._short = short
        self._kinds = frozenset(kinds)
        self._chance = Random(seed)  # noqa: S311 - repeatable is the point
        self._lock = Lock()

    def before(self, kind: Kind) -> None:
        if kind not in self._kinds:
            return
        with self._lock:
            self.calls += 1
            if self.calls not in self._span:
                return
            self.failed += 1
        raise OSError(self._error, os.strerror(self._error))

    def write(self, file: File, offset: int, buffers: Sequence[Buffer]) -> int:
        try:
            self.before("write")
        except OSError:
            if self._short:
                data = b"".join(buffers)
                file.write(offset, [data[: self._chance.randrange(len(data) or 1)]])
            raise
        return file.write(offset, buffers)


class FullDisk(Around):
    """Has room for so many bytes; then a write does what fits and raises ENOSPC.

    A file's bytes come back when its last name goes. Files that were there
    before count nothing, but give back their size too; names take no room.

    Args:
        inner: the disk that does the work.
        capacity: bytes that fit.
    """

    def __init__(self, inner: Disk, capacity: int) -> None:
        super().__init__(inner)
        self.capacity = capacity
        self.used = 0
        self._names: dict[str, list[str]] = {}  # path -> all names of that file, shared
        self._lock = Lock()

    def write(self, file: File, offset: int, buffers: Sequence[Buffer]) -> int:
        with self._lock:
            data = b"".join(buffers)
            size = file.size()
            room = max(size, size + self.capacity - self.used) - offset
            fits = data if len(data) <= room else data[: max(0, room)]
            written = file.write(offset, [fits]) if fits else 0
            self.used += max(0, offset + written - size) if written else 0
        if written < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written

    def link(self, source: str, target: str) -> None:
        super().link(source, target)
        names = self._names.setdefault(source, [source])
        names.append(target)
        self._names[target] = names

    def unlink(self, path: str) -> None:
        size = self._size(path)
        super().unlink(path)
        self._gone(path, size)

    def rename(self, source: str, target: str) -> None:
        size = self._size(target)
        super().rename(source, target)
        self._gone(target, size)
        for path in [p for p in self._names if p == source or p.startswith(f"{source}/")]:
            names = self._names.pop(path)
            new = target + path.removeprefix(source)
            names[names.index(path)] = new
            self._names[new] = names

    def free_bytes(self, path: str) -> int:
        return min(super().free_bytes(path), max(0, self.capacity - self.used))

    def _size(self, path: str) -> int:
        with suppress(FileNotFoundError, IsADirectoryError):
            return self._inner.open(path).size()
        return 0

    def _gone(self, path: str, size: int) -> None:
        names = self._names.pop(path, [path])
        names.remove(path)
        if not names:
            with self._lock:
                self.used -= size


# -- the power goes ------------------------------------------------------------------


class CrashDisk(Around):
    """A disk in memory that knows what of it is durable, and can lose the rest.

    Bytes become durable by ``File.sync`` and names by ``sync_folder``, each
    without the other. Every call that changes something is a *point*, numbered
    from 1: write, sync, create, link, unlink, rename, each folder made,
    sync_folder. ``points`` tells how many there were.

    One run serves every cut: ``after_cut(..., at=n)`` shows the machine that
    lost its power in the middle of point n, whatever was done since. ``cut_at``
    stops the run itself there, for what must see the cut happen.

    Args:
        start: what is there before, all of it durable; it is copied.
        cut_at: the point that raises ``PowerCut``, as does every call after it.

    Example:
        >>> disk = CrashDisk()
        >>> file = disk.open("a", create=True)
        >>> disk.sync_folder("/")
        >>> file.write(0, [b"lost"])
        4
        >>> disk.after_cut("kept", seed=1).open("a").read(0, 9)
        b'lost'
        >>> disk.after_cut("dropped", seed=1).open("a").read(0, 9)
        b''
    """

    def __init__(self, start: MemoryDisk | None = None, *, cut_at: int | None = None) -> None:
        self._now = MemoryDisk(copy_tree(start.root, {}) if start else None)
        super().__init__(self._now)
        self._start = Platter(self._now.root)
        self._events: list[Event] = []
        self._cut_at = cut_at
        self._lock = Lock()

    @property
    def points(self) -> int:
        """How many points there were, the one that lost its power included."""
        return len(self._events)

    @property
    def is_cut(self) -> bool:
        """Whether the run reached ``cut_at``."""
        return self._cut_at is not None and self.points >= self._cut_at

    def after_cut(self, mode: Mode, seed: int, *, at: int | None = None) -> MemoryDisk:
        """A disk as a machine may find it after the cut.

        kept: everything that was written, synced or not. dropped: only what was
        synced. torn: all names; of each unsynced file its writes up to a byte
        drawn by chance, or the last of them with one sector of zeros or garbage,
        or both. reordered: of the unsynced writes a drawn part of their sectors,
        of the unsynced names a drawn part.

        Args:
            mode: one of the four.
            seed: of the chance; the same one draws the same disk.
            at: the point in whose middle the power went; by default where it
                did, or after the last one.
        """
        in_flight = at is not None or self.is_cut
        events = self._events[: self.points if at is None else at]
        if in_flight and events and isinstance(events[-1], Synced | SyncedFolder):
            events.pop()  # it never ended
        platter = self._start.copy()
        platter.replay(events)
        platter.settle(mode, Random(seed))  # noqa: S311 - repeatable is the point
        return MemoryDisk(platter.root())

    def before(self, kind: Kind) -> None:
        if self.is_cut:
            raise PowerCut(kind)

    def around(self, path: str, file: File) -> File:
        inode = self._now.find(path)
        if not isinstance(inode, Inode):  # unlinked by another thread in this very moment
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return _CrashFile(self, file, inode)

    def open(self, path: str, *, create: bool = False, write: bool = True) -> File:
        with self._lock:
            file = super().open(path, create=create, write=write)
            if create:
                self._point(Named((self._edit(path),)))
        return file

    def link(self, source: str, target: str) -> None:
        with self._lock:
            super().link(source, target)
            self._point(Named((self._edit(target),)))

    def unlink(self, path: str) -> None:
        with self._lock:
            was = self._now.find(path)
            super().unlink(path)
            if was is not None:
                self._point(Named((self._edit(path),)))

    def rename(self, source: str, target: str) -> None:
        with self._lock:
            super().rename(source, target)
            self._point(Named((self._edit(source), self._edit(target))))

    def make_folder(self, path: str) -> None:
        with self._lock:
            self.before("make_folder")
            for level in _levels(path):
                if self._now.find(level) is None:
                    self._now.make_folder(level)
                    self._point(Named((self._edit(level),)))
            self._now.make_folder(path)  # says so where a file is in the way

    def sync_folder(self, path: str) -> None:
        with self._lock:
            super().sync_folder(path)
            folder = self._now.find(path)
            if isinstance(folder, Folder):
                self._point(SyncedFolder(folder))

    def wrote(self, file: File, inode: Inode, write: Write) -> None:
        """Carry out a write to a file, as one point."""
        with self._lock:
            self.before("write")
            file.write(write[0], [write[1]])
            self._point(Wrote(inode, write))

    def synced(self, inode: Inode) -> None:
        """Carry out a sync of a file, as one point."""
        with self._lock:
            self.before("sync")
            self._point(Synced(inode))

    def _point(self, event: Event) -> None:
        self._events.append(event)
        if self.is_cut:
            raise PowerCut(self.points)

    def _edit(self, path: str) -> Edit:
        """What the last name of ``path`` stands for now."""
        folder, name = self._now.parent(path)
        return folder, name, self._now.find(path)


class _CrashFile(AroundFile):
    def __init__(self, disk: CrashDisk, inner: File, inode: Inode) -> None:
        super().__init__(disk, inner)
        self._crash = disk
        self._inode = inode

    def write(self, offset: int, buffers: Sequence[Buffer]) -> int:
        data = b"".join(buffers)
        self._crash.wrote(self._inner, self._inode, (offset, data))
        return len(data)

    def sync(self) -> None:
        self._inner.sync()  # refused where the file is closed
        self._crash.synced(self._inode)


def _levels(path: str) -> Iterator[str]:
    """``a``, ``a/b``, ``a/b/c``."""
    names = path.split("/")
    for depth in range(1, len(names) + 1):
        yield "/".join(names[:depth])
