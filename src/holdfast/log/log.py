"""A bucket's log: the truth, appended group by group to numbered segments.

One segment is *active*; the others have *ended* (nothing more belongs to them)
and are *sealed* once their key block stands behind their last group. The log
knows nothing of what records mean.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import msgspec
from crc32c import crc32c
from xxhash import xxh3_64_intdigest

from holdfast.engines.port import Buffer, LeftBehind, Mapped, Segment, Segments, refused
from holdfast.errors import Corrupt
from holdfast.limits import GIB
from holdfast.log.group import (
    BEGINNING,
    GROUP_HEAD_BYTES,
    Group,
    Kind,
    Scan,
    T,
    pack_digest,
    pack_single,
    read_head,
    scan,
    scan_pieces,
    seal_head,
)
from holdfast.log.header import (
    SEGMENT_HEAD_BYTES,
    Identity,
    LogState,
    SegmentHead,
    SegmentInfo,
    pack_beginning,
    unpack_head,
)
from holdfast.log.keyblock import KeyBlock
from holdfast.log.records import CHECK, CHECK_BYTES, check_of

GROUP_OF_RECORDS = int(Kind.RECORDS)
SMALL_BYTES = 1 << 16
FIRST = 1  # segment of every log
UNKNOWN = -(1 << 62)  # a count of records, and still one after any number was added
Made = tuple[int, Segment]  # what may be begun: empty, its name durable, under this number
JOIN_BYTES = 1 << 14  # a group of larger buffers is written gathered instead of joined


class Position(NamedTuple):
    """A place between groups: behind the group at ``start`` of ``segment``.

    ``start == stop`` names the place behind the segment's head.
    """

    segment: int
    start: int
    stop: int
    digest: int


class Log:
    """One bucket's log.

    Args:
        segments: the ground.
        bucket: the bucket's id, 16 hex digits.
        identity: store id and incarnation, named in every segment head.
    """

    def __init__(self, segments: Segments, bucket: str, identity: Identity) -> None:
        self.ground, self.bucket, self.identity = segments, bucket, identity
        self.beside = ""  # the bucket whose segments a new one is to share
        self.number = 0
        self.records = UNKNOWN  # in the RECORDS groups of the active segment
        self.counts: dict[int, int] = {}  # the same of segments that ended since
        self.active: Segment  # what is appended to; set by ``begin`` or by recovery
        self.loose: Segment | None = None  # ended, and the next one may not be durable yet
        self.reserved = 0  # the highest number that a merge has set aside
        self.stop = 0  # where the active segment's groups end
        self.begun = 0  # where its state ends
        self.last = 0  # where its last group starts
        self.digest = 0
        self.synced = 0  # what of the active segment is known durable
        self.durable = Position(0, 0, 0, 0)  # the last place known durable
        self.ended: dict[int, SegmentInfo] = {}
        self.sealed: set[int] = set()
        self._unsealed: set[int] = set()  # ended, looked at, and found without a key block
        self.pinned: Counter[int] = Counter()  # segments that backups still have to copy
        self.in_place = True  # sealed segments may be mapped
        self.maps: dict[int, Mapped] = {}
        self._open: dict[int, Segment] = {}
        self._blocks: dict[int, KeyBlock] = {}

    # -- writing ----------------------------------------------------------------

    def begin(
        self, number: int, previous: SegmentInfo | None, state: LogState, made: Made | None = None
    ) -> None:
        """Make ``number`` the active segment: durable, name and bytes, unless it is ``made``."""
        head, after = pack_beginning(self.identity, self.bucket, number, previous, state=state)
        if made is None:
            segment = self.ground.begin(self.bucket, number, head, self.beside)
        else:
            _, segment = made
            segment.append(head)
            self.loose = self.active
        length = sum(map(len, head))
        synced = length if made is None else 0
        durable = Position(number, SEGMENT_HEAD_BYTES, synced, after)
        # Nothing is called from here on: whoever is interrupted has begun it, or has not.
        if previous is not None:  # before the end moves: who reads it asks no lock
            self.ended[previous.number] = previous
        self._open[number] = self.active = segment
        self.counts[self.number], self.records, self.number = self.records, 0, number
        self.last, self.digest, self.durable = SEGMENT_HEAD_BYTES, after, durable
        self.stop = self.begun = length
        self.synced = synced

    def switch(self, state: LogState, made: Made | None = None) -> None:
        """End the active segment where its groups end and begin the next.

        ``state.segments`` is filled in here. What the new segment says of the old
        one must be true after a crash, so the old one is synced first. On an error
        nothing has changed.
        """
        if self.synced < self.stop:
            self.sync()
        if made is None:
            self.active.finish()
        ending = SegmentInfo(self.number, self.bucket, self.number, self.stop, self.digest)
        listed = (*self.ended.values(), ending)
        number = self.next_number() if made is None else made[0]
        try:
            self.begin(number, ending, msgspec.structs.replace(state, segments=listed), made)
        except LeftBehind:
            self.reserved = number  # the next must lie above what may be left of this one
            raise

    def next_number(self) -> int:
        """The first number above every segment's, and above those set aside for a merge."""
        return max(self.number, *self.ended, self.reserved) + 1

    def borrow(self, lender: Log, numbers: Iterable[int]) -> None:
        """Read ended segments through another log's files until they are shared (fork)."""
        for number in numbers:
            self._open[number] = lender.segment(number)

    def return_loans(self, numbers: Iterable[int]) -> None:
        """Read these segments, sealed by now, through files of this bucket from now on.

        Writers wait meanwhile, so nothing is opened before somebody reads it.
        """
        for number in numbers:
            self._open.pop(number, None)
            self.maps.pop(number, None)
            self._unsealed.discard(number)

    def append_body(self, body: bytes, count: int, kind: int = GROUP_OF_RECORDS) -> int:
        """Write one group whose body is one piece; where the body begins. As ``append``."""
        start, length = self.stop, len(body)
        head, digest = seal_head(kind, count, length, crc32c(body), self.synced, self.digest)
        self.active.append((head + body,) if length < JOIN_BYTES else (head, body))
        self.last, self.digest = start, digest
        self.stop = start = start + GROUP_HEAD_BYTES + length
        self.records += count if kind == GROUP_OF_RECORDS else 0
        return start - length

    def append_single(self, record: bytes) -> None:
        """Write a group of one record. As ``append_body``, quicker."""
        length = len(record)
        if length >= JOIN_BYTES:
            self.append_body(record, 1)
            return
        head = pack_single(BEGINNING, length, crc32c(record), self.synced, self.digest)
        digest = xxh3_64_intdigest(head)
        self.active.append((b"".join((head, pack_digest(digest), record)),))
        stop = self.stop + GROUP_HEAD_BYTES + length
        self.last, self.digest, self.stop = self.stop, digest, stop
        self.records += 1

    def append(
        self, buffers: Sequence[Buffer], count: int, length: int, kind: int = Kind.RECORDS
    ) -> int:
        """Write one group of ``count`` records; its body's offset in the active segment.

        Not yet durable. On an OSError the log's end is where it was.
        """
        if length <= JOIN_BYTES * len(buffers):  # copying costs less than gathering small ones
            return self.append_body(b"".join(buffers), count, kind)
        crc = 0
        for buffer in buffers:
            crc = crc32c(buffer, crc)
        head, digest = seal_head(kind, count, length, crc, self.synced, self.digest)
        self.active.append((head, *buffers))
        self.last, self.digest = self.stop, digest
        self.stop += GROUP_HEAD_BYTES + length
        self.records += count if kind == GROUP_OF_RECORDS else 0
        return self.stop - length

    def sync(self) -> None:
        """Make every group appended before this call durable."""
        reached = self.position
        self.active.sync()
        self.note_durable(reached)

    def note_durable(self, reached: Position) -> None:
        """Know that everything up to a place is durable."""
        if reached.segment == self.number and reached.stop > self.synced:
            self.synced = reached.stop
            self.durable = reached

    def is_durable(self, reached: Position) -> bool:
        """Whether everything up to a place is known durable; ended segments are."""
        return reached.segment != self.number or reached.stop <= self.synced

    def cut_back(self) -> None:
        """Forget the groups behind the last place known durable (rule 1)."""
        _, self.last, self.stop, self.digest = self.durable
        self.records = UNKNOWN

    @property
    def position(self) -> Position:
        """Where the log ends now."""
        return Position(self.number, self.last, self.stop, self.digest)

    # -- reading ----------------------------------------------------------------

    def segment(self, number: int) -> Segment:
        """The segment's file, opened when first asked for."""
        segment = self._open.get(number)
        if segment is None:
            try:
                segment = self.ground.open(self.bucket, number)
            except FileNotFoundError:
                raise Corrupt(position=self.where(number, 0), what="segment is missing") from None
            except OSError as error:
                raise refused(self.bucket, error) from error
            self._open[number] = segment
        return segment

    def _bytes(self, number: int, start: int, stop: int) -> bytes:
        try:
            return self.segment(number).read(start, stop)
        except OSError as error:
            raise refused(self.bucket, error) from error

    def read(self, number: int, start: int, stop: int) -> bytes | memoryview:
        """Bytes ``start`` to ``stop`` of a segment; sealed ones are mapped (rule 12)."""
        mapped = self._mapped(number)
        return self._bytes(number, start, stop) if mapped is None else mapped[start:stop]

    def _mapped(self, number: int) -> Mapped | None:
        """A sealed segment in place, or None where it may still be written to."""
        mapped = self.maps.get(number)
        if mapped is not None or not self.in_place:
            return mapped
        if number in self.sealed or self.looks_sealed(number):
            try:
                segment = self.segment(number)
                segment.lent[id(self.maps)] = (self.maps, number)
                mapped = self.maps[number] = segment.map()
            except OSError as error:
                raise refused(self.bucket, error) from error
        return mapped

    def read_value(self, number: int, offset: int, length: int) -> tuple[bytes, int]:
        """A value's bytes and the check behind it, not compared yet."""
        mapped = self._mapped(number)
        stop = offset + length
        if mapped is not None:
            return bytes(mapped[offset:stop]), CHECK.unpack_from(mapped, stop)[0]
        if length > SMALL_BYTES:  # reading twice is cheaper than copying
            check = CHECK.unpack(self._bytes(number, stop, stop + CHECK_BYTES))[0]
            return self._bytes(number, offset, stop), check
        data = self._bytes(number, offset, stop + CHECK_BYTES)
        return data[:length], CHECK.unpack_from(data, length)[0]

    def read_now(self, number: int, offset: int, length: int) -> tuple[bytes, int] | None:
        """As ``read_value``, or None where it would have to wait for the disk (rule 12)."""
        segment, stop = self._open.get(number), offset + length + CHECK_BYTES
        try:
            data = segment.read_now(offset, stop) if segment is not None else None
        except OSError:
            return None  # whoever asks again, and waits, is told
        if data is None or len(data) != length + CHECK_BYTES:
            return None
        return data[:length], CHECK.unpack_from(data, length)[0]

    def value(  # noqa: PLR0917 - what names a value, and where it lies
        self, key: bytes, version: int, number: int, offset: int, length: int
    ) -> bytes:
        """The value there, verified against key and version; Corrupt otherwise."""
        try:
            value, check = self.read_value(number, offset, length)
        except struct.error:
            value, check = b"", -1
        if check_of(key, version, crc32c(value)) == check:
            return value
        raise Corrupt(position=self.where(number, offset), what="a value fails its checksum")

    def where(self, number: int, offset: int) -> str:
        """A position for people and reports."""
        return f"bucket {self.bucket} segment {number} offset {offset}"

    def head(self, number: int) -> SegmentHead:
        """A segment's head, held against what the log says it must be."""
        where = self.where(number, 0)
        head = unpack_head(self._bytes(number, 0, SEGMENT_HEAD_BYTES), where)
        info = self.ended.get(number)
        origin = (info.origin, info.origin_number) if info else (self.bucket, number)
        if head.store != self.identity.store or (head.bucket, head.number) != origin:
            raise Corrupt(position=where, what="this segment belongs elsewhere")
        return head

    def groups(
        self, number: int, after: Position | None = None, read_bytes: int = GIB
    ) -> Iterator[Group]:
        """The verified groups of a segment, or those behind ``after``; Corrupt where one fails."""
        return self.scanned(number, scan, after, read_bytes)

    def groups_at(self, number: int, start: int, stop: int) -> Iterator[Group]:
        """The verified groups that lie there, one behind the other; Corrupt where one fails."""
        data = self._bytes(number, start, stop)
        head = read_head(data, 0, start)
        at, _ = yield from scan(data, start, stop, head.previous if head is not None else 0)
        if at != stop:
            raise Corrupt(position=self.where(number, at), what="a group does not verify")

    def scanned(
        self, number: int, scan: Scan[T], after: Position | None = None, read_bytes: int = GIB
    ) -> Iterator[T]:
        """What ``scan`` makes of the groups of a segment, or of those behind ``after``.

        Read in pieces of about ``read_bytes``: where nobody can drop the segment meanwhile,
        small ones serve better, because the same memory takes the next.
        """
        stop = self.ended[number].stop if number in self.ended else self.stop
        at, digest = SEGMENT_HEAD_BYTES, None
        if after is not None and after.segment == number:
            at, digest = after.stop, after.digest
        if digest is None:
            digest = self.head(number).digest
        read = partial(self._bytes, number)
        at, _ = yield from scan_pieces(
            read, at, stop, digest=digest, piece_bytes=read_bytes, scan=scan
        )
        if at != stop:
            raise Corrupt(position=self.where(number, at), what="a group does not verify")

    def key_block(self, number: int) -> KeyBlock | None:
        """A sealed segment's key block, or None where the segment is not sealed."""
        block = self._blocks.get(number)
        if block is None and number in self.ended:
            block = self._load_block(number)
            if block is not None:
                self._blocks[number] = block
        return block

    def has_key_block(self, number: int) -> bool:
        """Whether a segment is sealed; a key block that is read for it is not kept."""
        return number in self.ended and self._load_block(number) is not None

    def forget_blocks(self) -> None:
        """Drop key blocks from memory; they are read again when asked for."""
        self._blocks.clear()

    def looks_sealed(self, number: int) -> bool:
        """Whether a key block begins behind an ended segment's last group; asked once."""
        if number not in self.ended or number in self._unsealed:
            return False
        info = self.ended[number]
        data = self._bytes(number, info.stop, info.stop + GROUP_HEAD_BYTES)
        head = read_head(data, 0, info.stop)
        if head is None or head.kind != Kind.KEY_BLOCK or head.previous != info.digest:
            self._unsealed.add(number)
            return False
        return True

    def _load_block(self, number: int) -> KeyBlock | None:
        info, size = self.ended[number], self.segment(number).size
        data = self._bytes(number, info.stop, max(size, info.stop))
        head = read_head(data, 0, info.stop)
        if head is None or head.kind != Kind.KEY_BLOCK or head.previous != info.digest:
            return None
        body = data[GROUP_HEAD_BYTES : GROUP_HEAD_BYTES + head.stop - head.body]
        if len(body) != head.stop - head.body or crc32c(body) != head.body_crc:
            return None
        try:
            block = KeyBlock(body, number)
        except ValueError:
            return None
        self.sealed.add(number)
        return block

    # -- ended segments -----------------------------------------------------------

    def seal(self, number: int, body: bytes, count: int) -> None:
        """Put the key block behind an ended segment's last group, durably.

        Raises:
            StorageFailed: the disk refused; the next attempt begins with a fresh file.
        """
        info = self.ended[number]
        head, _ = seal_head(Kind.KEY_BLOCK, count, len(body), crc32c(body), info.stop, info.digest)
        segment = self.segment(number)
        segment.size = info.stop
        try:
            segment.append((head, body))
            segment.sync()
        except OSError as error:
            self._open.pop(number, None)
            raise refused(self.bucket, error) from error
        self._unsealed.discard(number)
        self.sealed.add(number)

    def adopt(self, info: SegmentInfo) -> None:
        """Count a segment shared from another bucket among the ended ones."""
        self.ended[info.number] = info

    def drop(self, number: int) -> None:
        """Forget an ended segment and give its space back; StorageFailed where its file stays."""
        self.ended.pop(number, None)
        self.sealed.discard(number)
        self.maps.pop(number, None)
        self._blocks.pop(number, None)
        segment = self._open.pop(number, None)
        with suppress(OSError):
            if segment is not None:
                segment.park()
        try:
            self.ground.drop(self.bucket, number)
        except OSError as error:
            raise refused(self.bucket, error) from error

    def sizes(self) -> dict[int, int]:
        """Bytes on disk by segment."""
        sizes = {number: self.segment(number).size for number in self.ended}
        return sizes | {self.number: self.active.taken()}

    def park(self) -> None:
        """Give back descriptors, maps and key blocks; the next call opens again.

        Raises:
            StorageFailed: of a segment that the disk refused; the others are parked.
        """
        self.maps.clear()
        self._blocks.clear()
        failed: OSError | None = None
        for segment in list(self._open.values()):  # who reads meanwhile opens others
            try:
                segment.park()
            except OSError as error:
                failed = failed or error
        if failed is not None:
            raise refused(self.bucket, failed) from failed

    def continues(self, position: Position, *, merged: bool = False) -> bool:
        """Whether what this log holds behind a position is all that happened since.

        Segments are numbered without a gap, and one is dropped only after the view
        has absorbed it: a gap says that an older view came back, whose tail is
        gone. Segments that a merge brought are not a tail either: what was moved
        in them stands there without what it was moved from. ``merged``: where whoever
        asks passes over those, they may lie there.
        """
        return self._is_whole(position.segment + 1, merged=merged) and self.contains(position)

    def is_whole(self, first: int = FIRST) -> bool:
        """Whether this log holds all that happened to its bucket from a segment on, and no more."""
        return self._is_whole(first)

    def _is_whole(self, first: int, *, merged: bool = False) -> bool:
        behind = [self.ended.get(n) for n in range(first, self.number)]
        behind += [info for number, info in self.ended.items() if number > self.number]
        return all(info is not None and (merged or info.origin == self.bucket) for info in behind)

    def contains(self, position: Position) -> bool:
        """Whether this log has exactly this position (segment, place and digest)."""
        ended = self.ended.get(position.segment)
        stop = self.stop if position.segment == self.number else ended.stop if ended else 0
        if position.stop > stop:
            return False
        if position.start == position.stop:
            return position.stop == SEGMENT_HEAD_BYTES and (
                self.head(position.segment).digest == position.digest
            )
        behind = position.start + GROUP_HEAD_BYTES
        data = self._bytes(position.segment, position.start, behind)
        head = read_head(data, 0, position.start)
        return head is not None and (head.digest, head.stop) == (position.digest, position.stop)
