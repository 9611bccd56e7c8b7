"""Work in a child that is forked, and what it says of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from holdfast import Closed


def in_child(work: Callable[[], str]) -> tuple[str, int, int]:
    """Fork and work there; what it says, its process id, and where to let it end."""
    told, say = os.pipe()
    hold, let_go = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(90)
        os.close(let_go)
        try:
            said = work()
        except BaseException as error:  # noqa: BLE001 - told to the parent
            said = repr(error)
        os.write(say, said.encode())
        os.close(say)
        os.read(hold, 1)
        os._exit(0)
    os.close(say)
    os.close(hold)
    with os.fdopen(told) as answer:
        return answer.read(), child, let_go


def end(child: int, let_go: int) -> None:
    os.close(let_go)
    os.waitpid(child, 0)


def refused(calls: list[Callable[[], object]]) -> str:
    """Which of the calls were carried out; none should be."""
    for at, call in enumerate(calls):
        try:
            call()
        except Closed:
            continue
        return f"call {at} was carried out"
    return "all refused"
