"""Runs become one: the documents that count, under new numbers in the order of their keys."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from holdfast.search.build import Numbers, assemble
from holdfast.search.lists import Lists, lists_of
from holdfast.search.occurrences import Occurrences, occurrences
from holdfast.search.run import Run
from holdfast.search.shelf import Part, Shelf

CHUNK_BYTES: Final = 1 << 17  # of one run's lists that are put beside those of others at once
NONE: Final = 0xFFFFFFFF


def merged(parts: Sequence[Part]) -> Iterator[Run | None]:
    """Make one run of several, in slices: yields None between them, the run at the end.

    What is hidden meanwhile is hidden in the runs that were merged: whoever takes the new
    one hides it there too.
    """
    keys, numbers = _order(parts)
    yield None
    terms: list[bytes] = []
    begins = [0]
    pieces: list[bytes] = []
    for found in _lists(parts, numbers):
        if found is not None:
            terms += found.terms
            begins += (np.frombuffer(found.begins, dtype=np.uint64)[1:] + begins[-1]).tolist()
            pieces.append(found.data)
        yield None
    lists = Lists(terms, array("Q", begins).tobytes(), b"".join(pieces))
    lengths = np.zeros(len(keys), dtype=np.uint32)
    for part, renumbered in zip(parts, numbers, strict=True):
        kept = renumbered != NONE
        lengths[renumbered[kept]] = part.run.lengths[kept]
    yield assemble((keys, lengths), lists, _expiries(parts, numbers), _values(parts, numbers))


def merge_on(shelf: Shelf, old: list[Part]) -> Iterator[None]:
    """Make one run of several on their shelf, in slices; searches may go on between them."""
    before = [part.copy() for part in old]
    for run in merged(before):
        if run is None:
            yield
            continue
        made = Part(run)
        for part, then in zip(old, before, strict=True):
            for document in part.hidden - then.hidden:
                at, found = made.find(part.run.keys[document])
                if found:
                    made.hide(at)
        others = [part for part in shelf.parts if part not in old]
        shelf.parts = [*others, made] if made.count else others


def _order(parts: Sequence[Part]) -> tuple[list[bytes], list[Numbers]]:
    """All keys that count, ascending, and by part the new number of each document."""
    keys: list[bytes] = []
    counting = []
    for part in parts:
        kept = np.ones(part.run.count, dtype=bool)
        kept[part.hidden.to_array()] = False
        documents = np.flatnonzero(kept)
        every = part.run.keys[:]
        keys += [every[document] for document in documents.tolist()] if part.hidden else every
        counting.append(documents)
    order = sorted(range(len(keys)), key=keys.__getitem__)
    ranks = np.empty(len(keys), dtype=np.uint32)
    ranks[order] = np.arange(len(keys), dtype=np.uint32)
    numbers, first = [], 0
    for part, documents in zip(parts, counting, strict=True):
        renumbered = np.full(part.run.count, NONE, dtype=np.uint32)
        renumbered[documents] = ranks[first : first + len(documents)]
        numbers.append(renumbered)
        first += len(documents)
    return [keys[at] for at in order], numbers


def _lists(parts: Sequence[Part], numbers: Sequence[Numbers]) -> Iterator[Lists | None]:
    """The lists of all terms, ascending, so many at a time; None between slices of work."""
    marks = sorted({mark for part in parts for mark in _marks(part.run)})
    yield None
    low = [0] * len(parts)
    for mark in (*marks, None):
        high = [
            len(terms) if mark is None else bisect_left(terms, mark)
            for terms in (part.run.terms for part in parts)
        ]
        yield from _joined(parts, numbers, list(zip(low, high, strict=True)))
        low = high


def _marks(run: Run) -> Iterator[bytes]:
    """Terms with about so many bytes of lists between them."""
    ends = np.frombuffer(run.lists_at, dtype=np.uint64)
    steps = np.arange(CHUNK_BYTES, int(ends[-1]), CHUNK_BYTES, dtype=np.uint64)
    for place in np.unique(np.searchsorted(ends, steps)).tolist():
        if place < len(run.terms):
            yield run.terms[place]


def _joined(
    parts: Sequence[Part], numbers: Sequence[Numbers], spans: Sequence[tuple[int, int]]
) -> Iterator[Lists | None]:
    """The lists of a range of terms, which stands in each run in a span of places."""
    rows = [part.run.terms[low:high] for part, (low, high) in zip(parts, spans, strict=True)]
    names = sorted({name for row in rows for name in row})
    number = {name: at for at, name in enumerate(names)}
    columns: list[Occurrences] = []
    for part, renumbered, row, (low, high) in zip(parts, numbers, rows, spans, strict=True):
        if low < high:
            term, owner, place = occurrences(part.run, low, high)
            owner = renumbered[owner]
            kept = owner != NONE
            ranks = np.array([number[name] for name in row], dtype=np.uint32)
            columns.append((ranks[term - low][kept], owner[kept], place[kept]))
            yield None
    if not columns:
        return
    term, owner, place = (np.concatenate(column) for column in zip(*columns, strict=True))
    if len(columns) > 1:
        order = np.argsort(term.astype(np.uint64) << 32 | owner, kind="stable")
        term, owner, place = term[order], owner[order], place[order]
    yield None
    yield from lists_of(names, term, owner, place)


def _expiries(parts: Sequence[Part], numbers: Sequence[Numbers]) -> list[tuple[int, int]]:
    return sorted(
        (time, int(renumbered[document]))
        for part, renumbered in zip(parts, numbers, strict=True)
        for time, document in zip(part.run.expires_ns, part.run.expiring, strict=True)
        if renumbered[document] != NONE
    )


def _values(
    parts: Sequence[Part], numbers: Sequence[Numbers]
) -> dict[str, list[tuple[float, int]]]:
    found: dict[str, list[tuple[float, int]]] = {}
    for part, renumbered in zip(parts, numbers, strict=True):
        for field, (values, documents) in part.run.numbers().items():
            kept = renumbered[documents]
            pairs = zip(values.tolist(), kept.tolist(), strict=True)
            found.setdefault(field, []).extend(pair for pair in pairs if pair[1] != NONE)
    return {field: sorted(pairs) for field, pairs in found.items()}
