r"""What an enclave and the store compute alike: the exchange of a secret, the mark on a request.

The secret of a session is encrypted to the public key in an attested document:

    info     "holdfast enclave session 1" | session id (16) | store's key (32) | enclave's key (32)
    key      HKDF-SHA256(X25519(one private key, the other public key), salt = nonce, info), 32 B
    sealed   AES-256-GCM(key, iv = 12 zeros, secret (32), associated data = info), 48 B

The store's key pair is made for this one exchange, so ``key`` encrypts once and needs no
random iv. Each request then carries

    mac      HMAC-SHA256(secret, "holdfast request 1\n" method "\n" target "\n" counter "\n"
             hex of SHA-256(body))

RFC 7748 (X25519), RFC 5869 (HKDF), RFC 2104 (HMAC).
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from holdfast.errors import InvalidValue, Unauthenticated

SECRET_BYTES: Final = 32
KEY_BYTES: Final = 32
LABEL: Final = b"holdfast enclave session 1"
REQUEST: Final = "holdfast request 1"
IV: Final = bytes(12)
BLOCK_BYTES: Final = 64  # of SHA-256
INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


def public_of(private: bytes) -> bytes:
    """The X25519 public key (32 bytes) of a private one (32 bytes)."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def seal(secret: bytes, *, private: bytes, peer: bytes, nonce: bytes, session: bytes) -> bytes:
    """The secret of a session, encrypted to an enclave's key; the store's half.

    Args:
        secret: 32 bytes.
        private: the store's X25519 private key, made for this exchange.
        peer: the public key in the enclave's document, 32 bytes.
        nonce: that the document carries.
        session: the session's id, 16 bytes.

    Raises:
        InvalidValue: ``peer`` is no X25519 public key.
    """
    info = LABEL + session + public_of(private) + peer
    return AESGCM(_key(private, peer, nonce, info)).encrypt(IV, secret, info)


def unseal(sealed: bytes, *, private: bytes, peer: bytes, nonce: bytes, session: bytes) -> bytes:
    """The secret again; the enclave's half.

    Args:
        sealed: what ``seal`` gave.
        private: the enclave's X25519 private key.
        peer: the store's public key, 32 bytes.
        nonce: as for ``seal``.
        session: as for ``seal``.

    Raises:
        InvalidValue: ``peer`` is no X25519 public key.
        Unauthenticated: it was not sealed to this key, for this nonce and session.

    Example:
        >>> ours, theirs = bytes([1]) * 32, bytes([2]) * 32
        >>> told = {"nonce": b"n", "session": bytes(16)}
        >>> sealed = seal(b"s" * 32, private=ours, peer=public_of(theirs), **told)
        >>> unseal(sealed, private=theirs, peer=public_of(ours), **told) == b"s" * 32
        True
    """
    info = LABEL + session + peer + public_of(private)
    try:
        return AESGCM(_key(private, peer, nonce, info)).decrypt(IV, sealed, info)
    except InvalidTag:
        raise Unauthenticated(reason="sealed") from None


def _key(private: bytes, peer: bytes, nonce: bytes, info: bytes) -> bytes:
    try:
        shared = X25519PrivateKey.from_private_bytes(private).exchange(
            X25519PublicKey.from_public_bytes(peer)
        )
    except ValueError:  # of another length, or a point whose secret everybody knows
        raise InvalidValue(argument="public_key", reason="not an X25519 public key") from None
    return HKDF(hashes.SHA256(), SECRET_BYTES, nonce, info).derive(shared)


def mac_of(secret: bytes, method: str, target: str, *, counter: int, digest: bytes) -> bytes:
    """The mark of one request, 32 bytes.

    Args:
        secret: of the session.
        method: as on the request line, such as "POST".
        target: as on the request line: the path, and the query if there is one.
        counter: the request's number, above every earlier one.
        digest: SHA-256 of the body.
    """
    return hmac.digest(secret, message_of(method, target, counter, digest), "sha256")


class Keyed:
    """HMAC-SHA256 (RFC 2104) of a secret that has been taken in already.

    As ``hmac.digest``, without the three microseconds that it takes to begin.

    Args:
        secret: of at most 64 bytes.

    Example:
        >>> Keyed(b"secret").digest(b"text") == hmac.digest(b"secret", b"text", "sha256")
        True
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        block = secret.ljust(BLOCK_BYTES, b"\0")
        self._inner = sha256(block.translate(INNER))
        self._outer = sha256(block.translate(OUTER))

    def digest(self, text: bytes) -> bytes:
        """The code of a text."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.digest()


def message_of(method: str, target: str, counter: int, digest: bytes) -> bytes:
    """What the mark of a request is computed over; arguments as for ``mac_of``."""
    return f"{REQUEST}\n{method}\n{target}\n{counter}\n{digest.hex()}".encode("latin-1")
