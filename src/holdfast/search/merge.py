"""Runs become one: the documents that count, under new numbers in the order of their keys."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

import numpy as np

from holdfast.search.build import Numbers, assemble
from holdfast.search.lists import encode, side_by_side
from holdfast.search.run import Array, Posting, Run
from holdfast.search.shelf import Part, Shelf

SLICE: Final = 8  # terms between two looks at the clock
NONE: Final = 0xFFFFFFFF


def merged(parts: Sequence[Part]) -> Iterator[Run | None]:
    """Make one run of several, in slices: yields None between them, the run at the end.

    What is hidden meanwhile is hidden in the runs that were merged: whoever takes the new
    one hides it there too.
    """
    keys, numbers = _order(parts)
    yield None
    rows: list[tuple[bytes, bytes]] = []
    streams = [_terms(part, at) for at, part in enumerate(parts)]
    for count, (term, found) in enumerate(groupby(heapq.merge(*streams), key=itemgetter(0))):
        lists = [(at, parts[at].run.posting_at(place)) for _, at, place in found]
        row = _joined(lists, numbers)
        if row is not None:
            rows.append((term, row))
        if count % SLICE == SLICE - 1:
            yield None
    lengths = np.zeros(len(keys), dtype=np.uint32)
    for part, renumbered in zip(parts, numbers, strict=True):
        kept = renumbered != NONE
        lengths[renumbered[kept]] = part.run.lengths[kept]
    yield assemble(
        (keys, lengths), side_by_side(rows), _expiries(parts, numbers), _values(parts, numbers)
    )


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
    every = sorted(
        (key, at, document)
        for at, part in enumerate(parts)
        for document, key in enumerate(part.run.keys)
        if document not in part.hidden
    )
    numbers = [np.full(part.run.count, NONE, dtype=np.uint32) for part in parts]
    for number, (_, at, document) in enumerate(every):
        numbers[at][document] = number
    return [key for key, _, _ in every], numbers


def _terms(part: Part, at: int) -> Iterator[tuple[bytes, int, int]]:
    for place, term in enumerate(part.run.terms):
        yield term, at, place


def _joined(lists: Sequence[tuple[int, Posting]], numbers: Sequence[Numbers]) -> bytes | None:
    """One posting list of several; None where nothing of it counts."""
    renumbered = [_renumbered(posting, numbers[at]) for at, posting in lists]
    documents = np.concatenate([one[0] for one in renumbered])
    if not len(documents):
        return None
    counts = np.concatenate([one[1] for one in renumbered])
    told = [one[2] for one in renumbered if one[2] is not None]
    positions = np.concatenate(told) if told else None
    if len(renumbered) > 1 and (documents[1:] < documents[:-1]).any():
        order = np.argsort(documents, kind="stable")
        if positions is not None:
            owners = np.repeat(documents, counts)
            positions = positions[np.argsort(owners, kind="stable")]
        documents, counts = documents[order], counts[order]
    return encode(documents, counts, positions)


def _renumbered(posting: Posting, numbers: Numbers) -> tuple[Numbers, Numbers, Array | None]:
    """Documents under their new numbers, counts and positions of those that count."""
    documents = numbers[posting.documents]
    counts = np.ones(len(documents), np.uint32) if posting.counts is None else posting.counts
    counts = counts.astype(np.uint32)
    positions = None if posting.positions is None else posting.positions.astype(np.uint32)
    kept = documents != NONE
    if kept.all():
        return documents, counts, positions
    if positions is not None:
        positions = positions[np.repeat(kept, counts)]
    return documents[kept], counts[kept], positions


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
