"""Proofs by the command line: what a script reads of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.rooms.cli.conftest import Run

KEY = ("--public-key", "key.pem")


@pytest.fixture
def made(run: Run) -> Run:
    """A store with one object, its key, and the proofs of it and of one that is not there."""
    Path("v").write_bytes(b"value")
    assert run("put", "data", "acme", "k", "v").code == 0
    Path("key.pem").write_bytes(run("key", "data").raw)
    assert run("prove", "data", "acme", "k", "-o", "k.proof").code == 0
    assert run("prove", "data", "acme", "none", "-o", "none.proof").code == 0
    return run


@pytest.mark.parametrize(
    "arguments",
    [
        ("key", "data"),
        ("prove", "data", "acme", "k", "-o", "another"),
        ("prove", "data", "acme", "none", "-o", "another", "--receipt"),
        ("verify", "k.proof", "acme", "k", "v", *KEY),
        ("verify", "none.proof", "acme", "none", *KEY),
        ("watch", "data", "seen"),
    ],
)
def test_every_document_is_an_object(made: Run, arguments: tuple[str, ...]) -> None:
    told = made(*arguments, "--json")
    assert told.code == 0
    assert isinstance(json.loads(told.out), dict)


def test_a_comparison_is_an_object_too(made: Run) -> None:
    for seen in ("mine", "theirs"):
        assert made("watch", "data", seen).code == 0
    assert made("watch", "data", "mine", "--compare", "theirs", "--json").document["findings"] == []


def test_what_a_proof_convinces_of_is_told_by_field(made: Run) -> None:
    there = made("verify", "k.proof", "acme", "k", "v", *KEY, "--json").document
    assert (there["size"], there["content_type"]) == (5, None)
    assert there["version"] > 0
    assert there["revision"] > 0
    gone = made("verify", "none.proof", "acme", "none", *KEY, "--json").document
    assert (gone["size"], gone["version"]) == (None, None)
    assert gone["store"] == there["store"]


def test_a_proof_goes_to_standard_output(made: Run) -> None:
    proof = made("prove", "data", "acme", "k", "-o", "-")
    Path("piped").write_bytes(proof.raw)
    assert proof.err.startswith("k: 5 bytes")
    assert made("verify", "piped", "acme", "k", "v", *KEY).code == 0
    assert not Path("-").exists()
