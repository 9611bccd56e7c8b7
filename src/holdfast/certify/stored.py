"""One file that shows what was stored at a revision: a COSE receipt and all that it speaks of.

    COSE_Sign1  the signed root as it stands in the log, and in its unprotected header
                {394: [receipt], "holdfast-proof": [[hand-over, ...], tree]}

Whoever knows RFC 9942 reads a signed statement with its receipt: without that header it is the
entry of the log that the receipt shows. The tree leads from the root that was signed to the
object, or to where it would be; with the hand-overs it is a proof (``verify.py``). docs/PROTOCOL.md
section 6 is normative.
"""

from __future__ import annotations

from typing import Final

from holdfast.certify import cbor, cose, receipts, roots, verify
from holdfast.certify.verify import Verified
from holdfast.clock import Clock
from holdfast.errors import ProofInvalid

RECEIPTS: Final = 394
PROOF: Final = "holdfast-proof"
FILE_BYTES: Final = verify.PROOF_BYTES + receipts.RECEIPT_BYTES


def attach(proof: bytes, receipt: bytes) -> bytes:
    """The file of a proof, and of the receipt for the signed root in it.

    Raises:
        ProofInvalid: ``proof`` is none.
    """
    match cbor.decode(proof, bytes_most=verify.PROOF_BYTES):
        case [1, [*handovers], bytes(signed), bytes(tree)]:
            root = cose.decode(signed, bytes_most=verify.PROOF_BYTES)
            return _encoded(root, {RECEIPTS: [receipt], PROOF: [handovers, tree]})
    raise ProofInvalid(reason="structure")


def verify_stored(
    namespace: str | bytes,
    key: str,
    value: bytes | None,
    file: bytes,
    *,
    public_key: object,
    max_age_s: float | None = None,
    min_revision: int | None = None,
    clock: Clock | None = None,
) -> Verified:
    """Hold that a store had this value under this key, or none, and has the root in its log.

    Args:
        namespace: its name, or its 32-byte id.
        key: the key.
        value: the whole value; None to hold that there was no object.
        file: as ``store.certifier.with_receipt`` makes it.
        public_key: the store's key, as for ``holdfast.verify``; so are the others.
        max_age_s: refuse a root that was signed longer ago, or over 60 s in the future.
        min_revision: refuse a root of an earlier revision.
        clock: what ``max_age_s`` is measured with.

    Raises:
        ProofInvalid: ``reason`` says what does not hold, of the proof or of the receipt.
        InvalidValue, InvalidKey, InvalidNamespace: an argument is none.
    """
    proof, receipt, entry, handovers = _opened(file)
    said = verify.verify(
        namespace,
        key,
        value,
        proof,
        public_key=public_key,
        max_age_s=max_age_s,
        min_revision=min_revision,
        clock=clock,
    )
    receipts.verify(receipt, leaf=entry, key=roots.signer(public_key, handovers))
    return said


def is_stored(data: bytes) -> bool:
    """Whether bytes may be such a file: a proof begins otherwise."""
    return data[:1] == cbor.head(cbor.TAG, cose.SIGN1_TAG)


def _opened(file: bytes) -> tuple[bytes, bytes, bytes, list[bytes]]:
    """The proof in a file, the receipt, the entry of the log, and the hand-overs."""
    root = cose.decode(file, bytes_most=FILE_BYTES)
    told = root.unprotected
    if told.keys() != {RECEIPTS, PROOF}:
        raise ProofInvalid(reason="structure")
    match told[RECEIPTS], told[PROOF]:
        case [bytes(receipt)], [[*handovers], bytes(tree)]:
            chain = [one for one in handovers if isinstance(one, bytes)]
            if len(chain) == len(handovers):
                entry = _encoded(root, {})
                proof = cbor.encode([verify.VERSION, chain, entry, tree])
                return proof, receipt, entry, chain
    raise ProofInvalid(reason="structure")


def _encoded(root: cose.Sign1, unprotected: dict[object, object]) -> bytes:
    parts = [root.protected, unprotected, root.payload, root.signature]
    return cbor.encode(cbor.Tagged(cose.SIGN1_TAG, parts))
