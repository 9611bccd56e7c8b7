"""Posting lists that are made all at once are those that are made one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.search.lists import Lists, encode, lists_of, side_by_side

Occurrence = tuple[int, int, int]
EDGES = st.sampled_from([0, 1, 254, 255, 256, 65_535, 65_536, 70_000])
OCCURRENCES = st.one_of(
    st.sets(st.tuples(st.integers(1, 6), EDGES, EDGES), min_size=1, max_size=60),
    st.sets(st.tuples(st.integers(1, 3), st.integers(0, 90_000), EDGES), min_size=40, max_size=90),
    st.builds(
        lambda count, step: {
            (term, at * step, at) for term in (1, 2) for at in range(count + term)
        },
        st.integers(251, 255),
        st.sampled_from([1, 250, 260]),
    ),
)


@settings(max_examples=150, deadline=None)
@given(found=OCCURRENCES, marks=st.integers(0, 6))
def test_lists_made_together_are_lists_made_alone(found: set[Occurrence], marks: int) -> None:
    names = [b"", *(b"\x02tag" if at <= marks else b"word" for at in range(1, 7))]
    names = [name + b"%d" % at for at, name in enumerate(names)]
    if marks:  # what has no position stands once in a document
        found = {(t, o, 0) if t <= marks else (t, o, p) for t, o, p in found}
    rows = sorted(found)
    term, owner, place = (np.array(column, dtype=np.uint32) for column in zip(*rows, strict=True))
    (made,) = [one for one in lists_of(names, term, owner, place) if one is not None]
    assert made == one_by_one(names, rows)


def one_by_one(names: list[bytes], rows: list[Occurrence]) -> Lists:
    told = []
    for number in sorted({term for term, _, _ in rows}):
        mine = [(owner, place) for term, owner, place in rows if term == number]
        documents, counts = np.unique([owner for owner, _ in mine], return_counts=True)
        positions = np.array([place for _, place in mine], dtype=np.uint32)
        placed = None if names[number][:1] == b"\x02" else positions
        row = encode(documents.astype(np.uint32), counts.astype(np.uint32), placed)
        told.append((names[number], row))
    return side_by_side(told)


def test_of_nothing_there_are_no_lists() -> None:
    none = np.empty(0, dtype=np.uint32)
    assert list(lists_of([b""], none, none, none)) == [Lists([], bytes(8), b"")]
