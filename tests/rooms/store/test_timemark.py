"""The store's own time mark: two places written in turn, so that one is always whole."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

import pytest

from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk, File
from holdfast.errors import Corrupt, StorageFailed
from holdfast.limits import SECOND_NS
from holdfast.store.timemark import NAME, PLACES, SLOT, TimeMark
from holdfast.testing.clock import ManualClock
from holdfast.testing.disk import (
    MODES,
    Around,
    CrashDisk,
    FailingDisk,
    Mode,
    PowerCut,
)
from tests.crash.test_refusals import copy_of, opened

ROOT = "store"
PATH = f"{ROOT}/{NAME}"
STEP = 100


@pytest.fixture
def disk() -> MemoryDisk:
    made = MemoryDisk()
    made.make_folder(ROOT)
    return made


def test_what_was_written_last_is_found(disk: MemoryDisk) -> None:
    assert TimeMark(disk, ROOT).adopt() == 0
    mark = TimeMark(disk, ROOT)
    for time_ns in (5, 900, 30, 31):  # a close writes an earlier one
        assert mark.write(time_ns)
        assert TimeMark(disk, ROOT).adopt() == time_ns
    again = TimeMark(disk, ROOT)
    again.write(8)
    assert TimeMark(disk, ROOT).adopt() == 8


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("byte", [0, 9, 17, 25])
def test_of_a_torn_place_the_other_counts(disk: MemoryDisk, place: int, byte: int) -> None:
    mark = TimeMark(disk, ROOT)
    for time_ns in (100, 200, 300):
        mark.write(time_ns)
    file = disk.open(PATH)
    was = file.read(place + byte, 1)
    file.write(place + byte, (bytes([was[0] ^ 4]),))
    newest = PLACES[3 % 2]
    assert TimeMark(disk, ROOT).adopt() == (200 if place == newest else 300)


@pytest.mark.parametrize("size", [0, 1, PLACES[1] + SLOT.size])
@pytest.mark.parametrize("name", [NAME, f"{NAME}-one"])
def test_a_file_in_which_no_mark_verifies_is_damage(disk: MemoryDisk, name: str, size: int) -> None:
    disk.open(f"{ROOT}/{name}", create=True).write(0, (b"x" * size,))
    with pytest.raises(Corrupt) as caught:
        TimeMark(disk, ROOT)
    assert caught.value.facts["path"] == f"{ROOT}/{name}"
    assert caught.value.facts["position"] == 0
    disk.unlink(f"{ROOT}/{name}")  # what an operator may do
    assert TimeMark(disk, ROOT).adopt() == 0


def test_what_a_crash_kept_from_its_name_is_passed_over(disk: MemoryDisk) -> None:
    TimeMark(disk, ROOT).write(5)
    for name in NAME, f"{NAME}-one":
        disk.open(f"{ROOT}/{name}.new", create=True).write(0, (b"x",))
    assert TimeMark(disk, ROOT).adopt() == 5
    assert TimeMark(disk, ROOT, "one").write(9)
    assert TimeMark(disk, ROOT).adopt() == 9


class Unreadable(Around):
    """Refuses to open or to read a time mark."""

    def __init__(self, inner: Disk, error: int, *, opens: bool) -> None:
        super().__init__(inner)
        self._error, self._opens = OSError(error, os.strerror(error)), opens
        self._marks: list[File] = []

    def around(self, path: str, file: File) -> File:
        if path.endswith(NAME):
            if not self._opens:
                raise self._error
            self._marks.append(file)
        return super().around(path, file)

    def read(self, file: File, offset: int, length: int) -> bytes:
        if file in self._marks:
            raise self._error
        return super().read(file, offset, length)


@pytest.mark.parametrize("opens", [False, True])
@pytest.mark.parametrize("error", [errno.EIO, errno.EMFILE])
def test_a_mark_that_cannot_be_read_is_none_that_is_missing(error: int, *, opens: bool) -> None:
    """A value that expired came back where wall time was behind, and the mark was written over."""
    disk, clock = MemoryDisk(), ManualClock()
    with opened(disk, clock, "always", 1) as store:
        ns = store.namespace("n")
        ns.put("brief", b"1", ttl=5)
        clock.advance(6 * SECOND_NS)
        assert not ns.exists("brief")
        crashed = copy_of(disk)  # killed before upkeep had its turn
    behind = clock.wall_ns() - 20 * SECOND_NS
    before = copy_of(crashed)
    with pytest.raises(StorageFailed) as caught:
        opened(Unreadable(crashed, error, opens=opens), ManualClock(behind), "always", 2)
    assert caught.value.errno == errno.errorcode[error]
    assert contents(crashed) == contents(before)
    with opened(crashed, ManualClock(behind), "always", 3) as store:
        assert not store.namespace("n").exists("brief")


def contents(disk: Disk) -> dict[str, bytes]:
    """What lies in the store's folder and its data folder."""
    found = {}
    for folder in ROOT, f"{ROOT}/log":
        for name in disk.list(folder):
            with suppress(OSError):
                file = disk.open(f"{folder}/{name}")
                found[f"{folder}/{name}"] = file.read(0, file.size())
    return found


def write_until_cut(mark: TimeMark) -> int:
    """Write one time after the other; the last that was told."""
    told = 0
    with suppress(PowerCut):
        while mark.write(told + STEP):
            told += STEP
    return told


@pytest.mark.parametrize("mode", MODES)
def test_a_cut_at_any_call_leaves_the_last_that_was_told(disk: MemoryDisk, mode: Mode) -> None:
    for at in range(1, 15):
        crashing = CrashDisk(disk, cut_at=at)
        told = write_until_cut(TimeMark(crashing, ROOT))
        for seed in range(20):
            found = TimeMark(crashing.after_cut(mode, seed), ROOT).adopt()
            assert found in {told, told + STEP}


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_a_cut_behind_a_call_that_was_refused_takes_nothing_that_was_told(
    disk: MemoryDisk, mode: Mode, *, short: bool
) -> None:
    """What was torn by the first may not be all that the second leaves."""
    for refused in range(1, 12):
        for cut_at in range(refused, refused + 5):
            crashing = CrashDisk(disk, cut_at=cut_at)
            mark = TimeMark(FailingDisk(crashing, refused, short=short, seed=refused), ROOT)
            told = tried = 0
            with suppress(PowerCut):
                for tried in range(STEP, 20 * STEP, STEP):
                    told = tried if mark.write(tried) else told
            for seed in range(10):
                found = TimeMark(crashing.after_cut(mode, seed), ROOT).adopt()
                assert told <= found <= tried


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_a_cut_in_the_life_behind_one_that_ended_at_a_refused_call_leaves_a_mark(
    disk: MemoryDisk, mode: Mode, *, short: bool
) -> None:
    """What the second found may be in memory alone: it makes it durable before it writes on."""
    for refused in range(1, 12):
        for cut_at in range(refused, refused + 8):
            crashing = CrashDisk(disk, cut_at=cut_at)
            told = 0
            with suppress(PowerCut):
                first = TimeMark(FailingDisk(crashing, refused, short=short, seed=refused), ROOT)
                while first.write(told + STEP):
                    told += STEP
                second = TimeMark(crashing, ROOT)  # the process was killed, the machine goes on
                tried = second.adopt()
                while second.write(tried + STEP):
                    told = tried = tried + STEP
            for seed in range(10):
                assert TimeMark(crashing.after_cut(mode, seed), ROOT).adopt() >= told


def test_who_has_all_of_a_store_begins_at_the_latest_of_all_parts(disk: MemoryDisk) -> None:
    TimeMark(disk, ROOT, "one").write(100)
    assert TimeMark(disk, ROOT).adopt() == 100
    TimeMark(disk, ROOT, "one").write(40)  # it was closed: what it wrote is taken back
    assert TimeMark(disk, ROOT).adopt() == 100


def test_who_has_a_part_does_not_run_ahead_of_the_others(disk: MemoryDisk) -> None:
    """What one charged was not in the statement that another made of the same moment."""
    TimeMark(disk, ROOT).write(50)
    TimeMark(disk, ROOT, "one").write(100)
    assert TimeMark(disk, ROOT, "two").adopt() == 50
    assert TimeMark(disk, ROOT, "one").adopt() == 100
