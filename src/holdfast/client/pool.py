"""Connections that wait for their next request, and what their failures mean.

One connection serves one request at a time; the one that was used last is taken first, so the
rest can grow old and be closed. Finding one costs the same however many there are.
"""

from __future__ import annotations

import ssl
from threading import Lock
from typing import Final, Generic, Protocol, TypeVar

import httpcore

from holdfast.client.address import Address
from holdfast.client.asks import Answer, Ask, BrokenError, LostError, UnsentError

CONNECTIONS: Final = 100  # at once
CONNECT_S: Final = 5.0  # an address that nobody answers at is given up while there is time
KEPT_S: Final = 60.0  # less than a server keeps an idle connection
UNSENT: Final = (
    httpcore.ConnectError,
    httpcore.ConnectTimeout,
    httpcore.LocalProtocolError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
)
FAILURES: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
    OSError,
)
Tls = ssl.SSLContext | None


class Reusable(Protocol):
    """What is asked of a connection that waits."""

    def has_expired(self) -> bool:
        """Whether it is too old, or the server has closed it."""

    def is_available(self) -> bool:
        """Whether it can take a request."""


C = TypeVar("C", bound=Reusable)


class Idle(Generic[C]):
    """The connections that wait, by the origin that they lead to; safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: dict[str, list[C]] = {}

    def take(self, origin: str) -> tuple[C | None, list[C]]:
        """One that can be used, if there is one, and those that are to be closed."""
        expired: list[C] = []
        while True:
            with self._lock:
                held = self._held.get(origin)
                if not held:
                    return None, expired
                newest = held.pop()
            if newest.is_available() and not newest.has_expired():
                return newest, expired
            expired.append(newest)

    def give(self, origin: str, connection: C) -> None:
        """Let one wait."""
        with self._lock:
            self._held.setdefault(origin, []).append(connection)

    def drain(self) -> list[C]:
        """All of them, to be closed."""
        with self._lock:
            held, self._held = self._held, {}
        return [one for waiting in held.values() for one in waiting]


def request_of(ask: Ask, address: Address) -> tuple[httpcore.URL, list[tuple[bytes, bytes]]]:
    """Where an ask goes, to the byte, and its headers, in latin-1 as they were made."""
    origin = httpcore.URL(address.at(ask.origin))
    url = httpcore.URL(
        scheme=origin.scheme, host=origin.host, port=origin.port, target=ask.target.encode()
    )
    headers = [(b"user-agent", b"holdfast"), (b"accept-encoding", b"identity")]
    headers += [(name.encode(), text.encode("latin-1")) for name, text in ask.headers.items()]
    return url, headers


def timeouts_of(ask: Ask) -> dict[str, dict[str, float | None]]:
    """How long each step may take."""
    left_s = ask.timeout_s
    connect_s = CONNECT_S if left_s is None else min(left_s, CONNECT_S)
    return {"timeout": {"connect": connect_s, "read": left_s, "write": left_s, "pool": left_s}}


def answer_of(response: httpcore.Response) -> Answer:
    """What came back."""
    headers = {
        name.decode("latin-1").lower(): text.decode("latin-1") for name, text in response.headers
    }
    return Answer(response.status, headers, response.content)


def lost(error: Exception) -> LostError:
    """What a failure of a connection means for its request."""
    late = isinstance(error, httpcore.TimeoutException)
    kind = UnsentError if isinstance(error, UNSENT) else BrokenError
    return kind(f"{type(error).__name__}: {error}", late=late)
