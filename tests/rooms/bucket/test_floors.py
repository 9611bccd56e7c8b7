"""What a log still knows when the records that told it first are gone (rules 3, 6 and 7)."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.bucket import collect, commit, fork
from holdfast.bucket.birth import open_bucket
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import checkpoint
from holdfast.clock import BucketTime
from holdfast.engines.memory import MemoryDisk
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock
from holdfast.testing.platter import copy_tree
from holdfast.views.memory_view import MemoryView
from tests.growth.growing import SECOND_NS, in_memory, tick_on

HOUR_NS = 3_600 * SECOND_NS
CHILD = "0c" * 8


def the_bucket(store: Store) -> Bucket:
    (bucket,) = store.placement.directory
    return bucket


def end_segment(bucket: Bucket) -> int:
    """Its number."""
    with commit.alone(bucket):
        number = bucket.log.number
        commit.switch(bucket)
    return number


def crashed(disk: MemoryDisk) -> MemoryDisk:
    """The disk as whoever opens it next finds it; views in memory are gone."""
    return MemoryDisk(copy_tree(disk.root, {}))


def test_versions_and_time_go_on_where_no_record_is_left_to_tell_them() -> None:
    disk = MemoryDisk()
    with in_memory(disk) as (store, clock):
        ns, bucket = store.namespace("acme"), the_bucket(store)
        ns.put("kept", b"1")
        clock.advance(HOUR_NS)
        latest = ns.put("gone", b"2").version
        ns.delete("gone")
        end_segment(bucket)
        store.collect()
        end_segment(bucket)
        began = bucket.time.now_ns()
        disk = crashed(disk)
    with in_memory(disk) as (store, _):  # whose wall time is an hour behind
        assert the_bucket(store).time.now_ns() >= began
        assert store.namespace("acme").put("next", b"3").version > latest + 1


def test_a_time_mark_outlives_the_segment_that_it_stood_in() -> None:
    disk = MemoryDisk()
    with in_memory(disk) as (store, clock):
        ns, bucket = store.namespace("acme"), the_bucket(store)
        clock.advance(20 * SECOND_NS)  # marks go as far ahead as the store has lived
        ns.put("brief", b"x", ttl=10)
        tick_on(store, clock)
        end_segment(bucket)
        clock.advance(9 * SECOND_NS)
        assert not ns.exists("brief")
        disk = crashed(disk)
    disk.unlink("store/TIME")  # as for who opens the bucket elsewhere: its log has to tell
    with in_memory(disk) as (store, _):
        assert not store.namespace("acme").exists("brief")


def test_who_has_a_child_alone_goes_on_where_its_parent_was() -> None:
    disk = MemoryDisk()
    with in_memory(disk) as (store, clock):
        ns = store.namespace("acme")
        clock.advance(HOUR_NS)
        ns.put_many([(f"k{number:03d}", bytes(1_000)) for number in range(20)])
        latest = ns.put("a", b"").version
        child = fork.split(the_bucket(store), CHILD, b"acme\0k010")
        assert child is not None
        child.finish_birth()
        began = child.time.now_ns()
        alone = ManualClock()
        settings = msgspec.structs.replace(
            child.settings, clock=alone, time=BucketTime(alone), open_view=lambda _: MemoryView()
        )
        opened = open_bucket(settings, CHILD, settings.ground.listing()[CHILD])
        assert opened is not None
        assert opened.version >= latest
        assert settings.time.now_ns() == began


def test_what_no_view_has_absorbed_is_not_collected() -> None:
    with in_memory() as (store, _):
        ns, bucket = store.namespace("acme"), the_bucket(store)
        ns.put("a", b"1")
        first = end_segment(bucket)
        ns.put("a", b"2")
        assert checkpoint(bucket)
        ns.put("a", b"3")
        second = end_segment(bucket)
        ns.put("a", b"4")
        third = end_segment(bucket)
        ns.put("a", b"5")
        end_segment(bucket)
        assert collect.candidates(bucket, 1) == [first]
        assert checkpoint(bucket)
        assert collect.candidates(bucket, 1) == [first, second, third, third + 1]


@pytest.mark.parametrize("moves", [1, 2])
def test_an_unlock_stays_while_an_older_segment_holds_the_lock(moves: int) -> None:
    disk = MemoryDisk()
    with in_memory(disk) as (store, _):
        ns, bucket = store.namespace("acme"), the_bucket(store)
        ns.put("a", b"kept")
        lock = ns.lock("a", ttl=30)
        end_segment(bucket)
        ns.unlock("a", lock.id)
        for _ in range(moves):
            collect.collect(bucket, [end_segment(bucket)], collect.Collected())
        end_segment(bucket)
        disk = crashed(disk)
    with in_memory(disk) as (store, _):
        again = store.namespace("acme").lock("a")
        assert again.fence > lock.fence


def test_what_a_backup_has_to_copy_is_not_collected() -> None:
    with in_memory() as (store, _):
        ns, bucket = store.namespace("acme"), the_bucket(store)
        ns.put("a", b"1")
        first = end_segment(bucket)
        ns.put("a", b"2")
        second = end_segment(bucket)
        bucket.log.pinned[first] += 1
        assert collect.candidates(bucket, 1) == [second]
        collect.collect(bucket, [first], collect.Collected())
        assert first in bucket.log.ended
