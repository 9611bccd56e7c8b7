"""A bucket that a split made begins with its parent's tree of proofs, and is not read whole."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from holdfast import Store
from holdfast.certify.absorb import Absorbed
from tests.rooms.store.test_certifying import Client, hold, opened, tree_kept, tree_of

Values = dict[str, bytes]


@pytest.fixture
def store() -> Iterator[Store]:
    with opened() as store:
        yield store


@pytest.fixture(name="scans")
def counted_scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The buckets that were read whole."""
    found: list[str] = []
    scan = Absorbed._scan

    def noted(self: Absorbed, *arguments: Any) -> None:  # noqa: ANN401 - as it is called
        found.append(self.bucket.id)
        scan(self, *arguments)

    monkeypatch.setattr(Absorbed, "_scan", noted)
    return found


def fill(store: Store, values: Values, chance: Random, count: int) -> None:
    """Stores, deletes and appends in no order, over enough bytes to split again and again."""
    space = store.namespace("acme")
    for _ in range(count):
        some = {f"k{chance.randrange(10**6):06d}": chance.randbytes(700) for _ in range(30)}
        space.put_many(some)
        values |= some
        key = chance.choice(sorted(values))
        space.append(key, b"more")
        values[key] += b"more"
        key = chance.choice(sorted(values))
        space.delete(key)
        del values[key]


def the_trees_are_right(store: Store, values: Values) -> None:
    hold(Client(store), store.namespace("acme"), values, Random(5))
    assert tree_kept(store) == tree_of(store)


@pytest.mark.parametrize("rounds", [1, 8, 25])
def test_children_of_children_are_handed_on(store: Store, scans: list[str], rounds: int) -> None:
    """Between two seals there are none, a few or many splits, of buckets just made too."""
    chance = Random(rounds)
    values: Values = {}
    fill(store, values, chance, 4)
    store.certifier.seal()
    for _ in range(50 // rounds):
        fill(store, values, chance, rounds)
        scans.clear()
        store.certifier.seal()
        assert scans == []
    assert len(store.placement.directory) > 8
    the_trees_are_right(store, values)


def test_what_grew_at_the_right_edge_is_handed_on(store: Store, scans: list[str]) -> None:
    values = {f"k{number:06d}": bytes(700) for number in range(1_500)}
    keys = sorted(values)
    space = store.namespace("acme")
    space.put_many({key: values[key] for key in keys[:50]})
    store.certifier.seal()
    scans.clear()
    for at in range(50, len(keys), 50):
        space.put_many({key: values[key] for key in keys[at : at + 50]})
    store.certifier.seal()
    assert scans == []
    assert len(store.placement.directory) > 8
    the_trees_are_right(store, values)


def test_buckets_that_splits_made_are_followed_before_the_next_seal(
    store: Store, scans: list[str]
) -> None:
    chance = Random(9)
    values: Values = {}
    fill(store, values, chance, 4)
    store.certifier.seal()
    scans.clear()
    for _ in range(10):
        fill(store, values, chance, 5)
        store.tick()
        followed = store.certifier._absorbing.absorbed
        assert list(followed) == [bucket.id for bucket in store.placement.directory]
        assert all(piece._at == piece.bucket.published for piece in followed.values())
    store.certifier.seal()
    assert scans == []
    assert len(store.placement.directory) > 8
    the_trees_are_right(store, values)


def test_who_merged_is_read_whole_and_right(store: Store, scans: list[str]) -> None:
    chance = Random(3)
    values: Values = {}
    fill(store, values, chance, 25)
    store.certifier.seal()
    many = len(store.placement.directory)
    space = store.namespace("acme")
    for turn in range(3):  # split and merge between two seals, whoever did it first
        fill(store, values, chance, 6)
        for key in sorted(values)[turn + 5 :]:
            space.delete(key)
            del values[key]
        store.collect()
        for _ in range(20):
            store.clock.sleep(1)
            store.tick(1.0)
        fill(store, values, chance, 3)
        scans.clear()
        store.certifier.seal()
        the_trees_are_right(store, values)
    assert scans
    assert len(store.placement.directory) < many
