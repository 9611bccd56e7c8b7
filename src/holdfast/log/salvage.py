"""Salvage: what can still be read of a damaged log (rule 22).

A log that does not verify is never read as if it did. This reads it the other
way: every group that verifies on its own, and of what lies between every record that
does (rescue.py), each segment up to where its log is known to end. What is kept is
copied to new segments by whoever repairs (bucket/repair.py); nothing is changed in
place, since a damaged segment may be shared.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise

import msgspec
from crc32c import crc32c

from holdfast.errors import Corrupt
from holdfast.log.doubt import CANNOT_BE
from holdfast.log.group import (
    GROUP_HEAD_BYTES,
    Group,
    GroupHead,
    Kind,
    groups_behind,
    read_head,
    scan,
)
from holdfast.log.header import (
    SEGMENT_HEAD_BYTES,
    Birth,
    LogState,
    Merge,
    SegmentHead,
    SegmentInfo,
    decode_state,
    unpack_head,
)
from holdfast.log.keyblock import KeyBlock
from holdfast.log.log import Log
from holdfast.log.records import Record, Type
from holdfast.log.rescue import Gap, Rescued, rescue


class Salvage(msgspec.Struct):
    """One segment: the groups that verify, the gaps between them, and its key block if whole.

    ``last`` verifies and ends the log there, whether its records can be or not. ``rescued``
    is what lies in the gaps, ``data`` the segment.
    """

    number: int
    groups: list[Group]
    gaps: list[Gap]
    block: KeyBlock | None = None
    last: GroupHead | None = None
    rescued: Rescued = msgspec.field(default_factory=Rescued)
    data: bytes = b""

    def records(self) -> Iterator[tuple[Record, bytes]]:
        """Every record that can be read, with its value, in the order of the log."""
        groups = (group for group in self.groups if group.head.kind == Kind.RECORDS)
        whole = (record for group in groups for record in group.records())
        for record in heapq.merge(whole, self.rescued.kept, key=lambda record: record.offset):
            yield record, self.data[record.offset : record.offset + record.value_len]

    def is_told(self) -> bool:
        """Whether the key block, where there is one, tells the records that can be read."""
        if self.block is None:
            return True
        groups = (group for group in self.groups if group.head.kind == Kind.RECORDS)
        rows = sorted(row for group in groups for row in group.rows(self.number))
        try:
            told = list(self.block)
            found = [self.block.row(index) for index in range(self.block.count)]
        except Corrupt:
            return False
        ordered = all(one[:2] <= other[:2] for one, other in pairwise(told))
        return ordered and found == told and sorted(told) == rows


def salvage(log: Log, number: int, info: SegmentInfo | None) -> Salvage:
    """Read what verifies of a segment.

    Args:
        log: of the bucket, for its ground and names; it need not be recovered.
        number: the segment.
        info: where its log ends, if that is known; else at its last group.
    """
    try:
        data = bytes(log.read(number, 0, log.segment(number).size))
    except Corrupt:  # the file is missing
        gaps = [Gap(number, 0, info.stop if info else 0)]
        return Salvage(number, [], gaps, rescued=Rescued(untold=gaps))
    stop = min(info.stop, len(data)) if info is not None else len(data)
    digest = _digest(data, log.where(number, 0))
    found = list(_groups(data, stop, digest))
    last = found[-1].head if found else None
    groups = [group for group in found if _is_one(group)]
    gaps = list(_gaps(number, groups, stop if info is not None else None))
    if digest is None:
        gaps.append(Gap(number, 0, SEGMENT_HEAD_BYTES))
    if info is not None and len(data) < info.stop:
        gaps.append(Gap(number, len(data), info.stop))
    block = _block(data, number, info)
    rescued = rescue(data, gaps, block)
    return Salvage(number, groups, gaps, block, last, rescued, data)


def _digest(data: bytes, where: str) -> int | None:
    try:
        return unpack_head(data[:SEGMENT_HEAD_BYTES], where).digest
    except Corrupt:
        return None


def _groups(data: bytes, stop: int, digest: int | None) -> Iterator[Group]:
    """The chain from the segment's head, and what verifies behind where it breaks."""
    at = SEGMENT_HEAD_BYTES
    if digest is not None:
        at, _ = yield from scan(data[at:stop], at, stop, digest)
    yield from groups_behind(data, 0, at, stop)


def _is_one(group: Group) -> bool:
    """Whether a group that verifies is made of records: what is not is as good as a gap."""
    try:
        return group.head.kind == Kind.KEY_BLOCK or all(True for _ in group.records())
    except CANNOT_BE:
        return False


def _gaps(number: int, groups: list[Group], stop: int | None) -> Iterator[Gap]:
    at = SEGMENT_HEAD_BYTES
    for group in groups:
        if group.head.start > at:
            yield Gap(number, at, group.head.start)
        at = group.head.stop
    if stop is not None and at < stop:
        yield Gap(number, at, stop)


def _block(data: bytes, number: int, info: SegmentInfo | None) -> KeyBlock | None:
    """The key block behind the log's end, if it verifies on its own."""
    if info is None:
        return None
    head = read_head(data, info.stop, info.stop)
    body = data[info.stop + GROUP_HEAD_BYTES : head.stop] if head is not None else b""
    if head is None or head.kind != Kind.KEY_BLOCK or crc32c(body) != head.body_crc:
        return None
    try:
        return KeyBlock(body, number)
    except ValueError:
        return None


class Remains(msgspec.Struct):
    """What is left of a damaged log.

    ``state`` is what it last said of itself, as far as that can be told, or None
    where no segment's beginning can be read; ``infos`` are its segments, with
    the active one where its readable groups end. ``newest`` is the one that told the
    state; what lies in later ones came after it.
    """

    state: LogState | None
    infos: dict[int, SegmentInfo]
    newest: int


def remains(log: Log, numbers: Iterable[int]) -> Remains:
    """What a damaged log says of itself and its segments.

    Args:
        log: a log of the bucket that was not recovered.
        numbers: the segments that exist.
    """
    known = sorted(numbers)
    ends = _ends(log, known)
    later: list[Salvage] = []  # newest first: of these the beginning cannot be read
    for number in reversed(known):
        if not _is_own(log, number):
            continue
        found = salvage(log, number, ends.get(number))
        state = _state(found)
        if state is not None:
            named = {info.number: info for info in state.segments}
            for part in (found, *reversed(later)):
                named[part.number] = ends.get(part.number) or _info(log, part)
                state = _replayed(state, part, named)
            return Remains(state, named, number)
        if found.groups:
            later.append(found)
    last = max(known, default=0)
    newest = max((number for number in known if _is_own(log, number)), default=last + 1)
    # Segments of other buckets below were shared; above they are in the wrong place. Where
    # there are no others, all that the bucket wrote itself is missing.
    taken = [number for number in known if number <= newest]
    infos = {n: ends.get(n) or _info(log, salvage(log, n, None)) for n in taken}
    return Remains(None, infos, newest)


def _info(log: Log, found: Salvage) -> SegmentInfo:
    last = found.last
    stop, digest = (last.stop, last.digest) if last else (SEGMENT_HEAD_BYTES, 0)
    head = _head(log, found.number)
    origin = (head.bucket, head.number) if head is not None else (log.bucket, found.number)
    return SegmentInfo(found.number, *origin, stop, digest)


def _is_own(log: Log, number: int) -> bool:
    head = _head(log, number)
    return head is None or (head.bucket, head.number) == (log.bucket, number)


def _head(log: Log, number: int) -> SegmentHead | None:
    try:
        data = bytes(log.read(number, 0, SEGMENT_HEAD_BYTES))
        return unpack_head(data, log.where(number, 0))
    except Corrupt:
        return None


def _ends(log: Log, numbers: list[int]) -> dict[int, SegmentInfo]:
    """Where segments end, as the heads of those behind them say."""
    ends = {}
    for number in numbers:
        head = _head(log, number)
        if head is None or not head.previous or head.number != number:
            continue  # the first, or under a number that a merge gave it
        before = _head(log, head.previous)
        if before is None or before.bucket == head.bucket:
            ends[head.previous] = SegmentInfo(
                head.previous, head.bucket, head.previous, head.previous_stop, head.previous_digest
            )
    return ends


def _state(found: Salvage) -> LogState | None:
    for group in found.groups[:1]:
        if group.head.kind == Kind.CONTROL:
            for record in group.records():
                if record.type == Type.STATE:
                    with suppress(*CANNOT_BE):
                        return decode_state(group.value(record))
    return None


def _replayed(state: LogState, found: Salvage, named: dict[int, SegmentInfo]) -> LogState:
    """The state brought up to what control records behind it say; ``named`` follows."""
    for kind, value in _controls(found):
        with suppress(*CANNOT_BE):  # what says what cannot be says nothing
            state = _after(state, kind, value, named)
    return state


def _after(state: LogState, kind: int, value: bytes, named: dict[int, SegmentInfo]) -> LogState:
    """The state behind one control record."""
    replace = msgspec.structs.replace
    if kind == Type.SPLIT:
        birth = msgspec.msgpack.decode(value, type=Birth)
        births = [one for one in state.births if one.child != birth.child]
        return replace(state, births=(*births, birth), stop=birth.start)
    if kind == Type.BORN:
        child = value.decode()
        return replace(state, births=tuple(b for b in state.births if b.child != child))
    if kind == Type.MERGE:
        merge = msgspec.msgpack.decode(value, type=Merge)
        named.update({info.number: info for info in merge.segments})
        start, stop = min(state.start, merge.start), max(state.stop, merge.stop)
        return replace(state, start=start, stop=stop, retired=(*state.retired, merge.bucket))
    if kind == Type.RETIRED:
        gone = value.decode()
        return replace(state, retired=tuple(name for name in state.retired if name != gone))
    if kind == Type.DROP:
        for number in msgspec.msgpack.decode(value, type=list[int]):
            named.pop(number, None)
    return state


def _controls(found: Salvage) -> Iterator[tuple[int, bytes]]:
    for group in found.groups:
        if group.head.kind == Kind.CONTROL:
            for record in group.records():
                yield record.type, group.value(record)
