"""What is asked of the whole store, wherever its ranges lie.

Where one process has all of it, the store itself answers. Where several share it, each asks
the supervisor, which asks all of them (gathering.py).
"""

from __future__ import annotations

import builtins
import os
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from holdfast.server.figures import Figures
from holdfast.store.folders import refuse_within
from holdfast.values import CheckReport, CollectReport, DeadLetter, Status

if TYPE_CHECKING:
    from holdfast.placement.elsewhere import Link
    from holdfast.store.store import Store

Mode = Literal["auto", "copying", "compacting"]
T = TypeVar("T")


class Whole:
    """The whole of a store of which this process holds a part.

    Args:
        store: the part.
        link: the way to the supervisor.
    """

    def __init__(self, store: Store, link: Link) -> None:
        self._store = store
        self._link = link

    def status(self) -> Status:
        """Every bucket of every process, exact."""
        return self._ask(Status, "status")

    def check(self, repair: bool = False) -> CheckReport:  # noqa: FBT001, FBT002 - the face
        """What all processes found wrong."""
        return self._ask(CheckReport, "check", repair)

    def collect(self, mode: Mode = "auto") -> CollectReport:
        """What all processes gave back; ``seconds`` is until the last was done."""
        return self._ask(CollectReport, "collect", mode)

    def rebuild(self) -> None:
        """Derive every view of every process again."""
        self._link.ask("rebuild")

    def backup(self, path: str) -> None:
        """Copy the whole store as it is at one moment.

        Raises:
            Busy: another backup is being made, or the processes did not hold their commits
                all at once in time; nothing was made. Else as of ``Store.backup``.
        """
        target = os.path.abspath(path)  # noqa: PTH100 - plain paths
        store = self._store
        refuse_within(target, store.path, store.file, real=True)
        self._link.ask("backup", target)

    def tick(self, budget_s: float = 0.05) -> None:
        """Run upkeep that is due, in each process for so long."""
        self._link.ask("tick", budget_s)

    def flush(self) -> builtins.list[DeadLetter]:
        """Make everything durable that any process answered."""
        return self._ask(builtins.list[DeadLetter], "flush")

    def dead_letters(self) -> builtins.list[DeadLetter]:
        """Those of all processes."""
        return self._ask(builtins.list[DeadLetter], "letters")

    def figures(self) -> builtins.list[Figures]:
        """What each process has counted, for ``/metrics``."""
        return self._ask(builtins.list[Figures], "figures")

    def _ask(self, kind: type[T], method: str, *arguments: object) -> T:
        return msgspec.msgpack.decode(self._link.ask(method, *arguments), type=kind)
