"""The rows of the side tables: who wrote them, and what they say.

    row:        version u64, segment u32, record bytes u32, payload
    consumers:  per id: u8 length, high bit set where it was given as text; the id
    lock:       lock id (20 bytes), ttl u64 nanoseconds
    uploads:    per upload: id (8 bytes), u8 state (1 begun, 2 replaced), version u64
                that the note was written under, time u64 nanoseconds

The payload is the value of the record that wrote the row; the prefix tells
which segment keeps that record alive.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from holdfast.errors import Corrupt, InvalidValue, LimitExceeded
from holdfast.limits import CONSUMER_BYTES, CONSUMERS
from holdfast.log.records import OVERHEAD

PREFIX = struct.Struct("<QII")
LOCK = struct.Struct("<20sQ")
UPLOAD = struct.Struct("<8sBQQ")
BEGUN, REPLACED = 1, 2
TEXT = 0x80
REMOVAL_BYTES = OVERHEAD  # of a removal's record, less its key


class SideRow(NamedTuple):
    """A row of a side table."""

    version: int
    segment: int
    record_bytes: int
    payload: bytes


class UploadNote(NamedTuple):
    """What a bucket knows of one upload of a key; an upload it knows nothing of is garbage.

    All uploads of a key share the key's row, so they split and move with it.
    """

    upload: bytes
    state: int
    version: int
    time_ns: int


def pack_row(version: int, segment: int, record_bytes: int, payload: bytes) -> bytes:
    """A side table's row."""
    return PREFIX.pack(version, segment, record_bytes) + payload


def unpack_row(row: bytes) -> SideRow:
    """The row's fields."""
    version, segment, record_bytes = PREFIX.unpack_from(row)
    return SideRow(version, segment, record_bytes, row[PREFIX.size :])


def pack_uploads(notes: Iterable[UploadNote]) -> bytes:
    """Notes as the payload of an UPLOAD record."""
    return b"".join(UPLOAD.pack(*note) for note in notes)


def unpack_uploads(payload: bytes) -> list[UploadNote]:
    """The notes in an UPLOAD record's payload, oldest first; Corrupt where it is none."""
    if len(payload) % UPLOAD.size:
        raise Corrupt(position="uploads", what="a record says what cannot be: its length")
    return list(map(UploadNote._make, UPLOAD.iter_unpack(payload)))


def encode_ids(ids: Iterable[str | bytes]) -> tuple[bytes, ...]:
    r"""Consumer ids as they are stored; InvalidValue or LimitExceeded otherwise.

    Example:
        >>> encode_ids(["a", b"a"])
        (b'\x81a', b'\x01a')
    """
    if isinstance(ids, str | bytes | bytearray) or not isinstance(ids, Iterable):
        raise InvalidValue(argument="consumers", reason="not a list of ids")
    encoded = tuple(map(_encode_id, ids))
    if len(encoded) > CONSUMERS:
        raise LimitExceeded(limit="CONSUMERS", most=CONSUMERS, asked=len(encoded))
    return encoded


def _encode_id(consumer: str | bytes) -> bytes:
    if isinstance(consumer, str):
        try:
            raw, mark = consumer.encode(), TEXT
        except UnicodeEncodeError:
            raise InvalidValue(argument="consumers", reason="not UTF-8") from None
    elif isinstance(consumer, bytes | bytearray | memoryview):
        raw, mark = bytes(consumer), 0
    else:
        raise InvalidValue(argument="consumers", reason="an id is a string or bytes")
    if not 1 <= len(raw) <= CONSUMER_BYTES:
        raise InvalidValue(argument="consumers", reason="an id has 1 to 16 bytes", length=len(raw))
    return bytes((len(raw) | mark,)) + raw


def decode_id(encoded: bytes) -> str | bytes:
    """An id in the type it was given in."""
    return encoded[1:].decode() if encoded[0] & TEXT else encoded[1:]


def split_ids(payload: bytes) -> list[bytes]:
    """The encoded ids of a consumers payload, in order."""
    ids = []
    at = 0
    while at < len(payload):
        stop = at + 1 + (payload[at] & ~TEXT)
        ids.append(payload[at:stop])
        at = stop
    return ids


def without(ids: Sequence[bytes], gone: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Ids less one occurrence per mention in ``gone``; what is left, and what was not found.

    An id is its bytes, whether it was given as text or not.
    """
    left = list(ids)
    missing = []
    for wanted in gone:
        for index, held in enumerate(left):
            if held[1:] == wanted[1:]:
                del left[index]
                break
        else:
            missing.append(wanted)
    return left, missing
