"""What a proof convinces of, and every way in which a dishonest store may try."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast.certify import cbor, leaf, merkle, receipts, roots, tree, verify
from holdfast.certify.tree import Fork, Labelled, Leaf, Node, Pruned
from holdfast.errors import InvalidKey, InvalidNamespace, InvalidValue, ProofInvalid
from tests.rooms.certify.making import (
    KEY,
    NOW_NS,
    OTHER,
    PUBLIC,
    SECOND_NS,
    STORE,
    Shelf,
    Stopped,
    Thing,
    check,
    check_list,
)

SHELF = Shelf(
    {
        "acme": {key: Thing(b"value of " + key.encode(), version=9) for key in "bdfhj"},
        "other": {"secret": Thing(b"of another tenant")},
    },
    {"acme": ("e", "h", "k")},
)
KEYS = st.text("abcdefgh", min_size=1, max_size=3)


def refused(reason: str, proof: bytes, value: bytes | None, **of: str) -> None:
    with pytest.raises(ProofInvalid) as caught:
        check(proof, value, **of)
    assert caught.value.reason == reason


@pytest.mark.parametrize("key", list("bdfhj"))
def test_what_is_there_is_proved(key: str) -> None:
    value = b"value of " + key.encode()
    said = check(SHELF.prove("acme", key), value, key=key)
    assert (said.size, said.version, said.content_type) == (10, 9, None)
    assert (said.revision, said.time_ns, said.incarnation) == (7, NOW_NS, 0)
    assert (said.modified_ns, said.expires_ns) == (NOW_NS - SECOND_NS, None)
    part = {"b": 0, "d": 0, "f": 1, "h": 2, "j": 2}[key]
    assert (said.store, said.bucket) == (STORE.hex(), f"{part:016x}")
    refused("value", SHELF.prove("acme", key), value + b"!", key=key)
    refused("value", SHELF.prove("acme", key), b"value of ?", key=key)
    refused("present", SHELF.prove("acme", key), None, key=key)


@pytest.mark.parametrize("key", ["a", "c", "e", "ee", "g", "h\x00", "i", "k", "z"])
def test_what_is_not_there_is_proved_absent(key: str) -> None:
    said = check(SHELF.prove("acme", key), None, key=key)
    assert (said.size, said.version, said.revision) == (None, None, 7)
    refused("absent", SHELF.prove("acme", key), b"", key=key)


def test_a_namespace_that_holds_nothing_is_proved_empty() -> None:
    assert check(SHELF.prove("nobody", "b"), None, name="nobody").bucket is None
    assert check_list(SHELF.prove_list("nobody", ""), "", name="nobody") == {}
    refused("absent", SHELF.prove("nobody", "b"), b"", name="nobody")
    assert check(Shelf({}).prove("acme", "b"), None).bucket is None


def test_a_proof_is_of_its_own_key_and_namespace_alone() -> None:
    refused("unknown", SHELF.prove("acme", "b"), b"value of b", key="d")
    refused("unknown", SHELF.prove("acme", "b"), None, key="c")
    refused("unknown", SHELF.prove("acme", "b"), None, name="other", key="secret")
    refused("unknown", SHELF.prove("other", "secret"), None)
    assert SHELF.prove("acme", "b").find(b"secret") == -1


def test_another_store_cannot_answer() -> None:
    foreign = replace(SHELF, key=OTHER)
    refused("signature", foreign.prove("acme", "b"), b"value of b")
    mixed = verify.encode_proof(
        SHELF.signed(), [], replace(SHELF, things={}).witness("acme", "b", b"b\x00")
    )
    refused("root", mixed, None)


def test_age_and_revision() -> None:
    old = replace(SHELF, root=replace(SHELF.root, time_ns=NOW_NS - 11 * SECOND_NS))
    refused("age", old.prove("acme", "b"), b"value of b")
    early = replace(SHELF, root=replace(SHELF.root, time_ns=NOW_NS + 61 * SECOND_NS))
    refused("age", early.prove("acme", "b"), b"value of b")
    proof = SHELF.prove("acme", "b")
    for revision in (0, 7):
        holdfast.verify("acme", "b", b"value of b", proof, public_key=PUBLIC, min_revision=revision)
    with pytest.raises(ProofInvalid, match="revision"):
        holdfast.verify("acme", "b", b"value of b", proof, public_key=PUBLIC, min_revision=8)


def test_what_expires_is_absent_from_that_moment_on() -> None:
    things = {"b": Thing(b"x", expires_ns=NOW_NS), "c": Thing(b"y", expires_ns=NOW_NS + 1)}
    shelf = Shelf({"acme": things})
    assert check(shelf.prove("acme", "b"), None).size is None
    refused("absent", shelf.prove("acme", "b"), b"x")
    assert check(shelf.prove("acme", "c"), b"y", key="c").expires_ns == NOW_NS + 1
    assert list(check_list(shelf.prove_list("acme", ""), "")) == ["c"]


def test_lists_are_complete() -> None:
    assert list(check_list(SHELF.prove_list("acme", ""), "")) == list("bdfhj")
    assert list(check_list(SHELF.prove_list("acme", "d"), "d")) == ["d"]
    assert check_list(SHELF.prove_list("acme", "c"), "c") == {}
    with pytest.raises(ProofInvalid, match="unknown"):
        check_list(SHELF.prove("acme", "b"), "")
    with pytest.raises(ProofInvalid, match="unknown"):
        check_list(SHELF.prove_list("acme", "d"), "")


@settings(max_examples=60)
@given(
    st.dictionaries(KEYS, st.binary(max_size=4), max_size=25),
    st.sets(KEYS, max_size=4),
    st.text("abcdefgh", max_size=2),
)
def test_every_list_is_what_is_there(
    values: dict[str, bytes], borders: set[str], prefix: str
) -> None:
    things = {key: Thing(value) for key, value in values.items()}
    shelf = Shelf({"acme": things}, {"acme": tuple(sorted(borders))})
    wanted = [key for key in sorted(values) if key.startswith(prefix)]
    assert list(check_list(shelf.prove_list("acme", prefix), prefix)) == wanted
    for key in [*values, *borders]:
        check(shelf.prove("acme", key), values.get(key), key=key)


def hidden(node: Node, label: bytes) -> Node:
    """The tree with one label pruned away, all else as it was."""
    if isinstance(node, Fork):
        return Fork(hidden(node.left, label), hidden(node.right, label))
    if isinstance(node, Labelled):
        if node.label == label:
            return Pruned(node.digest)
        return Labelled(node.label, hidden(node.subtree, label))
    return node


@pytest.mark.parametrize("label", [b"d", b"f", b"e", b"h", b"", b"keys"])
def test_a_hidden_key_or_part_hides_nothing(label: bytes) -> None:
    whole = SHELF.witness("acme", "", None)
    proof = verify.encode_proof(SHELF.signed(), [], hidden(whole, label))
    with pytest.raises(ProofInvalid):
        check_list(proof, "")
    if label in {b"d", b"f"}:
        refused("unknown", proof, None, key=label.decode())
        refused("unknown", proof, None, key=label.decode() + "!")


def test_a_key_in_the_wrong_part_is_not_there() -> None:
    right = Shelf({"acme": {"b": Thing(b"1"), "x": Thing(b"2")}})
    parts = {"acme": ("m",)}
    lying = replace(right, borders=parts)
    state = lying.state()
    assert state.root != right.state().root
    assert list(check_list(lying.prove_list("acme", ""), "")) == ["b", "x"]


def test_keys_are_handed_over() -> None:
    second = ec.derive_private_key(77, ec.SECP384R1())
    first_over = roots.hand_over(STORE, 5, OTHER.public_key(), KEY)
    second_over = roots.hand_over(STORE, 6, second.public_key(), OTHER)
    shelf = replace(SHELF, key=second)
    shown = shelf.witness("acme", "b", b"b\x00")
    chain = [first_over, second_over]
    said = check(verify.encode_proof(shelf.signed(), chain, shown), b"value of b")
    assert said.revision == 7
    for wrong in ([], [first_over], [second_over], chain[::-1], [*chain, second_over]):
        with pytest.raises(ProofInvalid):
            check(verify.encode_proof(shelf.signed(), wrong, shown), b"value of b")
    late = [first_over, roots.hand_over(STORE, 8, second.public_key(), OTHER)]
    refused("handover", verify.encode_proof(shelf.signed(), late, shown), b"value of b")
    foreign = [first_over, roots.hand_over(b"another store 16", 6, second.public_key(), OTHER)]
    refused("handover", verify.encode_proof(shelf.signed(), foreign, shown), b"value of b")


def test_a_root_is_no_hand_over_and_no_receipt() -> None:
    over = roots.hand_over(STORE, 5, OTHER.public_key(), KEY)
    with pytest.raises(ProofInvalid, match="type"):
        roots.verify(over, PUBLIC)
    with pytest.raises(ProofInvalid, match="type"):
        roots.verify(SHELF.signed(), PUBLIC, [SHELF.signed()])


@pytest.mark.parametrize("form", ["pem", "der", "raw", "object"])
def test_the_key_in_every_form(form: str) -> None:
    der = PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    forms = {
        "pem": PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        "der": der,
        "raw": PUBLIC.public_bytes(Encoding.Raw, PublicFormat.Raw),
        "object": PUBLIC,
    }
    proof = SHELF.prove("acme", "b")
    verify.verify("acme", "b", b"value of b", proof, public_key=forms[form])


NONE: Any = {
    "keys": ("", "\ud800", None, 5, b"b"),
    "namespaces": (b"short", None, 5, "\ud800"),
    "values": ("text", 5, []),
    "terms": ({"max_age_s": "60"}, {"min_revision": "1"}, {"min_revision": 1.5}),
}


def test_arguments_that_are_none() -> None:
    proof = SHELF.prove("acme", "b")
    with pytest.raises(InvalidValue):
        verify.verify("acme", "b", b"", proof, public_key=b"no key")
    for key in NONE["keys"]:
        with pytest.raises(InvalidKey):
            verify.verify("acme", key, b"", proof, public_key=PUBLIC)
    for namespace in NONE["namespaces"]:
        with pytest.raises(InvalidNamespace):
            verify.verify(namespace, "b", b"", proof, public_key=PUBLIC)
    for value in NONE["values"]:
        with pytest.raises(InvalidValue, match="value"):
            verify.verify("acme", "b", value, proof, public_key=PUBLIC)
    for terms in NONE["terms"]:
        with pytest.raises(InvalidValue, match=min(terms)):
            verify.verify("acme", "b", b"value of b", proof, public_key=PUBLIC, **terms)
    label = leaf.namespace_id(STORE, "acme")
    assert verify.verify(label, "b", b"value of b", proof, public_key=PUBLIC).size == 10


def test_bytes_of_any_kind_are_bytes() -> None:
    proof = SHELF.prove("acme", "b")
    kinds: Any = (bytearray, memoryview)
    for kind in kinds:
        said = verify.verify("acme", "b", kind(b"value of b"), kind(proof), public_key=PUBLIC)
        assert said.size == 10


@pytest.mark.parametrize(
    "proof",
    [
        None,
        5,
        "text",
        [],
        b"",
        b"\x80",
        cbor.encode([1, [], b"", b""]),
        cbor.encode([2, [], SHELF.signed(), b"\x81\x00"]),
        cbor.encode([True, [], SHELF.signed(), b"\x81\x00"]),
        cbor.encode([1, [7], SHELF.signed(), b"\x81\x00"]),
        cbor.encode([1, [b""] * 65, SHELF.signed(), b"\x81\x00"]),
        cbor.encode([1, [], SHELF.signed(), b"\x81\x00", 0]),
        bytes(verify.PROOF_BYTES + 1),
    ],
)
def test_what_is_no_proof(proof: Any) -> None:  # noqa: ANN401 - that is the point
    with pytest.raises(ProofInvalid):
        check(proof, None)
    with pytest.raises(ProofInvalid):
        check_list(proof, "")
    with pytest.raises(ProofInvalid):
        receipts.verify(proof, leaf=b"", key=PUBLIC)


def test_leaves_of_another_layout() -> None:
    good = Thing(b"x", content_type="text/plain").leaf()
    assert leaf.decode(good).content_type == "text/plain"
    for wrong in (b"", good[:40], b"\x02" + good[1:], good[:65] + b"\x02", good + b"\xff"):
        with pytest.raises(ProofInvalid, match="leaf"):
            leaf.decode(wrong)
    plain = Thing(b"x").leaf()
    with pytest.raises(ProofInvalid, match="leaf"):
        leaf.decode(plain + b"text")
    assert isinstance(Leaf(plain), tree.Node)


def test_a_part_of_a_large_value_is_proved_alone() -> None:
    value = bytes(leaf.PART_BYTES) + b"1" * leaf.PART_BYTES + b"tail"
    parts = [value[at : at + leaf.PART_BYTES] for at in range(0, len(value), leaf.PART_BYTES)]
    log = merkle.MerkleLog()
    for part in parts:
        log.append_hash(leaf.part_hash(part))
    assert leaf.value_digest(value) == log.root()
    for size in (1, 5, leaf.PART_BYTES - 1, leaf.PART_BYTES, 3 * leaf.PART_BYTES):
        at = range(0, len(value), size) if size > 5 else (0, size)
        cut = [value[start:stop] for start, stop in zip(at, [*at[1:], None], strict=True)]
        assert leaf.digest_of(cut) == log.root()
    merkle.verify_inclusion(
        1, 3, leaf.part_hash(parts[1]), log.prove_inclusion(1), leaf.value_digest(value)
    )
    assert leaf.value_digest(parts[2]) == leaf.part_hash(parts[2])


def test_verifying_loads_nothing_of_the_store() -> None:
    code = "import sys, holdfast; holdfast.verify, holdfast.verify_list\nprint(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(told.stdout.split())
    ours = {name for name in loaded if name.startswith("holdfast.")}
    rooms = {name.split(".")[1] for name in ours}
    assert rooms == {"certify", "clock", "errors", "limits"}
    assert not {"lmdb", "msgspec", "crc32c", "xxhash", "cbor2", "asyncio"} & loaded


def test_the_clock_is_asked_for_an_age_alone() -> None:
    said = verify.verify(
        "acme", "b", b"value of b", SHELF.prove("acme", "b"), public_key=PUBLIC, clock=Stopped()
    )
    assert said.time_ns == NOW_NS


def test_a_root_that_was_met_before_is_believed_for_its_own_key_alone() -> None:
    proof = SHELF.prove("acme", "b")
    assert check(proof, b"value of b").revision == check(proof, b"value of b").revision == 7
    with pytest.raises(ProofInvalid, match="signature"):
        verify.verify("acme", "b", b"value of b", proof, public_key=OTHER.public_key())
    signed = bytearray(proof)
    signed[proof.index(b"holdfast-root") + 20] ^= 1
    with pytest.raises(ProofInvalid):
        check(bytes(signed), b"value of b")


@pytest.mark.parametrize("bad", [5, "\ud800"])
def test_a_page_that_begins_behind_no_key_is_refused_by_name(bad: Any) -> None:  # noqa: ANN401 - what callers may say
    proof = SHELF.prove_list("acme", "")
    with pytest.raises(InvalidKey):
        verify.verify_list("acme", "", proof, public_key=PUBLIC, after=bad)
    assert list(verify.verify_list("acme", "", proof, public_key=PUBLIC, after="b")) == list("dfhj")
