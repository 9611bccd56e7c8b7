"""What a server's settings are, and where each was said."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from holdfast.cli.options import DEFAULT_PATH, AsJson, StoreFolder, output_of
from holdfast.errors import StorageFailed

if TYPE_CHECKING:
    from holdfast.server.config import Config

config = typer.Typer(help="What a server's settings are.", no_args_is_help=True)

File = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings; holdfast.toml in PATH if not said."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(config, name="config")


def configuration(path: Path, file: Path | None, flags: Mapping[str, object]) -> Config:
    """The settings in force for a store's folder.

    Raises:
        InvalidValue: a name that is no setting, or a value that is none of it.
        typer.BadParameter: the file that was named cannot be read.
    """
    from holdfast.server.config import NAME, load  # noqa: PLC0415 - needs an extra

    said = {name: value for name, value in flags.items() if value is not None}
    found = file if file is not None else path / NAME
    try:
        text = found.read_bytes()
    except OSError as error:
        if file is not None:
            message = f"cannot read {str(file)!r}: {error.strerror}"
            raise typer.BadParameter(message, param_hint="--config") from None
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise StorageFailed.of(error, path=str(found)) from error
        return load(said, os.environ)  # whoever opens the store says what is wrong with its folder
    return load(said, os.environ, file=str(found), text=text)


@config.command()
def show(
    context: typer.Context,
    *,
    path: StoreFolder = DEFAULT_PATH,
    file: File = None,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say for each where it was said.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the settings that `serve PATH` would have."""
    found = configuration(path, file, {})
    rows = {
        name: {"value": value, "origin": found.origins[name]} if origin else value
        for name, value in found.values().items()
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in found.values().items():
        table.add_row(name, str(value), found.origins[name] if origin else "")
    output_of(context, as_json=as_json).document(rows, table)
