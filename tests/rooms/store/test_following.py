"""Trees of proofs are followed by the way while somebody writes, and at once when nobody does."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from holdfast import Store
from holdfast.certify import absorb
from holdfast.certify.absorb import Absorbed
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import Moved
from holdfast.store import absorbing, following
from tests.growth.growing import in_memory
from tests.rooms.store.test_certifying import Client, tree_kept, tree_of

MANY = 3_000


@pytest.fixture(name="store")
def store_of_one_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(following, "FOLLOWED", 500)
    with in_memory(MemoryDisk(), bucket_bytes=1 << 24) as (store, _):
        store.namespace("acme").put("k", b"first")
        store.certifier.seal()
        yield store


def write(store: Store, first: int = 0) -> None:
    numbers = range(first, first + MANY)
    for at in range(0, MANY, 100):
        store.namespace("acme").put_many([(f"k{n:06d}", b"v") for n in numbers[at : at + 100]])


def look(store: Store) -> None:
    """A round of upkeep as its thread makes it."""
    store.upkeep._go_on(None, store.upkeep.pacer)


def rest(store: Store) -> None:
    """Until a slice is due."""
    store.clock.sleep(60)


def the_tree(store: Store) -> Absorbed:
    (piece,) = store.certifier._absorbing.absorbed.values()
    return piece


def stands(store: Store) -> None:
    """What is proved is what somebody proves who reads all of it anew."""
    proven = store.namespace("acme").get("k000001", prove=True)
    Client(store).check("acme", "k000001", b"v", proven.proof)
    assert tree_kept(store) == tree_of(store)


def test_beside_writers_a_tree_is_read_on_by_a_slice(store: Store) -> None:
    write(store)
    look(store)
    left = the_tree(store).behind()
    assert 0 < left < MANY
    write(store, MANY)
    look(store)  # it has not rested long enough
    assert the_tree(store).behind() > left
    stands(store)


def test_a_slice_follows_when_it_has_rested(store: Store) -> None:
    write(store)
    look(store)
    left = the_tree(store).behind()
    rest(store)
    store.namespace("acme").put("k", b"again")
    look(store)
    assert 0 < the_tree(store).behind() < left
    stands(store)


def test_what_was_left_is_read_when_nobody_writes(store: Store) -> None:
    write(store)
    look(store)
    left = the_tree(store).behind()
    look(store)  # a disk may keep the writer waiting for so long
    assert the_tree(store).behind() == left
    rest(store)
    look(store)
    assert the_tree(store).behind() == 0
    stands(store)


def test_who_began_to_read_all_of_it_rests_when_somebody_writes_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store)
    look(store)
    rest(store)
    follow = Absorbed.follow

    def disturbed(piece: Absorbed, *arguments: object, **more: object) -> bool:
        store.namespace("acme").put("k", b"again")
        return follow(piece, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Absorbed, "follow", disturbed)
    look(store)
    assert 0 < the_tree(store).behind() < MANY
    stands(store)


def test_a_tree_far_behind_does_not_wait(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "BEHIND", MANY // 2)
    write(store)
    look(store)  # as far as that is far, and then a slice
    assert 0 < the_tree(store).behind() <= MANY // 2
    stands(store)


def test_trees_that_run_away_are_followed_before_all_else(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long somebody writes, a round ends with less than too much, or gets on with it."""
    for name, value in {"BEHIND": 500, "FAR": 1_200, "SLICES": 1, "SLICES_FAR": 3}.items():
        monkeypatch.setattr(following, name, value)
    pacer = store.upkeep.pacer
    write(store)
    look(store)  # what else is due has its turn
    assert the_tree(store).behind() == MANY - 3 * 500
    assert pacer.hurry
    pacer.hurry = False
    look(store)
    assert the_tree(store).behind() == MANY - 4 * 500
    assert not pacer.hurry
    look(store)  # far enough to share the time, no more
    assert the_tree(store).behind() == MANY - 5 * 500
    stands(store)


def test_what_all_trees_lack_together_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "FOLLOWED", 10)
    monkeypatch.setattr(following, "BEHIND", 100)
    with in_memory(MemoryDisk()) as (store, _):
        space = store.namespace("acme")
        for number in Random(4).sample(range(400), 400):  # few buckets are full then
            space.put(f"k{number:06d}", bytes(900))
        store.certifier.seal()
        pieces = store.certifier._absorbing.absorbed.values()
        assert len(pieces) > 3
        space.put_many([(f"k{n:06d}", b"v") for n in range(1, 400, 3)])
        assert max(piece.behind() for piece in pieces) < 100
        look(store)  # not a slice of each, but all that is too much
        assert 50 < sum(piece.behind() for piece in pieces) < 100
        stands(store)


def test_beside_writers_nothing_is_put_into_the_tree(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.certify.absorb.WAITING", 1_200)
    before = dict(the_tree(store).tries)
    for turn in range(4):
        write(store, turn * MANY)
        rest(store)
        look(store)
    piece = the_tree(store)
    assert piece.tries == before
    assert 4 * MANY - 1_200 <= piece.behind() < 4 * MANY
    stands(store)


def test_a_slice_reads_no_more_of_the_log_than_it_takes_in(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.certify.absorb.READ_BYTES", 8_192)
    write(store)
    log = the_tree(store).bucket.log
    read: list[int] = []
    take = log._bytes

    def counted(number: int, start: int, stop: int) -> bytes:
        read.append(stop - start)
        return take(number, start, stop)

    monkeypatch.setattr(log, "_bytes", counted)
    store.tick()
    assert the_tree(store).behind() == 0
    assert log.stop <= sum(read) < 2 * log.stop
    stands(store)


def test_whoever_calls_a_tick_has_all_of_it_read(store: Store) -> None:
    write(store)
    store.tick()
    assert the_tree(store).behind() == 0


def test_a_tree_is_written_down_beside_writers_where_too_much_is_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    save = absorbing.Absorbing.save

    def noted(self: absorbing.Absorbing, *arguments: object) -> None:
        saved.append(arguments[1] is not None)
        save(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(absorbing.Absorbing, "save", noted)
    for turn, most in enumerate((500_000, MANY)):
        monkeypatch.setattr(following, "UNSAVED_MOST", most)
        write(store, turn * MANY)
        store.certifier.seal()
        rest(store)
        store.namespace("acme").put("k", b"%d" % turn)
        look(store)
    assert saved == [False, True]


def test_a_bucket_that_was_merged_away_is_not_read_on_in() -> None:
    with in_memory(MemoryDisk(), bucket_bytes=1 << 16) as (store, _):
        ns = store.namespace("acme")
        ns.put_many([(f"k{number:04d}", bytes(2_000)) for number in range(200)])
        for number in range(200):
            ns.delete(f"k{number:04d}")
        ns.put("k0190", b"of the last one")
        ns.search("nothing")
        store.certifier.seal()
        pieces = list(store.certifier._absorbing.absorbed.values())
        indexes = list(store.searcher._indexes.values())
        assert store.placement.shrink() > 0
        gone = [piece for piece in pieces if piece.bucket.closed]
        assert gone
        for piece in gone:
            piece.bucket.log.park()  # its files have gone
            with pytest.raises(Moved):
                piece.catch_up()
        for index in indexes:
            if index.bucket.closed:
                with pytest.raises(Moved):
                    list(index._round())


def test_a_tree_that_saw_what_was_not_read_yet_stands_nowhere(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(absorb, "PAGE", 10)
    monkeypatch.setattr(absorb, "WAITING_MOST", 5)
    space = store.namespace("acme")
    space.put_many({f"k{n:03d}": b"1" for n in range(20)})
    (bucket,) = store.placement.directory
    piece = Absorbed(bucket, store.certifier._absorbing.pieces)
    stood: list[object] = []

    def pace() -> None:
        if not stood:  # the scan meets these later: behind the position that it began from
            for n in range(20):
                space.put(f"z{n:03d}", b"2")
        stood.append(piece._stand)

    piece.catch_up(pace)
    assert set(stood) == {None, bucket.published}


def test_what_a_merge_brought_is_followed_without_a_seal() -> None:
    with in_memory(MemoryDisk(), bucket_bytes=1 << 16) as (store, _):
        space = store.namespace("acme")
        space.put_many([(f"k{number:06d}", bytes(2_000)) for number in range(200)])
        for number in range(200):
            space.delete(f"k{number:06d}")
        space.put("k000190", b"of the last one")
        store.certifier.seal()
        assert store.placement.shrink() > 0
        space.put("k000001", b"v")
        store.tick()
        for piece in store.certifier._absorbing.absorbed.values():
            bucket = piece.bucket
            assert (piece.start, piece.stop) == (bucket.start, bucket.stop)
            assert piece._at == bucket.published
        stands(store)


def test_what_a_merge_brought_and_cannot_be_read_is_left_to_a_seal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with in_memory(MemoryDisk(), bucket_bytes=1 << 16) as (store, _):
        space = store.namespace("acme")
        space.put_many([(f"k{number:06d}", bytes(2_000)) for number in range(200)])
        for number in range(200):
            space.delete(f"k{number:06d}")
        store.certifier.seal()
        assert store.placement.shrink() > 0
        space.put("k000001", b"v")

        def fails(*_: object) -> None:
            raise Moved(bucket="")

        with monkeypatch.context() as patched:
            patched.setattr(Absorbed, "catch_up", fails)
            store.tick()
        assert store.upkeep.failures == []
        stands(store)
