"""Files outside the store: read in pieces, written whole or not at all."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from holdfast.errors import InvalidValue
from holdfast.limits import MIB

PIECE_BYTES = MIB
STANDARD = "-"


class Readable(Protocol):
    """Whatever hands out the next bytes, and none at its end."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; all that are left with -1."""


@contextmanager
def local_file(path: str | Path) -> Iterator[None]:
    """Name the file in what goes wrong with it.

    Raises:
        InvalidValue: the file could not be read or written (``path``, ``reason``).
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InvalidValue(argument="FILE", path=str(path), reason=reason) from error


def is_folder(path: Path) -> bool:
    """Whether a folder is there; InvalidValue where nobody may look."""
    with local_file(path):
        return path.is_dir()


def pieces(source: Readable) -> Iterator[bytes]:
    """The bytes of a stream, at most 1 MiB at a time."""
    while piece := source.read(PIECE_BYTES):
        yield piece


@contextmanager
def reading(name: str) -> Iterator[BinaryIO]:
    """Open a file by name; ``-`` is standard input.

    Raises:
        InvalidValue: the file cannot be opened, or standard input is closed: that is not empty.
    """
    if name == STANDARD:
        if sys.stdin is None:
            raise InvalidValue(argument="FILE", path=name, reason="standard input is closed")
        yield sys.stdin.buffer
        return
    with local_file(name):
        source = Path(name).open("rb")  # noqa: SIM115 - only its opening is the file's own fault
    with source:
        yield source


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Write a file that appears under its name when the block ends well, and not before.

    A link stays, and the file it leads to is replaced. What is no file of a folder, such as
    a pipe, /dev/null or /dev/stdout, is written to as it stands: nothing may take its place.

    Raises:
        InvalidValue: the file could not be written.
    """
    with local_file(path):
        if _is_stream(path):
            with path.open("wb") as target:
                yield target
            return
        path = path.resolve()
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as target:
                yield target
            _give_usual_mode(name)
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise


def _is_stream(path: Path) -> bool:
    is_of_system = path.absolute().parts[1:2] in {("dev",), ("proc",)}  # even if a file is behind
    return path.exists() and (is_of_system or not path.is_file())


def _give_usual_mode(name: str) -> None:
    """Undo the privacy of a temporary file: it gets the rights any new file gets."""
    mask = os.umask(0o077)
    os.umask(mask)
    Path(name).chmod(0o666 & ~mask)
