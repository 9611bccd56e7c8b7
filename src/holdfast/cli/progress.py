"""Progress of long work: a bar on a terminal's standard error, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from holdfast.cli.output import Output, console
from holdfast.values import Progress

Advance = Callable[[int, str], None]
"""Call with how much more is done, and a few words that stand beside the bar."""


def _nothing(_amount: int, _words: str) -> None:
    """Stand in for a bar where nobody looks."""


@contextmanager
def progress(
    output: Output, label: str, total: int, *, in_bytes: bool = False
) -> Iterator[Advance]:
    """Show a bar while the block runs; yields what moves it.

    Args:
        output: nothing is drawn under its JSON, nor where standard error is no terminal.
        label: what is being done, a word or two.
        total: the end of the bar.
        in_bytes: whether amounts are bytes rather than objects.
    """
    if _is_unseen(output):
        yield _nothing
        return
    words = TextColumn("{task.fields[words]}", markup=False)
    columns = (*_columns(in_bytes=in_bytes), TimeRemainingColumn(), words)
    with Bar(*columns, console=console(sys.stderr), transient=True) as bar:
        task = bar.add_task(label, total=total, words="")

        def advance(amount: int, words: str) -> None:
            bar.update(task, advance=amount, words=words)

        yield advance


@contextmanager
def watched(output: Output, label: str, *, in_bytes: bool = False) -> Iterator[Progress]:
    """The same of what one call does inside the store: yields what is to be handed to it."""
    seen = Progress()
    if _is_unseen(output):
        yield seen
        return
    with _Watching(seen, *_columns(in_bytes=in_bytes), TimeElapsedColumn()) as bar:
        bar.add_task(label, total=None)
        yield seen


class _Watching(Bar):
    """A bar that looks how far the work is, each time it is drawn."""

    def __init__(self, seen: Progress, *columns: ProgressColumn) -> None:
        self._seen = seen
        super().__init__(*columns, console=console(sys.stderr), transient=True)

    def get_renderables(self) -> Iterable[RenderableType]:
        for task in self.task_ids:
            self.update(task, completed=self._seen.done, total=self._seen.total or None)
        return super().get_renderables()


def _is_unseen(output: Output) -> bool:
    return output.as_json or not sys.stderr.isatty()


def _columns(*, in_bytes: bool) -> tuple[ProgressColumn, ...]:
    amounts = DownloadColumn() if in_bytes else MofNCompleteColumn()
    return TextColumn("{task.description}", markup=False), BarColumn(), amounts
