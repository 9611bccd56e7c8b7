"""A seal, and what of its tree is shown for an answer: pure, over a state that stands still."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.certify import leaf, trie, verify
from holdfast.certify.pages import Damaged
from holdfast.certify.roots import SignedRoot
from holdfast.certify.state import State
from holdfast.certify.tree import Leaf, Node, Pruned, leaf_digest


@dataclass(frozen=True)
class Seal:
    """A signed root and the state that it is the root of."""

    message: bytes
    root: SignedRoot
    state: State
    handovers: tuple[bytes, ...]  # that led to the key which signed


def told(seal: Seal, node: Node) -> tuple[bytes, int, int]:
    """A proof, the revision that it is of, and when that was signed."""
    proof = verify.encode_proof(seal.message, [*seal.handovers], node)
    return proof, seal.root.revision, seal.root.time_ns


def shown(seal: Seal, label: bytes, key: bytes, content: bytes | None) -> Node | None:
    """The tree with one key in sight, or with what stands beside where it is not.

    None where the key's leaf in the seal is another.

    Raises:
        Damaged: of the tree's pages on disk.
    """
    digest = None if content is None else leaf_digest(content)
    if digest != _digest_in(seal.state, label, key):
        return None
    shown = Leaf(content or b"")
    node = seal.state.witness(label, key, key + b"\x00", lambda _key, _digest: shown)
    return _held(seal, node)


def _held(seal: Seal, node: Node) -> Node:
    """The tree that is shown, which is of this seal: else something on disk is not what it was."""
    if node.digest != seal.root.root:
        raise Damaged
    return node


def lives(seal: Seal, content: bytes | None) -> bool:
    """Whether there is an object, in the eyes of whoever verifies."""
    expires_ns = leaf.decode(content).expires_ns if content else 0
    return expires_ns is None or expires_ns > seal.root.time_ns


def _digest_in(sealed: State, label: bytes, key: bytes) -> bytes | None:
    """The digest of a key's leaf in a state."""
    namespace = sealed.namespaces.get(label)
    if namespace is None:
        return None
    part = next(part for part in reversed(namespace.parts) if part.start <= key)
    return trie.get(part.keys, key)


def listed(
    seal: Seal, label: bytes, span: tuple[bytes, bytes | None], contents: dict[bytes, bytes]
) -> Node | None:
    """The tree with a list in sight; None where it is not what was looked at.

    Raises:
        Damaged: of the tree's pages on disk.
    """
    shown: set[bytes] = set()
    same = True

    def below(key: bytes, digest: bytes) -> Node:
        nonlocal same
        content = contents.get(key)
        shown.add(key)
        if content is None or leaf_digest(content) != digest:
            same = False
            return Pruned(digest)
        return Leaf(content)

    node = seal.state.witness(label, *span, below)
    return _held(seal, node) if same and shown == contents.keys() else None
