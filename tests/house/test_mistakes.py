"""Each mistake that docs/MISTAKES.md lists is guarded by a test that exists, or says which."""

from __future__ import annotations

import re

from tests.house.source import ROOT, is_a_test

PAGE = ROOT / "docs" / "MISTAKES.md"
ROW = re.compile(r"^\| (?!what went wrong|---)(.+) \| (.+) \|$", re.MULTILINE)
NAMED = re.compile(r"`([^`]+\.py::\w+(?:::\w+)*)`")


def test_every_mistake_names_tests_that_are_there() -> None:
    rows = ROW.findall(PAGE.read_text())
    assert rows
    assert [told for told, guards in rows if not NAMED.findall(guards)] == []
    named = [test for _, guards in rows for test in NAMED.findall(guards)]
    assert [test for test in named if not is_a_test(test)] == []


def test_no_mistake_is_told_twice() -> None:
    told = [what for what, _ in ROW.findall(PAGE.read_text())]
    assert len(told) == len(set(told))


def test_a_test_that_is_not_there_is_noticed() -> None:
    assert not is_a_test("house/test_mistakes.py::test_of_nothing")
    assert not is_a_test("house/test_nothing.py::test_no_mistake_is_told_twice")
    assert is_a_test("house/test_mistakes.py::test_no_mistake_is_told_twice")
