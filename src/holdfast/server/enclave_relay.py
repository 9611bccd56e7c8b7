"""Enclaves of a store that several processes serve: one of them keeps the sessions.

A session's counter must only grow, wherever its requests arrive, so it lives in one
place: the first process. The others ask it for a nonce, for a session and about
each mark. Documents that come with every request, and hand-overs, need no such
place: each process judges those itself, by the same records.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from holdfast.identity.enclaves import AttestationSettings, Enclaves, Opened
from holdfast.store.tenancy import StoreRecords
from holdfast.values import Principal

if TYPE_CHECKING:
    from holdfast.server.link import SocketLink
    from holdfast.store.store import Store

HOME: Final = 0  # the process that keeps the sessions
CHALLENGE, EXCHANGE, SESSION = "enclave.challenge", "enclave.exchange", "enclave.session"


def answers(enclaves: Enclaves) -> dict[str, Callable[..., Any]]:
    """What the process that keeps the sessions answers the others."""

    def exchange(document: bytes, namespace: str | None) -> bytes:
        return msgspec.msgpack.encode(enclaves.exchange(document, namespace))

    def session(mark: str, method: str, target: str, digest: bytes) -> bytes:
        return msgspec.msgpack.encode(enclaves.by_session(mark, method, target, digest))

    return {CHALLENGE: enclaves.challenge, EXCHANGE: exchange, SESSION: session}


class RelayedEnclaves(Enclaves):
    """Enclaves whose sessions another process keeps; every answer about them takes a thread.

    Args:
        settings: what to believe.
        store: the part of it that this process holds.
        link: to the process that keeps the sessions.
    """

    def __init__(self, settings: AttestationSettings, store: Store, link: SocketLink) -> None:
        super().__init__(
            settings,
            StoreRecords(store),
            clock=store.clock,
            entropy=store.entropy,
            store=store.file.store,
        )
        self._link = link

    def challenge(self, image_id: str | None = None) -> bytes:
        """A nonce of the other process."""
        nonce: bytes = self._link.ask(CHALLENGE, image_id)
        return nonce

    def exchange(self, document: bytes, namespace: str | None = None) -> Opened:
        """A session in the other process."""
        return msgspec.msgpack.decode(self._link.ask(EXCHANGE, document, namespace), type=Opened)

    def by_session(self, mark: str, method: str, target: str, digest: bytes) -> Principal:
        """Who marked a request, as the other process knows."""
        told = self._link.ask(SESSION, mark, method, target, digest)
        return msgspec.msgpack.decode(told, type=Principal)

    def is_open(self, mark: str) -> bool:
        """Only the other process knows."""
        return bool(mark)

    def knows_session(self, mark: str) -> bool:
        """Never: the other process must be asked."""
        del mark
        return False
