"""COSE receipts: those of others, our own, and what is refused."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast.certify import cbor, cose, receipts
from holdfast.certify.merkle import MerkleLog
from holdfast.errors import InvalidValue, ProofInvalid

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "vectors" / "cose_receipts.json").read_text()
)["vectors"]
ED25519 = Ed25519PrivateKey.from_private_bytes(b"r" * 32)
KEYS: dict[str, cose.PrivateKey] = {
    "EdDSA": ED25519,
    "ES256": ec.derive_private_key(7, ec.SECP256R1()),
    "ES384": ec.derive_private_key(7, ec.SECP384R1()),
}


def log_of(count: int) -> MerkleLog:
    log = MerkleLog()
    for number in range(count):
        log.append(b"entry %d" % number)
    return log


def receipt_of(key: cose.PrivateKey, index: int = 2) -> bytes:
    log = log_of(7)
    path = log.prove_inclusion(index)
    return receipts.make(key, index=index, size=7, path=path, root=log.root())


def signed(header: dict[int, object], unprotected: dict[int, object], root: bytes) -> bytes:
    return cose.sign(header, root, ED25519, unprotected=unprotected, detached=True)


@pytest.mark.parametrize("name", VECTORS)
def test_the_public_vectors(name: str) -> None:
    vector = VECTORS[name]
    leaf = sha256(bytes.fromhex(vector["statement"])).digest()
    assert leaf.hex() == vector["leaf_entry"]
    receipt = bytes.fromhex(vector["receipt"])
    for key in (vector["log_key"], vector["log_key"].encode()):
        if vector["receipt_valid"]:
            receipts.verify(receipt, leaf=leaf, key=key)
        else:
            with pytest.raises(ProofInvalid):
                receipts.verify(receipt, leaf=leaf, key=key)


@pytest.mark.parametrize("kind", KEYS)
def test_our_own(kind: str) -> None:
    receipt = receipt_of(KEYS[kind])
    receipts.verify(receipt, leaf=b"entry 2", key=KEYS[kind].public_key())
    with pytest.raises(ProofInvalid, match="signature"):
        receipts.verify(receipt, leaf=b"entry 3", key=KEYS[kind].public_key())


@pytest.mark.parametrize("kind", KEYS)
def test_another_key_or_kind_of_key_does_not_do(kind: str) -> None:
    others: list[cose.PrivateKey] = [
        Ed25519PrivateKey.from_private_bytes(b"o" * 32),
        ec.derive_private_key(8, ec.SECP256R1()),
        ec.derive_private_key(8, ec.SECP384R1()),
    ]
    for other in others:
        with pytest.raises(ProofInvalid, match=r"signature|algorithm"):
            receipts.verify(receipt_of(KEYS[kind]), leaf=b"entry 2", key=other.public_key())


def test_every_byte_counts_but_the_two_that_nobody_signs() -> None:
    receipt = receipt_of(ED25519)
    unsigned = receipt.index(b"\x83\x07\x02")  # size and index: the format binds the root alone
    for at in set(range(len(receipt))) - {unsigned + 1, unsigned + 2}:
        changed = bytearray(receipt)
        changed[at] ^= 1
        with pytest.raises(ProofInvalid):
            receipts.verify(bytes(changed), leaf=b"entry 2", key=ED25519.public_key())


@pytest.mark.parametrize("structure", [0, 2, 3, -1, "1", True, None, b"\x01"])
def test_an_unknown_structure_is_refused(structure: object) -> None:
    log = log_of(7)
    proof = cbor.encode([7, 2, log.prove_inclusion(2)])
    made = signed({395: structure}, {396: {-1: [proof]}}, log.root())
    with pytest.raises(ProofInvalid, match="structure"):
        receipts.verify(made, leaf=b"entry 2", key=ED25519.public_key())


@pytest.mark.parametrize(
    "proofs",
    [
        None,
        {},
        {-1: []},
        {-2: [b"\x83\x07\x02\x80"]},
        {-1: [b""]},
        {-1: [b"\x83\x07\x02\x81\x01"]},
        {-1: [7]},
        {-1: b"\x83\x07\x02\x80"},
    ],
)
def test_proofs_of_another_form_are_refused(proofs: object) -> None:
    made = signed({395: 1}, {396: proofs}, log_of(7).root())
    with pytest.raises(ProofInvalid):
        receipts.verify(made, leaf=b"entry 2", key=ED25519.public_key())


def test_a_header_that_must_be_understood_is_refused() -> None:
    log = log_of(7)
    proof = cbor.encode([7, 2, log.prove_inclusion(2)])
    made = signed({395: 1, 2: [99], 99: 1}, {396: {-1: [proof]}}, log.root())
    with pytest.raises(ProofInvalid, match="structure"):
        receipts.verify(made, leaf=b"entry 2", key=ED25519.public_key())


@pytest.mark.parametrize("key", [b"", "no key", 7, None, b"x" * 31, KEYS["ES256"]])
def test_what_is_no_key_is_said_to_be_none(key: object) -> None:
    with pytest.raises(InvalidValue, match="public_key"):
        receipts.verify(receipt_of(ED25519), leaf=b"entry 2", key=key)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x9f\xff",
        b"\x5f\xff",
        b"\x18\x17",
        b"\xa2\x01\x00\x01\x00",
        b"\xa2\x02\x00\x01\x00",
        b"\xf7",
        b"\x81" * 40 + b"\x00",
        b"\x9b" + b"\xff" * 8,
        b"\x00\x00",
        b"\x61\xff",
        b"\xa1\x80\x00",
        b"\xfb" + b"\x00" * 8,
    ],
)
def test_the_decoder_refuses_what_it_does_not_need(data: bytes) -> None:
    with pytest.raises(ProofInvalid):
        cbor.decode(data, bytes_most=100)


def test_what_others_wrote_may_have_its_maps_in_any_order() -> None:
    assert cbor.decode(b"\xa2\x02\x00\x01\x00", bytes_most=9, shortest=False) == {1: 0, 2: 0}


def test_the_decoder_reads_what_the_encoder_writes() -> None:
    value = [0, 23, 24, 255, 256, 1 << 40, -1, -500, b"b", "t", {1: [None, True], -1: False}]
    assert cbor.decode(cbor.encode(value), bytes_most=100) == value
    with pytest.raises(ProofInvalid, match="bytes"):
        cbor.decode(cbor.encode(value), bytes_most=10)
