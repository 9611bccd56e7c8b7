"""What a query's author is told on the command line: where it is not understood."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast.cli.exits import ExitCode

Run = Callable[..., Any]
POSITIONS = [
    ("fox AND (dog", 12),
    ("fox colour:red", 4),
    ('fox "open', 4),
    ("fox [1 TO 2]", 4),
    ("fox OR", 6),
]


@pytest.mark.parametrize(("query", "position"), POSITIONS)
@pytest.mark.parametrize("namespace", ["acme", "*"])
def test_a_query_that_is_not_understood_says_where(
    run: Run, namespace: str, query: str, position: int
) -> None:
    assert run("put", "data", "acme", "k", "--text", "fox").code == 0
    said = run("search", "data", namespace, query, "--json")
    assert said.code == ExitCode.CORRECTABLE
    assert (said.error["error"], said.error["position"]) == ("invalid_query", position)
    said = run("search", "data", namespace, query)
    assert said.code == ExitCode.CORRECTABLE
    assert f"position={position}" in said.err
