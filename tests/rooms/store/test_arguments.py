"""What ``open``, ``restore`` and ``backup`` refuse, before they touch a disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import InvalidValue

WRONG = [
    {"sync": "sometimes"},
    {"sync": None},
    {"bucket_bytes": 65_535},
    {"bucket_bytes": 65_536.0},
    {"bucket_bytes": True},
    {"bucket_bytes": "4G"},
    {"index_dir": 5},
    {"index_dir": ""},
    {"data_dirs": "abc"},
    {"data_dirs": 5},
    {"data_dirs": [5]},
    {"data_dirs": ["a\0b"]},
    {"index_dir": "\ud800"},
    {"index_dir": "\udcff"},
    {"data_dirs": ["data", "\udcff"]},
    {"clock": 5},
    {"clock": object},
    {"entropy": 5},
    {"upkeep": "yes"},
    {"upkeep": None},
    {"in_place": 1},
    {"base_url": 5},
    {"base_url": b"http://127.0.0.1:8080"},
]
NO_PATHS: list[Any] = [
    "",
    "http://127.0.0.1:8080",
    "s3://bucket/store",
    "a\0b",
    "a\ud800b",
    None,
    5,
    True,
    b"bytes",
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_open_refuses_and_makes_nothing(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        holdfast.open(tmp_path / "data", **wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", NO_PATHS)
def test_what_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidValue):
        holdfast.open(path)
    with holdfast.open(":memory:", upkeep=False) as store, pytest.raises(InvalidValue):
        store.backup(path)
    with pytest.raises(InvalidValue):
        holdfast.restore(path, tmp_path / "into")
    with pytest.raises(InvalidValue):
        holdfast.restore(tmp_path / "from", path)
    assert list(tmp_path.iterdir()) == []


def test_a_path_may_be_of_bytes_that_are_no_text(tmp_path: Path) -> None:
    """Where it need not be noted: the files' own names are such at times."""
    for times in (1, 2):
        with holdfast.open(tmp_path / "\udcff", upkeep=False) as store:
            assert store.namespace("acme").append("a", b"1") == times


@pytest.mark.parametrize("below", ["", "/store"])
def test_a_file_is_no_folder_for_a_store(below: str, tmp_path: Path) -> None:
    there = tmp_path / "file"
    there.write_text("mine")
    with pytest.raises(InvalidValue) as caught:
        holdfast.open(f"{there}{below}")
    assert caught.value.facts == {"argument": "path", "reason": "not a folder"}
    assert there.read_text() == "mine"
