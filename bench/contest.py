"""Run rows: pairs in turns, a failure noted where it happens, results filled as they come."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence

from bench.compare import OURS, installed
from bench.results import Contest, RowResult, Series
from bench.rows import STORES, Rival, Row
from bench.scale import Scale
from bench.workshop import ChildFailedError, Workshop


def measure(rows: Sequence[Row], workshop: Workshop) -> list[RowResult]:
    """All rows, with every rival that is installed here."""
    scale = workshop.scale
    found = {row.name: _blank(row, scale) for row in rows}
    for only in _passes(rows, scale):
        for row in rows:
            _tell(row.name if only is None else f"{row.name} against {only}")
            _fill(found[row.name], row, only, workshop)
        if only is not None:
            workshop.forget(only)
    return list(found.values())


def _passes(rows: Sequence[Row], scale: Scale) -> Iterator[str | None]:
    """Once over the rows with all rivals, or once for each engine (ours alone first)."""
    if not scale.by_rival:
        yield None
        return
    engines = dict.fromkeys(rival.engine for row in rows for rival in row.rivals if rival.target)
    yield from dict.fromkeys([OURS, *engines])


def _fill(found: RowResult, row: Row, only: str | None, workshop: Workshop) -> None:
    """Measure a row: against its rivals in turns, or alone where it has none.

    A failure is noted and ends the row; the other rows go on.
    """
    rivals = [
        rival
        for rival in row.rivals
        if installed(rival.engine) and (only is None or only == rival.engine)
    ]
    contests = [_contest(rival, workshop.scale) for rival in rivals]
    found.contests.extend(contests)
    try:
        for _ in range(workshop.scale.rounds):
            for rival, contest in zip(rivals, contests, strict=True):
                if installed(OURS):
                    contest.ours.add(workshop.measure(row, OURS))
                contest.theirs.add(workshop.measure(row, rival.engine, rival.variant))
            if not row.rivals and installed(OURS) and only in (None, OURS):
                found.alone.add(workshop.measure(row, OURS))
    except ChildFailedError as error:
        found.failures.append(str(error))
        _tell(f"  failed: {error}")


def _contest(rival: Rival, scale: Scale) -> Contest:
    target = None if rival.target is None else round(rival.target * scale.target_share, 2)
    return Contest(rival.label, target, Series(), Series())


def _blank(row: Row, scale: Scale) -> RowResult:
    at_rest = scale.at_rest and row.at_rest
    keys = STORES[row.base].count if row.base in STORES else "loaded" if at_rest else ""
    return RowResult(
        name=row.name,
        says=row.says,
        scale=scale.name,
        day=time.strftime("%Y-%m-%d", time.gmtime()),
        durability=row.setting.durability,
        unit=row.unit,
        at=getattr(scale, keys) if keys else 0,
        operations=getattr(scale, row.count),
        value_bytes=row.value_bytes,
        contests=[],
        alone=Series(),
        bounds=list(row.bounds),
        failures=[],
    )


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
