"""The command line: the embedded face for hands and shell scripts.

Comes in: the arguments of a process (from a person or a script), bytes on
standard input, files, folders, zips and JSON objects outside the store.
Goes out: calls on the public face (``holdfast.open`` and what it returns),
text or JSON on standard output, errors and progress on standard error, and an
exit code that follows the error tree.
Keeps: nothing between two commands; the store does.
Must never know: how a store is built. It imports the face, the values, the
errors, the bounds and the clock, and no room between them; nothing else in
the house may import typer or rich.
Invariants: standard output carries results only; every failure of a command
is one error of the tree with one exit code; names that come from outside (of
a zip, of a key) never decide where on the file system something is written.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from holdfast.cli.signals import end_at_once, end_tidily

__all__ = ["main"]

_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code (docs/CLI.md has the table).

    Args:
        arguments: what follows the program's name; ``sys.argv`` without it.

    Example:
        >>> main(["status", "no/such/store"])
        2
    """
    if arguments is None:  # the process is ours
        end_at_once()
        if sys.argv[1:] == ["--version"] and _told_version():
            return 0
    try:
        import typer as _typer  # noqa: F401, PLC0415 - asked for before anything needs it
    except ModuleNotFoundError:
        sys.stderr.write("holdfast: the command line needs: pip install 'holdfast[cli]'\n")
        return _USAGE
    from holdfast.cli.app import run  # noqa: PLC0415 - known to import by now

    if arguments is not None:
        return int(run(arguments))
    end_tidily()
    return int(run(sys.argv[1:]))


def _told_version() -> bool:
    """Print the version without loading a command; False where that takes more."""
    from holdfast.cli.version import version_line  # noqa: PLC0415 - for this alone

    try:
        return os.write(1, version_line().encode()) > 0
    except OSError:  # closed, full or a pipe that ended: the program says so as it always does
        return False
