"""What is kept in memory of a segment's records, so that nobody has to read all of it again.

    noted     of plain stores the last row of each key, as groups are published (plain.py); in
              several packs and dicts, of which a later one knows better
    mixed     where the groups lie that hold anything else: these are read

Together they are a segment's key block, where no record is missing among them (seal.py). And
they are all that a collector needs, however often keys were: what was there before is dead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from holdfast.bucket.checkpoint import Pace
from holdfast.log.entry import ENTRY, VERSION
from holdfast.log.group import Group, Kind
from holdfast.log.keyblock import Plain
from holdfast.log.ordering import paced
from holdfast.log.packs import Pack
from holdfast.log.records import Type

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.plain import Span
    from holdfast.log.log import Log

SLICE: Final = 100  # rows that are read between two calls of pace
TOGETHER: Final = 500  # rows that are put together between two
FEW: Final = 10_000  # rows of a segment that are kept where nobody writes
LITTLE: Final = 1_000  # records of a recovered segment that are looked at once more
STORE: Final = int(Type.STORE)


class Noted:
    """Rows of one segment as they came: some that are put together later, and the last ones."""

    __slots__ = ("_apart", "last", "parts")

    def __init__(self, last: dict[bytes, bytes] | None = None) -> None:
        self.parts: list[dict[bytes, bytes] | Pack] = []
        self.last: dict[bytes, bytes] = {} if last is None else last
        self._apart = 0  # rows in parts

    def __len__(self) -> int:
        """How many rows are kept."""
        return self._apart + len(self.last)

    def append(self, rows: dict[bytes, bytes] | Pack) -> None:
        """Note the rows of a group apart from those before."""
        if self.last:
            self.parts.append(self.last)
            self._apart += len(self.last)
            self.last = {}
        self.parts.append(rows)
        self._apart += len(rows)

    def packs(self) -> list[Pack]:
        """Those that are packs."""
        return [rows for rows in self.parts if isinstance(rows, Pack)]


def rows_at(log: Log, number: int, spans: Sequence[Span], pace: Pace) -> Iterator[Plain]:
    """The rows of some groups of a segment, read and verified."""
    for start, stop, _ in spans:
        for group in log.groups_at(number, start, stop):
            yield from paced(group.rows(number), SLICE, pace)
            pace()


def together(noted: Noted, pace: Pace) -> dict[bytes, bytes]:
    """The last row of each key of an ended segment: nothing is noted of it any more."""
    if not noted.parts:
        return noted.last
    told = chain.from_iterable(rows.items() for rows in (*noted.parts, noted.last))
    rows: dict[bytes, bytes] = {}
    while some := list(islice(told, TOGETHER)):
        rows.update(some)
        pace()
    return rows


def count_of(noted: Sized, spans: Sequence[Span]) -> int:
    """How many records are noted, and lie in groups that are read."""
    return len(noted) + sum(records for _, _, records in spans)


def rows_of(bucket: Bucket, number: int, pace: Pace) -> Iterator[Plain] | None:
    """Rows among which are all that live, and all that ended something, of an ended segment.

    They are in no order. None where nobody knows: too much was written, or some was cut back.
    """
    spans = bucket.mixed.get(number, [])
    if number not in bucket.noted:
        return None
    noted = together(bucket.noted[number], pace)
    if bucket.log.counts.get(number, -1) < count_of(noted, spans):
        return None
    plain = ((key, VERSION.unpack_from(row)[0], STORE, row) for key, row in noted.items())
    return chain(plain, rows_at(bucket.log, number, spans, pace))


def resume(bucket: Bucket, groups: Sequence[Group]) -> None:
    """Go on with a segment that was recovered, if little is in it, as if it had been published."""
    told = [group for group in groups if group.head.kind == Kind.RECORDS]
    if len(told) > LITTLE or sum(group.head.records for group in told) > LITTLE:
        return
    noted: dict[bytes, bytes] = {}
    spans: list[Span] = []
    number = bucket.log.number
    count = 0
    for group in told:
        rows = list(group.rows(number))
        if all(_is_plain(kind, row) for _, _, kind, row in rows):
            noted.update((key, row) for key, _, _, row in rows)
            count += len(rows)
        else:
            spans.append((group.head.start, group.head.stop, group.head.records))
            count += group.head.records
    bucket.noted[number], bucket.mixed[number] = Noted(noted), spans
    bucket.log.records = count


def _is_plain(kind: int, row: bytes) -> bool:
    _, _, expires, _, _, flags, attrs, _, _ = ENTRY.unpack_from(row)
    return kind == STORE and not (expires or flags or attrs)


def forget(bucket: Bucket, number: int) -> None:
    """Keep nothing of a segment any more."""
    bucket.noted.pop(number, None)
    bucket.mixed.pop(number, None)
    bucket.log.counts.pop(number, None)


def rest(bucket: Bucket, most_rows: int = FEW) -> None:
    """Keep no more than a few rows of a segment: nobody writes to the bucket."""
    for number, noted in list(bucket.noted.items()):
        if len(noted) > most_rows:
            forget(bucket, number)
