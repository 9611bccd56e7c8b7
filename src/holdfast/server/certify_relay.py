"""Proofs of a store that several processes serve: one of them seals and signs (rule 15).

The first process is the sequencer: it asks the others for what they hold
(``store/handing.py``), and the others ask it for proofs, signed roots and their history.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from holdfast.certify import roots, state
from holdfast.certify.watch import History
from holdfast.limits import OBJECT_BYTES
from holdfast.store.seals import Seal
from holdfast.values import Proven, ProvenPage, ProvenParts

if TYPE_CHECKING:
    from holdfast.server.link import SocketLink
    from holdfast.store.store import Store

PROVE, PARTS, PAGE = "certify.prove", "certify.parts", "certify.page"
SEAL, HISTORY, KEY = "certify.seal", "certify.history", "certify.key"
encode: Final = msgspec.msgpack.encode


def proofs_of(store: Store) -> dict[str, Callable[..., Any]]:
    """What the sequencer answers the others; it begins when it is first asked."""

    def prove(namespace: str, key: str, sealed: bool, most_bytes: int) -> bytes:  # noqa: FBT001
        proven = store.certifier.prove(namespace, key, sealed=sealed, most_bytes=most_bytes)
        return encode(proven)

    def parts(*asked: Any) -> bytes:  # noqa: ANN401 - as of RelayedCertifier
        namespace, key, span, sealed, most_bytes = asked
        proven = store.certifier.prove_parts(
            namespace, key, tuple(span), sealed=sealed, most_bytes=most_bytes
        )
        return encode(proven)

    def page(*asked: Any) -> bytes:  # noqa: ANN401
        namespace, prefix, after, limit, sealed = asked
        proven = store.certifier.prove_page(
            namespace, prefix, after=after, limit=limit, sealed=sealed
        )
        return encode(proven)

    def seal() -> tuple[bytes, list[bytes]]:
        made = store.certifier.seal()
        return made.message, [*made.handovers]

    def history(size: int, of: int) -> tuple[list[bytes], list[bytes]]:
        found = store.certifier.history_from(size, of)
        return [*found.consistency], [*found.inclusion]

    return {
        PROVE: prove,
        PARTS: parts,
        PAGE: page,
        SEAL: seal,
        HISTORY: history,
        KEY: store.public_key,
    }


class RelayedCertifier:
    """The proofs of another process; each as of ``Certifier``.

    Args:
        link: to the sequencer.
    """

    def __init__(self, link: SocketLink) -> None:
        self._link = link

    def prove(
        self, namespace: str, key: str, *, sealed: bool = False, most_bytes: int = OBJECT_BYTES
    ) -> Proven:
        """The value of an object, or that there is none, with its proof."""
        told = self._link.ask(PROVE, namespace, key, sealed, most_bytes)
        return msgspec.msgpack.decode(told, type=Proven)

    def prove_parts(
        self,
        namespace: str,
        key: str,
        span: tuple[int, int],
        *,
        sealed: bool = False,
        most_bytes: int = OBJECT_BYTES,
    ) -> ProvenParts:
        """Parts of an object's value with their proof."""
        told = self._link.ask(PARTS, namespace, key, span, sealed, most_bytes)
        return msgspec.msgpack.decode(told, type=ProvenParts)

    def prove_list(self, namespace: str, prefix: str, *, sealed: bool = False) -> Proven:
        """The proof of every object below a prefix."""
        page = self.prove_page(namespace, prefix, sealed=sealed)
        return Proven(None, page.proof, page.revision, page.time_ns)

    def prove_page(
        self,
        namespace: str,
        prefix: str,
        *,
        after: str | None = None,
        limit: int | None = None,
        sealed: bool = False,
    ) -> ProvenPage:
        """The proof of a page of what is below a prefix."""
        told = self._link.ask(PAGE, namespace, prefix, after, limit, sealed)
        return msgspec.msgpack.decode(told, type=ProvenPage)

    def seal(self) -> Seal:
        """A seal of everything that was visible when this was called; its tree is elsewhere."""
        message, handovers = self._link.ask(SEAL)
        return Seal(message, roots.decode(message), state.EMPTY, tuple(handovers))

    def history_from(self, size: int, of: int) -> History:
        """What shows that a newer signed root goes on from an older one."""
        consistency, inclusion = self._link.ask(HISTORY, size, of)
        return History(tuple(consistency), tuple(inclusion))

    def public_key(self) -> bytes:
        """The public key that proofs of this store are verified with, PEM."""
        key: bytes = self._link.ask(KEY)
        return key
