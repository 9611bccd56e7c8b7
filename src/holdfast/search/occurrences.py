"""Posting lists of a run as occurrences again, many lists at once (``lists.py`` the other way)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from holdfast.search.lists import HEAD_BYTES, IS_LITTLE, Counts, Numbers, within
from holdfast.search.run import BITMAP, WIDE, Run

Bytes = NDArray[np.uint8]
Occurrences = tuple[Numbers, Numbers, Numbers]  # of each its term's place, document, position
U32_BYTES: Final = 4
WIDTHS: Final = np.array([0, 1, 2, 4])  # bytes of a number, by what a list's head says


def occurrences(run: Run, low: int, high: int) -> Occurrences:
    """What the lists of these places say, by term, then document, then position."""
    begins = np.frombuffer(run.lists_at[low : high + 1], dtype=np.uint64).astype(np.int64)
    data = np.frombuffer(run.lists[begins[0] : begins[-1]], dtype=np.uint8)
    at = begins[:-1] - begins[0]
    kind = data[at]
    count = data[at + 1].astype(np.int64)
    at = at + HEAD_BYTES
    long = np.flatnonzero(count == WIDE)
    count[long] = _numbers(data, at[long], np.full(len(long), 1), np.full(len(long), U32_BYTES))
    at[long] += U32_BYTES
    documents, at = _documents(data, at, count, kind & 3)
    often, at = _told(data, at, count, WIDTHS[kind >> 2 & 3])
    often = np.ones(int(count.sum()), dtype=np.uint32) if often is None else np.maximum(often, 1)
    total = np.add.reduceat(often.astype(np.int64), np.cumsum(count) - count)
    places, _ = _told(data, at, total, WIDTHS[kind >> 4 & 3])
    if places is None:
        places = np.zeros(int(total.sum()), dtype=np.uint32)
    term = np.repeat(np.arange(low, high, dtype=np.uint32), total)
    return term, np.repeat(documents, often), places


def _documents(
    data: Bytes, at: Counts, count: Counts, code: NDArray[Any]
) -> tuple[Numbers, Counts]:
    """The documents of every list, and where what follows them begins."""
    is_bitmap = code == BITMAP
    widths = np.where(is_bitmap, 0, np.where(code == 1, 4, 2))
    found, after = _told(data, at, count, widths)
    documents = np.zeros(int(count.sum()), dtype=np.uint32) if found is None else found
    ends = np.cumsum(count)
    for place in np.flatnonzero(is_bitmap).tolist():
        begin = int(at[place]) + U32_BYTES
        size = int(data[begin - U32_BYTES : begin].view(np.uint32)[0])
        bits = BitMap.deserialize(data[begin : begin + size].tobytes())
        documents[ends[place] - count[place] : ends[place]] = bits.to_array()
        after[place] = begin + size
    return documents, after


def _told(
    data: Bytes, at: Counts, count: Counts, widths: NDArray[Any]
) -> tuple[Numbers | None, Counts]:
    """So many numbers from each place on, 0 where they have no width; where they end.

    None where none has any.
    """
    after = at + count * widths
    told = np.flatnonzero(widths)
    if not len(told):
        return None, after
    if len(told) == len(widths):
        return _numbers(data, at, count, widths), after
    found = np.zeros(int(count.sum()), dtype=np.uint32)
    found[np.repeat(widths > 0, count)] = _numbers(data, at[told], count[told], widths[told])
    return found, after


def _numbers(data: Bytes, at: Counts, count: Counts, widths: NDArray[Any]) -> Numbers:
    """So many numbers of so many bytes from each place on."""
    width = np.repeat(widths, count)
    where = np.repeat(at, count) + within(count) * width
    if not IS_LITTLE:
        where += width - 1
    found: Numbers = data[where].astype(np.uint32)
    for byte in range(1, int(widths.max(initial=0))):
        wide = np.flatnonzero(width > byte)
        higher = where[wide] + (byte if IS_LITTLE else -byte)
        found[wide] |= data[higher].astype(np.uint32) << np.uint32(8 * byte)
    return found
