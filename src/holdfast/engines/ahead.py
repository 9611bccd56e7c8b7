"""Files of the machine's disk that are written in small pieces, one behind the other.

Such a file gets zeros ahead of its end, 128 KiB in one go, for two reasons.

To sync a file that grew is to sync its length too, by way of the file system's
journal. Over zeros it does not grow: only its data go to the disk.

A call for each small write costs more than the write: 1.5 us of processor time for
1 KiB, most of it to find a page for each. So where nobody waits for the disk the zeros
are mapped, and small writes are copied into that *window*: 0.5 us. The pages are the
file's own, as those of a write are: what was copied there outlives a ``kill -9``, shows
to every read at once, and becomes durable by the file's ``sync``, which tells of every
failed write-back. Larger writes go by call: the kernel takes them in large pieces of
its own. Where they follow one another the disk is asked for blocks ahead of them, as
many as the file has already: a write that finds its blocks and its length there takes 0.21 us a KiB
of processor time where it took 0.30, and waits less for the journal while another
thread syncs (ext4).

The zeros are written, not only asked for, so that a full disk is an OSError here.
What the disk has taken cannot be refused later, where it writes in place; so on
other file systems there are none. A disk that breaks while a window is open ends
the process, as a mapped page that cannot be read does (rule 12).

``finish`` gives back what is left of zeros and blocks. After a crash they stay; to whoever
reads the log they are a torn tail.
"""

from __future__ import annotations

# ruff: noqa: D102 - the port tells what each method does
import os
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from mmap import ALLOCATIONGRANULARITY, mmap
from pathlib import Path
from threading import Lock
from weakref import ref

from holdfast.engines.disk import OsDisk, OsFile
from holdfast.engines.port import Buffer, File
from holdfast.limits import KIB, MIB

WINDOW_BYTES = max(128 * KIB, ALLOCATIONGRANULARITY)
# Of zeros: the largest that Linux takes from the pages a processor gave back last. Larger
# ones took ten times as long in many rounds on a virtual machine, these in one of fourteen.
PIECE_BYTES = 32 * KIB
RUN_BYTES = WINDOW_BYTES  # of small writes in a row are worth zeros ahead: short files have none
SMALL_BYTES = 16 * KIB  # from here on a write goes by call
CLAIM_BYTES = 4 * MIB  # of a file are there before blocks are asked for ahead of large writes:
CLAIM_BYTES_MOST = 16 * MIB  # as many as they have, up to so many, so that it is asked seldom
ROOMY_BYTES = 64 * MIB  # that are free, or nothing is taken ahead: many files are written
OPEN_WINDOWS = 16  # each holds a descriptor of its own
IN_PLACE = frozenset(("ext2", "ext3", "ext4", "xfs", "tmpfs"))  # no copy on write
CLAIMED = frozenset(("ext4",))  # where blocks that are asked for are worth it, as measured

_ZEROS = bytes(PIECE_BYTES)
_MOUNTS = "/proc/self/mountinfo"


class Windows:
    """Bounds how many files of a disk have a window: the newest keep theirs."""

    def __init__(self, limit: int = OPEN_WINDOWS) -> None:
        self._limit = limit
        self._lock = Lock()
        self._ring: OrderedDict[ref[AheadFile], None] = OrderedDict()

    def opened(self, file: AheadFile) -> None:
        """Take note of a file's new window; whoever has the oldest loses it."""
        watched = ref(file)
        with self._lock:
            self._ring[watched] = None
            self._ring.move_to_end(watched)
            while len(self._ring) > self._limit:
                oldest = self._ring.popitem(last=False)[0]()
                if oldest is not None:
                    oldest.window = None


class AheadFile(OsFile):
    """An open file that keeps zeros ahead of small writes, and a window on them if ``mapped``.

    One thread writes at a time. ``window`` may be taken away by any other: the
    writer holds its own reference while it copies.

    Args:
        fd: a descriptor for reading and writing; this object owns it now.
        windows: the bound it shares with others; None where all writes go by call.
        claims: ask for blocks ahead of large writes.
    """

    __slots__ = ("_ahead", "_claimed", "_claims", "_run", "_start", "_stop", "_windows", "window")

    def __init__(self, fd: int, windows: Windows | None, *, claims: bool = False) -> None:
        super().__init__(fd)
        self.window: mmap | None = None
        self._start = 0  # of the window in the file
        self._ahead = 0  # where the zeros end
        self._run = 0  # bytes of small writes in a row
        self._windows = windows
        self._claims = claims
        self._claimed = 0  # where the blocks end that were asked for
        self._stop = 0  # of the last write by call; what comes behind ``finish`` follows none

    def write(self, offset: int, buffers: Sequence[Buffer]) -> int:
        window = self.window
        if window is not None and len(buffers) == 1:
            buffer = buffers[0]
            at = offset - self._start
            stop = at + len(buffer)
            if at >= 0 and stop <= WINDOW_BYTES and type(buffer) is bytes:
                window[at:stop] = buffer
                return stop - at
        return self._write_by_call(offset, buffers)

    def finish(self, size: int) -> None:
        self.window = None
        self._run = self._ahead = self._claimed = self._stop = 0
        with suppress(OSError):  # then they stay, and are no part of anything
            if self.size() > size:
                os.ftruncate(self._fd, size)

    def close(self) -> None:
        self.window = None
        super().close()

    def _write_by_call(self, offset: int, buffers: Sequence[Buffer]) -> int:
        length = _bytes_in(buffers)
        stop = offset + length
        self.window = None
        self._run = run = self._run + length if length < SMALL_BYTES else 0
        if run >= RUN_BYTES and (stop > self._ahead or self._windows is not None):
            self._go_ahead(offset, stop)
        elif self._claims and length >= SMALL_BYTES and stop > self._claimed:
            self._claim(offset, stop)
        self._stop = stop
        return super().write(offset, buffers)

    def _claim(self, start: int, stop: int) -> None:
        """Have the disk set blocks aside for a write from ``start`` to ``stop``, and behind it."""
        if start < CLAIM_BYTES or start != self._stop or not self._is_roomy():
            return
        try:
            end = stop + min(start, CLAIM_BYTES_MOST)
            os.posix_fallocate(self._fd, start, end - start)
            self._claimed = end
        except OSError:
            self._claims = False  # the write goes without, and says so if it cannot

    def _go_ahead(self, start: int, stop: int) -> None:
        """Have zeros behind a write from ``start`` to ``stop``, to the end of its last block."""
        if not self._is_roomy():
            self._run = 0
            return
        block = stop // WINDOW_BYTES * WINDOW_BYTES
        end = block + WINDOW_BYTES
        try:
            # Zeros that reach into the write are gone on with, so that each block is taken
            # whole by the kernel; the write covers the first of them.
            self._clear(self._ahead if self._ahead >= start else stop, end)
            self._ahead = max(self._ahead, end)
            if self._windows is not None:
                self.window = mmap(self._fd, WINDOW_BYTES, offset=block)
                self._start = block
                self._windows.opened(self)
        except OSError:
            self._run = 0  # the write goes by call, and says so if it cannot; later again

    def _is_roomy(self) -> bool:
        """Whether the disk has so much that what is taken ahead is missed by nobody."""
        told = os.fstatvfs(self._fd)
        return told.f_bavail * told.f_frsize >= ROOMY_BYTES

    def _clear(self, start: int, stop: int) -> None:
        """Write zeros, in pieces that begin where one of their size would."""
        while start < stop:
            end = (start // PIECE_BYTES + 1) * PIECE_BYTES
            super().write(start, (_ZEROS[: end - start],))
            start = end


class AheadDisk(OsDisk):
    """The machine's disk for files that only grow, each written by one thread at a time.

    Args:
        mapped: copy small writes into windows; without it only write zeros ahead of them.
        everywhere: do so on file systems too that are not known to write in place.
        windows: files that have one at most; each takes a descriptor.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = AheadDisk().open(f"{folder}/a", create=True)
        ...     sizes = [file.write(at, [bytes(1000)]) for at in range(0, 100_000, 1000)]
        ...     file.finish(100_000)
        ...     file.size()
        100000
    """

    def __init__(
        self, *, mapped: bool = True, everywhere: bool = False, windows: int = OPEN_WINDOWS
    ) -> None:
        self._windows = Windows(windows) if mapped else None
        self._kinds: dict[int, str] = {}  # of file systems, by device
        self._everywhere = everywhere

    def _file(self, fd: int) -> File:
        device = os.fstat(fd).st_dev
        kind = self._kinds.get(device)
        if kind is None:
            kind = self._kinds[device] = _kind(device)
        if not self._everywhere and kind not in IN_PLACE:
            return OsFile(fd)
        claims = self._windows is not None and (self._everywhere or kind in CLAIMED)
        return AheadFile(fd, self._windows, claims=claims and hasattr(os, "posix_fallocate"))


def _bytes_in(buffers: Sequence[Buffer]) -> int:
    if len(buffers) == 1 and type(buffers[0]) is bytes:
        return len(buffers[0])
    return sum(memoryview(buffer).nbytes for buffer in buffers)


def _kind(device: int) -> str:
    """The type of the file system that is mounted from a device; empty where nobody knows."""
    name = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError):
        for line in Path(_MOUNTS).read_text(encoding="utf-8", errors="replace").splitlines():
            mount, _, system = line.partition(" - ")
            if mount.split()[2] == name:
                return system.split()[0]
    return ""
