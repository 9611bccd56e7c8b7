"""The suite over the store itself: in memory, on disk, and cut into buckets of 64 KiB."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from holdfast.errors import HoldfastError, LockHeld
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.conformance import DurableSuite, Opened, StoreSuite, SuiteBase
from holdfast.testing.conformance.base import fill
from holdfast.testing.conformance.durable import Reopen
from holdfast.testing.face import StoreFace

SMALL = 64 * 1024
MEDIUM = (
    4 * 1024 * 1024
)  # one bucket for most tests, and no reserve of 64 MiB to write at every open


def opened_at(
    path: Path | str, clock: ManualClock, seed: int = 0, /, **options: object
) -> StoreFace:
    # Imported here, so that a store that cannot be imported fails tests and not their collection.
    holdfast = importlib.import_module("holdfast")
    entropy = SeededEntropy(seed)
    store: StoreFace = holdfast.open(path, clock=clock, entropy=entropy, upkeep=False, **options)
    return store


class InMemory(StoreSuite):
    options: ClassVar[dict[str, object]] = {"bucket_bytes": MEDIUM}

    @pytest.fixture
    def opened(self) -> Iterator[Opened]:
        clock = ManualClock()
        store = opened_at(":memory:", clock, **self.options)
        yield store, clock
        store.close()


class TestInMemory(InMemory):
    pass


class TestInMemorySmallBuckets(InMemory):
    grows: ClassVar[bool] = True
    options: ClassVar[dict[str, object]] = {"bucket_bytes": SMALL}


class OnDisk(SuiteBase):
    options: ClassVar[dict[str, object]] = {"bucket_bytes": MEDIUM}

    @pytest.fixture
    def opened(self, tmp_path: Path) -> Iterator[Opened]:
        clock = ManualClock()
        store = opened_at(tmp_path / "data", clock, **self.options)
        yield store, clock
        store.close()

    @pytest.fixture
    def reopen(self, opened: Opened, tmp_path: Path) -> Iterator[Reopen]:
        stores: list[StoreFace] = []

        def again(store: StoreFace) -> StoreFace:
            store.close()
            seed = len(stores) + 1  # ids that were given once are not given again
            stores.append(opened_at(tmp_path / "data", opened[1], seed, **self.options))
            return stores[-1]

        yield again
        for store in stores:
            store.close()


class OnDiskSmallBuckets(OnDisk):
    grows: ClassVar[bool] = True
    options: ClassVar[dict[str, object]] = {"bucket_bytes": SMALL, "sync": "never"}


class TestOnDiskReopened(DurableSuite, OnDisk):
    pass


class TestOnDiskSmallBucketsReopened(DurableSuite, OnDiskSmallBuckets):
    pass


@pytest.mark.push
class TestOnDisk(StoreSuite, OnDisk):
    pass


@pytest.mark.push
class TestOnDiskSmallBuckets(StoreSuite, OnDiskSmallBuckets):
    pass


def test_a_lost_index_is_built_again(tmp_path: Path) -> None:
    clock, index = ManualClock(), tmp_path / "index"
    store = opened_at(tmp_path / "data", clock, index_dir=index, bucket_bytes=SMALL)
    ns = store.namespace("acme")
    fill(ns, [f"k{number:03d}" for number in range(300)])
    ns.put("c", b"1", consumers=["x"], ttl=60)
    ns.lock("a", ttl=100)
    before = list(ns.entries())
    store.close()
    shutil.rmtree(index)
    store = opened_at(tmp_path / "data", clock, 1, index_dir=index, bucket_bytes=SMALL)
    ns = store.namespace("acme")
    assert list(ns.entries()) == before
    assert list(ns.consumers("c").list()) == ["x"]
    with pytest.raises(LockHeld):
        ns.lock("a")
    assert store.check().ok
    store.close()


def test_a_missing_data_folder_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    clock, folders = ManualClock(), [tmp_path / "one", tmp_path / "two"]
    store = opened_at(tmp_path / "data", clock, data_dirs=folders, bucket_bytes=SMALL)
    for number in range(10):
        store.namespace("acme").put(f"k{number}", bytes(20_000))
    store.close()
    shutil.move(folders[1], tmp_path / "elsewhere")
    with pytest.raises(HoldfastError):
        opened_at(tmp_path / "data", clock, 1, data_dirs=folders, bucket_bytes=SMALL)
    shutil.rmtree(folders[1], ignore_errors=True)
    shutil.move(tmp_path / "elsewhere", folders[1])
    store = opened_at(tmp_path / "data", clock, 2, data_dirs=folders, bucket_bytes=SMALL)
    assert len(list(store.namespace("acme").list())) == 10
    assert store.check().ok
    store.close()


def test_a_backup_restores_and_goes_on_above(tmp_path: Path) -> None:
    holdfast = importlib.import_module("holdfast")
    clock = ManualClock()
    store = holdfast.open(tmp_path / "data", clock=clock, upkeep=False, bucket_bytes=SMALL)
    ns = store.namespace("acme")
    fill(ns, [f"k{number:03d}" for number in range(300)])
    ns.put("c", b"1", consumers=["x"])
    fence = ns.lock("c").fence
    before = list(ns.entries())
    store.backup(tmp_path / "backup")
    ns.put("after", b"1")
    store.close()
    holdfast.restore(tmp_path / "backup", tmp_path / "restored")
    store = opened_at(tmp_path / "restored", clock, 1)
    ns = store.namespace("acme")
    assert [entry.key for entry in ns.entries()] == [entry.key for entry in before]
    assert [ns.get(entry.key) for entry in before[1:]] == [
        entry.key.encode() for entry in before[1:]
    ]
    # Rule 17: a restore is a new incarnation, whose versions begin at a multiple of 2^40.
    assert ns.put("new", b"1").version >= 1 << 40
    assert ns.lock("d").fence > max(fence, 1 << 40)
    assert store.check().ok
    store.close()
