"""Plain stores that are a group each, taken out of a log's bytes without an object for each.

A store that is not batched, and not durable, is a group of its own. A log may hold a
million of them behind its checkpoint, so nothing is made of their group here: what
``group.scan`` verifies is verified in place.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from crc32c import crc32c
from xxhash import xxh3_64_intdigest

from holdfast.log.entry import ENTRY
from holdfast.log.group import GROUP_HEAD_BYTES, MAGIC, Kind
from holdfast.log.group import HEAD as GROUP
from holdfast.log.records import HEAD_BYTES, OVERHEAD, Type

if TYPE_CHECKING:
    from holdfast.log.runs import Stores

# A group's head up to its count, its other fields and its seal (group.py); type and flags
# of its first record, and the other fields of that (records.py).
BOTH = struct.Struct("<12sIIIQQQ2sHIIIQQQ")
SINGLE = struct.pack("<4sBBHI", MAGIC, Kind.RECORDS, 0, 0, 1)
SEALED_BYTES = GROUP.size  # that the seal covers
PLAIN = struct.pack("<BB", Type.STORE, 0)


def take(  # noqa: PLR0917 - where a scan stands, and what it fills
    data: bytes, base: int, at: int, digest: int, run: Stores, most: int
) -> tuple[int, int]:
    """Add groups of one plain store each to a run, until something else comes.

    Args:
        data: the segment's bytes from offset ``base`` on.
        base: of the first byte.
        at: the offset of the next group.
        digest: what it is chained to.
        run: takes the stores.
        most: it may hold.

    Returns:
        Where the next group begins, and what that is chained to. Whether it verifies
        is for others to find out.
    """
    unpack, pack, segment = BOTH.unpack_from, ENTRY.pack, run.segment
    add_key, add_entry = run.keys.append, run.entries.append
    size_bytes, place, version = len(data), at - base, run.version
    last, begun = size_bytes - BOTH.size, place
    room = most - len(run.keys)
    before = room
    while place <= last and room:
        (
            group,
            length,
            body_crc,
            _,
            _,
            previous,
            seal,
            plain,
            wide,
            size,
            crc,
            attrs,
            its,
            modified,
            expires,
        ) = unpack(data, place)
        if group != SINGLE or plain != PLAIN or previous != digest or attrs or expires:
            break
        body = place + GROUP_HEAD_BYTES
        stop = body + length
        if wide + size + OVERHEAD != length or stop > size_bytes:
            break
        if xxh3_64_intdigest(data[place : place + SEALED_BYTES]) != seal:
            break
        if crc32c(data[body:stop]) != body_crc:
            break
        value_at = body + HEAD_BYTES + wide
        add_key(data[body + HEAD_BYTES : value_at])
        add_entry(pack(its, modified, 0, size, crc, 0, 0, segment, base + value_at))
        version, digest, place, room = its, seal, stop, room - 1
    run.version = version  # they only grow
    run.taken_bytes += place - begun - (before - room) * GROUP_HEAD_BYTES
    return base + place, digest
