"""Check: verify every byte of every log, and every view against its log (rules 4, 5, 22)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from heapq import merge
from itertools import accumulate, groupby
from operator import itemgetter

from crc32c import crc32c

from holdfast.bucket import commit
from holdfast.bucket.birth import derive_entries, fold_object
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.credible import can_be
from holdfast.bucket.dormant import Dormant
from holdfast.bucket.repair import readable
from holdfast.errors import Corrupt, HoldfastError, Moved
from holdfast.log.doubt import doubted
from holdfast.log.entry import Entry, pack, unpack
from holdfast.log.group import Group, Kind
from holdfast.log.keyblock import Row, row_of
from holdfast.log.records import BESIDE, CHECK, Record, check_of
from holdfast.placement.placement import Placement
from holdfast.request.large import parts_of
from holdfast.upkeep.scrub import SUM, compare_block, fingerprint
from holdfast.values import CheckReport, Problem, Progress
from holdfast.views.port import Table

PAGE = 500
NO_OBJECT = Entry(0, 0, 0, 0, 0, 0, b"", ())
BOTH = 2  # the view and the log

Known = tuple[bytes, tuple[object, ...]]  # a key, and what an entry says of its object


def check(placement: Placement, *, repair: bool, progress: Progress) -> CheckReport:
    """Look at everything; nothing is taken on trust."""
    problems: list[Problem] = []
    records = 0
    buckets = list(placement.directory)
    steps = [_steps(bucket) for bucket in buckets]
    progress.total = sum(steps)
    for bucket, reached in zip(buckets, accumulate(steps), strict=True):
        seen, found = _check_bucket(bucket, progress)
        records += seen
        if found and repair:
            found = _repair(placement, bucket, found)
        problems += found
        progress.done = reached  # whatever was added to the log, or not looked at
    problems += _check_parts(placement)
    return CheckReport(not problems, tuple(problems), len(buckets), records)


def _steps(bucket: Bucket) -> int:
    """What is looked at of a bucket, its segments and its view; it is not opened for that."""
    if isinstance(bucket, Dormant):
        return len(bucket.told.numbers) + 1
    return 1 if bucket.damage is not None else len(bucket.log.ended) + 2


def _check_bucket(bucket: Bucket, progress: Progress) -> tuple[int, list[Problem]]:
    if bucket.damage is not None:
        return 0, [_problem(bucket, bucket.damage)]
    problems: list[Problem] = []
    records = 0
    try:
        with doubted(bucket.id):
            bucket.finish_birth()
    except (HoldfastError, OSError) as error:
        problems.append(_problem(bucket, error))
    with _pinned(bucket) as numbers:
        for number in numbers:
            try:
                with doubted(bucket.id):
                    records += _check_segment(bucket, number)
            except (HoldfastError, OSError) as error:
                problems.append(_problem(bucket, error))
            progress.done += 1
        if not problems:
            problems += _check_view(bucket)
    # One that was merged away meanwhile lives on in its neighbour.
    return (0, []) if bucket.closed else (records, problems)


def _check_parts(placement: Placement) -> Iterator[Problem]:
    """Whether every large object has all its parts, wherever they lie."""
    for bucket in list(placement.directory):
        try:
            with doubted(bucket.id):
                for key, _ in _view_rows(bucket) if bucket.special else ():
                    yield from _lost_parts(placement, bucket, key)
        except Corrupt as error:  # of this bucket, or of one that should have the parts
            yield _problem(bucket, error)


def _lost_parts(placement: Placement, bucket: Bucket, key: bytes) -> Iterator[Problem]:
    entry = _large(placement, key)
    lost = [part for part in parts_of(key, entry) if _row(placement, part) is None]
    if lost and _large(placement, key) == entry:
        what = f"{len(lost)} parts of a large object are missing"
        yield Problem(bucket.id, f"object {readable(key)}", what)


def _row(placement: Placement, key: bytes) -> bytes | None:
    """A key's index entry, in whichever bucket it is now."""
    while True:
        try:
            return placement.directory.find(key).row(key)
        except Moved:
            placement.directory.look_again()


def _large(placement: Placement, key: bytes) -> Entry:
    """An object as it is now; one without parts, if there is none."""
    row = _row(placement, key)
    return NO_OBJECT if row is None else unpack(row)


def _problem(bucket: Bucket, error: Exception) -> Problem:
    position = str(getattr(error, "facts", {}).get("position", ""))
    return Problem(bucket.id, position, str(error))


def _check_segment(bucket: Bucket, number: int) -> int:
    """Every group, every record's own check, and the key block that tells them; how many."""
    log = bucket.log
    records = told = total = 0
    for group in log.groups(number):
        if group.head.kind == Kind.KEY_BLOCK:
            continue
        for record in group.records():
            _check_record(bucket, number, group, record)
            records += 1
            if group.head.kind == Kind.RECORDS and record.type not in BESIDE:
                told += 1
                total = total + fingerprint(row_of(record, number)) & SUM
    sealed = number in log.sealed
    log.forget_blocks()
    block = log.key_block(number)
    if block is not None:
        for _ in compare_block(log, block, log.ended[number], (told, total)):
            pass
    elif sealed:
        raise Corrupt(position=log.where(number, log.ended[number].stop), what="key block fails")
    return records


def _check_record(bucket: Bucket, number: int, group: Group, record: Record) -> None:
    """A record's own check, and whether it can be at all."""
    where = bucket.log.where(number, record.offset)
    at = record.offset - group.head.body
    value = group.body[at : at + record.value_len]
    (told,) = CHECK.unpack_from(group.body, at + record.value_len)
    if check_of(record.key, record.version, crc32c(value)) != told:
        raise Corrupt(position=where, what="a value fails its checksum")
    if group.head.kind == Kind.RECORDS and not can_be(record, value):
        raise Corrupt(position=where, what="a record says what cannot be")


def _check_view(bucket: Bucket) -> list[Problem]:
    """Hold the view against what the log says, row by row, while writers go on."""
    try:
        with doubted(bucket.id):
            doubtful = list(_differences(_view_rows(bucket), _derived_rows(bucket)))
            return _judged(bucket, doubtful) if doubtful else []
    except HoldfastError as error:
        return [_problem(bucket, error)]


@contextmanager
def _pinned(bucket: Bucket) -> Iterator[list[int]]:
    """Keep the segments that exist now, as a backup does; their numbers."""
    log = bucket.log
    with bucket.lock:
        numbers = [*log.ended, log.number]
        log.pinned.update(numbers)
    try:
        yield numbers
    finally:
        with bucket.lock:
            log.pinned.subtract(numbers)
            for number in numbers:
                if not log.pinned[number]:
                    del log.pinned[number]


def _differences(told: Iterator[Known], derived: Iterator[Known]) -> Iterator[bytes]:
    """The keys of which two walks in order do not say the same."""
    for key, both in groupby(merge(told, derived, key=itemgetter(0)), key=itemgetter(0)):
        meanings = [meaning for _, meaning in both]
        if len(meanings) != BOTH or meanings[0] != meanings[1]:
            yield key


def _judged(bucket: Bucket, doubtful: list[bytes]) -> list[Problem]:
    """The doubtful keys that still differ while nothing changes.

    Two walks see different moments of a bucket that is written to. The active
    segment ends first, so that what must be read while writers wait is small.
    """
    with commit.alone(bucket):
        commit.switch(bucket)
    problems = []
    with commit.alone(bucket):
        recent = _recent_rows(bucket, set(doubtful))
        for key in doubtful:
            if not bucket.start <= key < bucket.stop:
                continue
            row = bucket.state.entry(key)
            entry = fold_object(_rows_of(bucket, key, recent.get(key, [])))
            if (None if row is None else _meaning(row)) != (entry and _meaning(pack(entry))):
                what = "missing from the index" if row is None else "index differs from the log"
                problems.append(Problem(bucket.id, f"view key {readable(key)}", what))
    return problems


def _recent_rows(bucket: Bucket, keys: set[bytes]) -> dict[bytes, list[Row]]:
    """The rows of some keys in segments that have no key block yet."""
    found: dict[bytes, list[Row]] = {}
    log = bucket.log
    for number in (*log.ended, log.number):
        if number in log.ended and log.key_block(number) is not None:
            continue
        for group in log.groups(number):
            if group.head.kind == Kind.RECORDS:
                for record in group.records():
                    if record.key in keys:
                        found.setdefault(record.key, []).append(row_of(record, number))
    return found


def _rows_of(bucket: Bucket, key: bytes, recent: list[Row]) -> list[Row]:
    """All records of a key, in the order of their versions."""
    rows = list(recent)
    for number in list(bucket.log.ended):
        block = bucket.log.key_block(number)
        if block is not None:
            rows += block.rows_of(key)
    return sorted(rows, key=itemgetter(1, 2))


def _view_rows(bucket: Bucket) -> Iterator[Known]:
    """What the index says; no more of a bucket that was merged away, or left to others."""
    at: bytes | None = bucket.start
    while at is not None:
        with bucket.lock:
            if bucket.closed or at >= bucket.stop:
                return
            page, at = bucket.state.page(Table.KEYS, at, bucket.stop, PAGE)
        for key, row in page:
            yield key, _meaning(row)


def _derived_rows(bucket: Bucket) -> Iterator[Known]:
    """What the index must say, derived from key blocks and log."""
    return ((key, _meaning(row)) for key, row in derive_entries(bucket))


def _meaning(row: bytes) -> tuple[object, ...]:
    entry = unpack(row)
    return (
        entry.version,
        entry.size,
        entry.crc,
        entry.expires_ns,
        entry.flags & 0x0F,
        entry.extents,
    )


def _repair(placement: Placement, bucket: Bucket, problems: list[Problem]) -> list[Problem]:
    """Derive the view again, or begin the log anew from what verifies; what was lost is named."""
    lost: list[str] = []
    try:
        if all(problem.position.startswith("view") for problem in problems):
            placement.rebuild(bucket)
        else:
            with doubted(bucket.id):
                lost = placement.mend(bucket)
    except (HoldfastError, OSError) as error:
        return [*problems, _problem(bucket, error)]
    mended = [Problem(p.bucket, p.position, p.what, repaired=True) for p in problems]
    return [*mended, *(Problem(bucket.id, "", what) for what in lost)]
