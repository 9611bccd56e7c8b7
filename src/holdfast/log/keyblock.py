"""The key block: a sealed segment's own index, its last group.

    body:   u32 count, u32 rows_len, rows, then count * u32 offsets of the rows
    row:    type u8, pad u8, key_len u16, entry_len u16, composite key, entry

Rows are sorted by (key, version). The entry is the index entry of the one
record (entry.py), so rebuild, take-over and fork load key blocks and do not
read values; a row costs about 60 bytes and its key.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, groupby, repeat
from operator import add
from typing import NamedTuple

from holdfast.errors import Corrupt
from holdfast.log.columns import Part, laid_out, runs
from holdfast.log.entry import ENTRY, ENTRY_BYTES, SEGMENT_SLICE, VERSION
from holdfast.log.packs import Ordered
from holdfast.log.records import Flag, Record

BLOCK = struct.Struct("<II")
ROW = struct.Struct("<BBHH")
OFFSET = struct.Struct("<I")

# Rows in order: their keys, types and entries.
Columns = tuple[Sequence[bytes], Sequence[int], Sequence[bytes]]
Plain = tuple[bytes, int, int, bytes]  # a Row, or the same without its names
SEGMENT = struct.Struct("<I")
LEAST_ROW = ROW.size + ENTRY_BYTES
SLICE = 300  # rows that are passed over between two calls of pace
EVERY = range(256)  # type of a record


class Row(NamedTuple):
    """One record of a segment as its key block tells it; sorts by key, then version."""

    key: bytes
    version: int
    type: int
    entry: bytes


def row_of(record: Record, segment: int) -> Row:
    """The row of a record: its entry says only what the record itself says."""
    entry = ENTRY.pack(
        record.version,
        record.modified_ns,
        record.expires_ns,
        record.value_len,
        record.value_crc,
        record.flags,
        len(record.attrs),
        segment,
        record.offset,
    )
    return Row(record.key, record.version, record.type, entry + record.attrs)


def sorted_rows(rows: Iterable[tuple[bytes, int, int, bytes]]) -> list[Row]:
    """Rows in order, at once: for recovery, when nobody waits for the interpreter."""
    return [Row._make(row) for row in sorted(rows)]


def build(runs: Iterable[Columns]) -> tuple[bytes, int]:
    """The body of a key block from runs of rows in order, and how many rows it has.

    Example:
        >>> body, count = build([([b"a", b"b"], [1, 1], [bytes(52), bytes(52)])])
        >>> count, [row.key for row in KeyBlock(body, 0)]
        (2, [b'a', b'b'])
    """
    parts: list[Part] = []
    length = 0
    for run in runs:
        parts.append(_part(run, length))
        length += len(parts[-1].body)
    return _body(parts)


def _part(rows: Columns, at: int) -> Part:
    """Rows in order, behind ``at`` bytes of others."""
    keys, types, entries = rows
    lengths, widths = list(map(len, keys)), list(map(len, entries))
    heads = _heads(types, lengths, widths)
    body = b"".join(chain.from_iterable(zip(heads, keys, entries, strict=True)))
    sizes = map(ROW.size.__add__, map(add, lengths, widths))
    *starts, _ = accumulate(sizes, initial=at)
    return Part(body, struct.pack(f"<{len(starts)}I", *starts))


def _body(parts: Sequence[Part]) -> tuple[bytes, int]:
    """The body of a key block from all its parts, and how many rows it has."""
    bodies, starts = [part.body for part in parts], [part.starts for part in parts]
    count, length = sum(map(len, starts)) // OFFSET.size, sum(map(len, bodies))
    return b"".join((BLOCK.pack(count, length), *bodies, *starts)), count


def build_plain(
    rows: Mapping[bytes, bytes], kind: int, pace: Callable[[], None]
) -> tuple[bytes, int]:
    """As ``build``, of entries by key that are all of one type and width.

    Args:
        rows: nobody changes them meanwhile.
        kind: their type.
        pace: called between slices of work; may sleep.
    """
    width = len(next(iter(rows.values())))
    parts = laid_out(rows, lambda length: ROW.pack(kind, 0, length, width), pace)
    if parts is None:
        return build((run.keys, [kind] * len(run.keys), run.rows) for run in runs(rows, pace))
    return _body(parts)


def build_packed(
    rows: Ordered, kind: int, others: Sequence[Plain], pace: Callable[[], None]
) -> tuple[bytes, int]:
    """As ``build``, of rows of packs that are all of one type, and others where they belong.

    Args:
        rows: of the packs.
        kind: their type.
        others: rows of any type, in order; few, as each parts what is laid out at once.
        pace: called between slices of work; may sleep.
    """
    head = ROW.pack(kind, 0, rows.wide, ENTRY_BYTES)
    parts: list[Part] = []
    length = begin = 0
    for place, some in groupby(others, lambda other: rows.place_of(other[0], other[1])):
        made = list(rows.laid_out(head, rows.places()[begin:place], length, pace))
        length += sum(len(part.body) for part in made)
        parts += (*made, _part(columns(some), length))
        length += len(parts[-1].body)
        begin = place
    parts += rows.laid_out(head, rows.places()[begin:], length, pace)
    return _body(parts)


def _heads(types: Sequence[int], lengths: list[int], widths: list[int]) -> Iterator[bytes]:
    """The heads of rows; where all are of one type and width, each length's is packed once."""
    if len(set(types)) > 1 or len(set(widths)) > 1:
        return map(ROW.pack, types, repeat(0), lengths, widths)
    known = {length: ROW.pack(types[0], 0, length, widths[0]) for length in set(lengths)}
    return map(known.__getitem__, lengths)


def columns(rows: Iterable[tuple[bytes, int, int, bytes]]) -> Columns:
    """Rows in order as ``build`` takes them."""
    listed = list(rows)
    return (
        [key for key, _, _, _ in listed],
        [kind for _, _, kind, _ in listed],
        [entry for _, _, _, entry in listed],
    )


class KeyBlock:
    """A verified key block's body, searched in place.

    Args:
        body: the group's body.
        segment: the number this bucket knows the segment by; a shared segment
            was written under another, so rows are told in this one.

    Raises:
        ValueError: the body is no key block's.
        Corrupt: from whatever reads rows, where one is none.
    """

    def __init__(self, body: bytes | memoryview, segment: int) -> None:
        self.body = bytes(body)
        self.segment = segment
        if len(self.body) < BLOCK.size:
            raise ValueError("a key block without its lengths")
        self.count, rows_len = BLOCK.unpack_from(self.body)
        self.rows_stop = self._offsets = BLOCK.size + rows_len
        if len(self.body) != self._offsets + self.count * OFFSET.size:
            raise ValueError("a key block's lengths disagree")
        # Once, so that no search has to doubt them; the rows are, wherever they are walked.
        starts = struct.unpack_from(f"<{self.count}I", self.body, self._offsets)
        if starts and max(starts) > rows_len - LEAST_ROW:
            raise ValueError("a key block's offsets lead out of it")

    def row(self, index: int) -> Row:
        """The row at ``index``."""
        (at,) = OFFSET.unpack_from(self.body, self._offsets + index * OFFSET.size)
        at += BLOCK.size
        kind, _, key_len, entry_len = ROW.unpack_from(self.body, at)
        key_at = at + ROW.size
        entry_at = key_at + key_len
        key = self.body[key_at:entry_at]
        entry = self.body[entry_at : entry_at + entry_len]
        if len(entry) < ENTRY_BYTES:
            raise self.bad_row()
        fields = ENTRY.unpack_from(entry)
        if fields[7] != self.segment:
            entry = ENTRY.pack(*fields[:7], self.segment, fields[8]) + entry[ENTRY.size :]
        return Row(key, fields[0], kind, entry)

    def __iter__(self) -> Iterator[Row]:
        return map(Row._make, self.plain())

    def plain(
        self, types: Container[int] = EVERY, pace: Callable[[], None] | None = None
    ) -> Iterator[Plain]:
        """The rows of these types, in their order, without an object for each.

        Args:
            types: of records; all if not given.
            pace: called between slices of rows, of whatever type; may sleep.
        """
        body, at, written = self.body, BLOCK.size, SEGMENT.pack(self.segment)
        unpack, versions = ROW.unpack_from, VERSION.unpack_from
        stop, last = self.rows_stop, self.rows_stop - LEAST_ROW
        for index in range(self.count):
            if pace is not None and index % SLICE == SLICE - 1:
                pace()
            if at > last:
                raise self.bad_row()
            kind, _, key_len, entry_len = unpack(body, at)
            key_at = at + ROW.size
            entry_at = key_at + key_len
            at = entry_at + entry_len
            if at > stop or entry_len < ENTRY_BYTES:
                raise self.bad_row()
            if kind not in types:
                continue
            entry = body[entry_at:at]
            if entry[SEGMENT_SLICE] != written:
                entry = b"".join(
                    (entry[: SEGMENT_SLICE.start], written, entry[SEGMENT_SLICE.stop :])
                )
            yield body[key_at:entry_at], versions(entry)[0], kind, entry
        if at != stop:
            raise self.bad_row()

    def bad_row(self) -> Corrupt:
        """What is wrong where a row is none."""
        where = f"segment {self.segment} key block"
        return Corrupt(position=where, what="a row says what cannot be")

    def seek(self, key: bytes) -> int:
        """The index of the first row with a key not below ``key``."""
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            if self._key(middle) < key:
                low = middle + 1
            else:
                high = middle
        return low

    def holds(self, key: bytes) -> bool:
        """Whether any record of the key is in this segment."""
        index = self.seek(key)
        return index < self.count and self._key(index) == key

    def rows_of(self, key: bytes) -> list[Row]:
        """Every record of the key in this segment."""
        found = []
        for index in range(self.seek(key), self.count):
            row = self.row(index)
            if row.key != key:
                break
            found.append(row)
        return found

    def sample(self, count: int) -> list[bytes]:
        """About ``count`` keys spread evenly over the block."""
        step = max(1, self.count // max(1, count))
        return [self._key(i) for i in range(step // 2, self.count, step)]

    def _key(self, index: int) -> bytes:
        (at,) = OFFSET.unpack_from(self.body, self._offsets + index * OFFSET.size)
        at += BLOCK.size
        key_len = ROW.unpack_from(self.body, at)[2]
        return self.body[at + ROW.size : at + ROW.size + key_len]


def moved(row: Row) -> bool:
    """Whether a row tells of an evacuated record."""
    return bool(ENTRY.unpack_from(row.entry)[5] & Flag.MOVED)
