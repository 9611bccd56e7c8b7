"""The key that an enclave's document binds: who trusts the image need not be told the key.

A server that runs in an enclave asks the security module for a document that names its
signing key, and serves it beside its signed roots. It names the key in ``public_key``, as DER
(SubjectPublicKeyInfo), or in ``user_data`` by the SHA-256 of that, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import sha256

import msgspec

from holdfast.certify.cose import key_bytes
from holdfast.certify.cose import public_key as read_key
from holdfast.errors import AttestationInvalid, InvalidValue
from holdfast.identity.attestation.document import Document, parse
from holdfast.identity.attestation.roots import AWS
from holdfast.identity.attestation.verification import Attestation, verify


class BoundKey(msgspec.Struct, frozen=True):
    """A key, as DER, and what the document says of the enclave that held it."""

    public_key: bytes
    attestation: Attestation


def key_of(
    document: bytes,
    *,
    now_ns: int,
    public_key: object = None,
    max_age_s: float | None = None,
    roots: Sequence[bytes] = AWS,
    images: Collection[str] | None = None,
) -> BoundKey:
    """The key that a document binds to the image of its enclave.

    Args:
        document: as the server tells it beside its signed root, at most 16 KiB.
        now_ns: the time to judge at, nanoseconds since 1970.
        public_key: the key that it should bind, in any form of ``holdfast.verify``; needed
            where the document names it by digest alone.
        max_age_s: how old the document may be, seconds. None: of any age; it says that the
            enclave held the key at that moment.
        roots: DER of the roots to trust.
        images: the image ids to accept, as hex; None accepts any, and says which it is.

    Raises:
        AttestationInvalid: as ``verify``; ``reason`` is "key" where it binds no key, or another.
        InvalidValue: ``public_key`` is not a key.
    """
    given = None if public_key is None else key_bytes(read_key(public_key))
    claims = verify(document, now_ns=now_ns, max_age_s=max_age_s, roots=roots, images=images)
    found = given if given is not None else _named(claims)
    if found is None or not _binds(claims, found):
        raise AttestationInvalid(reason="key")
    return BoundKey(found, claims)


def binds(document: bytes, public_key: object) -> bool:
    """Whether a document names a key; who signed it is not looked at: for whoever asked for it."""
    try:
        return _binds(parse(document), key_bytes(read_key(public_key)))
    except AttestationInvalid:
        return False


def _binds(claims: Attestation | Document, key: bytes) -> bool:
    return _named(claims) == key or claims.user_data == sha256(key).digest()


def _named(claims: Attestation | Document) -> bytes | None:
    """The key in ``public_key``, as DER; None where there is none."""
    try:
        return None if claims.public_key is None else key_bytes(read_key(claims.public_key))
    except InvalidValue:
        return None
