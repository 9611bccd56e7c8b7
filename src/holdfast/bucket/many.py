"""Many values of one bucket from one look.

    keys -> rows     the overlays key by key, the view in one pass over its tree
    rows -> places   in the order of the log; near ones make a span
    spans -> values  one read each; every value is checked as a single get checks it

What is not one slice, does not verify, or would have to be waited for is ``AFAR``: whoever
wants it asks for it by itself.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final

from crc32c import crc32c

from holdfast.bucket.read import NOW_BYTES
from holdfast.errors import Corrupt, Moved, StorageFailed
from holdfast.log.entry import ENTRY, SPECIAL
from holdfast.log.records import CHECK, FOLD

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket

GAP_BYTES: Final = 4 << 10  # are read for nothing rather than in two calls
SPAN_BYTES: Final = NOW_BYTES


class Without(Enum):
    """Why a key has no value here."""

    ABSENT = "there is no such object"
    AFAR = "it has to be asked for by itself"


ABSENT, AFAR = Without.ABSENT, Without.AFAR
Value = bytes | Without
Read = Callable[[int, int, int], tuple[bytes, int] | None]


# Segment, offset, where it stops, version, and the number of its key: as they are sorted.
Place = tuple[int, int, int, int, int]


def load_many(
    bucket: Bucket, keys: Sequence[bytes], most_bytes: int, *, waits: bool
) -> list[Value] | None:
    """The values of keys that lie in a bucket's range.

    None where they are over ``most_bytes``, or the index would have to be waited for.

    Args:
        bucket: is asked.
        keys: composite ones, in any order, any of them more than once.
        most_bytes: of all values together.
        waits: for the disk; else what is not in memory is ``AFAR``.

    Raises:
        Moved: a key is not in the range.
    """
    low, high = min(keys), max(keys)
    _hold_range(bucket, low, high)
    if bucket.cold and not (waits or bucket.state.holds(keys)):
        return None
    rows = _rows(bucket, keys)
    if None in rows:  # the range may have been cut since
        _hold_range(bucket, low, high)
    found: list[Value] = [ABSENT] * len(keys)
    places, size = _places(rows, found, bucket.time.now_ns())
    if size > most_bytes:
        return None
    log = bucket.log
    read: Read = log.read_value if waits else log.read_now
    for span in _spans(sorted(places)):
        if len(span) == 1:  # as all are that lie scattered
            _fill_one(found, keys, span[0], read)
        else:
            _fill(found, keys, span, read)
    return found


def _hold_range(bucket: Bucket, low: bytes, high: bytes) -> None:
    if not bucket.start <= low or not high < bucket.stop:
        raise Moved(bucket=bucket.id)


def _rows(bucket: Bucket, keys: Sequence[bytes]) -> list[bytes | None]:
    """The index entries of keys; asked again where the state was derived anew."""
    while True:
        state = bucket.state
        rows = state.entries(keys)
        if None not in rows or bucket.state is state:
            return rows


def _places(
    rows: Sequence[bytes | None], found: list[Value], now_ns: int
) -> tuple[list[Place], int]:
    """Where the values of rows lie that are one slice, and the bytes of all that live.

    What lives and is not one slice is noted in ``found``.
    """
    places: list[Place] = []
    total = 0
    unpack = ENTRY.unpack_from
    for number, row in enumerate(rows):
        if not row:
            continue
        version, _, expires, size, _, flags, _, segment, offset = unpack(row)
        if expires and expires <= now_ns:
            continue
        total += size
        if flags & SPECIAL or size > NOW_BYTES:
            found[number] = AFAR
        else:
            places.append((segment, offset, offset + size, version, number))
    return places, total


def _spans(places: Sequence[Place]) -> Iterator[list[Place]]:
    """Ascending places, cut where one read would bring too much, or too much for nothing."""
    span: list[Place] = []
    start = stop = within = 0
    for place in places:
        segment, offset, end, _, _ = place
        if segment == within and offset - stop <= GAP_BYTES and end - start <= SPAN_BYTES and span:
            span.append(place)
            stop = max(stop, end)
        else:
            if span:
                yield span
            span, within, start, stop = [place], segment, offset, end
    if span:
        yield span


def _fill_one(found: list[Value], keys: Sequence[bytes], place: Place, read: Read) -> None:
    """Read one value, and note it if it verifies."""
    segment, offset, end, version, number = place
    found[number] = AFAR
    try:
        told = read(segment, offset, end - offset)
    except (Corrupt, StorageFailed, struct.error):
        return  # whoever asks for it by itself is told
    if told is None:
        return
    value, check = told
    folded = version if version <= FOLD else (version ^ (version >> 32)) & FOLD
    if crc32c(keys[number], crc32c(value) ^ folded) == check:
        found[number] = value


def _fill(found: list[Value], keys: Sequence[bytes], span: list[Place], read: Read) -> None:
    """Read a span, and note each value that verifies."""
    start, stop = span[0][1], max(place[2] for place in span)
    for place in span:
        found[place[4]] = AFAR
    try:
        told = read(span[0][0], start, stop - start)
    except (Corrupt, StorageFailed, struct.error):
        return  # whoever asks for each by itself is told
    if told is None or len(told[0]) != stop - start:
        return
    data, last = told
    check_at = CHECK.unpack_from
    for _, offset, end, version, number in span:
        at = end - start
        value = data[offset - start : at]
        check = last if end == stop else check_at(data, at)[0]
        folded = version if version <= FOLD else (version ^ (version >> 32)) & FOLD
        if crc32c(keys[number], crc32c(value) ^ folded) == check:
            found[number] = value
