"""The table of bounds notices a wrong edit, and every refusal names a bound of it."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import pytest

from holdfast import limits
from tests.house.source import PACKAGE, files, tree, uses, where

SOURCE = PACKAGE / "limits.py"

UNITS = {"KIB", "MIB", "GIB", "TIB"}

# relation -> an edit that breaks it
EDITS = {
    "a segment is smaller than a bucket": "SEGMENT_BYTES = BUCKET_BYTES",
    "the least segment is smaller than the least bucket": "SEGMENT_BYTES_LEAST = 64 * KIB",
    "a composite key fits its record field": "KEY_BYTES = 64 * KIB",
    "two overlays fit what recovery may replay": "OVERLAY_RECORDS = UNABSORBED_RECORDS",
    "a view key fits LMDB": "VIEW_KEY_BYTES = 512",
    "a batch fits a group": "BATCH_BYTES = 4 * GIB",
    "one image leaves room for others": "ENCLAVE_SESSIONS = 100",
    "a record fits a message": "RPC_MESSAGE_BYTES = VALUE_RECORD_BYTES",
    "all consumers fit a record": "CONSUMERS = MIB",
}


def relations() -> set[str]:
    """The names under which limits.py states what must hold."""
    return {
        key.value
        for node in ast.walk(tree(SOURCE))
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }


def refusals() -> list[tuple[str, ast.Call]]:
    """Every place that raises LimitExceeded."""
    return [
        (where(path, node), node)
        for path in files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("LimitExceeded")
    ]


def test_every_relation_has_an_edit_that_breaks_it() -> None:
    assert relations() == set(EDITS)


@pytest.mark.parametrize("relation", EDITS)
def test_a_wrong_edit_fails_at_import(relation: str, tmp_path: Path) -> None:
    edited = tmp_path / "limits.py"
    edited.write_text(
        SOURCE.read_text().replace("\n_check()\n", f"\n{EDITS[relation]}\n_check()\n")
    )
    with pytest.raises(ValueError, match=f"^{relation}$"):
        runpy.run_path(str(edited))


def test_the_table_as_it_stands_holds() -> None:
    runpy.run_path(str(SOURCE))


def test_every_refusal_names_its_limit() -> None:
    nameless = [
        place
        for place, call in refusals()
        if not any(word.arg in {"limit", None} for word in call.keywords)
    ]
    assert not nameless


def test_every_limit_a_refusal_names_is_in_the_table() -> None:
    unknown = [
        f"{place} {word.value.value!r}"
        for place, call in refusals()
        for word in call.keywords
        if word.arg == "limit"
        and isinstance(word.value, ast.Constant)
        and not hasattr(limits, str(word.value.value))
    ]
    assert not unknown


def test_no_bound_is_a_dead_letter() -> None:
    others = [path for path in files() if path != SOURCE]
    used = {name.rpartition(".")[2] for path in others for name, _ in uses(tree(path))}
    bounds = {name for name in vars(limits) if name.isupper()} - UNITS
    assert bounds - used == set()
