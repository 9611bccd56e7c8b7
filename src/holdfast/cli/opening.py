"""How a command opens its store: the one place that calls ``holdfast.open``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

import holdfast
from holdfast.cli.options import StoreOptions

if TYPE_CHECKING:
    from holdfast.store import Store

MEMORY = ":memory:"


@contextmanager
def opened(path: Path, options: StoreOptions, *, create: bool = False) -> Iterator[Store]:
    """Open the store at ``path`` for one command, and close it after.

    Args:
        path: the store's folder.
        options: how to open it.
        create: make a new store where there is none; without it a mistyped path
            is a mistake of the command line and leaves nothing behind.

    Raises:
        typer.BadParameter: there is no store and none is to be made.
        HoldfastError: as ``holdfast.open`` and whatever the command does.
    """
    if not create and not holds_store(path):
        message = f"there is no store at {str(path)!r}"
        raise typer.BadParameter(message, param_hint="PATH")
    with holdfast.open(str(path), **_keywords(options)) as store:
        yield store


def holds_store(path: Path) -> bool:
    """Whether a store may be here: a folder with something in it."""
    try:
        with os.scandir(path) as found:
            return next(found, None) is not None
    except OSError:
        return False


def _keywords(options: StoreOptions) -> dict[str, object]:
    """Only what was said, so the face's own defaults hold for the rest."""
    said: dict[str, object] = {
        "sync": options.sync,
        "bucket_bytes": options.bucket_bytes,
        "index_dir": options.index_dir and str(options.index_dir),
        "data_dirs": [str(folder) for folder in options.data_dirs] or None,
    }
    return {name: value for name, value in said.items() if value is not None}
