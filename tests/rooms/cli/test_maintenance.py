from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.values import CheckReport, Problem, Progress, Status

Run = Callable[..., Any]


def fill(run: Run, count: int = 20) -> None:
    texts = {f"k{number:02d}": "x" * 1000 for number in range(count)}
    Path("texts.json").write_text(json.dumps(texts))
    assert run("import", "data", "acme", "texts.json").code == 0


def test_status_adds_up(run: Run) -> None:
    fill(run)
    found = run("status", "data", "--json").document
    assert sum(bucket["keys"] for bucket in found["buckets"]) == 20
    assert found["live_bytes"] >= 20_000
    drawn = run("status", "data")
    assert drawn.code == 0
    for head in ("bucket", "keys", "live", "dead", "disk"):
        assert head in drawn.out
    assert "20 keys" in drawn.lines[-1]


def test_status_tells_what_the_scrub_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(run, 1)
    problem = Problem("b1", "3:400", "a record \x1b does not verify")

    class Damaged:
        def status(self) -> Status:
            return Status((), 0, 0, 0, 2, problems=(problem,))

    @contextmanager
    def opened(*_: object, **__: object) -> Iterator[Damaged]:
        yield Damaged()

    monkeypatch.setattr("holdfast.cli.maintenance.opened", opened)
    found = run("status", "data")
    assert found.code == 0
    assert "2 dead letters; the scrub found 1 problem\n" in found.out
    assert "  b1 3:400: a record" in found.lines[-1]
    assert "\x1b" not in found.out
    assert run("status", "data", "--json").document["problems"][0]["position"] == "3:400"


def test_check_of_a_sound_store(run: Run) -> None:
    fill(run, 3)
    assert run("check", "data").out.startswith("ok: ")
    assert run("check", "data", "--repair", "--json").document["ok"] is True


@pytest.mark.parametrize(("repaired", "code"), [(True, 0), (False, 6)])
def test_check_exits_by_what_is_left(
    run: Run, monkeypatch: pytest.MonkeyPatch, *, repaired: bool, code: int
) -> None:
    fill(run, 1)
    problem = Problem("b1", "3:400", "a record \x1b does not verify", repaired=repaired)

    class Damaged:
        def check(self, *, repair: bool, progress: Progress) -> CheckReport:
            del progress
            return CheckReport(ok=False, problems=(problem,) if repair else (problem,) * 2)

    @contextmanager
    def opened(*_: object, **__: object) -> Iterator[Damaged]:
        yield Damaged()

    monkeypatch.setattr("holdfast.cli.maintenance.opened", opened)
    found = run("check", "data", "--repair")
    assert found.code == code
    assert "1 problem in" in found.out
    assert "b1 3:400" in found.out
    assert "\x1b" not in found.out
    assert run("check", "data", "--json").document["problems"][0]["position"] == "3:400"


@pytest.mark.parametrize("mode", ["auto", "copying", "compacting"])
def test_collect_in_each_mode(run: Run, mode: str) -> None:
    fill(run)
    run("rm", "data", "acme", *[f"k{number:02d}" for number in range(0, 20, 2)])
    report = run("collect", "data", "--mode", mode, "--json").document
    assert report["bytes_freed"] >= 0
    assert run("collect", "data", "--mode", mode).out.endswith(" s\n")
    assert run("get", "data", "acme", "k01").raw == b"x" * 1000
    assert run("get", "data", "acme", "k02").code == 4
    assert run("check", "data").code == 0


def test_rebuild_keeps_everything(run: Run) -> None:
    fill(run)
    assert run("rebuild", "data", "--json").document["keys"] == 20
    assert len(run("ls", "data", "acme").lines) == 20


def test_backup_and_restore(run: Run, tmp_path: Path) -> None:
    fill(run)
    assert run("backup", "data", "copy", "--json").document == {"store": "data", "backup": "copy"}
    run("rm", "data", "acme", "k00")
    assert run("restore", "copy", "again").out == "restored into again\n"
    assert run("get", "again", "acme", "k00").raw == b"x" * 1000
    assert len(run("ls", "again", "acme").lines) == 20
    assert run("check", "again").code == 0
    assert (tmp_path / "again").is_dir()


def test_a_backup_never_replaces(run: Run, tmp_path: Path) -> None:
    fill(run, 2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_bytes(b"precious")
    assert run("backup", "data", "full").code == 3
    run("backup", "data", "copy")
    assert run("restore", "copy", "full").code == 3
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


def test_a_backup_inside_the_store_is_refused(run: Run, tmp_path: Path) -> None:
    fill(run, 2)
    before = sorted((tmp_path / "data").rglob("*"))
    told = run("backup", "data", "data/log/copy", "--json")
    assert (told.code, told.error["error"]) == (3, "invalid_value")
    assert sorted((tmp_path / "data").rglob("*")) == before
