"""Compact signed tokens (RFC 7515, RFC 8037), read as strictly as they can be.

    base64url(header) . base64url(payload) . base64url(signature)

General decoders pass over what does not belong into base64 and over the unused bits of a
last character, so one token has many spellings; here each has one, and every other is
refused. The algorithm is the key's: what a header asks for must be the same and decides
nothing, so neither "none" nor a public key used as a shared secret is a way in.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    SECP384R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from holdfast.errors import InvalidValue, Unauthenticated
from holdfast.limits import TOKEN_CHARS
from holdfast.values import planned

Algorithm = Literal["EdDSA", "ES256", "ES384"]
PublicKey = Ed25519PublicKey | EllipticCurvePublicKey
SEGMENTS: Final = 3
_HASHES: Final = {"ES256": SHA256, "ES384": SHA384}
_HALF_BYTES: Final = {"ES256": 32, "ES384": 48}


@planned
class Header(msgspec.Struct, frozen=True):
    """What a token says of its signature. Members that we do not know decide nothing."""

    alg: str
    kid: str | None = None
    crit: msgspec.Raw | None = None
    b64: bool = True


class VerifyingKey(msgspec.Struct, frozen=True):
    """A public key, its id (None where it has none) and the one algorithm it is for."""

    algorithm: Algorithm
    public: PublicKey
    id: str | None = None


class Parts(msgspec.Struct, frozen=True):
    """A token taken apart; nothing of it has been verified."""

    header: Header
    payload: bytes
    signature: bytes
    signed: bytes


def algorithm_of(public: object) -> Algorithm:
    """The algorithm that a key is for; InvalidValue where it is for none of the three."""
    if isinstance(public, Ed25519PublicKey):
        return "EdDSA"
    if isinstance(public, EllipticCurvePublicKey):
        if isinstance(public.curve, SECP256R1):
            return "ES256"
        if isinstance(public.curve, SECP384R1):
            return "ES384"
    raise InvalidValue(argument="key", reason="not Ed25519, P-256 or P-384")


def split(token: object) -> Parts:
    """Take a token apart.

    Raises:
        Unauthenticated: "malformed" (wrong type, form, encoding or header) or "too_long".
    """
    if not isinstance(token, str) or not token.isascii():
        raise Unauthenticated(reason="malformed")
    if len(token) > TOKEN_CHARS:
        raise Unauthenticated(reason="too_long")
    segments = token.split(".")
    if len(segments) != SEGMENTS:
        raise Unauthenticated(reason="malformed")
    header, payload, signature = map(decoded, segments)
    try:
        read = msgspec.json.decode(header, type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unauthenticated(reason="malformed") from None
    if read.crit is not None or not read.b64:
        raise Unauthenticated(reason="malformed")  # extensions that we would have to understand
    return Parts(read, payload, signature, token.rpartition(".")[0].encode())


def verify(parts: Parts, key: VerifyingKey) -> None:
    """Return where the signature is this key's; Unauthenticated ("algorithm", "signature")."""
    if parts.header.alg != key.algorithm:
        raise Unauthenticated(reason="algorithm")
    try:
        if isinstance(key.public, Ed25519PublicKey):
            key.public.verify(parts.signature, parts.signed)
        else:
            key.public.verify(
                _der(parts.signature, _HALF_BYTES[key.algorithm]),
                parts.signed,
                ECDSA(_HASHES[key.algorithm]()),
            )
    except InvalidSignature:
        raise Unauthenticated(reason="signature") from None


def _der(signature: bytes, half: int) -> bytes:
    """A signature r || s (RFC 7518, section 3.4) in the form that the library takes."""
    if len(signature) != 2 * half:
        raise InvalidSignature
    r, s = (int.from_bytes(part) for part in (signature[:half], signature[half:]))
    return encode_dss_signature(r, s)


def signed(payload: bytes, key: Ed25519PrivateKey, key_id: str) -> str:
    """A token over a payload."""
    header = msgspec.json.encode({"alg": "EdDSA", "kid": key_id, "typ": "JWT"})
    text = f"{encoded(header)}.{encoded(payload)}"
    return f"{text}.{encoded(key.sign(text.encode()))}"


def encoded(data: bytes) -> str:
    """Bytes as base64url without padding.

    Example:
        >>> encoded(b"hi?")
        'aGk_'
    """
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """The bytes of the one spelling that ``encoded`` gives; Unauthenticated for any other."""
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise Unauthenticated(reason="malformed") from None
    if encoded(data) != text:
        raise Unauthenticated(reason="malformed")
    return data
