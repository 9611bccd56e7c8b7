"""The commit group: the atomic unit of a log.

    offset  size  field
    0       4     magic "HFGR"
    4       1     kind (Kind)
    5       1     pad, zero
    6       2     pad, zero
    8       4     count of records
    12      4     length of the body
    16      4     body_crc CRC-32C of the body
    20      4     pad, zero
    24      8     synced_to: offset in this segment known durable when this was written
    32      8     previous: chain digest before this group
    40      8     digest: XXH3-64 of the 40 bytes before, the chain digest after this group
    48            body

The digest covers the body through its CRC and all groups before through
``previous``: a view that stores position and digest knows whether the log it
meets is the log it has absorbed (rule 2). A group is there whole or not at all.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterator
from enum import IntEnum
from typing import TypeVar

import msgspec
from crc32c import crc32c
from xxhash import xxh3_64_intdigest

from holdfast.log.entry import ENTRY
from holdfast.log.records import BESIDE, CHECK_BYTES, HEAD_BYTES, Record, decode
from holdfast.log.records import HEAD as RECORD

T = TypeVar("T")
Scan = Callable[[bytes, int, int, int], Generator[T, None, tuple[int, int]]]

MAGIC = b"HFGR"
HEAD = struct.Struct("<4sBBHIIIIQQ")
DIGEST = struct.Struct("<Q")
SEALED = struct.Struct(HEAD.format + "Q")  # with its digest
GROUP_HEAD_BYTES = SEALED.size
_pack, pack_digest = HEAD.pack, DIGEST.pack  # looked up once, not for every group


class Kind(IntEnum):
    """What a group carries."""

    RECORDS = 1
    KEY_BLOCK = 2
    CONTROL = 3  # records about the log itself; only these are read to settle it


# The head of a group of one record, but for its digest: what it begins with, and the rest.
SINGLE = struct.Struct("<12sII4xQQ")
pack_single = SINGLE.pack
BEGINNING = _pack(MAGIC, Kind.RECORDS, 0, 0, 1, 0, 0, 0, 0, 0)[:12]


class GroupHead(msgspec.Struct, frozen=True, gc=False):
    """A verified group header at ``start``; the body runs from ``body`` to ``stop``."""

    kind: int
    records: int
    body_crc: int
    synced_to: int
    previous: int
    digest: int
    start: int
    body: int
    stop: int


class Group(msgspec.Struct, frozen=True, gc=False):
    """A verified group: its header and its body."""

    head: GroupHead
    body: memoryview

    def records(self) -> Iterator[Record]:
        """The records, in order; ValueError where the body contradicts itself."""
        at = 0
        for _ in range(self.head.records):
            record, at = decode(self.body, at, self.head.body)
            yield record
        if at != len(self.body):
            raise ValueError("a group is longer than its records")

    def reach(self) -> tuple[int, int, bytes, set[int]]:
        """The highest version, time and key of the records, and of what types they are."""
        body, at = bytes(self.body), 0
        version, modified, highest, kinds = 0, 0, b"", set()
        for _ in range(self.head.records):
            kind, _, key_len, size, _, attrs_len, its, when, _ = RECORD.unpack_from(body, at)
            key_at = at + HEAD_BYTES
            at = key_at + key_len
            key = body[key_at:at]
            at += attrs_len + size + CHECK_BYTES
            kinds.add(kind)
            version, modified, highest = max(version, its), max(modified, when), max(highest, key)
        return version, modified, highest, kinds

    def rows(self, segment: int) -> Iterator[tuple[bytes, int, int, bytes]]:
        """The rows of a key block for these records: key, version, type, entry (keyblock.py).

        The same as ``row_of`` makes of each of ``records``, without the record; none
        of a record that stands beside them (SESSION, CHARGE).
        """
        body, base, at = bytes(self.body), self.head.body, 0
        unpack, pack = RECORD.unpack_from, ENTRY.pack
        for _ in range(self.head.records):
            kind, flags, key_len, size, crc, attrs_len, *times = unpack(body, at)
            version, modified, expires = times
            attrs_at = at + HEAD_BYTES + key_len
            value_at = attrs_at + attrs_len
            if kind in BESIDE:  # is state of the bucket, not of a key
                at = value_at + size + CHECK_BYTES
                continue
            entry = pack(
                version, modified, expires, size, crc, flags, attrs_len, segment, base + value_at
            )
            if attrs_len:
                entry += body[attrs_at:value_at]
            yield body[at + HEAD_BYTES : attrs_at], version, kind, entry
            at = value_at + size + CHECK_BYTES
        if at != len(body):
            raise ValueError("a group is longer than its records")

    def value(self, record: Record) -> bytes:
        """A record's value (the group's checksum has covered it)."""
        at = record.offset - self.head.body
        return bytes(self.body[at : at + record.value_len])


def seal_head(  # noqa: PLR0917 - a header has this many fields
    kind: int, count: int, length: int, body_crc: int, synced_to: int, previous: int
) -> tuple[bytes, int]:
    """A group's header and the chain digest after it."""
    head = _pack(MAGIC, kind, 0, 0, count, length, body_crc, 0, synced_to, previous)
    digest = xxh3_64_intdigest(head)
    return head + pack_digest(digest), digest


def read_head(data: bytes | memoryview, at: int, start: int) -> GroupHead | None:
    """The header at ``data[at]`` (segment offset ``start``), or None if it is none."""
    if len(data) - at < GROUP_HEAD_BYTES:
        return None
    magic, kind, _, _, count, length, body_crc, _, synced_to, previous, digest = SEALED.unpack_from(
        data, at
    )
    if magic != MAGIC or xxh3_64_intdigest(data[at : at + HEAD.size]) != digest:
        return None
    body = start + GROUP_HEAD_BYTES
    return GroupHead(kind, count, body_crc, synced_to, previous, digest, start, body, body + length)


def scan(
    data: bytes | memoryview, base: int, stop: int, digest: int
) -> Generator[Group, None, tuple[int, int]]:
    """Verified groups from segment offset ``base`` to ``stop``, chained from ``digest``.

    ``data[0]`` is the byte at ``base``. Ends silently where the next group does
    not verify: the caller compares where it ended, and with which digest (what
    ``yield from`` returns), with where it should have.
    """
    view = memoryview(data)
    at = base
    while at < stop:
        head = read_head(view, at - base, at)
        if head is None or head.previous != digest or head.stop > stop:
            break
        body = view[head.body - base : head.stop - base]
        if crc32c(body) != head.body_crc:
            break
        yield Group(head, body)
        digest = head.digest
        at = head.stop
    return at, digest


def scan_pieces(
    read: Callable[[int, int], bytes],
    base: int,
    stop: int,
    *,
    digest: int,
    piece_bytes: int,
    scan: Scan[T],
) -> Generator[T, None, tuple[int, int]]:
    """As ``scan``, of bytes that are read piece by piece; a longer group is read at once.

    Args:
        read: gives the segment's bytes from one offset to another.
        base: from where.
        stop: up to where.
        digest: what the first group is chained to.
        piece_bytes: to read at a time, at least a header.
        scan: takes what is in a piece; the function of this name, or one like it.
    """
    at, length = base, piece_bytes
    while at < stop:
        begun, asked = at, min(stop - at, length)
        data = read(at, at + asked)
        at, digest = yield from scan(data, at, at + len(data), digest)
        length = piece_bytes
        if at == begun:
            longer = read_head(data, 0, at)
            if len(data) < asked or longer is None or not at + asked < longer.stop <= stop:
                break
            length = longer.stop - at
    return at, digest


def durable_beyond(data: bytes | memoryview, base: int, at: int, stop: int) -> bool:
    """Whether any later group that verifies says that bytes after ``at`` were durable.

    Bytes at ``at`` do not verify; if something behind them was written after
    they were synced, they are damage and not a torn tail (rule 5).
    """
    return any(group.head.synced_to > at for group in groups_behind(data, base, at, stop))


def groups_behind(data: bytes | memoryview, base: int, at: int, stop: int) -> Iterator[Group]:
    """Groups that verify anywhere behind ``at``, whatever stands between them.

    A value may look like a group. So one counts only whole, and only if it speaks of nothing
    behind its own beginning; and where a group begins ``at``, as its head tells, and its body
    is torn or damaged, nothing in that body counts. Only behind a head that is damaged itself
    is a value taken for what it looks like.
    """
    whole = bytes(memoryview(data)[: stop - base])
    view = memoryview(whole)
    found = at - base if whole.startswith(MAGIC, at - base) else whole.find(MAGIC, at - base + 1)
    while found >= 0:
        head = read_head(view, found, base + found)
        after = found + 1
        if head is not None and head.synced_to <= head.start:
            body = view[head.body - base : head.stop - base]
            if head.stop <= stop and crc32c(body) == head.body_crc:
                yield Group(head, body)
                after = head.stop - base
            elif found == at - base:
                after = head.stop - base
        found = whole.find(MAGIC, after)
