"""The manifest of a backup: what it says of itself, and when it is believed.

JSON with a checksum over itself (docs/FORMAT.md). A folder without one is a backup
that was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import msgspec
from crc32c import crc32c

from holdfast.engines.port import Disk
from holdfast.errors import Corrupt, FormatTooNew, InvalidValue
from holdfast.log.header import LogState

FORMAT = 1
NAME = "BACKUP"


class BackupFile(msgspec.Struct, frozen=True):
    """One file of a backup: which segment it is, its bytes, their BLAKE2b-256 in hex."""

    bucket: str
    number: int
    size: int
    digest: str


class BackupBucket(msgspec.Struct, frozen=True, omit_defaults=True):
    """One bucket: its state at the moment, with every segment in it, the newest last.

    ``purses`` are those of its namespaces as MessagePack (log/purses.py); none: empty.
    """

    id: str
    state: LogState
    purses: bytes = b""


class Manifest(msgspec.Struct, frozen=True):
    """What a backup says of itself.

    ``version`` is the highest that any bucket had given; ``crc`` is the CRC-32C
    of this very JSON with 0 in its place.
    """

    format: int
    store: str
    incarnation: int
    version: int
    buckets: tuple[BackupBucket, ...]
    files: tuple[BackupFile, ...]
    crc: int = 0


class Part(msgspec.Struct, frozen=True):
    """What one process brings to a backup: the buckets that it holds, with their files."""

    store: str
    incarnation: int
    buckets: tuple[BackupBucket, ...]
    files: tuple[BackupFile, ...]


class _Format(msgspec.Struct):
    """What every version of a manifest has, whatever else it says."""

    format: int


def file_name(bucket: str, number: int) -> str:
    """A segment's path in the backup's folder."""
    return f"{bucket}/{number:016x}.seg"


def manifest_of(parts: Sequence[Part]) -> Manifest:
    """The manifest of a backup to which each process that holds a range brought its part."""
    buckets = tuple(bucket for part in parts for bucket in part.buckets)
    files = [file for part in parts for file in part.files]
    manifest = Manifest(
        FORMAT,
        parts[0].store,
        parts[0].incarnation,
        max(bucket.state.version for bucket in buckets),
        buckets,
        tuple(sorted(files, key=lambda file: (file.bucket, file.number))),
    )
    return msgspec.structs.replace(manifest, crc=_crc(manifest))


def _crc(manifest: Manifest) -> int:
    return crc32c(msgspec.json.encode(msgspec.structs.replace(manifest, crc=0)))


def read_manifest(disk: Disk, path: str) -> Manifest:
    """The manifest of a backup.

    Raises:
        InvalidValue: there is no backup.
        Corrupt: it was interrupted, or the manifest does not verify.
        FormatTooNew: a later Holdfast made it.
    """
    try:
        file = disk.open(f"{path}/{NAME}")
    except (FileNotFoundError, NotADirectoryError):
        with suppress(NotADirectoryError):
            if disk.list(path):
                raise Corrupt(position=NAME, what="the backup is incomplete") from None
        raise InvalidValue(argument="path", reason="there is no backup") from None
    try:
        data = file.read(0, file.size())
    finally:
        file.close()
    try:
        version = msgspec.json.decode(data, type=_Format).format
        if version > FORMAT:
            raise FormatTooNew(position=NAME, version=version)
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Corrupt(position=NAME, what="the manifest cannot be read") from None
    if manifest.crc != _crc(manifest):
        raise Corrupt(position=NAME, what="the manifest fails its checksum")
    return manifest
