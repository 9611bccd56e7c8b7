"""What fails, or changes, halfway through a call that consists of several steps."""

from __future__ import annotations

import errno
import os
from threading import Thread

import pytest

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.seal import seal
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.engines.segment import FileSegment
from holdfast.errors import Busy, Closed, Corrupt, HoldfastError, StorageFailed
from holdfast.log.recovery import recover
from holdfast.operations import Operation
from holdfast.placement.directory import Directory
from holdfast.request.corridor import Corridor
from holdfast.store.opening import open_on
from holdfast.store.restore import restore_on
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import CrashDisk, FailingDisk
from holdfast.upkeep.backup import back_up
from holdfast.views.memory_view import MemoryView
from tests.segments import segments

MIB = 1 << 20
WAIT_S = 60


def opened(disk: Disk, seed: int = 1) -> Store:
    return open_on(
        disk,
        "store",
        bucket_bytes=MIB,
        clock=ManualClock(),
        entropy=SeededEntropy(seed),
        open_view=lambda _: MemoryView(),
        upkeep=False,
    )


def test_a_namespace_that_could_not_be_dropped_is_told() -> None:
    disk = FailingDisk(MemoryDisk(), 0)
    with opened(disk) as store:
        ns = store.namespace("acme")
        ns.put_many([(f"k{number}", b"secret") for number in range(5)])
        disk._span = range(disk.calls + 1, disk.calls + 2)
        with pytest.raises(HoldfastError):
            store.drop_namespace("acme")
        assert disk.failed == 1
        assert len(list(ns.list())) == 5
        store.drop_namespace("acme")
        assert list(ns.list()) == []


def test_a_file_whose_write_failed_stores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    write, parts = Corridor.write, []

    def refused(self: Corridor, operation: Operation) -> object:
        if len(getattr(operation, "value", b"")) == MIB:
            parts.append(operation)
            if len(parts) == 3:
                raise Busy(bucket="x")
        return write(self, operation)

    with opened(MemoryDisk()) as store:
        ns = store.namespace("acme")
        ns.put("large", b"old")
        file = ns.open("large", "wb")
        monkeypatch.setattr(Corridor, "write", refused)
        file.write(bytes(2 * MIB))
        with pytest.raises(Busy):
            file.write(bytes(2 * MIB))
        with pytest.raises(Closed):
            file.write(bytes(MIB))
        file.close()
        assert ns.get("large") == b"old"


def test_an_append_of_many_records_follows_its_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """A split has cut the parent's range, and the directory does not know the child yet."""
    told: list[object] = []
    with opened(MemoryDisk()) as store:
        ns, add = store.namespace("acme"), Directory.add
        for number in range(40):
            ns.put(f"k{number:03}", bytes(9_000))

        def between(self: Directory, child: Bucket) -> None:
            monkeypatch.setattr(Directory, "add", add)
            appending = Thread(target=lambda: told.append(ns.append("k039", bytes(MIB + 1))))
            appending.start()
            appending.join(0.2)
            add(self, child)
            appending.join(WAIT_S)

        monkeypatch.setattr(Directory, "add", between)
        (bucket,) = store.placement.directory
        child = store.placement._split(bucket, lambda: None)
        assert child is not None
        store.placement.directory.add(child)
        assert told == [9_000 + MIB + 1]


@pytest.mark.parametrize("killed", [False, True])
def test_a_backup_makes_durable_what_it_links(*, killed: bool) -> None:
    """The key block of a segment was written, and its sync failed or the process ended."""
    crash = CrashDisk(MemoryDisk())
    disk = FailingDisk(crash, 0, kinds=frozenset({"sync"}))
    store = opened(disk)
    ns = store.namespace("acme")
    for number in range(60):
        ns.put(f"k{number:03}", bytes([number]) * 2_000)
    (bucket,) = store.placement.directory
    disk._span = range(disk.calls + 1, disk.calls + 2)
    with pytest.raises(StorageFailed):
        seal(bucket, min(bucket.log.ended))
    if killed:
        store = opened(disk, 2)
    back_up(store.placement, disk, "backup", own_disk=True)
    after = crash.after_cut("dropped", seed=1)
    restore_on(after, "backup", "again")


def test_a_close_beside_a_read_that_opens_a_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(MemoryDisk())
    ns, park = store.namespace("acme"), FileSegment.park
    for number in range(60):
        ns.put(f"k{number:03}", bytes(5_000))
    log = next(iter(store.placement.directory)).log
    for number in sorted(log.ended)[1:]:
        log._open.pop(number, None)
    log.segment(min(log.ended))

    def read_beside(self: FileSegment) -> None:
        for number in log.ended:
            log.segment(number)
        park(self)

    monkeypatch.setattr(FileSegment, "park", read_beside)
    assert len(log.ended) > 2
    store.close()


def test_a_bucket_that_cannot_be_opened_after_a_repair_is_damaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the disk fails to read it then: whoever asked looked for it for ever."""
    disk = MemoryDisk()
    with opened(disk) as store:
        store.namespace("acme").put_many([(f"k{number}", bytes(3_000)) for number in range(50)])
    disk.open(segments(disk)[0]).write(30_000, [b"damage!"])
    store = opened(disk, 2)
    failing = [True]

    def refused(*args: object, **options: object) -> object:
        if failing and failing.pop():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return recover(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("holdfast.bucket.birth.recover", refused)
    assert not store.check(repair=True).ok
    assert failing == []
    with pytest.raises(Corrupt):
        store.namespace("acme").get("k1")
    store.close()
