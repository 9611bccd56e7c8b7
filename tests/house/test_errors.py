"""One tree of errors: unique codes, constant texts, an effect that the document repeats."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest

from holdfast import errors
from holdfast.errors import Correctable, HoldfastError, Payable, Untrusted, Waitable
from tests.house.source import ROOT

GUARANTEES = ROOT / "docs" / "GUARANTEES.md"
BRANCHES: dict[Any, str] = {
    Correctable: "correct it",
    Payable: "pay",
    Waitable: "wait",
    Untrusted: "stop trusting",
}
LEAVES: list[type[HoldfastError]] = [
    leaf for branch in BRANCHES for leaf in branch.__subclasses__()
]

# The names that callers were promised (the issues of steps 1 to 5).
PROMISED = {
    *("NotFound", "Exists", "VersionMismatch", "FenceTooOld", "LockHeld", "LockLost"),
    *(
        "Permanent",
        "LimitExceeded",
        "InvalidKey",
        "InvalidNamespace",
        "InvalidQuery",
        "InvalidValue",
    ),
    *("InvalidExpiry", "Moved", "Corrupt", "InUse", "Closed", "StorageFailed", "FormatTooNew"),
    *("OutcomeUnknown", "Busy", "Changed", "CrossBucket", "SessionUnknown"),
    *("Unauthenticated", "AttestationInvalid", "Forbidden"),
    *("RateLimited", "Unavailable", "DeadlineExceeded", "ProofInvalid"),
    "BalanceEmpty",
}


def documented() -> dict[str, tuple[str, str, str]]:
    """docs/GUARANTEES.md, its table of errors: ``{name: (code, branch, effect)}``."""
    row = re.compile(r"^\| `(\w+)` \| `(\w+)` \| ([a-z ]+) \| ([a-z ]+) \|", re.MULTILINE)
    return {name: (code, branch, effect) for name, code, branch, effect in row.findall(text())}


def text() -> str:
    return GUARANTEES.read_text()


def branch_of(kind: type[HoldfastError]) -> str:
    return next(said for branch, said in BRANCHES.items() if issubclass(kind, branch))


def test_the_promised_errors_are_the_tree() -> None:
    assert {kind.__name__ for kind in LEAVES} == PROMISED


def test_codes_are_unique_and_follow_the_name() -> None:
    codes = {kind.__name__: kind.code for kind in LEAVES}
    snake = {name: re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in codes}
    assert codes == snake
    assert len(set(codes.values())) == len(codes)


def test_the_document_tells_each_error_with_its_branch_and_effect() -> None:
    said = {"none": "not applied", "unknown": "unknown"}
    tree = {kind.__name__: (kind.code, branch_of(kind), said[kind.effect]) for kind in LEAVES}
    assert documented() == tree


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.code)
def test_an_error_keeps_its_facts(kind: type[HoldfastError]) -> None:
    error = kind(key="a", position=7)
    assert (error.key, error.position, error.facts) == ("a", 7, {"key": "a", "position": 7})
    assert str(error) == f"{kind.message} (key='a', position=7)"
    assert str(kind()) == kind.message
    assert not hasattr(error, "nothing")


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.code)
def test_an_error_survives_the_way_between_processes(kind: type[HoldfastError]) -> None:
    copy = pickle.loads(pickle.dumps(kind(key="a")))  # noqa: S301 - our own bytes, made here
    assert type(copy) is kind
    assert copy.facts == {"key": "a"}


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.code)
def test_an_error_belongs_to_one_branch(kind: type[HoldfastError]) -> None:
    assert sum(issubclass(kind, branch) for branch in BRANCHES) == 1
    assert kind.__doc__
    assert "message" in vars(kind)


def test_not_found_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        raise errors.NotFound(key="a")
