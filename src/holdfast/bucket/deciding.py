"""A batch of operations becomes a part of the group that gathers: each decided in its turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.bucket import metered, once, plan
from holdfast.errors import HoldfastError
from holdfast.operations import Operation

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.group import Gathering


def decide(
    bucket: Bucket, operations: Sequence[Operation], *, atomic: bool = False
) -> tuple[Gathering, list[object]]:
    """The group that takes a batch, and the outcomes; ``atomic`` as ever. Under the lock."""
    keys = [operation.key for operation in operations]
    if keys:
        bucket.admit_range(min(keys), max(keys))
    group = bucket.gather()
    group.mix()
    decide_all = metered.plan_all if bucket.purses else plan_all
    return group, decide_all(bucket, operations, group, atomic=atomic)


def plan_all(
    bucket: Bucket, operations: Sequence[Operation], group: Gathering, *, atomic: bool
) -> list[object]:
    """Decide each operation; its result, or the error that refuses it."""
    mark = group.mark()
    outcomes: list[object] = []
    numbered = False
    for operation in operations:
        try:
            if operation.once is None:
                outcomes.append(plan.PLANNERS[type(operation)](bucket, operation, group))
            else:
                numbered = True
                outcomes.append(once.decide(bucket, operation, operation.once, group))
        except HoldfastError as error:
            if atomic:
                error.facts.setdefault("index", len(outcomes))
                bucket.unstage(group.roll_back(mark))
                raise
            outcomes.append(error)
    if numbered:
        once.write_down(bucket, group, mark[1])
    return outcomes
