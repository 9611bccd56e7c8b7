"""The source as these tests see it: files, parsed once, with full names for what they use."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SRC = ROOT / "src"
PACKAGE = SRC / "holdfast"


def files() -> list[Path]:
    """Every Python file that ships."""
    return sorted(PACKAGE.rglob("*.py"))


def rooms() -> list[Path]:
    """Every package that ships, the root aside: the folders that hold Python files."""
    return sorted({path.parent for path in files()} - {PACKAGE})


@cache
def tree(path: Path) -> ast.Module:
    """The file, parsed."""
    return ast.parse(path.read_text(), str(path))


def where(path: Path, node: ast.AST | None = None) -> str:
    """``src/holdfast/log/records.py:12``, as editors take it."""
    place = str(path.relative_to(ROOT))
    line = getattr(node, "lineno", None)
    return place if line is None else f"{place}:{line}"


def module_of(path: Path) -> str:
    """The dotted name under which the file is imported."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def dotted(node: ast.AST) -> str | None:
    """``os.urandom`` for the expression of that name; None for anything but names and dots."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


def imported(module: ast.Module) -> dict[str, str]:
    """What the names that a module imports stand for: ``{"now": "time.time_ns"}``."""
    known: dict[str, str] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom):
            known |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Import):
            for name in node.names:
                first = name.name.partition(".")[0]
                known[name.asname or first] = name.name if name.asname else first
    return known


def uses(module: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Every imported or global name a module uses, in full, whatever it calls it itself."""
    known = imported(module)
    for node in ast.walk(module):
        name = dotted(node)
        if name is None:
            continue
        first, dot, rest = name.partition(".")
        if first in known:
            yield known[first] + dot + rest, node
        elif not dot:
            yield name, node


TEST = re.compile(r"^ *(?:async )?def (test\w*)\(", re.MULTILINE)


@cache
def _tests_of(file: Path) -> frozenset[str]:
    return frozenset(TEST.findall(file.read_text()))


@cache
def tests_in(path: Path) -> frozenset[str]:
    """The names of the tests that a file, or a folder, has: its own, and those of our suites."""
    own = path.rglob("*.py") if path.is_dir() else [path]
    return frozenset().union(*map(_tests_of, [*own, *(PACKAGE / "testing").rglob("*.py")]))


def is_a_test(name: str) -> bool:
    """Whether there is a test of this name, as pytest takes it, below the folder of tests."""
    place, _, rest = name.partition("::")
    path = ROOT / "tests" / place
    wanted = rest.partition("[")[0].rpartition("::")[2]
    return path.exists() and (wanted in tests_in(path) or wanted[:1] in {"", "T"})
