"""A store's certified state without a store: objects, parts and keys as a test wants them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast.certify import leaf, roots, state, tree, trie, verify
from holdfast.certify.cose import PrivateKey
from holdfast.certify.roots import SignedRoot
from holdfast.certify.state import Part, State
from holdfast.certify.tree import Leaf, Node

STORE = b"store-of-a-test!"
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC = KEY.public_key()
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
NOW_NS = 1_800_000_000_000_000_000
SECOND_NS = 1_000_000_000


class Stopped:
    """A clock that stands at NOW_NS."""

    def wall_ns(self) -> int:
        return NOW_NS

    def monotonic_ns(self) -> int:
        return 0

    def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


@dataclass(frozen=True)
class Thing:
    """An object."""

    value: bytes
    version: int = 1
    expires_ns: int | None = None
    content_type: str | None = None

    def leaf(self) -> bytes:
        return leaf.encode(
            leaf.value_digest(self.value),
            len(self.value),
            self.version,
            modified_ns=NOW_NS - SECOND_NS,
            expires_ns=self.expires_ns,
            content_type=self.content_type,
        )


@dataclass(frozen=True)
class Shelf:
    """What a store holds: namespace -> key -> object, cut into parts at ``borders``."""

    things: Mapping[str, Mapping[str, Thing]]
    borders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    root: SignedRoot = field(
        default_factory=lambda: SignedRoot(STORE, 0, 7, NOW_NS, bytes(32), 0, bytes(32))
    )
    key: PrivateKey = KEY

    def state(self) -> State:
        made = {leaf.namespace_id(self.root.store, name): self._parts(name) for name in self.things}
        return state.assemble(state.EMPTY, made)

    def _parts(self, name: str) -> list[Part]:
        borders = ["", *self.borders.get(name, ())]
        rows: dict[bytes, bytes | None] = {
            key.encode(): tree.leaf_digest(thing.leaf()) for key, thing in self.things[name].items()
        }
        whole = trie.build(rows)
        stops = [border.encode() for border in borders[1:]]
        cuts = zip(borders, [*stops, None], strict=True)
        return [
            Part(start.encode(), f"{number:016x}", 3, trie.cut(whole, start.encode(), stop))
            for number, (start, stop) in enumerate(cuts)
        ]

    def signed(self) -> bytes:
        return roots.sign(replace(self.root, root=self.state().root), self.key)

    def witness(self, name: str, low: str, high: bytes | None) -> Node:
        def below(label: bytes, _digest: bytes) -> Node:
            return Leaf(self.things[name][label.decode()].leaf())

        label = leaf.namespace_id(self.root.store, name)
        return self.state().witness(label, low.encode(), high, below)

    def prove(self, name: str, key: str) -> bytes:
        shown = self.witness(name, key, key.encode() + b"\x00")
        return verify.encode_proof(self.signed(), [], shown)

    def prove_list(self, name: str, prefix: str) -> bytes:
        shown = self.witness(name, prefix, verify.end_of(prefix.encode()))
        return verify.encode_proof(self.signed(), [], shown)


def check(
    proof: bytes, value: bytes | None, *, name: str = "acme", key: str = "b"
) -> verify.Verified:
    """``verify`` as most tests call it."""
    return verify.verify(name, key, value, proof, public_key=PUBLIC, max_age_s=10, clock=Stopped())


def check_list(proof: bytes, prefix: str, *, name: str = "acme") -> dict[str, verify.Verified]:
    """``verify_list`` as most tests call it."""
    return verify.verify_list(name, prefix, proof, public_key=PUBLIC, max_age_s=10, clock=Stopped())
