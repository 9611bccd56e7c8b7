"""What no file may do, where import-linter cannot see it: single names, built-ins, detours.

Whole modules (time, random, pickle, asyncio, ...) are contracts in
pyproject.toml; this file closes what stays open beside them.
"""

from __future__ import annotations

import ast
from pathlib import Path

from tests.house.source import PACKAGE, files, tree, uses, where

CLOCK = PACKAGE / "clock.py"
TESTING = PACKAGE / "testing"
DOORS = {"server", "adapters", "cli"}
LAZY = {PACKAGE / "__init__.py", TESTING / "__init__.py"}

# Bytes that come from disk, wire or caller never become code.
EXECUTES = {"eval", "exec", "compile", "__import__", "types.FunctionType", "os.system", "os.popen"}

# Chance and time that hide in modules everybody needs.
UNTOLD = {
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "os.urandom",
    "os.getrandom",
    "os.times",
    "threading.Timer",
}

# Names drawn by chance; a door may need one beside what it writes for its user.
DRAWN = {
    f"tempfile.{kind}" for kind in ("NamedTemporaryFile", "TemporaryDirectory", "TemporaryFile")
}
DRAWN |= {"tempfile.mkdtemp", "tempfile.mkstemp", "tempfile.mktemp"}

# A module imported by name is an edge that no contract sees; only a lazy face needs it.
HIDDEN_EDGE = {"importlib.import_module", "importlib.util.find_spec", "importlib.reload"}


def found(names: set[str], sources: list[Path]) -> list[str]:
    return [
        f"{where(path, node)} {name}"
        for path in sources
        for name, node in uses(tree(path))
        if name in names
    ]


def test_nothing_that_was_read_is_executed() -> None:
    assert not found(EXECUTES, files())


def test_only_the_clock_asks_for_now_or_for_chance() -> None:
    assert not found(UNTOLD, [path for path in files() if path != CLOCK])


def test_only_doors_draw_names() -> None:
    core = [path for path in files() if path.relative_to(PACKAGE).parts[0] not in DOORS]
    assert not found(DRAWN, core)


def test_only_lazy_faces_import_by_name() -> None:
    assert not found(HIDDEN_EDGE, [path for path in files() if path not in LAZY])


def test_the_simulator_draws_from_a_seed_alone() -> None:
    unseeded = [
        f"{where(path, node)} {name}"
        for path in files()
        if TESTING in path.parents
        for name, node in uses(tree(path))
        if name.startswith("random.") and not name.startswith("random.Random")
    ]
    calls = [
        where(path, node)
        for path in files()
        if TESTING in path.parents
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"random.Random", "Random"}
        and not node.args
    ]
    assert not unseeded
    assert not calls


def test_the_check_sees_through_other_names() -> None:
    module = ast.parse(
        "import os as system\nfrom os import urandom as chance\n"
        "system.urandom(1)\nchance(1)\neval('1')\nself.eval('1')\nsystem.path.join('a')\n"
    )
    names = [name for name, _ in uses(module) if name in EXECUTES | UNTOLD]
    assert names == ["os.urandom", "os.urandom", "eval"]
