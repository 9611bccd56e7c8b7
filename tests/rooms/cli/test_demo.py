from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.cli.tour import Tour
from holdfast.values import CollectReport

if TYPE_CHECKING:
    from holdfast.store import Store

pytestmark = pytest.mark.push

Run = Callable[..., Any]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Forty files of Python's own, json and email among them."""
    found = sorted(Path(json.__file__).parent.parent.glob("*.py"))[:40]
    folder = tmp_path / "library"
    for path in found:
        target = folder / "part" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return folder


def test_the_demo_ends_well(run: Run, library: Path) -> None:
    told = run("--bucket-bytes", "64KiB", "demo", "--source", str(library))
    assert told.code == 0, told.out
    for step in (
        "stored",
        "overwritten",
        "deleted",
        "expired",
        "collected",
        "reopened",
        "listed",
        "read back",
        "checked",
    ):
        assert any(line.startswith(step) for line in told.lines), step
    assert "28 of 28 files equal" in told.out
    assert told.lines[-1] == "Everything is as it should be."
    assert told.err == ""


def test_the_demo_in_json(run: Run, library: Path, tmp_path: Path) -> None:
    told = run(
        "--bucket-bytes", "64KiB", "demo", "kept", "--source", str(library), "--json"
    ).document
    assert told["files"] == 40
    assert told["differences"] == []
    assert told["check"]["ok"] is True
    growth = told["buckets_while_growing"]
    assert growth == sorted(growth)
    assert growth[-1] > 4
    assert told["after_collect"]["dead_bytes"] < told["before_collect"]["dead_bytes"]
    assert told["store"] == "kept"
    assert len(run("ls", "kept", "demo").lines) == 28
    assert (tmp_path / "kept").is_dir()


def test_a_temporary_store_goes_away(
    run: Run, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    assert run("demo", "--source", str(library)).code == 0
    assert list(folder.iterdir()) == []
    kept = run("demo", "--source", str(library), "--keep", "--json").document
    assert Path(kept["store"]).is_dir()


def test_a_difference_ends_the_demo_with_distrust(
    run: Run, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Tour._collect

    def spoil(self: Tour, store: Store) -> CollectReport:
        (library / "part" / "abc.py").write_bytes(b"changed behind the demo's back")
        return honest(self, store)

    monkeypatch.setattr(Tour, "_collect", spoil)
    told = run("demo", "--source", str(library))
    assert told.code == 6
    assert "DIFFERS: part/abc.py" in told.out


def test_a_lost_key_ends_the_demo_with_distrust(
    run: Run, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Tour._collect

    def lose(self: Tour, store: Store) -> CollectReport:
        store.namespace("demo").delete("part/abc.py")
        return honest(self, store)

    monkeypatch.setattr(Tour, "_collect", lose)
    told = run("demo", "--source", str(library), "--json")
    assert told.code == 6
    assert len(told.document["differences"]) > 1


def test_the_demo_wants_a_place_and_files_of_its_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_bytes(b"precious")
    assert run("demo", "full").code == 2
    (tmp_path / "empty").mkdir()
    assert run("demo", "--source", "empty").code == 3
    assert run("demo", "--source", "nowhere").code == 3
