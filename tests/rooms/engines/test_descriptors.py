"""The bound on open files: kept, fair, safe among threads, and never at the price of an error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from holdfast.engines.disk import OsDisk
from holdfast.engines.files import FileSegments
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk, File, Segment
from holdfast.testing.disk import Around, AroundFile, CountingDisk, FailingDisk
from tests.rooms.engines.test_os_disk import descriptors
from tests.rooms.gate import Gate

OF_A_MAP = 1 if sys.version_info < (3, 13) else 0  # Python's own; newer ones can do without


@contextmanager
def all_together(*threads: Thread) -> Iterator[None]:
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()


class Unsynced(Around):
    """Real files and descriptors, without the wait for a disk that serves others too."""

    def around(self, path: str, file: File) -> File:
        del path
        return UnsyncedFile(self, file)

    def sync_folder(self, path: str) -> None:
        pass


class UnsyncedFile(AroundFile):
    def sync(self) -> None:
        pass


def many(disk: Disk, folder: str, count: int, open_files: int) -> list[Segment]:
    """Segments that each hold their own number, 64 times."""
    segments = FileSegments(disk, [folder], create=True, open_files=open_files)
    return [segments.begin(f"b{n % 50}", n, [b"%08d" % n * 64]) for n in range(count)]


def test_two_thousand_segments_live_with_sixteen_descriptors(tmp_path: Path) -> None:
    before = descriptors(tmp_path)
    segments = many(Unsynced(OsDisk()), str(tmp_path), 2_000, 16)
    most = 0
    for turn in range(3):
        for n, segment in enumerate(segments):
            if n % 4 == turn:
                segment.append([b"more"])
            if n % 5 == 0:
                assert segment.map()[504:512] == b"%08d" % n
            assert segment.read(8, 16) == b"%08d" % n
            if n % 9 == 0:
                most = max(most, descriptors(tmp_path) - before)
    assert 12 <= most <= 16
    for segment in segments:
        segment.park()
    assert descriptors(tmp_path) == before


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="open_files"):
        FileSegments(MemoryDisk(), ["data"], create=True, open_files=0)


def test_what_is_in_use_stays_open() -> None:
    disk = CountingDisk(MemoryDisk())
    hot, *cold = many(disk, "data", 40, 8)
    hot.read(0, 8)
    disk.reset()
    for segment in cold:
        segment.read(0, 8)
        hot.read(0, 8)
    assert disk.calls["open"] <= len(cold) + 1


def test_a_map_needs_no_file_beside_it(tmp_path: Path) -> None:
    segments = many(OsDisk(), str(tmp_path), 10, 11)
    maps = [segment.map() for segment in segments]
    assert descriptors(tmp_path) == 10 * OF_A_MAP
    assert all(segment.map() is mapped for segment, mapped in zip(segments, maps, strict=True))


def test_a_dropped_segment_gives_its_room_back(tmp_path: Path) -> None:
    segments = FileSegments(OsDisk(), [str(tmp_path)])
    before = descriptors(tmp_path)
    kept = [segments.begin("b", n, [b"head"]) for n in range(6)]
    for segment in kept[3:]:
        segment.append([b"never synced"])
    kept[0].map()
    segments.drop("b", 0)
    segments.drop("b", 3)
    assert descriptors(tmp_path) == before + 4
    segments.retire("b")
    assert descriptors(tmp_path) == before


def test_a_forgotten_segment_closes_at_once(tmp_path: Path) -> None:
    segments = many(OsDisk(), str(tmp_path), 10, 100)
    segments[0].map()
    assert descriptors(tmp_path) == 9 + OF_A_MAP
    del segments[:4]
    assert descriptors(tmp_path) == 6


def test_forgotten_segments_do_not_crowd_out_others() -> None:
    disk = CountingDisk(MemoryDisk())
    segments = many(disk, "data", 10, 8)
    del segments[2:]
    for segment in segments:
        segment.read(0, 8)
    disk.reset()
    for segment in segments:
        segment.read(0, 8)
    assert disk.calls == {"read": 2}


def test_threads_that_share_few_descriptors_read_the_right_files(tmp_path: Path) -> None:
    """The race of a closed and reused descriptor, run hard: a wrong number names its file."""
    segments = many(Unsynced(OsDisk()), str(tmp_path), 24, 3)
    wrong: list[tuple[int, bytes]] = []

    def look(start: int) -> None:
        for turn in range(400):
            n = (start + turn * 7) % len(segments)
            segment = segments[n]
            data = segment.map()[16:24] if turn % 5 == 0 else segment.read(16, 24)
            if data != b"%08d" % n:
                wrong.append((n, data))

    def write(start: int) -> None:
        for turn in range(150):
            n = (start + 2 * turn) % len(segments)
            segments[n].append([b"%08d" % n])
            if turn % 3 == 0:
                segments[n].sync()

    with all_together(
        *(Thread(target=look, args=(n,)) for n in range(3)),
        *(Thread(target=write, args=(n,)) for n in range(2)),
    ):
        pass
    assert not wrong
    for n, segment in enumerate(segments):
        content = segment.read(0, segment.size)
        assert content == b"%08d" % n * (len(content) // 8)
    assert sum(segment.size for segment in segments) == 8 * (24 * 64 + 2 * 150)


def test_unsynced_bytes_are_synced_before_their_file_is_closed() -> None:
    disk = CountingDisk(MemoryDisk())
    segments = many(disk, "data", 6, 2)
    segments[0].append([b"not synced"])
    disk.reset()
    for segment in segments[1:]:
        segment.read(0, 8)
    assert disk.calls["sync"] == 0  # others could be closed
    segments[1].append([b"not synced"])
    for segment in segments[2:]:
        segment.read(0, 8)
    assert disk.calls["sync"] >= 1  # none but these two were left


def test_a_failure_to_sync_what_is_closed_is_heard_by_its_owner() -> None:
    disk = FailingDisk(MemoryDisk(), 7, kinds={"sync"})  # six are of the heads
    segments = many(disk, "data", 6, 1)
    segments[0].append([b"lost"])
    assert segments[1].read(0, 8) == b"00000001"  # another's trouble is not this one's
    assert disk.failed == 1
    for _ in range(2):
        with pytest.raises(OSError, match="output error"):
            segments[0].sync()
        with pytest.raises(OSError, match="output error"):
            segments[0].append([b"more"])
    assert segments[0].read(512, 600) == b"lost"
    segments[0].park()


def test_parking_syncs_and_says_what_failed() -> None:
    disk = FailingDisk(MemoryDisk(), 3, kinds={"sync"})
    first, second = many(disk, "data", 2, 9)
    first.park()
    assert disk.calls == 2  # nothing to sync
    first.append([b"lost"])
    with pytest.raises(OSError, match="output error"):
        first.park()
    first.park()
    second.append([b"kept"])
    second.park()
    assert second.read(512, 600) == b"kept"


def test_a_file_that_is_being_written_is_not_closed(tmp_path: Path) -> None:
    counting = CountingDisk(OsDisk())
    disk = Gate(counting, "write")
    segments = many(disk, str(tmp_path), 4, 1)
    segments[0].read(0, 8)
    before = descriptors(tmp_path)
    disk.shut = True
    with all_together(Thread(target=segments[0].append, args=([b"slow"],))):
        assert disk.entered.wait(30)
        for segment in segments[1:]:
            segment.read(0, 8)
        during = descriptors(tmp_path)
        disk.go.set()
    assert during == before + 1  # one over the bound, as long as the write lasts
    counting.reset()
    segments[0].sync()
    assert counting.calls == {"sync": 1}  # by the very descriptor that wrote
    assert segments[0].read(512, 600) == b"slow"
    segments[1].read(0, 8)
    assert descriptors(tmp_path) == before
