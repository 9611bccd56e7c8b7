"""Runs that become one are the run that is made of their documents at once."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.search import merge
from holdfast.search.analysis import analyzer
from holdfast.search.build import END, FIELD, MARK, Builder, Document
from holdfast.search.run import NEAR, Run
from holdfast.search.shelf import Part

Told = dict[bytes, Document]
COMMON = 70_000  # documents: their numbers need more than two bytes


def run_of(told: Told) -> Run:
    builder, plain = Builder(), analyzer("none")
    for key, document in told.items():
        builder.add(key, document, plain)
    return builder.finish()


def merged(parts: Sequence[Part]) -> Run:
    (run,) = [one for one in merge.merged(parts) if one is not None]
    return run


WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=6)
DOCUMENTS = st.builds(
    Document,
    st.one_of(WORDS, st.builds(lambda words, times: words * times, WORDS, st.just(120))),
    st.lists(
        st.tuples(st.just(f"{FIELD}title{END}a"), st.sampled_from([0, 254, 255, 65_535, 65_536])),
        max_size=3,
        unique=True,
    ).map(sorted),
    st.lists(st.sampled_from([f"{MARK}tag{END}x=1", f"{MARK}type{END}text/plain"]), unique=True),
    st.lists(st.tuples(st.just("pages"), st.floats(0, 9))),
    st.sampled_from([0, 0, 5, 7]),
)
KEYS = st.integers(0, 40).map(b"%02d".__mod__)


@settings(max_examples=30, deadline=None)
@given(runs=st.lists(st.dictionaries(KEYS, DOCUMENTS, max_size=20), min_size=1, max_size=4))
def test_runs_that_hide_documents_become_one(runs: list[Told]) -> None:
    parts, left = [], {}
    for at, told in enumerate(runs):
        part = Part(run_of(told))
        newer = {key for later in runs[at + 1 :] for key in later}
        for document in range(part.run.count):
            if part.run.keys[document] in newer:
                part.hide(document)
        parts.append(part)
        left.update(told)
    assert merged(parts).data == run_of(left).data


def test_lists_longer_than_a_slice_and_of_many_documents() -> None:
    assert max(1 << 16, NEAR[-1]) < COMMON
    chance = random.Random(3)
    told = {
        b"%06d" % number: Document(
            ["every", *(f"w{chance.randrange(3_000)}" for _ in range(3)), "every"][number % 3 :]
        )
        for number in range(COMMON)
    }
    halves = [
        {key: one for key, one in told.items() if chance.random() < share} for share in (0.1, 0.6)
    ]
    rest = {key: one for key, one in told.items() if not any(key in half for half in halves)}
    second = {key: one for key, one in halves[1].items() if key not in halves[0]}
    parts = [Part(run_of(some)) for some in (halves[0], second, rest)]
    whole = run_of(told)
    assert len(whole.lists) > 4 * merge.CHUNK_BYTES
    assert merged(parts).data == whole.data
