"""Sending a large value: one piece in memory at a time, read as fast as it is taken."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Protocol

from holdfast.errors import HoldfastError

log = logging.getLogger("holdfast.server")
PIECE_BYTES = 1 << 18


class Receiver(Protocol):
    """What a download needs of its connection."""

    choked_since_s: float | None

    @property
    def reads(self) -> Reads:
        """Where reads are carried out."""

    def pass_on(self, data: bytes) -> None:
        """Send bytes."""

    def sent(self) -> None:
        """The last piece was handed over."""

    def abort(self) -> None:
        """There is no more, though more was promised."""


class Reads(Protocol):
    """Carries out a read on a thread."""

    def read(self, work: Callable[[], object], settle: Callable[[object], None]) -> None:
        """``settle(result or error)`` is called on the loop."""


class Download:
    """Pulls pieces and sends each once the one before has left.

    Args:
        receiver: the connection.
        pieces: of the value, in order; each is read when it is asked for.
    """

    def __init__(self, receiver: Receiver, pieces: Iterator[bytes]) -> None:
        self._receiver = receiver
        self._pieces = pieces
        self._busy = False
        self._piece = memoryview(b"")
        self._stopped = False

    def go_on(self) -> None:
        """Send until the connection is choked, then wait to be called again."""
        receiver = self._receiver
        while not self._stopped and receiver.choked_since_s is None:
            if not self._piece:
                self._fetch()
                return
            part, self._piece = self._piece[:PIECE_BYTES], self._piece[PIECE_BYTES:]
            receiver.pass_on(bytes(part))

    def _fetch(self) -> None:
        if not self._busy:
            self._busy = True
            self._receiver.reads.read(self._next, self._take)

    def _next(self) -> bytes | None:
        return next(self._pieces, None)

    def _take(self, outcome: object) -> None:
        self._busy = False
        if self._stopped:
            return
        if isinstance(outcome, bytes):
            self._piece = memoryview(outcome)
            self.go_on()
        elif outcome is None:
            self._stopped = True
            self._receiver.sent()
        else:
            if not isinstance(outcome, HoldfastError):
                log.error("a download failed", exc_info=outcome)  # type: ignore[arg-type]
            self._stopped = True
            self._receiver.abort()

    def stop(self) -> None:
        """Nobody reads any more."""
        self._stopped = True
