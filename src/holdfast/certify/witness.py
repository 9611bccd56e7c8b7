"""The part of a trie that is shown: a range of labels in sight, all else pruned."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.certify import tree
from holdfast.certify.tree import EMPTY, Fork, Labelled, Node, Pruned
from holdfast.certify.trie import Inner, Page, Row, Trie, before, behind, cartesian, get, unpacked

Below = Callable[[bytes, bytes], Node]  # label, digest -> the subtree to show


def witness(trie: Trie | None, low: bytes, high: bytes | None, below: Below) -> Node:
    """The hash tree with every label from ``low`` to below ``high`` in sight, all else pruned.

    Beside the range stand its neighbours, so that a verifier sees that nothing is missing; the
    range of one label that is there needs none.

    Args:
        trie: the labels.
        low: where the range begins.
        high: where it ends; None for the end of all labels.
        below: what to show below a label of the range, given the label and the digest there.
    """
    if trie is None:
        return EMPTY
    one = high == low + b"\x00" and get(trie, low) is not None
    ahead = None if one else before(trie, low)
    first = low if ahead is None else ahead
    last = low if one else (None if high is None else behind(trie, high))

    def shown(row: Row) -> Node:
        label, digest = row
        inside = low <= label and (high is None or label < high)
        return Labelled(label, below(label, digest) if inside else Pruned(digest))

    return _open(trie, first, last, shown)


def _open(trie: Trie, first: bytes, last: bytes | None, shown: Callable[[Row], Node]) -> Node:
    """The hash tree with the labels from ``first`` to ``last`` as ``shown`` says."""
    done: list[Node] = []
    waiting: list[Trie | None] = [trie]
    while waiting:
        side = waiting.pop()
        if side is None:
            right, left = done.pop(), done.pop()
            done.append(Fork(left, right))
        elif side.last < first or (last is not None and side.first > last):
            done.append(Pruned(side.digest))
        elif isinstance(side, Inner):
            waiting += (None, side.right, side.left)
        else:
            done.append(_open_page(side, first, last, shown))
    return done[0]


def _open_page(page: Page, first: bytes, last: bytes | None, shown: Callable[[Row], Node]) -> Node:
    ends: list[Node] = []
    labels, digests, bits = page.columns
    for row in zip(labels, unpacked(digests), strict=True):
        label, digest = row
        if label < first or (last is not None and label > last):
            ends.append(Pruned(tree.labelled_digest(label, digest)))
        else:
            ends.append(shown(row))
    return cartesian(ends, bits, _fork)


def _fork(left: Node, right: Node) -> Node:
    """A fork, pruned where nothing below it is in sight."""
    if isinstance(left, Pruned) and isinstance(right, Pruned):
        return Pruned(tree.fork_digest(left.digest, right.digest))
    return Fork(left, right)
