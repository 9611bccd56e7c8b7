"""What a look costs does not depend on what else there is; counted in calls."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType

import holdfast
from holdfast.store import Namespace, Store
from holdfast.testing.clock import ManualClock, SeededEntropy
from tests.rooms.uncollected import uncollected

SMALL = 64 << 10


def opened() -> Store:
    """A store in memory that nobody but the test does anything in."""
    return holdfast.open(
        ":memory:",
        bucket_bytes=SMALL,
        clock=ManualClock(),
        entropy=SeededEntropy(1),
        upkeep=False,
    )


def calls_of(work: Callable[[], object]) -> int:
    """How many functions the work calls, those in C too, once everything is remembered."""
    counted = 0

    def count(_frame: FrameType, event: str, _what: object) -> None:
        nonlocal counted
        counted += event in {"call", "c_call"}

    work()
    before = sys.getprofile()
    with uncollected():
        sys.setprofile(count)
        try:
            work()
        finally:
            sys.setprofile(before)
    return counted


def grow(store: Store, name: str, keys: int) -> int:
    """Fill a namespace, and let it settle; how many buckets there are."""
    space = store.namespace(name)
    for start in range(0, keys, 50):
        space.put_many((f"k{i:05}", bytes(1_000)) for i in range(start, start + 50))
    store.rebuild()
    return len(store.status().buckets)


def listed(space: Namespace) -> list[str]:
    return list(space.list("k1"))


def test_a_get_costs_the_same_however_many_buckets_there_are() -> None:
    costs, buckets = [], []
    for keys in (200, 3_000):
        with opened() as store:
            buckets.append(grow(store, "acme", keys))
            space = store.namespace("acme")
            costs.append([calls_of(partial(space.get, key)) for key in ("k00007", "k00150")])
    assert buckets[0] * 10 <= buckets[1]
    assert costs[0] == costs[1]


def test_a_list_costs_the_same_however_much_others_hold() -> None:
    costs, buckets = [], []
    for keys in (50, 3_000):
        with opened() as store:
            store.namespace("acme").put_many((f"k{i}", b"x") for i in range(20))
            buckets.append(grow(store, "b", keys))
            space = store.namespace("acme")
            costs.append(calls_of(partial(listed, space)))
    assert buckets[0] * 10 <= buckets[1]
    assert costs[0] == costs[1]
