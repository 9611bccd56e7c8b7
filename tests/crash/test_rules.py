"""What holds over a crash, rule by rule: views, time, locks, missing folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from holdfast.bucket.checkpoint import checkpoint
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import Corrupt, LockHeld, NotFound, StorageFailed
from holdfast.limits import SECOND_NS, TIME_MARK_NS
from holdfast.store import Store
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.platter import copy_tree
from holdfast.testing.simulator_world import KeptView, Shelf
from holdfast.views.port import Table

BUCKET_BYTES = 64 << 10
VALUES = {f"k{number:02d}": bytes([number]) * 2_000 for number in range(40)}


class Machine:
    """A disk, views that survive, a clock."""

    def __init__(self) -> None:
        self.disk = MemoryDisk()
        self.shelf = Shelf()
        self.clock = ManualClock()
        self.seed = 0

    def open(self) -> Store:
        self.seed += 1
        return open_on(
            self.disk,
            "store",
            bucket_bytes=BUCKET_BYTES,
            clock=self.clock,
            entropy=SeededEntropy(self.seed),
            open_view=lambda bucket: KeptView(self.shelf, bucket),
        )

    def branch(self) -> Machine:
        """The same machine as it is now, to go another way."""
        other = Machine()
        other.disk = MemoryDisk(copy_tree(self.disk.root, {}))
        for bucket, tables in self.shelf.everything().items():
            other.shelf.tables(bucket).update(tables)
        other.seed = self.seed + 100
        return other


@pytest.fixture
def machine() -> Machine:
    return Machine()


# -- rule 2: a view that the log does not know ------------------------------------------


def absorb(store: Store) -> None:
    """Have every view say where in the log it stands, beyond the last segment's beginning."""
    for bucket in store.placement.directory:
        assert checkpoint(bucket)
        assert bucket.absorbed is not None
        assert bucket.absorbed.start < bucket.absorbed.stop


def test_a_view_of_another_history_is_thrown_away(machine: Machine) -> None:
    """The same positions, other bytes: only the digest tells them apart."""
    with machine.open() as store:
        store.namespace("n").put("a", b"0000")
    there = machine.branch()
    for one, value in ((machine, b"here"), (there, b"thar")):
        store = one.open()
        store.namespace("n").put("a", value)
        absorb(store)
        store.close()
    assert machine.shelf.everything()
    machine.shelf = there.shelf
    store = machine.open()
    assert store.namespace("n").get("a") == b"here"
    assert store.check().ok


def test_a_view_ahead_of_the_log_is_thrown_away(machine: Machine) -> None:
    with machine.open() as store:
        store.namespace("n").put("a", b"1")
    before = machine.branch()
    with machine.open() as store:
        store.namespace("n").put("a", b"2")
        store.namespace("n").put("b", b"2")
        absorb(store)
    before.shelf = machine.shelf
    store = before.open()
    assert dict(store.namespace("n").mapping()) == {"a": b"1"}
    assert store.check().ok


def test_a_view_without_a_mark_is_thrown_away(machine: Machine) -> None:
    with machine.open() as store:
        store.namespace("n").put_many(VALUES)
        absorb(store)
    for tables in machine.shelf._now.values():
        assert tables[Table.META]
        tables[Table.META].clear()
        tables[Table.KEYS].clear()
    store = machine.open()
    assert dict(store.namespace("n").mapping()) == VALUES
    assert store.check().ok


# -- rule 5: what a checkpoint vouches for -----------------------------------------------------


def test_damage_that_a_checkpoint_vouches_for_is_no_torn_tail(machine: Machine) -> None:
    """Nothing was written behind the last group; only the view knows that it was durable."""
    store = machine.open()
    store.namespace("n").put("a", b"1")
    absorb(store)
    (bucket,) = store.placement.directory
    place = bucket.log.position
    crashed = machine.branch()
    file = crashed.disk.open(f"store/log/{bucket.id}/{place.segment:016x}.seg")
    file.write(place.stop - 5, [b"?"])
    lost = crashed.branch()
    lost.shelf = Shelf()
    assert not lost.open().namespace("n").exists("a")  # nobody vouches: it is the end
    with pytest.raises(Corrupt):
        crashed.open().namespace("n").get("a")


# -- rule 7: time --------------------------------------------------------------------------


def test_the_dead_stay_dead_when_wall_time_was_set_back(machine: Machine) -> None:
    store = machine.open()
    space = store.namespace("n")
    space.put("brief", b"x", ttl=20)
    space.put("long", b"x", ttl=10_000)
    for _ in range(6):
        machine.clock.advance(4 * SECOND_NS)
        store.tick(10)
    with pytest.raises(NotFound):
        space.get("brief")
    machine.clock.step_wall(-3_600 * SECOND_NS)
    again = machine.open().namespace("n")
    with pytest.raises(NotFound):
        again.get("brief")
    assert list(again.list()) == ["long"]


@pytest.mark.parametrize("looked_up", ["get", "get_many", "list", "stat", "exists"])
@pytest.mark.parametrize("reopened", [False, True])
def test_what_was_told_dead_stays_dead_without_any_upkeep(
    machine: Machine, looked_up: str, *, reopened: bool
) -> None:
    """The first look behind an opening, or amid a long collect: no tick wrote a mark before."""
    store = machine.open()
    store.namespace("n").put_many([("brief", b"x")], ttl=20)
    store.namespace("n").put("long", b"x", ttl=10_000)
    if reopened:
        store.close()
        store = machine.open()
    machine.clock.advance(20 * SECOND_NS)
    space = store.namespace("n")
    look: dict[str, Callable[[], object]] = {
        "get": lambda: space.mapping().get("brief"),
        "get_many": lambda: space.get_many(["brief"])[0],
        "list": lambda: "brief" in list(space.list()),
        "stat": lambda: space.exists("brief") and space.stat("brief"),
        "exists": lambda: space.exists("brief"),
    }
    assert not look[looked_up]()
    machine.clock.step_wall(-3_600 * SECOND_NS)
    assert list(machine.open().namespace("n").list()) == ["long"]


def test_a_crash_shortens_a_life_by_no_more_than_a_mark(machine: Machine) -> None:
    store = machine.open()
    store.namespace("n").put("a", b"x", ttl=60)
    store.tick(10)
    began = machine.clock.wall_ns()
    for _ in range(3):  # crash after crash: marks do not add up while no time passes
        store = machine.open()
        now = store.placement.settings.time.now_ns()
        assert began <= now <= began + TIME_MARK_NS
    assert store.namespace("n").exists("a")


def test_a_store_closed_in_peace_shortens_no_life(machine: Machine) -> None:
    for _ in range(3):
        store = machine.open()
        assert store.placement.settings.time.now_ns() == machine.clock.wall_ns()
        store.namespace("n").put("a", b"x", ttl=60)
        machine.clock.advance(30 * SECOND_NS)
        store.tick(10)
        store.close()


def test_bucket_time_never_goes_back(machine: Machine) -> None:
    last = 0
    for _ in range(8):
        store = machine.open()
        receipt = store.namespace("n").put("a", b"x", ttl=100)
        assert receipt.expires_ns is not None
        assert receipt.expires_ns >= last
        last = receipt.expires_ns
        machine.clock.step_wall(-5 * SECOND_NS)
        machine.clock.advance(SECOND_NS)


# -- locks over a crash ------------------------------------------------------------------------


def test_a_lock_runs_its_full_time_again_after_a_crash(machine: Machine) -> None:
    store = machine.open()
    lock = store.namespace("n").lock("a", ttl=30)
    machine.clock.advance(25 * SECOND_NS)
    space = machine.open().namespace("n")
    machine.clock.advance(29 * SECOND_NS)
    with pytest.raises(LockHeld):
        space.lock("a")
    space.put("a", b"fenced", fence=lock.fence)
    machine.clock.advance(2 * SECOND_NS)
    assert space.lock("a").fence > lock.fence


def test_an_unlocked_lock_stays_unlocked(machine: Machine) -> None:
    store = machine.open()
    first = store.namespace("n").lock("a", ttl=30)
    first.release()
    assert machine.open().namespace("n").lock("a").fence > first.fence


def test_fences_and_versions_grow_over_crashes_splits_and_merges(machine: Machine) -> None:
    last = 0
    for number in range(12):
        store = machine.open()
        machine.clock.advance(2 * SECOND_NS)  # the last lock runs its full second again
        space = store.namespace("n")
        for told in (space.put("k20", b"x").version, space.lock("k20", ttl=1).fence):
            assert told > last
            last = told
        if number % 4 == 1:
            space.put_many(VALUES)
            assert len(store.status().buckets) >= 2
        if number % 4 == 3:
            for key in VALUES:
                space.delete(key, missing_ok=True)
            store.collect()


# -- folders that are gone --------------------------------------------------------------------


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "LOCK"
    }


def test_a_deleted_index_is_rebuilt(tmp_path: Path) -> None:
    home, index = tmp_path / "home", tmp_path / "fast"
    with holdfast.open(home, bucket_bytes=BUCKET_BYTES, index_dir=index) as store:
        store.namespace("n").put_many(VALUES)
        store.rebuild()
    assert everything(index)
    shutil.rmtree(index)
    with holdfast.open(home, bucket_bytes=BUCKET_BYTES, upkeep=False) as store:
        assert dict(store.namespace("n").mapping()) == VALUES
        assert store.check().ok
        store.rebuild()
    assert everything(index)


def test_a_missing_data_folder_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    home, folders = tmp_path / "home", [tmp_path / "one", tmp_path / "two"]
    with holdfast.open(home, bucket_bytes=BUCKET_BYTES, data_dirs=folders) as store:
        store.namespace("n").put_many(VALUES)
    for gone in folders:
        gone.rename(tmp_path / "away")
        before = everything(tmp_path)
        with pytest.raises(StorageFailed):
            holdfast.open(home, bucket_bytes=BUCKET_BYTES)
        assert everything(tmp_path) == before
        assert not gone.exists()
        (tmp_path / "away").rename(gone)
    with holdfast.open(home, bucket_bytes=BUCKET_BYTES, upkeep=False) as store:
        assert dict(store.namespace("n").mapping()) == VALUES
