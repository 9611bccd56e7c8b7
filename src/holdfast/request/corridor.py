"""The way of a request through the house: find the bucket, make room, apply, follow a move.

The only corridor: whatever writes or reads an object passes here, whichever
door it came in by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.plain import Batch, store_one
from holdfast.errors import (
    BalanceEmpty,
    Busy,
    CrossBucket,
    HoldfastError,
    LimitExceeded,
    Moved,
    StorageFailed,
)
from holdfast.limits import (
    BATCH_BYTES,
    BATCH_OPERATIONS,
    BUSY_DELAY_S,
    SECOND_NS,
    VIEW_KEY_BYTES,
)
from holdfast.operations import Once, Operation, Store
from holdfast.placement.elsewhere import Elsewhere
from holdfast.placement.placement import Placement
from holdfast.request.funds import NOTHING, Funds, Prepared
from holdfast.request.pressure import GROWING, Pressure
from holdfast.request.shared import hold_shared, refuse_shared
from holdfast.values import Receipt, Receipts

T = TypeVar("T")
GROWTH = (Store(b"", "", b""),)
PIECE_PART = 8  # a batch is cut so that a bucket passes its bound by 1/8 at the most
RETRY_S = 0.001
HELPED = 8  # times that more is asked for one write


class Corridor:
    """Carries operations to the buckets they belong to.

    Args:
        placement: where keys live.
        admit: called before a bucket takes a write; may wait for its upkeep,
            raises Busy where waiting did not help.
    """

    def __init__(self, placement: Placement, admit: Callable[[Bucket], bool]) -> None:
        self.placement = placement
        self.directory = placement.directory
        self.pressure = Pressure(placement.reserve)
        self.funds = Funds()
        self.uploads: WeakValueDictionary[bytes, object] = WeakValueDictionary()  # being written
        self._admit = admit
        self._near = self.directory.find(b"")  # the bucket that took the last plain store

    numbered = False  # writes are told apart by session and number (once.py)

    def write(self, operation: Operation) -> Any:  # noqa: ANN401 - each operation has its own result
        """Apply one operation; its result, or the error that refused it is raised."""
        hold_shared(self.directory, operation)
        helped, eased = 0, False
        while True:
            bucket = self._bucket_for(operation)
            if bucket.crowded:
                self._slow_down(bucket, (operation,))
            try:
                return bucket.apply_one(operation)
            except Moved:
                self.directory.look_again()
            except (BalanceEmpty, LimitExceeded) as error:
                if helped == HELPED or not self.funds.helped(bucket, operation, error):
                    raise
                helped += 1  # others may take what came
            except StorageFailed as error:
                if eased or not self.pressure.met(error, (operation,)):
                    raise
                eased = True  # once more, wherever the key is by now

    def store(self, key: bytes, name: str, value: bytes) -> Any:  # noqa: ANN401 - a receipt
        """Apply one store without options; the same as ``write``, quicker."""
        if len(key) > VIEW_KEY_BYTES:
            return self.write(Store(key, name, value))
        bucket = self._near
        if not bucket.start <= key < bucket.stop:
            bucket = self._near = self.directory.find(key)
        if self.pressure.full or (bucket.crowded and not self._takes(bucket, key, len(value))):
            return self.write(Store(key, name, value))
        try:
            return store_one(bucket, key, name, value)
        except (Moved, BalanceEmpty, LimitExceeded):
            self.directory.look_again()
            return self.write(Store(key, name, value))
        except StorageFailed as error:
            self.pressure.met(error, GROWTH)
            raise

    def store_many(self, batch: Batch) -> list[Receipt]:
        """Apply stores without options; as ``write_many``, quicker. The first error is raised."""
        try:
            receipts = self._store_together(batch)
        except Busy as error:
            error.facts.setdefault("index", 0)
            raise
        if receipts is None:
            return receipts_of(self.write_many(list(map(Store, *batch))))
        return list(receipts)

    def store_each(self, batch: Batch) -> Sequence[object]:
        """As ``store_many``, but each store has its own result, or its error."""
        try:
            receipts = self._store_together(batch)
        except Busy as error:
            return [error] * len(batch[0])
        return self.write_many(list(map(Store, *batch))) if receipts is None else receipts

    def _store_together(self, batch: Batch, first: Once | None = None) -> Receipts | None:
        """The receipts of stores that one bucket takes as they are; None where any needs a look.

        Their numbers follow one another from ``first`` on, if they have any.
        """
        keys, _, values = batch
        if not keys:
            return Receipts((), range(0), (), "")
        low, high = min(keys), max(keys)
        bucket = self.directory.find(low)
        size = sum(map(len, values))
        fits = (
            size < min(self.placement.settings.bucket_bytes // PIECE_PART, BATCH_BYTES)
            and len(keys) <= BATCH_OPERATIONS
            and max(map(len, keys)) <= VIEW_KEY_BYTES
            and high < bucket.stop
        )
        if not fits or self.pressure.full:
            return None
        if bucket.crowded and not self._takes(bucket, keys[0], size):
            return None
        try:
            return bucket.store_many(batch, low, high, first)
        except Moved:
            self.directory.look_again()
        except StorageFailed as error:
            self.pressure.met(error, GROWTH)
            raise
        return None

    def _takes(self, bucket: Bucket, key: bytes, size_bytes: int) -> bool:
        """Whether a crowded bucket takes plain stores as it is; they wait as any others do."""
        if isinstance(bucket, Elsewhere):
            return False
        self.directory.look_again()  # a store that is closed grows no more
        self._wait_for_room(bucket)
        if self.placement.has_outgrown(bucket, key):
            return False
        if self.placement.beside:
            self.placement.brake.wait(bucket, size_bytes)
        return True

    def _bucket_for(self, operation: Operation) -> Bucket:
        key = operation.key
        while True:
            bucket = self.directory.find(key)
            if isinstance(bucket, Elsewhere):
                return bucket  # whoever holds it sees to its room
            growing = isinstance(operation, GROWING)
            if self.pressure.full:
                self.pressure.admit(bucket, growing=growing)
            if growing and bucket.crowded:
                self.directory.look_again()  # a store that is closed grows no more
                self._wait_for_room(bucket)
                if self._outgrown(bucket, key):
                    continue
            elif bucket.crowded and not self._admit(bucket):  # slowed, never refused (rule 10)
                self.placement.settings.clock.sleep(RETRY_S)
            return bucket

    def _outgrown(self, bucket: Bucket, key: bytes) -> bool:
        """Whether a bucket was full and the ranges changed, so that the key has to be found."""
        return self.placement.has_outgrown(bucket, key) and self.placement.grow(bucket, key)

    def _slow_down(self, bucket: Bucket, operations: Sequence[Operation]) -> None:
        """Let upkeep split a bucket that is to grow before it is over its bound."""
        if self.placement.beside and not isinstance(bucket, Elsewhere):
            size = sum(len(o.key) + len(o.value) for o in operations if isinstance(o, GROWING))
            self.placement.brake.wait(bucket, size)

    def _wait_for_room(self, bucket: Bucket) -> None:
        """Memory comes before waiting, waiting before refusing (rule 10)."""
        clock = self.placement.settings.clock
        until_ns = clock.monotonic_ns() + round(BUSY_DELAY_S * SECOND_NS)
        while not self._admit(bucket):
            if clock.monotonic_ns() >= until_ns:
                raise Busy(bucket=bucket.id)
            clock.sleep(RETRY_S)

    def write_many(self, operations: Sequence[Operation], *, atomic: bool = False) -> list[object]:
        """Apply a batch: the operations of one bucket commit together, in order.

        Args:
            operations: at most 10,000 and 64 MiB of values.
            atomic: all or nothing, refused with CrossBucket over two buckets.

        Returns:
            Per operation its result or its error, in the order given.
        """
        size = sum(len(o.value) for o in operations if isinstance(o, GROWING))
        bound(len(operations), size)
        if atomic:
            return self._write_atomic(operations)
        outcomes: list[object] = [None] * len(operations)
        waiting = refuse_shared(self.directory, operations, outcomes)
        missed = self._write_pieces(operations, waiting, outcomes)
        if missed:
            self._write_pieces(operations, missed, outcomes)
        return outcomes

    def _write_pieces(
        self, operations: Sequence[Operation], waiting: list[int], outcomes: list[object]
    ) -> list[int]:
        """Apply what of a batch waits, bucket by bucket; what of it has to be decided again."""
        missed: list[int] = []
        at = 0
        while at < len(waiting):
            piece = self._piece(operations, waiting, at)
            some = [operations[i] for i in piece]
            try:
                results, prepared = self._apply(some)
            except Moved:  # again from here on: of one key's operations the last must stay last
                self.directory.look_again()
                continue
            except HoldfastError as error:
                results, prepared = [error] * len(piece), NOTHING
            for index, result in zip(piece, results, strict=True):
                outcomes[index] = result
            if prepared.has_come:
                missed += [i for i in piece if prepared.missed(outcomes[i])]
            at += len(piece)
        if missed:
            last = {operation.key: i for i, operation in enumerate(operations)}
            missed = [i for i in missed if last[operations[i].key] == i]
        return missed

    def _apply(
        self, operations: Sequence[Operation], *, atomic: bool = False, again: bool = False
    ) -> tuple[list[object], Prepared]:
        """Apply operations to the bucket of the first, which may have to grow before."""
        growing = (operation for operation in operations if isinstance(operation, GROWING))
        bucket = self._bucket_for(next(growing, operations[0]))
        if bucket.crowded:
            self._slow_down(bucket, operations)
        prepared = self.funds.prepare(bucket, operations)
        try:
            outcomes = bucket.apply(operations, atomic=atomic)
        except StorageFailed as error:
            if not self.pressure.met(error, operations):
                raise
            outcomes = bucket.apply(operations, atomic=atomic)
        except (BalanceEmpty, LimitExceeded) as error:
            if prepared.missed(error) and not again:
                return self._apply(operations, atomic=atomic, again=True)
            raise prepared.refusal(error) from None
        if prepared.unasked is not None:
            told = prepared.refusal
            outcomes = [told(o) if isinstance(o, HoldfastError) else o for o in outcomes]
        return outcomes, prepared

    def _piece(self, operations: Sequence[Operation], waiting: list[int], at: int) -> list[int]:
        """What goes to one bucket as one group, from a place in a batch on."""
        most = max(self.placement.settings.bucket_bytes // PIECE_PART, 1)
        bucket = self.directory.find(operations[waiting[at]].key)
        start, stop = bucket.start, bucket.stop
        size = 0
        for end in range(at, len(waiting)):
            operation = operations[waiting[end]]
            if size >= most or (end > at and not start <= operation.key < stop):
                return waiting[at:end]
            size += len(operation.key)
            size += len(operation.value) if isinstance(operation, GROWING) else 0
        return waiting[at:]

    def _write_atomic(self, operations: Sequence[Operation]) -> list[object]:
        if not operations:
            return []
        for operation in operations:
            hold_shared(self.directory, operation)
        while True:
            bucket = self.directory.find(operations[0].key)
            ours = [bucket.start <= o.key < bucket.stop for o in operations]
            if ours[0] and not all(ours) and self.directory.find(operations[0].key) is bucket:
                raise CrossBucket(bucket=bucket.id)
            if all(ours):
                with suppress(Moved):
                    return self._apply(operations, atomic=True)[0]
            self.directory.look_again()  # it was split or merged meanwhile

    def is_writing(self, upload: bytes) -> bool:
        """Whether somebody writes an upload's parts now, here or in another process.

        One that cannot be asked may be writing them.
        """
        if upload in self.uploads:
            return True
        try:
            return any(other.is_writing(upload) for other in self.directory.others())
        except HoldfastError:
            return True

    def read(self, key: bytes, ask: Callable[[Bucket], T]) -> T:
        """Ask the bucket that holds a key; follow it where it moved meanwhile."""
        while True:
            try:
                return ask(self.directory.find(key))
            except Moved:
                self.directory.look_again()


def bound(count: int, size_bytes: int) -> None:
    """Refuse a batch of so many operations, which write so much at once, if that is too much."""
    if count > BATCH_OPERATIONS:
        raise LimitExceeded(limit="BATCH_OPERATIONS", most=BATCH_OPERATIONS, asked=count)
    if size_bytes > BATCH_BYTES:
        raise LimitExceeded(limit="BATCH_BYTES", most=BATCH_BYTES, asked=size_bytes)


def receipts_of(outcomes: Sequence[object]) -> list[Receipt]:
    """A batch's results where all are receipts; else the first error is raised, ``index`` told."""
    for index, outcome in enumerate(outcomes):
        if type(outcome) is not Receipt and isinstance(outcome, HoldfastError):
            outcome.facts.setdefault("index", index)
            raise outcome
    return outcomes  # type: ignore[return-value]
