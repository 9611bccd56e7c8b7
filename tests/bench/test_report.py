from __future__ import annotations

from pathlib import Path

import pytest

from bench import measure, report, results
from bench.machine import Machine, describe
from bench.results import Contest, Results, RowResult, Series
from bench.rows import Bound
from bench.spec import Outcome

MACHINE = Machine(2, "a processor", 24, "Linux 6", "ext4", "CPython 3.11", {"lmdb": "3.0.0"})


def series(*rates: float, **figures: float) -> Series:
    made = Series()
    for rate in rates:
        made.add(Outcome(int(rate), 1.0, 0.25, 0.5, figures))
    return made


def row(name: str = "get", scale: str = "full", target: float | None = 2.0) -> RowResult:
    contest = Contest("rocksdict", target, series(400, 300, 500), series(100, 200, 100))
    return RowResult(
        name,
        "get of a key",
        scale,
        "2026-01-01",
        "never",
        "ops/s",
        at=1_000,
        operations=500,
        value_bytes=1_024,
        contests=[contest],
        alone=Series(),
        bounds=[],
        failures=[],
    )


def test_the_ratio_is_the_lowest_of_the_pairs() -> None:
    assert row().contests[0].ratios == [4.0, 1.5, 5.0]
    assert row().contests[0].ratio == 1.5


def test_a_missed_target_says_how_far() -> None:
    text = report.render(Results(machine=MACHINE, rows=[row(target=2.0)]))
    assert "**not met**, 75% of it" in text
    assert "0 of 1 targets met." in text
    assert "- get against rocksdict: **not met**, 75% of it" in text


def test_a_met_target_is_counted() -> None:
    text = report.render(Results(machine=MACHINE, rows=[row(target=1.5)]))
    assert "| 1.50x | 1.5x | met |" in text
    assert "1 of 1 targets met." in text


def test_a_bound_is_judged_by_the_worst_run() -> None:
    found = row(target=None)
    found.contests = []
    found.alone = Series()
    for value in (1.0, 30.0, 2.0):
        found.alone.add(Outcome(1, 1.0, figures={"p999_ms": value}))
    found.bounds = [Bound("p999_ms", 10.0)]
    text = report.render(Results(machine=MACHINE, rows=[found]))
    assert "| `p999_ms` | 2 | 30 | <= 10 | **not met**, 3.0x the bound |" in text


def test_what_was_not_measured_is_not_met() -> None:
    found = row()
    found.contests[0].ours = Series()
    found.failures.append("holdfast: Busy")
    text = report.render(Results(machine=MACHINE, rows=[found]))
    assert "0 of 1 targets met." in text
    assert "- get against rocksdict: not measured" in text
    assert "- failed: holdfast: Busy" in text


def test_the_share_of_the_overlay_is_told() -> None:
    assert "| 50% |" in report.render(Results(machine=MACHINE, rows=[row()]))


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    found = results.merge(Results(counts={"a put": {"writes": 1.0}}), MACHINE, [row(), row("put")])
    results.write(file, found)
    assert results.read(file) == found


def test_a_row_replaces_its_elder_and_leaves_the_others() -> None:
    old = results.merge(Results(counts={"a put": {"writes": 1.0}}), MACHINE, [row(), row("put")])
    new = results.merge(old, MACHINE, [row(target=9.0), row(scale="quick")])
    assert [(each.scale, each.name) for each in new.rows] == [
        ("full", "put"),
        ("full", "get"),
        ("quick", "get"),
    ]
    assert new.counts == old.counts


def test_rows_of_another_machine_are_dropped_and_counts_kept() -> None:
    old = results.merge(Results(counts={"a put": {"writes": 1.0}}), MACHINE, [row("put")])
    other = Machine(8, "another", 64, "Linux 6", "ext4", "CPython 3.12", {})
    new = results.merge(old, other, [row()])
    assert [each.name for each in new.rows] == ["get"]
    assert new.counts == old.counts


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 20), (0.75, 30), (0.99, 40), (1.0, 40), (0.0, 10)]
)
def test_a_percentile_is_a_number_that_occurred(share: float, expected: int) -> None:
    assert measure.percentile([10, 20, 30, 40], share) == expected


def test_the_median_of_an_even_number_is_between_the_middle_two() -> None:
    assert measure.median([4.0, 1.0, 3.0, 2.0]) == 2.5
    assert measure.median([3.0, 1.0, 2.0]) == 2.0


def test_a_stopwatch_sees_the_time_pass() -> None:
    with measure.Stopwatch() as watch:
        sum(range(10_000))
    assert watch.seconds > 0
    assert watch.processor_s > 0
    assert watch.other_cores >= 0


@pytest.mark.parametrize("size_bytes", [-1, 0, 1, (1 << 20) + 1])
def test_memory_is_had_and_given_back(size_bytes: int) -> None:
    before = measure.anonymous_bytes()
    measure.backed_memory(size_bytes)
    assert measure.anonymous_bytes() < before + (1 << 20)


def test_the_machine_tells_nothing_that_names_it(tmp_path: Path) -> None:
    found = describe(tmp_path, ["lmdb", "no-such-package"])
    assert found.cores >= 1
    assert "no-such-package" not in found.packages
    assert str(tmp_path) not in repr(found)
