"""What Ctrl-C, SIGTERM and SIGHUP do to a command: while it is loaded, and while it runs.

One that is ignored, as under ``nohup``, stays so. ``serve`` listens for them itself.
"""

from __future__ import annotations

import os
import signal
import sys

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ENDED = 128  # and the signal: what a shell says of a process that one ended


def end_at_once() -> None:
    """Have them end the process quietly: nothing was begun yet, so there is nothing to tidy."""
    for number in _ENDING:
        if signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}:
            signal.signal(number, _leave)


def end_tidily() -> None:
    """Have them end a command as an exception does: its temporary folders go first."""
    for number in _ENDING:
        if signal.getsignal(number) is _leave:
            is_interrupt = number is signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_interrupt else _end)


def ended_by(error: BaseException | None) -> int | None:
    """The exit code of the signal that an error follows from, if one does.

    An interrupt in the midst of a write surfaces as what that made of it: a disk that failed,
    an outcome that is not known.

    Example:
        >>> ended_by(KeyboardInterrupt()), ended_by(OSError())
        (130, None)
    """
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        if isinstance(one, KeyboardInterrupt):
            return _ENDED + signal.SIGINT
        if isinstance(one, SystemExit) and one.code in {_ENDED + number for number in _ENDING}:
            return int(one.code)
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__]  # the latter also behind a "from None"
    return None


def _leave(number: int, _frame: object) -> None:
    os._exit(_ENDED + number)


def _end(number: int, _frame: object) -> None:
    sys.exit(_ENDED + number)
