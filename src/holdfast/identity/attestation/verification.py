"""A document judged whole: its form, its chain, its signature, its image, its age."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import cbor2
import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from holdfast.errors import AttestationInvalid, InvalidValue
from holdfast.identity.attestation.chain import Chain
from holdfast.identity.attestation.document import (
    CUSTOM_PCR,
    IMAGE_PCRS,
    PCR_BYTES,
    PROTECTED,
    SIGNATURE_BYTES,
    Document,
    parse,
)
from holdfast.identity.attestation.roots import AWS
from holdfast.limits import SECOND_NS

FUTURE_S: Final = 5  # how far another clock may be ahead of ours
MILLISECOND_NS: Final = 1_000_000
# Which registers make the image: bits 0, 1, 2 and 16.
IMAGE_MASK: Final = sum(1 << index for index in (*IMAGE_PCRS, CUSTOM_PCR))


class Attestation(msgspec.Struct, frozen=True):
    """What a verified document says.

    ``image_id`` (hex) is the SHA-256 of which registers it is made of, as a
    big-endian 32-bit mask, and of PCR 0, 1, 2 and 16 (zeros where it was never
    extended); the formula of Oyster. ``pcrs`` are the registers by number,
    ``timestamp_ns`` when the document was signed, ``ends_ns`` from when on
    its chain counts no more, both nanoseconds since 1970.
    """

    image_id: str
    pcrs: Mapping[int, bytes]
    module_id: str
    timestamp_ns: int
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None
    ends_ns: int = 0


def verify(
    document: bytes,
    *,
    now_ns: int,
    max_age_s: float | None = 300,
    roots: Sequence[bytes] = AWS,
    images: Collection[str] | None = None,
    nonce: bytes | None = None,
) -> Attestation:
    """What an attestation document says, once nothing in it is in doubt.

    Args:
        document: a COSE_Sign1 as the security module gives it, at most 16 KiB.
        now_ns: the time to judge at, nanoseconds since 1970.
        max_age_s: how old it may be, seconds. None for stored evidence: it may be of
            any age, and its certificates are judged at the document's own time.
        roots: DER of the roots to trust.
        images: the image ids to accept, as hex; None accepts any.
        nonce: the nonce that it must carry; None accepts any, or none.

    Raises:
        AttestationInvalid: ``reason`` is encoding (not such a document), root (none of
            ``roots``), chain (a certificate does not follow), expired or future (the time of
            a certificate, or of the document, lies behind or ahead), signature, debug (a
            register of the image is zero: somebody may look inside), stale (older than
            ``max_age_s``), image, nonce (not the one asked for).
        InvalidValue: ``max_age_s`` is negative or no number.

    Example:
        >>> try:
        ...     verify(b"no document", now_ns=0)
        ... except AttestationInvalid as error:
        ...     print(error.reason)
        encoding
    """
    if max_age_s is not None and not (math.isfinite(max_age_s) and max_age_s >= 0):
        raise InvalidValue(argument="max_age_s", reason="negative or not finite")
    claims = parse(document)
    signed_ns = claims.timestamp_ms * MILLISECOND_NS
    chain = Chain(claims.cabundle, claims.certificate, roots)
    # The signature first: it refuses most of what strangers send for one verification of five.
    _judge_signature(claims, chain.leaf.key)
    chain.judge(signed_ns if max_age_s is None else now_ns, FUTURE_S * SECOND_NS)
    if any(not any(claims.pcrs[index]) for index in IMAGE_PCRS):
        raise AttestationInvalid(reason="debug")
    _judge_age(signed_ns, now_ns, max_age_s)
    image_id = image_of(claims.pcrs)
    if images is not None and image_id not in images:
        raise AttestationInvalid(reason="image", image_id=image_id)
    if nonce is not None and claims.nonce != nonce:
        raise AttestationInvalid(reason="nonce")
    keys = (claims.public_key, claims.user_data, claims.nonce)
    return Attestation(image_id, claims.pcrs, claims.module_id, signed_ns, *keys, chain.ends_ns)


def image_of(pcrs: Mapping[int, bytes]) -> str:
    """The id of the image that left these registers, as hex."""
    digest = hashlib.sha256(IMAGE_MASK.to_bytes(4, "big"))
    for index in IMAGE_PCRS:
        digest.update(pcrs[index])
    digest.update(pcrs.get(CUSTOM_PCR, bytes(PCR_BYTES)))
    return digest.hexdigest()


def signed_bytes(payload: bytes) -> bytes:
    """What the leaf's key signs: ``["Signature1", protected, b"", payload]`` (RFC 9052, 4.4).

    The payload goes in as received: to encode it again would judge other bytes.
    """
    return cbor2.dumps(["Signature1", PROTECTED, b"", payload])


def _judge_signature(claims: Document, key: ec.EllipticCurvePublicKey) -> None:
    half = SIGNATURE_BYTES // 2
    r = int.from_bytes(claims.signature[:half], "big")
    s = int.from_bytes(claims.signature[half:], "big")
    try:
        key.verify(
            encode_dss_signature(r, s), signed_bytes(claims.payload), ec.ECDSA(hashes.SHA384())
        )
    except InvalidSignature:
        raise AttestationInvalid(reason="signature") from None


def _judge_age(signed_ns: int, now_ns: int, max_age_s: float | None) -> None:
    """Bounded on both sides: a document from the future would never age out."""
    if signed_ns > now_ns + FUTURE_S * SECOND_NS:
        raise AttestationInvalid(reason="future", timestamp_ns=signed_ns, at_ns=now_ns)
    if max_age_s is not None and now_ns - signed_ns > round(max_age_s * SECOND_NS):
        raise AttestationInvalid(reason="stale", timestamp_ns=signed_ns, at_ns=now_ns)
