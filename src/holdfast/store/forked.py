"""A process that forks keeps its stores; in its child they are closed.

Two processes that append to one log, each where it believes the end to be, write
over each other. The child is not told so by the folder's lock, which it inherits, and
nothing that runs on threads (upkeep, ``put_soon``) came with it. So every store that was
open answers ``Closed`` there, and lets go of the lock, which would outlive the parent.
The child may open other stores, and this one once the parent has closed it.

It is the same with a store behind a server: over one connection each would read answers
to the other, and of two writes with one number the second is taken for the first sent again.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Disowned(Protocol):
    """What must not be used by two processes."""

    def disown(self) -> None:
        """Become closed without touching a file; called in a child, on its only thread."""


_opened: WeakSet[Disowned] = WeakSet()


def watch(opened: Disowned) -> None:
    """Have this closed in every child that is forked from now on."""
    _opened.add(opened)


def forget(closed: Disowned) -> None:
    """Leave this alone: it is closed."""
    _opened.discard(closed)


def _in_child() -> None:
    for opened in list(_opened):
        opened.disown()
    _opened.clear()


os.register_at_fork(after_in_child=_in_child)
