"""Every disk passes the disk's suite, and segments are the same over each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.engines.ahead import AheadDisk
from holdfast.engines.disk import OsDisk
from holdfast.engines.files import FileSegments
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.limits import GIB
from holdfast.testing.disk import CountingDisk, CrashDisk, FailingDisk, FullDisk, SlowDisk
from holdfast.testing.segments import DiskSuite, Ground, SegmentsSuite

WRAPPED: dict[str, Callable[[], Disk]] = {
    "memory": MemoryDisk,
    "crash": CrashDisk,
    "counting": lambda: CountingDisk(MemoryDisk()),
    "failing": lambda: FailingDisk(MemoryDisk(), 0),
    "full": lambda: FullDisk(MemoryDisk(), GIB),
    "slow": lambda: SlowDisk(MemoryDisk(), 1.0, lambda _: None),
    "all": lambda: CountingDisk(FullDisk(FailingDisk(CrashDisk(), 0), GIB)),
}


class TestOsDisk(DiskSuite):
    @pytest.fixture
    def disk(self) -> Disk:
        return OsDisk()

    @pytest.fixture
    def top(self, tmp_path: Path) -> str:
        return str(tmp_path)


class TestAheadDisk(TestOsDisk):
    @pytest.fixture
    def disk(self) -> Disk:
        return AheadDisk(everywhere=True)


class TestDisksInMemory(DiskSuite):
    @pytest.fixture(params=WRAPPED)
    def disk(self, request: pytest.FixtureRequest) -> Disk:
        return WRAPPED[request.param]()

    @pytest.fixture(params=["/top", "relative/top"])
    def top(self, disk: Disk, request: pytest.FixtureRequest) -> str:
        path: str = request.param
        disk.make_folder(path)
        return path


class TestSegmentsOnOsDisk(SegmentsSuite):
    @pytest.fixture
    def ground(self, tmp_path: Path) -> Ground:
        return lambda: FileSegments(OsDisk(), [f"{tmp_path}/a", f"{tmp_path}/b"], create=True)


class TestSegmentsAhead(SegmentsSuite):
    @pytest.fixture
    def ground(self, tmp_path: Path) -> Ground:
        return lambda: FileSegments(AheadDisk(everywhere=True), [str(tmp_path)], create=True)


class TestSegmentsWithFewDescriptors(SegmentsSuite):
    @pytest.fixture
    def ground(self, tmp_path: Path) -> Ground:
        return lambda: FileSegments(OsDisk(), [str(tmp_path)], open_files=1)


class TestSegmentsInMemory(SegmentsSuite):
    @pytest.fixture(params=WRAPPED)
    def ground(self, request: pytest.FixtureRequest) -> Ground:
        disk = WRAPPED[request.param]()
        return lambda: FileSegments(disk, ["data"], create=True)
