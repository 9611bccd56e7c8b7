"""Recovery: find where a log ends, and tell a torn tail from damage (rules 1, 5).

The newest segment whose head and state verify is the log's end; its state
names every other segment. A newer file without a durable beginning never took
a write that was answered and is dropped. Nothing is shortened in place: behind
a torn tail the log goes on in a new segment that names where the old one ended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from holdfast.engines.port import Segments
from holdfast.errors import Corrupt
from holdfast.log.group import Group, Kind, durable_beyond, scan
from holdfast.log.header import (
    SEGMENT_HEAD_BYTES,
    Identity,
    LogState,
    Merge,
    SegmentInfo,
    decode_state,
    unpack_head,
)
from holdfast.log.log import Log, Position
from holdfast.log.records import Type

Origin = tuple[str, int]  # the bucket and the number that a segment was written under


class Recovered(msgspec.Struct):
    """A recovered log, the state its active segment began with, and how it ended.

    ``torn`` is True where bytes behind the end were not part of the log: then
    a new segment must be begun before anything is appended.
    """

    log: Log
    state: LogState
    groups: list[Group]
    torn: bool


def recover(  # noqa: PLR0917 - what a log is recovered from
    segments: Segments,
    bucket: str,
    numbers: list[int],
    identity: Identity,
    absorbed: Position | None = None,
    *,
    lent: Collection[int] = (),
) -> Recovered | None:
    """Open a bucket's log as the last owner left it.

    Args:
        segments: the ground.
        bucket: the bucket's id.
        numbers: the segments that exist, ascending.
        identity: the store's id and incarnation.
        absorbed: a view's checkpoint; a segment that ends before it is damaged.
        lent: segments that the bucket may read in its parent's folder.

    Returns:
        The log, or None where no segment ever became durable (the bucket was
        never born).

    Raises:
        Corrupt: damage inside the log, with its position.
    """
    log = Log(segments, bucket, identity)
    foreign: dict[int, Origin] = {}
    unborn: list[int] = []
    found = None
    for number in reversed(numbers):
        origin = _foreign(log, number)
        if origin is not None:
            foreign[number] = origin
            continue
        found = _end(log, number, absorbed)
        if found is not None:
            _settle(log, found, {*numbers, *lent}, foreign)
            break
        unborn.append(number)
    if found is None and foreign:
        raise _misplaced(log, max(foreign))
    for number in unborn:  # last: where the log is refused, nothing of it is gone
        log.drop(number)
    return found


def _foreign(log: Log, number: int) -> Origin | None:
    """The name that a segment of this store was written under, if it is not this one."""
    data = log.segment(number).read(0, SEGMENT_HEAD_BYTES)
    try:
        head = unpack_head(data, log.where(number, 0))
    except Corrupt:
        return None
    origin = (head.bucket, head.number)
    foreign = head.store == log.identity.store and origin != (log.bucket, number)
    return origin if foreign else None


def _misplaced(log: Log, number: int) -> Corrupt:
    return Corrupt(position=log.where(number, 0), what="this segment belongs elsewhere")


def stands(segments: Segments, bucket: str, number: int, identity: Identity) -> bool:
    """Whether a bucket's only segment ever became durable: head and state verify."""
    return _end(Log(segments, bucket, identity), number, None) is not None


def _end(log: Log, number: int, absorbed: Position | None) -> Recovered | None:
    """Take ``number`` as the newest segment, or None if its beginning was never durable."""
    segment = log.segment(number)
    data = segment.read(0, segment.size)
    where = log.where(number, 0)
    try:
        head = unpack_head(bytes(data[:SEGMENT_HEAD_BYTES]), where)
    except Corrupt:
        if _was_durable(data, 0, number, absorbed):
            raise
        return None
    if head.store != log.identity.store or (head.bucket, head.number) != (log.bucket, number):
        raise Corrupt(position=where, what="this segment belongs elsewhere")
    if head.incarnation != log.identity.incarnation:
        # A restore begins every bucket anew, so the newest segment is of the life we are in.
        raise Corrupt(position=where, what="this segment is of another life of the store")
    groups = memoryview(data)[SEGMENT_HEAD_BYTES:]
    found = list(scan(groups, SEGMENT_HEAD_BYTES, len(data), head.digest))
    stop = found[-1].head.stop if found else SEGMENT_HEAD_BYTES
    torn = stop != len(data)
    if torn and _was_durable(data, stop, number, absorbed):
        raise Corrupt(position=log.where(number, stop), what="a group does not verify")
    if not found:
        return None
    log.active = segment
    log.number, log.stop, log.last = number, stop, found[-1].head.start
    log.digest, log.begun = found[-1].head.digest, found[0].head.stop
    if not _was_closed(found[-1], torn=torn):
        segment.sync()
    log.synced = stop
    log.durable = log.position
    return Recovered(log, _state_in(found[0], where), found, torn)


def _was_closed(last: Group, *, torn: bool) -> bool:
    """Whether a close ended the log and everything before it was durable by then."""
    if torn or last.head.kind != Kind.CONTROL or last.head.synced_to < last.head.start:
        return False
    return [record.type for record in last.records()] == [Type.CLOSE]


def _was_durable(data: bytes, stop: int, number: int, absorbed: Position | None) -> bool:
    if absorbed is not None and absorbed.segment == number and absorbed.stop > stop:
        return True
    return durable_beyond(data, 0, stop, len(data))


def _settle(log: Log, found: Recovered, present: set[int], foreign: dict[int, Origin]) -> None:
    """Adopt the segments that the log names; they must exist.

    Foreign segments above the log's end must be named too, or be what a merge
    intended: else a file is in the wrong place (rule 22).
    """
    named, expected = _told(found)
    for number, origin in foreign.items():
        info = expected.get(number)
        if info is None or (info.origin, info.origin_number) != origin:
            raise _misplaced(log, number)
    log.reserved = max([0, *expected])
    for info in named.values():
        if info.number not in present:
            raise Corrupt(position=log.where(info.number, 0), what="segment is missing")
        log.adopt(info)


def _told(found: Recovered) -> tuple[dict[int, SegmentInfo], dict[int, SegmentInfo]]:
    """The segments that belong to the log, and those that may lie there all the same."""
    named = {info.number: info for info in found.state.segments}
    expected = dict(named)
    controls = (group for group in found.groups if group.head.kind == Kind.CONTROL)
    for record, value in ((r, group.value(r)) for group in controls for r in group.records()):
        if record.type == Type.DROP:
            for number in msgspec.msgpack.decode(value, type=list[int]):
                named.pop(number, None)
        elif record.type == Type.INTEND:
            _name(expected, msgspec.msgpack.decode(value, type=tuple[SegmentInfo, ...]))
        elif record.type == Type.MERGE:
            _name(named, msgspec.msgpack.decode(value, type=Merge).segments)
    return named, expected


def _name(known: dict[int, SegmentInfo], infos: Iterable[SegmentInfo]) -> None:
    known.update({info.number: info for info in infos})


def _state_in(group: Group, where: str) -> LogState:
    """The state that a segment's first group must hold."""
    for record in group.records():
        if record.type == Type.STATE:
            return decode_state(group.value(record))
    raise Corrupt(position=where, what="a segment begins without its state")
