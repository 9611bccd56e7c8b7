"""Plain stores that follow each other in a group or a key block, taken out at once.

Nearly all that recovery reads is of this kind: stores that say nothing of an object
but its value, and perhaps when it expires and of what type it is. They come as
columns, so that each costs a microsecond; anything else comes as its row, in its
place between them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

import msgspec

from holdfast.log.entry import ENTRY, ENTRY_BYTES
from holdfast.log.group import Group, Kind, scan
from holdfast.log.keyblock import BLOCK, ROW, KeyBlock, Row, row_of
from holdfast.log.records import (
    BESIDE,
    CHECK_BYTES,
    HEAD,
    HEAD_BYTES,
    NEVER,
    OVERHEAD,
    Flag,
    Record,
    Type,
    decode,
)
from holdfast.log.singles import take

STORE = int(Type.STORE)
RECORDS = int(Kind.RECORDS)
FRESH = int(Flag.FRESH)
RUN = 1_000  # stores that are enough for one run
TELLING = 0xFFFF & ~FRESH  # flags that make a store more than a plain one


class Stores(msgspec.Struct, gc=False):
    """Consecutive plain stores of one segment: index entries (entry.py) beside their keys.

    ``version`` is the highest of them, ``taken_bytes`` what all their records take;
    ``timed`` says what expires when, ``fresh`` names those that are new objects.
    """

    segment: int
    keys: list[bytes] = []
    entries: list[bytes] = []
    version: int = 0
    taken_bytes: int = 0
    timed: list[tuple[int, bytes]] = []
    fresh: list[bytes] = []

    def note(self, key: bytes, flags: int, expires_ns: int) -> None:
        """Note what a store says beside its value."""
        if flags & FRESH:
            self.fresh.append(key)
        if expires_ns:
            self.timed.append((expires_ns, key))


def plain_bytes(key: bytes, entry: bytes) -> int:
    """What a plain store's record takes, by its entry."""
    size: int = ENTRY.unpack_from(entry)[3]
    return OVERHEAD + len(key) + len(entry) - ENTRY_BYTES + size


def runs_of_groups(groups: Iterable[Group], segment: int) -> Iterator[Stores | Row]:
    """The records of a segment's groups, in order; what stands beside keys is left out.

    Args:
        groups: verified.
        segment: the number that this bucket knows their segment by.

    Raises:
        ValueError: a body contradicts itself.
    """
    run = Stores(segment)
    for group in groups:
        run = yield from _with_group(run, group)
    yield run


class Runs:
    """Scans a segment's bytes for the runs that ``runs_of_groups`` makes of its groups.

    ``scan`` is to be given to ``Log.scanned``; what is left behind the last piece is ``run``.

    Args:
        segment: the number that this bucket knows their segment by.
    """

    def __init__(self, segment: int) -> None:
        self.run = Stores(segment)

    def scan(
        self, data: bytes, base: int, stop: int, digest: int
    ) -> Generator[Stores | Row, None, tuple[int, int]]:
        """The runs from offset ``base`` to ``stop``; where and with which digest they end."""
        at, view = base, memoryview(data)
        while True:
            at, digest = take(data, base, at, digest, self.run, RUN)
            if len(self.run.keys) >= RUN:
                yield self.run
                self.run = Stores(self.run.segment)
                continue
            group = next(scan(view[at - base :], at, stop, digest), None)
            if group is None:
                return at, digest
            self.run = yield from _with_group(self.run, group)
            at, digest = group.head.stop, group.head.digest


def _with_group(run: Stores, group: Group) -> Generator[Stores | Row, None, Stores]:
    """What a group ends of a run, and the run that goes on with the rest of it."""
    if group.head.kind != RECORDS:
        return run
    unpack, pack, segment = HEAD.unpack_from, ENTRY.pack, run.segment
    body, base, at, begun = bytes(group.body), group.head.body, 0, 0
    for _ in range(group.head.records):
        kind, flags, wide, size, crc, attrs_len, version, modified, expires = unpack(body, at)
        attrs_at = at + HEAD_BYTES + wide
        value_at = attrs_at + attrs_len
        if kind != STORE or flags & TELLING:
            run.taken_bytes += at - begun
            run = yield from _interrupted(run, decode(body, at, base)[0])
            at = begun = value_at + size + CHECK_BYTES
            continue
        key = body[at + HEAD_BYTES : attrs_at]
        at = value_at + size + CHECK_BYTES
        value_at += base
        entry = pack(version, modified, expires, size, crc, 0, attrs_len, segment, value_at)
        if flags or expires or attrs_len:
            entry += body[attrs_at : attrs_at + attrs_len]
            run.note(key, flags, expires)
        run.keys.append(key)
        run.entries.append(entry)
        run.version = version  # they only grow
    if at != len(body):
        raise ValueError("a group is longer than its records")
    run.taken_bytes += at - begun
    if len(run.keys) >= RUN:
        yield run
        run = Stores(segment)
    return run


def _interrupted(run: Stores, record: Record) -> Generator[Stores | Row, None, Stores]:
    """A run up to a record that is no plain store, and that record's row; the run that goes on."""
    if record.type in BESIDE:  # is state of the bucket, not of a key
        return run
    yield run
    yield row_of(record, run.segment)
    return Stores(run.segment)


def runs_of_block(block: KeyBlock) -> Iterator[Stores | Row]:
    """The rows of a key block, in its order: by key, each key's by version."""
    body, segment = block.body, block.segment
    run, at = Stores(segment), BLOCK.size
    for index in range(block.count):
        kind, _, key_len, width = ROW.unpack_from(body, at)
        entry_at = at + ROW.size + key_len
        stop = entry_at + width
        version, modified, expires, size, crc, flags, attrs_len, written, offset = (
            ENTRY.unpack_from(body, entry_at)
        )
        if width < ENTRY_BYTES or offset + size >= NEVER:
            raise block.bad_row()
        if kind != STORE or flags & TELLING:
            yield run
            yield block.row(index)
            run, at = Stores(segment), stop
            continue
        key, entry = body[at + ROW.size : entry_at], body[entry_at:stop]
        if flags or expires:
            run.note(key, flags, expires)
        if flags or written != segment:
            head = ENTRY.pack(version, modified, expires, size, crc, 0, attrs_len, segment, offset)
            entry = head + entry[ENTRY_BYTES:]
        run.keys.append(key)
        run.entries.append(entry)
        run.version = max(run.version, version)
        run.taken_bytes += OVERHEAD + key_len + attrs_len + size
        at = stop
    if at != block.rows_stop:
        raise block.bad_row()
    yield run
