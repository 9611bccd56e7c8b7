"""The public face: what is exported is what is documented, and nothing loads before it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from inspect import ismodule

import pytest

import holdfast
from tests.house.source import PACKAGE, tree

FACE = PACKAGE / "__init__.py"
NAMES_MOST = 60  # "about 40 names": past this the face is a crowd

# What a bare import may not load: the engine's libraries, and whatever only doors need.
HEAVY = {"asyncio", "crc32c", "lmdb", "msgspec", "rich", "sortedcontainers", "typer", "xxhash"}


def typed_names() -> set[str]:
    """The names that type checkers are shown: the imports under TYPE_CHECKING."""
    return {
        alias.asname or alias.name
        for node in tree(FACE).body
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


def loaded_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(told.stdout.split())


def test_a_bare_import_loads_nothing_heavy() -> None:
    assert not HEAVY & loaded_after("import holdfast")


def test_an_error_is_caught_without_loading_the_store() -> None:
    assert not HEAVY & loaded_after("from holdfast import NotFound")


def test_using_a_name_loads_it() -> None:
    assert "holdfast.store" in loaded_after("import holdfast; holdfast.open")


def test_the_names_are_sorted_and_few() -> None:
    assert list(holdfast.__all__) == sorted(holdfast.__all__)
    assert len(set(holdfast.__all__)) == len(holdfast.__all__) <= NAMES_MOST


def test_the_type_checker_sees_what_the_program_sees() -> None:
    ways_in = {name for name in holdfast.__all__ if not name.startswith("__")}
    assert typed_names() - {"testing"} == ways_in - {"testing"}
    assert set(holdfast.__all__) <= set(dir(holdfast))


def test_every_exported_name_is_documented() -> None:
    things = {name: getattr(holdfast, name) for name in holdfast.__all__}
    told = {name: thing for name, thing in things.items() if callable(thing) or ismodule(thing)}
    assert told
    assert [name for name, thing in told.items() if not thing.__doc__] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = getattr(holdfast, "no_such_name")  # noqa: B009 - the type checker knows it is not there
