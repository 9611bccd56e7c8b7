"""Check: verify every byte of every log, and every view against its log (rules 4, 5, 22)."""

from __future__ import annotations

from collections.abc import Iterator

from crc32c import crc32c

from holdfast.bucket.birth import rebuild
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import checkpoint
from holdfast.errors import Corrupt, HoldfastError
from holdfast.log.entry import unpack
from holdfast.log.group import Kind
from holdfast.log.records import CHECK, check_of
from holdfast.placement.placement import Placement
from holdfast.values import CheckReport, Problem
from holdfast.views.port import Table

PAGE = 500


def check(placement: Placement, *, repair: bool) -> CheckReport:
    """Look at everything; nothing is taken on trust."""
    problems: list[Problem] = []
    records = 0
    buckets = list(placement.directory)
    for bucket in buckets:
        seen, found = _check_bucket(bucket)
        records += seen
        if found and repair:
            found = _repair(bucket, found)
        problems += found
    return CheckReport(not problems, tuple(problems), len(buckets), records)


def _check_bucket(bucket: Bucket) -> tuple[int, list[Problem]]:
    problems: list[Problem] = []
    bucket.finish_birth()
    records = 0
    try:
        checkpoint(bucket)
    except HoldfastError as error:
        problems.append(_problem(bucket, error))
    with bucket.lock:
        numbers = [*bucket.log.ended, bucket.log.number]
    for number in numbers:
        try:
            records += _check_segment(bucket, number)
        except (HoldfastError, OSError) as error:
            problems.append(_problem(bucket, error))
    if not problems:
        problems += _check_view(bucket)
    return records, problems


def _problem(bucket: Bucket, error: Exception) -> Problem:
    position = str(getattr(error, "facts", {}).get("position", ""))
    return Problem(bucket.id, position, str(error))


def _check_segment(bucket: Bucket, number: int) -> int:
    """Every group and every record's own check; how many records."""
    log = bucket.log
    records = 0
    for group in log.groups(number):
        if group.head.kind == Kind.KEY_BLOCK:
            continue
        for record in group.records():
            at = record.offset - group.head.body
            value = group.body[at : at + record.value_len]
            (told,) = CHECK.unpack_from(group.body, at + record.value_len)
            if check_of(record.key, record.version, crc32c(value)) != told:
                raise Corrupt(
                    position=log.where(number, record.offset), what="a value fails its checksum"
                )
            records += 1
    if number in log.sealed:
        log.forget_blocks()
        if log.key_block(number) is None:
            raise Corrupt(
                position=log.where(number, log.ended[number].stop), what="key block fails"
            )
    return records


def _check_view(bucket: Bucket) -> list[Problem]:
    """Hold the view against what the log says, row by row."""
    try:
        told = dict(_view_rows(bucket))
    except HoldfastError as error:
        return [_problem(bucket, error)]
    shadow = _derived(bucket)
    problems = []
    for key in sorted(told.keys() | shadow.keys()):
        if told.get(key) != shadow.get(key):
            what = "missing from the index" if key not in told else "index differs from the log"
            problems.append(Problem(bucket.id, f"view key {key[:64].hex()}", what))
    return problems


def _view_rows(bucket: Bucket) -> Iterator[tuple[bytes, tuple[object, ...]]]:
    at: bytes | None = bucket.start
    while at is not None:
        with bucket.lock:
            page, at = bucket.state.page(Table.KEYS, at, bucket.stop, PAGE)
        for key, row in page:
            yield key, _meaning(row)


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


def _derived(bucket: Bucket) -> dict[bytes, tuple[object, ...]]:
    """What the index must say, derived from key blocks and log."""
    from holdfast.bucket.birth import derive_entries  # noqa: PLC0415

    return {key: _meaning(row) for key, row in derive_entries(bucket)}


def _repair(bucket: Bucket, problems: list[Problem]) -> list[Problem]:
    """Derive the view again; what the log itself lost stays named."""
    try:
        with bucket.absorbing, bucket.lock:
            rebuild(bucket)
    except (HoldfastError, OSError) as error:
        return [*problems, _problem(bucket, error)]
    return [
        Problem(p.bucket, p.position, p.what, repaired=p.position.startswith("view"))
        for p in problems
    ]


