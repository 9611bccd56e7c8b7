"""A full disk: growth is refused by name, deletes and collections go on, space comes back."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from random import Random
from shutil import which
from threading import Thread

import pytest

import holdfast
from holdfast.bucket import commit, fork
from holdfast.bucket.checkpoint import checkpoint
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import StorageFailed
from holdfast.placement.choose import middle
from holdfast.placement.reserve import Reserve
from holdfast.store.namespace import Namespace
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock
from holdfast.testing.disk import FullDisk
from tests.growth.growing import hold_contents, in_memory, tick_on

CAPACITY = 2 << 20
BUCKET = 1 << 20  # segments of 64 KiB
VALUE = b"v" * 1_000


def fill(ns: Namespace) -> dict[str, bytes]:
    """Put until the disk is full; what was stored."""
    model: dict[str, bytes] = {}
    refused: StorageFailed | None = None
    for number in range(CAPACITY // 1_000):
        key = f"k{number:05d}"
        try:
            ns.put(key, VALUE)
        except StorageFailed as error:
            refused = error
            break
        model[key] = VALUE
    assert refused is not None
    assert refused.errno == "ENOSPC"
    assert len(model) > CAPACITY // 1_000 // 2
    return model


@pytest.mark.parametrize("sync", ["always", "never"])
def test_growth_is_refused_and_changes_nothing(sync: str) -> None:
    disk = FullDisk(MemoryDisk(), CAPACITY)
    with in_memory(disk, bucket_bytes=BUCKET, sync=sync) as (store, _):
        ns = store.namespace("acme")
        model = fill(ns)
        for write in (
            lambda: ns.put("more", VALUE),
            lambda: ns.put("k00000", b""),
            lambda: ns.append("k00000", b"more"),
            lambda: ns.put_many([("more", VALUE)] * 3),
            lambda: ns.put_many([("k00000", VALUE), ("k00001", b"")], atomic=True),
            lambda: ns.put("large", VALUE * 3_000),
        ):
            with pytest.raises(StorageFailed):
                write()
        hold_contents(ns, model)
        assert store.check().ok


@pytest.mark.parametrize("sync", ["always", "never"])
@pytest.mark.parametrize("order", ["ascending", "random"])
def test_deletes_go_on_until_there_is_room_again(sync: str, order: str) -> None:
    disk = FullDisk(MemoryDisk(), CAPACITY)
    with in_memory(disk, bucket_bytes=BUCKET, sync=sync) as (store, clock):
        ns = store.namespace("acme")
        model = fill(ns)
        keys = list(model)
        if order == "random":
            Random(0).shuffle(keys)
        for key in keys[: len(keys) * 2 // 3]:
            ns.delete(key)
            del model[key]
        tick_on(store, clock, 2)
        for number in range(300):
            ns.put(f"new{number:03d}", VALUE)
            model[f"new{number:03d}"] = VALUE
        hold_contents(ns, model)
        store.collect()
        hold_contents(ns, model)
        assert store.check().ok


@pytest.mark.parametrize("order", ["ascending", "random"])
def test_deletes_that_fall_into_many_buckets_go_on(order: str) -> None:
    """Each needs a page of a log of its own, and shares its segments with others."""
    capacity = 4 << 20
    disk = FullDisk(MemoryDisk(), capacity)
    with in_memory(disk, sync="always") as (store, clock):
        ns = store.namespace("acme")
        model: dict[str, bytes] = {}
        with suppress(StorageFailed):
            for number in Random(1).sample(range(100_000), capacity // 1_000):
                ns.put(f"k{number:05d}", VALUE)
                model[f"k{number:05d}"] = VALUE
                if number % 50 == 0:
                    tick_on(store, clock)
        assert len(store.placement.directory) > 20
        keys = sorted(model)
        if order == "random":
            Random(2).shuffle(keys)
        for key in keys[:-50]:
            ns.delete(key)
            del model[key]
        assert store.collect().bytes_freed > 0
        hold_contents(ns, model)
        ns.put("more", VALUE)
        assert store.check().ok


def test_splits_that_are_not_finished_keep_no_delete_from_being_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A child reads through its parent, both hold what they share, and no view finds room."""
    disk = FullDisk(MemoryDisk(), 1 << 30)
    with in_memory(disk, sync="always") as (store, clock):
        ns, placement = store.namespace("acme"), store.placement
        keys = [f"k{number:05d}" for number in Random(1).sample(range(100_000), 1_000)]
        for key in keys:
            ns.put(key, VALUE)
        tick_on(store, clock, 2)
        for bucket in list(placement.directory):
            start = middle(bucket)
            assert start is not None
            fork.split(bucket, placement.new_id(), start, placement.directory.add)
        assert {bucket.doing() for bucket in placement.directory} == {"splitting", "borrowing"}
        room_for(store, disk, len(placement.directory) << 10)
        with monkeypatch.context() as patch:
            patch.setattr(fork, "_load_view", find_no_room)
            for key in Random(2).sample(keys, len(keys)):
                ns.delete(key)
        assert store.collect().bytes_freed > 1_000 * len(VALUE) // 2
        hold_contents(ns, {})
        ns.put("more", VALUE)
        hold_contents(ns, {"more": VALUE})
        assert store.check().ok


@pytest.mark.parametrize("step", ["log", "view"])
def test_a_merge_that_finds_no_room_goes_on(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Once it is decided: a segment that is begun when there is room, a view that waits for it."""
    with in_memory(sync="always") as (store, clock):
        ns = store.namespace("acme")
        model = {f"k{number:05d}": VALUE for number in range(200)}
        ns.put_many(list(model.items()))
        tick_on(store, clock, 2)
        for key in list(model)[10:]:
            ns.delete(key)
            del model[key]
        left, right, *_ = store.placement.directory
        switch = commit.switch
        with monkeypatch.context() as patch:
            if step == "view":
                patch.setattr(fork, "checkpoint", find_no_room)
            else:
                fails = lambda bucket: (find_no_room if bucket is left else switch)(bucket)  # noqa: E731
                patch.setattr(commit, "switch", fails)
            assert fork.merge(left, right)
        store.placement.directory.remove(right)
        assert bool(left.broken) is (step == "log")
        tick_on(store, clock, 2)
        for key in list(model):
            ns.put(key, b"new")
            model[key] = b"new"
        hold_contents(ns, model)
        assert store.check().ok


@pytest.mark.parametrize("sync", ["always", "never"])
def test_a_split_of_unsealed_segments_leaves_their_key_blocks_to_no_full_disk(sync: str) -> None:
    """They would take the reserve, and neither half could ever drop what both share."""
    disk = FullDisk(MemoryDisk(), 1 << 30)
    with in_memory(disk, bucket_bytes=BUCKET, sync=sync) as (store, _):
        ns, placement = store.namespace("acme"), store.placement
        keys = [f"k{number:05d}" for number in Random(1).sample(range(100_000), 6_000)]
        for key in keys:
            ns.put(key, b"v" * 100)
        placement.reserve.fit(placement.directory)
        (bucket,) = placement.directory
        start = middle(bucket)
        assert start is not None
        fork.split(bucket, placement.new_id(), start, placement.directory.add)
        room_for(store, disk, 16 << 10)
        with pytest.raises(StorageFailed):
            ns.put_many([("more", VALUE)] * 100)
        for key in keys:
            ns.delete(key)
        store.collect()
        hold_contents(ns, {})
        ns.put("more", VALUE)
        assert store.check().ok


def test_a_view_is_given_up_where_nothing_else_gives_room_to_delete(tmp_path: Path) -> None:
    """Its entries are in memory until there is room again."""
    with holdfast.open(tmp_path / "store", upkeep=False) as store:
        ns, pressure = store.namespace("acme"), store.corridor.pressure
        model = {f"k{number:05d}": VALUE for number in range(1_000)}
        ns.put_many(list(model.items()))
        (bucket,) = store.placement.directory
        checkpoint(bucket)
        assert bucket.view.disk_bytes()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Reserve, "can_go_on", lambda *_: False)
            assert pressure.relieve()
        assert not bucket.view.disk_bytes()
        hold_contents(ns, model)
        checkpoint(bucket)
        assert store.check().ok


def find_no_room(*_: object) -> None:
    """What a view says of a full disk."""
    raise StorageFailed(errno="ENOSPC", cause="DiskError")


SMALL_DISK = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from random import Random
import holdfast
from holdfast.errors import OutcomeUnknown, StorageFailed
path, order, threads = sys.argv[1:]
with holdfast.open(f"{path}/store", bucket_bytes=1 << 20) as store:
    ns = store.namespace("acme")
    keys = []
    try:
        for number in Random(1).sample(range(1_000_000), 60_000):
            ns.put(f"k{number:06d}", os.urandom(1_000))
            keys.append(f"k{number:06d}")
    except StorageFailed:
        pass
    assert len(keys) < 60_000, "the disk is not full"
    keys = sorted(keys) if order == "ascending" else Random(2).sample(keys, len(keys))
    def refuses(key):
        try:
            ns.delete(key, missing_ok=True)
        except (StorageFailed, OutcomeUnknown):
            return True
        return False
    with ThreadPoolExecutor(int(threads)) as pool:
        refused = sum(pool.map(refuses, keys))
    print(len(keys), refused)
    store.collect()
    store.tick(60)  # a bucket that found no room for a segment begins it now
    ns.put("more", b"")
with holdfast.open(f"{path}/store", upkeep=False) as store:
    assert sum(1 for _ in store.namespace("acme").list()) == refused + 1
    assert store.check().ok
"""


@pytest.mark.push
@pytest.mark.parametrize(("order", "threads"), [("ascending", 1), ("random", 1), ("random", 8)])
def test_a_disk_that_holds_the_index_too_can_be_emptied(
    tmp_path: Path, order: str, threads: int
) -> None:
    """The index takes room of its own, and who deletes what is lent to collectors."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "holdfast", str(tmp_path)]
    if which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        command = [sys.executable, "-c", SMALL_DISK, str(tmp_path), order, str(threads)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert done.returncode == 0, done.stderr
    stored, refused = map(int, done.stdout.split())
    assert refused <= stored // 100  # in the moments in which room is made


def test_locks_and_consumers_work_on_a_full_disk() -> None:
    with in_memory(FullDisk(MemoryDisk(), CAPACITY), bucket_bytes=BUCKET) as (store, _):
        ns = store.namespace("acme")
        fill(ns)
        with ns.lock("k00000") as lock:
            assert lock.fence
        ns.consumers("k00000").set(["one"])
        assert ns.consumers("k00000").list() == ["one"]


def room_for(store: Store, disk: FullDisk, free: int) -> None:
    """Leave so many bytes free."""
    del store
    disk.capacity = disk.used + free


def half_dead(store: Store, clock: ManualClock) -> dict[str, bytes]:
    """Objects of which two thirds are gone, evenly, and nothing collected yet."""
    ns = store.namespace("acme")
    model = {f"k{number:05d}": VALUE for number in range(900)}
    ns.put_many(list(model.items()))
    for number in range(900):
        if number % 3:
            ns.delete(f"k{number:05d}")
            del model[f"k{number:05d}"]
    del clock
    return model


@pytest.mark.parametrize("mode", ["compacting", "auto"])
def test_with_one_segment_free_copying_stops_and_compacting_goes_on(mode: str) -> None:
    disk = FullDisk(MemoryDisk(), 1 << 30)
    with in_memory(disk, bucket_bytes=BUCKET) as (store, clock):
        model = half_dead(store, clock)
        store.placement.reserve.lend()
        room_for(store, disk, BUCKET // 16)
        copied = store.collect("copying")
        assert (copied.segments, copied.bytes_moved) == (0, 0)
        report = store.collect(mode)  # type: ignore[arg-type]
        assert report.segments > 3
        assert report.bytes_freed - report.bytes_moved > 200_000
        hold_contents(store.namespace("acme"), model)
        assert store.check().ok


def test_with_little_room_one_segment_is_moved_at_a_time() -> None:
    disk = FullDisk(MemoryDisk(), 1 << 30)
    with in_memory(disk, bucket_bytes=BUCKET) as (store, clock):
        model = half_dead(store, clock)
        bucket, reserve = store.placement.directory.find(b""), store.placement.reserve
        room_for(store, disk, free := BUCKET // 16)
        while not reserve.is_roomy(bucket.id):
            room_for(store, disk, free := free + 4_096)
        assert free < sum(map(len, model.values()))  # not for all that is moved
        assert store.collect("compacting").segments > 3
        hold_contents(store.namespace("acme"), model)
        assert store.check().ok


def test_nobody_writes_while_collectors_have_the_reserve() -> None:
    with in_memory() as (store, _):
        ns = store.namespace("acme")
        ns.put("key", VALUE)
        writers = [Thread(target=ns.delete, args=("key",)), Thread(target=ns.put, args=("b", b""))]
        with store.corridor.pressure.lending():
            for writer in writers:
                writer.start()
                writer.join(0.1)
            assert list(ns.list()) == ["key"]
        for writer in writers:
            writer.join()
        assert list(ns.list()) == ["b"]


@pytest.mark.parametrize("sync", ["always", "never"])
def test_deletes_leave_collectors_their_room(sync: str) -> None:
    """A segment's worth that nobody else may use, however long nobody collects."""
    disk = FullDisk(MemoryDisk(), CAPACITY)
    with in_memory(disk, bucket_bytes=BUCKET, sync=sync) as (store, _):
        ns, pressure = store.namespace("acme"), store.corridor.pressure
        keys = list(fill(ns))
        Random(0).shuffle(keys)  # so that much of each segment is alive yet
        relieve, pressure.relieve = pressure.relieve, lambda: False
        gone = 0
        with suppress(StorageFailed):
            for gone, key in enumerate(keys):  # noqa: B007 - how far it came
                ns.delete(key)
        assert 10 < gone < len(keys) - 1
        pressure.relieve = relieve
        for key in keys[gone:]:
            ns.delete(key)
        hold_contents(ns, {})
        assert store.check().ok
