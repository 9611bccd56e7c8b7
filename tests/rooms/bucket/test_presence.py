"""What a paid batch replaces is counted out, though most of its keys are not looked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import pytest

from holdfast.bucket import commit, fork, metered
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import checkpoint, no_pace
from holdfast.bucket.printing import grow_presence
from holdfast.engines.memory import MemoryDisk
from holdfast.log.entry import unpack
from holdfast.store.store import Store
from holdfast.views.memory_view import MemoryView
from holdfast.views.port import Table
from holdfast.views.presence import Presence
from holdfast.views.state import Overlay
from tests.growth.growing import in_memory

USD = 10**18
NAME = "acme"


@pytest.fixture
def store() -> Iterator[Store]:
    with in_memory(MemoryDisk(), bucket_bytes=1 << 20) as (store, _):
        store.accounts.deposit(NAME, USD, "invoice 1")
        store.namespace(NAME).configure(tariff="enclave")
        yield store


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The keys that a view was asked for, many at once."""
    found: list[bytes] = []
    get_many = MemoryView.get_many

    def noted(self: MemoryView, table: Table, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found.extend(keys)
        return get_many(self, table, keys)

    monkeypatch.setattr(MemoryView, "get_many", noted)
    return found


def the_bucket(store: Store) -> Bucket:
    return store.placement.directory.find(NAME.encode() + b"\0")


def used_is_what_is_there(store: Store) -> None:
    bucket = the_bucket(store)
    purse = bucket.purses[NAME.encode()]
    first, beyond = purse.span
    rows, _ = bucket.page(first, beyond, 10_000)
    size = sum(len(key) - purse.cut + unpack(row).size for key, row in rows)
    assert (purse.used_bytes, purse.used_objects) == (size, len(rows))


def batch(numbers: Sequence[int], size_bytes: int) -> list[tuple[str, bytes]]:
    return [(f"k{number:05d}", b"v" * size_bytes) for number in numbers]


def test_what_batches_replace_is_counted_out_wherever_it_lies(store: Store) -> None:
    chance, space = Random(4), store.namespace(NAME)
    for turn in range(60):
        space.put_many(batch(chance.sample(range(900), 40), turn))
        if turn % 3 == 0:
            space.delete(f"k{chance.randrange(900):05d}", missing_ok=True)
        if turn % 4 == 1:
            checkpoint(the_bucket(store))
        if turn % 7 == 2:
            store.tick(60)
        used_is_what_is_there(store)
    known = the_bucket(store).presence
    assert known is not None
    assert known.whole


def test_what_a_merge_brings_is_known(store: Store) -> None:
    space = store.namespace(NAME)
    space.put_many(batch(range(200), 9))
    store.tick(60)
    left, placement = the_bucket(store), store.placement
    with placement.changing:
        right = fork.split(left, placement.new_id(), NAME.encode() + b"\0k00100")
        assert right is not None
        placement.directory.add(right)
    right.finish_birth()
    space.put_many(batch(range(150, 250), 9))
    space.put_many(batch(range(50), 9))
    grow_presence(left, no_pace)
    assert left.presence is not None
    assert left.presence.whole
    assert store.placement.shrink()
    assert list(store.placement.directory) == [left]
    space.put_many(batch(range(90, 300), 11))
    used_is_what_is_there(store)


def test_batches_of_who_pays_nothing_go_the_quick_way_beside_who_pays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.namespace(NAME).put_many(batch(range(20), 9))
    free = store.namespace("free")
    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "apply", None)  # decides one by one
        receipts = free.put_many(batch(range(20), 5))
    assert [receipt.cost_atto for receipt in receipts] == [0] * 20
    assert free.get("k00007") == b"v" * 5
    used_is_what_is_there(store)
    assert store.namespace(NAME).usage().objects == 20


@pytest.mark.parametrize("sizes", [(5,), (5, 9, 0)])
def test_a_key_that_comes_twice_in_a_batch_is_there_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, sizes: Sequence[int]
) -> None:
    monkeypatch.delattr(metered, "plan_all")  # each for itself
    space, purse = store.namespace(NAME), the_bucket(store).purses[NAME.encode()]
    for numbers in ([*range(20), 3, 3, 7], [0] * 20, [*range(15, 40), *range(30, 35)]):
        pairs = [
            (f"k{number:02}", b"v" * sizes[at % len(sizes)]) for at, number in enumerate(numbers)
        ]
        before = purse.charged_atto
        receipts = space.put_many(pairs)
        assert {receipt.cost_atto for receipt in receipts} == {purse.terms.c}
        assert purse.charged_atto - before == len(pairs) * purse.terms.c
        assert [space.get(key) for key in dict(pairs)] == list(dict(pairs).values())
        used_is_what_is_there(store)
    assert purse.used_objects == 40


def test_new_keys_are_not_looked_for(store: Store, asked: list[bytes]) -> None:
    space = store.namespace(NAME)
    space.put_many(batch(range(500), 9))
    space.put_many(batch(range(9), 9))  # the first to ask
    checkpoint(the_bucket(store))
    store.tick(60)
    asked.clear()
    space.put_many(batch(range(600, 690), 9))
    assert not asked
    space.put_many(batch([*range(700, 720), 7], 9))
    assert len(asked) == 21  # one was there, nobody knows which
    asked.clear()
    space.put_many(batch([*range(510, 590), 8, 650], 9))
    assert asked == [NAME.encode() + b"\0k00008"]
    used_is_what_is_there(store)


def test_what_batches_replace_in_the_middle_of_a_checkpoint_is_counted_out(store: Store) -> None:
    chance, space, bucket = Random(7), store.namespace(NAME), the_bucket(store)
    space.put_many(batch(range(300), 3))
    space.put_many(batch(range(300), 5))  # asks what it replaces
    store.tick(60)
    told: set[bool] = set()

    def between() -> None:
        told.update(layer.present is bucket.presence for layer in bucket.state.frozen)
        space.put_many(batch(chance.sample(range(900), 20), chance.randrange(50)))
        space.delete(f"k{chance.randrange(900):05d}", missing_ok=True)
        used_is_what_is_there(store)

    for _ in range(4):
        space.put_many(batch(chance.sample(range(900), 400), 7))
        checkpoint(bucket, between)
    assert told == {False, True}  # some came before its keys were known, and some after
    used_is_what_is_there(store)


def test_a_batch_vouches_for_no_other(store: Store) -> None:
    """Nobody looks for what a free namespace replaces; it is counted out all the same."""
    space, free, bucket = store.namespace(NAME), store.namespace("free"), the_bucket(store)
    space.put_many(batch(range(20), 9))
    space.put_many(batch(range(20), 9))  # asks
    free.put_many(batch(range(20), 9))
    with bucket.lock:
        group = bucket.gather()
        for name, first, is_fresh in ((NAME, 20, True), (NAME, 40, True), ("free", 10, False)):
            names, values = zip(*batch(range(first, first + 20), 5), strict=True)
            keys = [f"{name}\0{key}".encode() for key in names]
            receipts = metered.store_many(bucket, group, (keys, names, values), (keys[0], keys[-1]))
            assert receipts is not None
            assert (group.fresh is not None) == is_fresh
        turn = commit.queue(bucket, group)
    commit.settle(bucket, group, turn)
    used_is_what_is_there(store)
    told = bucket.resolve_all()
    rows, _ = bucket.page(bucket.start, b"\xff", 10_000)
    assert told.keys == len(rows)


def test_a_checkpoint_while_the_view_is_taken_in_hides_nothing(store: Store) -> None:
    space = store.namespace(NAME)
    space.put_many(batch(range(0, 800, 2), 9))
    space.put_many(batch(range(0, 8, 2), 9))
    checkpoint(the_bucket(store))
    slices = 0

    def between() -> None:
        nonlocal slices
        slices += 1
        space.put_many(batch(range(1, 2 * slices, 2), slices))
        checkpoint(the_bucket(store))

    store.upkeep._go_on(None, between)
    assert slices > 1
    space.put_many(batch(range(800), 1))
    used_is_what_is_there(store)


class Sly(bytes):
    """Has the hash of every other of its kind."""

    def __hash__(self) -> int:
        return 7


def test_a_hash_that_another_key_has_costs_a_look_and_no_more() -> None:
    known = Presence(b"")
    known.add([Sly(b"a")])
    assert list(known.claim([b"b", Sly(b"c")])) == [b"b", b"c"]
    assert list(known.claim([b"d", Sly(b"e")])) == [b"e"]
    assert not known.claim([b"f"])


def test_what_was_claimed_was_there_from_then_on() -> None:
    chance, known, there = Random(3), Presence(b""), set[bytes]()
    for turn in range(300):
        keys = [b"%d" % chance.randrange(10**6 if turn % 50 < 30 else 2000) for _ in range(20)]
        maybe = known.claim(keys)
        assert there.intersection(keys) <= set(maybe)
        there.update(keys)
        assert len(known) == len(there)


def test_rows_that_another_knew_are_told_to_who_knows_an_overlay() -> None:
    known, other, overlay = Presence(b""), Presence(b""), Overlay()
    overlay.present = known
    rows = {b"a": bytes(52), b"b": bytes(52)}
    other.add(rows)
    assert overlay.put_plain(rows, 1, 100, fresh=other)
    assert len(known) == 2
