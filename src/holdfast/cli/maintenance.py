"""Commands on the whole store: status, check, collect, rebuild, backup, restore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.table import Table

from holdfast.cli.exits import ExitCode
from holdfast.cli.files import is_folder
from holdfast.cli.opening import opened
from holdfast.cli.options import AsJson, Mode, StorePath, folder, output_of, settings_of
from holdfast.cli.output import counted, cut, edge_text, is_wide, shown, size_text, table
from holdfast.cli.progress import watched
from holdfast.store.restore import restore as restore_store
from holdfast.values import BucketStatus, CheckReport, CollectReport, Problem, Status

_FROM_COLUMNS = 36
_NARROW_FROM_COLUMNS = 22
_NARROW = (0, 1, 2, 3, 4, 6)  # the columns that fit 80


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (status, check, collect, rebuild, backup, restore):
        app.command()(command)


def status(context: typer.Context, *, path: StorePath, as_json: AsJson = False) -> None:
    """Show the buckets: their ranges, keys, and live, dead and used bytes.

    Of an object over 1 MiB each part counts as a key, and so does what the store notes for itself.
    """
    output = output_of(context, as_json=as_json)
    with opened(path, settings_of(context).store) as store:
        found = store.status()
    output.document(found, Group(bucket_table(found), _totals(found)))


def check(
    context: typer.Context,
    *,
    path: StorePath,
    repair: Annotated[
        bool, typer.Option("--repair", help="Keep what verifies; name what cannot be kept.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read every record and compare it with every view; exit code 6 if something is wrong."""
    output = output_of(context, as_json=as_json)
    with (
        opened(path, settings_of(context).store) as store,
        watched(output, "checking") as seen,
    ):
        report = store.check(repair=repair, progress=seen)
    output.document(report, _check_text(report))
    if not report.ok and not all(problem.repaired for problem in report.problems):
        raise typer.Exit(ExitCode.UNTRUSTED)


def collect(
    context: typer.Context,
    *,
    path: StorePath,
    mode: Annotated[Mode, typer.Option(help="Which collector works.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Give back the space of what was deleted, replaced or has expired."""
    output = output_of(context, as_json=as_json)
    with (
        opened(path, settings_of(context).store) as store,
        watched(output, "collecting") as seen,
    ):
        report = store.collect(mode=mode, progress=seen)
    output.document(report, collect_text(report))


def rebuild(context: typer.Context, *, path: StorePath, as_json: AsJson = False) -> None:
    """Throw every view away and build it anew from the log."""
    output = output_of(context, as_json=as_json)
    with (
        opened(path, settings_of(context).store) as store,
        watched(output, "rebuilding") as seen,
    ):
        store.rebuild(progress=seen)
        found = store.status()
    keys = sum(bucket.keys for bucket in found.buckets)
    document = {"rebuilt": True, "buckets": len(found.buckets), "keys": keys}
    output.document(
        document, f"rebuilt: {counted(len(found.buckets), 'bucket')}, {counted(keys, 'key')}"
    )


def backup(
    context: typer.Context,
    *,
    path: StorePath,
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="A folder to be made.", parser=folder)
    ],
    as_json: AsJson = False,
) -> None:
    """Copy the store, as it is at one moment, into a new folder."""
    output = output_of(context, as_json=as_json)
    with (
        opened(path, settings_of(context).store) as store,
        watched(output, "backing up", in_bytes=True) as seen,
    ):
        store.backup(str(destination), progress=seen)
    document = {"store": str(path), "backup": str(destination)}
    output.document(document, f"backed up to {shown(str(destination))}")


def restore(
    context: typer.Context,
    *,
    source: Annotated[
        Path, typer.Argument(metavar="BACKUP", help="What backup made.", parser=folder)
    ],
    into: Annotated[
        Path, typer.Argument(metavar="INTO", help="A folder to be made.", parser=folder)
    ],
    as_json: AsJson = False,
) -> None:
    """Make a store from a backup; it begins a new incarnation."""
    output = output_of(context, as_json=as_json)
    if not is_folder(source):
        message = f"there is no backup at {str(source)!r}"
        raise typer.BadParameter(message, param_hint="BACKUP")
    with watched(output, "restoring", in_bytes=True) as seen:
        restore_store(str(source), str(into), progress=seen)
    document = {"backup": str(source), "store": str(into)}
    output.document(document, f"restored into {shown(str(into))}")


def bucket_table(found: Status) -> Table:
    """One line for each bucket, in the order of their ranges.

    A narrow terminal is told whole ids and less of the rest.
    """
    heads = ("bucket", "from", "state", "keys>", "live>", "dead>", "disk>", "memory>")
    rows = [_bucket_row(bucket) for bucket in found.buckets]
    if is_wide():
        return table(heads, rows)
    return table([heads[at] for at in _NARROW], [[row[at] for at in _NARROW] for row in rows])


def collect_text(report: CollectReport) -> str:
    """What a collection did, in one line."""
    return (
        f"{report.mode}: freed {size_text(report.bytes_freed)}, moved "
        f"{size_text(report.bytes_moved)}, {report.segments} segments, "
        f"{report.removed} objects removed, {report.seconds:.2f} s"
    )


def _bucket_row(bucket: BucketStatus) -> tuple[str, ...]:
    columns = _FROM_COLUMNS if is_wide() else _NARROW_FROM_COLUMNS
    return (
        bucket.id,
        cut(edge_text("/".join(bucket.start)), columns) if bucket.start else "(start)",
        bucket.state,
        f"{bucket.keys:,}",
        size_text(bucket.live_bytes),
        size_text(bucket.dead_bytes),
        size_text(bucket.disk_bytes),
        size_text(bucket.heap_bytes),
    )


def _totals(found: Status) -> str:
    keys = sum(bucket.keys for bucket in found.buckets)
    told = (
        f"{counted(len(found.buckets), 'bucket')}, {counted(keys, 'key')}; "
        f"live {size_text(found.live_bytes)}, "
        f"dead {size_text(found.dead_bytes)}, on disk {size_text(found.disk_bytes)}"
    )
    if found.search_behind:
        told += f"; search is {counted(found.search_behind, 'record')} behind"
    if found.dead_letters:
        told += f"; {counted(found.dead_letters, 'dead letter')}"
    if not found.problems:
        return told
    lines = [f"{told}; the scrub found {counted(len(found.problems), 'problem')}"]
    return "\n".join([*lines, *map(_problem_line, found.problems)])


def _check_text(report: CheckReport) -> str:
    seen = f"{counted(report.buckets, 'bucket')}, {counted(report.records, 'record')}"
    if report.ok:
        return f"ok: {seen}"
    lines = [f"{counted(len(report.problems), 'problem')} in {seen}"]
    return "\n".join([*lines, *map(_problem_line, report.problems)])


def _problem_line(problem: Problem) -> str:
    done = " (repaired)" if problem.repaired else ""
    return f"  {problem.bucket} {problem.position}: {shown(problem.what)}{done}"
