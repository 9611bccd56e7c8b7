"""The transport for threads: carries out calls over a pool of connections."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from threading import BoundedSemaphore, Condition, Thread
from typing import Final

import httpcore

from holdfast.client.address import Address
from holdfast.client.asks import Answer, Ask, BrokenError, LostError, Pause, R, UnsentError, Work
from holdfast.client.pool import (
    CONNECTIONS,
    FAILURES,
    KEPT_S,
    Idle,
    Tls,
    answer_of,
    lost,
    request_of,
    timeouts_of,
)
from holdfast.clock import Clock
from holdfast.errors import HoldfastError, OutcomeUnknown, Unavailable

PIPE_BYTES: Final = 4 << 20


class Sender:
    """Carries out calls, each on the thread that makes it.

    Args:
        address: the server's.
        tls: verifies the server's certificate; None without TLS.
        clock: waits through pauses.
    """

    def __init__(self, address: Address, tls: Tls, clock: Clock) -> None:
        self._address = address
        self._clock = clock
        self._tls = tls
        self._idle: Idle[httpcore.HTTPConnection] = Idle()
        self._room = BoundedSemaphore(CONNECTIONS)

    def run(self, work: Work[R]) -> R:
        """Carry out a call to its end."""
        try:
            step = next(work)
            while True:
                try:
                    answer = self._carry(step)
                except LostError as error:
                    step = work.throw(error)
                else:
                    step = work.send(answer)
        except StopIteration as end:
            value: R = end.value
            return value

    def _carry(self, step: Ask | Pause) -> Answer:
        if isinstance(step, Pause):
            self._clock.sleep(step.seconds)
            return NO_ANSWER
        return self.send(step, bytes(step.body))

    def send(self, ask: Ask, body: bytes | Iterator[bytes]) -> Answer:
        """Send one request and read its answer whole.

        Raises:
            UnsentError, BrokenError: there is none.
        """
        if not self._room.acquire(timeout=ask.timeout_s):
            raise UnsentError("every connection is in use", late=True)
        try:
            return self._send(ask, body)
        finally:
            self._room.release()

    def _send(self, ask: Ask, body: bytes | Iterator[bytes]) -> Answer:
        url, headers = request_of(ask, self._address)
        content = None if body == b"" and ask.method == "GET" else body
        origin = str(url.origin)
        connection, expired = self._idle.take(origin)
        for one in expired:
            one.close()
        if connection is None:
            connection = httpcore.HTTPConnection(
                url.origin, self._tls, KEPT_S, uds=self._address.socket
            )
        try:
            response = connection.request(
                ask.method, url, headers=headers, content=content, extensions=timeouts_of(ask)
            )
        except BaseException as error:
            connection.close()
            if isinstance(error, FAILURES):
                self.close()  # where one broke, those that wait may have, too
                raise lost(error) from error
            raise
        if connection.is_available():
            self._idle.give(origin, connection)
        else:
            connection.close()
        return answer_of(response)

    def upload(self, ask: Ask) -> Upload:
        """Begin a request whose body comes bit by bit."""
        return Upload(self, ask)

    def close(self) -> None:
        """Let go of the connections that wait."""
        for one in self._idle.drain():
            one.close()


NO_ANSWER: Final = Answer(0, {}, b"")  # to a pause


class AbandonedError(Exception):
    """Ends a body in its middle, so that the server does not take it for whole."""


class Pipe:
    """Bytes on their way from the thread that writes to the one that sends; 4 MiB at most."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._abandoned = False
        self.drained = False  # the sender has seen the end
        self._broken = False  # nobody takes anything any more

    def put(self, piece: bytes) -> bool:
        """Add bytes, waiting for room; False where nobody takes them any more."""
        with self._changed:
            while self._bytes >= PIPE_BYTES and not self._broken:
                self._changed.wait()
            if self._broken:
                return False
            self._pieces.append(piece)
            self._bytes += len(piece)
            self._changed.notify_all()
            return True

    def end(self, *, abandoned: bool = False) -> None:
        """Say that no more comes, or that what came is void."""
        with self._changed:
            self._ended, self._abandoned = True, abandoned
            self._changed.notify_all()

    def stop(self) -> None:
        """Say that no more is taken."""
        with self._changed:
            self._broken = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        while (piece := self._take()) is not None:
            yield piece

    def _take(self) -> bytes | None:
        with self._changed:
            while not (self._pieces or self._ended):
                self._changed.wait()
            if self._abandoned:
                raise AbandonedError
            if not self._pieces:
                self.drained = True
                return None
            piece = self._pieces.popleft()
            self._bytes -= len(piece)
            self._changed.notify_all()
            return piece


class Upload:
    """A request under way whose body is still being written."""

    def __init__(self, sender: Sender, ask: Ask) -> None:
        self._sender = sender
        self._ask = ask
        self._pipe = Pipe()
        self._outcome: Answer | HoldfastError | None = None
        self._thread = Thread(target=self._send, name="holdfast-upload", daemon=True)
        self._thread.start()

    def _send(self) -> None:
        try:
            self._outcome = self._sender.send(self._ask, iter(self._pipe))
        except AbandonedError:
            self._outcome = Unavailable(cause="given up")
        except LostError as error:
            whole = self._pipe.drained and isinstance(error, BrokenError)
            kind = OutcomeUnknown if whole else Unavailable
            self._outcome = kind(cause=error.cause)
        except Exception as error:  # noqa: BLE001 - whoever writes must be told
            self._outcome = OutcomeUnknown(cause=repr(error))
        finally:
            self._pipe.stop()

    def write(self, piece: bytes) -> bool:
        """Send more; False where the server wants no more: ``finish`` says why."""
        return self._pipe.put(piece)

    def finish(self) -> Answer:
        """End the body and wait for the answer.

        Raises:
            Unavailable: it was cut off; nothing was stored. OutcomeUnknown: perhaps stored.
        """
        self._pipe.end()
        self._thread.join()
        if isinstance(self._outcome, Answer):
            return self._outcome
        raise self._outcome or Unavailable(cause="given up")

    def abandon(self) -> None:
        """Break off: nothing is stored."""
        self._pipe.end(abandoned=True)
        self._thread.join()
