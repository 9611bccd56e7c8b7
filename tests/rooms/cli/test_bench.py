from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.bench import Stopwatch

pytestmark = pytest.mark.push

Run = Callable[..., Any]


class Ticking:
    """A clock that goes on by a fixed step whenever it is read."""

    def __init__(self, step_ns: int) -> None:
        self.now_ns = 0
        self.step_ns = step_ns

    def wall_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        self.now_ns += self.step_ns
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


def test_the_stopwatch_counts_what_it_timed() -> None:
    watch = Stopwatch(Ticking(1_000_000), lambda: None, 100)
    watch.run(0.01)
    watch.run(0.01)
    rate = watch.rate("nothing")
    assert rate.operations == 1_800  # nine calls of a hundred fit each slice of ten steps
    assert round(rate.per_second) == 100_000
    assert (rate.p50_us, rate.p99_us) == (10.0, 10.0)


def test_the_stopwatch_stops_at_the_most() -> None:
    watch = Stopwatch(Ticking(1_000), lambda: None)
    watch.run(3_600, most=7)
    assert watch.rate("few").operations == 7


def test_a_machine_that_stalls_before_the_first_call_times_one() -> None:
    watch = Stopwatch(Ticking(10**9), lambda: None)
    watch.run(0.1)
    assert watch.rate("late").operations == 1


def test_the_bench_measures_five_things_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    told = run("bench", str(tmp_path), "--seconds", "0.5", "--json").document
    rates = {rate["name"]: rate for rate in told["rates"]}
    assert list(rates) == [
        "bare write + fdatasync",
        "put, durable",
        "put, not synced",
        "get",
        "list of 1,000",
    ]
    assert rates["bare write + fdatasync"]["to_bare"] == 1.0
    assert all(rate["operations"] > 0 < rate["p50_us"] <= rate["p99_us"] for rate in rates.values())
    assert list(tmp_path.iterdir()) == []


def test_the_bench_draws_a_table(run: Run) -> None:
    told = run("bench", "--seconds", "0.5")
    assert told.code == 0
    assert "1.00x" in told.out


def test_the_bench_needs_a_folder(run: Run) -> None:
    assert run("bench", "no/such/folder").code == 3
