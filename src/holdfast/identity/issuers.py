"""Issuers that an operator trusts besides the store: their names and public keys.

A JWKS file (RFC 7517) is read, not fetched: what a store trusts does not change behind
its operator's back. A key that is for another purpose, another algorithm or another curve
is refused by name, never passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from holdfast.errors import InvalidValue, Unauthenticated
from holdfast.identity.jws import PublicKey, VerifyingKey, algorithm_of, decoded

ANYBODY: Final = "*"  # the audience of tokens that were made for nobody in particular
_CURVES: Final = {"P-256": SECP256R1, "P-384": SECP384R1}


class Issuer(msgspec.Struct, frozen=True):
    """Whom to believe, about what.

    ``name`` is the claim ``iss``, ``audience`` one that ``aud`` must hold; ``namespaces``
    are those it may speak for by its scopes (None: every organisation's). The audience "*" is
    for issuers that make tokens for nobody in particular: ``aud`` is not looked at, and
    ``username`` or ``azp`` stands for a ``sub`` that is not there.
    """

    name: str
    audience: str
    keys: tuple[VerifyingKey, ...]
    namespaces: tuple[str, ...] | None = None


class IssuerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An issuer as a configuration file tells of it.

    ``name``, ``audience`` and ``namespaces`` are those of ``Issuer``; ``jwks`` is the path of a
    JWKS file; ``keys`` are public keys in PEM by their id ("" for one without).
    """

    name: str
    audience: str
    jwks: str | None = None
    keys: dict[str, str] = {}
    namespaces: tuple[str, ...] | None = None


class _Jwk(msgspec.Struct):
    kty: str
    crv: str
    x: str
    y: str | None = None
    kid: str | None = None
    alg: str | None = None
    use: str | None = None


class _Jwks(msgspec.Struct):
    keys: tuple[_Jwk, ...]


def issuer_of(settings: IssuerSettings, read: Callable[[str], bytes]) -> Issuer:
    """The issuer that a configuration means.

    Args:
        settings: what it says.
        read: gives the bytes of a file.

    Raises:
        InvalidValue: a key cannot be used, or there is none.
        OSError: as ``read`` raises it.
    """
    keys = [key_from_pem(pem.encode(), key_id or None) for key_id, pem in settings.keys.items()]
    if settings.jwks is not None:
        keys += keys_from_jwks(read(settings.jwks))
    if not keys or len({key.id for key in keys}) < len(keys):
        raise InvalidValue(argument="issuers", reason="no keys, or two with one id")
    return Issuer(settings.name, settings.audience, tuple(keys), settings.namespaces)


def key_from_pem(data: bytes, key_id: str | None = None) -> VerifyingKey:
    """The public key in a PEM file; InvalidValue where it is no key of ours."""
    try:
        public = load_pem_public_key(data)
    except ValueError:
        raise InvalidValue(argument="key", reason="not a public key in PEM") from None
    algorithm = algorithm_of(public)
    return VerifyingKey(algorithm, public, key_id)  # type: ignore[arg-type] # what it is for says so


def keys_from_jwks(data: bytes) -> tuple[VerifyingKey, ...]:
    """The keys of a JWKS document.

    Raises:
        InvalidValue: it cannot be read, holds no key, holds one that is not for ES256,
            ES384 or EdDSA signatures, or one id twice.
    """
    try:
        document = msgspec.json.decode(data, type=_Jwks)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidValue(argument="jwks", reason="not a set of EC or OKP keys") from None
    keys = tuple(_key(jwk) for jwk in document.keys)
    ids = [key.id for key in keys]
    if not keys or len(set(ids)) < len(ids):
        raise InvalidValue(argument="jwks", reason="no keys, or two with one id")
    return keys


def _key(jwk: _Jwk) -> VerifyingKey:
    if jwk.use not in {None, "sig"}:
        raise InvalidValue(argument="jwks", reason="a key for another use", kid=jwk.kid)
    try:
        public = _public(jwk)
    except (ValueError, Unauthenticated):  # no point of the curve, or no base64
        public = None
    if public is None:
        raise InvalidValue(argument="jwks", reason="not a key of its curve", kid=jwk.kid)
    algorithm = algorithm_of(public)
    if jwk.alg not in {None, algorithm, "Ed25519" if algorithm == "EdDSA" else algorithm}:
        raise InvalidValue(argument="jwks", reason="a key for another algorithm", kid=jwk.kid)
    return VerifyingKey(algorithm, public, jwk.kid)


def _public(jwk: _Jwk) -> PublicKey | None:
    x = decoded(jwk.x)
    if (jwk.kty, jwk.crv) == ("OKP", "Ed25519"):
        return Ed25519PublicKey.from_public_bytes(x)
    curve = _CURVES.get(jwk.crv)
    if jwk.kty != "EC" or curve is None or jwk.y is None:
        return None
    y = decoded(jwk.y)
    numbers = EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve())
    return numbers.public_key()


def key_for(issuer: Issuer, key_id: str | None) -> VerifyingKey:
    """The key that a token names; the only one, where it names none.

    Raises:
        Unauthenticated: "key": the issuer has no such key, or several and none was named.
    """
    if key_id is None:
        if len(issuer.keys) == 1:
            return issuer.keys[0]
    else:
        for key in issuer.keys:
            if key.id == key_id:
                return key
    raise Unauthenticated(reason="key")
