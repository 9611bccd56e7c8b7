from __future__ import annotations

import json
import os
import time
from pathlib import Path

import msgspec
import pytest

from bench import beside, contest
from bench.compare import installed
from bench.compare.engine import Setting
from bench.rows import Bound, Rival, Row
from bench.scale import QUICK
from bench.spec import Job
from bench.workshop import ChildFailedError, Workshop, run

TINY = msgspec.structs.replace(
    QUICK, rounds=2, loaded=2_000, reads=200, puts=200, lists=2, unabsorbed=500
)
NEVER = Setting("never")


def sqlite_row(workload: str, count: str, **options: object) -> Row:
    return Row("a", "says", workload, count, NEVER, rivals=(Rival("sqlite3", 1.0),), **options)  # type: ignore[arg-type]


@pytest.mark.push
@pytest.mark.parametrize(
    "row",
    [
        sqlite_row("reads", "reads", base="loaded"),
        sqlite_row("reads", "reads", variant="written"),
        sqlite_row("puts", "puts"),
        sqlite_row("puts", "puts", batch=100, variant="closed"),
        sqlite_row("lists", "lists", base="loaded"),
        sqlite_row("reopen", "unabsorbed", base="killed"),
    ],
    ids=lambda row: f"{row.workload}-{row.base}",
)
def test_a_row_is_measured_against_a_real_engine(row: Row, tmp_path: Path) -> None:
    (found,) = contest.measure([row], Workshop(tmp_path, TINY))
    assert found.failures == []
    assert len(found.contests[0].theirs.per_second) == TINY.rounds
    assert all(rate > 0 for rate in found.contests[0].theirs.per_second)
    if installed("holdfast"):
        assert len(found.contests[0].ratios) == TINY.rounds


@pytest.mark.push
def test_a_failing_child_is_told_by_its_last_line(tmp_path: Path) -> None:
    job = Job("reads", "measure", "sqlite3", str(tmp_path / "new"), NEVER, 10, 0, 10)
    with pytest.raises(ChildFailedError, match="WrongValueError"):
        run(job)


@pytest.mark.push
def test_a_failure_is_noted_and_other_rows_go_on(tmp_path: Path) -> None:
    bad = msgspec.structs.replace(sqlite_row("lists", "lists"), name="bad")
    good = sqlite_row("puts", "puts")
    first, second = contest.measure([bad, good], Workshop(tmp_path, TINY))
    assert first.failures
    assert not second.failures


@pytest.mark.push
def test_the_witness_sees_its_disk(tmp_path: Path) -> None:
    witness = beside.Witness(tmp_path / "file")
    while not (tmp_path / "file").exists() or not (tmp_path / "file").stat().st_size:
        os.sched_yield()
    calls = witness.stop()
    assert calls
    assert all(begun <= time.monotonic_ns() and taken > 0 for begun, taken in calls)


def test_a_stall_is_excused_only_by_one_at_the_same_time_half_as_long() -> None:
    slow = (1_000, 100)
    assert beside.stalled(slow, [(1_050, 50)])
    assert beside.stalled(slow, [(900, 150)])
    assert not beside.stalled(slow, [(1_050, 49)])
    assert not beside.stalled(slow, [(1_100, 500)])
    assert not beside.stalled(slow, [(500, 500)])


def test_bounds_hold_on_the_side_they_say() -> None:
    assert Bound("x", 10.0).met(10.0)
    assert not Bound("x", 10.0).met(10.1)
    assert Bound("x", 10.0, least=True).met(10.0)
    assert not Bound("x", 10.0, least=True).met(9.9)


def test_a_job_survives_the_pipe() -> None:
    job = Job("reads", "measure", "sqlite3", "folder", NEVER, 10, 0, 10)
    assert msgspec.json.decode(msgspec.json.encode(job), type=Job) == job
    assert json.loads(msgspec.json.encode(job))["setting"]["durability"] == "never"
