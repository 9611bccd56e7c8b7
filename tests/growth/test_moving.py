"""Requests on their way while the ranges of buckets change: between two steps of a reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import checkpoint
from holdfast.limits import READ_GRACE_NS
from holdfast.store.namespace import Namespace
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock
from tests.growth.growing import in_memory, tick_on

VALUE = b"v" * 600
KEYS = [f"k{number:04d}" for number in range(400)]


@pytest.fixture
def grown() -> Iterator[tuple[Store, Namespace, ManualClock]]:
    """Some buckets, most of whose keys were deleted since: upkeep would merge them."""
    with in_memory() as (store, clock):
        ns = store.namespace("acme")
        ns.put_many([(key, VALUE) for key in KEYS])
        tick_on(store, clock)
        assert len(store.placement.directory.table[1]) > 3
        for key in set(KEYS) - set(KEYS[::40]):
            ns.delete(key)
        yield store, ns, clock


def merge_all(store: Store, clock: ManualClock) -> None:
    tick_on(store, clock, 60)
    clock.advance(READ_GRACE_NS + 1)
    tick_on(store, clock)
    assert len(store.placement.directory.table[1]) == 1


def before_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, bucket: Bucket, then: Callable[[], None]
) -> None:
    """Whoever asks a bucket for its first page is held there while something happens."""
    kept, waiting = bucket.page, [then]

    def page(*args: object, **named: object) -> object:
        found = kept(*args, **named)  # type: ignore[arg-type]
        if waiting:
            waiting.pop()()
        return found

    monkeypatch.setattr(bucket, "page", page)


def test_a_list_misses_nothing_that_is_merged_behind_its_page(
    grown: tuple[Store, Namespace, ManualClock], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, ns, clock = grown
    first = store.placement.directory.table[1][0]
    before_it_goes_on(monkeypatch, first, lambda: merge_all(store, clock))
    assert list(ns.list()) == KEYS[::40]


def test_a_list_tells_nothing_twice_that_is_split_off_behind_its_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with in_memory(bucket_bytes=1 << 20) as (store, _):
        ns = store.namespace("acme")
        ns.put_many([(key, VALUE) for key in KEYS])
        (bucket,) = store.placement.directory.table[1]

        def split() -> None:
            assert store.placement.grow(bucket, bucket.start)

        monkeypatch.setattr(bucket, "is_full", lambda: True)
        before_it_goes_on(monkeypatch, bucket, split)
        assert list(ns.list()) == KEYS
        assert bucket.stop < b"acme\0" + KEYS[-1].encode()


ASKED: dict[str, Callable[[Namespace, str], object]] = {
    "get": lambda ns, key: ns.get(key) == VALUE,
    "get a range": lambda ns, key: ns.get(key, range=(1, 3)) == b"vv",
    "get_many": lambda ns, key: ns.get_many([key]) == [VALUE],
    "exists": lambda ns, key: ns.exists(key),
    "stat": lambda ns, key: ns.stat(key).size == len(VALUE),
    "list": lambda ns, key: list(ns.list(key)) == [key],
    "entries": lambda ns, key: [found.key for found in ns.entries(key)] == [key],
    "consumers": lambda ns, key: ns.consumers(key).list() == [],
}


@pytest.mark.parametrize("asked", ASKED)
def test_a_reader_that_finds_a_view_closed_looks_where_its_keys_are_now(
    grown: tuple[Store, Namespace, ManualClock], monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """Between a look at a bucket's range and one at its view the bucket may be merged away."""
    store, ns, clock = grown
    directory = store.placement.directory
    gone = directory.find(b"acme\0" + KEYS[-40].encode())
    checkpoint(gone)  # nothing of it is in memory
    assert ns.get(KEYS[-40]) == VALUE  # it is where this handle looks first from now on
    start, stop = gone.start, gone.stop
    merge_all(store, clock)
    gone.view.close()  # as it is where views are files, and gone.start and stop are
    gone.start, gone.stop, late = start, stop, [gone]  # what a reader that is late has seen
    find = directory.find
    monkeypatch.setattr(directory, "look_again", late.clear)
    monkeypatch.setattr(
        directory, "find", lambda key: late[0] if late and start <= key < stop else find(key)
    )
    assert ASKED[asked](ns, KEYS[-40])
    assert late == []
