"""A batch of operations becomes a part of the group that gathers: each decided in its turn.

What upkeep does by itself goes in lots, with rests between (rule 11).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.bucket import commit, failing, metered, numbered, once, plain, plan
from holdfast.errors import HoldfastError
from holdfast.operations import Once, Operation
from holdfast.values import Receipts

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.checkpoint import Pace
    from holdfast.bucket.group import Gathering

LOT = 8  # operations that are decided between two calls of pace: less than 0.1 ms


def decide(
    bucket: Bucket, operations: Sequence[Operation], *, atomic: bool = False
) -> tuple[Gathering, list[object]]:
    """The group that takes a batch, and the outcomes; ``atomic`` as ever. Under the lock."""
    keys = [operation.key for operation in operations]
    if keys:
        bucket.admit_range(min(keys), max(keys))
    group = bucket.gather()
    decide_all = metered.plan_all if bucket.purses else plan_all
    try:
        group.mix()
        return group, decide_all(bucket, operations, group, atomic=atomic)
    except HoldfastError:
        raise
    except BaseException:
        failing.spoil(bucket, group)
        raise


def decide_many(
    bucket: Bucket, batch: plain.Batch, bounds: tuple[bytes, bytes], first: Once | None
) -> tuple[Gathering, Receipts | None]:
    """The group that takes stores without options; no receipts where anything needs a look.

    ``bounds`` are the lowest and the highest of the keys. Under the lock.
    """
    bucket.admit_range(*bounds)
    group = bucket.gather()
    if bucket.special or not plain.fits(group, batch, charged=bool(bucket.purses)):
        return group, None
    try:
        if first is not None:
            return group, numbered.store_many(bucket, group, batch, first)
        if bucket.purses:
            return group, metered.store_many(bucket, group, batch, bounds)
        return group, plain.plan(bucket, group, batch, bounds[1])
    except HoldfastError:
        raise
    except BaseException:
        failing.spoil(bucket, group)
        raise


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


def apply_in_lots(bucket: Bucket, operations: Sequence[Operation], pace: Pace) -> list[object]:
    """As ``Bucket.apply``, but for many that nobody waits for: ``pace`` is called between lots.

    Where each group is synced, lots gather until a writer takes them to disk with what he
    brings, and what none took goes at the end: a sync for each lot would be the writers' wait.
    Else each lot is written at once, and others write between them.

    Raises:
        Moved: a key lies outside the range; lots before it may be applied.
        StorageFailed, OutcomeUnknown: of any lot, once all are settled.
    """
    outcomes: list[object] = []
    groups: list[Gathering] = []
    try:
        for at in range(0, len(operations), LOT):
            lot = operations[at : at + LOT]
            commit.let_pass(bucket, len(lot), plain=True)
            outcomes += _gathered(bucket, lot, groups) if bucket.durable else bucket.apply(lot)
            pace()
    except BaseException:
        with suppress(HoldfastError):  # what stopped this is what to tell
            _settle(bucket, groups)
        raise
    _settle(bucket, groups)
    return outcomes


def _gathered(bucket: Bucket, lot: Sequence[Operation], groups: list[Gathering]) -> list[object]:
    """Decide a lot in the group that gathers; that is noted among ``groups``."""
    with bucket.lock:
        group, outcomes = decide(bucket, lot)
    if group not in groups:
        groups.append(group)
    return outcomes


def _settle(bucket: Bucket, groups: Sequence[Gathering]) -> None:
    """Wait until all groups are durable or have failed; the first failure is raised."""
    failure = None
    for group in groups:
        try:
            commit.follow(bucket, group)
        except HoldfastError as error:
            failure = failure or error
    if failure is not None:
        raise failure
