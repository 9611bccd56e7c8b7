"""``holdfast demo``: a real directory of files through the whole life of a store.

It stores the machine's own Python standard library in small buckets, then
overwrites, deletes and expires some of it, collects, closes, opens again,
lists, and reads every file back and compares. Whatever differs ends the
command with the exit code for "stop trusting".
"""

from __future__ import annotations

import platform
import shutil
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from holdfast.cli.exits import ExitCode
from holdfast.cli.files import local_file
from holdfast.cli.options import AsJson, StoreOptions, folder, output_of, settings_of
from holdfast.cli.output import Output, counted, shown, size_text
from holdfast.cli.places import draw_places, legend, scale_of, total
from holdfast.cli.tour import Found, Sample, Tour
from holdfast.clock import SystemClock
from holdfast.errors import InvalidValue
from holdfast.limits import MIB

_LEFT_OUT = {"__pycache__", "site-packages", "dist-packages"}
_BUCKET_BYTES = MIB  # small, so that a directory of 30 MiB grows through dozens of buckets
_DIFFERENCES_TOLD = 20


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(demo)


def demo(
    context: typer.Context,
    *,
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH", help="A new store, kept; else a temporary one.", parser=folder
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Another folder than the standard library's.",
            show_default=False,
            parser=folder,
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the temporary store.")] = False,
    as_json: AsJson = False,
) -> None:
    """Store the Python standard library, change it, collect, read it back and compare."""
    output = output_of(context, as_json=as_json)
    samples = _samples(source)
    if path is not None:
        _refuse_taken(path)
    said = settings_of(context).store
    options = replace(said, bucket_bytes=said.bucket_bytes or _BUCKET_BYTES)
    with _place(path, keep=keep) as store_path:
        for line in _opening_words(samples, source, options, store_path):
            output.say(line)
        output.say("")
        found = Tour(output, SystemClock(), store_path, options).take(samples)
    _tell(output, found, store_path if keep or path else None)
    if found.differences or not found.check.ok:
        raise typer.Exit(ExitCode.UNTRUSTED)


def _samples(source: Path | None) -> list[Sample]:
    """The files to store, in the order of their names.

    Raises:
        InvalidValue: there are none.
    """
    root = source or Path(sysconfig.get_path("stdlib"))
    pattern = "*" if source else "*.py"
    with local_file(root):
        names = sorted(
            found.relative_to(root).as_posix()
            for found in root.rglob(pattern)
            if found.is_file() and not _LEFT_OUT.intersection(found.relative_to(root).parts)
        )
    if not names:
        raise InvalidValue(argument="source", path=str(root), reason="there are no files")
    return [Sample(name, root / name, number) for number, name in enumerate(names)]


def _refuse_taken(path: Path) -> None:
    with local_file(path):
        taken = path.exists() and (not path.is_dir() or any(path.iterdir()))
    if taken:
        message = f"something is at {str(path)!r} already; the demo wants a store of its own"
        raise typer.BadParameter(message, param_hint="PATH")


@contextmanager
def _place(path: Path | None, *, keep: bool) -> Iterator[Path]:
    """The path that was given, or a fresh one that goes away at the end."""
    if path is not None:
        yield path
        return
    folder = Path(tempfile.mkdtemp(prefix="holdfast-demo-"))
    try:
        yield folder / "store"
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _opening_words(
    samples: list[Sample], source: Path | None, options: StoreOptions, store_path: Path
) -> tuple[str, str]:
    what = str(source) if source else f"the standard library of Python {platform.python_version()}"
    size = sum(sample.path.stat().st_size for sample in samples)
    bound = size_text(options.bucket_bytes or 0)
    return (
        f"{shown(what)}: {counted(len(samples), 'file')}, {size_text(size)}",
        f"into {shown(str(store_path))}, in buckets of {bound}",
    )


def _tell(output: Output, found: Found, kept: Path | None) -> None:
    if output.as_json:
        output.document(found.document() | ({"store": str(kept)} if kept else {}), "")
        return
    scale = scale_of(found.before, found.after)
    output.say("")
    output.say(f"Where the bytes are before collecting ({legend()})")
    output.say(draw_places(found.before, scale))
    output.say("and after")
    output.say(draw_places(found.after, scale))
    before, after = total(found.before), total(found.after)
    output.say(
        f"on disk: {size_text(before.disk_bytes)} before, {size_text(after.disk_bytes)} after, "
        f"for {size_text(after.live_bytes)} of live data"
    )
    for difference in found.differences[:_DIFFERENCES_TOLD]:
        output.say(f"DIFFERS: {shown(difference)}")
    if kept:
        output.say(f"the store is kept; look at it with: holdfast status {shown(str(kept))}")
    sound = not found.differences and found.check.ok
    verdict = "Everything is as it should be." if sound else "Something is wrong: see above."
    output.say(Text(verdict, style="bold green" if sound else "bold red"))
