"""Where writes wait for their commit: one lane per bucket, one thread at work in each.

The loop puts operations into lanes; a thread takes all that wait in one, hands them to the
corridor as one group, and goes on with what gathered meanwhile. So connections share a sync,
the loop never waits for the disk, and buckets do not wait for one another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import msgspec

from holdfast.clock import Clock
from holdfast.errors import Busy, DeadlineExceeded, HoldfastError, OutcomeUnknown, Unavailable
from holdfast.limits import VALUE_RECORD_BYTES
from holdfast.operations import Operation, Store
from holdfast.request.corridor import Corridor

log = logging.getLogger("holdfast.server")
THREADS = 8
GROUP_OPERATIONS = 2_000
GROUP_BYTES = 16 * VALUE_RECORD_BYTES
OVERHEAD_BYTES = 512  # what a waiting operation costs beside its value

Settle = Callable[[object], None]


class Waiting(msgspec.Struct, gc=False):
    """An operation, what it weighs, until when it may begin, and who wants to know."""

    operation: Operation
    weight: int
    deadline_ns: int | None
    settle: Settle


class Lane:
    """What waits for one bucket."""

    __slots__ = ("busy", "lock", "waiting")

    def __init__(self) -> None:
        self.busy = False
        self.lock = Lock()
        self.waiting: list[Waiting] = []

    def put(self, waiting: Waiting) -> bool:
        """Join the lane; whether a thread must be sent."""
        with self.lock:
            self.waiting.append(waiting)
            send, self.busy = not self.busy, True
            return send

    def take(self) -> list[Waiting]:
        """What goes into the next group; nothing where the thread may leave."""
        with self.lock:
            taken, size = 0, 0
            for waiting in self.waiting[:GROUP_OPERATIONS]:
                size += waiting.weight
                taken += 1
                if size >= GROUP_BYTES:
                    break
            group, self.waiting = self.waiting[:taken], self.waiting[taken:]
            self.busy = bool(group)
            return group


class Lanes:
    """The lanes of one server.

    Args:
        corridor: the way to the buckets.
        clock: tells whether a deadline has passed.
        most_bytes: that may wait in all lanes together.
    """

    def __init__(self, corridor: Corridor, clock: Clock, most_bytes: int) -> None:
        self._corridor = corridor
        self._clock = clock
        self.most_bytes = most_bytes
        self._held_bytes = 0
        self._lanes: dict[str, Lane] = {}
        self._pool = ThreadPoolExecutor(THREADS, "holdfast-commit")
        self._loop = asyncio.get_running_loop()
        self.count = 0  # operations under way

    def put(
        self, operation: Operation, settle: Settle, size: int, deadline_ns: int | None = None
    ) -> None:
        """Carry out an operation; ``settle`` is called on the loop with its result or error.

        Raises:
            Busy: too much waits already. Unavailable: the server is going down.
        """
        weight = size + OVERHEAD_BYTES
        if self._held_bytes + weight > self.most_bytes:
            raise Busy(queued_bytes=self._held_bytes)
        bucket = self._corridor.directory.find(operation.key).id
        lane = self._lanes.get(bucket)
        if lane is None:
            self._sweep()
            lane = self._lanes[bucket] = Lane()
        self._held_bytes += weight
        self.count += 1
        if lane.put(Waiting(operation, weight, deadline_ns, settle)):
            try:
                self._pool.submit(self._run, lane)
            except RuntimeError:
                raise Unavailable from None

    def _sweep(self) -> None:
        """Forget lanes of buckets that nobody writes to any more."""
        if len(self._lanes) > 2 * len(self._corridor.directory):
            self._lanes = {name: lane for name, lane in self._lanes.items() if lane.busy}

    def _run(self, lane: Lane) -> None:
        while group := lane.take():
            outcomes = self._commit(group)
            try:
                self._loop.call_soon_threadsafe(self._settle, group, outcomes)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

    def _commit(self, group: list[Waiting]) -> Sequence[object]:
        now_ns = self._clock.monotonic_ns()
        late = [w for w in group if w.deadline_ns is not None and w.deadline_ns <= now_ns]
        if late:
            return self._commit_in_time(group, now_ns)
        return self._apply([waiting.operation for waiting in group])

    def _commit_in_time(self, group: list[Waiting], now_ns: int) -> Sequence[object]:
        """A request past its deadline is not begun (rule 21)."""
        due = [w for w in group if w.deadline_ns is None or w.deadline_ns > now_ns]
        outcomes = iter(self._apply([waiting.operation for waiting in due]))
        late = DeadlineExceeded()
        return [
            next(outcomes) if w.deadline_ns is None or w.deadline_ns > now_ns else late
            for w in group
        ]

    def _apply(self, operations: list[Operation]) -> Sequence[object]:
        if not operations:
            return ()
        try:
            plain = [
                o for o in operations if type(o) is Store and o.options is None and o.once is None
            ]
            if len(plain) == len(operations):
                return self._corridor.store_each(
                    ([o.key for o in plain], [o.name for o in plain], [o.value for o in plain])
                )
            return self._corridor.write_many(operations)
        except HoldfastError as error:
            return [error] * len(operations)
        except BaseException:
            log.exception("a commit was interrupted")
            return [OutcomeUnknown()] * len(operations)

    def _settle(self, group: list[Waiting], outcomes: Sequence[object]) -> None:
        self.count -= len(group)
        for waiting, outcome in zip(group, outcomes, strict=True):
            self._held_bytes -= waiting.weight
            waiting.settle(outcome)

    def close(self) -> None:
        """Take no more; what waits is carried out."""
        self._pool.shutdown(wait=True)
