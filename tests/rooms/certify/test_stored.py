"""One file with a proof and a COSE receipt: it convinces, others read it, no byte can change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from random import Random

import cbor2
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

import holdfast
from holdfast import ProofInvalid
from holdfast.certify.stored import attach, is_stored, verify_stored
from holdfast.store.store import Store
from holdfast.testing import ManualClock

KEYS = 40


@pytest.fixture(name="store")
def filled_store() -> Iterator[Store]:
    with holdfast.open(":memory:", upkeep=False, clock=ManualClock()) as store:
        acme = store.namespace("acme")
        for number in range(KEYS):
            acme.put(f"k{number:02d}", b"%d" % number)
            if number % 8 == 0:
                store.certifier.seal()
        yield store


def file_of(store: Store, key: str) -> tuple[bytes | None, bytes]:
    proven = store.namespace("acme").prove(key)
    return proven.value, store.certifier.with_receipt(proven)


@pytest.mark.parametrize("key", ["k07", "none"])
def test_it_shows_what_is_stored_and_that_nothing_is(store: Store, key: str) -> None:
    value, file = file_of(store, key)
    said = verify_stored("acme", key, value, file, public_key=store.public_key())
    assert said.size == (None if value is None else len(value))
    for wrong in (b"other", None if value is not None else b""):
        with pytest.raises(ProofInvalid):
            verify_stored("acme", key, wrong, file, public_key=store.public_key())
    later, public = said.revision + 1, store.public_key()
    with pytest.raises(ProofInvalid) as refused:
        verify_stored("acme", key, value, file, public_key=public, min_revision=later)
    assert refused.value.facts["reason"] == "revision"
    assert is_stored(file)
    assert not is_stored(store.namespace("acme").prove(key).proof)


def test_others_read_it(store: Store) -> None:
    """With what RFC 9052, 9162 and 9942 say, and nothing of ours."""
    _, file = file_of(store, "k07")
    public = load_pem_public_key(store.public_key())
    protected, unprotected, payload, signature = cbor2.loads(file).value
    verify(public, protected, payload, signature)
    (receipt,) = unprotected[394]
    entry = cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature]))
    header, proofs, detached, signed = cbor2.loads(receipt).value
    assert (cbor2.loads(header)[395], detached) == (1, None)
    size, index, path = cbor2.loads(proofs[396][-1][0])
    digest, last = hashlib.sha256(b"\0" + entry).digest(), size - 1
    for step in path:
        if index & 1 or index == last:
            digest = hashlib.sha256(b"\1" + step + digest).digest()
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            digest = hashlib.sha256(b"\1" + digest + step).digest()
        index, last = index >> 1, last >> 1
    assert last == 0
    verify(public, header, digest, signed)


def verify(public: object, protected: bytes, payload: bytes, signature: bytes) -> None:
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    public.verify(signature, signed)  # type: ignore[attr-defined]


def test_no_byte_can_change(store: Store) -> None:
    value, file = file_of(store, "k07")
    key, random = store.public_key(), Random(1)
    for at in range(len(file)):
        changed = bytearray(file)
        changed[at] ^= 1 << random.randrange(8)
        with pytest.raises(ProofInvalid):
            verify_stored("acme", "k07", value, bytes(changed), public_key=key)
    for cut in (b"", file[:1], file[:-1], file + b"\0"):
        with pytest.raises(ProofInvalid):
            verify_stored("acme", "k07", value, cut, public_key=key)


def test_a_receipt_of_another_root_shows_nothing(store: Store) -> None:
    acme = store.namespace("acme")
    first = acme.prove("k07")
    acme.put("k07", b"other")
    second = acme.prove("k07")
    assert first.revision < second.revision
    for proven, revision in ((first, second.revision), (second, first.revision)):
        receipt, _ = store.certifier.receipt(revision)
        with pytest.raises(ProofInvalid):
            verify_stored(
                "acme",
                "k07",
                proven.value,
                attach(proven.proof, receipt),
                public_key=store.public_key(),
            )
    with pytest.raises(ProofInvalid):
        attach(b"no proof", b"")


def test_who_trusts_an_older_key_is_convinced(store: Store) -> None:
    older = store.public_key()
    before = store.namespace("acme").prove("k07")
    newer = store.rotate_key()
    with pytest.raises(ProofInvalid):
        store.certifier.with_receipt(before)
    value, file = file_of(store, "k07")
    for trusted in (older, newer):
        assert verify_stored("acme", "k07", value, file, public_key=trusted).size == 1
