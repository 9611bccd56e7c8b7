"""Progress of long work: a bar on a terminal's standard error, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from holdfast.cli.output import Output, console

Advance = Callable[[int, str], None]
"""Call with how much more is done, and a few words that stand beside the bar."""


def _nothing(_amount: int, _words: str) -> None:
    """Stand in for a bar where nobody looks."""


@contextmanager
def progress(
    output: Output, label: str, total: int | None, *, in_bytes: bool = False
) -> Iterator[Advance]:
    """Show a bar while the block runs; yields what moves it.

    Args:
        output: nothing is drawn under its JSON, nor where standard error is no terminal.
        label: what is being done, a word or two.
        total: the end of the bar, or None where it is not known.
        in_bytes: whether amounts are bytes rather than objects.
    """
    if output.as_json or not sys.stderr.isatty():
        yield _nothing
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        *_columns(total, in_bytes=in_bytes),
        TextColumn("{task.fields[words]}", markup=False),
        console=console(sys.stderr),
        transient=True,
    )
    with bar:
        task = bar.add_task(label, total=total, words="")

        def advance(amount: int, words: str) -> None:
            bar.update(task, advance=amount, words=words)

        yield advance


def _columns(total: int | None, *, in_bytes: bool) -> tuple[ProgressColumn, ...]:
    if total is None:
        return SpinnerColumn(), TimeElapsedColumn()
    amounts = DownloadColumn() if in_bytes else MofNCompleteColumn()
    return BarColumn(), amounts, TimeRemainingColumn()
