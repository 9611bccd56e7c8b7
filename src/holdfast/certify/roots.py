"""Signed roots, and the hand-overs by which a store's key is replaced.

    root       COSE_Sign1, protected {1: algorithm, 16: "holdfast-root"}, payload
               [1, store, incarnation, revision, time, root, log size, log root]
    hand-over  COSE_Sign1 by the old key, protected {1: algorithm, 16: "holdfast-handover"},
               payload [1, store, revision, new key]

``store`` is the store's id (16 bytes), ``time`` nanoseconds since 1970, ``root`` the digest
of the state tree. Revisions only grow, through restores too: a new incarnation continues at
its number times 2^40. The log is the RFC 9162 log of the signed roots before this one, each
leaf the bytes of such a message; so every root commits to the whole history before it. A
hand-over says from which revision on the new key (DER) signs. What is signed names its type
(16, RFC 9596), so a root is no hand-over and no receipt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from holdfast.certify import cbor, cose
from holdfast.errors import InvalidValue, ProofInvalid

TYPE: Final = 16
ROOT_TYPE: Final = "holdfast-root"
HANDOVER_TYPE: Final = "holdfast-handover"
VERSION: Final = 1
MESSAGE_BYTES: Final = 4_096
HANDOVERS_MOST: Final = 64
STORE_BYTES: Final = 16
HASH_BYTES: Final = 32
KNOWN: Final = 64  # roots that are remembered as signed
INCARNATION_BITS: Final = 40
_KINDS: Final = [int, bytes, int, int, int, bytes, int, bytes]  # exactly: True is no 1
_NAMED: Final = frozenset((cose.ALGORITHM, TYPE))


@dataclass(frozen=True)
class SignedRoot:
    """The state of a store at a revision, as its key signed it."""

    store: bytes
    incarnation: int
    revision: int
    time_ns: int
    root: bytes
    log_size: int
    log_root: bytes


def sign(root: SignedRoot, key: cose.PrivateKey) -> bytes:
    """The signed root as bytes."""
    numbers = [root.incarnation, root.revision, root.time_ns]
    fields = [VERSION, root.store, *numbers, root.root, root.log_size, root.log_root]
    return cose.sign({TYPE: ROOT_TYPE}, cbor.encode(fields), key)


def verify(message: bytes, public_key: object, handovers: Sequence[bytes] = ()) -> SignedRoot:
    """The root that a store signed.

    Args:
        message: bytes of a signed root.
        public_key: the key that the caller trusts, in any form of ``cose.public_key``.
        handovers: the messages that lead to the key that signed, oldest first; they may
            begin before the trusted key, so one chain serves whoever trusts any key of it.

    Raises:
        ProofInvalid: ``reason`` says what does not hold: "type", "structure", "signature",
            "handover" for a chain that does not lead to this root, ...
        InvalidValue: ``public_key`` is not a key.
    """
    return verified(message, cose.key_bytes(cose.public_key(public_key)), tuple(handovers))


@lru_cache(maxsize=KNOWN)
def verified(message: bytes, trusted: bytes, handovers: tuple[bytes, ...]) -> SignedRoot:
    """The same of a key in DER. What holds for these very bytes is remembered for a while.

    Many proofs stand under one root, and its signature is half of what checking one costs.
    """
    key, since, store = _current(cose.public_key(trusted), handovers)
    signed = _message(message, ROOT_TYPE)
    cose.verify(signed, signed.payload or b"", key)
    root = _fields(signed.payload or b"")
    if root.revision < since or store not in {None, root.store}:
        raise ProofInvalid(reason="handover")
    return root


def signer(public_key: object, handovers: Sequence[bytes] = ()) -> cose.PublicKey:
    """The key that hand-overs lead to from a trusted one; arguments and errors of ``verify``."""
    return _current(cose.public_key(public_key), handovers)[0]


def decode(message: bytes) -> SignedRoot:
    """What a signed root says, its signature not looked at: for whoever signed it.

    Raises:
        ProofInvalid: it is not a signed root.
    """
    return _fields(_message(message, ROOT_TYPE).payload or b"")


def hand_over(store: bytes, revision: int, new: cose.PublicKey, old: cose.PrivateKey) -> bytes:
    """The message by which the old key names the one that signs from ``revision`` on."""
    fields = [VERSION, store, revision, cose.key_bytes(new)]
    return cose.sign({TYPE: HANDOVER_TYPE}, cbor.encode(fields), old)


def _current(
    key: cose.PublicKey, handovers: Sequence[bytes]
) -> tuple[cose.PublicKey, int, bytes | None]:
    """The key at the end of a chain of hand-overs, its first revision, the store named.

    What comes before the first that the trusted key signed was over before it was trusted.
    """
    if len(handovers) > HANDOVERS_MOST:
        raise ProofInvalid(reason="handover")
    since, store = 0, None
    for message in handovers:
        signed = _message(message, HANDOVER_TYPE)
        if store is None and not _signed_by(signed, key):
            continue
        cose.verify(signed, signed.payload or b"", key)
        named, revision, der = _handed(signed)
        if revision < since or store not in {None, named}:
            raise ProofInvalid(reason="handover")
        key, since, store = _key(der), revision, named
    return key, since, store


def named_key(message: bytes) -> bytes:
    """The key (DER) that a hand-over names, its signature not looked at: for whoever signed it.

    Raises:
        ProofInvalid: it is not a hand-over.
    """
    return _handed(_message(message, HANDOVER_TYPE))[2]


def _handed(signed: cose.Sign1) -> tuple[bytes, int, bytes]:
    """The store, the first revision and the new key (DER) that a hand-over names."""
    match cbor.decode(signed.payload or b"", bytes_most=MESSAGE_BYTES):
        case [1, bytes(store), int(revision), bytes(der)]:
            return store, revision, der
        case _:
            raise ProofInvalid(reason="handover")


def _signed_by(signed: cose.Sign1, key: cose.PublicKey) -> bool:
    try:
        cose.verify(signed, signed.payload or b"", key)
    except ProofInvalid:
        return False
    return True


def _key(der: bytes) -> cose.PublicKey:
    try:
        return cose.public_key(der)
    except InvalidValue:
        raise ProofInvalid(reason="handover") from None


def _message(message: bytes, kind: str) -> cose.Sign1:
    signed = cose.decode(message, bytes_most=MESSAGE_BYTES)
    if signed.header.keys() != _NAMED or signed.unprotected:
        raise ProofInvalid(reason="structure")
    if signed.header[TYPE] != kind or signed.payload is None:
        raise ProofInvalid(reason="type")
    return signed


def _fields(payload: bytes) -> SignedRoot:
    fields = cbor.decode(payload, bytes_most=MESSAGE_BYTES)
    if not isinstance(fields, list) or [*map(type, fields)] != _KINDS or fields[0] != VERSION:
        raise ProofInvalid(reason="structure")
    _, store, incarnation, revision, time_ns, root, log_size, log_root = fields
    if min(incarnation, revision, time_ns, log_size) < 0:
        raise ProofInvalid(reason="structure")
    if (len(store), len(root), len(log_root)) != (STORE_BYTES, HASH_BYTES, HASH_BYTES):
        raise ProofInvalid(reason="structure")
    return SignedRoot(store, incarnation, revision, time_ns, root, log_size, log_root)
