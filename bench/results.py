"""The file of results: what it holds, and how it is read, merged and written.

One row a line, so that a difference between two runs reads as rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from bench.machine import Machine
from bench.measure import median
from bench.rows import Bound
from bench.spec import Outcome

FORMAT = 1


class Series(msgspec.Struct):
    """One contestant's measurements of one row, in the order they were taken."""

    per_second: list[float] = []
    overlay_share: list[float] = []
    other_cores: list[float] = []
    figures: dict[str, list[float]] = {}

    def add(self, outcome: Outcome) -> None:
        """Take one more measurement."""
        self.per_second.append(_rounded(outcome.per_second))
        self.other_cores.append(_rounded(outcome.other_cores))
        if outcome.overlay_share is not None:
            self.overlay_share.append(_rounded(outcome.overlay_share))
        for figure, value in outcome.figures.items():
            self.figures.setdefault(figure, []).append(_rounded(value))


class Contest(msgspec.Struct):
    """Alternating measurements: ours, theirs, ours, theirs."""

    rival: str
    target: float | None
    ours: Series
    theirs: Series

    @property
    def ratios(self) -> list[float]:
        """Ours / theirs, pair by pair."""
        pairs = zip(self.ours.per_second, self.theirs.per_second, strict=False)
        return [ours / theirs for ours, theirs in pairs if theirs]

    @property
    def ratio(self) -> float | None:
        """The lowest ratio of the pairs: the only one that is ever claimed."""
        return min(self.ratios, default=None)


class RowResult(msgspec.Struct):
    """One row of the table with everything measured for it.

    ``at`` is the store's size in keys or values, ``operations`` how many were
    timed, ``day`` when. ``alone`` holds our figures of rows that have no rival.
    """

    name: str
    says: str
    scale: str
    day: str
    durability: str
    unit: str
    at: int
    operations: int
    value_bytes: int
    contests: list[Contest]
    alone: Series
    bounds: list[Bound]
    failures: list[str]

    @property
    def ours(self) -> list[Series]:
        """All of our series."""
        return [*(contest.ours for contest in self.contests), self.alone]

    def figure(self, name: str) -> list[float]:
        """Every value that our runs gave for a figure."""
        return [value for series in self.ours for value in series.figures.get(name, [])]

    def worst(self, bound: Bound) -> float | None:
        """The value furthest on the wrong side."""
        values = self.figure(bound.figure)
        if not values:
            return None
        return min(values) if bound.least else max(values)

    def our_median(self) -> float | None:
        """The median of our rates over all contests."""
        rates = [rate for series in self.ours for rate in series.per_second]
        return median(rates) if rates else None


class Results(msgspec.Struct):
    """The whole file. ``counts`` are exact, and kept by ``bench.counts``."""

    format: int = FORMAT
    machine: Machine | None = None
    rows: list[RowResult] = []
    counts: dict[str, dict[str, float]] = {}


def read(file: Path) -> Results:
    """The results in a file; empty ones where there is none."""
    if not file.exists():
        return Results()
    return msgspec.json.decode(file.read_bytes(), type=Results)


def merge(old: Results, machine: Machine, rows: Iterable[RowResult]) -> Results:
    """New rows in place of those with their name and scale; another machine's are dropped."""
    fresh = {(row.scale, row.name): row for row in rows}
    same = old.machine == machine
    kept = [row for row in old.rows if same and (row.scale, row.name) not in fresh]
    return Results(FORMAT, machine, [*kept, *fresh.values()], old.counts)


def write(file: Path, results: Results) -> None:
    """Write the file, a row a line."""
    rows = ",\n  ".join(_json(row) for row in results.rows)
    counts = ",\n  ".join(f"{_json(name)}: {_json(of)}" for name, of in results.counts.items())
    file.write_text(
        f'{{\n"format": {results.format},\n"machine": {_json(results.machine)},\n'
        f'"rows": [\n  {rows}\n],\n"counts": {{\n  {counts}\n}}\n}}\n',
        encoding="utf-8",
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _rounded(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")
