"""Plain stores beside records of other kinds: some share a group with them, many have their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.commit import MANY
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import StorageFailed
from holdfast.log.records import Type
from holdfast.store.store import Store
from tests.growth.growing import in_memory
from tests.rooms.gate import Gate
from tests.rooms.server.test_reading import wait_until

FEW = 40
ROOMY = 64 << 20


def only(store: Store) -> Bucket:
    (bucket,) = store.placement.directory
    return bucket


def kinds_of(bucket: Bucket) -> list[list[Type]]:
    """The types of the records of each group that has more than one record."""
    groups = [list(group.records()) for group in bucket.log.groups(bucket.log.number)]
    return [[Type(record.type) for record in group] for group in groups if len(group) > 1]


def values_of(count: int) -> dict[str, bytes]:
    return {f"k{number:04d}": b"%d" % number for number in range(count)}


@contextmanager
def while_it_syncs(
    disk: Gate, store: Store, *others: tuple[Callable[[], object], Callable[[], bool]]
) -> Iterator[None]:
    """Begin a write that its sync holds up, then others behind it, each until something holds."""
    disk.shut = True
    threads = [Thread(target=_tried, args=(lambda: store.namespace("acme").put("held", b"1"),))]
    threads[0].start()
    assert disk.entered.wait(30)
    for work, holds in others:
        threads.append(Thread(target=work))
        threads[-1].start()
        wait_until(holds)
    disk.go.set()
    for thread in threads:
        thread.join(30)
    yield


def _tried(work: Callable[[], object]) -> None:
    try:
        work()
    except StorageFailed:
        return


def gathered(bucket: Bucket) -> int:
    return 0 if bucket.gathering is None else bucket.gathering.count


@pytest.mark.parametrize("count", [FEW, MANY])
def test_stores_behind_a_delete_are_all_there_and_counted_once(count: int) -> None:
    disk, values = Gate(MemoryDisk(), "sync"), values_of(count)
    with in_memory(disk, bucket_bytes=ROOMY, sync="always") as (store, _):
        ns, bucket = store.namespace("acme"), only(store)
        ns.put("gone", b"1")
        ns.put("k0001", b"before")

        def waits() -> bool:
            group = bucket.gathering
            return group is not None and (group.count > 1 or len(group.waiters) > 1)

        with while_it_syncs(
            disk,
            store,
            (lambda: ns.delete("gone"), lambda: gathered(bucket) == 1),
            (lambda: ns.put_many(values), waits),
        ):
            told = {key: ns.get(key) for key in values}
        assert told == values
        assert not ns.exists("gone")
        stored = [Type.STORE] * count
        assert kinds_of(bucket) == [stored if count == MANY else [Type.DELETE, *stored]]
        live = bucket.resolve_all().total()
        ns.put_many(values)
        assert bucket.resolve_all().total() == live
        store.collect("compacting")
        assert {key: ns.get(key) for key in values} == values
    with in_memory(disk, bucket_bytes=ROOMY, sync="always") as (store, _):
        assert only(store).resolve_all().total() == live
        assert {key: store.namespace("acme").get(key) for key in values} == values


def test_many_that_waited_for_a_group_that_failed_are_stored() -> None:
    disk, values = Gate(MemoryDisk(), "sync", refuses=True), values_of(MANY)
    with in_memory(disk, bucket_bytes=ROOMY, sync="always") as (store, _):
        ns, bucket = store.namespace("acme"), only(store)
        ns.put("stays", b"1")
        with while_it_syncs(
            disk,
            store,
            (lambda: _tried(lambda: ns.delete("stays")), lambda: gathered(bucket) == 1),
            (
                lambda: ns.put_many(values),
                lambda: bucket.gathering is not None and len(bucket.gathering.waiters) == 2,
            ),
        ):
            assert {key: ns.get(key) for key in values} == values
        assert ns.exists("stays")
        assert not ns.exists("held")
