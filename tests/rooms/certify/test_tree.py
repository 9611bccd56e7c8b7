"""The hash tree: the specification's own example, look-ups, and trees that are not well formed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from holdfast.certify import tree
from holdfast.certify.tree import EMPTY, Empty, Fork, Labelled, Leaf, Miss, Node, Pruned, find
from holdfast.errors import ProofInvalid

ROOT = "eb5c5b2195e62d996b84c9bcc8259d19a83786a2f59e0878cec84c811f669aa0"
BYTES_MOST = 1_000_000


def lookup(node: Node, path: Sequence[bytes]) -> bytes | Miss:
    """The content at the end of a path of labels, or why there is none."""
    for label in path:
        found = find(node, label)
        if isinstance(found, Miss):
            return found
        node = found
    if isinstance(node, Leaf):
        return node.content
    if isinstance(node, Empty):
        return Miss.ABSENT
    return Miss.UNKNOWN if isinstance(node, Pruned) else Miss.ERROR


def example() -> Fork:
    """The tree of the IC interface specification."""
    x_y = Fork(Fork(Labelled(b"x", Leaf(b"hello")), EMPTY), Labelled(b"y", Leaf(b"world")))
    a_b = Fork(Labelled(b"a", x_y), Labelled(b"b", Leaf(b"good")))
    return Fork(a_b, Fork(Labelled(b"c", EMPTY), Labelled(b"d", Leaf(b"morning"))))


def test_the_example_has_the_root_of_the_specification() -> None:
    assert example().digest.hex() == ROOT


def test_the_pruned_example_has_the_bytes_of_the_specification() -> None:
    pruned = tree.prune(example(), [[b"a", b"y"], [b"ax"], [b"d"]])
    assert tree.encode(pruned).hex() == (
        "83018301830241618301820458201b4feff9bef8131788b0c9dc6dbad6e81e524249c879e9f10f71ce3749f5"
        "a63883024179820345776f726c6483024162820458207b32ac0c6ba8ce35ac82c255fc7906f7fc130dab2a09"
        "0f80fe12f9c2cae83ba6830182045820ec8324b8a1f1ac16bd2e806edba78006479c9877fed4eb464a25485"
        "465af601d830241648203476d6f726e696e67"
    )
    again = tree.decode(tree.encode(pruned), bytes_most=BYTES_MOST)
    assert again.digest.hex() == ROOT


def test_the_example_looks_up_as_the_specification_says() -> None:
    whole = example()
    pruned = tree.prune(whole, [[b"a", b"y"], [b"ax"], [b"d"]])
    assert lookup(whole, [b"a", b"x"]) == b"hello"
    assert lookup(whole, [b"a", b"z"]) is Miss.ABSENT
    assert lookup(whole, [b"c"]) is Miss.ABSENT
    assert lookup(whole, [b"a"]) is Miss.ERROR
    assert lookup(whole, [b"d", b"e"]) is Miss.ERROR
    assert lookup(pruned, [b"a", b"a"]) is Miss.UNKNOWN
    assert lookup(pruned, [b"a", b"y"]) == b"world"
    assert lookup(pruned, [b"aa"]) is Miss.ABSENT
    assert lookup(pruned, [b"ax"]) is Miss.ABSENT
    assert lookup(pruned, [b"b"]) is Miss.UNKNOWN
    assert lookup(pruned, [b"bb"]) is Miss.UNKNOWN
    assert lookup(pruned, [b"d"]) == b"morning"
    assert lookup(pruned, [b"e"]) is Miss.ABSENT
    assert lookup(EMPTY, [b"a"]) is Miss.ABSENT
    assert lookup(Pruned(bytes(32)), []) is Miss.UNKNOWN


def test_two_parts_of_one_tree_make_more_of_it() -> None:
    whole = example()
    one, other = tree.prune(whole, [[b"a", b"x"]]), tree.prune(whole, [[b"d"]])
    both = tree.merge(one, other)
    assert tree.encode(both) == tree.encode(tree.prune(whole, [[b"d"], [b"a", b"x"]]))
    assert (lookup(both, [b"a", b"x"]), lookup(both, [b"d"])) == (b"hello", b"morning")
    with pytest.raises(ProofInvalid, match="root"):
        tree.merge(one, Pruned(bytes(32)))


def test_labels_out_of_order_are_refused() -> None:
    for first, second in [(b"b", b"a"), (b"a", b"a"), (b"a\x00", b"a")]:
        with pytest.raises(ProofInvalid, match="order"):
            Fork(Labelled(first, EMPTY), Labelled(second, EMPTY))
    hidden = Fork(Labelled(b"a", EMPTY), Fork(Pruned(bytes(32)), Labelled(b"c", EMPTY)))
    with pytest.raises(ProofInvalid, match="order"):
        Fork(hidden, Labelled(b"b", EMPTY))


def test_a_leaf_beside_labels_is_refused() -> None:
    for sides in [(Leaf(b""), EMPTY), (Labelled(b"a", EMPTY), Leaf(b""))]:
        with pytest.raises(ProofInvalid, match="leaf"):
            Fork(*sides)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "81",
        "8101",
        "8100" + "00",
        "d9d9f78100",
        "8301810081",
        "83024178",
        "8302616181008100",
        "820441ff",
        "82045820" + "00" * 31,
        "8203580161",
        "820359000161",
        "8203" + "5a0000000161",
        "83028100",
        "8303",
        "9f00ff",
    ],
)
def test_other_bytes_than_the_deterministic_form_are_refused(data: str) -> None:
    with pytest.raises(ProofInvalid, match="encoding"):
        tree.decode(bytes.fromhex(data), bytes_most=BYTES_MOST)


def test_depth_and_bytes_are_bounded() -> None:
    deep = bytes.fromhex("830240") * (tree.DEPTH_MOST + 1) + b"\x81\x00"
    with pytest.raises(ProofInvalid, match="depth"):
        tree.decode(deep, bytes_most=BYTES_MOST)
    with pytest.raises(ProofInvalid, match="bytes"):
        tree.decode(deep, bytes_most=100)
    allowed = bytes.fromhex("8301") * tree.DEPTH_MOST + b"\x81\x00" * (tree.DEPTH_MOST + 1)
    assert tree.encode(tree.decode(allowed, bytes_most=BYTES_MOST)) == allowed
