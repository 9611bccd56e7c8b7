"""Every error survives the wire, and no stranger's document does more than raise."""

from __future__ import annotations

import errno
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import (
    Correctable,
    HoldfastError,
    InvalidKey,
    InvalidValue,
    Moved,
    NotFound,
    OutcomeUnknown,
    StorageFailed,
    Untrusted,
    Waitable,
)
from holdfast.values import Place
from holdfast.wire.problems import KINDS, STATUS, error_of, problem_of, status_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
FACTS = st.dictionaries(
    st.sampled_from(["key", "reason", "limit", "asked", "index"]),
    st.integers(-(2**63), 2**64 - 1) | st.text(st.characters(codec="utf-8")) | st.booleans(),
)


def over_the_wire(error: HoldfastError) -> HoldfastError:
    return error_of(
        msgspec.json.decode(msgspec.json.encode(problem_of(error)), type=dict[str, Any])
    )


@given(st.sampled_from(sorted(KINDS)), FACTS)
def test_an_error_arrives_as_it_left(code: str, facts: dict[str, Any]) -> None:
    error = KINDS[code](**facts)
    copy = over_the_wire(error)
    assert type(copy) is type(error)
    assert copy.facts == (facts | {"place": None} if code == "moved" else facts)
    assert str(copy)


def test_every_error_has_a_status() -> None:
    assert set(STATUS) == set(KINDS)
    assert all(400 <= status < 600 for status in STATUS.values())


def test_what_the_status_depends_on() -> None:
    assert status_of(InvalidValue(argument="request")) == 400
    assert status_of(InvalidValue(argument="range")) == 416
    assert status_of(StorageFailed(errno=errno.ENOSPC)) == 507
    assert status_of(StorageFailed(errno="ENOSPC")) == 507  # as the log and the reserve say it
    assert status_of(StorageFailed(errno=errno.EIO)) == 500
    assert status_of(HoldfastError()) == 500


def test_a_moved_answer_names_the_place() -> None:
    place = Place("7", ("acme", "a"), None, "http://10.0.0.1:7070", 3)
    copy = over_the_wire(Moved(bucket="1", place=place))
    assert copy.place == place


def test_not_found_stays_a_key_error() -> None:
    with pytest.raises(KeyError):
        raise over_the_wire(NotFound(key="a"))


def test_bytes_are_not_told_and_broken_text_is_told_escaped() -> None:
    error = InvalidKey(key="\ud800", data=b"secret", view=memoryview(b"secret"), deep=[b"secret"])
    told = problem_of(error)
    assert told["facts"] == {"key": "\\ud800", "deep": []}
    assert b"secret" not in msgspec.json.encode(told)


def test_a_fact_is_bounded_however_large_it_is() -> None:
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    error = InvalidValue(argument="x" * 10**6, many=list(range(10**5)), deep=deep, big=1 << 999)
    assert len(msgspec.json.encode(problem_of(error))) < 20_000


@given(st.dictionaries(st.sampled_from(["code", "status", "effect", "facts", "title"]), JSON))
def test_any_document_becomes_an_error(document: dict[str, Any]) -> None:
    error = error_of(document)
    assert isinstance(error, HoldfastError)
    assert str(error)
    assert repr(error)


@pytest.mark.parametrize(
    ("document", "branch"),
    [
        ({"code": "out_of_money", "status": 402}, Correctable),
        ({"code": "later", "status": 503}, Waitable),
        ({"code": "later", "status": 500}, Untrusted),
        ({"code": "half", "status": 503, "effect": "unknown"}, OutcomeUnknown),
        ({}, Untrusted),
    ],
)
def test_an_unknown_code_keeps_its_branch(
    document: dict[str, object], branch: type[HoldfastError]
) -> None:
    error = error_of(document)
    assert type(error) is branch
    assert error.facts.get("code") == document.get("code")


def test_facts_of_a_stranger_cannot_take_our_names() -> None:
    error = error_of({"code": "not_found", "facts": {"self": 1, "facts": 2, "args": 3}})
    assert error.facts == {"self": 1, "facts": 2, "args": 3}
