"""One record: the durable bytes of one mutation.

    offset  size  field
    0       1     type      (Type)
    1       1     flags     (Flag)
    2       2     key_len   bytes of the composite key
    4       4     value_len
    8       4     value_crc CRC-32C of the value
    12      4     attrs_len bytes of msgpack attributes
    16      8     version   from the bucket's one counter
    24      8     modified  bucket time, nanoseconds
    32      8     expires   bucket time, nanoseconds, 0 = never
    40            composite key, attributes, value
            4     check     CRC-32C of the composite key, begun from value_crc XOR fold(version)

Numbers are little-endian. The check binds a value to namespace, key and
version (rule 4): one slice at a value's location serves a get, and a wrong
location cannot verify. It leaves out the bucket and the flags, because forks,
merges and evacuations move records unchanged. Header and attributes are
covered by the checksum of the group that carries the record (group.py).

A composite key is ``namespace 0x00 key``; hidden keys of parts are
``namespace 0x01 upload number key``. Namespaces contain neither byte, so a
namespace is one contiguous range.
"""

from __future__ import annotations

import struct
from enum import IntEnum

import msgspec
from crc32c import crc32c

HEAD = struct.Struct("<BBHIIIQQQ")
HEAD_BYTES = HEAD.size
PLAIN_HEAD = struct.Struct("<HHII4xQQ8x")  # of no flags, no attributes and no expiry
CHECK = struct.Struct("<I")
CHECK_BYTES = CHECK.size
OVERHEAD = HEAD_BYTES + CHECK_BYTES
FOLD = 0xFFFFFFFF
ZEROS = memoryview(bytes(1 << 20))
NEVER = 1 << 63  # no counter and no clock gets there


class Type(IntEnum):
    """What a record does. Numbers are never reused; unknown ones are FormatTooNew."""

    STORE = 1
    APPEND = 2
    DELETE = 3
    EXPIRE = 4  # removal because the time came
    UNREFERENCED = 5  # removal because the last consumer left
    CONSUMERS = 6
    LOCK = 7
    UNLOCK = 8
    UPLOAD = 9  # the state of a large object's parts
    RELEASE = 10  # an object stops being permanent
    JOIN = 11  # extents rewritten as one
    SESSION = 12
    CHARGE = 13  # what writes of its group, or reads before it, cost one namespace
    STATE = 32  # first record of each segment
    SPLIT = 33
    BORN = 34
    MERGE = 35
    RETIRED = 36
    DROP = 37
    TIME = 38
    CLOSE = 39
    PURSE = 41  # what a namespace may spend and take in this bucket, from here on
    INTEND = 40  # segments that a merge is about to share; nothing of them counts yet


class Flag(IntEnum):
    """What a store record says of its object, and how a record came here."""

    PERMANENT = 1
    MANAGED = 2
    MARKED = 4
    LARGE = 8
    FRESH = 16  # a new object: consumers of an earlier one are gone
    MOVED = 128  # evacuated: same version, same bytes


REMOVALS = frozenset((Type.DELETE, Type.EXPIRE, Type.UNREFERENCED))
BESIDE = frozenset((Type.SESSION, Type.CHARGE))  # state of the bucket, not of a key


class Record(msgspec.Struct, gc=False):
    """A record as it was read. ``offset`` is where its value begins in the segment."""

    type: int
    flags: int
    key: bytes
    attrs: bytes
    value_len: int
    value_crc: int
    version: int
    modified_ns: int
    expires_ns: int
    offset: int


def check_of(key: bytes, version: int, value_crc: int) -> int:
    """The check that binds a value (by its CRC) to a composite key and a version."""
    return crc32c(key, value_crc ^ ((version ^ (version >> 32)) & FOLD))


def crc_of_both(first: int, second: int, length: int) -> int:
    """The CRC-32C of two runs of bytes from those of each; the second has ``length`` bytes.

    Example:
        >>> crc_of_both(crc32c(b"one"), crc32c(b"more"), 4) == crc32c(b"onemore")
        True
    """
    state = first ^ FOLD  # zeros carry it on as any bytes do, and add nothing of their own
    for at in range(0, length, len(ZEROS)):
        state = crc32c(ZEROS[: length - at], state)
    return state ^ FOLD ^ second


def encode(  # noqa: PLR0917 - a record has this many fields
    kind: int,
    key: bytes,
    value: bytes | memoryview,
    version: int,
    modified_ns: int,
    *,
    flags: int = 0,
    expires_ns: int = 0,
    attrs: bytes = b"",
    value_crc: int | None = None,
) -> tuple[bytes, bytes | memoryview, bytes]:
    r"""A record as three buffers: before the value, the value, the check behind it.

    Example:
        >>> before, value, check = encode(Type.STORE, b"n\0k", b"v", 7, 0)
        >>> len(before), len(check)
        (43, 4)
    """
    if value_crc is None:
        value_crc = crc32c(value)
    head = HEAD.pack(
        kind,
        flags,
        len(key),
        len(value),
        value_crc,
        len(attrs),
        version,
        modified_ns,
        expires_ns,
    )
    return head + key + attrs, value, CHECK.pack(check_of(key, version, value_crc))


def decode(body: bytes | memoryview, at: int, base: int) -> tuple[Record, int]:
    """The record at ``at`` in a group's verified body, and where the next one begins.

    ``base`` is the segment offset of ``body[0]``. Raises ValueError where the
    lengths run past the body (the caller knows the position and says Corrupt).
    """
    kind, flags, key_len, value_len, value_crc, attrs_len, version, modified, expires = (
        HEAD.unpack_from(body, at)
    )
    key_at = at + HEAD_BYTES
    attrs_at = key_at + key_len
    value_at = attrs_at + attrs_len
    end = value_at + value_len + CHECK_BYTES
    if end > len(body):
        raise ValueError("a record runs past its group")
    record = Record(
        kind,
        flags,
        bytes(body[key_at:attrs_at]),
        bytes(body[attrs_at:value_at]),
        value_len,
        value_crc,
        version,
        modified,
        expires,
        base + value_at,
    )
    return record, end


def record_bytes(key_len: int, attrs_len: int, value_len: int) -> int:
    """Bytes a record takes in a group's body."""
    return OVERHEAD + key_len + attrs_len + value_len
