"""Seal ended segments: put their key block behind their last group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.bucket.checkpoint import Pace, no_pace
from holdfast.log.group import Kind
from holdfast.log.keyblock import Row, build, row_of, sorted_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.bucket.bucket import Bucket
    from holdfast.log.log import Log

SLICE = 150


def unsealed(bucket: Bucket) -> list[int]:
    """Ended segments that have no key block yet."""
    with bucket.lock:
        waiting = [n for n in bucket.log.ended if n not in bucket.log.sealed]
    return [n for n in waiting if bucket.log.key_block(n) is None]


def seal(bucket: Bucket, number: int, pace: Pace = no_pace) -> None:
    """Read an ended segment, verify it, and write its key block."""
    rows = list(_paced(_rows(bucket.log, number), pace))
    body, count = build(_paced(sorted_rows(rows), pace))
    with bucket.sealing:
        if number in bucket.log.ended and number not in bucket.log.sealed:
            bucket.log.seal(number, body, count)


def seal_all(bucket: Bucket, pace: Pace = no_pace) -> None:
    """Seal whatever has ended."""
    for number in unsealed(bucket):
        seal(bucket, number, pace)


def _rows(log: Log, number: int) -> Iterator[Row]:
    for group in log.groups(number):
        if group.head.kind == Kind.RECORDS:
            for record in group.records():
                yield row_of(record, number)


def _paced(rows: Iterator[Row], pace: Pace) -> Iterator[Row]:
    for index, row in enumerate(rows):
        if index % SLICE == SLICE - 1:
            pace()
        yield row
