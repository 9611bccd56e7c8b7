"""Two overlays of a bucket, each bounded, then writers wait and are refused (rule 10)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

import holdfast.bucket.room
import holdfast.views.state
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import no_pace
from holdfast.bucket.seal import WAITING_SEGMENTS, may_wait, seal_due, unsealed
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import Busy
from holdfast.store.namespace import Namespace
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock
from holdfast.testing.platter import copy_tree
from holdfast.views.state import PLAIN_HELD, ROW_OVERHEAD, Overlay
from tests.growth.growing import in_memory

ROWS = 200
GROUP = 10


@pytest.fixture
def starved(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Store, ManualClock]]:
    """A store whose upkeep never has its turn, and overlays of few rows."""
    monkeypatch.setattr(holdfast.views.state, "OVERLAY_RECORDS", ROWS)
    with in_memory(MemoryDisk(), bucket_bytes=1 << 20) as (store, clock):
        with store.upkeep._turn:
            store.upkeep.start()
            yield store, clock
        store.upkeep.stop()


def sole(store: Store) -> Bucket:
    (bucket,) = store.placement.directory
    return bucket


def fill(ns: Namespace, name: str, count: int) -> None:
    for at in range(0, count, GROUP):
        ns.put_many([(f"{name}{number:06}", b"x") for number in range(at, at + GROUP)])


def test_a_full_overlay_makes_way_at_once(starved: tuple[Store, ManualClock]) -> None:
    store, clock = starved
    before = clock.monotonic_ns()
    fill(store.namespace("acme"), "a", 2 * ROWS)
    bucket = sole(store)
    assert [len(layer.keys) for layer in bucket.state.frozen] == [ROWS]
    assert len(bucket.state.active.keys) == ROWS
    assert clock.monotonic_ns() - before < 1e9  # nobody has waited


def test_where_two_are_full_stores_are_refused_and_nothing_changes(
    starved: tuple[Store, ManualClock],
) -> None:
    store, _ = starved
    ns = store.namespace("acme")
    fill(ns, "a", 2 * ROWS)
    calls: list[Any] = [
        lambda: ns.put("b", b"x"),
        lambda: ns.put_many([("b", b"x"), ("c", b"x")]),
        lambda: ns.put("b", b"x", ttl=5),
    ]
    for call in calls:
        with pytest.raises(Busy):
            call()
    assert sole(store).state.records() == 2 * ROWS
    assert not ns.exists("b")


def test_deletes_are_slowed_and_not_refused(starved: tuple[Store, ManualClock]) -> None:
    store, clock = starved
    ns = store.namespace("acme")
    fill(ns, "a", 2 * ROWS)
    before = clock.monotonic_ns()
    for number in range(10):
        ns.delete(f"a{number:06}")
    assert clock.monotonic_ns() - before >= 10 * 1_000_000
    assert not ns.exists("a000009")


def test_what_waits_is_absorbed_when_upkeep_has_its_turn(
    starved: tuple[Store, ManualClock],
) -> None:
    store, _ = starved
    ns = store.namespace("acme")
    fill(ns, "a", 2 * ROWS)
    store.tick()
    fill(ns, "b", ROWS)
    assert sole(store).state.records() <= 2 * ROWS
    assert sum(1 for _ in ns.list()) == 3 * ROWS
    assert store.check().ok


def fill_by_long_keys(ns: Namespace, together: int) -> None:
    for number in range(1_000):
        pairs = [(f"{number:04}{one:03}".ljust(400, "k"), b"") for one in range(together)]
        ns.put_many(pairs) if together > 1 else ns.put(*pairs[0])


@pytest.mark.parametrize("together", [1, GROUP])
def test_long_keys_fill_an_overlay_by_their_bytes(
    monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    most = 100_000
    monkeypatch.setattr(holdfast.bucket.room, "OVERLAY_BYTES", most)
    with in_memory(MemoryDisk(), bucket_bytes=64 << 20) as (store, _):
        with store.upkeep._turn:
            store.upkeep.start()
            ns = store.namespace("acme")
            with pytest.raises(Busy):
                fill_by_long_keys(ns, together)
            state = sole(store).state
            least = ROW_OVERHEAD + 400
            assert [len(layer.keys) * least <= most for layer in (state.active, *state.frozen)] == [
                True
            ] * 2
            assert most <= state.active.held < most + together * 1_000
        store.upkeep.stop()


BOUND = 200_000  # of all overlays together
LEAST_PORTION = 1_000
KEYS = [f"{number:05}" for number in Random(0).sample(range(100_000), 1_500)]


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store of many buckets with nothing in memory, whose overlays have little room together."""
    for module in (holdfast.views.state, holdfast.bucket.room):
        monkeypatch.setattr(module, "PORTION_LEAST", LEAST_PORTION)
    monkeypatch.setattr(holdfast.bucket.room, "PORTION_BYTES", 5_000)
    monkeypatch.setattr(holdfast.bucket.room, "OVERLAYS_BYTES", BOUND)
    with in_memory(MemoryDisk()) as (store, _):
        ns = store.namespace("acme")
        for key in KEYS:
            ns.put(key, bytes(400))
        store.rebuild()
        assert held_by_each(store) == [0] * len(store.placement.directory)
        assert len(store.placement.directory) > 8
        yield store


def held_by_each(store: Store) -> list[int]:
    return [bucket.state.bytes_held() for bucket in store.placement.directory]


def overwrite(store: Store) -> None:
    """Small values over large ones: nothing grows but what is in memory."""
    for key in KEYS:
        store.namespace("acme").put(key, b"")


def held_when_busy(store: Store, write: Callable[[Store], None]) -> list[int]:
    """What each bucket holds when a write was refused, because upkeep never has its turn."""
    with store.upkeep._turn:
        store.upkeep.start()
        with pytest.raises(Busy):
            write(store)
        held = held_by_each(store)
    store.upkeep.stop()
    return held


def write_to_the_first(store: Store) -> None:
    for number in range(300):
        store.namespace("acme").put(f"0{number:03}", b"")


def test_overlays_of_many_buckets_share_one_bound(many: Store) -> None:
    held = held_when_busy(many, overwrite)
    first = 2 * len(held) * (LEAST_PORTION + PLAIN_HELD + 100)  # portions, of two overlays each
    assert BOUND // 2 < sum(held) < BOUND + first
    assert all(held)
    many.tick()
    for key in KEYS[:100]:  # and then there is room for more
        many.namespace("acme").put(key, b"")
    assert many.check().ok


def test_what_an_opening_replayed_counts_with_what_comes(many: Store) -> None:
    ns = many.namespace("acme")
    for key in KEYS[:600]:
        ns.put(key, b"")  # without its thread, upkeep is its caller's affair
    assert isinstance(many.disk, MemoryDisk)
    with in_memory(MemoryDisk(copy_tree(many.disk.root, {})), seed=1) as (again, _):
        before = held_by_each(again)
        assert sum(before) > BOUND
        held = held_when_busy(again, write_to_the_first)
        assert held[1:] == before[1:]
        assert held[0] < before[0] + 2 * (LEAST_PORTION + PLAIN_HELD + 100)


def test_room_that_others_have_comes_back(many: Store) -> None:
    """Where little is in each overlay, none of them is worth absorbing by itself."""
    ns = many.namespace("acme")
    for key in KEYS[:600]:
        ns.put(key, b"")
    before = sum(held_by_each(many))
    assert before > BOUND * 0.7
    many.tick(60)
    assert sum(held_by_each(many)) < BOUND * 0.8


def counted(overlay: Overlay) -> int:
    """What an overlay should say that it holds."""
    rows = [item for table in overlay.tables.values() for item in table.items()]
    return sum(ROW_OVERHEAD + len(key) + len(row) for key, row in rows)


def test_what_is_written_over_is_held_once() -> None:
    with in_memory(MemoryDisk(), bucket_bytes=1 << 20) as (store, _):
        ns = store.namespace("acme")
        for turn in range(3):
            ns.put("a", bytes(turn))
            ns.put_many([("a", b"1"), ("b", b"2"), ("b", b"3"), (f"c{turn}", b"")])
            ns.put("ttl", b"x", ttl=5 + turn)
            ns.put("ttl" if turn else "b", b"y")
            ns.append("log", b"more")
            ns.delete("a")
            ns.consumers("b").append([f"one{turn}"])
            ns.consumers("b").set([])
            active = sole(store).state.active
            assert active.held == counted(active)


def test_a_load_without_end_is_sealed_although_a_checkpoint_is_always_due() -> None:
    """The rows of what waits for its key block are in memory, however often one is due."""
    with in_memory(MemoryDisk(), bucket_bytes=1 << 20) as (store, _):
        bucket, ns = sole(store), store.namespace("acme")
        for number in range(9):
            ns.put(f"k{number}", bytes(64 << 10))
        assert len(unsealed(bucket)) > WAITING_SEGMENTS
        assert not seal_due(bucket, no_pace, lambda: True)
        assert len(unsealed(bucket)) == WAITING_SEGMENTS - 1
        assert may_wait(bucket)


def test_key_blocks_are_not_kept_in_memory() -> None:
    """Who opens a store looks at each to know what is sealed, and so does who splits."""
    disk = MemoryDisk()
    with in_memory(disk, bucket_bytes=1 << 20) as (store, _):
        ns = store.namespace("acme")
        for number in Random(0).sample(range(3_000), 3_000):
            ns.put(f"k{number:05}", bytes(500))
        store.tick(60)
        assert len(list(store.placement.directory)) > 1
        hold_no_blocks(store)
    with in_memory(disk, bucket_bytes=1 << 20) as (store, _):
        store.tick(60)
        hold_no_blocks(store)


def hold_no_blocks(store: Store) -> None:
    for bucket in store.placement.directory:
        assert bucket.log.ended.keys() == bucket.log.sealed != set()
        assert bucket.log._blocks == {}
