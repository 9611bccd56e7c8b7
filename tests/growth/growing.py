"""Stores that grow and shrink in tests, and what must hold of them at any moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import Final

from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.errors import Moved
from holdfast.store.namespace import Namespace
from holdfast.store.opening import open_on
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.values import BucketStatus

LEAST: Final = 64 * 1024  # bytes of the smallest bucket
SECOND_NS: Final = 1_000_000_000
ORDERS: Final = ("ascending", "descending", "random", "outside in", "inside out")


@contextmanager
def in_memory(
    disk: Disk | None = None, *, bucket_bytes: int = LEAST, sync: str = "never", seed: int = 0
) -> Iterator[tuple[Store, ManualClock]]:
    """A store in memory with small buckets, its upkeep moved by hand."""
    clock = ManualClock()
    store = open_on(
        MemoryDisk() if disk is None else disk,
        "store",
        sync=sync,  # type: ignore[arg-type]
        bucket_bytes=bucket_bytes,
        clock=clock,
        entropy=SeededEntropy(seed),
    )
    with store:
        yield store, clock


def ordered(keys: list[str], order: str, seed: int = 0) -> list[str]:
    """Sorted keys in the order of a workload."""
    if order == "descending":
        return keys[::-1]
    if order == "random":
        return Random(seed).sample(keys, len(keys))
    if order in {"outside in", "inside out"}:
        half = len(keys) // 2
        pairs = zip(keys[:half], reversed(keys[half:]), strict=False)
        mixed = [key for pair in pairs for key in pair]
        return mixed if order == "outside in" else mixed[::-1]
    return keys


def hold_tiling(buckets: Iterable[BucketStatus]) -> None:
    """Ranges meet: from the lowest key to the highest, without a gap or an overlap."""
    edge: tuple[str, str] | None = None
    seen = set()
    for bucket in buckets:
        assert bucket.start == edge
        assert bucket.id not in seen
        seen.add(bucket.id)
        edge = bucket.stop
    assert edge is None


def hold_in_one_bucket(store: Store, space: str, key: str, value: bytes) -> None:
    """Exactly one bucket holds a key, the one that ``locate`` names; the others say where."""
    place = store.locate(space, key)
    answers: dict[str, object] = {}
    for bucket in store.status().buckets:
        try:
            answers[bucket.id] = store.bucket(bucket.id).get(space, key)
        except Moved as moved:
            answers[bucket.id] = moved.place
    assert answers == {one: value if one == place.bucket else place for one in answers}
    assert place.bucket in answers


def hold_contents(ns: Namespace, model: Mapping[str, bytes]) -> None:
    """Every object is there, and nothing else, in order."""
    assert list(ns.list()) == sorted(model)
    for key, value in model.items():
        assert ns.get(key) == value


def tick_on(store: Store, clock: ManualClock, times: int = 1) -> None:
    """Let upkeep see ``times`` times two seconds pass."""
    for _ in range(times):
        clock.advance(2 * SECOND_NS)
        store.tick()


def least_buckets(store: Store, bucket_bytes: int = LEAST) -> int:
    """The fewest buckets that could hold what is alive."""
    return max(1, -(-store.status().live_bytes // bucket_bytes))
