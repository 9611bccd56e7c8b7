"""Functions fit a screen, files fit a head, ports fit a hand."""

from __future__ import annotations

import ast

from tests.house.source import dotted, files, tree, where

FUNCTION_LINES = 60
FILE_LINES = 500
PORT_METHODS = 8
PORT_FILES = ("clock.py", "port.py")  # the other protocols describe a face, nobody implements them

Function = ast.FunctionDef | ast.AsyncFunctionDef


def lines_of(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def is_port(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef) and "Protocol" in map(dotted, node.bases)


def methods_of(node: ast.AST) -> list[str]:
    return [child.name for child in ast.iter_child_nodes(node) if isinstance(child, Function)]


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{where(path, node)} {node.name}: {lines_of(node)} lines"
        for path in files()
        for node in ast.walk(tree(path))
        if isinstance(node, Function) and lines_of(node) > FUNCTION_LINES
    ]
    assert not long


def test_no_file_is_longer_than_a_head_holds() -> None:
    sizes = {where(path): len(path.read_text().splitlines()) for path in files()}
    assert not {place: lines for place, lines in sizes.items() if lines > FILE_LINES}


def test_no_port_is_wider_than_a_hand() -> None:
    ports = {
        f"{where(path, node)} {node.name}": methods_of(node)
        for path in files()
        if path.name in PORT_FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef) and is_port(node)
    }
    assert ports, "no Protocol found: the check looks past the ports"
    assert not {port: names for port, names in ports.items() if len(names) > PORT_METHODS}


def test_the_measure_counts_from_def_to_the_last_line() -> None:
    module = ast.parse("@wrap\ndef one(\n    a: int,\n) -> int:\n    return a\n")
    assert [lines_of(node) for node in module.body if isinstance(node, Function)] == [4]
