"""An enclave's side of a session, with documents from a mock authority.

What an enclave does with its security module and its own key; for tests, and
as a pattern for a program that runs inside one.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from holdfast.clock import Clock, Entropy
from holdfast.identity.attestation.verification import image_of
from holdfast.identity.exchange import mac_of, public_of, unseal
from holdfast.testing.authority import MockAuthority, image

KEY_BYTES: Final = 32


class MockEnclave:
    """An enclave with a key pair of its own.

    Args:
        authority: signs its documents.
        clock: tells it the time.
        entropy: gives its private key.
        pcrs: its registers.
    """

    def __init__(
        self,
        authority: MockAuthority,
        clock: Clock,
        entropy: Entropy,
        pcrs: Mapping[int, bytes] | None = None,
    ) -> None:
        self._authority = authority
        self._clock = clock
        self._private = entropy.bytes(KEY_BYTES)
        self._session = ""
        self._secret = b""
        self._counter = 0
        self.pcrs = image(1) if pcrs is None else dict(pcrs)
        self.image_id = image_of(self.pcrs)

    def document(self, nonce: bytes | None = None, **fields: object) -> bytes:
        """A document of now that carries the enclave's public key, and a nonce."""
        told = {"pcrs": self.pcrs, "nonce": nonce, "public_key": public_of(self._private)}
        return self._authority.document(self._clock.wall_ns(), **told | fields)

    def open(self, session: str, public_key: bytes, sealed: bytes, nonce: bytes) -> None:
        """Take up the session that a document was exchanged for.

        Args:
            session: its id, 32 hex digits.
            public_key: the store's, made for this exchange.
            sealed: its secret.
            nonce: that the document carried.

        Raises:
            Unauthenticated: it was not sealed for this enclave.
        """
        self._secret = unseal(
            sealed,
            private=self._private,
            peer=public_key,
            nonce=nonce,
            session=bytes.fromhex(session),
        )
        self._session = session
        self._counter = 0

    def mark(self, method: str, target: str, body: bytes = b"") -> str:
        """The header ``Holdfast-Enclave`` of the next request."""
        self._counter += 1
        digest = sha256(body).digest()
        mac = mac_of(self._secret, method, target, counter=self._counter, digest=digest)
        return f"{self._session};{self._counter};{mac.hex()}"
