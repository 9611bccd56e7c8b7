"""Objects as binary files: written part by part, read page by page, in constant memory."""

from __future__ import annotations

import io
from collections.abc import Callable
from operator import index
from types import TracebackType
from typing import Protocol

from holdfast.errors import Closed
from holdfast.log.entry import Entry
from holdfast.request.corridor import Corridor
from holdfast.request.large import PART_BYTES, pieces

PEEK_BYTES = 8 << 10  # that a line is looked for in: as much as files of Python buffer


class Pieces(Protocol):
    """Takes an object's bytes as they come; who makes an object of them."""

    name: str

    def write(self, data: bytes | memoryview) -> None:
        """Take more bytes."""

    def finish(self) -> object:
        """Make the object."""

    def give_up(self) -> None:
        """Make none."""


class ObjectWriter(io.RawIOBase):
    """A file open for writing. The object appears when it is closed, whole.

    Leaving its context by an exception abandons it, and so does a write that fails: the old
    object stays.
    """

    def __init__(self, writer: Pieces) -> None:
        super().__init__()
        self._writer: Pieces | None = writer
        self._key = writer.name

    def __repr__(self) -> str:
        return f"ObjectWriter(key={self._key!r}, closed={self.closed})"

    def writable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: object) -> int:
        """Refused: this file is only written."""
        del buffer
        raise io.UnsupportedOperation("not readable")

    def write(self, data: object) -> int:
        """Take bytes; how many."""
        if self._writer is None:
            raise Closed(what="file")
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        try:
            self._writer.write(view)
        except BaseException as error:  # some of it is lost: there will be no object
            writer, self._writer = self._writer, None
            if isinstance(error, Exception):  # who is interrupted begins nothing else
                writer.give_up()
            raise
        return len(view)

    def close(self) -> None:
        """Store the object."""
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.finish()
        finally:
            super().close()

    def abandon(self) -> None:
        """Close without storing anything."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.give_up()
        super().close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.abandon()
        self.close()

    def __del__(self) -> None:
        """A file that nobody closed stores nothing: half an object is none."""
        self._writer = None
        super().__del__()


def sought(at: int, size: int, offset: int, whence: int) -> int:
    """Where ``seek`` goes to from a place in a file of so many bytes; errors are those of io."""
    offset = index(offset)
    bases = {io.SEEK_SET: 0, io.SEEK_CUR: at, io.SEEK_END: size}
    if whence not in bases:
        raise ValueError("whence is none of SEEK_SET, SEEK_CUR and SEEK_END")
    if bases[whence] + offset < 0:
        raise ValueError("negative seek position")
    return bases[whence] + offset


class ObjectReader(io.RawIOBase):
    """A file open for reading one version of an object; seekable.

    What was opened is read to its end though it is replaced meanwhile, for as
    long as the grace lasts; a reader that outlives it gets ``Changed``, never a
    mixture. Where over 1 MiB of it lies in records of its own, as what was appended does,
    their segments are kept for that long, or until the file is closed. Holds two parts in
    memory at most. ``sent`` is told of bytes that are handed out.

    Raises:
        Changed: the object was replaced since ``entry`` was looked up.
    """

    def __init__(
        self,
        corridor: Corridor,
        key: bytes,
        name: str,
        entry: Entry,
        *,
        sent: Callable[[int], object],
    ) -> None:
        super().__init__()
        self._sent = sent
        self._read: Callable[[int, int], bytes] = lambda start, stop: b"".join(
            pieces(corridor, key, name, entry, start, stop)
        )
        self._key = name
        self._size = entry.size
        self._at = 0
        self._window = (0, b"")  # the part that was read last: where it begins, its bytes
        self._tail = (self._size, b"")
        border = entry.attributes.parts_bytes
        self._hold: object = None
        if self._size - border > PART_BYTES:
            self._hold = corridor.read(key, lambda bucket: bucket.hold(key, entry))
        else:
            # No part: it lies in records of the object's own, which go when it is replaced.
            self._tail = (border, self._read(border, self._size))

    def __repr__(self) -> str:
        return f"ObjectReader(key={self._key!r}, size={self._size}, closed={self.closed})"

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def write(self, data: object) -> int:
        """Refused: this file is only read."""
        del data
        raise io.UnsupportedOperation("not writable")

    def read(self, size: int | None = -1) -> bytes:
        """So many bytes from here, fewer only at the end; all that are left with -1 or None."""
        left = max(0, self._size - self._at)
        return super().read(left if size is None or size < 0 else size) or b""

    def readall(self) -> bytes:
        """All that is left."""
        return self.read()

    def readinto(self, buffer: object) -> int:
        """Fill a buffer from here; how many bytes: fewer than it holds only at the end."""
        self._require_open()
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        start = self._at
        stop = min(start + len(view), self._size)
        try:
            while self._at < stop:
                begin, data = self._around()
                piece = memoryview(data)[self._at - begin :][: stop - self._at]
                view[self._at - start :][: len(piece)] = piece
                self._at += len(piece)
            filled = max(0, stop - start)
            self._sent(filled)
        except BaseException:
            self._at = start
            raise
        return filled

    def peek(self, size: int = 1) -> bytes:
        """Some bytes from here, none at the end; the place stays. What ``readline`` looks into."""
        del size
        self._require_open()
        if self._at >= self._size:
            return b""
        begin, data = self._around()
        place = self._at - begin
        return data[place : place + PEEK_BYTES]

    def _around(self) -> tuple[int, bytes]:
        """The bytes around the place to read, and where they begin."""
        for begin, data in (self._window, self._tail):
            if begin <= self._at < begin + len(data):
                return begin, data
        begin = self._at // PART_BYTES * PART_BYTES
        stop = min(begin + PART_BYTES, self._tail[0])
        self._window = (begin, self._read(begin, stop))
        return self._window

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go elsewhere; where that is."""
        self._require_open()
        self._at = sought(self._at, self._size, offset, whence)
        return self._at

    def tell(self) -> int:
        """Where the next read begins."""
        self._require_open()
        return self._at

    def _require_open(self) -> None:
        if self.closed:
            raise Closed(what="file")

    def close(self) -> None:
        """Let go of what was kept for it."""
        self._hold = None
        super().close()
