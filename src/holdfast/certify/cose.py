"""COSE_Sign1 (RFC 9052 section 4.2) with the three algorithms that a store's key may have.

    tag 18 [ protected: bytes of a map, unprotected: map, payload: bytes or null, signature ]
    signed:  ["Signature1", protected, external data (empty), payload]

Algorithms: EdDSA with Ed25519 (-8), ES256 (-7, P-256 and SHA-256) and ES384 (-35, P-384 and
SHA-384); an ECDSA signature is r and s side by side, not DER. The key decides which algorithm
is right and the header must agree, so nobody can talk a verifier into a weaker one. A header
named critical (2) that is not understood refuses the whole, as the RFC demands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from holdfast.certify import cbor
from holdfast.errors import InvalidValue, ProofInvalid

SIGN1_TAG: Final = 18
ALGORITHM: Final = 1
CRITICAL: Final = 2
EDDSA, ES256, ES384 = -8, -7, -35
RAW_BYTES: Final = 32  # an Ed25519 public key without wrapping
PARTS: Final = 4
KNOWN: Final = 16  # keys, and protected headers, of which is remembered what they say
_CONTEXT: Final = cbor.encode("Signature1")
_EXTERNAL: Final = cbor.encode(b"")

PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey
PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Sign1:
    """A signed message, read and not yet believed."""

    header: Mapping[object, object]  # what is signed of the headers
    unprotected: Mapping[object, object]
    payload: bytes | None
    protected: bytes
    signature: bytes


def public_key(key: object) -> PublicKey:
    """The public key in any form that a caller may have it in.

    Args:
        key: PEM (str or bytes), DER (SubjectPublicKeyInfo), the 32 bytes of an Ed25519 key, or
            a key of ``cryptography``.

    Raises:
        InvalidValue: none of these, or a kind of key that no algorithm here uses.
    """
    if isinstance(key, str):
        key = key.encode()
    if isinstance(key, bytes):
        key = _read_key(key)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return key
    raise InvalidValue(argument="public_key", reason="no key, or of a kind that signs nothing here")


@lru_cache(maxsize=KNOWN)
def _read_key(key: bytes) -> object:
    """The key that the bytes say; whoever verifies much does it with the same few."""
    try:
        if len(key) == RAW_BYTES:
            return ed25519.Ed25519PublicKey.from_public_bytes(key)
        pem = key.lstrip().startswith(b"-----")
        return load_pem_public_key(key) if pem else load_der_public_key(key)
    except (ValueError, UnsupportedAlgorithm):
        reason = "neither PEM, nor DER, nor the 32 bytes of Ed25519"
        raise InvalidValue(argument="public_key", reason=reason) from None


def key_bytes(key: PublicKey) -> bytes:
    """The key as DER (SubjectPublicKeyInfo): one form for every kind."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


_CURVES: Final[dict[str, tuple[int, int, hashes.HashAlgorithm]]] = {
    "secp256r1": (ES256, 32, hashes.SHA256()),
    "secp384r1": (ES384, 48, hashes.SHA384()),
}


def algorithm_of(key: PublicKey) -> int:
    """The one algorithm that a key may sign with."""
    return EDDSA if isinstance(key, ed25519.Ed25519PublicKey) else _CURVES[key.curve.name][0]


def decode(data: bytes, *, bytes_most: int, shortest: bool = True) -> Sign1:
    """Read a COSE_Sign1; its signature is not looked at yet.

    Raises:
        ProofInvalid: ``reason`` is "bytes", "depth", "encoding" or "structure".
    """
    message = cbor.decode(data, bytes_most=bytes_most, shortest=shortest)
    parts = message.value if isinstance(message, cbor.Tagged) else None
    if not isinstance(message, cbor.Tagged) or message.tag != SIGN1_TAG:
        raise ProofInvalid(reason="structure")
    if not isinstance(parts, list) or len(parts) != PARTS:
        raise ProofInvalid(reason="structure")
    protected, unprotected, payload, signature = parts
    if not isinstance(protected, bytes) or not isinstance(unprotected, dict):
        raise ProofInvalid(reason="structure")
    if not isinstance(payload, bytes | None) or not isinstance(signature, bytes):
        raise ProofInvalid(reason="structure")
    header = _header(protected, bytes_most, shortest)
    if header.keys() & unprotected.keys():
        raise ProofInvalid(reason="structure")
    return Sign1(header, unprotected, payload, protected, signature)


@lru_cache(maxsize=KNOWN)
def _header(protected: bytes, bytes_most: int, shortest: bool) -> Mapping[object, object]:  # noqa: FBT001 - not the face, and called as often as anything here
    """What is signed of the headers: the same bytes in every message of one kind and key."""
    header = cbor.decode(protected, bytes_most=bytes_most, shortest=shortest)
    if not isinstance(header, dict) or CRITICAL in header:
        raise ProofInvalid(reason="structure")
    return MappingProxyType(header)


def verify(message: Sign1, payload: bytes, key: PublicKey) -> None:
    """Hold that the key signed this payload under this header.

    Raises:
        ProofInvalid: ``reason`` is "algorithm" or "signature".
    """
    if message.header.get(ALGORITHM) != algorithm_of(key):
        raise ProofInvalid(reason="algorithm")
    signed = _signed(message.protected, payload)
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(message.signature, signed)
        else:
            _verify_ecdsa(key, message.signature, signed)
    except InvalidSignature:
        raise ProofInvalid(reason="signature") from None


def _verify_ecdsa(key: ec.EllipticCurvePublicKey, signature: bytes, signed: bytes) -> None:
    _, size, hashed = _CURVES[key.curve.name]
    if len(signature) != 2 * size:
        raise ProofInvalid(reason="signature")
    r, s = (int.from_bytes(half, "big") for half in (signature[:size], signature[size:]))
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashed))


def sign(
    header: Mapping[int, object],
    payload: bytes,
    key: PrivateKey,
    *,
    unprotected: Mapping[int, object] | None = None,
    detached: bool = False,
) -> bytes:
    """A COSE_Sign1 over the payload; ``detached`` leaves the payload out of the message.

    ``header`` is signed; the algorithm is added to it.
    """
    public = key.public_key()
    protected = cbor.encode({ALGORITHM: algorithm_of(public), **header})
    signed = _signed(protected, payload)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        signature = key.sign(signed)
    else:
        _, size, hashed = _CURVES[key.curve.name]
        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashed)))
        signature = r.to_bytes(size, "big") + s.to_bytes(size, "big")
    told = None if detached else payload
    parts = [protected, dict(unprotected or {}), told, signature]
    return cbor.encode(cbor.Tagged(SIGN1_TAG, parts))


def _signed(protected: bytes, payload: bytes) -> bytes:
    """The encoding of ["Signature1", protected, external data, payload]."""
    heads = (cbor.head(cbor.BYTES, len(protected)), cbor.head(cbor.BYTES, len(payload)))
    return b"".join(
        (b"\x84", _CONTEXT, heads[0], protected, _EXTERNAL, heads[1], payload),
    )
