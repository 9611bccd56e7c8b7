"""Objects as binary files: written part by part, read page by page, in constant memory."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import TracebackType

from holdfast.errors import Closed
from holdfast.log.entry import Entry
from holdfast.request.corridor import Corridor
from holdfast.request.large import PART_BYTES, LargeWriter, pieces


class ObjectWriter(io.RawIOBase):
    """A file open for writing. The object appears when it is closed, whole.

    Leaving its context by an exception abandons it: the old object stays.
    """

    def __init__(self, writer: LargeWriter) -> None:
        super().__init__()
        self._writer: LargeWriter | None = writer

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: object) -> int:
        """Take bytes; how many."""
        if self._writer is None:
            raise Closed(what="file")
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        self._writer.write(view)
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


class ObjectReader(io.RawIOBase):
    """A file open for reading one version of an object; seekable.

    A reader that outlives the object by more than the grace gets ``Changed``,
    never a mixture.
    """

    def __init__(self, corridor: Corridor, key: bytes, name: str, entry: Entry) -> None:
        super().__init__()
        self._read: Callable[[int, int], bytes] = lambda start, stop: b"".join(
            pieces(corridor, key, name, entry, start, stop)
        )
        self._size = entry.size
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill a buffer from here; how many bytes, 0 at the end."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        stop = min(self._at + len(view), self._size, self._at + PART_BYTES)
        if stop <= self._at:
            return 0
        data = self._read(self._at, stop)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go elsewhere; where that is."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at
