"""The list of mutations fits the source: what keeps each rule stands where it is said to stand."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.house.source import PACKAGE, is_a_test
from tests.mutations.run import FILES, mutations


@pytest.mark.parametrize("file", FILES)
def test_every_mutation_can_be_made(file: str) -> None:
    """If it fails: say in tests/mutations what keeps the rule now, and what would break it."""
    wrong = [
        f"{name}: {mutation.what}"
        for name, mutation in mutations([file])
        if mutation.new == mutation.old
        or (PACKAGE / mutation.file).read_text().count(mutation.old) != 1
    ]
    assert wrong == []


@pytest.mark.parametrize("file", FILES)
def test_the_tests_that_must_notice_it_are_there(file: str) -> None:
    listed = [(name, test) for name, mutation in mutations([file]) for test in mutation.tests]
    assert listed
    assert [pair for pair in listed if not is_a_test(pair[1])] == []


def test_no_two_mutations_are_called_the_same() -> None:
    called = Counter(mutation.what for _, mutation in mutations([]))
    assert [what for what, times in called.items() if times > 1] == []
