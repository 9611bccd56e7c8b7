"""The arguments and options that several commands share, and how they are read.

The words of the command line are the words of the Python face, so whoever
knows one knows the other.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from holdfast.cli.output import Output
from holdfast.limits import GIB, KIB, MIB, TIB

_SIZE = re.compile(r"(\d+)\s*(|B|KiB|MiB|GiB|TiB)", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "kib": KIB, "mib": MIB, "gib": GIB, "tib": TIB}
_RANGE = re.compile(r"(\d+):(\d*)")


Sync = Literal["always", "interval", "never"]
Matching = Literal["text", "component"]
Mode = Literal["auto", "copying", "compacting"]


@dataclass(frozen=True)
class StoreOptions:
    """How a store is opened: the keywords of ``holdfast.open``, None where not said.

    ``bucket_bytes`` is the bound of a bucket in bytes; ``index_dir`` holds keys
    and ``data_dirs`` hold values where they do not lie in the store's own folder.
    """

    sync: Sync | None = None
    bucket_bytes: int | None = None
    index_dir: Path | None = None
    data_dirs: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Settings:
    """What the options before the command's name say."""

    as_json: bool = False
    store: StoreOptions = StoreOptions()


def parse_size(text: str) -> int:
    """Bytes from "65536", "64KiB", "1 GiB".

    Raises:
        typer.BadParameter: it is none of these.

    Example:
        >>> parse_size("64KiB")
        65536
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        message = f"{text!r} is no size; write bytes, or a number with KiB, MiB, GiB or TiB"
        raise typer.BadParameter(message)
    return int(found[1]) * _UNITS[found[2].lower()]


def parse_range(text: str) -> tuple[int, int]:
    """``(start, stop)`` from "START:STOP"; without STOP, to the end of any object.

    Raises:
        typer.BadParameter: it is not of this form.

    Example:
        >>> parse_range("5:9")
        (5, 9)
    """
    found = _RANGE.fullmatch(text)
    if found is None:
        message = f"{text!r} is no range; write START:STOP or START:, counted in bytes from 0"
        raise typer.BadParameter(message)
    return int(found[1]), int(found[2]) if found[2] else 1 << 62


def parse_ttl(text: str) -> float | str:
    """Seconds as a number where it is one; else the text ("30d"), which the store reads.

    Example:
        >>> parse_ttl("30"), parse_ttl("0.5"), parse_ttl("30d")
        (30, 0.5, '30d')
    """
    if text.isdecimal():
        return int(text)
    try:
        seconds = float(text)
    except ValueError:
        return text
    return seconds if math.isfinite(seconds) else text


def settings_of(context: typer.Context) -> Settings:
    """The options that stood before the command's name."""
    found = context.obj
    return found if isinstance(found, Settings) else Settings()


def output_of(context: typer.Context, *, as_json: bool) -> Output:
    """Where this command prints: JSON if asked for before its name or after."""
    return Output(as_json=as_json or settings_of(context).as_json)


AsJson = Annotated[
    bool,
    typer.Option("--json", help="JSON: one document, or one line for each item of a list."),
]


def folder(path: str | Path) -> Path:
    """A path as it is given; an empty one, of a variable that is not set, is not this folder."""
    if path == "":
        raise typer.BadParameter("it is empty")
    return Path(path)


StorePath = Annotated[
    Path,
    typer.Argument(metavar="PATH", help="The store's folder.", show_default=False, parser=folder),
]
StoreFolder = Annotated[  # for what is asked of a store that is served
    Path,
    typer.Argument(
        metavar="PATH",
        envvar="HOLDFAST_PATH",
        help="The store's folder; data if not said.",
        parser=folder,
    ),
]
DEFAULT_PATH = Path("data")
NamespaceName = Annotated[
    str, typer.Argument(metavar="NAMESPACE", help="Whose keys.", show_default=False)
]
KeyName = Annotated[
    str, typer.Argument(metavar="KEY", help="The object's key.", show_default=False)
]
Source = Annotated[
    str,
    typer.Argument(metavar="FILE", help="Where the bytes are; - is standard input."),
]
InlineText = Annotated[
    str | None,
    typer.Option("--text", metavar="TEXT", help="The bytes themselves, as text, in place of FILE."),
]
Ttl = Annotated[
    str | None,
    typer.Option("--ttl", help="Time to live: seconds, or 90s, 15m, 12h, 30d.", metavar="TTL"),
]
Fence = Annotated[
    int | None,
    typer.Option("--fence", metavar="N", help="Only while the lock with this fence holds."),
]
Prefix = Annotated[
    str,
    typer.Option(
        "--prefix",
        metavar="TEXT",
        help="import puts it before every name; export takes the keys below it, without it.",
    ),
]
Skip = Annotated[
    bool,
    typer.Option("--skip", help="Pass over names that cannot be taken, and say which."),
]
