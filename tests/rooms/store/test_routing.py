"""What proofs say of ranges goes on from process to process, and nothing else changes a root."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast
from holdfast import Store
from holdfast.certify import cbor, tree
from holdfast.store import routing
from holdfast.store.seals import Seal

BUCKET_BYTES = 1 << 16


def opened(path: Path) -> Store:
    return holdfast.open(path, bucket_bytes=BUCKET_BYTES, upkeep=False)


def versions(store: Store) -> set[int]:
    """What the parts of all namespaces say."""
    return {part.version for parts in store.certifier._parts.values() for part in parts}


def grow(store: Store, first: int, count: int = 300) -> Seal:
    namespace = store.namespace("acme")
    for number in range(first, first + count):
        namespace.put(f"k{number:05}", bytes(1_000))
    for _ in range(5):  # a split leaves something for the next round, and a seal is a write too
        store.certifier.seal()
        store.tick(60)
    return store.certifier.seal()


def test_a_tree_that_is_made_anew_has_the_same_root(tmp_path: Path) -> None:
    with opened(tmp_path / "s") as store:
        before = grow(store, 0)
        assert len(store.placement.directory) > 2
    with opened(tmp_path / "s") as store:
        again = store.certifier.seal()
        assert again.root.root == before.root.root
        assert again.root.revision > before.root.revision
        store.rebuild()
        assert store.certifier.seal().root.root == before.root.root


def test_other_ranges_have_a_higher_version_in_the_next_process_too(tmp_path: Path) -> None:
    seen = []
    for turn in range(3):
        with opened(tmp_path / "s") as store:
            seal = grow(store, 1_000 * turn)
            seen.append(versions(store))
            assert max(seen[-1]) <= seal.root.revision
            store.namespace("acme").put("k", b"")
            assert store.certifier.seal().root.revision > seal.root.revision
            assert versions(store) == seen[-1]
    (first,), (second,), (third,) = seen
    assert first < second < third


def test_ranges_that_could_not_be_kept_are_not_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    with holdfast.open(":memory:", bucket_bytes=BUCKET_BYTES, upkeep=False) as store:
        first = store.certifier.seal()

        def fails(*_: object) -> int:
            raise holdfast.StorageFailed(what="no room")

        with monkeypatch.context() as patched:
            patched.setattr(routing.Routing, "_keep", fails)
            with pytest.raises(holdfast.StorageFailed):
                grow(store, 0)
        assert store.certifier.seal().root.revision == first.root.revision + 1
        assert versions(store) == {first.root.revision + 1}


def test_the_version_is_in_the_proof() -> None:
    with holdfast.open(":memory:", upkeep=False) as store:
        first = store.namespace("acme").prove("a")
        store.namespace("acme").put("a", b"1")
        proven = store.namespace("acme").prove("a")
        parts = cbor.decode(proven.proof, bytes_most=1 << 20)
        assert isinstance(parts, list)
        node = tree.decode(parts[3], bytes_most=1 << 20)
        (space,) = tree.forest(node)
        assert isinstance(space, tree.Labelled)
        (part,) = tree.forest(space.subtree)
        assert isinstance(part, tree.Labelled)
        told = tree.find(part.subtree, b"part")
        assert isinstance(told, tree.Leaf)
        (bucket,) = store.placement.directory
        assert told.content == first.revision.to_bytes(8, "big") + bytes.fromhex(bucket.id)
        assert proven.revision > first.revision
