"""The file that keeps what ``put_soon`` queued until the server has it.

    file      magic 8 "HFOUTBOX", version u16 (1), zeros u16, crc32c u32 of these 12 bytes
    record    crc32c u32 of the rest, length u32 of the body, type u8, body

    1 BEGIN   first number u64, session 16          a session, and the first number it has
    2 WRITE   number u64, namespace u8 + bytes, key u16 + bytes, value
    3 SETTLE  count u32, number u64 each            the server decided these
    4 LETTER  namespace u8 + bytes, key u16 + bytes, code u8 + bytes, reason u16 + bytes

Numbers are little-endian. Records are only ever added, and synced before anybody goes by them;
where nothing is left to send, a new file takes the old one's place. Bytes at the end that do
not verify are what a crash cut off; anywhere else they are damage.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final, ParamSpec, TypeVar

from crc32c import crc32c

from holdfast.client.box import Box, Queued
from holdfast.engines.whole import sync_folder
from holdfast.errors import Corrupt, FormatTooNew, InUse, InvalidValue, StorageFailed
from holdfast.limits import MIB
from holdfast.store import forked
from holdfast.values import DeadLetter

P = ParamSpec("P")
T = TypeVar("T")
MAGIC: Final = b"HFOUTBOX"
VERSION: Final = 1
FILE: Final = struct.Struct("<8sHHI")
RECORD: Final = struct.Struct("<IIB")
NUMBER: Final = struct.Struct("<Q")
BEGIN_BODY: Final = struct.Struct("<Q16s")
COUNT: Final = struct.Struct("<I")
BEGIN, WRITE, SETTLE, LETTER = KINDS = 1, 2, 3, 4
COMPACT_BYTES: Final = 4 * MIB
REASON_BYTES: Final = 1000


class Outbox(Box):
    """One open outbox; of one process at a time.

    Args:
        path: the file; made where it is absent.

    Raises:
        InUse: another process has it. Corrupt: it is damaged. FormatTooNew: a later version's.
        StorageFailed: the disk refused. InvalidValue: a folder lies there.
    """

    durable = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self.path = os.fspath(path)
        self._sync_lock = Lock()
        self._synced = 0
        self._file = _open_locked(self.path)
        try:
            self._end = self._load()
        except BaseException:
            os.close(self._file)
            raise
        forked.watch(self)

    # -- what it holds --------------------------------------------------------------

    def begin(self, session: bytes, first: int) -> None:
        """Note a session; durable on return."""
        super().begin(session, first)
        self._append(BEGIN, BEGIN_BODY.pack(first, session))
        self.sync()

    def write(self, namespace: str, key: str, value: bytes) -> Queued:
        """Add a store; durable once ``sync`` has returned."""
        self._append(WRITE, _write_body(Queued(self.next, namespace, key, value)))
        return super().write(namespace, key, value)

    def settle(self, numbers: list[int], letters: list[DeadLetter]) -> None:
        """Note what needs no sending any more; durable on return."""
        for letter in letters:
            self._append(LETTER, _letter_body(letter))
        body = b"".join(map(NUMBER.pack, numbers))
        self._append(SETTLE, COUNT.pack(len(numbers)) + body)
        self.sync()
        super().settle(numbers, letters)
        if not self.pending and self._end > COMPACT_BYTES:
            self._start_over()

    def sync(self) -> None:
        """Make durable what was added; those who wait together share one sync."""
        end = self._end
        with self._sync_lock:
            if self._synced < end:
                reached = self._end
                _checked(os.fdatasync, self._file)
                self._synced = reached

    def close(self) -> None:
        """Let go of the file."""
        forked.forget(self)
        os.close(self._file)

    def disown(self) -> None:
        """Let go of what a child inherited of it; the parent has the file alone again."""
        os.close(self._file)

    # -- bytes ------------------------------------------------------------------------

    def _append(self, kind: int, body: bytes) -> None:
        _write_at(self._file, _record(kind, body), self._end)
        self._end += RECORD.size + len(body)

    def _load(self) -> int:
        data = _checked(_read_all, self._file)
        if len(data) < FILE.size:
            if any(data) and not _head().startswith(data):
                raise Corrupt(path=self.path, position=0)
            _checked(os.ftruncate, self._file, 0)
            _write_at(self._file, _head(), 0)
            _checked(os.fdatasync, self._file)
            _checked(sync_folder, Path(self.path).parent)
            return FILE.size
        magic, version, _, check = FILE.unpack_from(data)
        if magic != MAGIC or check != crc32c(data[: FILE.size - 4]):
            raise Corrupt(path=self.path, position=0)
        if version > VERSION:
            raise FormatTooNew(path=self.path, version=version)
        at = FILE.size
        while at < len(data):
            body_at, stop = at + RECORD.size, _end_of_record(data, at)
            if stop is None:
                if not _is_torn(data, at):
                    raise Corrupt(path=self.path, position=at)
                _checked(os.ftruncate, self._file, at)
                break
            self._absorb(data[body_at - 1], data[body_at:stop])
            at = stop
        return at

    def _absorb(self, kind: int, body: bytes) -> None:
        if kind == BEGIN:
            self.sessions.append(BEGIN_BODY.unpack(body))
            self.next = max(self.next, self.sessions[-1][0])
        elif kind == WRITE:
            queued = _queued_of(body)
            self.pending[queued.number] = queued
            self.next = queued.number + 1
        elif kind == SETTLE:
            for (number,) in NUMBER.iter_unpack(body[COUNT.size :]):
                self.pending.pop(number, None)
        elif kind == LETTER:
            self.letters.append(_letter_of(body))
            self.died += 1
        else:
            raise FormatTooNew(path=self.path, record=kind)

    def _start_over(self) -> None:
        """Put a new file in the place of the old one, which has nothing left to send."""
        self.sessions = [(self.next, self.sessions[-1][1])] if self.sessions else []
        records = [_record(BEGIN, BEGIN_BODY.pack(*begun)) for begun in self.sessions]
        records += [_record(LETTER, _letter_body(letter)) for letter in self.letters]
        content = _head() + b"".join(records)
        beside = f"{self.path}.new"
        with suppress(FileNotFoundError):
            os.unlink(beside)  # noqa: PTH108 - plain paths
        file = _open_locked(beside, verify=False)
        _write_at(file, content, 0)
        _checked(os.fdatasync, file)
        _checked(os.rename, beside, self.path)
        _checked(sync_folder, Path(self.path).parent)
        with self._sync_lock:
            old, self._file = self._file, file
            self._end = self._synced = len(content)
        os.close(old)


def _record(kind: int, body: bytes) -> bytes:
    rest = RECORD.pack(0, len(body), kind)[4:] + body
    return crc32c(rest).to_bytes(4, "little") + rest


def _head() -> bytes:
    told = FILE.pack(MAGIC, VERSION, 0, 0)[:-4]
    return told + crc32c(told).to_bytes(4, "little")


def _end_of_record(data: bytes, at: int) -> int | None:
    """Where the record at a place ends; None where none verifies there."""
    if len(data) - at < RECORD.size:
        return None
    check, length, _ = RECORD.unpack_from(data, at)
    stop: int = at + RECORD.size + length
    if stop > len(data) or crc32c(memoryview(data)[at + 4 : stop]) != check:
        return None
    return stop


def _is_torn(data: bytes, at: int) -> bool:
    """Whether a crash explains what does not verify: it reaches the end, or is all zeros.

    What it says of its own length is not believed where a record that verifies lies behind it.
    """
    if len(data) - at < RECORD.size or not any(data[at:]):
        return True
    length: int = RECORD.unpack_from(data, at)[1]
    if at + RECORD.size + length < len(data):
        return False
    behind = range(at + RECORD.size, len(data) - RECORD.size + 1)
    return not any(data[q + 8] in KINDS and _end_of_record(data, q) for q in behind)


def _text(text: str, width: int) -> bytes:
    raw = text.encode()
    return len(raw).to_bytes(width, "little") + raw


def _take(body: bytes, at: int, width: int) -> tuple[str, int]:
    start = at + width
    stop = start + int.from_bytes(body[at:start], "little")
    return body[start:stop].decode(), stop


def _write_body(queued: Queued) -> bytes:
    name, key = _text(queued.namespace, 1), _text(queued.key, 2)
    return NUMBER.pack(queued.number) + name + key + queued.value


def _queued_of(body: bytes) -> Queued:
    namespace, at = _take(body, NUMBER.size, 1)
    key, at = _take(body, at, 2)
    return Queued(NUMBER.unpack_from(body)[0], namespace, key, body[at:])


def _letter_body(letter: DeadLetter) -> bytes:
    reason = letter.reason.encode()[:REASON_BYTES].decode(errors="ignore")
    where = _text(letter.namespace, 1) + _text(letter.key, 2)
    return where + _text(letter.code, 1) + _text(reason, 2)


def _letter_of(body: bytes) -> DeadLetter:
    namespace, at = _take(body, 0, 1)
    key, at = _take(body, at, 2)
    code, at = _take(body, at, 1)
    return DeadLetter(namespace, key, code, _take(body, at, 2)[0])


# -- the disk ----------------------------------------------------------------------------


def _checked(call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """A call of the system; StorageFailed where it refuses."""
    try:
        return call(*args, **options)
    except OSError as error:
        raise StorageFailed.of(error) from error


def _open_locked(path: str, *, verify: bool = True) -> int:
    """The file, open and ours alone."""
    if os.path.isdir(path):  # noqa: PTH112 - plain paths
        raise InvalidValue(argument="outbox", reason="a folder, not a file", path=path)
    while True:
        file = _checked(os.open, path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not verify or _is_at(path, file):
                return file
        except OSError as error:
            os.close(file)
            if error.errno in {errno.EAGAIN, errno.EACCES}:
                raise InUse(path=path) from None
            raise StorageFailed.of(error) from error
        os.close(file)  # another one took its place meanwhile


def _is_at(path: str, file: int) -> bool:
    try:
        there = os.stat(path)  # noqa: PTH116 - plain paths
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(file))


def _read_all(file: int) -> bytes:
    size = os.fstat(file).st_size
    pieces = []
    at = 0
    while at < size and (piece := os.pread(file, size - at, at)):
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces)


def _write_at(file: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = _checked(os.pwrite, file, view, at)
        view, at = view[written:], at + written
