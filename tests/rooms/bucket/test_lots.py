"""What upkeep does by itself is decided in lots, and goes to disk with whoever writes between."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

import pytest

from holdfast.bucket import collect, commit, fork
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import checkpoint, no_pace
from holdfast.bucket.deciding import LOT, apply_in_lots
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import Moved, StorageFailed
from holdfast.operations import Delete
from holdfast.store.store import Store
from tests.growth.growing import in_memory

KEYS = [f"k{number:03}" for number in range(4 * LOT)]
CHILD = "0c" * 8


@pytest.fixture(params=["always", "never"])
def sync(request: pytest.FixtureRequest) -> str:
    told: str = request.param
    return told


@pytest.fixture
def store(sync: str) -> Iterator[Store]:
    with in_memory(MemoryDisk(), sync=sync, bucket_bytes=1 << 20) as (store, _):
        store.namespace("acme").put_many([(key, b"1") for key in KEYS])
        yield store


def only(store: Store) -> Bucket:
    (bucket,) = store.placement.directory
    return bucket


def deletes() -> list[Delete]:
    return [Delete(f"acme\0{key}".encode(), key) for key in KEYS]


def sizes(bucket: Bucket, start: int) -> list[int]:
    """Records in each group from a place on."""
    told = list(bucket.log.groups_at(bucket.log.number, start, bucket.log.stop))
    return [group.head.records for group in told]


def at_rest(number: int, act: Callable[[], object]) -> Callable[[], None]:
    """A pace that does something at one of its calls."""
    calls = 0

    def pace() -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            act()

    return pace


def test_what_nobody_takes_along_is_one_group_where_groups_are_synced(
    store: Store, sync: str
) -> None:
    bucket = only(store)
    start = bucket.log.stop
    assert apply_in_lots(bucket, deletes(), no_pace) == [1] * len(KEYS)
    assert sizes(bucket, start) == ([len(KEYS)] if sync == "always" else [LOT] * 4)
    assert list(store.namespace("acme").list()) == []


def test_whoever_writes_between_two_lots_takes_along_what_has_gathered(
    store: Store, sync: str
) -> None:
    ns, bucket = store.namespace("acme"), only(store)
    start = bucket.log.stop
    apply_in_lots(bucket, deletes(), at_rest(2, lambda: ns.put("between", b"2")))
    told = [2 * LOT + 1, 2 * LOT] if sync == "always" else [LOT, LOT, 1, LOT, LOT]
    assert sizes(bucket, start) == told
    assert list(ns.list()) == ["between"]


def fails_once(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next group fail: its sync, or where there is none its write."""
    name = "sync" if bucket.durable else "append"
    works = getattr(bucket.log, name)

    def refuses(*_: object) -> None:
        monkeypatch.setattr(bucket.log, name, works)
        raise OSError(errno.EIO, "refused")

    monkeypatch.setattr(bucket.log, name, refuses)


def write_and_fail(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def write() -> None:
        fails_once(only(store), monkeypatch)
        if only(store).durable:  # else the next lot meets it
            with pytest.raises(StorageFailed):
                store.namespace("acme").put("between", b"2")

    return write


def test_a_lot_that_fails_with_another_writer_is_told(
    store: Store, sync: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = at_rest(2, write_and_fail(store, monkeypatch))
    with pytest.raises(StorageFailed):
        apply_in_lots(only(store), deletes(), pace)
    left = KEYS[: 2 * LOT] if sync == "always" else KEYS[2 * LOT :]
    assert list(store.namespace("acme").list()) == left


def test_a_segment_stays_whose_records_could_not_be_moved(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ns, bucket = store.namespace("acme"), only(store)
    with commit.alone(bucket):
        commit.switch(bucket)
    (number,) = bucket.log.ended
    pace = at_rest(4, write_and_fail(store, monkeypatch))
    with pytest.raises(StorageFailed):
        collect.collect(bucket, [number], collect.Collected(), pace)
    assert number in bucket.log.ended
    assert ns.get_many(KEYS) == [b"1"] * len(KEYS)
    collect.collect(bucket, [number], collect.Collected())
    assert number not in bucket.log.ended
    assert ns.get_many(KEYS) == [b"1"] * len(KEYS)


def test_a_split_between_two_lots_settles_those_before_it(store: Store) -> None:
    bucket = only(store)
    checkpoint(bucket)

    def split() -> None:
        child = fork.split(bucket, CHILD, f"acme\0{KEYS[LOT]}".encode())
        assert child is not None
        store.placement.directory.add(child)

    with pytest.raises(Moved):
        apply_in_lots(bucket, deletes(), at_rest(1, split))
    assert bucket.gathering is None
    assert list(store.namespace("acme").list()) == KEYS[LOT:]
