"""How a command opens its store: the one place that calls ``holdfast.open``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import typer

from holdfast.bucket import bills
from holdfast.cli.options import StoreOptions, Sync
from holdfast.engines.disk import OsDisk
from holdfast.errors import HoldfastError
from holdfast.request import arguments
from holdfast.request.options import put_options
from holdfast.store import open_store
from holdfast.store.ownership import NAME, read_store_file
from holdfast.values import dollars

if TYPE_CHECKING:
    from holdfast.cli.output import Output
    from holdfast.cli.streams import PutOptions
    from holdfast.store import Store


@contextmanager
def opened(
    path: Path, options: StoreOptions, *, create: bool = False, output: Output | None = None
) -> Iterator[Store]:
    """Open the store at ``path`` for one command, and close it after.

    Args:
        path: the store's folder.
        options: how to open it.
        create: make a new store where there is none; without it a mistyped path
            is a mistake of the command line and leaves nothing behind.
        output: is told what the command cost, where it cost anything.

    Raises:
        typer.BadParameter: there is no store and none is to be made.
        HoldfastError: as ``holdfast.open`` and whatever the command does.
    """
    if not create and not holds_store(path):
        message = f"there is no store at {str(path)!r}"
        raise typer.BadParameter(message, param_hint="PATH")
    with open_store(str(path), **keywords(options)) as store, bills.opened() as bill:
        yield store
        cost_atto = bill.cost_atto
    if output is not None and cost_atto:
        output.remark(f"{'costs' if cost_atto > 0 else 'gives back'} {dollars(abs(cost_atto))}")


def refuse_invalid(namespace: str, keys: Iterable[str], options: PutOptions) -> None:
    """Refuse what the store would refuse, before one is made: bad input leaves nothing behind.

    Raises:
        InvalidNamespace, InvalidKey, InvalidExpiry, InvalidValue, LimitExceeded: as of a put.
    """
    space = arguments.namespace_bytes(namespace) + arguments.VISIBLE
    for key in keys:
        arguments.compose(space, key)
    put_options(**options)


def holds_store(path: Path) -> bool:
    """Whether a folder holds a store: its store file tells; if nobody may look, opening does."""
    try:
        return (path / NAME).exists()
    except OSError:
        return True


def own_folders(path: Path, options: StoreOptions) -> set[str]:
    """Where the store's own files lie, or will: no files of anybody else's are to be there."""
    folders = {path, *options.data_dirs, *filter(None, [options.index_dir])}
    with suppress(HoldfastError, OSError):  # opening says what is wrong with it
        found = read_store_file(OsDisk(), str(path))
        if found is not None:
            folders.update(path / folder for folder in (*found.data_dirs, found.index_dir))
    return {os.path.realpath(folder) for folder in folders}


def lies_in(path: Path, folders: Iterable[str]) -> bool:
    """Whether a path is one of these folders, or below one."""
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(folder) for folder in folders)


class _Keywords(TypedDict, total=False):
    """The keywords of ``holdfast.open``; only what was said, its own defaults hold for the rest."""

    sync: Sync
    bucket_bytes: int
    index_dir: Path
    data_dirs: tuple[Path, ...]


def keywords(options: StoreOptions) -> _Keywords:
    """The options that were said, as keywords of ``holdfast.open``."""
    said: _Keywords = {}
    if options.sync is not None:
        said["sync"] = options.sync
    if options.bucket_bytes is not None:
        said["bucket_bytes"] = options.bucket_bytes
    if options.index_dir is not None:
        said["index_dir"] = options.index_dir
    if options.data_dirs:
        said["data_dirs"] = options.data_dirs
    return said
