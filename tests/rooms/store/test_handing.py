"""The copy of a tree that another process holds: after any changes, whatever broke off."""

from __future__ import annotations

from random import Random
from threading import Event, Thread

import pytest

import holdfast
from holdfast.bucket.checkpoint import Pace
from holdfast.certify.absorb import Absorbed
from holdfast.certify.trie import digest_of
from holdfast.errors import Unavailable
from holdfast.store import handing
from holdfast.store.handing import BEGIN, Handing, Taken, Takings
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock


class Way:
    """Asks in the same process, and breaks off when it is told to."""

    def __init__(self, store: Store) -> None:
        self.begin_anew(store)
        self.left: int | None = None
        self.sizes: list[int] = []

    def begin_anew(self, store: Store) -> None:
        """Another process takes the place of the one that was asked."""
        self.handing = Handing(store)

    def ask(self, method: str, *arguments: object) -> bytes:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Unavailable
        told: bytes = self.handing.methods[method](*arguments)
        self.sizes.append(len(told))
        return told


def digests(store: Store) -> dict[str, dict[bytes, bytes]]:
    """Of every bucket's own tree."""
    store.certifier.seal()
    return {
        name: {space: digest_of(made) for space, made in piece.tries.items()}
        for name, piece in store.certifier._absorbing.absorbed.items()
    }


def copied(taken: list[Taken]) -> dict[str, dict[bytes, bytes]]:
    return {one.id: {space: digest_of(made) for space, made in one.tries.items()} for one in taken}


def test_upkeep_rests_for_longer_while_another_process_waits_for_trees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with holdfast.open(":memory:", upkeep=False) as store:
        way = Way(store)
        catch_up, waited = way.handing._absorbing.catch_up, []

        def looked(pace: Pace) -> list[Absorbed]:
            waited.append(len(store.upkeep.pacer._beside))
            return catch_up(pace)

        monkeypatch.setattr(way.handing._absorbing, "catch_up", looked)
        Takings([way]).take()
        assert waited == [1]


@pytest.mark.parametrize("seed", range(4))
def test_the_copy_has_the_digests_of_the_original(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handing, "ROWS", 50)  # so that answers come in several pieces
    chance = Random(seed)
    with holdfast.open(":memory:", bucket_bytes=64 * 1024, upkeep=False) as store:
        way = Way(store)
        takings = Takings([way])
        spaces = [store.namespace(name) for name in ("acme", "other", "zeta")]
        for _ in range(25):
            space = chance.choice(spaces)
            for _ in range(chance.choice([0, 1, 40])):
                space.put(f"k{chance.randrange(400):03}", chance.randbytes(chance.randrange(600)))
            for _ in range(chance.choice([0, 1, 20])):
                space.delete(f"k{chance.randrange(400):03}", missing_ok=True)
            if chance.random() < 0.1:
                store.drop_namespace(space.name)
            if chance.random() < 0.15:
                way.begin_anew(store)
            if chance.random() < 0.3:
                way.left = chance.randrange(6)
            try:
                taken = takings.take()
            except Unavailable:
                taken = takings.take()
            way.left = None
            assert copied(taken) == digests(store)
            own = store.certifier._absorbing.absorbed.values()
            assert [(o.start, o.stop) for o in taken] == [(o.start, o.stop) for o in own]


def test_only_what_changed_is_told_again() -> None:
    with holdfast.open(":memory:", upkeep=False) as store:
        space = store.namespace("acme")
        space.put_many((f"k{number:05}", b"v") for number in range(5_000))
        way = Way(store)
        takings = Takings([way])
        takings.take()
        whole = max(way.sizes)
        way.sizes.clear()
        takings.take()
        assert len(way.sizes) == 1, "nothing changed, and nothing but that is told"
        space.put("k02500", b"w")
        takings.take()
        assert max(way.sizes) < whole / 10


def test_trees_that_another_process_asks_for_are_followed_until_it_asks_again() -> None:
    with holdfast.open(":memory:", upkeep=False, clock=ManualClock()) as store:
        way, space = Way(store), store.namespace("acme")
        takings = Takings([way])
        takings.take()
        (piece,) = way.handing._absorbing.absorbed.values()
        for number in range(50):
            space.put(f"k{number}", b"1")
        with way.handing._turn() as mine, way.handing._turn() as other:
            assert (mine, other) == (True, False)
            store.tick(60)  # somebody else has the trees: not now
            assert piece.behind() >= 50
        store.tick(60)
        assert piece.behind() == 0
        assert copied(takings.take()) == digests(store)


def test_whoever_waits_for_trees_that_are_followed_has_upkeep_hurry() -> None:
    with holdfast.open(":memory:", upkeep=False) as store:
        handing = Handing(store)
        with handing._turn() as mine:
            assert mine
            asked = Thread(target=handing.methods[BEGIN])
            asked.start()
            while not store.upkeep.pacer.hurry:
                Event().wait(0.001)
        asked.join(60)
        assert not asked.is_alive()
        assert handing._absorbing.absorbed
