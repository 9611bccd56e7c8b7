"""After a clean close the buckets sleep until they are needed; whatever is odd, all are read."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import holdfast
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.dormant import Dormant, Told
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import Closed, Corrupt, Moved, StorageFailed
from holdfast.store import closed
from holdfast.store.closed import TOLD_LEAST
from holdfast.store.store import Store
from holdfast.testing.disk import MODES, CrashDisk, FailingDisk
from holdfast.testing.platter import copy_tree
from tests.growth.growing import SECOND_NS, hold_contents, hold_tiling, in_memory

PATH = f"store/{closed.NAME}"
MODEL = {f"k{number:05d}": bytes([number % 251]) * 1_000 for number in range(2_500)}


def copied(disk: MemoryDisk) -> MemoryDisk:
    return MemoryDisk(copy_tree(disk.root, {}))


def asleep(store: Store) -> int:
    return sum(bucket.dormant for bucket in store.placement.directory)


@pytest.fixture(scope="module")
def left() -> MemoryDisk:
    """A disk with a store of many buckets that was closed."""
    disk = MemoryDisk()
    with in_memory(disk) as (store, _):
        store.namespace("acme").put_many(list(MODEL.items())[:1_250])
        store.namespace("acme").put_many(list(MODEL.items())[1_250:])
        assert len(store.placement.directory) >= TOLD_LEAST
    return disk


@pytest.fixture
def disk(left: MemoryDisk) -> MemoryDisk:
    return copied(left)


def content(disk: MemoryDisk) -> bytes | None:
    try:
        file = disk.open(PATH)
    except FileNotFoundError:
        return None
    return file.read(0, file.size())


def leave(disk: MemoryDisk, data: bytes) -> None:
    disk.unlink(PATH)
    disk.open(PATH, create=True).write(0, [data])


def test_only_what_is_needed_is_opened(disk: MemoryDisk) -> None:
    before = content(disk)
    assert before is not None
    with in_memory(disk, seed=1) as (store, _):
        count = len(store.placement.directory)
        assert asleep(store) == count
        assert content(disk) is None
        ns = store.namespace("acme")
        assert ns.get("k00700") == MODEL["k00700"]
        ns.put("k00000", b"new")
        store.sync()
        assert asleep(store) == count - 2
        assert store.locate("acme", "k02000").bucket.encode() in before
        assert asleep(store) == count - 3  # who pays for a read is known to the bucket alone
    assert content(disk) is not None
    with in_memory(disk, seed=2) as (store, _):
        assert asleep(store) == count
        hold_contents(store.namespace("acme"), MODEL | {"k00000": b"new"})
        hold_tiling(store.status().buckets)
        assert asleep(store) == 0
        assert store.check().problems == ()


def test_a_large_bucket_sleeps_and_damage_in_a_small_one_is_met_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = MemoryDisk()
    with in_memory(disk, bucket_bytes=1 << 24) as (store, _):
        store.namespace("acme").put_many(MODEL)
    with in_memory(disk, seed=1, bucket_bytes=1 << 24) as (store, _):
        assert asleep(store) == 0
    monkeypatch.setattr(closed, "TOLD_BYTES", len(MODEL) * 1_000)
    with in_memory(disk, seed=2, bucket_bytes=1 << 24) as (store, _):
        assert asleep(store) == len(store.placement.directory) == 1
        hold_contents(store.namespace("acme"), MODEL)


def test_upkeep_opens_all_in_its_round(disk: MemoryDisk) -> None:
    with in_memory(disk, seed=1) as (store, clock):
        clock.advance(SECOND_NS)
        store.tick(600)
        assert asleep(store) == 0


def test_who_comes_second_finds_it_open(disk: MemoryDisk) -> None:
    """As whoever waited for the first, or looked at what was missing just before it came."""
    with in_memory(disk, seed=1) as (store, _):
        bucket = store.placement.directory.find(b"acme\x00k00700")
        assert isinstance(bucket, Dormant)
        log = bucket.log
        assert type(bucket) is Bucket
        Dormant.wake(bucket)
        assert Dormant.__getattr__(bucket, "log") is log
        assert bucket.log is log


def test_versions_and_time_go_on(disk: MemoryDisk) -> None:
    with in_memory(disk, seed=1) as (store, clock):
        clock.advance(1_000 * SECOND_NS)
        first = store.namespace("acme").put("k00001", b"1", ttl=10)
    with in_memory(disk, seed=2) as (store, clock):  # wall time is a thousand seconds back
        ns = store.namespace("acme")
        assert first.expires_ns is not None
        assert ns.put("k02400", b"1", ttl=10).expires_ns or first.expires_ns <= 0
        assert ns.put("k00001", b"2").version > first.version


def test_after_a_crash_nothing_is_believed(disk: MemoryDisk) -> None:
    """What was read is gone durably before the store can be written to."""
    crash = CrashDisk(disk)
    with in_memory(crash, seed=1) as (store, _):
        store.namespace("acme").put("k00000", b"new")
        store.sync()
        for mode in MODES:
            after = crash.after_cut(mode, seed=1)
            assert content(after) is None
            with in_memory(after, seed=2) as (again, _):
                assert asleep(again) == 0
                hold_contents(again.namespace("acme"), MODEL | {"k00000": b"new"})


def every_byte_flipped(data: bytes) -> list[bytes]:
    places = [*range(32), *range(32, len(data), 97)]
    return [data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :] for at in places]


def test_a_damaged_one_is_not_believed(left: MemoryDisk) -> None:
    data = content(left) or b""
    for odd in (*every_byte_flipped(data), data[:-1], data[:9], b"", data + b"\0"):
        assert closed._unpacked(odd) is None
    disk = copied(left)
    leave(disk, data[:-1])
    with in_memory(disk, seed=1) as (store, _):
        assert asleep(store) == 0
        hold_contents(store.namespace("acme"), MODEL)


def of_another_store(told: closed.Closed) -> closed.Closed:
    return msgspec.structs.replace(told, store=b"\0" * 16)


def of_another_life(told: closed.Closed) -> closed.Closed:
    return msgspec.structs.replace(told, incarnation=told.incarnation + 1)


def with_one_bucket_less(told: closed.Closed) -> closed.Closed:
    return msgspec.structs.replace(told, buckets=told.buckets[1:])


def with_one_segment_more(told: closed.Closed) -> closed.Closed:
    first, *others = told.buckets
    more = msgspec.structs.replace(first, numbers=(*first.numbers, 9_999))
    return msgspec.structs.replace(told, buckets=(more, *others))


def with_a_gap(told: closed.Closed) -> closed.Closed:
    first, second, *others = told.buckets
    later = msgspec.structs.replace(second, start=second.start + b"\0")
    return msgspec.structs.replace(told, buckets=(first, later, *others))


@pytest.mark.parametrize(
    "change",
    [of_another_store, of_another_life, with_one_bucket_less, with_one_segment_more, with_a_gap],
)
def test_one_that_does_not_fit_is_not_believed(
    disk: MemoryDisk, change: Callable[[closed.Closed], closed.Closed]
) -> None:
    told = closed._unpacked(content(disk) or b"")
    assert told is not None
    closed.put(disk, "store", change(told))
    with in_memory(disk, seed=1) as (store, _):
        assert asleep(store) == 0
        hold_contents(store.namespace("acme"), MODEL)


def test_a_log_that_says_otherwise_is_refused(disk: MemoryDisk) -> None:
    """Two ranges exchanged: what no opening could notice, the buckets do."""
    told = closed._unpacked(content(disk) or b"")
    assert told is not None
    first, second, *others = sorted(told.buckets, key=lambda one: one.start)
    exchanged = (
        Told(second.bucket, first.start, first.stop, second.numbers, 0),
        Told(first.bucket, second.start, second.stop, first.numbers, 0),
    )
    closed.put(disk, "store", msgspec.structs.replace(told, buckets=(*exchanged, *others)))
    with in_memory(disk, seed=1) as (store, _):
        ns = store.namespace("acme")
        with pytest.raises(Corrupt):
            ns.get("k00000")
        with pytest.raises(StorageFailed):
            ns.put("k00000", b"lost?")
        assert ns.get("k02400") == MODEL["k02400"]
    assert content(disk) is None
    with in_memory(disk, seed=2) as (store, _):
        hold_contents(store.namespace("acme"), MODEL)


def test_one_that_cannot_be_taken_away_is_not_read(disk: MemoryDisk) -> None:
    for kind in ("unlink", "sync_folder"):
        refusing = FailingDisk(disk, 1, error=errno.EIO, times=99, kinds={kind})
        with pytest.raises(StorageFailed), in_memory(refusing, seed=1):
            pass
    with in_memory(disk, seed=1) as (store, _):
        hold_contents(store.namespace("acme"), MODEL)


def test_a_close_that_cannot_leave_one_is_a_close(disk: MemoryDisk) -> None:
    refusing = FailingDisk(disk, 0, error=errno.ENOSPC, times=99, kinds={"create", "rename"})
    with in_memory(refusing, seed=1) as (store, _):
        store.namespace("acme").put("k00000", b"new")
        refusing._span = range(refusing.calls + 1, 1 << 60)
    assert content(disk) is None
    with in_memory(disk, seed=2) as (store, _):
        hold_contents(store.namespace("acme"), MODEL | {"k00000": b"new"})


def test_a_disk_that_refuses_for_a_moment_is_asked_again(disk: MemoryDisk) -> None:
    refusing = FailingDisk(disk, 0, error=errno.EIO, kinds={"read"})
    with in_memory(refusing, seed=1) as (store, _):
        refusing._span = range(refusing.calls + 1, refusing.calls + 2)
        with pytest.raises(StorageFailed):
            store.namespace("acme").get("k00000")
        assert store.namespace("acme").get("k00000") == MODEL["k00000"]


def test_a_store_that_is_not_sound_leaves_none(disk: MemoryDisk) -> None:
    with in_memory(disk, seed=1) as (store, _):
        bucket = store.placement.directory.find(b"acme\x00k00000")
        assert bucket.broken is None
        bucket.broken = "for this test"
    assert content(disk) is None


def test_what_sleeps_when_the_store_is_closed_never_wakes(disk: MemoryDisk) -> None:
    with in_memory(disk, seed=1) as (store, _):
        bucket = store.placement.directory.find(b"acme\x00k00000")
    assert isinstance(bucket, Dormant)
    with pytest.raises(Closed):
        _ = bucket.log
    with pytest.raises(Moved):
        bucket.load(b"acme\x00k00000")
    assert store.path == "store"


def test_data_folders_without_any_bucket_are_no_new_store(tmp_path: Path) -> None:
    """A disk that is not mounted is an empty folder: a second store would begin there."""
    data, root = tmp_path / "disk", tmp_path / "store"
    with holdfast.open(root, data_dirs=[data]) as store:
        store.namespace("acme").put("k", b"1")
    data.rename(tmp_path / "away")
    data.mkdir()
    for _ in range(2):
        with pytest.raises(StorageFailed, match="none of its buckets"):
            holdfast.open(root)
        assert not any(path.is_dir() for path in data.iterdir())
    for path in data.iterdir():
        path.unlink()
    data.rmdir()
    (tmp_path / "away").rename(data)
    with holdfast.open(root) as store:
        assert store.namespace("acme").get("k") == b"1"
