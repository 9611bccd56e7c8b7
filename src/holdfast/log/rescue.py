"""Records of groups that do not verify as a whole, and do so by themselves (rule 22).

A key block tells all of a record but its value, and that has a checksum. Where there is
no key block, a record's own check covers its key, its version and its value's checksum;
the rest of it only that of the group. That one can be held against what is there all the
same, if nothing but values is damaged: it is made of the checksums of those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

import msgspec
from crc32c import crc32c

from holdfast.errors import Corrupt
from holdfast.log.doubt import CANNOT_BE
from holdfast.log.entry import ENTRY, ENTRY_BYTES
from holdfast.log.group import GROUP_HEAD_BYTES, GroupHead, Kind, read_head
from holdfast.log.keyblock import KeyBlock, Row, row_of
from holdfast.log.records import (
    BESIDE,
    CHECK,
    CHECK_BYTES,
    Record,
    Type,
    check_of,
    crc_of_both,
    decode,
)

OF_GROUPS = frozenset(kind for kind in Type if kind < Type.STATE)
OF_KEYS = OF_GROUPS - BESIDE


class Gap(msgspec.Struct, frozen=True):
    """Bytes of a segment's log that do not verify: from ``start`` to ``stop``."""

    segment: int
    start: int
    stop: int


class Rescued(msgspec.Struct):
    """What lies in the gaps of a segment.

    ``kept`` are the records that verify, ``lost`` others that can be named. ``untold`` are
    the gaps in which there may be more.
    """

    kept: list[Record] = []
    lost: list[Row] = []
    untold: list[Gap] = []


def rescue(data: bytes, gaps: Iterable[Gap], block: KeyBlock | None) -> Rescued:
    """Look for records in gaps.

    Args:
        data: the segment.
        gaps: in it.
        block: its key block, if that is whole.
    """
    found = Rescued()
    rows = _rows(block)
    for gap in gaps:
        if rows is None:
            certain = [_walk(data, gap, body, found) for body in _bodies(data, gap)]
        else:
            told = [record for record in rows if gap.start <= record.offset < gap.stop]
            certain = [_judge(data, gap, record, found) for record in told]
        if not certain or not all(certain):
            found.untold.append(gap)
    found.kept.sort(key=lambda record: record.offset)
    return found


def _rows(block: KeyBlock | None) -> list[Record] | None:
    """The records that a key block tells; None where it cannot be one."""
    try:
        return None if block is None else [_record(row) for row in block]
    except Corrupt:
        return None


def _record(row: Row) -> Record:
    """The record of a row."""
    version, modified, expires, size, crc, flags, length, _, at = ENTRY.unpack_from(row.entry)
    attrs = row.entry[ENTRY_BYTES : ENTRY_BYTES + length]
    return Record(row.type, flags & 0xFF, row.key, attrs, size, crc, version, modified, expires, at)


def _judge(data: bytes, gap: Gap, record: Record, found: Rescued, *, believed: bool = True) -> bool:
    """Keep a record of a key that is believed and whose value verifies, or name it.

    Whether it is of a key.
    """
    if record.type not in OF_KEYS:
        return False
    value = data[record.offset : record.offset + record.value_len]
    sound = len(value) == record.value_len and crc32c(value) == record.value_crc
    if believed and sound:
        found.kept.append(record)
    else:
        found.lost.append(row_of(record, gap.segment))
    return True


def _bodies(data: bytes, gap: Gap) -> Iterator[tuple[int, int, GroupHead | None]]:
    """Where the groups of a gap have their records; without a head where that is damaged."""
    at = gap.start
    while at < gap.stop:
        head = read_head(data, at, at)
        if head is not None and head.stop > gap.stop:
            head = None
        stop = head.stop if head is not None else gap.stop
        yield at + GROUP_HEAD_BYTES, stop, head
        at = stop


def _walk(data: bytes, gap: Gap, body: tuple[int, int, GroupHead | None], found: Rescued) -> bool:
    """Keep or name the records of one group; whether it had no others."""
    start, stop, head = body
    if head is not None and head.kind != Kind.RECORDS:
        return False
    named, count, crc = _named(memoryview(data)[start:stop], start)
    whole = count == len(named)
    certain = whole and (head is None or (head.records, head.body_crc) == (count, crc))
    if not named or (whole and not certain):  # any of them may be another than was written
        return False
    judged = [_judge(data, gap, record, found, believed=believed) for record, believed in named]
    return certain and all(judged)


def _named(body: memoryview, base: int) -> tuple[list[tuple[Record, bool]], int, int]:
    """Records whose own check holds, how many there are, and the checksum that the group had.

    One more than there are, where they do not end with the body. With each record, whether
    it is believed: a run of damage may end in the head of the next, in what no check covers.
    """
    named: list[tuple[Record, bool]] = []
    count = crc = at = 0
    before = True
    with suppress(*CANNOT_BE):
        while at < len(body):
            count += 1
            record, end = decode(body, at, base)
            check_at = end - CHECK_BYTES
            crc = crc32c(body[at : record.offset - base], crc)
            crc = crc_of_both(crc, record.value_crc, record.value_len)
            crc = crc32c(body[check_at:end], crc)
            holds = _holds(record, body[check_at:end])
            if holds:
                named.append((record, before))
            before, at = holds, end
    return named, count, crc


def _holds(record: Record, check: memoryview) -> bool:
    """Whether a record stands beside others in groups of keys, and has its own check."""
    told = check_of(record.key, record.version, record.value_crc)
    return record.type in OF_GROUPS and CHECK.pack(told) == check
