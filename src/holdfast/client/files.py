"""Objects as binary files over HTTP: read a window at a time, written as one streamed request."""

from __future__ import annotations

import io
from typing import Final

from holdfast.client.asks import Ask, Work
from holdfast.client.calls import NamespaceCalls
from holdfast.client.sync import Sender, Upload
from holdfast.errors import Changed, Closed, InvalidValue, NotFound, VersionMismatch
from holdfast.limits import MIB, VALUE_RECORD_BYTES
from holdfast.operations import StoreOptions
from holdfast.request.streams import PEEK_BYTES, ObjectWriter, sought

WINDOW_BYTES: Final = 4 * MIB


class Reading:
    """One version of an object, read in windows; without I/O.

    What was opened is read to its end, or ``Changed`` is raised: never a mixture. An object of
    up to 4 MiB is fetched whole when it is opened, and stays what it was.
    """

    def __init__(self, calls: NamespaceCalls, key: str) -> None:
        self._calls = calls
        self._key = key
        self._version = 0
        self._window = (0, b"")
        self.size = 0
        self.at = 0

    def begin(self) -> Work[None]:
        """Find the object; NotFound where there is none."""
        while True:
            told = yield from self._calls.stat(self._key)
            if not told.terminal:
                raise NotFound(key=self._key)
            self._version, self.size = told.version, told.size
            if told.size > WINDOW_BYTES:
                return
            try:
                self._window = (0, (yield from self._fetch(0)))
            except Changed:
                continue  # between the look and the read: look again
            return

    def read(self, most: int) -> Work[bytes]:
        """Up to ``most`` bytes from here; nothing at the end."""
        if self.at >= self.size or most <= 0:
            return b""
        begin, data = self._window
        if not begin <= self.at < begin + len(data):
            begin = self.at // WINDOW_BYTES * WINDOW_BYTES
            data = yield from self._fetch(begin)
            self._window = (begin, data)
        piece = data[self.at - begin : self.at - begin + most]
        self.at += len(piece)
        return piece

    def _fetch(self, begin: int) -> Work[bytes]:
        stop = min(begin + WINDOW_BYTES, self.size)
        try:
            data = yield from self._calls.get_version(self._key, self._version, (begin, stop))
        except (NotFound, VersionMismatch, InvalidValue):
            raise Changed(key=self._key) from None
        if len(data) != stop - begin:
            raise Changed(key=self._key)
        return data

    def seek(self, offset: int, whence: int) -> int:
        """Go elsewhere; where that is."""
        self.at = sought(self.at, self.size, offset, whence)
        return self.at


class RemoteReader(io.RawIOBase):
    """A file open for reading one version of an object; seekable."""

    def __init__(self, sender: Sender, reading: Reading) -> None:
        super().__init__()
        self._sender = sender
        self._reading = reading
        sender.run(reading.begin())

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

    def readinto(self, buffer: object) -> int:
        """Fill a buffer from here; how many bytes, 0 at the end."""
        self._require_open()
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        piece = self._sender.run(self._reading.read(len(view)))
        view[: len(piece)] = piece
        return len(piece)

    def peek(self, size: int = 1) -> bytes:
        """Some bytes from here, none at the end; the place stays. What ``readline`` looks into."""
        del size
        self._require_open()
        at = self._reading.at
        piece = self._sender.run(self._reading.read(PEEK_BYTES))
        self._reading.at = at
        return piece

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go elsewhere; where that is."""
        self._require_open()
        return self._reading.seek(offset, whence)

    def tell(self) -> int:
        """Where the next read begins."""
        self._require_open()
        return self._reading.at

    def _require_open(self) -> None:
        if self.closed:
            raise Closed(what="file")


class RemotePieces:
    """An object's bytes on their way to a server: past 1 MiB they are sent as they come."""

    def __init__(self, sender: Sender, calls: NamespaceCalls, key: str) -> None:
        self.name = key
        self._held: bytearray | None = bytearray()
        self._upload: Upload | None = None
        self._sender = sender
        self._calls = calls
        self._ask: Ask = calls.upload_ask(key)

    def write(self, data: bytes | memoryview) -> None:
        """Take more bytes; Closed where they were refused already."""
        if self._held is None:
            raise Closed(what="file")
        self._held += data
        if len(self._held) > VALUE_RECORD_BYTES:
            piece = bytes(self._held)
            self._held.clear()
            if self._upload is None:
                self._upload = self._sender.upload(self._ask)
            if not self._upload.write(piece):
                self._settle()

    def finish(self) -> None:
        """Store the object."""
        held = self._held
        if held is None:
            return
        if self._upload is None:
            self._held = None
            self._sender.run(self._calls.store(self.name, bytes(held), StoreOptions()))
            return
        self._upload.write(bytes(held))
        self._settle()

    def _settle(self) -> None:
        """Wait for the answer to what was sent, and raise it where it is an error."""
        upload, self._upload, self._held = self._upload, None, None
        if upload is not None:
            self._calls.uploaded(upload.finish(), self._ask)

    def give_up(self) -> None:
        """Store nothing."""
        upload, self._upload, self._held = self._upload, None, None
        if upload is not None:
            upload.abandon()

    __del__ = give_up


def remote_writer(sender: Sender, calls: NamespaceCalls, key: str) -> ObjectWriter:
    """A file open for writing, as the embedded store opens it."""
    return ObjectWriter(RemotePieces(sender, calls, key))
