"""The first documents of several common words are found among the first of a run, or behind."""

from __future__ import annotations

import pytest

from holdfast.search.analysis import analyzer
from holdfast.search.build import Builder, Document
from holdfast.search.matching import first_of_all
from holdfast.search.query import Wanted
from holdfast.search.run import NEAR, Run

COUNT = NEAR[-1] + 2_000
EVERY = {"even": 2, "third": 3, "fifth": 5, "sixtieth": 60, "rare": 5_000}


def holds(word: str, document: int) -> bool:
    if word == "late":  # common, and only where no window looks
        return document > NEAR[-1]
    return document % EVERY[word] == 0


@pytest.fixture(scope="module")
def run() -> Run:
    builder, plain = Builder(), analyzer("none")
    for document in range(COUNT):
        words = [word for word in (*EVERY, "late") if holds(word, document)]
        builder.add(b"%07d" % document, Document(words), plain)
    return builder.finish()


@pytest.mark.parametrize(
    "terms",
    [
        ("even", "third"),
        ("third", "third"),
        ("sixtieth", "fifth"),
        ("even", "rare"),
        ("even", "late"),
        ("late", "sixtieth"),
        ("even", "third", "fifth"),
        ("even", "unknown"),
        ("even",),
    ],
)
def test_all_of_several_words_are_counted_and_the_first_told(
    run: Run, terms: tuple[str, ...]
) -> None:
    known = (*EVERY, "late")
    wanted = [
        number
        for number in range(COUNT)
        if all(term in known and holds(term, number) for term in terms)
    ]
    for most in (0, 1, 11, 101, 1_001, COUNT):
        for _ in range(2):  # found out, and known
            total, first = first_of_all(Wanted(terms, most, f"{most} {terms}"), run)
            assert (total, list(first)) == (len(wanted), wanted[:most])
