"""Scrub: read each sealed segment once in 30 days, so that no damage waits unseen (rule 22).

A segment is *good* when its groups and every record in them verify, its key
block says what the records say, and the view keeps alive in it what the counts
say is alive. The last comparison finds rows that a view lost or made up: counts
are kept apart from the rows, and whatever one of them lost, the other did not.

What is remembered is small: for each segment the bucket time at which it was
last found good, one row in META of its bucket's view. A segment that is new here
gets a time at a place of its own within the last 30 days (a hash of its name),
so the work of a whole store spreads evenly, and stays spread. Reading goes on in
slices, a few per tick, and no faster than 16 MiB/s over all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
from crc32c import crc32c
from xxhash import xxh3_64_intdigest

from holdfast.bucket import commit
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import Pace, checkpoint
from holdfast.bucket.rewrite import evacuated_row
from holdfast.errors import Corrupt, HoldfastError
from holdfast.limits import MIB, SCRUB_DAYS, SECOND_NS
from holdfast.log.entry import ENTRY, unpack
from holdfast.log.group import GROUP_HEAD_BYTES, Group, Kind, read_head, scan, scan_pieces
from holdfast.log.header import SEGMENT_HEAD_BYTES, SegmentInfo
from holdfast.log.keyblock import KeyBlock, Row, row_of
from holdfast.log.log import Log
from holdfast.log.records import BESIDE, CHECK, Record, check_of, record_bytes
from holdfast.placement.placement import Placement
from holdfast.values import Problem
from holdfast.views.port import Table

PERIOD_NS = SCRUB_DAYS * 86_400 * SECOND_NS
SURVEY_NS = 60 * SECOND_NS  # between two looks for a segment whose time has come
BYTES_PER_S = 16 * MIB
WINDOW_BYTES = MIB
SLICE = 50  # records or rows between two calls of pace
SLICES = 40  # per step
PROBLEMS = 100  # remembered at most
MARK = b"scrub"  # the row in META
SUM = (1 << 64) - 1

Read = Callable[[int, int], bytes]
Known = dict[int, int]  # segment number -> bucket time when it was last found good


class Scrub:
    """The scrub of one store: what it knows, and what it is at.

    ``problems`` are those found since the store was opened, the newest last.

    Args:
        placement: the buckets.
    """

    def __init__(self, placement: Placement) -> None:
        self.problems: list[Problem] = []
        self._placement = placement
        self._clock = placement.settings.clock
        self._time = placement.settings.time
        self._known: dict[str, Known] = {}
        self._work: Iterator[None] | None = None
        self._at: tuple[Bucket, int] | None = None
        self._next_ns = self._clock.monotonic_ns() + SURVEY_NS

    def step(self, pace: Pace) -> list[str]:
        """Go on for a few slices, if there is anything to do; what was found wrong."""
        if self._work is None and not self._begin(pace):
            return []
        for _ in range(SLICES):
            try:
                done = self._advance()
            except (HoldfastError, OSError) as error:
                return self._trouble(error)
            if done:
                return []
            pace()
        return []

    def _begin(self, pace: Pace) -> bool:
        """Choose the segment that waits longest, if the time of any has come."""
        if self._clock.monotonic_ns() < self._next_ns:
            return False
        self._wait(SURVEY_NS)
        now = self._time.now_ns()
        due: list[tuple[int, str, int, Bucket]] = []
        for bucket in list(self._placement.directory):
            known = self._survey(bucket, now)
            due += [
                (when, bucket.id, number, bucket)
                for number, when in known.items()
                if now - when >= PERIOD_NS
            ]
            pace()
        for gone in self._known.keys() - {bucket.id for bucket in self._placement.directory}:
            del self._known[gone]
        if not due:
            return False
        _, _, number, bucket = min(due, key=lambda item: item[:3])
        self._at = (bucket, number)
        self._work = examine(bucket, number)
        return True

    def _advance(self) -> bool:
        """One slice; whether that was the last, and the segment is good or gone."""
        if self._work is None or self._at is None:
            return True
        bucket, number = self._at
        if bucket.closed or number not in bucket.log.ended:
            self._end()
            return True
        try:
            next(self._work)
        except StopIteration:
            self._found_good(bucket, number)
            self._end()
            return True
        return False

    def _trouble(self, error: Exception) -> list[str]:
        """Note what is wrong with the segment; nothing where it went away meanwhile."""
        if self._at is None:
            raise error
        bucket, number = self._at
        self._end()
        if bucket.closed or number not in bucket.log.ended:
            return []
        position = getattr(error, "facts", {}).get("position", bucket.log.where(number, 0))
        self.problems = [*self.problems[1 - PROBLEMS :], Problem(bucket.id, position, str(error))]
        # Asked again after the whole period only: what is broken stays broken until repaired.
        self._known[bucket.id][number] = self._time.now_ns()
        return [f"scrub: {error}"]

    def _end(self) -> None:
        if self._at is not None and self._at[1] in self._at[0].log.ended:
            bucket, number = self._at
            self._wait(bucket.log.ended[number].stop * SECOND_NS // BYTES_PER_S)
        self._work = self._at = None

    def _wait(self, pause_ns: int) -> None:
        self._next_ns = self._clock.monotonic_ns() + pause_ns

    # -- what is known -----------------------------------------------------------------

    def _survey(self, bucket: Bucket, now: int) -> Known:
        """What is known of a bucket's sealed segments, brought up to date."""
        known = self._known.get(bucket.id)
        if known is None:
            known = self._known[bucket.id] = _remembered(bucket)
        if bucket.lender is not None or bucket.closed or bucket.broken:
            return {}
        sealed = [number for number in list(bucket.log.ended) if number in bucket.log.sealed]
        fresh = [number for number in sealed if number not in known]
        for number in fresh:
            known[number] = now - phase_ns(bucket.id, number)
        for number in known.keys() - bucket.log.ended.keys():
            del known[number]
        if fresh:
            _remember(bucket, known)
        return {number: known[number] for number in sealed}

    def _found_good(self, bucket: Bucket, number: int) -> None:
        known = self._known[bucket.id]
        known[number] = self._time.now_ns()
        _remember(bucket, known)


def phase_ns(bucket: str, number: int) -> int:
    """A segment's own place within the period, always the same."""
    return xxh3_64_intdigest(b"%b %d" % (bucket.encode(), number)) % PERIOD_NS


def _remembered(bucket: Bucket) -> Known:
    try:
        row = bucket.view.get(Table.META, MARK)
        return {} if row is None else msgspec.msgpack.decode(row, type=Known)
    except (Corrupt, msgspec.DecodeError):
        return {}  # then the bucket begins anew: a view is only a view


def _remember(bucket: Bucket, known: Known) -> None:
    if bucket.absorbed is None:
        checkpoint(bucket)  # a view that has absorbed nothing is cleared at the next open
    with bucket.absorbing, bucket.view.writer() as writer:
        writer.put(Table.META, [(MARK, msgspec.msgpack.encode(known))])


# -- one segment ---------------------------------------------------------------------


def examine(bucket: Bucket, number: int) -> Iterator[None]:
    """Read a sealed segment and hold it against key block and view, slice by slice.

    Raises:
        Corrupt: with the position of what does not verify.
    """
    log = bucket.log
    info = log.ended[number]
    _check_length(log, number)
    records = total = at = 0
    for group in verified_groups(
        log.segment(number).read, log.where, log.head(number).digest, info
    ):
        for record in group.records():
            _check_record(log, number, group, record)
            if group.head.kind == Kind.RECORDS and record.type not in BESIDE:
                records += 1
                total = total + fingerprint(row_of(record, number)) & SUM
            if not records % SLICE or record.offset - at > WINDOW_BYTES:
                at = record.offset
                yield
    block = read_key_block(log, info)
    yield from compare_block(log, block, info, (records, total))
    yield from _compare_view(bucket, block, number)


def _check_length(log: Log, number: int) -> None:
    """Hold a segment's file against the length that is known of it, which memory has."""
    segment = log.segment(number)
    stop = segment.size
    if len(segment.read(stop - 1, stop)) < 1:
        raise Corrupt(position=log.where(number, stop), what="the segment is cut short")


def verified_groups(
    read: Read, where: Callable[[int, int], str], digest: int, info: SegmentInfo
) -> Iterator[Group]:
    """The groups of an ended segment, a window at a time; Corrupt where one fails.

    Args:
        read: gives the segment's bytes from one offset to another.
        where: tells a position, from segment number and offset.
        digest: where the chain begins: that of the segment's head.
        info: where the groups must end, and with which digest.
    """
    begin, stop = SEGMENT_HEAD_BYTES, info.stop
    at, digest = yield from scan_pieces(
        read, begin, stop, digest=digest, piece_bytes=WINDOW_BYTES, scan=scan
    )
    if at != info.stop:
        raise Corrupt(position=where(info.number, at), what="a group does not verify")
    if digest != info.digest:
        raise Corrupt(position=where(info.number, at), what="the groups are not those of the log")


def _check_record(log: Log, number: int, group: Group, record: Record) -> None:
    at = record.offset - group.head.body
    stop = at + record.value_len
    (told,) = CHECK.unpack_from(group.body, stop)
    if check_of(record.key, record.version, crc32c(group.body[at:stop])) != told:
        raise Corrupt(position=log.where(number, record.offset), what="a value fails its checksum")


def read_key_block(log: Log, info: SegmentInfo) -> KeyBlock:
    """A sealed segment's key block as it is on the disk, whatever memory holds; Corrupt."""
    segment = log.segment(info.number)
    data = segment.read(info.stop, segment.size)
    head = read_head(data, 0, info.stop)
    if head is not None and (head.kind, head.previous) == (Kind.KEY_BLOCK, info.digest):
        body = data[GROUP_HEAD_BYTES : GROUP_HEAD_BYTES + head.stop - head.body]
        if crc32c(body) == head.body_crc:
            try:
                return KeyBlock(body, info.number)
            except ValueError:
                pass
    raise Corrupt(position=log.where(info.number, info.stop), what="key block fails")


def fingerprint(row: Row) -> int:
    """A row's fingerprint; those of a segment add up the same in whatever order."""
    return xxh3_64_intdigest(row.key + row.entry, row.type)


def compare_block(
    log: Log, block: KeyBlock, info: SegmentInfo, counted: tuple[int, int]
) -> Iterator[None]:
    """Hold the key block against the records' number and sum, slice by slice.

    Args:
        log: of the segment.
        block: its key block.
        info: what the log says of it.
        counted: how many records it has, and the sum of their fingerprints.

    Raises:
        Corrupt: the rows are not those of the records, or are not found where they should be.
    """
    told = 0
    last = (b"", 0)
    ordered = True
    for index, row in enumerate(block):
        told = told + fingerprint(row) & SUM
        ordered = ordered and last <= (row.key, row.version) and block.row(index) == row
        last = (row.key, row.version)
        if index % SLICE == SLICE - 1:
            yield
    if not ordered or (block.count, told) != counted:
        raise Corrupt(
            position=log.where(info.number, info.stop), what="key block differs from the records"
        )


def _compare_view(bucket: Bucket, block: KeyBlock, number: int) -> Iterator[None]:
    """Hold what the view keeps alive in a segment against what is counted alive there.

    Writers go on meanwhile and can only take away, so the rows that are alive
    add up to something between the counts before and after.
    """
    shape = _shape(bucket)
    before = bucket.tally().live.get(number, 0)
    alive = 0
    for index, row in enumerate(block):
        if bucket.start <= row.key < bucket.stop:
            alive += _alive_bytes(bucket, row, number)
        if index % SLICE == SLICE - 1:
            yield
    yield from _resolved(bucket)
    with commit.alone(bucket):  # nothing is decided that is not counted
        bucket.resolve_all()
        after = bucket.tally().live.get(number, 0)
        comparable = shape == _shape(bucket) and not bucket.births and bucket.lender is None
    if comparable and not after <= alive <= before:
        raise Corrupt(
            position=bucket.log.where(number, 0),
            what="the index does not keep alive what is counted alive here",
            counted=after,
            found=alive,
        )


def _shape(bucket: Bucket) -> tuple[object, ...]:
    """What says that counts of two moments speak of the same keys."""
    return bucket.start, bucket.stop, bucket.births, bucket.lender


def _resolved(bucket: Bucket) -> Iterator[None]:
    """Make the counts exact, in slices."""
    while bucket.resolve_next(SLICE):
        yield


def _alive_bytes(bucket: Bucket, row: Row, number: int) -> int:
    """The bytes of a row's record if the bucket still needs them."""
    version, _, _, size, _, _, attrs, _, offset = ENTRY.unpack_from(row.entry)
    with bucket.lock:
        found = evacuated_row(bucket, row.type, row.key, version, number)
    if found is None or found[0] is Table.SEGMENTS:
        return 0
    if found[0] is Table.KEYS:
        extents = unpack(found[1]).extents
        if (version, number, offset) not in ((e.version, e.segment, e.offset) for e in extents):
            raise Corrupt(
                position=bucket.log.where(number, offset), what="the index points elsewhere"
            )
    return record_bytes(len(row.key), attrs, size)
