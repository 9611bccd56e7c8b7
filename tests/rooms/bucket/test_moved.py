"""A reader holds a bucket that is cut or merged away while it looks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.bucket.bucket import Bucket
from holdfast.errors import Moved
from holdfast.store.store import Store
from tests.growth.growing import in_memory, tick_on

KEYS = [f"k{number:03d}" for number in range(40)]
LAST = b"acme\x00k039"


def between(bucket: Bucket, change: Callable[[], object]) -> None:
    """Let something happen just before the bucket's state is asked."""
    ask = bucket.state.entry

    def entry(key: bytes) -> bytes | None:
        bucket.state.entry = ask  # type: ignore[method-assign]
        change()
        return bucket.state.entry(key)

    bucket.state.entry = entry  # type: ignore[method-assign]


def cut(store: Store) -> None:
    (bucket,) = store.placement.directory
    assert store.placement.grow(bucket, b"acme\x00k000")
    for child in store.placement.directory:
        child.finish_birth()


@pytest.mark.parametrize("way", ["object", "row"])
def test_what_was_given_away_by_a_split_is_not_absent(way: str) -> None:
    with in_memory() as (store, _):
        ns = store.namespace("acme")
        for key in KEYS:
            ns.put(key, key.encode(), ttl=100)
        (bucket,) = store.placement.directory
        between(bucket, lambda: cut(store))
        with pytest.raises(Moved):
            getattr(bucket, way)(LAST)
        with pytest.raises(Moved):
            bucket._load_row(LAST, None)
        assert len(store.status().buckets) == 2
        assert ns.get("k039") == b"k039"


def test_what_went_with_a_merge_is_not_damaged() -> None:
    with in_memory() as (store, clock):
        ns = store.namespace("acme")
        for key in KEYS:
            ns.put(key, key.encode(), ttl=1_000)
        cut(store)
        tick_on(store, clock, 0)
        right = store.placement.directory.find(LAST)
        row = right.row(LAST)
        assert row is not None
        store.collect()
        assert len(store.status().buckets) == 1
        with pytest.raises(Moved):
            right._load_again(LAST, row)
        assert ns.get("k039") == b"k039"
