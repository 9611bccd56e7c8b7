"""Store soon: queued in memory, stored in order per key, failures kept (rule 9).

One worker takes what is queued, in batches, and stores it durably. What a
batch could not store because the storage was busy or failed without effect is
tried again; what can never succeed becomes a dead letter. What a crash may
lose is exactly what is queued: at most what came in the last 100 ms while the
disk keeps up. What is queued is counted as it lies in memory, small values too;
where that reaches its bound, writers wait, and then are refused (rule 10).
"""

from __future__ import annotations

import atexit
import logging
from collections import deque
from collections.abc import Callable
from sys import getsizeof
from threading import Condition, Thread, current_thread
from typing import Final

from holdfast.errors import Busy, Closed, HoldfastError, OutcomeUnknown, StorageFailed, Waitable
from holdfast.limits import (
    BATCH_BYTES,
    BATCH_OPERATIONS,
    BUSY_DELAY_S,
    DEAD_LETTERS,
    SOON_BYTES,
    SOON_DURABLE_S,
    SOON_ENTRY_BYTES,
)
from holdfast.operations import Store
from holdfast.request.corridor import Corridor
from holdfast.values import DeadLetter

TRIES = 5
GATHER_S = SOON_DURABLE_S / 10  # before the first retry
QUEUE_BYTES = SOON_BYTES
WAIT_S = BUSY_DELAY_S  # for room in the queue
log: Final = logging.getLogger("holdfast.soon")


class Soon:
    """The queue behind ``put_soon``.

    Args:
        corridor: the way to the buckets.
        sync: makes what was stored durable, whatever the store's sync mode.
    """

    def __init__(self, corridor: Corridor, sync: Callable[[], None]) -> None:
        self._corridor = corridor
        self._sync = sync
        self._queue: deque[tuple[str, Store]] = deque()
        self._bytes = 0
        self._changed = Condition()
        self._busy = False
        self._stopping = False
        self._worker: Thread | None = None
        self._letters: deque[DeadLetter] = deque(maxlen=DEAD_LETTERS)
        self._untold: deque[DeadLetter] = deque(maxlen=DEAD_LETTERS)
        self._died = 0

    def put(self, namespace: str, operation: Store) -> None:
        """Queue a store. Where 256 MiB are queued already it waits, and is Busy after 30 s.

        Raises:
            Closed: after ``close``. Busy: it was not queued.
        """
        with self._changed:
            if not self._changed.wait_for(self._may_queue, WAIT_S):
                raise Busy(queued_bytes=self._bytes)
            if self._stopping:
                raise Closed(what="store")
            if self._worker is None:
                self._start()  # before anything is queued: what is queued, somebody stores
            self._queue.append((namespace, operation))
            self._bytes += held_bytes(operation)
            self._changed.notify_all()

    def _start(self) -> None:
        """Start the worker. Where a Ctrl-C comes before it is noted, it notes itself."""
        atexit.register(self._wait)  # a program that ends without closing has not crashed
        worker = Thread(target=self._work, name="holdfast-soon", daemon=True)
        worker.start()
        self._worker = worker

    def _may_queue(self) -> bool:
        return self._stopping or self._bytes <= QUEUE_BYTES

    def flush(self) -> list[DeadLetter]:
        """Wait until all that was queued is durable or dead; what died since the last flush."""
        self._wait()
        with self._changed:
            untold = list(self._untold)
            self._untold.clear()
            return untold

    def _wait(self) -> None:
        with self._changed:
            self._changed.notify_all()  # a Ctrl-C may have come before who queued did
            while self._queue or self._busy:
                self._changed.wait()

    def letters(self) -> list[DeadLetter]:
        """The stores that could not be carried out: the newest 10,000 of them."""
        with self._changed:
            return list(self._letters)

    def died(self) -> int:
        """How many could not be carried out, those included whose letters are gone."""
        return self._died

    def disown(self) -> None:
        """Take nothing more; what is queued is the parent's to store."""
        self._changed = Condition()
        self._queue.clear()
        self._busy = False
        self._stopping = True

    def close(self) -> None:
        """Store what is queued and end the worker."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._worker is not None:
            self._worker.join()
        atexit.unregister(self._wait)

    def _work(self) -> None:
        with self._changed:
            if self._worker is None:
                self._worker = current_thread()
            if self._worker is not current_thread():
                return  # two would store the writes of one key out of order
        self._corridor.placement.settings.gates.let_in()  # each was held when it was queued
        while True:
            batch = self._take()
            if batch is None:
                return
            try:
                self._store(batch)
            except Exception as error:  # noqa: BLE001 - a worker that ended would hold up flush
                for item in batch:
                    self._bury(item, OutcomeUnknown(cause=repr(error)))
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _take(self) -> list[tuple[str, Store]] | None:
        with self._changed:
            while not self._queue:
                if self._stopping:
                    return None
                self._changed.wait()
            self._busy = True
            batch: list[tuple[str, Store]] = []
            size = 0
            while self._queue and len(batch) < BATCH_OPERATIONS and size < BATCH_BYTES // 2:
                batch.append(self._queue.popleft())
                size += held_bytes(batch[-1][1])
            # Exact again whenever it is empty: a Ctrl-C may come before a store is counted.
            self._bytes = self._bytes - size if self._queue else 0
            self._changed.notify_all()
            return batch

    def _store(self, batch: list[tuple[str, Store]]) -> None:
        """Store a batch; retry what had no effect, in order, and bury the rest."""
        left = batch
        clock = self._corridor.placement.settings.clock
        for attempt in range(TRIES):
            left = self._attempt(left, last=attempt == TRIES - 1)
            if not left:
                return
            clock.sleep(GATHER_S * (1 << attempt))

    def _attempt(self, batch: list[tuple[str, Store]], *, last: bool) -> list[tuple[str, Store]]:
        outcomes: list[object]
        try:
            outcomes = self._corridor.write_many([operation for _, operation in batch])
            self._sync()
        except HoldfastError as error:
            outcomes = [error] * len(batch)
        again: dict[bytes, list[tuple[str, Store]]] = {}
        for item, outcome in zip(batch, outcomes, strict=True):
            key = item[1].key
            if not isinstance(outcome, HoldfastError):
                again.pop(key, None)  # what waited is older than what is stored now
            elif isinstance(outcome, Waitable | StorageFailed) and not last:
                again.setdefault(key, []).append(item)
            else:
                self._bury(item, outcome)
        return [item for waiting in again.values() for item in waiting]

    def _bury(self, item: tuple[str, Store], error: HoldfastError) -> None:
        namespace, operation = item
        letter = DeadLetter(namespace, operation.name, error.code, str(error))
        with self._changed:
            if self._died == DEAD_LETTERS:
                log.warning("over %d queued writes failed: the oldest are only counted", self._died)
            self._died += 1
            self._letters.append(letter)
            self._untold.append(letter)


def held_bytes(operation: Store) -> int:
    """The memory that a queued store takes, about."""
    return SOON_ENTRY_BYTES + len(operation.key) + getsizeof(operation.name) + len(operation.value)
