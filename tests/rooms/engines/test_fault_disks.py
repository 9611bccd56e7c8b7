"""The faulty disks fail: each fault happens, no other does, and a seed repeats it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random

import pytest

from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.testing.disk import (
    FOREVER,
    MODES,
    MUTATING,
    READING,
    CountingDisk,
    CrashDisk,
    FailingDisk,
    FullDisk,
    Kind,
    Mode,
    PowerCut,
    SlowDisk,
)
from holdfast.testing.platter import SECTOR_BYTES

SEEDS = range(60)


def content(disk: MemoryDisk, path: str) -> bytes:
    return bytes(disk.open(path).map()[:])


# -- counting and slow -----------------------------------------------------------------


def test_every_kind_of_call_is_counted() -> None:
    disk = CountingDisk(MemoryDisk())
    run_every_call(disk)
    assert disk.calls == dict.fromkeys(MUTATING | READING | {"close"}, 1)
    assert disk.bytes == {"write": 5, "read": 3}
    disk.reset()
    assert not disk.calls
    assert not disk.bytes


def run_every_call(disk: Disk) -> None:
    disk.make_folder("d")
    file = disk.open("d/a", create=True)
    file.write(0, [b"he", b"llo"])
    file.sync()
    file.read(0, 3)
    file.map()
    file.size()
    file.close()
    disk.open("d/a")
    disk.link("d/a", "d/b")
    disk.rename("d/b", "d/c")
    disk.sync_folder("d")
    disk.unlink("d/c")
    disk.list("d")
    disk.free_bytes("d")


def test_a_slow_disk_sleeps_for_its_syncs_alone() -> None:
    slept: list[float] = []
    run_every_call(SlowDisk(MemoryDisk(), 0.2, slept.append))
    assert slept == [0.2, 0.2]


# -- failing ---------------------------------------------------------------------------


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_each_call_can_fail(error: int) -> None:
    for nth in range(1, len(MUTATING | READING) + 1):
        disk = FailingDisk(MemoryDisk(), nth, error=error, kinds=MUTATING | READING)
        with pytest.raises(OSError) as refused:  # noqa: PT011 - the number says which
            run_every_call(disk)
        assert refused.value.errno == error
        assert (disk.calls, disk.failed) == (nth, 1)
    disk = FailingDisk(MemoryDisk(), nth + 1, error=error, kinds=MUTATING | READING)
    run_every_call(disk)
    assert disk.failed == 0


def test_only_the_asked_kinds_are_counted() -> None:
    kinds: set[Kind] = {"sync_folder", "read"}
    disk = FailingDisk(MemoryDisk(), 0, kinds=kinds)
    run_every_call(disk)
    assert disk.calls == 2
    disk = FailingDisk(MemoryDisk(), 0)
    run_every_call(disk)
    assert disk.calls == len(MUTATING)


@pytest.mark.parametrize(
    ("times", "expected"), [(1, "..x....."), (3, "..xxx..."), (FOREVER, "..xxxxxx")]
)
def test_it_fails_as_often_as_asked(times: int, expected: str) -> None:
    disk = FailingDisk(MemoryDisk(), 3, times=times)
    seen = ""
    for n in range(8):
        try:
            disk.open(f"{n}", create=True)
            seen += "."
        except OSError:
            seen += "x"
    assert seen == expected
    assert disk.failed == seen.count("x")
    assert disk.list("/") == [f"{n}" for n in range(8) if seen[n] == "."]


def test_a_refused_write_writes_nothing_or_a_part() -> None:
    sizes: dict[bool, set[int]] = {True: set(), False: set()}
    for short, seen in sizes.items():
        for seed in SEEDS:
            inner = MemoryDisk()
            disk = FailingDisk(inner, 2, short=short, seed=seed)
            file = disk.open("a", create=True)
            with pytest.raises(OSError, match="output error"):
                file.write(0, [b"01234", b"56789"])
            assert b"0123456789".startswith(content(inner, "a"))
            seen.add(file.size())
    assert sizes[False] == {0}
    assert sizes[True] == set(range(10))


def test_a_refused_sync_makes_nothing_durable() -> None:
    inner = CrashDisk()
    disk = FailingDisk(inner, 1, kinds={"sync"})
    file = disk.open("a", create=True)
    disk.sync_folder("/")
    file.write(0, [b"lost"])
    with pytest.raises(OSError, match="output error"):
        file.sync()
    assert content(inner.after_cut("dropped", 1), "a") == b""


# -- full ------------------------------------------------------------------------------


def test_a_full_disk_takes_what_fits() -> None:
    disk = FullDisk(MemoryDisk(), 10)
    file = disk.open("a", create=True)
    file.write(0, [b"01234567"])
    assert disk.free_bytes("/") == 2
    with pytest.raises(OSError, match="No space") as full:
        file.write(8, [b"abcd"])
    assert full.value.errno == errno.ENOSPC
    assert file.read(0, 99) == b"01234567ab"
    assert disk.free_bytes("/") == 0
    file.write(0, [b"over"])  # what is there may be written over
    file.write(0, [])
    with pytest.raises(OSError, match="No space"):
        file.write(20, [b"far"])
    assert disk.used == 10
    disk.capacity = 5  # somebody else fills the disk
    file.write(0, [b"all over"])
    with pytest.raises(OSError, match="No space"):
        file.write(10, [b"f"])
    assert (disk.used, disk.free_bytes("/")) == (10, 0)


def test_room_comes_back_with_the_last_name() -> None:
    disk = FullDisk(MemoryDisk(), 10)
    disk.make_folder("d")
    disk.open("d/a", create=True).write(0, [b"0123456789"])
    disk.link("d/a", "d/b")
    disk.link("d/b", "c")
    disk.rename("d", "e")
    disk.rename("c", "e/c")
    for name, used in (("a", 10), ("c", 10), ("none", 10), ("b", 0)):
        disk.unlink(f"e/{name}")
        assert disk.used == used
    disk.unlink("e")
    disk.open("x", create=True).write(0, [b"0123456789"])
    disk.open("y", create=True)
    disk.rename("y", "x")
    assert disk.used == 0


def test_what_was_there_gives_its_room() -> None:
    inner = MemoryDisk()
    inner.open("old", create=True).write(0, [b"0123456789"])
    disk = FullDisk(inner, 5)
    file = disk.open("new", create=True)
    file.write(0, [b"01234"])
    disk.unlink("old")
    file.write(5, [b"56789abcde"])
    with pytest.raises(OSError, match="No space"):
        file.write(15, [b"f"])


# -- the power goes --------------------------------------------------------------------


def test_at_each_point_the_power_can_go_and_stays_away() -> None:
    whole = CrashDisk()
    run_every_call(whole)
    assert whole.points == len(MUTATING)
    for point in range(1, whole.points + 1):
        disk = CrashDisk(cut_at=point)
        with pytest.raises(PowerCut):
            run_every_call(disk)
        assert disk.is_cut
        assert disk.points == point
        for call in (disk.open, disk.list, disk.make_folder, disk.sync_folder, disk.free_bytes):
            with pytest.raises(PowerCut):
                call("d")
        assert disk.points == point


def test_an_open_file_loses_its_power_too() -> None:
    disk = CrashDisk(cut_at=3)
    file = disk.open("a", create=True)
    file.write(0, [b"x"])
    with pytest.raises(PowerCut):
        file.sync()
    calls: list[Callable[[], object]] = [
        lambda: file.write(0, [b"y"]),
        lambda: file.read(0, 1),
        file.sync,
        file.size,
        file.map,
        file.close,
    ]
    for call in calls:
        with pytest.raises(PowerCut):
            call()
    assert content(disk.after_cut("kept", 1), "a") == b"x"
    assert disk.after_cut("dropped", 1).list("/") == []


def test_no_handler_of_errors_outlives_a_power_cut() -> None:
    assert not issubclass(PowerCut, Exception)


def test_bytes_and_names_are_durable_apart() -> None:
    disk = CrashDisk()
    named = disk.open("named", create=True)
    disk.sync_folder("/")
    named.write(0, [b"bytes"])
    synced = disk.open("synced", create=True)
    synced.write(0, [b"bytes"])
    synced.sync()
    after = disk.after_cut("dropped", 1)
    assert after.list("/") == ["named"]
    assert content(after, "named") == b""
    kept = disk.after_cut("kept", 1)
    assert content(kept, "named") == content(kept, "synced") == b"bytes"


def test_a_folder_below_an_unsynced_name_is_lost_with_all_in_it() -> None:
    disk = CrashDisk()
    disk.make_folder("a/b")
    disk.open("a/b/c", create=True)
    disk.sync_folder("a/b")
    disk.sync_folder("a")
    assert disk.after_cut("dropped", 1).list("/") == []
    disk.sync_folder("/")
    assert disk.after_cut("dropped", 1).list("a/b") == ["c"]


def test_unlinks_links_and_renames_wait_for_their_folder() -> None:
    start = MemoryDisk()
    for name in ("gone", "linked", "from", "to"):
        start.open(name, create=True).write(0, [name.encode()])
    disk = CrashDisk(start)
    disk.unlink("gone")
    disk.link("linked", "second")
    disk.rename("from", "to")
    before = disk.after_cut("dropped", 1)
    assert before.list("/") == ["from", "gone", "linked", "to"]
    assert content(before, "to") == b"to"
    disk.sync_folder("/")
    after = disk.after_cut("dropped", 1)
    assert after.list("/") == ["linked", "second", "to"]
    assert content(after, "to") == b"from"
    after.open("linked").write(0, [b"LINKED"])
    assert content(after, "second") == b"LINKED"  # still two names of one file
    assert content(start, "to") == b"to"  # what it began with is its own


def test_a_rename_between_folders_is_taken_whole_by_either_sync() -> None:
    for folder in ("a", "b"):
        disk = CrashDisk()
        disk.make_folder("a")
        disk.make_folder("b")
        disk.sync_folder("/")
        disk.open("a/x", create=True)
        disk.rename("a/x", "b/x")
        disk.sync_folder(folder)
        for mode in MODES:
            after = disk.after_cut(mode, 1)
            assert (after.list("a"), after.list("b")) == ([], ["x"])


def test_a_sync_in_flight_has_synced_nothing() -> None:
    disk = CrashDisk()
    file = disk.open("a", create=True)  # point 1
    disk.sync_folder("/")  # 2
    file.write(0, [b"bytes"])  # 3
    file.sync()  # 4
    assert disk.after_cut("dropped", 1, at=2).list("/") == []
    assert content(disk.after_cut("dropped", 1, at=3), "a") == b""
    assert content(disk.after_cut("dropped", 1, at=4), "a") == b""
    assert content(disk.after_cut("dropped", 1), "a") == b"bytes"
    assert content(disk.after_cut("kept", 1, at=3), "a") == b"bytes"


@pytest.mark.parametrize("mode", MODES)
def test_one_run_shows_every_cut(mode: Mode) -> None:
    """``at=n`` of a whole run is the same disk as a run that was cut at n."""
    whole = CrashDisk()
    run_at_random(whole, 5)
    for point in range(1, whole.points + 1, 7):
        cut = CrashDisk(cut_at=point)
        with pytest.raises(PowerCut):
            run_at_random(cut, 5)
        for seed in range(3):
            one, other = whole.after_cut(mode, seed, at=point), cut.after_cut(mode, seed)
            assert everything(one) == everything(other)


def run_at_random(disk: Disk, seed: int) -> dict[str, bytes]:
    """Appends, syncs and names of a few files; what of each file and name is durable."""
    chance = Random(seed)
    durable: dict[str, bytes] = {}
    files = {name: disk.open(name, create=True) for name in "abcd"}
    for name, file in files.items():
        file.write(0, [name.encode() * 10])
    disk.sync_folder("/")
    for turn in range(120):
        name = chance.choice("abcd")
        file = files[name]
        file.write(file.size(), [chance.randbytes(chance.randrange(1, 1_500))])
        if turn % 3 == 0:
            file.sync()
            durable[name] = bytes(file.read(0, file.size()))
    return durable


def everything(disk: MemoryDisk) -> dict[str, bytes]:
    return {name: content(disk, name) for name in disk.list("/")}


@pytest.mark.parametrize("mode", MODES)
def test_durable_bytes_survive_every_mode(mode: Mode) -> None:
    for seed in SEEDS:
        disk = CrashDisk()
        durable = run_at_random(disk, seed)
        after = everything(disk.after_cut(mode, seed))
        assert sorted(after) == list("abcd")
        for name, data in durable.items():
            assert after[name].startswith(data)
        if mode == "dropped":
            assert after == {name: durable.get(name, b"") for name in "abcd"}
        if mode == "kept":
            assert after == {
                name: disk.open(name).read(0, disk.open(name).size()) for name in "abcd"
            }


@pytest.mark.parametrize("mode", MODES)
def test_a_seed_repeats_itself(mode: Mode) -> None:
    runs = []
    for _ in range(2):
        disk = CrashDisk()
        run_at_random(disk, 9)
        runs.append([everything(disk.after_cut(mode, seed)) for seed in range(10)])
    assert runs[0] == runs[1]
    different = {str(run) for run in runs[0]}
    assert len(different) == (1 if mode in {"kept", "dropped"} else 10)


def unsynced() -> CrashDisk:
    """A durable sector and a half, then three writes that no sync followed."""
    disk = CrashDisk()
    file = disk.open("a", create=True)
    disk.sync_folder("/")
    file.write(0, [b"D" * 700])
    file.sync()
    for n in range(3):
        file.write(700 + 1_000 * n, [b"%d" % n * 1_000])
    return disk


def test_torn_writes_end_anywhere_and_lose_a_sector() -> None:
    whole = b"D" * 700 + b"0" * 1_000 + b"1" * 1_000 + b"2" * 1_000
    ends: set[int] = set()
    blank = garbage = 0
    for seed in SEEDS:
        data = content(unsynced().after_cut("torn", seed), "a")
        assert data[:700] == whole[:700]
        ends.add(len(data))
        damaged = [n for n in range(len(data)) if data[n] != whole[n]]
        if damaged:
            first, last = damaged[0], damaged[-1]
            assert first // SECTOR_BYTES == last // SECTOR_BYTES  # within one sector
            lost = data[first : last + 1]
            blank += lost == bytes(len(lost))
            garbage += lost != bytes(len(lost))
    assert any(end % SECTOR_BYTES for end in ends)
    assert len(whole) in ends
    assert min(ends) < 1_700
    assert blank
    assert garbage


def test_reordered_writes_survive_by_sectors() -> None:
    later_without_earlier = parts = 0
    for seed in SEEDS:
        data = content(unsynced().after_cut("reordered", seed), "a")
        assert data[:700] == b"D" * 700
        pieces: dict[tuple[int, int], set[int]] = {}
        for n in range(700, len(data)):
            write = (n - 700) // 1_000
            pieces.setdefault((write, n // SECTOR_BYTES), set()).add(data[n])
        for (write, _), values in pieces.items():
            assert values in ({0}, {b"012"[write]})  # there whole or not at all
        later_without_earlier += b"0" not in data and b"2" in data
        parts += 0 < data.count(b"1") < 1_000
    assert later_without_earlier
    assert parts


def test_reordered_names_survive_one_by_one() -> None:
    seen: set[tuple[str, ...]] = set()
    for seed in SEEDS:
        disk = CrashDisk()
        for name in ("old", "from"):
            disk.open(name, create=True)
        disk.sync_folder("/")
        disk.open("new", create=True)
        disk.unlink("old")
        disk.rename("from", "to")
        seen.add(tuple(disk.after_cut("reordered", seed).list("/")))
    assert seen == {
        tuple(sorted((*new, *old, *moved)))
        for new in ((), ("new",))
        for old in ((), ("old",))
        for moved in (("from",), ("to",))  # never both, never neither
    }


def test_a_crash_can_follow_a_crash() -> None:
    first = CrashDisk()
    run_at_random(first, 3)
    found = first.after_cut("torn", 3)
    before = everything(found)
    second = CrashDisk(found)
    assert everything(second.after_cut("dropped", 1)) == before
    second.open("a").write(0, [b"changed"])
    assert everything(second.after_cut("dropped", 1)) == before
    assert everything(found) == before
    assert content(second.after_cut("kept", 1), "a").startswith(b"changed")
