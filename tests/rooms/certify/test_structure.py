"""What is signed and yet no proof: chains of keys, headers and parts of another shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from holdfast.certify import cbor, leaf, roots, verify
from holdfast.certify.parts import Parts
from holdfast.certify.roots import HANDOVERS_MOST, SignedRoot
from holdfast.certify.state import Part
from holdfast.certify.tree import Fork, Labelled, Leaf, Node, Pruned
from holdfast.errors import ProofInvalid
from tests.rooms.certify.making import KEY, OTHER, PUBLIC, STORE, Shelf, Thing, check

SECOND = ec.derive_private_key(77, ec.SECP384R1())
FOREIGN = b"another store 16"
SHELF = Shelf({"acme": {key: Thing(b"value of " + key.encode()) for key in "bd"}})


def refused(reason: str, proof: bytes, value: bytes | None, key: str = "b") -> None:
    with pytest.raises(ProofInvalid) as caught:
        check(proof, value, key=key)
    assert caught.value.reason == reason


def proof_by(shelf: Shelf, chain: Sequence[bytes] = (), signed: bytes | None = None) -> bytes:
    shown = shelf.witness("acme", "b", b"b\x00")
    return verify.encode_proof(shelf.signed() if signed is None else signed, [*chain], shown)


def test_a_chain_is_of_one_store_and_goes_on() -> None:
    shelf = replace(SHELF, key=SECOND)
    first = roots.hand_over(STORE, 5, OTHER.public_key(), KEY)
    second = roots.hand_over(STORE, 6, SECOND.public_key(), OTHER)
    assert check(proof_by(shelf, [first, second]), b"value of b").revision == 7
    began_elsewhere = roots.hand_over(FOREIGN, 5, OTHER.public_key(), KEY)
    refused("handover", proof_by(shelf, [began_elsewhere, second]), b"value of b")
    goes_back = roots.hand_over(STORE, 4, SECOND.public_key(), OTHER)
    refused("handover", proof_by(shelf, [first, goes_back]), b"value of b")
    whole_elsewhere = roots.hand_over(FOREIGN, 6, SECOND.public_key(), KEY)
    refused("handover", proof_by(shelf, [whole_elsewhere]), b"value of b")


def test_a_chain_is_bounded() -> None:
    keys = [KEY, OTHER] * (HANDOVERS_MOST // 2 + 1)
    chain = [roots.hand_over(STORE, 5, new.public_key(), old) for old, new in pairwise(keys)]
    most = chain[:HANDOVERS_MOST]
    assert check(proof_by(SHELF, most), b"value of b").revision == 7  # it ends where it began
    longer = replace(SHELF, key=keys[HANDOVERS_MOST + 1])
    refused("handover", proof_by(longer, chain[: HANDOVERS_MOST + 1]), b"value of b")


def test_a_chain_is_of_messages() -> None:
    proof = cbor.decode(proof_by(SHELF), bytes_most=verify.PROOF_BYTES)
    assert isinstance(proof, list)
    refused("structure", cbor.encode([proof[0], [7], *proof[2:]]), b"value of b")


def test_a_message_has_no_headers_that_nobody_signed() -> None:
    signed = cbor.decode(SHELF.signed(), bytes_most=verify.PROOF_BYTES)
    assert isinstance(signed, cbor.Tagged)
    assert isinstance(signed.value, list)
    protected, _, *rest = signed.value
    more = cbor.encode(cbor.Tagged(signed.tag, [protected, {4: b"kid"}, *rest]))
    refused("structure", proof_by(SHELF, signed=more), b"value of b")


@pytest.mark.parametrize(
    "fields",
    [
        {"incarnation": -1},
        {"revision": -1},
        {"time_ns": -1},
        {"log_size": -1},
        {"store": b"short"},
        {"log_root": bytes(31)},
    ],
)
def test_a_signed_root_is_of_its_sizes(fields: dict[str, int | bytes]) -> None:
    good = SignedRoot(STORE, 0, 7, 1, bytes(32), 0, bytes(32))
    assert roots.verify(roots.sign(good, KEY), PUBLIC) == good
    with pytest.raises(ProofInvalid, match="structure"):
        roots.verify(roots.sign(replace(good, **fields), KEY), PUBLIC)  # type: ignore[arg-type]


class Odd(Shelf):
    """A store whose parts say of their bucket what is no id."""

    def _parts(self, name: str) -> list[Part]:
        return [replace(part, bucket=part.bucket + "00") for part in super()._parts(name)]


def test_a_part_says_its_bucket() -> None:
    odd = Odd(SHELF.things)
    refused("leaf", proof_by(odd), b"value of b")


def hidden(node: Node) -> Node:
    """The same tree with every leaf that is no part pruned."""
    if isinstance(node, Fork):
        return Fork(hidden(node.left), hidden(node.right))
    if isinstance(node, Labelled):
        if node.label == verify.PART:
            return node
        return Labelled(node.label, hidden(node.subtree))
    return Pruned(node.digest) if isinstance(node, Leaf) else node


def test_a_leaf_that_is_not_shown_is_unknown() -> None:
    shown = hidden(SHELF.witness("acme", "b", b"b\x00"))
    refused("unknown", verify.encode_proof(SHELF.signed(), [], shown), b"value of b")


def test_parts_of_what_is_not_there_are_refused() -> None:
    value = bytes(leaf.PART_BYTES)
    held = Parts(0, value, ((),))
    absent = verify.encode_proof(SHELF.signed(), [], SHELF.witness("acme", "c", b"c\x00"))
    assert verify.verify_parts("acme", "c", None, absent, public_key=PUBLIC).size is None
    with pytest.raises(ProofInvalid, match="absent"):
        verify.verify_parts("acme", "c", held, absent, public_key=PUBLIC)
