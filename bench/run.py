"""Run the table: ``python -m bench.run [--quick | --nightly] [--only NAME] [--json FILE]``.

Prints the table, and writes the results beside those of other rows and scales.
Without ``--json`` nothing is written.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import contest, machine, report, results
from bench.compare import OURS, PACKAGES, installed
from bench.rows import ROWS, Row
from bench.scale import FULL, NIGHTLY, QUICK, Scale
from bench.workshop import Workshop

_COPIES = 5
_RECORD_BYTES = 1_100


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 1 where a measurement failed."""
    asked = _parser().parse_args(arguments)
    if not installed(OURS):
        sys.stderr.write("holdfast cannot be imported: only its rivals are measured\n")
    scale = QUICK if asked.quick else NIGHTLY if asked.nightly else FULL
    with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.folder) as folder:
        _require_room(Path(folder), scale)
        found = machine.describe(Path(folder), PACKAGES)
        rows = contest.measure(_chosen(asked.only, scale), Workshop(Path(folder), scale))
    new = results.merge(results.Results(), found, rows)
    sys.stdout.write(report.render(new))
    if asked.json:
        results.write(asked.json, results.merge(results.read(asked.json), found, rows))
    return 1 if any(row.failures for row in rows) else 0


def _require_room(folder: Path, scale: Scale) -> None:
    """Refuse to begin what would fill the disk: our store, a rival's twice that, and new keys."""
    needed = _COPIES * scale.loaded * _RECORD_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        sys.exit(f"{scale.name} needs {needed >> 30} GiB of disk, {free >> 30} are free (--folder)")


def _chosen(only: Sequence[str] | None, scale: Scale) -> list[Row]:
    rows = [row for row in ROWS if scale.name in row.scales]
    if not only:
        return rows
    return [row for row in rows if row.name in only]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a minute or two; figures are rough")
    size.add_argument("--nightly", action="store_true", help="10 M keys: hours, 40 GiB of disk")
    names = sorted(row.name for row in ROWS)
    parser.add_argument("--only", action="append", choices=names, help="a row; may be repeated")
    parser.add_argument("--json", type=Path, help="merge the results into this file")
    parser.add_argument("--folder", type=Path, help="where stores are made; default: temporary")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
