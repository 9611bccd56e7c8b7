"""One segment in one file, and the bound on how many files are open at once.

A descriptor that is closed while another thread reads by its number would hand
that thread some other file's bytes. Here nobody closes a shared file: to give a
descriptor back, the segment drops its reference and the last call in flight
takes the file with it (see ``File``). So a read costs no lock and no count of
its own; the interpreter's reference count is the one that decides.

Bytes that are not durable yet keep their descriptor. The kernel tells a failed
write-back to descriptors that were open when it failed: close one before its
sync and the failure may never be heard of. If only such segments are left, the
coldest is synced and then closed, and should that fail, its next ``append`` or
``sync`` says so.
"""

from __future__ import annotations

# ruff: noqa: D102 - the port tells what each method does
import errno
import os
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from posixpath import dirname
from threading import Lock
from weakref import ref

from holdfast.engines.port import Buffer, Disk, File, Mapped, Segment

# Rounds of closing and syncing before one descriptor too many is opened after all:
# a segment that is written to without a pause is never durable.
ATTEMPTS = 4


class Descriptors:
    """Keeps at most ``limit`` descriptors open among the segments that share it.

    The choice is second chance ("clock"): a segment used since it was last
    looked at is passed over once. That asks one attribute of a read, where a
    true order of use would ask a lock and a list. Segments are only watched:
    one that its owner forgets closes at once.

    Args:
        limit: descriptors to keep, files and maps together; at least 1. Calls
            in flight, and maps that a caller keeps, come on top.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError("open_files must be at least 1")
        self.lock = Lock()  # over which segments hold what; never held during a sync
        self._limit = limit
        self._held = 0
        self._ring: OrderedDict[ref[FileSegment], int] = OrderedDict()  # descriptors of each

    def make_room(self) -> None:
        """Close the coldest until one more descriptor is within the limit."""
        for _ in range(ATTEMPTS):
            with self.lock:
                unsynced = self._close_coldest()
            if unsynced is None:
                return
            unsynced.settle()

    def took(self, segment: FileSegment) -> None:
        """``segment`` holds one more descriptor; ``lock`` is held."""
        watched = ref(segment)
        self._ring[watched] = self._ring.get(watched, 0) + 1
        self._held += 1

    def gave(self, segment: FileSegment, count: int | None = None) -> None:
        """``segment`` let go of ``count`` descriptors, or of all; ``lock`` is held."""
        self._gave(ref(segment), count)

    def those_of(self, path: str) -> list[FileSegment]:
        """The segments at or below ``path`` that hold a descriptor."""
        with self.lock:
            alive = [segment for watched in self._ring if (segment := watched())]
        return [s for s in alive if s.path == path or s.path.startswith(f"{path}/")]

    def _gave(self, watched: ref[FileSegment], count: int | None = None) -> None:
        had = self._ring.pop(watched, 0)
        left = 0 if count is None else had - count
        if left > 0:
            self._ring[watched] = left
        self._held -= had - left

    def _close_coldest(self) -> FileSegment | None:
        """Make room; where only segments that need a sync are left, the one to sync first."""
        unsynced = None
        for _ in range(2 * len(self._ring)):
            if self._held < self._limit:
                return None
            watched = next(iter(self._ring))
            self._ring.move_to_end(watched)
            segment = watched()
            if segment is None:
                self._gave(watched)
            elif segment.used:
                segment.used = False
            elif segment.close_if_durable():
                self._gave(watched)
            else:
                unsynced = unsynced or segment
        return unsynced if self._held >= self._limit else None


class FileSegment(Segment):
    """A segment that is one file of a disk, opened when it is used.

    Args:
        disk: where the file is.
        path: its name there.
        descriptors: the bound it shares with others.
        size: bytes it has.
        name_is_durable: False for a file that was found: a killed process may
            have left it without syncing its folder, so the first ``sync`` does.
    """

    __slots__ = (
        "_appending",
        "_descriptors",
        "_disk",
        "_durable",
        "_failure",
        "_file",
        "_map",
        "_name_is_durable",
        "lent",
        "path",
        "size",
        "used",
    )

    def __init__(
        self, disk: Disk, path: str, descriptors: Descriptors, *, size: int, name_is_durable: bool
    ) -> None:
        self.path = path
        self.size = size
        self.used = True
        self._disk = disk
        self._descriptors = descriptors
        self._durable = size  # what was written through this object is synced up to here
        self._failure: OSError | None = None  # of a sync: nothing is written after it
        self._file: File | None = None
        self._map: Mapped | None = None
        self._name_is_durable = name_is_durable
        self.lent: dict[int, tuple[dict[int, Mapped], int]] = {}
        self._appending = False

    # -- the port ------------------------------------------------------------------

    def append(self, buffers: Sequence[Buffer]) -> None:
        # This is said before the look at the file, and close_if_durable takes the
        # file before it asks: one of the two sees the other. A lock would say the
        # same for twice the time, and a Ctrl-C between its acquire and the try
        # would leave it locked.
        self._appending = True
        try:
            file = self._file
            if file is None or self._failure is not None:
                file = self._to_write()
            self.size += file.write(self.size, buffers)
        finally:
            self._appending = False

    def sync(self) -> None:
        self.used = True
        size = self.size
        self._sync(self._to_write(), size)

    def read(self, start: int, stop: int) -> bytes:
        self.used = True
        if stop > self.size:  # what a failed append left behind is not of the segment
            stop = max(start, self.size)
        file = self._file
        return (file if file is not None else self._opened()).read(start, stop - start)

    def read_now(self, start: int, stop: int) -> bytes | None:
        self.used = True
        file = self._file
        if file is None or stop > self.size:
            return None  # to open it is to wait
        return file.read_now(start, stop - start)

    def map(self) -> Mapped:
        self.used = True
        mapped = self._map
        return mapped if mapped is not None else self._mapped()

    def finish(self) -> None:
        with suppress(OSError):  # of opening it: then what was set aside stays
            file = self._file
            (file if file is not None else self._opened()).finish(self.size)

    def taken(self) -> int:
        file = self._file
        with suppress(OSError):
            return max(self.size, file.size() if file is not None else 0)
        return self.size

    def park(self) -> None:
        heard = self._failure
        self.settle()
        self.forget()
        if self._failure is not None and self._failure is not heard:
            raise self._failure

    # -- with Descriptors ------------------------------------------------------------

    def adopt(self, file: File) -> File:
        """Keep an open file of this segment, unless another thread brought one already."""
        self._descriptors.make_room()
        with self._descriptors.lock:
            if self._file is None:
                self._file = file
                self._descriptors.took(self)
            return self._file

    def close_if_durable(self) -> bool:
        """Drop file and map unless bytes wait for a sync; the descriptors' lock is held."""
        if self._close_file_if_durable():
            self._drop_map()
            return True
        return False

    def settle(self) -> None:
        """Sync what is not durable yet; a failure is kept, for the next append or sync."""
        file = self._file
        if file is not None and not self._is_durable():
            with suppress(OSError):
                self._sync(file, self.size)

    def forget(self) -> None:
        """Give the descriptors back as they are, unsynced bytes or not."""
        with self._descriptors.lock:
            self._file = None
            self._drop_map()
            self._descriptors.gave(self)

    # -- leaves ----------------------------------------------------------------------

    def _drop_map(self) -> None:
        """Let the map go, here and where it was lent to: its descriptor goes with the last."""
        self._map = None
        for maps, number in list(self.lent.values()):
            maps.pop(number, None)

    def _is_durable(self) -> bool:
        """Whether no failed write-back would go unheard if the file were closed now."""
        return self._failure is not None or (self._durable == self.size and not self._appending)

    def _close_file_if_durable(self) -> bool:
        file, self._file = self._file, None
        if self._is_durable():
            return True
        self._file = file  # nobody brought another: ``adopt`` waits for the lock
        return False

    def _sync(self, file: File, size: int) -> None:
        try:
            file.sync()
            if not self._name_is_durable:
                self._disk.sync_folder(dirname(self.path))
                self._name_is_durable = True
        except OSError as failure:
            self._failure = failure
            raise
        self._durable = size

    def _to_write(self) -> File:
        if self._failure is not None:
            raise OSError(*self._failure.args) from self._failure
        file = self._file
        return file if file is not None else self._opened()

    def _opened(self) -> File:
        size = self.size  # before the file's: another thread may append meanwhile
        file = self._disk.open(self.path)
        if file.size() < size:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), self.path)
        return self.adopt(file)

    def _mapped(self) -> Mapped:
        file = self._file
        mapped = (file if file is not None else self._disk.open(self.path)).map()
        self._descriptors.make_room()
        with self._descriptors.lock:
            if self._map is None:
                self._map = mapped
                self._descriptors.took(self)
                if self._file is not None and self._close_file_if_durable():
                    self._descriptors.gave(self, 1)  # the map stands without it
            return self._map
