"""Backups: one moment of the store, whatever writers, collectors and splits do meanwhile."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import holdfast
from holdfast.bucket import fork
from holdfast.bucket.bucket import Bucket
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.errors import Closed, Corrupt, InvalidValue, StorageFailed
from holdfast.store.opening import open_on
from holdfast.store.restore import restore_on
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import MODES, CrashDisk, FailingDisk, Mode, PowerCut
from holdfast.upkeep.backup import back_up, note
from holdfast.upkeep.manifest import NAME, read_manifest

SMALL = 64 * 1024
State = dict[str, dict[str, bytes]]


def opened(disk: Disk, path: str = "data", seed: int = 1, bucket_bytes: int = SMALL) -> Store:
    return open_on(
        disk, path, bucket_bytes=bucket_bytes, clock=ManualClock(), entropy=SeededEntropy(seed)
    )


def fill(store: Store, count: int = 120, size: int = 1_000) -> None:
    ns = store.namespace("acme")
    for number in range(count):
        ns.put(f"k{number:03d}", bytes([number % 256]) * size)
    for number in range(0, count, 3):
        ns.delete(f"k{number:03d}")
    store.namespace("other").put("large", os.urandom(1) * 3_000_000)


def state_of(store: Store) -> State:
    return {
        name: {key: store.namespace(name).get(key) for key in store.namespace(name).list()}
        for name in store.namespaces()
    }


def restored(disk: Disk, path: str = "backup", into: str = "again") -> State:
    restore_on(disk, path, into)
    with opened(disk, into, seed=2) as store:
        assert store.check().ok
        return state_of(store)


def test_a_backup_is_the_state_of_its_moment() -> None:
    disk = Plain()
    with opened(disk) as store:
        fill(store)
        before = state_of(store)
        store.backup("backup")
        store.namespace("acme").put("later", b"1")
        store.namespace("acme").delete("k001")
        store.collect()
    assert restored(disk) == before


class Plain(FailingDisk):
    """A disk in memory that is not taken for a ``:memory:`` store's."""

    def __init__(self) -> None:
        super().__init__(MemoryDisk(), 0)


def test_sealed_segments_are_linked_and_the_rest_is_copied(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data", sync="never", upkeep=False, bucket_bytes=SMALL) as store:
        fill(store)
        store.tick(60)
        store.backup(tmp_path / "backup")
        told = {
            f"{bucket.id}/{number:016x}.seg": number in bucket.log.sealed
            for bucket in store.placement.directory
            for number in (*bucket.log.ended, bucket.log.number)
        }
        files = {
            str(path.relative_to(tmp_path / "backup")): path.stat().st_nlink > 1
            for path in (tmp_path / "backup").glob("*/*.seg")
        }
        assert files == told
        assert set(files.values()) == {True, False}


def test_after_an_open_sealed_segments_are_known_as_such(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data", sync="never", upkeep=False, bucket_bytes=SMALL) as store:
        fill(store)
        store.tick(60)
    with holdfast.open(tmp_path / "data", upkeep=False, bucket_bytes=SMALL) as store:
        store.backup(tmp_path / "backup")
    links = [path.stat().st_nlink > 1 for path in (tmp_path / "backup").glob("*/*.seg")]
    assert any(links)


def test_what_a_backup_shares_does_not_change(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "data", sync="never", upkeep=False, bucket_bytes=SMALL) as store:
        fill(store)
        store.tick(60)
        before = state_of(store)
        store.backup(tmp_path / "backup")
        for _ in range(3):
            fill(store)
            store.tick(60)
            store.collect("compacting")
            store.collect("copying")
    holdfast.restore(tmp_path / "backup", tmp_path / "again")
    with holdfast.open(tmp_path / "again", upkeep=False, bucket_bytes=SMALL) as store:
        assert state_of(store) == before
        assert store.check().ok


def test_a_store_in_memory_is_backed_up_to_a_real_folder(tmp_path: Path) -> None:
    with holdfast.open(":memory:", upkeep=False, bucket_bytes=SMALL) as store:
        fill(store)
        before = state_of(store)
        store.backup(tmp_path / "backup")
    holdfast.restore(tmp_path / "backup", tmp_path / "again")
    with holdfast.open(tmp_path / "again", upkeep=False) as store:
        assert state_of(store) == before


# -- what goes on meanwhile ----------------------------------------------------------


def backed_up_while(store: Store, disk: Disk, act: Callable[[], None]) -> State:
    """Back up, doing something in the middle of the copying; the state at the moment."""
    before = state_of(store)
    acted: list[bool] = []

    def pace() -> None:
        if not acted:
            acted.append(True)
            act()

    back_up(store.placement, disk, "backup", own_disk=False, pace=pace)
    assert acted
    return before


def test_a_collector_leaves_what_is_still_to_be_copied() -> None:
    disk = Plain()
    with opened(disk) as store:
        fill(store)

        def act() -> None:
            pinned = {b: set(b.log.pinned) for b in store.placement.directory if b.log.pinned}
            fill(store, size=900)
            store.collect("compacting")
            assert sum(map(len, pinned.values())) > 10
            assert all(numbers <= {*b.log.ended, b.log.number} for b, numbers in pinned.items())

        before = backed_up_while(store, disk, act)
        assert not any(bucket.log.pinned for bucket in store.placement.directory)
        assert store.collect("compacting").segments > 0
    assert restored(disk) == before


def test_a_merge_waits_until_its_segments_are_copied() -> None:
    disk = Plain()
    with opened(disk) as store:
        fill(store)
        ns = store.namespace("acme")

        def act() -> None:
            for key in list(ns.list()):
                ns.delete(key)
            store.namespace("other").delete("large")
            store.tick(60)
            assert store.placement.shrink() == 0

        many = len(store.placement.directory)
        before = backed_up_while(store, disk, act)
        store.collect()
        assert len(store.placement.directory) < many
    assert restored(disk) == before


def test_a_segment_that_ends_and_is_sealed_meanwhile_is_cut_at_the_moment() -> None:
    class Busy(Plain):
        """Lets writers and upkeep in between the moment and the first link."""

        act: Callable[[], None] | None = None

        def make_folder(self, path: str) -> None:
            super().make_folder(path)
            if path.startswith("backup/") and self.act is not None:
                act, self.act = self.act, None
                act()

    disk = Busy()
    with opened(disk) as store:
        fill(store)
        before = state_of(store)
        moment = {bucket: bucket.log.number for bucket in store.placement.directory}

        def act() -> None:
            fill(store, size=1_500)
            store.tick(60)
            assert any(number in bucket.log.sealed for bucket, number in moment.items())

        disk.act = act
        store.backup("backup")
    assert restored(disk) == before


def test_splits_go_on() -> None:
    disk = Plain()
    with opened(disk) as store:
        fill(store)
        buckets = len(store.placement.directory)
        before = backed_up_while(store, disk, lambda: fill(store, 400))
        assert len(store.placement.directory) > buckets
    assert restored(disk) == before


def test_a_child_that_still_borrows_is_whole_in_the_backup() -> None:
    disk = Plain()
    with opened(disk) as store:
        ns = store.namespace("acme")
        number = 0
        while all(bucket.lender is None for bucket in store.placement.directory):
            ns.put(f"k{number * 7919 % 1000:03d}", bytes(900))
            number += 1
        ns.put("k000", b"since the split")
        before = state_of(store)
        store.backup("backup")
        assert any(bucket.lender is not None for bucket in store.placement.directory)
    assert restored(disk) == before


def test_a_child_that_stands_before_its_parent_says_so_is_whole_in_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copies of a segment in two folders are two files; both buckets know it by its number."""
    confirm = fork.confirm
    at_last: list[str] = []

    def later(parent: Bucket, child: str) -> None:
        if not at_last:
            at_last.append(child)
            store.backup(tmp_path / "backup")
        confirm(parent, child)

    with holdfast.open(":memory:", upkeep=False, bucket_bytes=SMALL) as store:
        ns = store.namespace("acme")
        for number in range(200):
            ns.put(f"k{number * 7919 % 1000:03d}", bytes([number]) * 900)
        before = state_of(store)
        monkeypatch.setattr(fork, "confirm", later)
        while not at_last:
            store.tick()
    holdfast.restore(tmp_path / "backup", tmp_path / "again")
    with holdfast.open(tmp_path / "again", upkeep=False, bucket_bytes=SMALL) as store:
        assert state_of(store) == before
        assert store.check().ok


def test_no_write_is_held_longer_than_the_moment() -> None:
    disk = Plain()
    with opened(disk) as store:
        fill(store)
        noted = note(store.placement)
        store.namespace("acme").put("k001", b"free")
        assert [one.bucket for one in noted] == list(store.placement.directory)
        starts = [one.state.start for one in noted]
        assert starts == sorted(starts)


# -- what is refused -----------------------------------------------------------------


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_bytes(b"precious")
    (tmp_path / "file").write_bytes(b"precious")
    with holdfast.open(tmp_path / "data", upkeep=False) as store:
        for name in ("full", "file"):
            with pytest.raises(InvalidValue):
                store.backup(tmp_path / name)
        (tmp_path / "empty").mkdir()
        store.backup(tmp_path / "empty")
        with pytest.raises(InvalidValue):
            store.backup(tmp_path / "empty")
    with pytest.raises(Closed):
        store.backup(tmp_path / "late")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "inside",
    [
        *("disk", "disk/backup", "fast", "fast/a/b"),
        *("data/../disk/backup", "alias/backup"),
    ],
)
def test_a_backup_inside_the_store_is_refused_and_changes_nothing(
    tmp_path: Path, inside: str
) -> None:
    (tmp_path / "alias").symlink_to(tmp_path / "disk")
    disk, fast = tmp_path / "disk", tmp_path / "fast"
    with holdfast.open(tmp_path / "data", upkeep=False, data_dirs=[disk], index_dir=fast) as store:
        store.namespace("acme").put("a", b"1")
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(InvalidValue) as refused:
            store.backup(tmp_path / inside)
        assert (refused.value.argument, "inside" in str(refused.value.reason)) == ("path", True)
        assert sorted(tmp_path.rglob("*")) == before
        store.backup(tmp_path / "diskette")  # a name that only begins as that of the folder
        store.backup(tmp_path / "data" / "backup")  # beside the segments there is room


def test_a_damaged_segment_is_refused_and_nothing_is_left() -> None:
    disk = Plain()
    with opened(disk) as store:
        fill(store)
        store.tick(60)
        bucket = next(b for b in store.placement.directory if b.log.sealed)
        number = min(bucket.log.sealed)
        disk.open(f"data/log/{bucket.id}/{number:016x}.seg").write(2_000, [b"\xff\xfe\xfd"])
        with pytest.raises(Corrupt, match=f"segment {number}"):
            store.backup("backup")
        assert disk.list("backup") == []
        assert not any(b.log.pinned for b in store.placement.directory)


def test_a_disk_that_fails_leaves_the_store_as_it_was() -> None:
    calls = 1
    while True:
        inner = MemoryDisk()
        disk = FailingDisk(inner, 0)
        with opened(disk) as store:
            fill(store, 60)
            before = state_of(store)
            disk._span = range(disk.calls + calls, disk.calls + calls + 1)
            with suppress(StorageFailed):
                store.backup("backup")
            disk._span = range(0)
            failed = disk.failed
            assert not any(bucket.log.pinned for bucket in store.placement.directory)
            store.namespace("acme").put("after", b"1")
            assert {**before["acme"], "after": b"1"} == state_of(store)["acme"]
        if not failed:
            break
        assert disk.list("backup") == []
        calls += 3
    assert calls > 10
    assert restored(inner) == before


def test_a_link_that_is_refused_becomes_a_copy() -> None:
    class Linkless(FailingDisk):
        def link(self, source: str, target: str) -> None:
            if target.startswith("backup"):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source, None, target)
            super().link(source, target)

    disk = Linkless(MemoryDisk(), 0)
    with opened(disk) as store:
        fill(store)
        store.tick(60)
        before = state_of(store)
        store.backup("backup")
    assert restored(disk) == before


@pytest.mark.parametrize("mode", MODES)
def test_an_interrupted_backup_is_known_as_one(mode: Mode) -> None:
    """Cut at every point: the store opens as it was, the backup is whole or says it is not."""
    base = CrashDisk()
    with opened(base) as store:
        fill(store, 40)
        before = state_of(store)
    whole = 0
    trial = CrashDisk(base.after_cut("kept", 0))
    with opened(trial, seed=3) as store:
        first = trial.points
        store.backup("backup")
        last = trial.points
    for at in (*range(first + 1, last + 1, 2), last + 1):
        disk = trial.after_cut(mode, at, at=at)
        with suppress(InvalidValue, Corrupt):
            read_manifest(disk, "backup")
            whole += 1
            assert restored(disk) == before
        with opened(disk, seed=4) as store:
            assert state_of(store) == before
    assert whole


def test_the_manifest_comes_last() -> None:
    base = CrashDisk()
    with opened(base) as store:
        fill(store, 40)
    trial = CrashDisk(base.after_cut("kept", 0))
    with opened(trial, seed=3) as store:
        store.backup("backup")
        last = trial.points
    assert NAME in trial.list("backup")
    # Its name, its bytes and two syncs are the last four points; a run that ends before has none.
    cut = CrashDisk(base.after_cut("kept", 0), cut_at=last - 4)
    with pytest.raises(PowerCut):
        opened(cut, seed=3).backup("backup")
    assert NAME not in cut.after_cut("kept", 0).list("backup")
