"""RFC 9162: public vectors, a naive tree beside it, and the edges that naive code gets wrong."""

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.certify import merkle
from holdfast.certify.merkle import MerkleLog, leaf_hash, verify_consistency, verify_inclusion
from holdfast.errors import ProofInvalid

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "vectors" / "merkle_inclusion.json").read_text()
)["vectors"]


def naive(entries: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.1, word for word."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return sha256(b"\x01" + naive(entries[:k]) + naive(entries[k:])).digest()


def entries_of(count: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(count)]


def log_of(count: int) -> MerkleLog:
    log = MerkleLog()
    for entry in entries_of(count):
        log.append(entry)
    return log


@pytest.mark.parametrize("name", VECTORS)
def test_the_public_vectors_of_inclusion(name: str) -> None:
    vector = VECTORS[name]
    proof = [b64decode(hashed) for hashed in vector["proof"] or []]
    leaf, root = b64decode(vector["leafHash"]), b64decode(vector["root"])
    place = (vector["leafIdx"], vector["treeSize"])
    if vector["wantErr"]:
        with pytest.raises(ProofInvalid):
            verify_inclusion(*place, leaf, proof, root)
    else:
        verify_inclusion(*place, leaf, proof, root)


def test_there_are_vectors_of_both_kinds() -> None:
    wanted = [vector["wantErr"] for vector in VECTORS.values()]
    assert (len(wanted), sum(wanted)) == (98, sum(wanted))
    assert 0 < sum(wanted) < 98


@pytest.mark.parametrize("count", range(34))
def test_the_log_is_the_naive_tree_at_every_size(count: int) -> None:
    log = log_of(33)
    assert log.root(count) == naive(entries_of(count))
    assert merkle.root(leaf_hash(entry) for entry in entries_of(count)) == log.root(count)


@given(st.integers(1, 70), st.data())
def test_every_entry_proves_itself(size: int, data: st.DataObject) -> None:
    log = log_of(70)
    index = data.draw(st.integers(0, size - 1))
    proof = log.prove_inclusion(index, size)
    verify_inclusion(index, size, leaf_hash(entries_of(70)[index]), proof, log.root(size))
    other = data.draw(st.integers(0, 69))
    if other != index:
        with pytest.raises(ProofInvalid):
            verify_inclusion(index, size, leaf_hash(entries_of(70)[other]), proof, log.root(size))


@given(st.integers(1, 70), st.data())
def test_a_log_goes_on_from_each_of_its_sizes(size2: int, data: st.DataObject) -> None:
    log = log_of(70)
    size1 = data.draw(st.integers(1, size2))
    proof = log.prove_consistency(size1, size2)
    roots = (log.root(size1), log.root(size2))
    verify_consistency(size1, size2, *roots, proof)
    if size1 == size2:
        return
    for wrong in ([], proof[:-1], [*proof, roots[0]], [roots[1], *proof[1:]]):
        with pytest.raises(ProofInvalid):
            verify_consistency(size1, size2, *roots, wrong)
    with pytest.raises(ProofInvalid):
        verify_consistency(size1, size2, roots[1], roots[0], proof)


def test_the_empty_log_proves_nothing() -> None:
    one = log_of(1)
    empty = merkle.EMPTY_ROOT
    for sizes, roots in [((0, 0), (empty, empty)), ((0, 1), (empty, one.root()))]:
        with pytest.raises(ProofInvalid, match="size"):
            verify_consistency(*sizes, *roots, [])
    with pytest.raises(ProofInvalid, match="size"):
        verify_inclusion(0, 0, empty, [], empty)


def test_empty_and_short_hashes_prove_nothing() -> None:
    with pytest.raises(ProofInvalid, match="hash"):
        verify_inclusion(0, 1, b"", [], b"")
    with pytest.raises(ProofInvalid, match="root"):
        verify_consistency(1, 1, b"", b"", [])
    log = log_of(2)
    left, right = leaf_hash(b"entry 0"), leaf_hash(b"entry 1")
    with pytest.raises(ProofInvalid, match="hash"):  # the border between the two moved
        verify_consistency(1, 2, left + right[:1], log.root(), [right[1:]])


NONE: Any = (leaf_hash(b"a"), ("0", None, 0.0, b"0"), (None, 5, "x" * 32, [0] * 32), (None, 5))


def test_what_is_no_number_and_no_hash_proves_nothing() -> None:
    one, numbers, hashes, paths = NONE
    for wrong in numbers:
        with pytest.raises(ProofInvalid, match="index"):
            verify_inclusion(wrong, 1, one, [], one)
        with pytest.raises(ProofInvalid, match="size"):
            verify_inclusion(0, wrong, one, [], one)
        with pytest.raises(ProofInvalid, match="size"):
            verify_consistency(wrong, 1, one, one, [])
    for hashed in hashes:
        with pytest.raises(ProofInvalid, match="hash"):
            verify_inclusion(0, 2, one, [hashed], one)
        with pytest.raises(ProofInvalid, match="hash"):
            verify_consistency(1, 2, hashed, one, [one])
    for path in paths:
        with pytest.raises(ProofInvalid, match="length"):
            verify_inclusion(0, 1, one, path, one)
        with pytest.raises(ProofInvalid, match="length"):
            verify_consistency(1, 1, one, one, path)


def test_equal_sizes_need_equal_roots_and_no_proof() -> None:
    root = log_of(1).root()
    verify_consistency(1, 1, root, root, [])
    for roots, proof in [((root, root), [root]), ((root, merkle.EMPTY_ROOT), [])]:
        with pytest.raises(ProofInvalid):
            verify_consistency(1, 1, *roots, proof)


def test_a_log_does_not_shrink() -> None:
    log = log_of(3)
    with pytest.raises(ProofInvalid, match="size"):
        verify_consistency(3, 2, log.root(3), log.root(2), [])


def test_a_proof_of_any_length_ends_soon() -> None:
    with pytest.raises(ProofInvalid):
        verify_inclusion(0, 1 << 63, leaf_hash(b"a"), [leaf_hash(b"b")] * 100_000, leaf_hash(b"c"))
    with pytest.raises(ProofInvalid, match="size"):
        verify_inclusion(0, 1 << 64, leaf_hash(b"a"), [], leaf_hash(b"c"))
