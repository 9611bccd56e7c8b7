"""Reads are charged as writes are: by a record in the group that gathers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

from holdfast.bucket import counted, fork
from holdfast.bucket.bills import opened
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.settling import Settlement, begin, charge_reads, settle
from holdfast.charges import Terms
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.log.records import Type
from holdfast.store.opening import open_on
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock, SeededEntropy
from tests.rooms.gate import Gate

TERMS = Terms(1, c=1_000, egress_atto=3)
FUNDS = 10**9


def store_on(disk: Disk) -> Store:
    return open_on(disk, "s", clock=ManualClock(), entropy=SeededEntropy(7), upkeep=False)


def paying(bucket: Bucket) -> None:
    begin(bucket, b"acme", TERMS)
    settle(bucket, b"acme", Settlement(received=(1, FUNDS)))


def types_of(bucket: Bucket) -> list[Type]:
    groups = bucket.log.groups(bucket.log.number)
    return [Type(record.type) for group in groups for record in group.records()]


def test_who_writes_meanwhile_and_who_charges_share_a_sync() -> None:
    """Nobody who stores waits for the disk because somebody has read."""
    disk = Gate(MemoryDisk(), "sync")
    with store_on(disk) as store, ThreadPoolExecutor(3) as pool:
        (bucket,) = store.placement.directory
        paying(bucket)
        acme = store.namespace("acme")
        acme.put("a", b"123")
        for _ in range(5):
            acme.get("a")
        disk.shut = True
        calls: list[Future[object]] = [pool.submit(acme.put, "b", b"1")]
        assert disk.entered.wait(30)
        group = bucket.gather()
        joining: list[Callable[[], object]]
        joining = [lambda: charge_reads(bucket, b"acme"), lambda: acme.put("c", b"1")]
        for call in joining:
            before = len(group.bookings)
            calls.append(pool.submit(call))
            for _ in range(3_000):
                if len(group.bookings) > before:
                    break
                Event().wait(0.01)
        assert len(group.bookings) == 2
        disk.go.set()
        for one in calls:
            one.result(30)
        assert bucket.purses[b"acme"].charged_atto == 3 * 1_000 + 5 * (1_000 + 3 * 3)
        assert types_of(bucket)[-5:] == [
            *(Type.STORE, Type.CHARGE),
            *(Type.CHARGE, Type.STORE, Type.CHARGE),
        ]


def test_reads_are_on_one_bill_only() -> None:
    with store_on(MemoryDisk()) as store:
        (bucket,) = store.placement.directory
        paying(bucket)
        acme = store.namespace("acme")
        acme.put("a", b"123")
        with opened() as bill:
            acme.get("a")
            charge_reads(bucket, b"acme")
        assert bill.cost_atto == 1_000 + 3 * 3
        assert not bucket.reads[b"acme"]


def test_what_is_read_for_others_is_charged_where_no_key_of_theirs_lies() -> None:
    """As in a process that holds none of them: its log says so all the same."""
    disk = MemoryDisk()
    with store_on(disk) as store:
        store.namespace("m").put_many([("a", b"1"), ("b", b"2")])
        (left,) = store.placement.directory
        with store.placement.changing:
            right = fork.split(left, store.placement.new_id(), b"m\0b")
            assert right is not None
            store.placement.directory.add(right)
        paying(right)
        counted.count(right, b"acme\0a", "C", 3)
        charge_reads(right, b"acme")
        before = right.purses[b"acme"].kept()
        assert right.purses[b"acme"].charged_atto == 1_000 + 3 * 3
        for bucket in store.placement.directory:
            bucket.close()  # as a kill does it
    with store_on(disk) as again:
        assert again.placement.directory.find(b"m\0b").purses[b"acme"].kept() == before


def test_a_bucket_that_was_merged_away_charges_nothing() -> None:
    """Who has read there just now counts it there; its files are gone, and stay so."""
    with store_on(MemoryDisk()) as store:
        placement = store.placement
        (left,) = placement.directory
        paying(left)
        acme = store.namespace("acme")
        for key in ("a", "k"):
            acme.put(key, b"123")
        right = fork.split(left, placement.new_id(), b"acme\0k")
        assert right is not None
        placement.directory.add(right)
        assert placement.shrink() == 1
        counted.load(right, b"acme", 3)
        charge_reads(right, b"acme")
        assert list(placement.settings.ground.listing()) == [left.id]
