"""Proofs that were tampered with: none convinces, and nothing but typed errors comes out.

Each case says something false, or says something true with a broken proof. The bytes are
changed anywhere; trees are taken apart, changed and put together again with what was signed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from holdfast.certify import cbor, roots, tree, verify
from holdfast.certify.tree import Fork, Labelled, Leaf, Node, Pruned
from holdfast.errors import ProofInvalid
from tests.rooms.certify.making import KEY, OTHER, PUBLIC, STORE, Shelf, Stopped, Thing

KEYS = [f"k{number:03d}" for number in range(0, 400, 2)]
THINGS = {key: Thing(b"of " + key.encode(), content_type="text/plain") for key in KEYS}
SHELF = Shelf(
    {"acme": THINGS, "other": {"k000": Thing(b"theirs")}}, {"acme": ("k100", "k101", "k300")}
)
OLDER = replace(
    SHELF,
    things={"acme": {**THINGS, "k002": Thing(b"old")}},
    root=replace(SHELF.root, revision=6),
)
FOREIGN = replace(SHELF, key=OTHER)
HANDED = replace(SHELF, key=OTHER)


class Claim:
    """What is said, and the proof that is shown for it."""

    def __init__(self, namespace: str, key: str, value: bytes | None, proof: bytes) -> None:
        self.namespace, self.key, self.value, self.proof = namespace, key, value, proof

    def shown(self, proof: bytes) -> Claim:
        return Claim(self.namespace, self.key, self.value, proof)

    def denied(self, proof: bytes) -> Claim:
        """The contrary."""
        return Claim(self.namespace, self.key, b"x" if self.value is None else None, proof)

    def check(self) -> None:
        verify.verify(
            self.namespace,
            self.key,
            self.value,
            self.proof,
            public_key=PUBLIC,
            max_age_s=10,
            min_revision=7,
            clock=Stopped(),
        )


def handed() -> bytes:
    over = roots.hand_over(STORE, 7, OTHER.public_key(), KEY)
    shown = HANDED.witness("acme", "k002", b"k002\x00")
    return verify.encode_proof(HANDED.signed(), [over], shown)


TRUE = [
    Claim("acme", "k002", b"of k002", SHELF.prove("acme", "k002")),
    Claim("acme", "k100", b"of k100", SHELF.prove("acme", "k100")),
    Claim("acme", "k398", b"of k398", SHELF.prove("acme", "k398")),
    Claim("acme", "k001", None, SHELF.prove("acme", "k001")),
    Claim("acme", "k101", None, SHELF.prove("acme", "k101")),
    Claim("acme", "k", None, SHELF.prove("acme", "k")),
    Claim("acme", "z", None, SHELF.prove("acme", "z")),
    Claim("nobody", "k002", None, SHELF.prove("nobody", "k002")),
    Claim("acme", "k002", b"of k002", handed()),
]


def flipped(chance: random.Random, claim: Claim) -> Claim:
    changed = bytearray(claim.proof)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return claim.shown(bytes(changed))


def spliced(chance: random.Random, claim: Claim) -> Claim:
    """Some bytes gone, said twice, or come from another proof."""
    proof, other = claim.proof, chance.choice(TRUE).proof
    start = chance.randrange(len(proof))
    stop = min(len(proof), start + chance.choice([0, 1, 2, 32, 34, 200]))
    put = chance.choice([b"", proof[start:stop] * 2, other[start:stop], chance.randbytes(2)])
    changed = proof[:start] + put + proof[stop:]
    return claim.shown(changed) if changed != proof else flipped(chance, claim)


def opened(proof: bytes) -> tuple[list[object], Node]:
    parts = cbor.decode(proof, bytes_most=verify.PROOF_BYTES)
    assert isinstance(parts, list)
    return parts[:3], tree.decode(parts[3], bytes_most=verify.PROOF_BYTES)


def closed(parts: list[object], node: bytes) -> bytes:
    return cbor.encode([*parts, node])


def inner(node: Node) -> list[Node]:
    """Every node of the tree in sight."""
    found, waiting = [], [node]
    while waiting:
        one = waiting.pop()
        found.append(one)
        if isinstance(one, Fork):
            waiting += (one.left, one.right)
        elif isinstance(one, Labelled):
            waiting.append(one.subtree)
    return found


def pruned(chance: random.Random, claim: Claim) -> Claim:
    """Something that was in sight is not, and the contrary is said."""
    parts, node = opened(claim.proof)
    there = [one for one in inner(node) if not isinstance(one, Pruned)]
    gone = tree.encode(chance.choice(there))
    hidden = tree.encode(Pruned(tree.decode(gone, bytes_most=1 << 20).digest))
    return claim.denied(closed(parts, tree.encode(node).replace(gone, hidden, 1)))


def exchanged(chance: random.Random, claim: Claim) -> Claim:
    """One part of the tree stands where another stood: siblings, neighbours, strangers."""
    parts, node = opened(claim.proof)
    _, strange = opened(chance.choice(TRUE).proof)
    whole = tree.encode(node)
    one = chance.choice(inner(node))
    other = chance.choice(inner(chance.choice([node, strange])))
    if one.digest == other.digest:  # the same, more or less of it in sight
        return flipped(chance, claim)
    changed = whole.replace(tree.encode(one), tree.encode(other), 1)
    return claim.shown(closed(parts, changed))


def swapped(chance: random.Random, claim: Claim) -> Claim:
    """The two sides of a fork."""
    parts, node = opened(claim.proof)
    forks = [one for one in inner(node) if isinstance(one, Fork)]
    fork = chance.choice(forks)
    left, right = tree.encode(fork.left), tree.encode(fork.right)
    if left == right:
        return flipped(chance, claim)
    changed = tree.encode(node).replace(left + right, right + left, 1)
    return claim.shown(closed(parts, changed))


def rewritten(chance: random.Random, claim: Claim) -> Claim:
    """Another label, or another leaf."""
    parts, node = opened(claim.proof)
    named = [one for one in inner(node) if isinstance(one, Labelled)]
    one = chance.choice(named)
    subtree = chance.choice([one.subtree, Leaf(THINGS["k004"].leaf()), tree.EMPTY])
    label = chance.choice([one.label, one.label + b"\x00", b"", claim.key.encode()])
    if (label, subtree.digest) == (one.label, one.subtree.digest):
        return flipped(chance, claim)
    changed = tree.encode(node).replace(tree.encode(one), tree.encode(Labelled(label, subtree)), 1)
    return claim.shown(closed(parts, changed))


def replayed(chance: random.Random, claim: Claim) -> Claim:
    """A sound proof of something else, of another time, store or tenant."""
    key = chance.choice(KEYS)
    kind = chance.randrange(6)
    if kind == 0:
        return Claim("acme", key, b"of k000", claim.proof)
    if kind == 1:
        return Claim("acme", "k002", b"old", OLDER_PROOF)
    if kind == 2:
        return Claim("acme", "k002", b"of k002", FOREIGN_PROOF)
    if kind == 3:
        return Claim("other", "k000", b"of k000", SHELF_PROOF)
    if kind == 4:
        return Claim("acme", "k000", b"theirs", THEIR_PROOF)
    return claim.denied(claim.proof)


OLDER_PROOF = OLDER.prove("acme", "k002")
FOREIGN_PROOF = FOREIGN.prove("acme", "k002")
SHELF_PROOF = SHELF.prove("acme", "k000")
THEIR_PROOF = SHELF.prove("other", "k000")
TAMPERINGS: list[Callable[[random.Random, Claim], Claim]] = [
    *(flipped, flipped, spliced, spliced, pruned),
    *(exchanged, swapped, rewritten, replayed),
]


def tamper(seed: int, count: int) -> list[str]:
    """What was believed of ``count`` cases that nobody may believe."""
    chance = random.Random(seed)
    believed = []
    for number in range(count):
        tampering = chance.choice(TAMPERINGS)
        case = tampering(chance, chance.choice(TRUE))
        try:
            case.check()
        except ProofInvalid:
            continue
        believed.append(f"{seed}.{number}: {tampering.__name__} {case.key} {case.value!r}")
    return believed


def test_the_proofs_hold_before_they_are_tampered_with() -> None:
    for claim in TRUE:
        claim.check()


def test_every_byte_and_bit_counts() -> None:
    for claim in TRUE[:1] + TRUE[3:4]:
        for at in range(len(claim.proof)):
            changed = bytearray(claim.proof)
            changed[at] ^= 1 << at % 8
            with pytest.raises(ProofInvalid):
                claim.shown(bytes(changed)).check()


def test_a_thousand_cases_convince_nobody() -> None:
    assert tamper(0, 1_000) == []


@pytest.mark.push
@pytest.mark.parametrize("seed", range(1, 11))
def test_fifty_thousand_cases_convince_nobody(seed: int) -> None:
    assert tamper(seed, 5_000) == []


@pytest.mark.nightly
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", range(100, 200))
def test_five_million_cases_convince_nobody(seed: int) -> None:
    assert tamper(seed, 50_000) == []
