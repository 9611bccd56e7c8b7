"""A full disk: growth is refused, deletes and collections go on (rule 10).

Whoever meets a full disk gives up what is set aside, to begin a new segment.
From then on stores and appends are refused; deletes have their quarter, and
when that is used up, collecting what they left dead brings it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Final

from holdfast.bucket.bucket import Bucket
from holdfast.errors import StorageFailed
from holdfast.operations import Append, Operation, Store
from holdfast.placement.reserve import Reserve

FULL: Final = "ENOSPC"
GROWING: Final = (Store, Append)


class Pressure:
    """Whether the disk is full, and what may still be written then.

    ``relieve`` collects what is dead; whether that was not in vain, so that more may come of
    it. Whoever runs collections sets it.

    Args:
        reserve: what is set aside.
    """

    def __init__(self, reserve: Reserve) -> None:
        self.full = False
        self.relieve: Callable[[], bool] = _nothing
        self._reserve = reserve
        self._lending = RLock()  # held while collectors have the reserve

    def admit(self, bucket: Bucket, *, growing: bool) -> None:
        """Refuse growth while the disk is full: StorageFailed, nothing was written.

        What is not growth is refused where collecting, as long as that gains any, made no room.
        Whoever comes while collectors have the reserve waits.
        """
        if self.ease(bucket):
            return
        while not (growing or self._reserve.can_go_on(bucket.id)) and self.relieve():
            pass
        if growing or not self._reserve.can_go_on(bucket.id):
            raise StorageFailed(bucket=bucket.id, errno=FULL, cause="the disk is full")

    def ease(self, bucket: Bucket) -> bool:
        """Whether there is room again; then the reserve is whole again, too."""
        with self._lending:
            if self._reserve.is_roomy(bucket.id) and self._reserve.fill():
                self.full = False
            return not self.full

    @contextmanager
    def lending(self) -> Iterator[None]:
        """Let collectors have the reserve; writers wait, for they would take it."""
        with self._lending:
            full, self.full = self.full, True
            self._reserve.lend()
            try:
                yield
            finally:
                self._reserve.keep_for_collectors()
                self.full = full

    def met(self, error: StorageFailed, operations: Sequence[Operation]) -> bool:
        """Take note of what stopped a write; whether it is worth trying again."""
        if error.facts.get("errno") != FULL:
            return False
        with self._lending:
            self.full = True
            self._reserve.keep_for_collectors()
        if any(isinstance(operation, GROWING) for operation in operations):
            return False
        self.relieve()
        return True


def _nothing() -> bool:
    return False
