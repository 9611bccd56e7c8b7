"""A folder that is not named, of a variable that is not set, is not the one that one stands in."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.errors import InvalidValue

Run = Callable[..., Any]

EMPTY = [
    ("put", "", "acme", "k", "--text", "v"),
    ("ls", ""),
    ("--index-dir", "", "put", "data", "acme", "k", "--text", "v"),
    ("--data-dir", "a", "--data-dir", "", "put", "data", "acme", "k", "--text", "v"),
    ("import", "data", "acme", ""),
    ("export", "data", "acme", ""),
    ("backup", "data", ""),
    ("restore", "", "into"),
    ("restore", "copy", ""),
    ("bench", ""),
    ("demo", ""),
    ("demo", "--source", ""),
]


@pytest.mark.parametrize("words", EMPTY, ids=" ".join)
def test_an_empty_name_is_a_mistake_of_the_command_line(
    run: Run, tmp_path: Path, words: tuple[str, ...]
) -> None:
    told = run(*words)
    assert told.code == 2
    assert "it is empty" in told.err
    assert list(tmp_path.iterdir()) == []


def test_data_folders_of_the_environment(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_DATA_DIRS", os.pathsep.join(["one disk", ""]))
    told = run("put", "data", "acme", "k", "--text", "v")
    assert (told.code, "HOLDFAST_DATA_DIRS: it is empty" in told.err) == (2, True)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("HOLDFAST_DATA_DIRS", os.pathsep.join(["one disk", "another"]))
    assert run("put", "data", "acme", "k", "--text", "v").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another", "data", "one disk"]
    monkeypatch.setenv("HOLDFAST_DATA_DIRS", "elsewhere")
    assert run("--data-dir", "said", "put", "other", "acme", "k", "--text", "v").code == 0
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("options", [{"index_dir": ""}, {"data_dirs": [""]}])
def test_so_it_is_for_a_program(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        holdfast.open(tmp_path / "data", **options)
    with pytest.raises(InvalidValue):
        holdfast.open("")
    assert list(tmp_path.iterdir()) == []
