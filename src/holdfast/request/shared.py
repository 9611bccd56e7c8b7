"""Long keys over the borders of buckets: a thousand that agree in their first 480 bytes.

Within one bucket the plan counts them, exactly (bucket/sharing.py). Where a
border lies among them they are counted here, so that the bound does not depend
on how a store is cut. Two writers at once in two buckets may pass it by one;
the rows of either bucket still have room.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from holdfast.bucket.sharing import sharing, span
from holdfast.errors import LimitExceeded, Moved
from holdfast.limits import VIEW_KEY_BYTES, VIEW_KEYS_SHARED
from holdfast.operations import Append, Operation, Store
from holdfast.placement.directory import Directory
from holdfast.placement.elsewhere import Elsewhere
from holdfast.views.port import Table


def hold_shared(directory: Directory, operation: Operation, beside: Collection[bytes] = ()) -> None:
    """Refuse a new key that would be one too many: LimitExceeded.

    Args:
        directory: of the buckets.
        operation: about to be written.
        beside: keys that are written with it.
    """
    key = operation.key
    if len(key) <= VIEW_KEY_BYTES or not isinstance(operation, Store | Append):
        return
    low, high = span(key)
    shared = sum(low <= other < high for other in beside if other != key)
    at = low
    while at < high:
        bucket = directory.find(at)
        if not shared and bucket.start <= low and high <= bucket.stop:
            return
        try:
            if bucket.start <= key < bucket.stop and bucket.row(key) is not None:
                return
        except Moved:
            directory.look_again()
            continue
        if isinstance(bucket, Elsewhere):
            shared += bucket.sharing(key)
        else:
            shared += sharing(bucket, Table.KEYS, key)
        at = bucket.stop
    if shared >= VIEW_KEYS_SHARED:
        raise LimitExceeded(limit="VIEW_KEYS_SHARED", most=VIEW_KEYS_SHARED, key=operation.name)


def refuse_shared(
    directory: Directory, operations: Sequence[Operation], outcomes: list[object]
) -> list[int]:
    """Note in ``outcomes`` which operations of a batch are refused; the indices of the others."""
    if all(len(operation.key) <= VIEW_KEY_BYTES for operation in operations):
        return list(range(len(operations)))
    left: list[int] = []
    beside: set[bytes] = set()
    for index, operation in enumerate(operations):
        try:
            hold_shared(directory, operation, beside)
        except LimitExceeded as error:
            outcomes[index] = error
            continue
        left.append(index)
        if len(operation.key) > VIEW_KEY_BYTES:
            beside.add(operation.key)
    return left
