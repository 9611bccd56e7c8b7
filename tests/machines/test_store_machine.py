"""The store against the model: in memory and on disk, in buckets of 64 KiB."""

from __future__ import annotations

import importlib
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis.stateful import run_state_machine_as_test

from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.face import StoreFace
from holdfast.testing.machine import StoreMachine, machine_settings, nightly_settings

SMALL = 64 * 1024


def opened(path: Path | str, clock: ManualClock, *, seed: int, sync: str = "always") -> StoreFace:
    holdfast = importlib.import_module("holdfast")
    store: StoreFace = holdfast.open(
        path,
        clock=clock,
        entropy=SeededEntropy(seed),
        bucket_bytes=SMALL,
        sync=sync,
        upkeep=False,
    )
    return store


class MemoryMachine(StoreMachine):
    reopens = False

    def open_store(self, clock: ManualClock) -> StoreFace:
        return opened(":memory:", clock, seed=2)


class DiskMachine(StoreMachine):
    def open_store(self, clock: ManualClock) -> StoreFace:
        self.folder = Path(tempfile.mkdtemp(prefix="holdfast-machine-"))
        return opened(self.folder / "data", clock, seed=2, sync="never")

    def reopen_store(self, store: StoreFace) -> StoreFace:
        store.close()
        # Another seed each time: ids that were given once are not given again.
        return opened(self.folder / "data", self.clock, seed=self.life + 3, sync="never")

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


def test_the_store_in_memory_is_the_model() -> None:
    run_state_machine_as_test(MemoryMachine, settings=machine_settings(examples=60, steps=50))


def test_the_store_on_disk_is_the_model() -> None:
    run_state_machine_as_test(DiskMachine, settings=machine_settings(examples=20, steps=50))


@pytest.mark.nightly
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("machine", [MemoryMachine, DiskMachine])
def test_by_night_the_store_is_the_model(machine: type[StoreMachine]) -> None:
    run_state_machine_as_test(machine, settings=nightly_settings(examples=2_000, steps=100))
