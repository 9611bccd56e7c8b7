"""``holdfast bench``: how fast this disk is, and the store on it, in twenty seconds.

The yardstick is a bare loop that appends 1 KiB and calls fdatasync: no store
that keeps its promise can answer one durable write faster than that. Bare and
durable slices alternate, because disks have moods.
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.table import Table

from holdfast.cli.files import local_file
from holdfast.cli.opening import opened
from holdfast.cli.options import AsJson, StoreOptions, folder, output_of
from holdfast.cli.output import Output, table
from holdfast.cli.progress import progress
from holdfast.clock import Clock, SystemClock
from holdfast.limits import LIST_PAGE

if TYPE_CHECKING:
    from holdfast.store import Namespace

_SECONDS = 20.0
_VALUE = bytes(range(256)) * 4  # 1 KiB
_KEYS = 200_000  # at most so many, 200 MiB, whatever the speed
_STRIDE = 7_919  # a prime: reads visit all keys, and neighbours are far apart
_PAIRS = 5
_GROUP = 100  # fast operations are timed by the hundred; a clock costs as much as they do
_NS = 1_000_000_000

_sync = getattr(os, "fdatasync", os.fsync)


@dataclass(frozen=True)
class Rate:
    """Operations a second, and how long one takes: microseconds, median and 99th percentile."""

    name: str
    per_second: float
    p50_us: float
    p99_us: float
    operations: int
    to_bare: float = 0.0


class Stopwatch:
    """Times an action again and again, over one or more slices.

    Args:
        clock: what time it is.
        action: does ``group`` operations.
        group: operations in one call of ``action``.
    """

    def __init__(self, clock: Clock, action: Callable[[], object], group: int = 1) -> None:
        self._clock = clock
        self._action = action
        self._group = group
        self._took_ns: list[int] = []

    def run(self, seconds: float, most: int | None = None) -> None:
        """Go on for so long, or until ``most`` calls were made in all; one is made however late."""
        now, action, took = self._clock.monotonic_ns, self._action, self._took_ns
        end = now() + int(seconds * _NS)
        before = now()
        while (before < end or not took) and (most is None or len(took) < most):
            action()
            after = now()
            took.append(after - before)
            before = after

    def rate(self, name: str) -> Rate:
        """What came out."""
        each = sorted(took / self._group / 1_000 for took in self._took_ns)
        operations = len(each) * self._group
        per_second = operations * _NS / sum(self._took_ns)
        late = each[min(len(each) - 1, len(each) * 99 // 100)]
        return Rate(name, per_second, statistics.median(each), late, operations)


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(bench)


def bench(
    context: typer.Context,
    *,
    path: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="A folder on the disk to be tested.", parser=folder),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.5, help="How long in all.")] = _SECONDS,
    as_json: AsJson = False,
) -> None:
    """Test this machine: a bare write and fdatasync loop, and the store beside it."""
    output = output_of(context, as_json=as_json)
    with local_file(path or tempfile.gettempdir()):
        folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-", dir=path))
    try:
        rates = _measure(output, folder, seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    machine = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "folder": str(folder.parent),
    }
    told = ", ".join(f"{name} {fact}" for name, fact in machine.items())
    note = "1 KiB values, 16-byte keys, one thread, page cache warm; ratio = to the bare loop"
    document = {**machine, "seconds": seconds, "rates": [asdict(rate) for rate in rates]}
    output.document(document, Group(told, note, _drawn(rates)))


def _measure(output: Output, folder: Path, seconds: float) -> list[Rate]:
    clock = SystemClock()
    part = seconds / 5
    with progress(output, "measuring", 5) as advance:
        with opened(folder / "durable", StoreOptions(), create=True) as store:
            bare, durable = _durable(clock, folder, (store.namespace("bench"), part * 2))
        advance(2, "put, not synced")
        with opened(folder / "fast", StoreOptions(sync="never"), create=True) as store:
            objects = store.namespace("bench")
            unsynced, stored = _unsynced(clock, objects, part)
            advance(1, "get")
            got = _get(clock, objects, (stored, part))
            advance(1, "list")
            listed = _list(clock, objects, part)
    found = [bare, durable, unsynced, got, listed]
    return [
        Rate(**{**asdict(rate), "to_bare": rate.per_second / bare.per_second}) for rate in found
    ]


def _durable(clock: Clock, folder: Path, work: tuple[Namespace, float]) -> tuple[Rate, Rate]:
    """The bare loop and durable puts, in alternating slices."""
    objects, seconds = work
    numbers = count()
    handle = os.open(folder / "bare", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)

    def write_bare() -> None:
        os.write(handle, _VALUE)
        _sync(handle)

    def put() -> None:
        objects.put(_key(next(numbers)), _VALUE)

    bare, durable = Stopwatch(clock, write_bare), Stopwatch(clock, put)
    try:
        for _ in range(_PAIRS):
            bare.run(seconds / 2 / _PAIRS)
            durable.run(seconds / 2 / _PAIRS)
    finally:
        os.close(handle)
    return bare.rate("bare write + fdatasync"), durable.rate("put, durable")


def _unsynced(clock: Clock, objects: Namespace, seconds: float) -> tuple[Rate, int]:
    numbers = count()

    def put() -> None:
        for _ in range(_GROUP):
            objects.put(_key(next(numbers)), _VALUE)

    watch = Stopwatch(clock, put, _GROUP)
    watch.run(seconds, _KEYS // _GROUP)
    return watch.rate("put, not synced"), next(numbers)


def _get(clock: Clock, objects: Namespace, work: tuple[int, float]) -> Rate:
    stored, seconds = work
    numbers = count()

    def get() -> None:
        for _ in range(_GROUP):
            objects.get(_key(next(numbers) * _STRIDE % stored))

    watch = Stopwatch(clock, get, _GROUP)
    watch.run(seconds)
    return watch.rate("get")


def _list(clock: Clock, objects: Namespace, seconds: float) -> Rate:
    watch = Stopwatch(clock, lambda: sum(1 for _ in objects.list(limit=LIST_PAGE)))
    watch.run(seconds)
    return watch.rate(f"list of {LIST_PAGE:,}")


def _key(number: int) -> str:
    return f"{number:016d}"


def _drawn(rates: list[Rate]) -> Table:
    rows = [
        (
            rate.name,
            f"{rate.per_second:,.0f}",
            f"{rate.to_bare:.2f}x",
            f"{rate.p50_us:,.1f}",
            f"{rate.p99_us:,.1f}",
        )
        for rate in rates
    ]
    return table(("", "per second>", "ratio>", "median us>", "p99 us>"), rows)
