"""A second reader of the format, written from docs/FORMAT.md alone.

It imports nothing of the product: numbers come out of ``struct``; CRC-32C, XXH3-64
and msgpack come from the libraries of those names. What it finds in a store is
held against what the product answers, so that the document, the product and this
file say the same.

It reads stores that nobody has open, and looks at every byte of the logs; views
are not read, because they are derived.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from crc32c import crc32c
from xxhash import xxh3_64_intdigest

SEGMENT_HEAD = struct.Struct("<8sHHI16sQ8sQQQQQ")
GROUP_HEAD = struct.Struct("<4sBBHIIIIQQQ")
RECORD_HEAD = struct.Struct("<BBHIIIQQQ")
ENTRY = struct.Struct("<QQQQIHHIQ")
EXTENSION = struct.Struct("<QIQ")
MASK = 0xFFFFFFFF

RECORDS, KEY_BLOCK, CONTROL = 1, 2, 3
STORE, APPEND, DELETE, EXPIRE, UNREFERENCED, CONSUMERS = range(1, 7)
LOCK, UNLOCK, UPLOAD, RELEASE, JOIN, SESSION = range(7, 13)
STATE, SPLIT, BORN, MERGE, RETIRED, DROP, TIME, CLOSE, INTEND = range(32, 41)
PERMANENT, MANAGED, MARKED, LARGE, FRESH, MOVED = 1, 2, 4, 8, 16, 128
REMOVALS = (DELETE, EXPIRE, UNREFERENCED)
PART_BYTES = 1 << 20


class Unreadable(AssertionError):
    """The bytes are not what the document says."""


def require(holds: object, what: str) -> None:
    """Stop where the bytes are not what the document says."""
    if not holds:
        raise Unreadable(what)


def check_of(key: bytes, version: int, value_crc: int) -> int:
    """The check behind a record."""
    return crc32c(key, value_crc ^ (version ^ version >> 32) & MASK)


# -- one segment -------------------------------------------------------------------


class Head(NamedTuple):
    """The head of a segment."""

    store: bytes
    incarnation: int
    bucket: str
    number: int
    previous: int
    previous_stop: int
    previous_digest: int
    digest: int


class Group(NamedTuple):
    """A group whose header and body verify."""

    kind: int
    members: int
    body: bytes
    synced_to: int
    start: int
    stop: int
    digest: int


class Record(NamedTuple):
    """One record, and where its value lies in the segment."""

    type: int
    flags: int
    key: bytes
    attrs: bytes
    value: bytes
    crc: int
    version: int
    modified_ns: int
    expires_ns: int
    offset: int


def segment_head(data: bytes) -> Head:
    """The head in a segment's first 88 bytes."""
    magic, form, _, _, store, life, bucket, number, before, stop, chain, digest = (
        SEGMENT_HEAD.unpack_from(data)
    )
    require((magic, form) == (b"HFSEGMNT", 1), "not the head of a segment")
    require(xxh3_64_intdigest(data[:80]) == digest, "the head's own digest")
    return Head(store, life, bucket.hex(), number, before, stop, chain, digest)


def group_at(data: bytes, at: int, digest: int) -> Group | None:
    """The group that begins at ``at`` and continues the chain, or None."""
    if len(data) - at < GROUP_HEAD.size:
        return None
    magic, kind, _, _, count, length, body_crc, _, synced, previous, own = GROUP_HEAD.unpack_from(
        data, at
    )
    body = data[at + GROUP_HEAD.size : at + GROUP_HEAD.size + length]
    if (magic, previous, len(body)) != (b"HFGR", digest, length):
        return None
    if xxh3_64_intdigest(data[at : at + 40]) != own or crc32c(body) != body_crc:
        return None
    return Group(kind, count, body, synced, at, at + GROUP_HEAD.size + length, own)


def groups(data: bytes) -> Iterator[Group]:
    """The groups behind a segment's head, as far as the chain holds."""
    at, digest = SEGMENT_HEAD.size, segment_head(data).digest
    while (group := group_at(data, at, digest)) is not None:
        yield group
        at, digest = group.stop, group.digest


def records(group: Group) -> list[Record]:
    """The records of a group, each held against its check."""
    found, at = [], 0
    base = group.stop - len(group.body)
    for _ in range(group.members):
        kind, flags, key_len, value_len, crc, attrs_len, version, modified, expires = (
            RECORD_HEAD.unpack_from(group.body, at)
        )
        key_at = at + RECORD_HEAD.size
        attrs_at = key_at + key_len
        value_at = attrs_at + attrs_len
        key, attrs = group.body[key_at:attrs_at], group.body[attrs_at:value_at]
        value = group.body[value_at : value_at + value_len]
        (check,) = struct.unpack_from("<I", group.body, value_at + value_len)
        require(crc32c(value) == crc, "a value's CRC")
        require(check_of(key, version, crc) == check, "a record's check")
        found.append(
            Record(
                *(kind, flags, key, attrs, value, crc, version, modified, expires),
                base + value_at,
            )
        )
        at = value_at + value_len + 4
    require(at == len(group.body), "a group is as long as its records")
    return found


class Row(NamedTuple):
    """One row of a key block: type, key, and the entry's nine fields."""

    type: int
    key: bytes
    entry: tuple[int, ...]
    attrs: bytes


def key_block(body: bytes) -> list[Row]:
    """The rows of a key block."""
    count, rows_len = struct.unpack_from("<II", body)
    require(len(body) == 8 + rows_len + 4 * count, "the lengths of a key block")
    rows = []
    for (at,) in struct.iter_unpack("<I", body[8 + rows_len :]):
        kind, pad, key_len, entry_len = struct.unpack_from("<BBHH", body, 8 + at)
        key_at = 8 + at + 6
        entry = body[key_at + key_len : key_at + key_len + entry_len]
        fields = ENTRY.unpack_from(entry)
        require(not pad and fields[6] == entry_len - ENTRY.size, "the lengths of a row")
        rows.append(Row(kind, body[key_at : key_at + key_len], fields, entry[ENTRY.size :]))
    return rows


# -- what records make of a key ----------------------------------------------------------


class Known(NamedTuple):
    """An object as the records of its key tell it."""

    version: int
    modified_ns: int
    expires_ns: int
    size: int
    crc: int
    flags: int
    attributes: tuple[Any, ...]  # content type, upload, bytes in parts
    extents: tuple[tuple[int, bytes], ...]  # version of the record, bytes
    consumers: tuple[bytes, ...] = ()

    @property
    def tail(self) -> bytes:
        """What lies in the records of the key itself."""
        return b"".join(data for _, data in self.extents)


def fold(listed: list[Record]) -> Known | None:
    """What the records of one key, in the order of their versions, make of it."""
    known: Known | None = None
    payload = b""  # the reference list stands apart: its object's record may be a later one
    for record in sorted(listed, key=lambda one: (one.version, one.type)):
        if record.type in REMOVALS or record.flags & FRESH:
            payload = b""
        if record.type == CONSUMERS:
            payload = record.value
        if record.type in REMOVALS:
            known = None
        elif record.type == STORE and (known is None or record.version > known.version):
            known = _stored(record)
        elif known is not None:
            known = _changed(known, record)
    if known is None or not known.flags & MANAGED:
        return known
    return known._replace(consumers=tuple(consumer_ids(payload)))


def _stored(record: Record) -> Known:
    told: list[Any] = msgspec.msgpack.decode(record.attrs) if record.attrs else []
    defaults: list[Any] = [None, None, 0, 0]
    content_type, upload, parts, crc = told + defaults[len(told) :]
    return Known(
        record.version,
        record.modified_ns,
        record.expires_ns,
        len(record.value) + parts,
        crc if record.flags & LARGE else record.crc,
        record.flags & ~(FRESH | MOVED),
        (content_type, upload, parts),
        ((record.version, record.value),),
    )


def _changed(known: Known, record: Record) -> Known:
    if record.type == RELEASE:
        return known._replace(flags=known.flags & ~PERMANENT)
    if record.type == CONSUMERS:
        flags = known.flags & ~MARKED | MANAGED | (0 if record.value else MARKED)
        return known._replace(flags=flags)
    if record.type not in (APPEND, JOIN) or record.version <= known.version:
        return known
    size, crc, first = EXTENSION.unpack(record.attrs)
    kept = [extent for extent in known.extents if not first or extent[0] < first]
    whole = known.size + len(record.value), crc32c(record.value, known.crc)
    if (not first and whole != (size, crc)) or (first and [e[0] + 1 for e in kept[-1:]] != [first]):
        return known
    return known._replace(
        version=record.version,
        modified_ns=record.modified_ns,
        size=size,
        crc=crc,
        extents=(*kept, (record.version, record.value)),
    )


def consumer_ids(payload: bytes) -> Iterator[bytes]:
    """The ids of a reference list."""
    at = 0
    while at < len(payload):
        length = payload[at] & 0x7F
        yield payload[at + 1 : at + 1 + length]
        at += 1 + length


# -- a store -----------------------------------------------------------------------------


class Bucket:
    """One bucket: its range, and every record in it that the log counts.

    Args:
        store: what reads the folders.
        name: the bucket's id.
    """

    def __init__(self, store: StoreReader, name: str) -> None:
        numbers = store.numbers(name)
        self.name = name
        self.newest = max(
            number
            for number in numbers
            if self._own(segment_head(store.data(name, number)), name, number)
        )
        data = store.data(name, self.newest)
        self.tail = list(groups(data))
        require(segment_head(data).incarnation == store.incarnation, "of another life")
        (state,) = records(self.tail[0])
        require((state.type, self.tail[0].kind) == (STATE, CONTROL), "no state")
        told = msgspec.msgpack.decode(state.value)
        self.start, self.stop, _, _, segments, births, retired, _, *more = told
        self.numbers: dict[tuple[bytes, bytes], tuple[int, dict[int, bytes]]] = {}
        self._know(more[0] if more else None)
        self.segments = {info[0]: info for info in segments}
        self.births = {birth[0]: birth for birth in births}
        self.retired = set(retired)
        for group in self.tail[1:]:
            for record in records(group):
                if group.kind == CONTROL:
                    self._control(record)
                elif record.type == SESSION:
                    session, floor, kept = msgspec.msgpack.decode(record.value)
                    self._know_one((record.key.partition(b"\0")[0], session), floor, kept)

    def _know(self, told: list[Any] | None) -> None:
        for namespace, _, sessions in told[1] if told else ():
            for session, floor, _, kept in sessions:
                self._know_one((namespace, session), floor, kept)

    def _know_one(self, whose: tuple[bytes, bytes], floor: int, kept: list[Any]) -> None:
        """The numbers of one session are those of all that is said of it, above its floor."""
        least, known = self.numbers.get(whose, (0, {}))
        least = max(least, floor)
        together = {**known, **dict(kept)}
        self.numbers[whose] = (least, {n: o for n, o in together.items() if n >= least})

    @staticmethod
    def _own(head: Head, name: str, number: int) -> bool:
        return (head.bucket, head.number) == (name, number)

    def _control(self, record: Record) -> None:
        value = record.value
        if record.type == SPLIT:
            birth = msgspec.msgpack.decode(value)
            self.births[birth[0]] = birth
            self.stop = birth[1]
        elif record.type == BORN:
            self.births.pop(value.decode(), None)
        elif record.type == MERGE:
            gone, start, stop, _, _, segments, _, *more = msgspec.msgpack.decode(value)
            self._know(more[0] if more else None)
            self.start, self.stop = min(self.start, start), max(self.stop, stop)
            self.retired.add(gone)
            self.segments |= {info[0]: info for info in segments}
        elif record.type == RETIRED:
            self.retired.discard(value.decode())
        elif record.type == DROP:
            for number in msgspec.msgpack.decode(value):
                self.segments.pop(number, None)
        else:
            require(record.type in (TIME, CLOSE, INTEND), "an unknown control record")

    def groups(self, store: StoreReader) -> Iterator[Group]:
        """Every group that counts, ended segments first."""
        for number, origin, origin_number, stop, digest in self.segments.values():
            data = store.data(self.name, number)
            head = segment_head(data)
            require((head.bucket, head.number) == (origin, origin_number), "misplaced")
            require(head.store == store.id, "of another store")
            last = head.digest
            for group in groups(data[:stop]):
                yield group
                last = group.digest
            require(last == digest, "the groups end elsewhere")
            self._hold_key_block(data, number)
        yield from self.tail

    def _hold_key_block(self, data: bytes, number: int) -> None:
        """A sealed segment's key block says what its records say."""
        _, _, _, stop, digest = self.segments[number]
        block = group_at(data, stop, digest)
        if block is None:
            return
        require(block.kind == KEY_BLOCK, "only a key block stands behind the end")
        told = [
            (row.key, row.entry[0], row.type, row.entry[3], row.entry[4], row.entry[8], row.attrs)
            for row in key_block(block.body)
        ]
        counted = [
            (r.key, r.version, r.type, len(r.value), r.crc, r.offset, r.attrs)
            for group in groups(data[:stop])
            if group.kind == RECORDS
            for r in records(group)
            if r.type != SESSION
        ]
        require(told == sorted(counted), "a key block differs from the records")


class StoreReader:
    """A store's folder, read by the document.

    Args:
        folder: of a store that nobody has open.
    """

    def __init__(self, folder: Path) -> None:
        raw = (folder / "HOLDFAST").read_bytes()
        told = json.loads(raw)
        require(told["format"] == 1, "a later format")
        bare = re.sub(rb'"crc":\d+}$', b'"crc":0}', raw)
        require(crc32c(bare) == told["crc"], "the store file's CRC")
        self.id = bytes.fromhex(told["store"])
        self.incarnation = told["incarnation"]
        self._data: dict[tuple[str, int], bytes] = {}
        for home in told["data_dirs"]:
            for path in (folder / home).glob("*/*.seg"):
                self._data[path.parent.name, int(path.stem, 16)] = path.read_bytes()
        self._lenders: dict[str, str] = {}
        self.buckets = self._read_buckets()

    def numbers(self, bucket: str) -> list[int]:
        """The segments in a bucket's folder."""
        return sorted(number for name, number in self._data if name == bucket)

    def data(self, bucket: str, number: int) -> bytes:
        """A segment's bytes; those of a child that was not given names yet are its parent's."""
        while (bucket, number) not in self._data:
            require(bucket in self._lenders, "a segment is missing")
            bucket = self._lenders[bucket]
        return self._data[bucket, number]

    def _read_buckets(self) -> list[Bucket]:
        found = {name: Bucket(self, name) for name in sorted({name for name, _ in self._data})}
        for bucket in found.values():
            self._lenders |= dict.fromkeys(bucket.births, bucket.name)
        retired = {name for bucket in found.values() for name in bucket.retired}
        standing = sorted(
            (bucket for name, bucket in found.items() if name not in retired),
            key=lambda bucket: bucket.start,
        )
        edges = [b"", *(bucket.stop for bucket in standing)]
        require(edges == [*(bucket.start for bucket in standing), b"\xff"], "the ranges tile")
        return standing

    def objects(self) -> dict[bytes, Known]:
        """Every object and every hidden part, by composite key."""
        found: dict[bytes, Known] = {}
        for bucket in self.buckets:
            by_key: dict[bytes, list[Record]] = {}
            for group in bucket.groups(self):
                if group.kind == RECORDS:
                    for record in records(group):
                        if bucket.start <= record.key < bucket.stop:
                            by_key.setdefault(record.key, []).append(record)
            folded = {key: fold(listed) for key, listed in by_key.items()}
            found |= {key: known for key, known in folded.items() if known is not None}
        return found

    def values(self) -> dict[tuple[str, str], tuple[Known, bytes]]:
        """Every visible object with its whole value, by namespace and key."""
        found = {}
        objects = self.objects()
        for composite, known in objects.items():
            namespace, hidden, key = re.split(rb"([\x00\x01])", composite, maxsplit=1)
            if hidden == b"\x01":
                continue
            _, upload, parts = known.attributes
            value = b"".join(
                objects[namespace + b"\x01" + upload + struct.pack(">I", number) + key].tail
                for number in range(parts // PART_BYTES if known.flags & LARGE else 0)
            )
            value += known.tail
            require((len(value), crc32c(value)) == (known.size, known.crc), "the whole value")
            found[namespace.decode(), key.decode()] = (known, value)
        return found
