"""The state tree of a store: every namespace, its parts, and the keys of each.

    namespace id -> start of a part -> fork of  "keys" -> the part's own trie of keys
                                                "part" -> version of the ranges, bucket id

A state never changes; the next one shares with it what stayed. The verifier's half, with
what a part means, is ``verify.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.certify import change, tree, trie, verify, witness
from holdfast.certify.tree import Fork, Labelled, Leaf, Node, Pruned
from holdfast.certify.trie import Trie
from holdfast.certify.witness import Below


@dataclass(frozen=True)
class Part:
    """The keys of a namespace that one bucket holds.

    ``start`` is where they begin: a key, or empty for the first part; ``version`` is
    the revision since which the ranges of buckets are so; ``bucket`` has 16 hex digits.
    """

    start: bytes
    bucket: str
    version: int
    keys: Trie | None

    def digest(self) -> bytes:
        """The digest of the part's subtree."""
        keys = tree.labelled_digest(verify.KEYS, trie.digest_of(self.keys))
        return tree.fork_digest(keys, self._label().digest)

    def witness(self, low: bytes, high: bytes | None, below: Below) -> Node:
        """The part with a range of its keys in sight."""
        keys = witness.witness(self.keys, low, high, below)
        return Fork(Labelled(verify.KEYS, keys), self._label())

    def _label(self) -> Labelled:
        return Labelled(verify.PART, Leaf(verify.encode_part(self.version, self.bucket)))


@dataclass(frozen=True)
class Namespace:
    """The parts of a namespace, in order, and the trie over their starts."""

    parts: tuple[Part, ...]
    starts: Trie


@dataclass(frozen=True)
class State:
    """A whole store at one moment."""

    namespaces: Mapping[bytes, Namespace]
    labels: Trie | None

    @property
    def root(self) -> bytes:
        """The digest that is signed."""
        return trie.digest_of(self.labels)

    def witness(self, namespace: bytes, low: bytes, high: bytes | None, below: Below) -> Node:
        """The tree with a namespace's keys from ``low`` to below ``high`` in sight.

        Args:
            namespace: its id, 32 bytes.
            low: where the range begins.
            high: where it ends; None for the end of the namespace.
            below: what to show below a key, given the key and the digest of its leaf.
        """
        there = self.namespaces.get(namespace)

        def shown(_label: bytes, digest: bytes) -> Node:
            return _parts(there, low, high, below) if there is not None else Pruned(digest)

        return witness.witness(self.labels, namespace, namespace + b"\x00", shown)


EMPTY = State({}, None)


def assemble(before: State, changes: Mapping[bytes, Sequence[Part]]) -> State:
    """The state after some namespaces changed; one that has no part is gone.

    Args:
        before: the state before.
        changes: a namespace's id, and all its parts in order, the first with an empty start.
    """
    namespaces = dict(before.namespaces)
    digests: dict[bytes, bytes | None] = {}
    for label in changes:
        made = _namespace(changes[label])
        if made is None:
            namespaces.pop(label, None)
        else:
            namespaces[label] = made
        digests[label] = None if made is None else made.starts.digest
    return State(namespaces, change.apply(before.labels, digests))


def _namespace(parts: Iterable[Part]) -> Namespace | None:
    kept = tuple(parts)
    starts = trie.build({part.start: part.digest() for part in kept})
    return None if starts is None else Namespace(kept, starts)


def _parts(namespace: Namespace, low: bytes, high: bytes | None, below: Below) -> Node:
    """One namespace with every part in sight that reaches into the range."""
    by_start = {part.start: part for part in namespace.parts}
    first = max(start for start in by_start if start <= low)

    def shown(start: bytes, _digest: bytes) -> Node:
        return by_start[start].witness(max(low, start), high, below)

    # the range of one start that is there would hide its neighbours
    end = high if high != first + b"\x00" else first + b"\x00\x00"
    return witness.witness(namespace.starts, first, end, shown)
