"""COSE receipts (RFC 9942): one file that shows that a log holds an entry.

    COSE_Sign1  protected   {1: algorithm, 395: 1}        395: the structure, 1: RFC9162_SHA256
                unprotected {396: {-1: [proof, ...]}}     396: proofs, -1: of inclusion
                payload     null: the root, which the verifier finds by itself
    proof       bytes of [size, index, [hash, ...]]

Source: RFC 9942 sections 4 and 5. The receipt signs the root alone: what it proves is that
*some* log of that key had a root over the entry. Size and index are what the proof needs to
be walked; nobody signed them. Receipts of other implementations are read with any length of
number; a structure other than RFC9162_SHA256 is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from holdfast.certify import cbor, cose, merkle
from holdfast.errors import ProofInvalid

STRUCTURE: Final = 395
PROOFS: Final = 396
RFC9162_SHA256: Final = 1
INCLUSION: Final = -1
RECEIPT_BYTES: Final = 65_536


def make(
    key: cose.PrivateKey, *, index: int, size: int, path: Sequence[bytes], root: bytes
) -> bytes:
    """A receipt for the entry at ``index`` of the log of ``size`` entries.

    Args:
        key: the log's key.
        index: the entry's place, from 0.
        size: entries of the log.
        path: what ``MerkleLog.prove_inclusion`` says.
        root: root of the log of ``size`` entries.
    """
    proof = cbor.encode([size, index, list(path)])
    proofs = {PROOFS: {INCLUSION: [proof]}}
    header = {STRUCTURE: RFC9162_SHA256}
    return cose.sign(header, root, key, unprotected=proofs, detached=True)


def verify(receipt: bytes, *, leaf: bytes, key: object) -> None:
    """Hold that the log of this key has this entry.

    Args:
        receipt: the bytes of a COSE receipt.
        leaf: the entry's bytes, as the log was given them (not their hash).
        key: the log's public key: PEM, DER, 32 raw bytes (Ed25519) or a key object.

    Raises:
        ProofInvalid: ``reason`` is "structure" for anything but a receipt of RFC9162_SHA256,
            "algorithm", "signature", or one of ``merkle.verify_inclusion``.
        InvalidValue: ``key`` is not a key.
    """
    checked = cose.public_key(key)
    message = cose.decode(receipt, bytes_most=RECEIPT_BYTES, shortest=False)
    # True equals 1, and is another value to everybody else
    structure = message.header.get(STRUCTURE)
    if structure != RFC9162_SHA256 or isinstance(structure, bool):
        raise ProofInvalid(reason="structure")
    roots = {
        merkle.root_of_inclusion(index, size, merkle.leaf_hash(leaf), path)
        for size, index, path in _proofs(message)
    }
    if len(roots) != 1:
        raise ProofInvalid(reason="root")
    (root,) = roots
    if message.payload is not None and message.payload != root:
        raise ProofInvalid(reason="root")
    cose.verify(message, root, checked)


def _proofs(message: cose.Sign1) -> list[tuple[int, int, list[bytes]]]:
    proofs = message.unprotected.get(PROOFS)
    encoded = proofs.get(INCLUSION) if isinstance(proofs, dict) else None
    if not isinstance(encoded, list) or not encoded:
        raise ProofInvalid(reason="structure")
    return [_proof(one) for one in encoded]


def _proof(encoded: object) -> tuple[int, int, list[bytes]]:
    if not isinstance(encoded, bytes):
        raise ProofInvalid(reason="structure")
    match cbor.decode(encoded, bytes_most=RECEIPT_BYTES, shortest=False):
        case [int(size), int(index), [*path]] if _plain(size, index):
            hashes = [hashed for hashed in path if isinstance(hashed, bytes)]
            if len(hashes) == len(path):
                return size, index, hashes
    raise ProofInvalid(reason="structure")


def _plain(*numbers: int) -> bool:
    return not any(isinstance(number, bool) for number in numbers)
