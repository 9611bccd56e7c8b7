"""The manifest of a backup: what it says of itself, and when it is believed.

JSON with a checksum over itself (log/sealed.py). A folder without one is a backup
that was interrupted. The checksum tells damage, not lies, so everything that is done with
what it says is checked first, before a byte is written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from holdfast.engines.port import Disk
from holdfast.errors import Corrupt, InvalidValue, LimitExceeded
from holdfast.limits import MANIFEST_BYTES
from holdfast.log.header import SEGMENT_HEAD_BYTES, Birth, LogState, SegmentInfo
from holdfast.log.purses import decode_purses
from holdfast.log.sealed import FORMAT, sealed, unsealed
from holdfast.placement.directory import tile

NAME = "BACKUP"
NUMBER_MOST = (1 << 32) - 1  # of a segment
COUNT_MOST = (1 << 62) - 1  # of versions, lives and nanoseconds: no store gets there
DIGEST_MOST = (1 << 64) - 1  # of a chain

_STORE = re.compile(r"[0-9a-f]{32}")
_BUCKET = re.compile(r"[0-9a-f]{16}")
NO_PURSES = msgspec.msgpack.encode(())


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
    return sealed(manifest)


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes of a manifest; LimitExceeded where no restore would take so many."""
    data = msgspec.json.encode(manifest)
    if len(data) > MANIFEST_BYTES:
        raise LimitExceeded(limit="MANIFEST_BYTES", most=MANIFEST_BYTES, asked=len(data))
    return data


def read_manifest(disk: Disk, path: str) -> Manifest:
    """The manifest of a backup.

    Raises:
        InvalidValue: there is no backup.
        Corrupt: it was interrupted, or the manifest does not verify, or says what cannot be.
        FormatTooNew: a later Holdfast made it.
    """
    try:
        file = disk.open(f"{path}/{NAME}", write=False)
    except (FileNotFoundError, NotADirectoryError):
        with suppress(NotADirectoryError):
            if any(map(_BUCKET.fullmatch, disk.list(path))):
                raise Corrupt(position=NAME, what="the backup is incomplete") from None
        raise InvalidValue(argument="path", reason="there is no backup") from None
    except IsADirectoryError:
        raise Corrupt(position=NAME, what="the manifest is no file") from None
    try:
        size = file.size()
        if not 0 < size <= MANIFEST_BYTES:
            raise Corrupt(position=NAME, what="no manifest has this size")
        data = file.read(0, size)
    finally:
        file.close()
    manifest = unsealed(data, Manifest, NAME)
    _refuse_lies(manifest)
    return manifest


# -- what may not be believed --------------------------------------------------------


def _refuse_lies(manifest: Manifest) -> None:
    """Corrupt where a manifest says what no store is like."""
    _require(_STORE.fullmatch(manifest.store), "a store id")
    _require(1 <= manifest.incarnation <= COUNT_MOST, "an incarnation")
    _require(0 <= manifest.version <= COUNT_MOST, "a version")
    ids = {bucket.id for bucket in manifest.buckets}
    _require(len(ids) == len(manifest.buckets), "its buckets")
    _require(
        tile((one.state.start, one.state.stop) for one in manifest.buckets),
        "the ranges of its buckets",
    )
    sizes: dict[tuple[str, int], int] = {}
    for file in manifest.files:
        sound = file.bucket in ids and 1 <= file.number <= NUMBER_MOST
        sound = sound and file.size >= SEGMENT_HEAD_BYTES
        _require(sound and (file.bucket, file.number) not in sizes, "its files")
        sizes[file.bucket, file.number] = file.size
    lent = {
        (birth.child, info.number): sizes.get((bucket.id, info.number), 0)
        for bucket in manifest.buckets
        for birth in bucket.state.births
        for info in birth.segments
    }
    for bucket in manifest.buckets:
        _refuse_state(bucket, manifest.version, lent | sizes)
        _require(ids.isdisjoint(bucket.state.retired), f"bucket {bucket.id}")
    named = {(one.id, info.number) for one in manifest.buckets for info in one.state.segments}
    _require(sizes.keys() <= named, "its files")


def _require(sound: object, what: str) -> None:
    if not sound:
        raise Corrupt(position=NAME, what=f"the manifest is wrong about {what}")


def _refuse_state(told: BackupBucket, version: int, sizes: dict[tuple[str, int], int]) -> None:
    """Corrupt where a bucket cannot be as it is told: its segments are all here, the last its own.

    ``sizes`` are those of the files by bucket and number, a parent's also under the child to
    which it lends them.
    """
    state, what = told.state, f"bucket {told.id}"
    _require(_BUCKET.fullmatch(told.id) and _are_counts(state, version), what)
    _require(len({info.number for info in state.segments}) == len(state.segments) > 0, what)
    for info in state.segments:
        _require(_is_segment(info) and info.stop <= sizes.get((told.id, info.number), 0), what)
    last = state.segments[-1]
    _require((last.origin, last.origin_number) == (told.id, last.number), what)
    for birth in state.births:
        sound = _BUCKET.fullmatch(birth.child) and _are_counts(birth, version)
        _require(sound and all(map(_is_segment, birth.segments)), what)
        _require(birth.start < birth.stop, what)
    _require(all(map(_BUCKET.fullmatch, state.retired)), what)
    try:
        decode_purses(told.purses or NO_PURSES)
    except msgspec.DecodeError:
        _require(sound=False, what=what)


def _are_counts(said: LogState | Birth, version: int) -> bool:
    return 0 <= said.version <= version and 0 <= said.time_ns <= COUNT_MOST


def _is_segment(info: SegmentInfo) -> bool:
    return (
        1 <= info.number <= NUMBER_MOST
        and 1 <= info.origin_number <= NUMBER_MOST
        and _BUCKET.fullmatch(info.origin) is not None
        and info.stop >= SEGMENT_HEAD_BYTES
        and 0 <= info.digest <= DIGEST_MOST
    )
