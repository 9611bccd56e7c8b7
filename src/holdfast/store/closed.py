"""What a clean close leaves for the next opening: where every bucket stands.

    offset  size  field
    0       8     magic "HFCLOSED"
    8       2     format (1)
    10      2     pad, zero
    12      4     CRC-32C of the 12 bytes before and the body
    16      -     body, msgpack: [store id, incarnation, bucket time,
                  [[bucket, start, stop, [number, ...], largest], ...]]

``CLOSED`` lies beside the store file. It is written when nothing can be written to
any log any more, and taken away, durably, before anything can be again: whoever
opens the store reads it and removes it. So one that is there is true, and one that
is not costs the reading of every log, as after a crash. It is derived: it may be
deleted while the store is closed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress

import msgspec
from crc32c import crc32c

from holdfast.bucket.dormant import Told
from holdfast.bucket.settings import Settings
from holdfast.engines.port import Disk
from holdfast.errors import StorageFailed
from holdfast.log.header import Identity

NAME = "CLOSED"
MAGIC = b"HFCLOSED"
FORMAT = 1
HEAD = struct.Struct("<8sHHI")
CRC_AT = 12
TOLD_LEAST = 32  # buckets, or ...
TOLD_BYTES = 128 << 20  # ... so much of logs: from there on each is opened as it is needed


class Closed(msgspec.Struct, frozen=True, array_like=True):
    """A store as it was closed: which it is, its time in nanoseconds, its buckets in order."""

    store: bytes
    incarnation: int
    time_ns: int
    buckets: tuple[Told, ...]


def take(disk: Disk, root: str, identity: Identity, folders: Sequence[str] = ()) -> Closed | None:
    """What the last close left, for this opening alone; None where every log must be read.

    Args:
        disk: where the store's folder is.
        root: that folder.
        identity: the store's.
        folders: of the data; not looked at where none are given.

    Raises:
        OSError: it cannot be taken away, so whatever is written next would make it a lie.
        StorageFailed: the data folders are there, and hold none of the buckets: no store begins
            anew there, it is rather a disk that is not mounted. Nothing was written.
    """
    try:
        file = disk.open(f"{root}/{NAME}")
    except FileNotFoundError:
        return None
    try:
        data = file.read(0, file.size())
    finally:
        file.close()
    found = _unpacked(data)
    if found is not None and (found.store, found.incarnation) != identity:
        found = None
    if found is not None and folders:
        listed = {name for folder in folders for name in disk.list(folder)}
        if found.buckets and listed.isdisjoint(told.bucket for told in found.buckets):
            raise StorageFailed(path=root, cause="the data folders hold none of its buckets")
    disk.unlink(f"{root}/{NAME}")
    disk.sync_folder(root)
    return found


def asleep(left: Closed | None) -> tuple[Told, ...]:
    """The buckets that need not be opened yet; of a small store none, so damage shows at once.

    Opening takes a while for each, and longer the larger its index is: all of that is judged.
    """
    if left is None:
        return ()
    log_bytes = sum(len(told.numbers) * told.largest for told in left.buckets)
    is_large = len(left.buckets) >= TOLD_LEAST or log_bytes >= TOLD_BYTES
    return left.buckets if is_large else ()


def _unpacked(data: bytes) -> Closed | None:
    """The file's content, None where it is not whole or of another format."""
    if len(data) < HEAD.size:
        return None
    magic, version, _, told = HEAD.unpack_from(data)
    if (magic, version) != (MAGIC, FORMAT):
        return None
    if crc32c(data[HEAD.size :], crc32c(data[:CRC_AT])) != told:
        return None
    try:
        return msgspec.msgpack.decode(data[HEAD.size :], type=Closed)
    except msgspec.DecodeError:
        return None


def put(disk: Disk, root: str, closed: Closed) -> None:
    """Leave it for the next opening, whole and durable or not at all.

    Raises:
        OSError: the disk refused; then there is none, or a whole one.
    """
    body = msgspec.msgpack.encode(closed)
    head = HEAD.pack(MAGIC, FORMAT, 0, 0)[:CRC_AT]
    told = crc32c(body, crc32c(head))
    fresh = f"{root}/{NAME}.new"
    disk.unlink(fresh)
    file = disk.open(fresh, create=True)
    try:
        file.write(0, (HEAD.pack(MAGIC, FORMAT, 0, told), body))
        file.sync()
    finally:
        file.close()
    disk.rename(fresh, f"{root}/{NAME}")
    disk.sync_folder(root)


def put_if_clean(disk: Disk, root: str, settings: Settings, told: Sequence[Told | None]) -> None:
    """Leave it, unless a bucket must be read by who opens it, or the disk refuses."""
    known = tuple(one for one in told if one is not None)
    if len(known) == len(told):
        with suppress(OSError):  # then the next opening takes longer
            put(disk, root, Closed(*settings.identity, settings.time.now_ns(), known))
