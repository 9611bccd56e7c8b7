"""The store's own time mark: two places written in turn, so that one is always whole."""

from __future__ import annotations

from contextlib import suppress

import pytest

from holdfast.engines.memory import MemoryDisk
from holdfast.store.timemark import NAME, PLACES, SLOT, TimeMark
from holdfast.testing.disk import MODES, CrashDisk, FailingDisk, Mode, PowerCut

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


def test_a_file_that_is_no_mark_says_nothing_and_is_replaced(disk: MemoryDisk) -> None:
    disk.open(PATH, create=True).write(0, (b"x" * (PLACES[1] + SLOT.size),))
    mark = TimeMark(disk, ROOT)
    assert mark.adopt() == 0
    assert mark.write(7)
    assert TimeMark(disk, ROOT).adopt() == 7


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
