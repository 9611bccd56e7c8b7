"""``put_soon`` over HTTP: queued here, numbered, sent in order by one thread (rule 9).

Every write has a number in a session that the server knows, so one that was sent and not
answered is sent again and applied once. A round of tries that fails leaves everything queued;
``flush`` raises what it failed with. With an outbox the queue is a file and outlives this
process; what the server refuses for good becomes a dead letter. A bound on requests refuses
nothing for good: who meets it waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from sys import getsizeof
from threading import Condition, Thread, current_thread
from typing import Final, Protocol

from holdfast.client.asks import Pause, Work
from holdfast.client.box import Box, Queued
from holdfast.client.numbers import RENEWED_NS
from holdfast.errors import (
    Busy,
    Closed,
    HoldfastError,
    LimitExceeded,
    OutcomeUnknown,
    SessionUnknown,
    StorageFailed,
    Unauthenticated,
    Unavailable,
    Waitable,
)
from holdfast.limits import BUSY_DELAY_S, DEAD_LETTERS, MIB, SOON_BYTES, SOON_ENTRY_BYTES
from holdfast.values import DeadLetter
from holdfast.wire.headers import Numbered

TRIES: Final = 5
BATCH: Final = 500  # writes in one request: half of the numbers that a session has open
PIECE_BYTES: Final = 8 * MIB
QUEUE_BYTES: Final = SOON_BYTES
ROOM_S: Final = BUSY_DELAY_S  # for room in the queue
REST_S: Final = 0.5  # between rounds that failed
WAIT_S: Final = 1.0  # bounds on requests are of a second
PASSING: Final = frozenset(("requests_per_s", "concurrent_max"))
KEPT_ERRORS: Final = (Waitable, StorageFailed, OutcomeUnknown, Unauthenticated)


class Sending(Protocol):
    """How the worker reaches the server."""

    def begin_session(self) -> Work[bytes]:
        """A new session."""

    def store_numbered(
        self, namespace: str, queued: Sequence[Queued], numbered: Numbered
    ) -> Work[list[object]]:
        """Store in one request, under numbers that follow one another."""


class Soon:
    """The queue of one client, and the thread that empties it.

    Args:
        sending: says the requests.
        run: carries them out.
        box: keeps what is queued.
        wall_ns: tells the time, in nanoseconds since 1970.
    """

    def __init__(
        self,
        sending: Sending,
        run: Callable[[Work[object]], object],
        box: Box,
        wall_ns: Callable[[], int],
    ) -> None:
        self._sending = sending
        self._run = run
        self._box = box
        self._wall_ns = wall_ns
        self._begun_ns: dict[bytes, int] = {}  # of the sessions that this process began
        self._changed = Condition()
        self._queue = deque(box.pending[number] for number in sorted(box.pending))
        self._bytes = sum(map(held_bytes, self._queue))
        self._busy = False
        self._stopping = False
        self._lost: set[bytes] = set()  # sessions that the server knows no more
        self._tries: dict[int, int] = {}
        self._sent = max(box.pending, default=0) if box.sessions else 0  # perhaps, up to here
        self._rounds_failed = 0
        self._failure: HoldfastError | None = None
        self._untold: deque[DeadLetter] = deque(maxlen=DEAD_LETTERS)
        self._worker: Thread | None = None
        if self._queue:
            self._start()

    # -- what callers do --------------------------------------------------------------

    def put(self, namespace: str, key: str, value: bytes) -> None:
        """Queue a store; on return it is in the outbox, where there is one, durably.

        Waits where 256 MiB are queued already, unless the server cannot be reached; it is Busy
        after 30 s, and nothing was queued.
        """
        with self._changed:
            if not self._changed.wait_for(self._may_queue, ROOM_S):
                raise Busy(queued_bytes=self._bytes)
            self._require_open()
            if self._failure is not None and self._bytes > QUEUE_BYTES:
                raise self._failure
            self._start()  # before anything is queued: what is queued, somebody sends
            self._queue.append(self._box.write(namespace, key, value))
            self._bytes += held_bytes(self._queue[-1])
            self._changed.notify_all()
        self._box.sync()

    def flush(self) -> list[DeadLetter]:
        """Wait until all that was queued is stored or dead; what died since the last flush.

        Raises:
            Unavailable, DeadlineExceeded, ...: what a round of tries failed with; everything
                that is not stored stays queued.
        """
        with self._changed:
            failed = self._rounds_failed
            self._changed.notify_all()
            while self._queue or self._busy:
                if self._rounds_failed > failed and self._failure is not None:
                    raise self._failure
                self._changed.wait()
            untold = list(self._untold)
            self._untold.clear()
            return untold

    def letters(self) -> list[DeadLetter]:
        """The stores that were refused for good: the newest 10,000 of them."""
        with self._changed:
            return list(self._box.letters)

    def died(self) -> int:
        """How many were refused for good, those included whose letters are gone."""
        return self._box.died

    def close(self) -> None:
        """Send what is queued, in one more round, and end.

        Raises:
            HoldfastError: what that round failed with, where no outbox keeps the rest.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._worker is not None:
            self._worker.join()
        self._box.close()
        if self._queue and not self._box.durable:
            raise self._failure or Unavailable(queued=len(self._queue))

    def _may_queue(self) -> bool:
        """Whether there is nothing to wait for."""
        return self._stopping or self._failure is not None or self._bytes <= QUEUE_BYTES

    def _require_open(self) -> None:
        if self._stopping:
            raise Closed(what="store")

    def _start(self) -> None:
        """Start the worker. Where a Ctrl-C comes before it is noted, it notes itself."""
        if self._worker is None:
            worker = Thread(target=self._work, name="holdfast-soon", daemon=True)
            worker.start()
            self._worker = worker

    # -- what the worker does -----------------------------------------------------------

    def _work(self) -> None:
        with self._changed:
            if self._worker is None:
                self._worker = current_thread()
            if self._worker is not current_thread():
                return  # two would send the writes of one key out of order
        while True:
            run = self._take()
            if run is None:
                return
            failure: HoldfastError | None
            try:
                failure = self._send(run)
            except HoldfastError as error:
                failure = error
            except Exception as error:  # noqa: BLE001 - a worker that ended would hold up flush
                failure = HoldfastError(cause=repr(error))
            if not self._go_on(run, failure):
                return

    def _take(self) -> list[Queued] | None:
        """The next writes that one request can hold: one namespace, numbers without a gap."""
        with self._changed:
            while not self._queue:
                if self._stopping:
                    return None
                self._changed.wait()
            self._busy = True
            run = [self._queue.popleft()]
            size = len(run[0].value)
            while self._queue and len(run) < BATCH and size < PIECE_BYTES:
                if not self._follows(run[-1], self._queue[0]):
                    break
                run.append(self._queue.popleft())
                size += len(run[-1].value)
            return run

    def _follows(self, one: Queued, other: Queued) -> bool:
        return (
            other.namespace == one.namespace
            and other.number == one.number + 1
            and self._box.session_of(other.number) == self._box.session_of(one.number)
            and (other.number > self._sent) is (one.number > self._sent)
        )

    def _go_on(self, run: list[Queued], failure: HoldfastError | None) -> bool:
        """Put back what is not settled, and rest behind a failure; False where it was the last."""
        with self._changed:
            left = [queued for queued in run if queued.number in self._box.pending]
            self._queue.extendleft(reversed(left))
            self._bytes -= sum(map(held_bytes, run)) - sum(map(held_bytes, left))
            if not self._queue:
                self._bytes = 0  # a Ctrl-C may come before a write is counted
            self._busy = False
            self._failure = failure
            self._rounds_failed += failure is not None
            self._changed.notify_all()
            if failure is not None:
                if self._stopping:
                    return False
                self._changed.wait(REST_S)
            return True

    def _session_for(self, number: int) -> bytes:
        """The session that a number goes out with: what was sent once keeps its own for ever.

        What is new begins another one now and then: a bucket that it has not written to for
        7 days knows no session that is older.
        """
        session = self._box.session_of(number)
        if session is None or (number > self._sent and self._is_over(session)):
            begun = self._run(self._sending.begin_session())
            if not isinstance(begun, bytes):
                raise TypeError(begun)
            session = begun
            self._begun_ns[session] = self._wall_ns()
            with self._changed:
                self._box.begin(session, number)
        return session

    def _is_over(self, session: bytes) -> bool:
        """Whether to begin another: it is lost, from another process, or a day old."""
        begun = self._begun_ns.get(session)
        old = begun is None or self._wall_ns() - begun > RENEWED_NS
        return old or session in self._lost

    def _send(self, run: list[Queued]) -> HoldfastError | None:
        """Send writes in one request; why some of them are still to be stored, if they are."""
        session = self._session_for(run[0].number)
        self._sent = max(self._sent, run[-1].number)
        # All below are settled, or a Ctrl-C kept them from the queue: those are not waited for.
        numbered = Numbered(session, run[0].number, run[0].number)
        try:
            outcomes = self._run(self._stored(run, numbered))
        except HoldfastError as error:
            if _may_pass(error):
                raise
            outcomes = [error] * len(run)
        if not isinstance(outcomes, list):
            raise TypeError(outcomes)
        return self._settle(run, outcomes, session)

    def _stored(self, run: list[Queued], numbered: Numbered) -> Work[list[object]]:
        for _ in range(TRIES - 1):
            try:
                return (yield from self._sending.store_numbered(run[0].namespace, run, numbered))
            except LimitExceeded as error:
                if not _may_pass(error):
                    raise
            yield Pause(WAIT_S)
        return (yield from self._sending.store_numbered(run[0].namespace, run, numbered))

    def _settle(
        self, run: list[Queued], outcomes: list[object], session: bytes
    ) -> HoldfastError | None:
        waiting: dict[tuple[str, str], list[int]] = {}
        letters: list[DeadLetter] = []
        failure: HoldfastError | None = None
        for queued, outcome in zip(run, outcomes, strict=True):
            where = (queued.namespace, queued.key)
            if not isinstance(outcome, HoldfastError):
                waiting.pop(where, None)  # what waited is older than what is stored now
            elif _may_pass(outcome) and self._may_try_again(queued.number):
                waiting.setdefault(where, []).append(queued.number)
                failure = outcome
            else:
                if isinstance(outcome, SessionUnknown):
                    self._lost.add(session)
                letters.append(DeadLetter(queued.namespace, queued.key, outcome.code, str(outcome)))
        kept = {number for numbers in waiting.values() for number in numbers}
        settled = [queued.number for queued in run if queued.number not in kept]
        with self._changed:
            self._box.settle(settled, letters)
            self._untold += letters
            for number in settled:
                self._tries.pop(number, None)
        return failure if kept else None

    def _may_try_again(self, number: int) -> bool:
        self._tries[number] = self._tries.get(number, 0) + 1
        return self._tries[number] < TRIES


def _may_pass(error: HoldfastError) -> bool:
    """Whether the same write may be stored later."""
    if isinstance(error, LimitExceeded):
        return error.facts.get("limit") in PASSING
    return isinstance(error, KEPT_ERRORS)


def held_bytes(queued: Queued) -> int:
    """The memory that a queued write takes, about."""
    return SOON_ENTRY_BYTES + getsizeof(queued.key) + len(queued.value)
