"""Where writes wait for their commit: one lane per bucket, one thread at work in each.

The loop puts operations into lanes; a thread takes all that wait in one, hands them to the
corridor as one group, and goes on with what gathered meanwhile. So connections share a sync,
the loop never waits for the disk, and buckets do not wait for one another.

The thread is sent at the end of a turn of the loop, so all that came in together goes together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock

import msgspec

from holdfast.bucket.plain import Batch
from holdfast.clock import Clock
from holdfast.errors import Busy, DeadlineExceeded, HoldfastError, OutcomeUnknown, Unavailable
from holdfast.limits import VALUE_RECORD_BYTES
from holdfast.operations import Operation, Store
from holdfast.request.corridor import Corridor
from holdfast.server.pauses import Pauses
from holdfast.values import Receipts

log = logging.getLogger("holdfast.server")
THREADS = 8
GROUP_OPERATIONS = 5_000
GROUP_BYTES = 16 * VALUE_RECORD_BYTES
OVERHEAD_BYTES = 512  # what a waiting operation costs beside its value

Settle = Callable[[object], None]


class Stores(msgspec.Struct, gc=False):
    """Stores without options that travel together: composite keys, names and values."""

    keys: Sequence[bytes]
    names: Sequence[str]
    values: Sequence[bytes]


class Waiting(msgspec.Struct, gc=False):
    """What waits, what it weighs, until when it may begin, and who wants to know."""

    operation: Operation | Stores
    weight: int
    deadline_ns: int | None
    settle: Settle
    count: int = 1  # operations


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
            taken, size, count = 0, 0, 0
            for waiting in self.waiting:
                size += waiting.weight
                count += waiting.count
                if taken and (size > GROUP_BYTES or count > GROUP_OPERATIONS):
                    break  # what is large waits: together they might be more than a batch may be
                taken += 1
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
        self.pauses = Pauses(clock, self._loop)

    def put(
        self, operation: Operation, settle: Settle, size: int, deadline_ns: int | None = None
    ) -> None:
        """Carry out an operation; ``settle`` is called on the loop with its result or error.

        Raises:
            Busy: too much waits already.
        """
        bucket = self._corridor.directory.find(operation.key).id
        self._put(bucket, Waiting(operation, size + OVERHEAD_BYTES, deadline_ns, settle))

    def put_stores(self, stores: Stores, settle: Settle, deadline_ns: int | None = None) -> None:
        """Carry out stores, those of each bucket in its lane.

        ``settle`` is called once, with the results of all in their order, a list of errors and
        receipts, or ``Receipts``.

        Raises:
            Busy: as ``put``; nothing is begun.
        """
        pieces = self._pieces(stores)
        whole = Whole(len(stores.keys), len(pieces), settle)
        waits = []
        for bucket, indices in pieces:
            part = stores if len(pieces) == 1 else _picked(stores, indices)
            count = len(part.keys)
            weight = sum(map(len, part.values)) + OVERHEAD_BYTES * count
            told = partial(whole.settle, indices)
            waits.append((bucket, Waiting(part, weight, deadline_ns, told, count)))
        self._hold(sum(waiting.weight for _, waiting in waits))
        for bucket, waiting in waits:
            self._put(bucket, waiting)

    def _pieces(self, stores: Stores) -> list[tuple[str, Sequence[int]]]:
        """Buckets that stores go to, and which of the stores."""
        directory, keys = self._corridor.directory, stores.keys
        bucket = directory.find(min(keys))
        if max(keys) < bucket.stop:
            return [(bucket.id, range(len(keys)))]
        found: dict[str, list[int]] = {}
        for index, key in enumerate(keys):
            found.setdefault(directory.find(key).id, []).append(index)
        return list(found.items())

    def _hold(self, weight: int) -> None:
        if self._held_bytes + weight > self.most_bytes:
            raise Busy(queued_bytes=self._held_bytes)

    def _put(self, bucket: str, waiting: Waiting) -> None:
        self._hold(waiting.weight)
        lane = self._lanes.get(bucket)
        if lane is None:
            self._sweep()
            lane = self._lanes[bucket] = Lane()
        self._held_bytes += waiting.weight
        self.count += waiting.count
        if lane.put(waiting):
            self._loop.call_soon(self._send, lane)

    def _send(self, lane: Lane) -> None:
        """Send a thread to a lane that has none."""
        try:
            self._pool.submit(self._run, lane)
        except RuntimeError:  # the server is going down
            while group := lane.take():
                self._settle(group, [Unavailable()] * len(group))

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
        """What became of each; a request past its deadline is not begun (rule 21)."""
        now_ns = self._clock.monotonic_ns()
        due = [w for w in group if w.deadline_ns is None or w.deadline_ns > now_ns]
        if len(due) == len(group):
            return self._apply(group)
        outcomes, late = iter(self._apply(due)), DeadlineExceeded()
        return [
            next(outcomes) if w.deadline_ns is None or w.deadline_ns > now_ns else late
            for w in group
        ]

    def _apply(self, group: list[Waiting]) -> Sequence[object]:
        if not group:
            return ()
        try:
            plain = _plain(group)
            if plain is not None:
                outcomes = self._corridor.store_each(plain)
            else:
                outcomes = self._corridor.write_many(list(_operations(group)))
            return _dealt(group, outcomes)
        except HoldfastError as error:
            return [error] * len(group)
        except BaseException:
            log.exception("a commit was interrupted")
            return [OutcomeUnknown()] * len(group)

    def _settle(self, group: list[Waiting], outcomes: Sequence[object]) -> None:
        for waiting, outcome in zip(group, outcomes, strict=True):
            self.count -= waiting.count
            self._held_bytes -= waiting.weight
            waiting.settle(outcome)

    def close(self) -> None:
        """Take no more; what waits is carried out."""
        self.pauses.close()
        self._pool.shutdown(wait=True)


class Whole:
    """Puts the results of stores together that went to several buckets.

    Args:
        count: stores.
        parts: lanes that they went to.
        settle: is told once all are there.
    """

    def __init__(self, count: int, parts: int, settle: Settle) -> None:
        self._outcomes: list[object] = [None] * count
        self._left = parts
        self._settle = settle

    def settle(self, indices: Sequence[int], outcome: object) -> None:
        """Take the results of one lane, or the error that all of them share."""
        told = outcome if isinstance(outcome, list | Receipts) else [outcome] * len(indices)
        if len(told) == len(self._outcomes):
            self._settle(told)
            return
        for index, one in zip(indices, told, strict=True):
            self._outcomes[index] = one
        self._left -= 1
        if not self._left:
            self._settle(self._outcomes)


def _picked(stores: Stores, indices: Sequence[int]) -> Stores:
    keys, names, values = stores.keys, stores.names, stores.values
    return Stores(
        [keys[i] for i in indices], [names[i] for i in indices], [values[i] for i in indices]
    )


def _plain(group: list[Waiting]) -> Batch | None:
    """A group as plain stores, if it has nothing else."""
    keys: list[bytes] = []
    names: list[str] = []
    values: list[bytes | memoryview] = []
    for waiting in group:
        one = waiting.operation
        if type(one) is Stores:
            keys += one.keys
            names += one.names
            values += one.values
        elif type(one) is Store and one.options is None and one.once is None:
            keys.append(one.key)
            names.append(one.name)
            values.append(one.value)
        else:
            return None
    return keys, names, values


def _operations(group: list[Waiting]) -> Iterator[Operation]:
    for waiting in group:
        one = waiting.operation
        if isinstance(one, Stores):
            yield from map(Store, one.keys, one.names, one.values)
        else:
            yield one


def _dealt(group: list[Waiting], outcomes: Sequence[object]) -> Sequence[object]:
    """The outcomes of operations by what waits for them: several where that is stores."""
    if len(outcomes) == len(group) and not any(type(w.operation) is Stores for w in group):
        return outcomes
    dealt, at = [], 0
    for waiting in group:
        begun, at = at, at + waiting.count
        many = isinstance(waiting.operation, Stores)
        dealt.append(outcomes[begun:at] if many else outcomes[begun])
    return dealt
