"""The ports of the ground: where the log's bytes live.

``Segments`` is what the log needs of any ground. ``Disk`` is what the file
engine needs of an operating system: the real one, the one in memory and the
faulty ones of the tests are implementations of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from mmap import mmap
from typing import Protocol

from holdfast.errors import StorageFailed

Mapped = bytes | mmap  # slices of either are bytes, so one slice serves a get
Buffer = bytes | bytearray | memoryview | mmap


class LeftBehind(OSError):
    """A segment could not be begun, and what there is of it could not be cleared away.

    It may show after a crash, whole: whoever goes on must do so under a higher number.
    """


class File(Protocol):
    """An open file. Offsets and lengths are bytes.

    A file that nothing refers to any more closes itself. So a call in flight,
    which holds a reference, never finds its descriptor closed or given to
    another file: whoever shares a file drops it and does not ``close`` it.
    """

    def write(self, offset: int, buffers: Sequence[Buffer]) -> int:
        """Write all buffers, gathered, at ``offset``; returns how many bytes that was.

        Raises OSError where not all could be written; a part may have been.
        """

    def sync(self) -> None:
        """Make what was written durable (fdatasync); says nothing about the file's name."""

    def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes at ``offset``; fewer at the end of the file."""

    def read_now(self, offset: int, length: int) -> bytes | None:
        """The same, or None where some of it would have to be waited for (rule 12)."""
        return self.read(offset, length)

    def map(self) -> Mapped:
        """The whole file, readable in place; only for files that no longer change.

        A map may cost a descriptor of its own until nothing refers to it.
        """

    def size(self) -> int:
        """Bytes in the file."""

    def finish(self, size: int) -> None:
        """Give back what was set aside for writes behind ``size``: there are no more of them.

        By the thread that writes, and before anybody maps the file. It may fail in silence.
        """
        del size

    def close(self) -> None:
        """Give the descriptor back; maps that were handed out stay readable."""


class Disk(Protocol):
    """An operating system's files. Failures are ``OSError``, as the kernel names them.

    Bytes become durable by ``File.sync`` and names by ``sync_folder`` of their
    folder, each without the other. There is no way to shorten what was written (rule 12).
    """

    def open(self, path: str, *, create: bool = False, write: bool = True) -> File:
        """Open an existing file for reading and writing; ``create`` demands that it is new.

        Without ``write`` it is for reading alone, which needs no right to write it.
        """

    def link(self, source: str, target: str) -> None:
        """A second name for the same file."""

    def unlink(self, path: str) -> None:
        """Remove a file, or an empty folder; what is absent is passed over."""

    def rename(self, source: str, target: str) -> None:
        """Replace ``target`` by ``source``, atomically."""

    def list(self, path: str) -> list[str]:
        """The names in a folder, sorted; an absent folder has none."""

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it; existing ones are fine."""

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable."""

    def free_bytes(self, path: str) -> int:
        """Bytes that can still be written there; FileNotFoundError where no folder is."""


class Segment(Protocol):
    """One segment of one bucket's log: append-only, then sealed.

    One thread appends at a time; any number read meanwhile. After a failed
    ``sync`` every further ``append`` and ``sync`` fails too: a kernel that
    dropped dirty pages answers the next sync with success (rule 1).
    """

    size: int  # bytes, and where the next append goes
    # Where callers keep what ``map`` gave them, and under which number: taken out
    # of there when the descriptor behind the map has to go. A split's child reads its
    # parent's segments: there may be several, each by its id, so that no two meet.
    lent: dict[int, tuple[dict[int, Mapped], int]]

    def append(self, buffers: Sequence[Buffer]) -> None:
        """Write the buffers after the last byte; on an error the size stays as it was."""

    def sync(self) -> None:
        """Make everything appended so far durable."""

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from ``start`` to ``stop``; fewer where the segment ends."""

    def read_now(self, start: int, stop: int) -> bytes | None:
        """The same, or None where some of it would have to be waited for (rule 12)."""
        return self.read(start, stop)

    def map(self) -> Mapped:
        """The whole segment in place; only once nothing more will be appended.

        Ask again for each use and keep no reference: what is kept can't be parked.
        """

    def finish(self) -> None:
        """Give back what was set aside for appends to come; for the thread that appends."""
        return

    def taken(self) -> int:
        """Bytes that it takes, those that are set aside included."""
        return self.size

    def park(self) -> None:
        """Give back the descriptor and the map; the next call opens again.

        Bytes not yet durable are synced first, while the kernel can still say
        that it failed to write them.
        """


class Segments(Protocol):
    """Where the segments of every bucket live."""

    def listing(self) -> dict[str, list[int]]:
        """Every bucket that has segments, with their numbers, ascending."""

    def begin(self, bucket: str, number: int, head: Sequence[Buffer], beside: str = "") -> Segment:
        """Create a segment that starts with ``head``: durable, name and bytes, on return.

        A new bucket goes ``beside`` the one whose segments it is to share, or where it likes.
        Raises FileExistsError where the number is taken (put-if-absent), and
        OSError where it can't be made: then nothing of it is left, unless it is
        ``LeftBehind``. After a crash
        a segment may be found whose head never became durable: drop it first.
        """

    def open(self, bucket: str, number: int) -> Segment:
        """An existing segment, its size that of its bytes; FileNotFoundError where none is."""

    def share(self, source: str, number: int, target: str, target_number: int) -> None:
        """Give another bucket the same bytes under a number of its own; idempotent, durable.

        Raises FileExistsError where that number holds other bytes, and OSError
        (EXDEV) where the two buckets live on different disks and there is much to copy.
        """

    def drop(self, bucket: str, number: int) -> None:
        """Forget a segment, durably; what is absent is passed over."""

    def retire(self, bucket: str) -> None:
        """Forget a bucket with all its segments, durably; what is absent is passed over.

        The newest goes last: alone the others would tell what is undone since.
        """

    def free_bytes(self, bucket: str) -> int:
        """Bytes that can still be written where the bucket lives, or would be placed."""

    def reserve(self, size: int, piece: int = 0) -> bool:
        """Keep ``size`` bytes aside in each folder, or give them back with 0; False if it can't.

        Each ``piece`` is given back by itself, so that none of the others is lost meanwhile.
        """


def refused(bucket: str, error: OSError) -> StorageFailed:
    """What the ground's refusal is called above it."""
    return StorageFailed.of(error, bucket=bucket)
