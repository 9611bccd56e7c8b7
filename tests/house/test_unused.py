"""What a file names above its functions is used: by the file itself, or by another."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from tests.house.source import ROOT, files, imported, module_of, tree, uses, where

# Places in a table of numbers that somebody else wrote: without them, the others move.
NUMBERS_OF_A_STANDARD = {
    "holdfast.server.http2.frames.HEADER_TABLE_SIZE",
    "holdfast.server.http2.frames.INTERNAL_ERROR",
    "holdfast.wire.protobuf.statuses.CANCELLED",
    "holdfast.wire.protobuf.statuses.OUT_OF_RANGE",
}


def named(module: ast.Module) -> Iterator[ast.Name]:
    """What is assigned to above all functions."""
    for node in module.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for part in (part for target in targets for part in ast.walk(target)):
                if isinstance(part, ast.Name) and not part.id.startswith("__"):
                    yield part


def loaded(module: ast.Module) -> set[str]:
    """The names that a file reads."""
    return {
        node.id
        for node in ast.walk(module)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


@cache
def elsewhere() -> set[str]:
    """The names of other files that files use."""
    return {
        name
        for path in [*files(), *(ROOT / "bench").rglob("*.py")]
        for name in (*imported(tree(path)).values(), *(name for name, _ in uses(tree(path))))
    }


def unused(module: ast.Module, name: str) -> list[ast.Name]:
    known = loaded(module)
    return [
        node
        for node in named(module)
        if node.id not in known
        and f"{name}.{node.id}" not in elsewhere()
        and f"{name}.{node.id}" not in NUMBERS_OF_A_STANDARD
    ]


def test_what_is_named_is_used() -> None:
    assert not [
        f"{where(path, node)} {node.id}"
        for path in files()
        for node in unused(tree(path), module_of(path))
    ]


def test_a_name_that_nothing_uses_is_found() -> None:
    module = ast.parse("A, B = 1, 2\nC: int = 3\nD = B\n\n\ndef e():\n    F = D\n")
    assert [node.id for node in unused(module, "holdfast.limits")] == ["A", "C"]
