"""When a checkpoint is due: not before it is worth it, and not after a bound (rule 4)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast.engines.memory import MemoryDisk
from holdfast.limits import SECOND_NS
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock
from holdfast.upkeep import upkeep
from tests.growth.growing import in_memory

BUCKET_BYTES = 1 << 20


@pytest.fixture
def house() -> Iterator[tuple[Store, ManualClock]]:
    with in_memory(MemoryDisk(), bucket_bytes=BUCKET_BYTES) as house:
        yield house


def tick_on(store: Store, clock: ManualClock) -> None:
    for _ in range(4):
        clock.advance(2 * SECOND_NS)
        store.tick(60)


def fill(store: Store, count: int) -> None:
    store.namespace("acme").put_many((f"k{number:05}", bytes(500)) for number in range(count))


def waiting(store: Store) -> list[int]:
    """Records that each bucket has not absorbed."""
    return [bucket.state.records() for bucket in store.placement.directory]


def test_who_is_interrupted_while_it_waits_waits_no_longer(
    house: tuple[Store, ManualClock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else upkeep would leave work to a caller that is gone."""
    store, clock = house

    def interrupted() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.upkeep, "hurry", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.collect()
    fill(store, 900)
    for number in range(900):
        store.namespace("acme").put(f"k{number:05}", b"")
    tick_on(store, clock)
    assert store.status().dead_bytes < 200_000


def test_little_is_not_absorbed(house: tuple[Store, ManualClock]) -> None:
    store, clock = house
    fill(store, 200)
    tick_on(store, clock)
    assert waiting(store) == [200]
    (bucket,) = store.placement.directory
    assert bucket.absorbed is None


@pytest.mark.parametrize("bound", ["OVERLAY_RECORDS", "OVERLAY_BYTES"])
def test_a_large_overlay_is_absorbed(
    house: tuple[Store, ManualClock], monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    store, clock = house
    monkeypatch.setattr(upkeep, bound, {"OVERLAY_RECORDS": 200, "OVERLAY_BYTES": 20_000}[bound])
    monkeypatch.setattr(upkeep.Backlog, "weight", lambda _: 0.0)  # nor is all together too much
    fill(store, 200)
    tick_on(store, clock)
    assert waiting(store) == [0]


def test_all_overlays_together_are_bounded(
    house: tuple[Store, ManualClock], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, clock = house
    fill(store, 6_000)
    tick_on(store, clock)
    store.rebuild()  # every view begins anew, and there is something to be absorbed
    fill(store, 6_000)
    for bucket in list(store.placement.directory):
        bucket.finish_birth()
    before = held_bytes(store)
    assert len([held for held in waiting(store) if held]) > 2
    most = before // 3
    monkeypatch.setattr(upkeep, "OVERLAY_BYTES", most)
    store.upkeep._bound_memory()
    assert 0 < held_bytes(store) <= 2 * most


def held_bytes(store: Store) -> int:
    """Memory of all overlays."""
    return sum(bucket.state.bytes_held() for bucket in store.placement.directory)
