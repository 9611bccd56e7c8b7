"""A bucket that a split made begins with its parent's tree of proofs, and is not read whole."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from holdfast import Store
from holdfast.bucket import fork
from holdfast.certify.absorb import Absorbed
from tests.growth.growing import in_memory
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
    scan = Absorbed._begin

    def noted(self: Absorbed, *arguments: Any) -> None:  # noqa: ANN401 - as it is called
        found.append(self.bucket.id)
        scan(self, *arguments)

    monkeypatch.setattr(Absorbed, "_begin", noted)
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


def test_who_merged_is_right(store: Store) -> None:
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
        store.certifier.seal()
        the_trees_are_right(store, values)
    assert len(store.placement.directory) < many


def split(store: Store, key: bytes) -> None:
    """Split the only bucket."""
    placement = store.placement
    (left,) = placement.directory
    with placement.changing:
        right = fork.split(left, placement.new_id(), b"acme\0" + key)
        assert right is not None
        placement.directory.add(right)
    right.finish_birth()


@pytest.mark.parametrize(
    ("border", "sealed"), [("k0300", "once"), ("k0300", "twice"), ("k0200", "twice")]
)
def test_of_a_merge_only_what_it_brought_is_looked_up(
    scans: list[str], monkeypatch: pytest.MonkeyPatch, border: str, sealed: str
) -> None:
    """What a tree holds of a range that went and came back is not what is there now."""
    looked: list[bytes] = []
    look_up = Absorbed._looked_up

    def noted(self: Absorbed, composite: bytes, row: bytes) -> bytes | None:
        looked.append(composite)
        return look_up(self, composite, row)

    with in_memory(bucket_bytes=1 << 24) as (store, _):
        space = store.namespace("acme")
        values = {f"k{number:04d}": b"1" for number in range(300)}
        space.put_many(values)
        store.certifier.seal()
        split(store, border.encode())
        values |= {f"k{number:04d}": b"2" for number in range(0, 400, 3)}
        space.put_many(values)
        if sealed == "twice":
            store.certifier.seal()
        values |= {f"k{number:04d}": b"3" for number in range(0, 400, 7)}
        space.put_many(values)
        space.delete("k0350")
        del values["k0350"]
        assert store.placement.shrink()
        values |= {f"k{number:04d}": b"4" for number in range(0, 500, 11)}
        space.put_many(values)
        for key in ("k0357", "k0003"):
            space.append(key, b"more")
            values[key] += b"more"
        space.delete("k0354")
        del values["k0354"]
        scans.clear()
        monkeypatch.setattr(Absorbed, "_looked_up", noted)
        store.certifier.seal()
        assert scans == []
        brought = {b"acme\0" + key.encode() for key in values if key >= border}
        assert set(looked) == brought | {b"acme\0k0003"}  # what was appended to is looked at
        the_trees_are_right(store, values)
