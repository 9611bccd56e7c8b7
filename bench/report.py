"""Draw the table: ``python -m bench.report [FILE] > docs/BENCHMARKS.md``.

A rate stands only beside the rival's of the same run; what is claimed is the
lowest ratio, and a target that was missed says by how much.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench import results
from bench.machine import Machine
from bench.measure import median
from bench.results import Contest, Results, RowResult, Series
from bench.rows import Bound

_TITLES = {
    "full": "Figures",
    "quick": "Quick run (rough: small stores, two pairs)",
    "nightly": "At 10,000,000 keys (targets are 0.6 of the ordinary ones)",
}
_HOW = (
    "16-byte keys, one thread, page cache warm, every measurement in a fresh process, engines in "
    "turns. A ratio is the lowest of its pairs; rates are medians and mean nothing on another "
    "machine. *Overlay* is the part of our keys whose index entry was in memory only; *others* "
    "is how many cores were busy with something else while we ran (writeback included)."
)
_RATIOS = ("what", "sync", "value", "keys before", "timed", "overlay", "others")
_CONTEST = ("ours", "rival", "theirs", "ratio", "target", "")


def render(found: Results) -> str:
    """The whole report as Markdown."""
    lines = ["# Benchmarks", "", *_machine(found.machine), "", _HOW, ""]
    for scale, title in _TITLES.items():
        rows = [row for row in found.rows if row.scale == scale]
        if rows:
            lines += [f"## {title}", "", *_ratio_table(rows), "", *_bound_table(rows)]
            lines += [*_verdict(rows), ""]
    if found.counts:
        lines += ["## Counts", "", *_count_table(found.counts), ""]
    return "\n".join(lines) + "\n"


def _machine(machine: Machine | None) -> list[str]:
    if machine is None:
        return ["No run yet."]
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    ground = f"{machine.memory_gib} GiB, {machine.file_system}, {machine.kernel}, {machine.python}"
    return [f"Measured on {machine.cores} cores ({machine.processor}), {ground}; {packages}."]


def _ratio_table(rows: Iterable[RowResult]) -> Iterator[str]:
    yield from _head((*_RATIOS, *_CONTEST))
    for row in rows:
        for number, contest in enumerate(row.contests):
            what = _what(row) if number == 0 else [""] * len(_RATIOS)
            yield _line([*what, *_contest(row, contest)])


def _what(row: RowResult) -> list[str]:
    value = f"{row.value_bytes >> 20} MiB" if row.value_bytes >= 1 << 20 else "1 KiB"
    others = [cores for series in row.ours for cores in series.other_cores]
    return [
        row.says,
        row.durability,
        value,
        f"{row.at:,}",
        f"{row.operations:,}",
        _overlay(row.ours),
        f"{median(others):.1f}" if others else "-",
    ]


def _overlay(ours: Iterable[Series]) -> str:
    shares = sorted(share for series in ours for share in series.overlay_share)
    if not shares:
        return "-"
    low, high = f"{shares[0]:.0%}", f"{shares[-1]:.0%}"
    return low if low == high else f"{low}-{high}"


def _contest(row: RowResult, contest: Contest) -> list[str]:
    ratio, target = contest.ratio, contest.target
    return [
        _rate(contest.ours, row.unit),
        contest.rival,
        _rate(contest.theirs, row.unit),
        "-" if ratio is None else f"{ratio:.2f}x",
        "-" if target is None else f"{target:g}x",
        _met(ratio, target),
    ]


def _met(ratio: float | None, target: float | None) -> str:
    if ratio is None or target is None:
        return ""
    return "met" if ratio >= target else f"**not met**, {ratio / target:.0%} of it"


def _rate(series: Series, unit: str) -> str:
    if not series.per_second:
        return "-"
    return f"{_figure(median(series.per_second))} {unit}"


def _bound_table(rows: Sequence[RowResult]) -> Iterator[str]:
    """Rows with figures of their own: all runs' median and worst, beside the rival's."""
    rows = [row for row in rows if any(series.figures for series in _all_series(row))]
    if not rows:
        return
    yield from _head(("what", "figure", "median", "worst run", "bound", "", "others' median"))
    for row in rows:
        bounds = {bound.figure: bound for bound in row.bounds}
        names = dict.fromkeys(name for series in _all_series(row) for name in series.figures)
        for number, name in enumerate(names):
            yield _line([row.says if number == 0 else "", *_bounded(row, name, bounds.get(name))])
    yield ""


def _all_series(row: RowResult) -> list[Series]:
    return [*row.ours, *(contest.theirs for contest in row.contests)]


def _bounded(row: RowResult, name: str, bound: Bound | None) -> list[str]:
    values = row.figure(name)
    worst = row.worst(bound or Bound(name, 0.0))
    others = [
        f"{contest.rival} {_figure(median(contest.theirs.figures[name]))}"
        for contest in row.contests
        if name in contest.theirs.figures
    ]
    return [
        f"`{name}`",
        _figure(median(values)) if values else "-",
        "-" if worst is None else _figure(worst),
        "-" if bound is None else f"{'>=' if bound.least else '<='} {bound.limit:g}",
        _kept(bound, worst),
        ", ".join(others),
    ]


def _kept(bound: Bound | None, worst: float | None) -> str:
    if bound is None or worst is None:
        return ""
    return "met" if bound.met(worst) else f"**not met**, {worst / bound.limit:.1f}x the bound"


def _verdict(rows: Iterable[RowResult]) -> Iterator[str]:
    """How many targets were met, which were not, and what could not be measured."""
    marks = [mark for row in rows for mark in _marks(row)]
    met = sum(mark.endswith(": met") for mark in marks)
    yield f"{met} of {len(marks)} targets met."
    yield from (f"- {mark}" for mark in marks if not mark.endswith(": met"))
    yield from (f"- failed: {failure}" for row in rows for failure in row.failures)


def _marks(row: RowResult) -> Iterator[str]:
    for contest in row.contests:
        if contest.target is not None:
            mark = _met(contest.ratio, contest.target) or "not measured"
            yield f"{row.name} against {contest.rival}: {mark}"
    for bound in row.bounds:
        yield f"{row.name} {bound.figure}: {_kept(bound, row.worst(bound)) or 'not measured'}"


def _count_table(counts: dict[str, dict[str, float]]) -> Iterator[str]:
    """Exact counts a user operation; they do not jitter, so a test holds them."""
    names = list(dict.fromkeys(name for of in counts.values() for name in of))
    yield from _head(("an operation", *names))
    for what, of in counts.items():
        yield _line([what, *(f"{of[name]:g}" if name in of else "-" for name in names)])


def _figure(value: float) -> str:
    """Three significant digits, thousands apart."""
    if value >= 1_000:
        digits = len(str(int(value))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"


def _head(names: Sequence[str]) -> list[str]:
    return [_line(names), _line(["---"] * len(names))]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the report of a results file."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "results.json"
    sys.stdout.write(render(results.read(file)))


if __name__ == "__main__":
    main()
