"""Numbered writes at the corridor: each takes the next number of a session (rule 9).

What the house writes on a caller's behalf takes none: parts of a large object and
notes about them, which are new with each try, and an object that is only laid out
anew. The manifest takes the number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.bucket.plain import Batch
from holdfast.errors import HoldfastError, SessionUnknown
from holdfast.operations import Evacuate, Lock, Once, Operation, Store, Upload
from holdfast.request.arguments import HIDDEN, VISIBLE, integer, outside
from holdfast.request.corridor import Corridor
from holdfast.values import Receipts

NUMBER_MOST = (1 << 63) - 1
SESSION_BYTES = 16


def once(session: object, number: object, floor: object) -> Once:
    """A session's id (32 hex digits), a number and a floor, checked.

    Raises:
        SessionUnknown: what is no id names no session.
        InvalidValue: a number below 0 or its floor, or beyond 63 bits.
    """
    try:
        raw = bytes.fromhex(session) if isinstance(session, str) else b""
    except ValueError:
        raw = b""
    if len(raw) != SESSION_BYTES:
        raise SessionUnknown(session=session)
    least = integer(floor, "floor")
    told = integer(number, "number")
    if not 0 <= least <= told <= NUMBER_MOST:
        raise outside("number")
    return Once(raw, told, least)


class NumberedCorridor(Corridor):
    """The same way, on which each write takes the next number.

    Args:
        corridor: the way.
        first: the first number, its session and its floor.
    """

    numbered = True

    def __init__(self, corridor: Corridor, first: Once) -> None:
        self.__dict__.update(corridor.__dict__)
        self._session, self._floor = first.session, first.floor
        self._next = first.number

    def write(self, operation: Operation) -> Any:  # noqa: ANN401 - each operation has its own result
        """As ``Corridor.write``; of a lock that was taken before, the operation tells the id."""
        self._number(operation)
        result = super().write(operation)
        if isinstance(operation, Lock):
            result, operation.lock_id = result
        return result

    def store(self, key: bytes, name: str, value: bytes) -> Any:  # noqa: ANN401 - a receipt
        """As ``Corridor.store``."""
        return self.write(Store(key, name, value))

    def _store_together(self, batch: Batch, first: Once | None = None) -> Receipts | None:
        """As of ``Corridor``: each has the next number."""
        first = Once(self._session, self._next, self._floor)
        try:
            receipts = super()._store_together(batch, first)
        except HoldfastError:
            self._next += len(batch[0])
            raise
        self._next += len(receipts or ())
        return receipts

    def write_many(self, operations: Sequence[Operation], *, atomic: bool = False) -> list[object]:
        """As ``Corridor.write_many``; a lock's result is its fence and its id."""
        for operation in operations:
            self._number(operation)
        return super().write_many(operations, atomic=atomic)

    def _number(self, operation: Operation) -> None:
        """Give an operation its number; one that is tried again keeps it."""
        if operation.once is None and _is_asked(operation):
            operation.once = Once(self._session, self._next, self._floor)
            self._next += 1


def _is_asked(operation: Operation) -> bool:
    """Whether a caller asked for this very write."""
    if isinstance(operation, Upload | Evacuate):
        return False
    if isinstance(operation, Store) and operation.options and operation.options.expect is not None:
        return False
    return HIDDEN not in operation.key.partition(VISIBLE)[0]
