"""A bucket whose log is damaged: refused while it is, mended when somebody asks.

While it is damaged nobody knows what its log would have said, so every read
and write of its range raises ``Corrupt`` with the position, and the other
buckets go on (rule 22). ``mend`` keeps what verifies: the segments without
a gap as they are, and of the others every record that verifies, copied to a
new segment. Nothing is changed in place, and until the last step the log is as
damaged as before, so a crash in between loses nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter

import msgspec
from crc32c import crc32c

from holdfast.bucket import dividing
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.credible import can_be
from holdfast.bucket.hidden import HIDDEN, owner_of
from holdfast.bucket.purse import Purses
from holdfast.bucket.replay import KEY_TYPES
from holdfast.bucket.settings import Settings
from holdfast.engines.port import refused
from holdfast.errors import Corrupt
from holdfast.log.doubt import CANNOT_BE
from holdfast.log.entry import fold
from holdfast.log.group import Kind
from holdfast.log.header import Birth, KeptNumbers, LogState, PursedState, SegmentInfo
from holdfast.log.keyblock import Row, row_of
from holdfast.log.log import Log
from holdfast.log.records import REMOVALS, Flag, Record, Type, encode
from holdfast.log.salvage import Remains, Salvage, remains, salvage
from holdfast.views.port import Table, View, Writer

GROUP_BYTES = 1 << 20
VERSIONS = 1 << 40  # as after a restore: what was lost had versions too
ADDED = frozenset((Type.APPEND, Type.JOIN))
NO_TEXT = b"\xff"  # no key begins so
NAMED = 100  # lost records that are named one by one
Span = tuple[bytes, bytes]  # of keys, from the first up to the second


class DamagedLog(Log):
    """A log that nobody reads: it takes no bytes that anybody could free."""

    def sizes(self) -> dict[int, int]:
        """None: what is on the disk is told once it is mended."""
        return {}


class DamagedView(View):
    """Answers every question with what is wrong.

    Args:
        damage: what was found, with its position.
    """

    def __init__(self, damage: Corrupt) -> None:
        self._damage = damage

    def _refuse(self) -> Corrupt:
        return Corrupt(**self._damage.facts)

    def get(self, table: Table, key: bytes) -> bytes | None:
        """Corrupt."""
        del table, key
        raise self._refuse()

    def get_many(self, table: Table, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Corrupt, but for no keys at all."""
        del table
        if keys:
            raise self._refuse()
        return {}

    def scan(
        self,
        table: Table,
        start: bytes,
        stop: bytes | None,
        limit: int,
        *,
        uncut: bool = False,
    ) -> list[tuple[bytes, bytes]]:
        """Corrupt."""
        del table, start, stop, limit, uncut
        raise self._refuse()

    def count(self, table: Table) -> int:
        """Nobody knows: 0."""
        del table
        return 0

    def writer(self) -> Writer:  # type: ignore[override]
        """Corrupt."""
        raise self._refuse()

    def disk_bytes(self) -> int:
        """None."""
        return 0

    def shrink(self, *, blank: bool = False) -> int:
        """There is nothing to give back."""
        del blank
        return 0

    def close(self) -> None:
        """There is nothing to close."""


def damaged(settings: Settings, name: str, span: Span, damage: Corrupt) -> Bucket:
    """A bucket in the place of one whose log does not verify."""
    log = DamagedLog(settings.ground, name, settings.identity)
    start, stop = span
    bucket = Bucket(settings, log, LogState(start, stop, 0, 0), DamagedView(damage))
    bucket.damage = damage
    bucket.broken = str(damage)
    return bucket


def last_state(settings: Settings, name: str, numbers: list[int]) -> LogState | None:
    """What a damaged log last said of itself, as far as that can be read."""
    return _remains(settings, name, numbers)[1].state


def _remains(settings: Settings, name: str, numbers: list[int]) -> tuple[Log, Remains]:
    log = Log(settings.ground, name, settings.identity)
    return log, remains(log, numbers)


def begins_at(settings: Settings, name: str, gaps: Sequence[Span]) -> bytes | None:
    """Where a bucket that does not say it seems to begin, within some gaps; None in none of them.

    At the lowest key that it wrote itself, else where a gap begins of which it has keys.
    """
    log, left = _remains(settings, name, settings.ground.listing().get(name, []))
    lowest: dict[bool, bytes] = {}  # whether it wrote them itself
    for number, info in left.infos.items():
        own = info.origin == name
        for record, _ in _sound(salvage(log, number, info)):
            inside = (start for start, stop in gaps if start <= record.key < stop)
            for start in inside:
                at = record.key if own else start
                lowest[own] = min(at, lowest.get(own, at))
    return lowest.get(True, lowest.get(False))


def mend(settings: Settings, name: str, span: Span, others: Mapping[str, Bucket]) -> list[str]:
    """Begin a damaged log anew from what verifies.

    Args:
        settings: what all buckets share.
        name: the bucket, which nobody has open.
        span: the range of keys that is its own.
        others: the buckets that live. A split whose child is not among them is undone.

    Returns:
        What could not be kept, in words.

    Raises:
        StorageFailed: the disk refused; the log is as damaged as before.
    """
    ground = settings.ground
    numbers = ground.listing().get(name, [])
    log, left = _remains(settings, name, numbers)
    births = left.state.births if left.state else ()
    parts = [salvage(log, number, info) for number, info in sorted(left.infos.items())]
    copied = [part for part in parts if part.number >= left.newest or not _may_stay(part)]
    kept = [left.infos[part.number] for part in parts if part not in copied]
    try:
        for birth in births:
            if birth.child in others:
                _share(log, birth, numbers)
        # What nothing tells of itself is above all that can be told: versions only grow.
        least = 0 if left.state else max((other.version for other in others.values()), default=0)
        state = _state_of(left, parts, (name, span), least)
        _rewrite(log, left, state, (copied, kept))
        for part in copied:
            ground.drop(name, part.number)
        for birth in births:
            if birth.child not in others:
                ground.retire(birth.child)
    except OSError as error:
        raise refused(name, error) from error
    lost = [told for part in parts for told in _lost(log, part)]
    if left.state is None:  # which segments there were is lost with it
        lost.append(f"lost: what was in segments that are missing, if any, {_between(span)}")
    return [*lost, *_each(_without_object(parts, span), "behind what is lost")]


def _may_stay(part: Salvage) -> bool:
    """Whether nothing of a segment is missing, or would do the same damage again."""
    return not part.gaps and not any(_denied(part)) and part.is_told()


def _denied(part: Salvage) -> Iterator[Record]:
    """Records of a segment that verify and say what cannot be: they are not kept."""
    return (record for record, value in part.records() if not can_be(record, value))


def _sound(part: Salvage) -> Iterator[tuple[Record, bytes]]:
    """The others, with their values."""
    return (read for read in part.records() if can_be(*read))


def _share(log: Log, birth: Birth, numbers: list[int]) -> None:
    """Give a child what it still has to get, damaged or not: it mends its own."""
    for info in birth.segments:
        if info.number in numbers:
            log.ground.share(log.bucket, info.number, birth.child, info.number)


def _rewrite(
    log: Log, left: Remains, state: LogState, parts: tuple[list[Salvage], list[SegmentInfo]]
) -> None:
    """Two new segments: one with what was copied, then one that says that this is the log."""
    copied, kept = parts
    # Above those, too, that the log names and that are missing: they are dropped afterwards.
    number = max([0, *log.ground.listing().get(log.bucket, []), *left.infos]) + 1
    # Until the second is there, the log is what it was: all its segments, damaged or not.
    births = left.state.births if left.state else ()
    segments = tuple(left.infos.values())
    log.begin(number, None, msgspec.structs.replace(state, segments=segments, births=births))
    for batch in _batches(copied):
        buffers = [buffer for record, value in batch for buffer in _again(record, value)]
        log.append(buffers, len(batch), sum(map(len, buffers)))
    log.sync()
    ending = SegmentInfo(number, log.bucket, number, log.stop, log.digest)
    version = (state.version // VERSIONS + 1) * VERSIONS
    after = msgspec.structs.replace(state, segments=(*kept, ending), version=version)
    log.begin(number + 1, ending, after)


def _state_of(left: Remains, parts: list[Salvage], place: tuple[str, Span], least: int) -> LogState:
    """What can be said of the whole bucket: nothing of it below what was seen, or ``least``."""
    bucket, span = place
    state = left.state
    version, time_ns = (state.version, state.time_ns) if state else (least, 0)
    highest = state.highest if state else b""
    for part in parts:  # those that stay as they are, too: no state may be left that knew them
        for record, _ in _sound(part):
            version = max(version, record.version)
            time_ns = max(time_ns, record.modified_ns)
            highest = max(highest, record.key)
    retired = state.retired if state else ()
    ended = KeptNumbers(time_ns + 1)  # what sessions applied may be among what is lost
    purses = _purses_of(bucket, left, parts)
    return PursedState(
        *span,
        version,
        time_ns,
        retired=retired,
        highest=highest,
        numbers=ended,
        purses=purses.told(),
        shares=purses.told_shares(),
    )


def _purses_of(bucket: str, left: Remains, parts: list[Salvage]) -> Purses:
    """What is known of purses: what the last state says, and what can be read behind it.

    A charge that is lost is in the tenant's favour.
    """
    state = left.state
    told = (state.purses, state.shares) if isinstance(state, PursedState) else ()
    purses = Purses(bucket, *told)
    for part in parts:
        for group in part.groups if part.number >= left.newest else ():
            if group.head.kind != Kind.KEY_BLOCK:
                for record in group.records():
                    with suppress(*CANNOT_BE):  # what says what cannot be says nothing
                        dividing.replay(purses, record, group.value(record))
    return purses


def _batches(copied: list[Salvage]) -> Iterator[list[tuple[Record, bytes]]]:
    batch: list[tuple[Record, bytes]] = []
    size = 0
    for part in copied:
        for record, value in _sound(part):
            batch.append((record, value))
            size += len(value)
            if size >= GROUP_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _again(record: Record, value: bytes) -> tuple[bytes, bytes | memoryview, bytes]:
    """A record as it was, marked moved."""
    return encode(
        record.type,
        record.key,
        value,
        record.version,
        record.modified_ns,
        flags=record.flags | Flag.MOVED,
        expires_ns=record.expires_ns,
        attrs=record.attrs,
        value_crc=crc32c(value),
    )


def _lost(log: Log, part: Salvage) -> Iterator[str]:
    """What of a segment could not be kept: by name where that is known, else by place."""
    yield from _each([*part.rescued.lost, *_denied(part)], f"of segment {part.number}")
    for gap in part.rescued.untold:
        yield f"lost: bytes {gap.start} to {gap.stop} of {log.where(gap.segment, gap.start)}"


def _between(span: Span) -> str:
    start, stop = span
    first = readable(start) if start else "the first key"
    return f"from {first} to {readable(stop) if stop < NO_TEXT else 'the last key'}"


def _without_object(parts: list[Salvage], span: Span) -> list[Row]:
    """What was added to an object behind bytes that are lost: no object has it any more."""
    start, stop = span
    listed: dict[bytes, list[Row]] = {}
    for part in parts:
        for record, _ in _sound(part):
            if record.type in ADDED and start <= record.key < stop:
                listed[record.key] = []
    for part in parts if listed else ():
        for record, _ in _sound(part):
            if record.key in listed and record.type in KEY_TYPES:
                listed[record.key].append(row_of(record, part.number))
    return [row for rows in listed.values() for row in _passed_over(rows)]


def _passed_over(rows: list[Row]) -> Iterable[Row]:
    """Of all records of a key, what was added behind what is the last of its object."""
    entry, last = None, 0
    rows.sort(key=itemgetter(1, 2))
    for row in rows:
        entry = fold(entry, row.type, row.entry)
        last = max(last, row.version if row.type in REMOVALS else 0, entry.version if entry else 0)
    late = (row for row in rows if row.type in ADDED and row.version > last)
    return {row.version: row for row in late}.values()  # an evacuated copy is the same record


def _each(rows: Sequence[Row | Record], which: str) -> Iterator[str]:
    for row in rows[:NAMED]:
        yield f"lost: {_named(row)}"
    if len(rows) > NAMED:
        yield f"lost: {len(rows) - NAMED} more records {which}"


def _named(row: Row | Record) -> str:
    kind = Type(row.type).name.lower() if row.type in set(Type) else str(row.type)
    return f"{kind} of {readable(row.key)} version {row.version}"


def readable(composite: bytes) -> str:
    r"""A key for people: its namespace and its name, what is no text of them replaced.

    Example:
        >>> readable(b"acme\0film"), readable(b"acme\1uploaded\0\0\0\6film")
        ('acme/film', 'acme/film (part 7)')
    """
    namespace, _, name = composite.partition(b"\0")
    words = ""
    if HIDDEN in namespace:
        with suppress(Corrupt):  # what is no part is told as it is
            owner, _, number = owner_of(composite)
            namespace, _, name = owner.partition(b"\0")
            words = f" (part {number + 1})"
    return f"{namespace.decode(errors='replace')}/{name.decode(errors='replace')}{words}"
