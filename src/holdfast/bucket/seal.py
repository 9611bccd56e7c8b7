"""Seal ended segments: put their key block behind their last group.

Once, and never again: whatever was sealed may be shared, and then the file is not
ours alone. Where a key block was damaged the segment is read group by group instead,
until a collector moves what is alive in it.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import chain, repeat
from operator import itemgetter
from typing import TYPE_CHECKING

from holdfast.bucket.behind import settle_end
from holdfast.bucket.checkpoint import LOOSE_PART, Pace, never, no_pace
from holdfast.bucket.noting import Noted, count_of, forget, rest, rows_at, together
from holdfast.log.columns import Run, runs
from holdfast.log.entry import ENTRY
from holdfast.log.group import Kind
from holdfast.log.keyblock import Columns, Plain, build, build_packed, build_plain, columns
from holdfast.log.ordering import in_order, paced
from holdfast.log.packs import Ordered, ordered
from holdfast.log.records import Type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from holdfast.bucket.bucket import Bucket
    from holdfast.log.log import Log

SLICE = 100  # rows that are read between two calls of pace
WAITING_SEGMENTS = 4
WAITING_ROWS = 250_000  # noted in memory, as many as an overlay has when it is absorbed
QUIET_NS = 60 * 10**9  # without a write: nobody is about to write over what is half dead
STORE = int(Type.STORE)


def unsealed(bucket: Bucket) -> list[int]:
    """Ended segments that have no key block yet."""
    log = bucket.log
    with bucket.lock:
        waiting = [n for n in log.ended if n not in log.sealed]
    log.forget_blocks()  # of a split or a collection: each is some 90 bytes a key
    return [n for n in waiting if not log.has_key_block(n) and may_seal(log, n)]


def may_seal(log: Log, number: int) -> bool:
    """Whether nobody else can have a name for the segment: it is ours, and never was sealed."""
    info = log.ended.get(number)
    return info is not None and info.origin == log.bucket and not log.looks_sealed(number)


def seal(bucket: Bucket, number: int, pace: Pace = no_pace) -> None:
    """Write an ended segment's key block, from what is noted or by reading; never a second one."""
    if not may_seal(bucket.log, number):
        return
    made = _from_noted(bucket, number, pace)
    body, count = build(read(bucket.log, number, pace)) if made is None else made
    with bucket.sealing:
        if number in bucket.log.ended and number not in bucket.log.sealed:
            settle_end(bucket)
            bucket.log.seal(number, body, count)


def may_wait(bucket: Bucket) -> bool:
    """Whether so little waits for key blocks that who writes much may go on first.

    A load of a few segments is over before any is sealed; what goes on is sealed all the same.
    """
    log, noted = bucket.log, bucket.noted
    waiting = log.ended.keys() - log.sealed
    rows = sum(len(noted.get(number, ())) for number in waiting)
    return len(waiting) < WAITING_SEGMENTS and rows < WAITING_ROWS


def _from_noted(bucket: Bucket, number: int, pace: Pace) -> tuple[bytes, int] | None:
    """A key block where nearly all rows are noted, other groups are read; None where not."""
    told = bucket.noted.get(number, Noted())
    spans, count = bucket.mixed.get(number, []), bucket.log.counts.get(number, 0)
    forget(bucket, number)
    made = _in_columns(told, count, pace) if count == count_of(told, spans) else None
    if made is not None:
        others = _listed(rows_at(bucket.log, number, spans, pace), pace)
        return build_packed(made, STORE, others, pace)
    noted = together(told, pace)
    if count != count_of(noted, spans) or not noted:
        return None
    if not spans:
        return build_plain(noted, STORE, pace)
    others = _listed(rows_at(bucket.log, number, spans, pace), pace)
    return build(_merged(runs(noted, pace), others))


def _in_columns(told: Noted, count: int, pace: Pace) -> Ordered | None:
    """The rows of packs in order, where nearly all of ``count`` records are in packs."""
    packs = told.packs()
    rows = sum(map(len, packs))
    if not packs or rows < len(told) or (count - rows) * LOOSE_PART > count:
        return None
    return ordered(packs, rows, pace)


def _merged(noted: Iterable[Run[bytes]], others: Sequence[Plain]) -> Iterator[Columns]:
    """Rows of plain stores in order, with others, in order too, where they belong."""
    at = 0
    for run in noted:
        stop = bisect_right(others, run.keys[-1], at, key=itemgetter(0))
        if stop == at:
            yield run.keys, [STORE] * len(run.keys), run.rows
        else:
            versions = [ENTRY.unpack_from(row)[0] for row in run.rows]
            own = zip(run.keys, versions, repeat(STORE), run.rows, strict=False)
            yield columns(sorted([*own, *others[at:stop]]))
        at = stop
    yield from [columns(others[at:])] if at < len(others) else ()


def read(log: Log, number: int, pace: Pace) -> Iterator[Columns]:
    """The rows of a segment, read and verified."""
    return map(columns, in_order(list(read_rows(log, number, pace)), pace, itemgetter(0)))


def _listed(rows: Iterable[Plain], pace: Pace) -> list[Plain]:
    return [row for run in in_order(list(rows), pace, itemgetter(0)) for row in run]


def seal_all(bucket: Bucket, pace: Pace = no_pace, enough: Callable[[], bool] = never) -> bool:
    """Seal whatever has ended, until there is ``enough``: asked behind each; whether all is."""
    return _seal(bucket, unsealed(bucket), pace, enough)


def seal_due(bucket: Bucket, pace: Pace, enough: Callable[[], bool]) -> bool:
    """Seal what has ended but for what is more than half dead; whether that was done.

    That is left for a collector, who drops it: what is noted of it is all that one has to know.
    There is never ``enough`` while more waits than may: its rows are memory like an overlay's,
    and under a load without end a checkpoint is always due.
    """
    numbers, live, ended = unsealed(bucket), bucket.tally().live, bucket.log.ended
    worth = [n for n in numbers if n in ended and 2 * live.get(n, 0) >= ended[n].stop]
    return _seal(bucket, worth, pace, lambda: enough() and may_wait(bucket))


def seal_rest(bucket: Bucket, pace: Pace, now_ns: int) -> None:
    """Where nobody writes: keep little in memory; after a while seal what no collector took."""
    stop, since_ns = bucket.idle_since
    if stop != bucket.log.stop or now_ns - since_ns < QUIET_NS:
        rest(bucket)
    elif seal_all(bucket, pace) and bucket.log.records:
        rest(bucket, 0)


def _seal(bucket: Bucket, numbers: list[int], pace: Pace, enough: Callable[[], bool]) -> bool:
    for number in numbers:
        seal(bucket, number, pace)
        if enough():
            return False
    return True


def read_rows(log: Log, number: int, pace: Pace) -> Iterator[Plain]:
    """The rows of an ended segment as they were written: every group of it is verified."""
    told = (group for group in log.groups(number) if group.head.kind == Kind.RECORDS)
    return paced(chain.from_iterable(group.rows(number) for group in told), SLICE, pace)
