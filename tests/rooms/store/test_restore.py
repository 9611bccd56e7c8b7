"""Restores: the same state in a new life, or a refusal that leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import holdfast
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.errors import (
    Corrupt,
    FenceTooOld,
    FormatTooNew,
    HoldfastError,
    InUse,
    InvalidValue,
    LockHeld,
    LockLost,
    NotFound,
    StorageFailed,
)
from holdfast.store.opening import open_on
from holdfast.store.ownership import Ownership, read_store_file
from holdfast.store.restore import MARKER, floor_above, restore_on
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import MODES, CrashDisk, FailingDisk, Mode
from holdfast.upkeep.manifest import NAME
from holdfast.values import Stat

SMALL = 64 * 1024
MIB = 1 << 20
NOBODY = 65_534
SECOND_NS = 1_000_000_000
STEP = 1 << 40
Known = dict[str, list[tuple[Stat, bytes, list[str | bytes]]]]


class Plain(FailingDisk):
    """A disk in memory that is not taken for a ``:memory:`` store's."""

    def __init__(self) -> None:
        super().__init__(MemoryDisk(), 0)


def opened(
    disk: Disk, path: str = "data", seed: int = 1, clock: ManualClock | None = None
) -> Store:
    return open_on(
        disk,
        path,
        bucket_bytes=SMALL,
        clock=clock or ManualClock(),
        entropy=SeededEntropy(seed),
    )


def fill(store: Store, count: int = 120) -> None:
    ns = store.namespace("acme")
    for number in range(count):
        ns.put(f"k{number:03d}", bytes([number % 256]) * 1_000, ttl=50 if number % 9 == 0 else None)
    for number in range(0, count, 4):
        ns.append(f"k{number:03d}", b"more")
    for number in range(0, count, 5):
        ns.delete(f"k{number:03d}")
    ns.put("kept", b"1", consumers=["a", b"b"], content_type="text/plain")
    ns.put("marked", b"1", consumers=["a"])
    ns.consumers("marked").remove(["a"])
    ns.put("permanent", b"1", permanent=True)
    ns.lock("locked")
    store.namespace("other").put("large", bytes(range(256)) * 12_000)


def known(store: Store) -> Known:
    """Everything the face tells of every object."""
    told: Known = {}
    for name in store.namespaces():
        ns = store.namespace(name)
        told[name] = [
            (stat, ns.get(stat.key), list(ns.consumers(stat.key).list())) for stat in ns.entries()
        ]
    return told


@pytest.fixture
def disk() -> Disk:
    disk = Plain()
    with opened(disk) as store:
        fill(store)
        store.backup("backup")
    return disk


def test_a_restored_store_reads_equal(disk: Disk) -> None:
    with opened(disk, seed=2) as store:
        before = known(store)
    restore_on(disk, "backup", "again")
    with opened(disk, "again", seed=3) as store:
        assert known(store) == before
        assert store.check().ok
        with pytest.raises(LockHeld):
            store.namespace("acme").lock("locked")
        store.namespace("acme").release("permanent")
        store.drop_namespace("acme")
        store.collect()
        assert store.check().ok


def test_each_restore_begins_a_new_life_above_the_last(disk: Disk) -> None:
    versions = []
    path = "backup"
    for life in range(2, 5):
        into = f"again{life}"
        restore_on(disk, path, into)
        told = read_store_file(disk, into)
        assert told is not None
        assert told.incarnation == life
        with opened(disk, into, seed=life) as store:
            ns = store.namespace("acme")
            versions.append(ns.put("new", b"1").version)
            fence = ns.lock(f"new{life}").fence
            assert fence > versions[-1]
            assert store.namespace("other").put("large", bytes(3_000_000)).version > STEP
            path = f"backup{life}"
            store.backup(path)
    assert [version // STEP for version in versions] == [1, 2, 3]
    assert floor_above(STEP) == 2 * STEP


def test_the_store_id_stays_and_old_segments_keep_their_life(disk: Disk) -> None:
    restore_on(disk, "backup", "again")
    old, new = read_store_file(disk, "data"), read_store_file(disk, "again")
    assert old is not None
    assert new is not None
    assert (new.store, new.incarnation) == (old.store, old.incarnation + 1)
    with opened(disk, "again", seed=2) as store:
        lives = [
            [bucket.log.head(number).incarnation for number in sorted(bucket.log.ended)]
            + [bucket.log.head(bucket.log.number).incarnation]
            for bucket in store.placement.directory
        ]
    assert all(set(life[:-1]) == {1} and life[-1] == 2 for life in lives)


def test_a_lock_runs_its_full_time_again_and_keeps_its_fence() -> None:
    disk, clock = Plain(), ManualClock()
    with opened(disk, clock=clock) as store:
        ns = store.namespace("acme")
        first, second = ns.lock("a", ttl=10), ns.lock("b", ttl=10)
        clock.advance(9 * SECOND_NS)
        store.backup("backup")
    restore_on(disk, "backup", "again")
    clock.advance(60 * SECOND_NS)
    with opened(disk, "again", seed=2, clock=clock) as store:
        ns = store.namespace("acme")
        with pytest.raises(LockHeld):
            ns.lock("a")
        clock.advance(9 * SECOND_NS)
        ns.put("a", b"mine", fence=first.fence)
        ns.unlock("b", second.id)
        with pytest.raises(LockLost):
            ns.put("b", b"nobody's", fence=second.fence)
        clock.advance(SECOND_NS)
        newer = ns.lock("a")
        assert newer.fence > STEP > first.fence
        with pytest.raises(FenceTooOld):
            ns.put("a", b"too late", fence=first.fence)


def test_what_expired_before_the_backup_stays_gone() -> None:
    disk, clock = Plain(), ManualClock()
    with opened(disk, clock=clock) as store:
        ns = store.namespace("acme")
        ns.put("short", b"1", ttl=5)
        ns.put("middle", b"1", ttl=8)  # shorter than the time mark of the tick reaches
        ns.put("long", b"1", ttl=15)
        store.tick()
        clock.advance(6 * SECOND_NS)
        store.backup("backup")
    clock.step_wall(-3600 * SECOND_NS)
    restore_on(disk, "backup", "again")
    with opened(disk, "again", seed=2, clock=clock) as store:
        ns = store.namespace("acme")
        assert not ns.exists("short")
        assert ns.get("middle") == ns.get("long") == b"1"
        clock.advance(9 * SECOND_NS)
        with pytest.raises(NotFound):
            ns.get("long")


# -- what is refused -----------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    with holdfast.open(tmp_path / "data", upkeep=False, bucket_bytes=SMALL) as store:
        fill(store, 40)
        store.tick(60)  # births end, so that no child waits for its parent's segments
        store.backup(tmp_path / "backup")
    return tmp_path


def refused(folders: Path, error: type[HoldfastError], telling: str) -> None:
    with pytest.raises(error, match=telling):
        holdfast.restore(folders / "backup", folders / "again")
    left = {path.name for path in (folders / "again").glob("*")}
    assert left <= {"LOCK"}
    (folders / "again" / "LOCK").unlink(missing_ok=True)


def test_every_damaged_file_is_named(folders: Path) -> None:
    for path in sorted((folders / "backup").glob("*/*.seg")):
        name = f"{path.parent.name}/{path.name}"
        content = path.read_bytes()
        # A file of its own: the segment may be shared with the store.
        for damaged in (
            content[:-1],
            content + b"\0",
            content[:99] + bytes([content[99] ^ 4]) + content[100:],
        ):
            path.unlink()
            path.write_bytes(damaged)
            refused(folders, Corrupt, name)
        path.unlink()
        refused(folders, Corrupt, name)
        path.write_bytes(content)
    holdfast.restore(folders / "backup", folders / "again")


def test_a_manifest_that_was_touched_is_refused(folders: Path) -> None:
    path = folders / "backup" / NAME
    content = path.read_bytes()
    told = json.loads(content)
    for damaged in (
        content[:-10],
        b"",
        b"{}",
        b"\xff",
        content.replace(b'"number":1', b'"number":2'),
    ):
        path.write_bytes(damaged)
        refused(folders, Corrupt, NAME)
    path.write_text(json.dumps(told | {"files": told["files"][1:]}))
    refused(folders, Corrupt, NAME)
    path.write_text(json.dumps({"format": 2, "whatever": "comes"}))
    refused(folders, FormatTooNew, NAME)
    path.unlink()
    refused(folders, Corrupt, "incomplete")
    path.write_bytes(content)
    holdfast.restore(folders / "backup", folders / "again")


def test_where_no_backup_is_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_bytes(b"no segment")
    for name in ("absent", "empty", "file", "mine"):
        with pytest.raises(InvalidValue):
            holdfast.restore(tmp_path / name, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_folder_with_anything_in_it_is_refused(folders: Path) -> None:
    (folders / "full").mkdir()
    (folders / "full" / "mine").write_bytes(b"precious")
    for name in ("full", "full/mine", "data"):
        with pytest.raises(InvalidValue):
            holdfast.restore(folders / "backup", folders / name)
    assert [path.name for path in (folders / "full").iterdir()] == ["mine"]
    with holdfast.open(folders / "data", upkeep=False, bucket_bytes=SMALL) as store:
        assert store.check().ok


def test_two_restores_do_not_meet_in_one_folder(folders: Path) -> None:
    (folders / "again").mkdir()
    owner = Ownership(str(folders / "again"))
    with pytest.raises(InUse):
        holdfast.restore(folders / "backup", folders / "again")
    owner.release()
    holdfast.restore(folders / "backup", folders / "again")


def test_a_segment_of_the_earlier_life_is_refused(folders: Path) -> None:
    """The number fits, the store fits, the chain fits: only the life does not."""
    holdfast.restore(folders / "backup", folders / "again")
    with holdfast.open(folders / "data", upkeep=False, bucket_bytes=SMALL) as store:
        bucket = min(store.placement.directory, key=lambda b: b.start)
        bucket.log.switch(bucket.log_state())
        name = f"{bucket.id}/{bucket.log.number:016x}.seg"
    target = folders / "again" / "log" / name
    assert target.exists()
    target.unlink()
    shutil.copy(folders / "data" / "log" / name, target)
    with pytest.raises(Corrupt, match="another life"):
        holdfast.open(folders / "again", upkeep=False, bucket_bytes=SMALL)


def test_a_backup_is_not_opened_as_a_store(folders: Path) -> None:
    before = sorted((folders / "backup").rglob("*"))
    with pytest.raises(InvalidValue, match="backup"):
        holdfast.open(folders / "backup")
    assert sorted((folders / "backup").rglob("*")) == before


def test_a_store_whose_store_file_is_gone_is_not_begun_anew(folders: Path) -> None:
    (folders / "data" / "HOLDFAST").unlink()
    with pytest.raises(Corrupt, match="store file is missing"):
        holdfast.open(folders / "data")
    assert not (folders / "data" / "HOLDFAST").exists()


# -- interrupted ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_what_was_interrupted_is_no_store_or_a_whole_one(mode: Mode) -> None:
    base = CrashDisk()
    with opened(base) as store:
        fill(store, 30)
        before = known(store)
        store.backup("backup")
    trial = CrashDisk(base.after_cut("kept", 0))
    restore_on(trial, "backup", "again")
    whole = 0
    for at in range(1, trial.points + 2, 3):
        disk = trial.after_cut(mode, at, at=at)
        if read_store_file(disk, "again") is None:
            if MARKER in disk.list("again"):
                with pytest.raises(InvalidValue, match="interrupted"):
                    opened(disk, "again")
            restore_on(disk, "backup", "again")
        else:
            whole += 1
        assert MARKER not in disk.list("again") or read_store_file(disk, "again") is not None
        with opened(disk, "again", seed=2) as store:
            assert known(store) == before
            assert store.check().ok
    assert whole


def test_a_disk_that_fails_leaves_no_store(disk: Disk) -> None:
    assert isinstance(disk, FailingDisk)
    calls = 1
    while True:
        failed = disk.failed
        disk._span = range(disk.calls + calls, disk.calls + calls + 1)
        try:
            restore_on(disk, "backup", "again")
        except StorageFailed:
            assert read_store_file(disk, "again") is None
        if disk.failed == failed:
            break
        calls += 7
    disk._span = range(0)
    assert calls > 50
    with opened(disk, "again", seed=2) as store:
        assert store.check().ok


# -- what may only be read -----------------------------------------------------------


@contextmanager
def without_rights() -> Iterator[None]:
    """As somebody whom the modes of files bind; root, whom they do not, is nobody meanwhile."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that others can reach, too; those of ``tmp_path`` are their owner's alone."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def test_a_backup_that_may_only_be_read_is_restored(shared: Path) -> None:
    """As on a disk that is mounted read-only: no right to write is asked for."""
    kept, again = shared / "backup", shared / "again"
    with holdfast.open(shared / "data", upkeep=False) as store:
        store.namespace("acme").put("a", b"1" * MIB * 2)
        store.backup(kept)
    for path in (kept, *kept.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    with without_rights():
        if not os.access(kept / NAME, os.R_OK, effective_ids=True):
            pytest.skip(f"nobody else can look into {shared}")
        with pytest.raises(PermissionError):
            (kept / NAME).open("r+b")
        holdfast.restore(kept, again)
        with holdfast.open(again, upkeep=False) as store:
            assert store.namespace("acme").get("a") == b"1" * MIB * 2
            assert store.check().ok


@pytest.mark.parametrize("name", [NAME, "segment"])
def test_what_is_no_file_in_a_backup_is_told_and_not_waited_for(tmp_path: Path, name: str) -> None:
    with holdfast.open(tmp_path / "data", upkeep=False) as store:
        store.namespace("acme").put("a", b"1")
        store.backup(tmp_path / "backup")
    (segment,) = (tmp_path / "backup").glob("*/*.seg")
    victim = segment if name == "segment" else tmp_path / "backup" / name
    for make in (os.mkfifo, os.mkdir):
        victim.rmdir() if victim.is_dir() else victim.unlink()
        make(victim)
        with pytest.raises((Corrupt, StorageFailed)):
            holdfast.restore(tmp_path / "backup", tmp_path / "again")
        assert not (tmp_path / "again" / "HOLDFAST").exists()
