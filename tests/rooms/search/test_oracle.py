"""What an index answers is what a look at every document answers, in the same order."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast.errors import InvalidValue
from tests.rooms.search.oracle import Oracle

WORDS = [
    "fox",
    "foxes",
    "quick",
    "the",
    "dog",
    "lazy",
    "running",
    "run",
    "\u6771\u4eac\u90fd",
    "\u4eac\u90fd",
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
KEYS = st.sampled_from([f"k{number:02}" for number in range(16)])
ONE = st.one_of(
    st.sampled_from([*WORDS, "qui*", "fo*", "\u4eac", "\u6771*"]),
    st.lists(st.sampled_from(WORDS), min_size=2, max_size=3).map(
        lambda some: f'"{" ".join(some)}"'
    ),
)
QUERIES = st.recursive(
    ONE,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda two: f"({two[0]} {two[1]})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]} OR {two[1]})"),
        inner.map(lambda one: f"(NOT {one})"),
    ),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(st.dictionaries(KEYS, TEXTS, max_size=6), max_size=4),
    gone=st.lists(KEYS, max_size=3),
    queries=st.lists(QUERIES, min_size=1, max_size=4),
)
def test_an_index_answers_what_a_scan_answers(
    batches: list[dict[str, str]], gone: list[str], queries: list[str]
) -> None:
    texts: dict[str, str] = {}
    with holdfast.open(":memory:", upkeep=False) as store:
        acme = store.namespace("acme")
        acme.index_rules([holdfast.IndexRule()])
        for batch in batches:
            acme.put_many({key: text.encode() for key, text in batch.items()})
            texts |= batch
            acme.search("fox")
        for key in gone:
            acme.delete(key, missing_ok=True)
            texts.pop(key, None)
        oracle = Oracle(texts)
        for query in queries:
            by_key = acme.search(query, rank="key", limit=100)
            assert [hit.key for hit in by_key.hits] == oracle.keys(query)
            assert by_key.total == len(by_key.hits)
            best = [hit.key for hit in acme.search(query, limit=100).hits]
            assert best == oracle.best(query)


@pytest.mark.parametrize("rank", ["bm25", "key"])
def test_pages_are_the_whole_answer(rank: str) -> None:
    with holdfast.open(":memory:", upkeep=False) as store:
        acme = store.namespace("acme")
        acme.index_rules([holdfast.IndexRule()])
        acme.put_many({f"k{n:03}": b"fox " * (n % 3 + 1) + b"dog " * (n % 5) for n in range(100)})
        whole = [hit.key for hit in acme.search("fox", rank=rank, limit=1_000).hits]  # type: ignore[arg-type]
        paged: list[str] = []
        after = None
        while True:
            page = acme.search("fox", rank=rank, limit=7, after=after)  # type: ignore[arg-type]
            assert page.total == 100
            paged += [hit.key for hit in page.hits]
            after = page.next
            if after is None:
                break
        assert paged == whole


def test_what_is_no_list_of_tags_is_refused() -> None:
    with holdfast.open(":memory:") as store:
        for wrong in (True, "kind", 7):
            with pytest.raises(InvalidValue, match="facets"):
                store.namespace("acme").search("fox", facets=cast("list[str]", wrong))
