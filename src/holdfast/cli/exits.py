"""What the process answers its caller with, derived from the error tree.

Scripts branch on these numbers, so they follow what the caller must do, not
what happened; the ``code`` of the error (docs/CLI.md) says what happened.
"""

from __future__ import annotations

from enum import IntEnum

from holdfast.errors import Correctable, HoldfastError, NotFound, Payable, Untrusted, Waitable


class ExitCode(IntEnum):
    """The exit codes of every command (docs/CLI.md has the table)."""

    OK = 0
    UNEXPECTED = 1  # a fault of Holdfast or of the machine: worth a report
    USAGE = 2  # the command line itself is wrong
    CORRECTABLE = 3  # understood and refused: correct the request
    NOT_FOUND = 4  # there is no such object
    WAIT = 5  # locked, in use, busy: the same command may succeed later
    UNTRUSTED = 6  # bytes, disk or outcome can no longer be taken on trust
    PAY = 7  # the balance is empty
    INTERRUPTED = 130  # as shells say it: 128 + SIGINT
    PIPE_CLOSED = 141  # 128 + SIGPIPE: the reader (head, less) went away


# The first branch that fits decides, so a leaf stands before its branch.
_BRANCHES: tuple[tuple[type[HoldfastError], ExitCode], ...] = (
    (NotFound, ExitCode.NOT_FOUND),
    (Correctable, ExitCode.CORRECTABLE),
    (Payable, ExitCode.PAY),
    (Waitable, ExitCode.WAIT),
    (Untrusted, ExitCode.UNTRUSTED),
)


def exit_code(error: BaseException) -> ExitCode:
    """The exit code for an error.

    Args:
        error: whatever ended the command.

    Example:
        >>> exit_code(NotFound(key="a"))
        <ExitCode.NOT_FOUND: 4>
    """
    for branch, code in _BRANCHES:
        if isinstance(error, branch):
            return code
    return ExitCode.UNEXPECTED
