"""The labelled hash tree of the IC interface specification: nodes, look-up, encoding.

    empty     SHA-256(11 "ic-hashtree-empty")                       [0]
    fork      SHA-256(10 "ic-hashtree-fork" | left | right)         [1, left, right]
    labelled  SHA-256(13 "ic-hashtree-labeled" | label | subtree)   [2, label, subtree]
    leaf      SHA-256(10 "ic-hashtree-leaf" | content)              [3, content]
    pruned    the digest itself                                     [4, digest]

(the first byte of each is the length of the words behind it; on the right the CBOR form.)
Source: IC interface specification, "Certification", sections on the hash tree, its CBOR
encoding and lookup_path.

A tree proves what its digest commits to. Under one fork labels stand strictly sorted, and no
leaf stands beside labels: a tree that breaks that is refused whole. A label is *found*, or
*absent* where both its neighbours are in sight; behind what was pruned it is *unknown*, which
is an error to whoever wanted to know. Nothing here calls itself, so a deep tree costs a deep
list and no stack.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from hashlib import sha256
from typing import Final

from holdfast.certify import cbor
from holdfast.errors import ProofInvalid

DEPTH_MOST: Final = 12_288  # a key of 1,024 bytes forks at most 9 times a byte
HASH_BYTES: Final = 32

_EMPTY = b"\x11ic-hashtree-empty"
FORK: Final = b"\x10ic-hashtree-fork"
_LABELLED = b"\x13ic-hashtree-labeled"
LEAF: Final = b"\x10ic-hashtree-leaf"


def leaf_digest(content: bytes) -> bytes:
    """The digest of a leaf."""
    return sha256(LEAF + content).digest()


def labelled_digest(label: bytes, digest: bytes) -> bytes:
    """The digest of a label over a subtree's digest."""
    return sha256(_LABELLED + label + digest).digest()


def labelled_digests(labels: Sequence[bytes], digests: Sequence[bytes]) -> list[bytes]:
    """``labelled_digest`` of many."""
    hashed, word = sha256, _LABELLED
    return [
        hashed(word + label + digest).digest()
        for label, digest in zip(labels, digests, strict=True)
    ]


def fork_digest(left: bytes, right: bytes) -> bytes:
    """The digest of a fork over two digests."""
    return sha256(FORK + left + right).digest()


class Node:
    """A node of a tree.

    ``digest`` is what it commits to; ``first`` and ``last`` are the outermost labels in sight
    below it, None where there are none.
    """

    __slots__ = ("digest", "first", "last")
    digest: bytes
    first: bytes | None
    last: bytes | None


class Empty(Node):
    """No label and no leaf."""

    __slots__ = ()

    def __init__(self) -> None:
        self.digest = EMPTY_DIGEST
        self.first = self.last = None


class Fork(Node):
    """Two subtrees; every label of the left one is smaller than every one of the right."""

    __slots__ = ("left", "right")

    def __init__(self, left: Node, right: Node) -> None:
        if isinstance(left, Leaf) or isinstance(right, Leaf):
            raise ProofInvalid(reason="leaf")
        if left.last is not None and right.first is not None and left.last >= right.first:
            raise ProofInvalid(reason="order")
        self.left, self.right = left, right
        self.first = right.first if left.first is None else left.first
        self.last = left.last if right.last is None else right.last
        self.digest = sha256(FORK + left.digest + right.digest).digest()


class Labelled(Node):
    """A subtree under a label."""

    __slots__ = ("label", "subtree")

    def __init__(self, label: bytes, subtree: Node) -> None:
        self.label = self.first = self.last = label
        self.subtree = subtree
        self.digest = sha256(_LABELLED + label + subtree.digest).digest()


class Leaf(Node):
    """Content."""

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.digest = sha256(LEAF + content).digest()
        self.first = self.last = None


class Pruned(Node):
    """A subtree of which only the digest is told."""

    __slots__ = ()

    def __init__(self, digest: bytes) -> None:
        self.digest = digest
        self.first = self.last = None


EMPTY_DIGEST: Final = sha256(_EMPTY).digest()
EMPTY: Final = Empty()


class Miss(Enum):
    """Why a look-up found no subtree."""

    ABSENT = "absent"  # the tree proves that there is none
    UNKNOWN = "unknown"  # what was pruned may hold it
    ERROR = "error"  # the path leads through a leaf, or ends above one


def forest(node: Node) -> Iterator[Node]:
    """What stands below the forks of a node, left to right; nothing for the empty tree."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        while type(node) is Fork:  # and of no other kind: nobody derives from it
            waiting.append(node.right)
            node = node.left
        if type(node) is not Empty:
            yield node


def find(node: Node, label: bytes) -> Node | Miss:
    """The subtree under a label of this level, or why there is none."""
    sure = True  # nothing is pruned between the last label in sight and here
    for tree in forest(node):
        if isinstance(tree, Labelled):
            if tree.label == label:
                return tree.subtree
            if tree.label > label:
                return Miss.ABSENT if sure else Miss.UNKNOWN
            sure = True
        elif isinstance(tree, Leaf):
            return Miss.ERROR
        else:
            sure = False
    return Miss.ABSENT if sure else Miss.UNKNOWN


# -- encoding --------------------------------------------------------------------

_EMPTY_ITEM = b"\x81\x00"
_FORK_ITEM = b"\x83\x01"
_LABELLED_ITEM = b"\x83\x02"
_LEAF_ITEM = b"\x82\x03"
_PRUNED_ITEM = b"\x82\x04\x58\x20"


def encode(node: Node) -> bytes:
    """The tree in CBOR, deterministic."""
    pieces: list[bytes] = []
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Fork):
            pieces.append(_FORK_ITEM)
            waiting += (node.right, node.left)
        elif isinstance(node, Labelled):
            pieces += (_LABELLED_ITEM, cbor.head(cbor.BYTES, len(node.label)), node.label)
            waiting.append(node.subtree)
        elif isinstance(node, Leaf):
            pieces += (_LEAF_ITEM, cbor.head(cbor.BYTES, len(node.content)), node.content)
        elif isinstance(node, Pruned):
            pieces += (_PRUNED_ITEM, node.digest)
        else:
            pieces.append(_EMPTY_ITEM)
    return b"".join(pieces)


def decode(data: bytes, *, bytes_most: int) -> Node:
    """The tree that the bytes encode; its digest is that of the root it was cut from.

    Raises:
        ProofInvalid: ``reason`` is "bytes" or "depth" past the bounds, "encoding" for anything
            but the deterministic form, "order" or "leaf" for a tree that is not well formed.
    """
    if len(data) > bytes_most:
        raise ProofInvalid(reason="bytes")
    at, depth_most = 0, DEPTH_MOST
    above: list[Node | bytes | None] = []  # a label; None: a fork's left is read; a left
    closed: Node | None = None
    while closed is None:
        item = data[at : at + 2]
        if item == _FORK_ITEM:
            at += 2
            above.append(None)
        elif item == _LABELLED_ITEM:
            label, at = _string(data, at + 2)
            above.append(label)
        else:
            node, at = _end(item, data, at)
            closed = _close(node, above)
        if len(above) > depth_most:
            raise ProofInvalid(reason="depth")
    if at != len(data):
        raise ProofInvalid(reason="encoding")
    return closed


def _end(item: bytes, data: bytes, at: int) -> tuple[Node, int]:
    """A node that has nothing below it, and the place behind it."""
    if data[at : at + 4] == _PRUNED_ITEM:
        stop = at + 4 + HASH_BYTES
        if stop > len(data):
            raise ProofInvalid(reason="encoding")
        return Pruned(data[at + 4 : stop]), stop
    if item == _LEAF_ITEM:
        content, at = _string(data, at + 2)
        return Leaf(content), at
    if item == _EMPTY_ITEM:
        return EMPTY, at + 2
    raise ProofInvalid(reason="encoding")


def _close(node: Node, above: list[Node | bytes | None]) -> Node | None:
    """Put a finished node into what waits for it; the whole tree, once nothing waits."""
    while above:
        top = above.pop()
        if top is None:
            above.append(node)
            return None
        node = Labelled(top, node) if isinstance(top, bytes) else Fork(top, node)
    return node


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    """A byte string, its length in the shortest form, and the place behind it."""
    first = data[at : at + 1]
    if b"\x40" <= first <= b"\x57":
        start, size = at + 1, first[0] - 0x40
    elif first == b"\x58":
        start, size = at + 2, int.from_bytes(data[at + 1 : at + 2], "big")
        if size <= cbor.INLINE_MOST:
            raise ProofInvalid(reason="encoding")
    elif first == b"\x59":
        start, size = at + 3, int.from_bytes(data[at + 1 : at + 3], "big")
        if size < 1 << 8:
            raise ProofInvalid(reason="encoding")
    else:
        raise ProofInvalid(reason="encoding")
    stop = start + size
    if stop > len(data):
        raise ProofInvalid(reason="encoding")
    return data[start:stop], stop


# -- less and more in sight -------------------------------------------------------


def prune(node: Node, keep: Sequence[Sequence[bytes]]) -> Node:
    """The same tree with only the content at these paths in sight, or that they are absent."""
    paths = sorted({tuple(path) for path in keep})
    pruned: Node = Pruned(node.digest)
    for path in paths:
        pruned = merge(pruned, _reveal(node, path))
    return pruned


def _reveal(node: Node, path: Sequence[bytes]) -> Node:
    """The tree with one path in sight, or with the neighbours between which it would be."""
    levels: list[tuple[Node, bytes]] = []
    for label in path:
        found = find(node, label)
        if isinstance(found, Miss):
            return _above(_show(node, label, None), levels)
        levels.append((node, label))
        node = found
    return _above(node, levels)


def _above(node: Node, levels: list[tuple[Node, bytes]]) -> Node:
    for level, label in reversed(levels):
        node = _show(level, label, node)
    return node


def _show(level: Node, label: bytes, subtree: Node | None) -> Node:
    """One level with a label's subtree in sight, or (None) the labels beside where it is not."""
    labels = [tree.label for tree in forest(level) if isinstance(tree, Labelled)]
    shown = {label} if subtree is not None else _neighbours(labels, label)
    done: list[Node] = []
    waiting: list[tuple[Node, bool]] = [(level, False)]
    while waiting:
        node, below = waiting.pop()
        if below:
            right, left = done.pop(), done.pop()
            done.append(Fork(left, right))
        elif isinstance(node, Fork) and _holds(node, shown):
            waiting += ((node, True), (node.right, False), (node.left, False))
        elif isinstance(node, Labelled) and node.label in shown:
            done.append(Labelled(node.label, subtree or Pruned(node.subtree.digest)))
        else:
            done.append(node if isinstance(node, Empty) else Pruned(node.digest))
    return done[0]


def _neighbours(labels: list[bytes], label: bytes) -> set[bytes]:
    before = [other for other in labels if other < label]
    behind = [other for other in labels if other > label]
    return {*before[-1:], *behind[:1]}


def _holds(node: Node, labels: set[bytes]) -> bool:
    if node.first is None or node.last is None:
        return False
    return any(node.first <= label <= node.last for label in labels)


def merge(one: Node, other: Node) -> Node:
    """One tree with all in sight that either of two shows.

    Raises:
        ProofInvalid: ``reason="root"`` where they are not cut from one tree.
    """
    done: list[Node] = []
    waiting: list[tuple[Node, Node, bool]] = [(one, other, False)]
    while waiting:
        one, other, below = waiting.pop()
        if below:
            done.append(_joined(one, done))
            continue
        if one.digest != other.digest:
            raise ProofInvalid(reason="root")
        if isinstance(one, Fork) and isinstance(other, Fork):
            waiting += ((one, other, True), (one.right, other.right, False))
            waiting.append((one.left, other.left, False))
        elif isinstance(one, Labelled) and isinstance(other, Labelled):
            waiting += ((one, other, True), (one.subtree, other.subtree, False))
        else:
            done.append(other if isinstance(one, Pruned) else one)
    return done[0]


def _joined(node: Node, done: list[Node]) -> Node:
    """A fork or label like this one, over the newest finished subtrees."""
    if isinstance(node, Labelled):
        return Labelled(node.label, done.pop())
    right, left = done.pop(), done.pop()
    return Fork(left, right)
