"""Plain stores that follow each other in a group or a key block, taken out at once.

Nearly all that recovery reads is of this kind: stores that say nothing of an object
but its value, and perhaps when it expires and of what type it is. They come as
columns, so that each costs a microsecond; anything else comes as its row, in its
place between them.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from holdfast.log.entry import ENTRY, ENTRY_BYTES
from holdfast.log.group import Group
from holdfast.log.keyblock import BLOCK, ROW, KeyBlock, Row, row_of
from holdfast.log.records import BESIDE, CHECK_BYTES, HEAD, HEAD_BYTES, OVERHEAD, Flag, Type, decode

STORE = int(Type.STORE)
FRESH = int(Flag.FRESH)
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


def runs_of_group(group: Group, segment: int) -> Iterator[Stores | Row]:
    """The records of a group, in the order of the log; what stands beside keys is left out.

    Args:
        group: verified, of RECORDS.
        segment: the number that this bucket knows its segment by.

    Raises:
        ValueError: the body contradicts itself.
    """
    body, base = bytes(group.body), group.head.body
    unpack, pack = HEAD.unpack_from, ENTRY.pack
    run, at, begun = Stores(segment), 0, 0
    for _ in range(group.head.records):
        kind, flags, key_len, size, crc, attrs_len, version, modified, expires = unpack(body, at)
        key_at = at + HEAD_BYTES
        attrs_at = key_at + key_len
        value_at = attrs_at + attrs_len
        if kind != STORE or flags & TELLING:
            run.taken_bytes = at - begun
            yield run
            if kind not in BESIDE:  # is state of the bucket, not of a key
                yield row_of(decode(body, at, base)[0], segment)
            run, at = Stores(segment), value_at + size + CHECK_BYTES
            begun = at
            continue
        key = body[key_at:attrs_at]
        entry = pack(version, modified, expires, size, crc, 0, attrs_len, segment, base + value_at)
        if flags or expires or attrs_len:
            entry += body[attrs_at:value_at]
            run.note(key, flags, expires)
        run.keys.append(key)
        run.entries.append(entry)
        run.version = version  # they only grow
        at = value_at + size + CHECK_BYTES
    run.taken_bytes = at - begun
    yield run
    if at != len(body):
        raise ValueError("a group is longer than its records")


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
    yield run
