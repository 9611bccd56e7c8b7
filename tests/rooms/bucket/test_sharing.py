"""Long keys that agree in their first 480 bytes: a thousand of them, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import LimitExceeded
from holdfast.operations import Store as StoreOperation
from holdfast.store.namespace import Namespace
from holdfast.store.store import Store
from tests.growth.growing import LEAST, in_memory

HEAD = "ä" * 400
KEYS = [f"{HEAD}{'-' * 218}{number:06d}" for number in range(1_001)]
*HELD, MORE = KEYS


@pytest.fixture(params=["one bucket", "many buckets", "index"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "index":
        with holdfast.open(tmp_path / "data", sync="never", upkeep=False) as opened:
            yield opened
        return
    bucket_bytes = LEAST if request.param == "many buckets" else 64 << 20
    with in_memory(bucket_bytes=bucket_bytes) as (opened, _):
        yield opened


def hold(ns: Namespace, keys: list[str]) -> None:
    assert list(ns.list()) == keys
    assert ns.get_many(keys) == [key[-6:].encode() for key in keys]


def fill(ns: Namespace, *, by: int) -> None:
    pairs = [(key, key[-6:].encode()) for key in HELD]
    for at in range(0, len(pairs), by):
        ns.put_many(pairs[at : at + by])


def test_keys_have_a_kilobyte() -> None:
    assert {len(key.encode()) for key in KEYS} == {1_024}


def test_the_key_after_the_thousandth_is_refused_by_name(store: Store) -> None:
    ns = store.namespace("acme")
    fill(ns, by=100)
    hold(ns, HELD)
    for write in (
        lambda: ns.put(MORE, b"x"),
        lambda: ns.put(MORE, b"x", ttl=9),
        lambda: ns.append(MORE, b"x"),
        lambda: ns.put_many([(MORE, b"x")]),
        lambda: ns.put_many([(MORE, b"x")], atomic=True),
        lambda: ns.put(MORE, b"x" * (3 << 20)),
    ):
        with pytest.raises(LimitExceeded) as caught:
            write()
        assert caught.value.limit == "VIEW_KEYS_SHARED"
    hold(ns, HELD)
    store.collect()
    store.rebuild()
    hold(ns, HELD)
    assert store.check().ok


def test_what_is_there_can_be_replaced_and_what_goes_makes_room(store: Store) -> None:
    ns = store.namespace("acme")
    fill(ns, by=1_000)
    ns.put(HELD[7], HELD[7][-6:].encode())
    ns.put(HEAD[:200] + "-" * 600, b"")  # long too, but it agrees in fewer bytes
    ns.delete(HEAD[:200] + "-" * 600)
    store.rebuild()  # the view holds a thousand
    ns.delete(HELD[500])
    ns.put(MORE, MORE[-6:].encode())
    left = sorted({*KEYS} - {HELD[500]})
    hold(ns, left)
    store.rebuild()
    store.collect()
    hold(ns, left)
    assert store.check().ok


def test_a_batch_takes_as_many_as_there_is_room_for(store: Store) -> None:
    ns = store.namespace("acme")
    with pytest.raises(LimitExceeded):
        ns.put_many([(key, key[-6:].encode()) for key in KEYS])
    assert len(list(ns.list())) == 1_000
    assert store.check().ok


def test_those_of_a_group_on_its_way_are_counted() -> None:
    """Asked of the bucket itself: a door counts before, perhaps at the same time as others."""
    with in_memory(bucket_bytes=64 << 20) as (store, _):
        (bucket,) = store.placement.directory
        asked = [StoreOperation(b"acme\x00" + key.encode(), key, b"") for key in KEYS]
        *taken, refused = bucket.apply(asked)
        assert all(isinstance(receipt, holdfast.Receipt) for receipt in taken)
        assert isinstance(refused, LimitExceeded)


def test_locks_share_rows_too() -> None:
    with in_memory(bucket_bytes=64 << 20) as (store, _):
        ns = store.namespace("acme")
        held = [ns.lock(key) for key in HELD]
        with pytest.raises(LimitExceeded) as caught:
            ns.lock(MORE)
        assert caught.value.limit == "VIEW_KEYS_SHARED"
        store.rebuild()
        held[0].release()
        ns.lock(MORE).release()
        for lock in held[1:]:
            lock.release()
        assert store.check().ok


def test_notes_on_replaced_parts_never_fill_a_row() -> None:
    with in_memory(bucket_bytes=64 << 20) as (store, _):
        ns = store.namespace("acme")
        large = b"x" * ((1 << 20) + 1)
        for key in KEYS[:20]:
            ns.put(key, large)
        for key in KEYS[:20]:
            ns.delete(key)
        store.rebuild()
        assert list(ns.list()) == []
        assert store.check().ok
