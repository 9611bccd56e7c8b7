"""The way between two processes of one store: calls over a Unix socket.

Each frame is its length (u32, big-endian) and so many bytes of wire/calls.py. A
connection carries one call at a time; whoever asks keeps a few connections. A
frame that did not arrive whole is never begun, so only a call that was sent
whole and not answered leaves its outcome open.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock, Thread
from typing import Any, Final

from holdfast.clock import Clock
from holdfast.errors import HoldfastError, OutcomeUnknown, Unavailable
from holdfast.wire.calls import (
    decode_answer,
    decode_call,
    encode_answer,
    encode_call,
    encode_error,
)

LENGTH: Final = struct.Struct(">I")
FRAME_BYTES: Final = 128 << 20  # a batch is at most 64 MiB of values
IDLE_CONNECTIONS: Final = 8
BACKLOG: Final = 64
TIMEOUT_S: Final = 30.0
RETRY_S: Final = 0.01
PIECE_BYTES: Final = 1 << 20
ONLY_OWNER: Final = 0o177  # umask of the socket
WRITES: Final = frozenset(("apply",))  # calls whose outcome matters where the answer is lost

Answer = Callable[[str, Sequence[object]], Any]


class NotSent(Exception):
    """A call did not go out whole: nobody began it."""


class SocketLink:
    """Asks the process that listens on a Unix socket (placement/elsewhere.py says what).

    Args:
        path: of the socket.
        clock: to wait by.
        patience_s: how long to try where nobody listens: a process that died is replaced.
        timeout_s: how long to wait for an answer; None as long as the other process lives.
    """

    def __init__(
        self,
        path: str,
        clock: Clock,
        *,
        patience_s: float = 0.0,
        timeout_s: float | None = TIMEOUT_S,
    ) -> None:
        self._path = path
        self._clock = clock
        self._patience_s = patience_s
        self._timeout_s = timeout_s
        self._lock = Lock()
        self._idle: list[socket.socket] = []

    def ask(self, method: str, *arguments: object) -> Any:  # noqa: ANN401 - what the method returns
        """What the other process answers; its errors are raised.

        Raises:
            Unavailable: it cannot be reached; nothing was begun.
            OutcomeUnknown: it was lost while it was at work on a write.
        """
        data = encode_call(method, arguments)
        try:
            answer = self._patiently(data)
        except NotSent as error:
            raise Unavailable(cause=str(error)) from None
        except OSError as error:
            if method in WRITES:
                raise OutcomeUnknown(cause=type(error).__name__) from error
            raise Unavailable(cause=type(error).__name__) from error
        return decode_answer(answer)

    def close(self) -> None:
        """Let go of the connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _patiently(self, data: bytes) -> bytes:
        """As ``_exchange``, again and again while the call does not go out."""
        left = self._patience_s
        while True:
            try:
                return self._exchange(data)
            except NotSent:
                if left <= 0:
                    raise
            self._clock.sleep(RETRY_S)
            left -= RETRY_S

    def _exchange(self, data: bytes) -> bytes:
        """Send a call and wait for its answer; NotSent, or OSError once it was sent."""
        connection = self._connection()
        try:
            try:
                send(connection, data)
            except OSError as error:
                raise NotSent(type(error).__name__) from error
            answer = next_frame(connection)
        except BaseException:
            connection.close()
            raise
        self._keep(connection)
        return answer

    def _connection(self) -> socket.socket:
        while (kept := self._kept()) is not None:
            if is_open(kept):
                return kept
            kept.close()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout_s)
        try:
            connection.connect(self._path)
        except OSError as error:
            connection.close()
            raise NotSent(type(error).__name__) from error
        return connection

    def _kept(self) -> socket.socket | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _keep(self, connection: socket.socket) -> None:
        with self._lock:
            if len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()


class LinkServer:
    """Answers the calls of other processes, each connection on a thread of its own.

    Args:
        path: of the socket; what a dead process left there is replaced.
        answer: does what a call asks.
    """

    def __init__(self, path: str, answer: Answer) -> None:
        self._answer = answer
        self._path = path
        self._closed = False
        self._lock = Lock()
        self._open: dict[socket.socket, Thread] = {}
        self._listener = listen(path)
        self._thread = Thread(target=self._accept, name="holdfast-link", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more calls; those that are at work are answered first."""
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        with self._lock:
            serving = dict(self._open)
        for connection in serving:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        for thread in serving.values():
            thread.join()
        with suppress(OSError):
            os.unlink(self._path)  # noqa: PTH108 - plain paths

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = Thread(target=self._serve, args=(connection,), daemon=True)
            with self._lock:
                self._open[connection] = thread
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while (call := receive(connection)) is not None:
                send(connection, self._answered(call))
        except OSError:
            return  # whoever asked is gone
        finally:
            with self._lock:
                self._open.pop(connection, None)
            connection.close()

    def _answered(self, call: bytes) -> bytes:
        try:
            method, arguments = decode_call(call)
            return encode_answer(self._answer(method, arguments))
        except HoldfastError as error:
            return encode_error(error)


def listen(path: str) -> socket.socket:
    """A socket at a path that only its user may connect to."""
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - plain paths
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(ONLY_OWNER)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen(BACKLOG)
    return listener


def send(connection: socket.socket, data: bytes) -> None:
    """One frame."""
    connection.sendall(LENGTH.pack(len(data)))
    connection.sendall(data)


def receive(connection: socket.socket) -> bytes | None:
    """The next frame, or None where the other side has ended; OSError where it broke off."""
    head = _exactly(connection, LENGTH.size)
    if head is None:
        return None
    (length,) = LENGTH.unpack(head)
    if length > FRAME_BYTES:
        raise ConnectionAbortedError
    if not length:
        return b""
    data = _exactly(connection, length)
    if data is None:
        raise ConnectionResetError
    return data


def next_frame(connection: socket.socket) -> bytes:
    """A frame that has to come; OSError where it does not."""
    data = receive(connection)
    if data is None:
        raise ConnectionResetError
    return data


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    got = bytearray(min(count, PIECE_BYTES))  # more only once so much has come
    at = 0
    while at < count:
        if at == len(got):
            got.extend(bytes(min(count - at, len(got))))
        came = connection.recv_into(memoryview(got)[at:])
        if not came:
            if at:
                raise ConnectionResetError
            return None
        at += came
    return bytes(got)


def is_open(connection: socket.socket) -> bool:
    """Whether the other side of an idle connection is still there."""
    timeout_s = connection.gettimeout()
    connection.settimeout(0)  # with a timeout, MSG_DONTWAIT would be waited out
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        connection.settimeout(timeout_s)
    return False  # it ended, or said something that nobody asked for
