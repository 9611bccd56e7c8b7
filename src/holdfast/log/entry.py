"""The index entry of an object: what is known of it, and where its bytes lie.

    offset  size  field
    0       8     version
    8       8     modified   bucket time, nanoseconds
    16      8     expires    bucket time, nanoseconds, 0 = never
    24      8     size       bytes of the whole value
    32      4     crc        CRC-32C of the whole value
    36      2     flags      record flags, EXTENTS
    38      2     attrs_len
    40      4     segment    of the value, in the numbers of this bucket
    44      8     offset     of the value in that segment
    52            attributes (msgpack), then with EXTENTS: u16 count and per extent
                  version u64, segment u32, offset u64, length u32

Without EXTENTS the value is one slice of ``size`` bytes. With EXTENTS the
locations follow in the order of the bytes (appends); ``segment`` and
``offset`` are then unused. A LARGE object keeps its first ``parts_bytes`` in
hidden parts (attributes say which) and only what was appended since in extents.
The same bytes stand in the overlay, in the view and in a segment's key block.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import msgspec

from holdfast.errors import Corrupt
from holdfast.log.doubt import CANNOT_BE
from holdfast.log.records import NEVER, OVERHEAD, REMOVALS, Flag, Type, crc_of_both
from holdfast.values import planned

ENTRY = struct.Struct("<QQQQIHHIQ")
ENTRY_BYTES = ENTRY.size
VERSION = struct.Struct("<Q")  # its first field
PLAIN_ENTRY = struct.Struct("<QQ8xI4xI4xIQ")  # of one record without flags, attributes and expiry
EXTENT = struct.Struct("<QIQI")
COUNT = struct.Struct("<H")
# Attributes of APPEND and JOIN: size and CRC of the whole value afterwards, and
# the version from which on a JOIN replaces extents (0 in an APPEND).
EXTENSION = struct.Struct("<QIQ")
EXTENTS_FLAG = 256
SPECIAL = EXTENTS_FLAG | Flag.LARGE
VERSION_SLICE, SEGMENT_SLICE = slice(8), slice(40, 44)
EXTENTS_AT = 37  # the byte of the flags that has EXTENTS, as its lowest bit
PLACE, PLACE_AT = struct.Struct("<IQ"), 40  # segment and offset
DELETED = b""


class Extent(NamedTuple):
    """One location of a value's bytes, written by the record of ``version``."""

    version: int
    segment: int
    offset: int
    length: int


@planned
class Attributes(msgspec.Struct, array_like=True, omit_defaults=True, forbid_unknown_fields=True):
    """The seldom attributes of an object, msgpack on disk.

    ``upload`` and ``parts_bytes`` say which hidden parts hold the first bytes
    of a large object; ``crc`` is the CRC-32C of the whole value when stored. ``index``
    says what of it is searched: the value (True), a text, nothing (False), or what the
    rules of its namespace say; ``tags`` are names with values. ``terms`` numbers the terms
    by which the object is paid for until its expiry (bucket/metered.py).
    """

    content_type: str | None = None
    upload: bytes | None = None
    parts_bytes: int = 0
    crc: int = 0
    index: str | bool | None = None
    tags: dict[str, str] | None = None
    terms: int = 0


class Entry(msgspec.Struct, gc=False):
    """An index entry, unpacked."""

    version: int
    modified_ns: int
    expires_ns: int
    size: int
    crc: int
    flags: int
    attrs: bytes
    extents: tuple[Extent, ...]

    @property
    def attributes(self) -> Attributes:
        """The decoded attributes; Corrupt where these bytes are none."""
        try:
            return ATTRIBUTES.decode(self.attrs) if self.attrs else PLAIN
        except CANNOT_BE:
            what = "a record says what cannot be: its attributes"
            raise Corrupt(position=f"version {self.version}", what=what) from None

    @property
    def terms(self) -> int:
        """The number of the terms that it is paid by until its expiry; 0 where it is not."""
        return self.attributes.terms if self.attrs else 0


ATTRIBUTES = msgspec.msgpack.Decoder(Attributes)
PLAIN = Attributes()


def encode_attributes(attributes: Attributes) -> bytes:
    """Attributes as bytes; nothing at all where all are defaults."""
    if attributes == PLAIN:
        return b""
    told = msgspec.structs.astuple(attributes)
    if not attributes.terms:  # what older versions know
        told = (
            told[:-1] if attributes.index is not None or attributes.tags is not None else told[:4]
        )
    return msgspec.msgpack.encode(told)


def pack(entry: Entry) -> bytes:
    """An entry as bytes; a single extent as long as the value needs no extent list."""
    extents = entry.extents
    flags = entry.flags & ~EXTENTS_FLAG
    first = extents[0] if extents else Extent(entry.version, 0, 0, 0)
    plain = len(extents) == 1 and first.length == entry.size and first.version == entry.version
    if not plain:
        flags |= EXTENTS_FLAG
    head = ENTRY.pack(
        entry.version,
        entry.modified_ns,
        entry.expires_ns,
        entry.size,
        entry.crc,
        flags,
        len(entry.attrs),
        first.segment,
        first.offset,
    )
    if plain:
        return head + entry.attrs
    listed = b"".join(EXTENT.pack(*extent) for extent in extents)
    return head + entry.attrs + COUNT.pack(len(extents)) + listed


def unpack(data: bytes) -> Entry:
    """The entry in ``data``; struct.error or ValueError where it is not one."""
    version, modified, expires, size, crc, flags, attrs_len, segment, offset = ENTRY.unpack_from(
        data
    )
    attrs = data[ENTRY_BYTES : ENTRY_BYTES + attrs_len]
    if not flags & EXTENTS_FLAG:
        extents: tuple[Extent, ...] = (Extent(version, segment, offset, size),)
    else:
        at = ENTRY_BYTES + attrs_len
        (count,) = COUNT.unpack_from(data, at)
        listed = data[at + COUNT.size : at + COUNT.size + count * EXTENT.size]
        extents = tuple(map(Extent._make, EXTENT.iter_unpack(listed)))
    return Entry(version, modified, expires, size, crc, flags, attrs, extents)


def tells_of(entry: bytes, row: bytes) -> bool | None:
    """Whether an entry keeps the record of a STORE's row alive: one version, one segment.

    None where it has extents, among which it is to be looked for.
    """
    if entry[EXTENTS_AT] & 1:
        return None
    return entry[VERSION_SLICE] == row[VERSION_SLICE] and entry[SEGMENT_SLICE] == row[SEGMENT_SLICE]


def keeps(entry: bytes, version: int, segment: int) -> bool:
    """Whether an entry keeps the record of a version alive that lies in a segment."""
    if not entry[EXTENTS_AT] & 1:
        told: tuple[int, ...] = ENTRY.unpack_from(entry)
        return told[0] == version and told[7] == segment
    return any((e.version, e.segment) == (version, segment) for e in unpack(entry).extents)


def placed(entry: bytes, version: int, segment: int, there: tuple[int, int]) -> bytes:
    """An entry whose record of a version, in a segment, is at another (segment, offset) now."""
    if not entry[EXTENTS_AT] & 1:
        return b"".join((entry[:PLACE_AT], PLACE.pack(*there), entry[ENTRY_BYTES:]))
    told = unpack(entry)
    told.extents = tuple(
        Extent(e.version, *there, e.length) if (e.version, e.segment) == (version, segment) else e
        for e in told.extents
    )
    return pack(told)


def live_bytes(key: bytes, entry: Entry) -> list[tuple[int, int]]:
    """What an entry keeps alive: (segment, record bytes) per extent.

    The first extent's record carries the attributes, the others' an EXTENSION.
    """
    fixed = OVERHEAD + len(key)
    return [
        (e.segment, fixed + e.length + (EXTENSION.size if i else len(entry.attrs)))
        for i, e in enumerate(entry.extents)
    ]


def fold(entry: Entry | None, kind: int, row: bytes) -> Entry | None:
    """What one record makes of an object: the one place that says what records mean.

    Args:
        entry: the object so far, or None.
        kind: the record's type.
        row: the record as its key block tells it.

    Records of a key come in the order of their versions; an evacuated copy of
    one that was already folded in only moves its extent. What was written behind bytes
    that are not here is passed over: they were joined and collected, or are lost.
    """
    record = unpack(row)
    version = record.version
    here = record.extents[0] if record.extents else Extent(version, 0, NEVER, 0)
    if max(version, here.offset + here.length) >= NEVER:
        raise ValueError("a version or a place that cannot be")
    if entry is not None and version <= entry.version:
        entry.extents = tuple(here if e.version == version else e for e in entry.extents)
        return entry
    if kind == Type.STORE:
        return _stored(record)
    if kind in REMOVALS or entry is None:
        return None
    if kind == Type.RELEASE:
        entry.flags &= ~Flag.PERMANENT
    elif kind in (Type.APPEND, Type.JOIN):
        _extend(entry, record, here)
    return entry


def _extend(entry: Entry, record: Entry, here: Extent) -> None:
    """More bytes of an object, if what they were written behind is what stands."""
    size, crc, first = EXTENSION.unpack(record.attrs)
    kept = entry.extents
    if first:
        kept = tuple(e for e in kept if e.version < first)
        fits = bool(kept) and kept[-1].version + 1 == first
    else:
        whole = entry.size + here.length
        fits = whole == size and crc == crc_of_both(entry.crc, record.crc, here.length)
    if fits:
        entry.version, entry.modified_ns = record.version, record.modified_ns
        entry.size, entry.crc = size, crc
        entry.extents = (*kept, here)


def _stored(record: Entry) -> Entry:
    record.flags &= ~(Flag.MOVED | Flag.FRESH)
    if record.flags & Flag.LARGE:
        attributes = record.attributes
        record.size += attributes.parts_bytes
        record.crc = attributes.crc
    return record
