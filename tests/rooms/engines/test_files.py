"""Segments as files: where they lie, what a failure leaves, what a crash leaves."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.engines.ahead import CLAIM_BYTES, AheadDisk
from holdfast.engines.disk import OsDisk
from holdfast.engines.files import FileSegments
from holdfast.engines.memory import Folder, MemoryDisk
from holdfast.engines.port import Segments
from holdfast.testing.disk import (
    FOREVER,
    MODES,
    CountingDisk,
    CrashDisk,
    FailingDisk,
    FullDisk,
    Mode,
    PowerCut,
)


class RoomyDisk(MemoryDisk):
    """A disk that says how much room each folder has."""

    def __init__(self, room: dict[str, int]) -> None:
        super().__init__()
        self.room = room

    def free_bytes(self, path: str) -> int:
        return super().free_bytes(path) and self.room.get(path, 1)


def tree(disk: MemoryDisk, path: str = "/") -> dict[str, bytes | None]:
    """Every name on the disk: a file's bytes, or None for a folder."""
    found: dict[str, bytes | None] = {}
    for name in disk.list(path):
        below = f"{path.rstrip('/')}/{name}"
        if isinstance(disk.find(below), Folder):
            found[below] = None
            found |= tree(disk, below)
        else:
            found[below] = bytes(disk.open(below).map()[:])
    return found


def opened(disk: MemoryDisk | CrashDisk) -> FileSegments:
    return FileSegments(disk, ["/data"], create=True)


# -- where they lie --------------------------------------------------------------------


def test_the_layout() -> None:
    disk = MemoryDisk()
    opened(disk).begin("b1", 0x2A, [b"head"])
    assert tree(disk) == {
        "/data": None,
        "/data/b1": None,
        "/data/b1/000000000000002a.seg": b"head",
    }


def test_a_new_bucket_goes_where_most_room_is() -> None:
    disk = RoomyDisk({"/one": 10, "/two": 20})
    segments = FileSegments(disk, ["/one", "/two"], create=True)
    segments.begin("first", 0, [b"head"])
    disk.room["/two"] = 5
    segments.begin("second", 0, [b"head"])
    segments.begin("first", 1, [b"head"])
    assert disk.list("/one") == ["second"]
    assert disk.list("/two/first") == ["0000000000000000.seg", "0000000000000001.seg"]
    assert segments.free_bytes("first") == 5
    assert segments.free_bytes("second") == segments.free_bytes("none") == 10
    assert segments.listing() == {"first": [0, 1], "second": [0]}


def test_folders_with_as_much_room_share_the_buckets() -> None:
    disk = RoomyDisk({"/one": 1000, "/two": 999})  # one file system, asked twice while it fills
    segments = FileSegments(disk, ["/one", "/two"], create=True)
    for number in range(6):
        segments.begin(f"b{number}", 0, [b"head"])
    assert len(disk.list("/one")) == len(disk.list("/two")) == 3


def test_a_child_is_placed_beside_its_parent() -> None:
    disk = RoomyDisk({"/one": 20, "/two": 10})
    segments = FileSegments(disk, ["/one", "/two"], create=True)
    segments.begin("parent", 0, [b"head"])
    disk.room["/two"] = 99
    segments.share("parent", 0, "child", 0)
    assert disk.list("/one") == ["child", "parent"]


def test_a_child_begins_beside_the_parent_whose_segments_it_is_to_share() -> None:
    disk = RoomyDisk({"/one": 20, "/two": 10})
    segments = FileSegments(disk, ["/one", "/two"], create=True)
    segments.begin("parent", 0, [b"head"])
    disk.room["/two"] = 99
    segments.begin("child", 1, [b"head"], "parent")
    segments.retire("parent")
    segments.begin("child", 2, [b"head"], "parent")
    assert (disk.list("/one"), disk.list("/two")) == (["child"], [])


def on_two_disks(disk: RoomyDisk) -> FileSegments:
    segments = FileSegments(disk, ["/one", "/two"], create=True)
    disk.room |= {"/one": 20, "/two": 10}
    segments.begin("parent", 0, [b"head"])
    disk.room["/two"] = 99
    segments.begin("child", 7, [b"other head"])
    assert (disk.list("/one"), disk.list("/two")) == (["parent"], ["child"])
    return segments


def test_a_small_segment_is_copied_to_another_disk() -> None:
    disk = RoomyDisk({})
    segments = on_two_disks(disk)
    for _ in range(2):
        segments.share("parent", 0, "child", 8)
    with pytest.raises(FileExistsError):
        segments.share("parent", 0, "child", 7)
    segments.retire("parent")
    assert segments.open("child", 8).read(0, 9) == b"head"
    assert (disk.list("/one"), disk.list("/two")) == ([], ["child"])


def test_a_copy_is_whole_or_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = RoomyDisk({})
    segments = on_two_disks(disk)
    before = tree(disk)

    def full(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "no space left", source, None, target)

    with monkeypatch.context() as patched:
        patched.setattr(disk, "rename", full)
        with pytest.raises(OSError, match="no space"):
            segments.share("parent", 0, "child", 8)
    assert tree(disk) == before


def test_buckets_on_two_disks_do_not_share_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.engines.files.COPY_BYTES", 3)
    disk = RoomyDisk({})
    segments = on_two_disks(disk)
    before = tree(disk)
    with pytest.raises(OSError, match="ross-device") as refused:
        segments.share("parent", 0, "child", 0)
    assert refused.value.errno == errno.EXDEV
    assert tree(disk) == before


def test_a_missing_folder_is_named_and_nothing_is_done() -> None:
    disk = MemoryDisk()
    FileSegments(disk, ["/one", "/two"], create=True).begin("b", 0, [b"head"])
    disk.rename("/two", "/elsewhere")
    before = tree(disk)
    counting = CountingDisk(disk)
    with pytest.raises(FileNotFoundError) as missing:
        FileSegments(counting, ["/one", "/two"])
    assert missing.value.filename == "/two"
    assert set(counting.calls) == {"free_bytes"}
    assert tree(disk) == before


def test_a_folder_that_goes_while_open_is_not_an_empty_one() -> None:
    disk = MemoryDisk()
    segments = opened(disk)
    segments.begin("b", 0, [b"head"])
    disk.rename("/data", "/gone")
    with pytest.raises(FileNotFoundError):
        segments.listing()


def test_a_bucket_in_two_folders_is_refused() -> None:
    disk = MemoryDisk()
    for folder in ("/one", "/two"):
        FileSegments(disk, [folder], create=True).begin("b", 0, [b"head"])
    with pytest.raises(FileExistsError) as twice:
        FileSegments(disk, ["/one", "/two"])
    assert twice.value.filename == "/two/b"


def test_other_files_are_passed_over() -> None:
    disk = MemoryDisk()
    segments = opened(disk)
    segments.begin("b", 0, [b"head"])
    disk.make_folder("/data/lost+found")
    disk.make_folder("/data/empty")
    disk.open("/data/LOCK", create=True)
    disk.open("/data/b/notes.txt", create=True)
    disk.open("/data/b/12.seg", create=True)
    assert segments.listing() == opened(disk).listing() == {"b": [0]}
    segments.retire("b")
    assert disk.list("/data") == ["LOCK", "empty", "lost+found"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".hidden", "reserve", "a" * 129, "ä"])
def test_a_bucket_is_no_path(name: str) -> None:
    disk = MemoryDisk()
    segments = opened(disk)
    segments.begin("b", 0, [b"head"])
    before = tree(disk)
    calls: list[Callable[[], object]] = [
        lambda: segments.begin(name, 0, [b"head"]),
        lambda: segments.share("b", 0, name, 0),
        lambda: segments.retire(name),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="bucket"):
            call()
    assert tree(disk) == before


@pytest.mark.parametrize("number", [-1, 1 << 64])
def test_a_number_fits_its_name(number: int) -> None:
    with pytest.raises(ValueError, match="number"):
        opened(MemoryDisk()).begin("b", number, [b"head"])


def test_folders_are_needed() -> None:
    with pytest.raises(ValueError, match="folder"):
        FileSegments(MemoryDisk(), [])


# -- what a failure leaves -------------------------------------------------------------


def changes(segments: Segments) -> dict[str, Callable[[], object]]:
    return {
        "begin in a new bucket": lambda: segments.begin("new", 0, [b"head", b"x" * 2_000]),
        "begin": lambda: segments.begin("b", 1, [b"head", b"x" * 2_000]),
        "share with a new bucket": lambda: segments.share("b", 0, "new", 3),
        "share": lambda: segments.share("b", 0, "other", 3),
    }


def attempt(change: Callable[[], object]) -> OSError | None:
    try:
        change()
    except OSError as error:
        return error
    return None


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("what", changes(opened(MemoryDisk())))
def test_a_failed_change_leaves_nothing_and_can_be_repeated(what: str, *, short: bool) -> None:
    for nth in range(1, 12):
        disk = MemoryDisk()
        for bucket in ("b", "other"):
            opened(disk).begin(bucket, 0, [b"zero"])
        before = tree(disk)
        # The first call that could fail is the constructor's, which syncs the folder.
        failing = FailingDisk(disk, nth + 1, error=errno.ENOSPC, short=short, seed=nth)
        segments = FileSegments(failing, ["/data"])
        change = changes(segments)[what]
        refused = attempt(change)
        if refused is not None:
            assert refused.errno == errno.ENOSPC
            assert tree(disk) == before
            assert segments.listing() == {"b": [0], "other": [0]}
            change()
        assert tree(disk) != before
        assert segments.listing() == FileSegments(disk, ["/data"]).listing()
        if not failing.failed:
            break
    else:
        pytest.fail("the change has more calls than were made to fail")
    assert nth > 2


def test_a_head_that_is_no_bytes_leaves_nothing() -> None:
    disk = MemoryDisk()
    segments = opened(disk)
    with pytest.raises(TypeError):
        segments.begin("b", 0, ["text"])  # type: ignore[list-item]
    assert tree(disk) == {"/data": None}


def test_a_leftover_that_cannot_be_removed_keeps_its_home() -> None:
    """Else a crash could show it again beside a namesake on another disk."""
    disk = RoomyDisk({"/one": 20, "/two": 10})
    FileSegments(disk, ["/one", "/two"], create=True)
    failing = FailingDisk(disk, 3, times=2, kinds={"sync", "sync_folder", "unlink"})
    segments = FileSegments(failing, ["/one", "/two"])
    with pytest.raises(OSError, match="output error"):
        segments.begin("b", 0, [b"head"])
    assert disk.list("/one/b") == ["0000000000000000.seg"]
    disk.room["/two"] = 99
    with pytest.raises(FileExistsError):
        segments.begin("b", 0, [b"head"])
    segments.drop("b", 0)
    segments.begin("b", 0, [b"head"])
    assert disk.list("/two") == []
    assert FileSegments(disk, ["/one", "/two"]).listing() == {"b": [0]}


def test_a_failed_append_leaves_the_size_and_is_written_over() -> None:
    disk = MemoryDisk()
    failing = FailingDisk(disk, 1, error=errno.ENOSPC, short=True, kinds={"write"}, seed=3)
    opened(disk).begin("b", 0, [b"head"])
    segment = FileSegments(failing, ["/data"]).open("b", 0)
    with pytest.raises(OSError, match="No space"):
        segment.append([b"x" * 500, b"y" * 500])
    assert segment.size == 4
    assert 4 < disk.open("/data/b/0000000000000000.seg").size() < 1_004  # the seed tears it
    assert segment.read(0, 9_999) == b"head"
    segment.append([b"record"])
    assert segment.read(0, 9_999) == b"headrecord"


def test_after_a_failed_sync_nothing_is_written() -> None:
    disk = MemoryDisk()
    opened(disk).begin("b", 0, [b"head"])
    failing = FailingDisk(disk, 1, kinds={"sync"})
    segment = FileSegments(failing, ["/data"]).open("b", 0)
    segment.append([b"one"])
    for call in (segment.sync, segment.sync, lambda: segment.append([b"two"])):
        with pytest.raises(OSError, match="output error"):
            call()
    segment.park()
    with pytest.raises(OSError, match="output error"):
        segment.sync()
    assert failing.calls == 1
    assert segment.read(0, 99) == b"headone"


def test_a_sync_that_fails_for_the_name_is_a_failed_sync() -> None:
    disk = MemoryDisk()
    opened(disk).begin("b", 0, [b"head"])
    failing = FailingDisk(disk, 2, kinds={"sync_folder"})
    segment = FileSegments(failing, ["/data"]).open("b", 0)
    for _ in range(2):
        with pytest.raises(OSError, match="output error"):
            segment.sync()


def test_a_file_that_shrank_is_not_written_to() -> None:
    disk = MemoryDisk()
    segments = opened(disk)
    segment = segments.begin("b", 0, [b"head and more"])
    segment.park()
    segments.drop("b", 0)
    segments.begin("b", 0, [b"head"]).park()
    with pytest.raises(OSError, match=r"[Ss]tale"):
        segment.append([b"x"])
    with pytest.raises(OSError, match=r"[Ss]tale"):
        segment.read(0, 4)


# -- what a crash leaves ---------------------------------------------------------------


def at_every_cut(run: Callable[[CrashDisk], object], start: MemoryDisk) -> list[MemoryDisk]:
    """The disks a machine may find, whenever in ``run`` the power went."""
    whole = CrashDisk(start)
    run(whole)
    found: list[MemoryDisk] = []
    for point in range(1, whole.points + 1):
        cut = CrashDisk(start, cut_at=point)
        with pytest.raises(PowerCut):
            run(cut)
        for mode in MODES:
            seeds = range(1 if mode in {"kept", "dropped"} else 5)
            found.extend(cut.after_cut(mode, seed) for seed in seeds)
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", changes(opened(MemoryDisk())))
def test_what_was_answered_is_durable(what: str, mode: Mode) -> None:
    disk = CrashDisk()
    for bucket in ("b", "other"):
        opened(disk).begin(bucket, 0, [b"zero"])
    segments = opened(disk)
    changes(segments)[what]()
    for seed in range(5):
        after = disk.after_cut(mode, seed)
        found = FileSegments(after, ["/data"])
        assert found.listing() == segments.listing()
        assert tree(after) == tree(disk.after_cut("kept", 0))


@pytest.mark.parametrize("what", changes(opened(MemoryDisk())))
def test_after_a_crash_it_can_be_begun_again(what: str) -> None:
    start = MemoryDisk()
    for bucket in ("b", "other"):
        opened(start).begin(bucket, 0, [b"zero"])
    expected = CrashDisk(start)
    changes(opened(expected))[what]()
    for disk in at_every_cut(lambda disk: changes(opened(disk))[what](), start):
        segments = FileSegments(disk, ["/data"])
        if what.startswith("begin"):
            segments.drop("new", 0)
            segments.drop("b", 1)
        changes(segments)[what]()
        assert tree(disk) == tree(expected.after_cut("kept", 0))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bucket", ["b", "new"])
def test_what_a_failed_begin_left_does_not_come_back(bucket: str, mode: Mode) -> None:
    disk = CrashDisk()
    opened(disk).begin("b", 0, [b"zero"])
    failing = FailingDisk(disk, 2, kinds={"sync_folder"})
    with pytest.raises(OSError, match="output error"):
        FileSegments(failing, ["/data"]).begin(bucket, 1, [b"head"])
    for seed in range(100):
        assert FileSegments(disk.after_cut(mode, seed), ["/data"]).listing() == {"b": [0]}


def test_a_dropped_segment_stays_dropped_through_a_crash() -> None:
    disk = CrashDisk()
    segments = opened(disk)
    for number in range(3):
        segments.begin("b", number, [b"head"])
    segments.drop("b", 1)
    for mode in MODES:
        assert FileSegments(disk.after_cut(mode, 1), ["/data"]).listing() == {"b": [0, 2]}
    segments.retire("b")
    for mode in MODES:
        assert tree(disk.after_cut(mode, 1)) == {"/data": None}


def test_a_retirement_that_was_cut_short_can_be_repeated() -> None:
    start = MemoryDisk()
    for number in range(3):
        opened(start).begin("b", number, [b"head"])
    for disk in at_every_cut(lambda disk: opened(disk).retire("b"), start):
        opened(disk).retire("b")
        assert tree(disk) == {"/data": None}


def test_of_a_retired_bucket_no_older_segments_come_back_without_the_newest() -> None:
    """They would tell of splits that were undone since, and a child of one be born again."""
    start = MemoryDisk()
    for number in range(4):
        opened(start).begin("b", number, [b"head"])
    start.open("/data/b/notes.txt", create=True)
    for disk in at_every_cut(lambda disk: opened(disk).retire("b"), start):
        left = FileSegments(disk, ["/data"]).listing().get("b", [3])
        assert left[-1] == 3


def test_a_new_store_is_durable_with_the_folders_above_it() -> None:
    disk = CrashDisk()
    FileSegments(disk, ["/a/b/data"], create=True).begin("b", 0, [b"head"])
    assert "/a/b/data/b/0000000000000000.seg" in tree(disk.after_cut("dropped", 1))


def test_the_first_sync_of_a_found_segment_makes_its_name_durable() -> None:
    """A process killed in ``begin`` leaves a name that only the page cache knows."""
    disk = CrashDisk()
    opened(disk).begin("b", 0, [b"head"])
    file = disk.open("/data/b/0000000000000001.seg", create=True)
    file.write(0, [b"head"])
    segment = FileSegments(disk, ["/data"]).open("b", 1)
    segment.append([b"record"])
    segment.sync()
    after = FileSegments(disk.after_cut("dropped", 1), ["/data"])
    assert after.open("b", 1).read(0, 99) == b"headrecord"


def test_the_first_open_makes_the_names_of_found_buckets_durable() -> None:
    disk = CrashDisk()
    opened(disk)
    disk.make_folder("/data/b")
    disk.open("/data/b/0000000000000001.seg", create=True)
    segment = FileSegments(disk, ["/data"]).open("b", 1)
    segment.append([b"record"])
    segment.sync()
    after = FileSegments(disk.after_cut("dropped", 1), ["/data"])
    assert after.open("b", 1).read(0, 99) == b"record"


# -- the reserve -----------------------------------------------------------------------


def test_the_reserve_takes_the_room_it_promises() -> None:
    disk = FullDisk(MemoryDisk(), 3_000_000)
    segments = FileSegments(disk, ["/data"], create=True)
    assert segments.reserve(2_000_000)
    assert disk.used == 2_000_000
    with pytest.raises(OSError, match="No space"):
        segments.begin("b", 0, [bytes(1_500_000)])
    assert disk.used == 2_000_000
    assert segments.reserve(0)
    segments.begin("b", 0, [bytes(1_500_000)])
    assert disk.used == 1_500_000


def test_a_reserve_that_does_not_fit_takes_nothing() -> None:
    disk = FullDisk(MemoryDisk(), 3_000_000)
    segments = FileSegments(disk, ["/data"], create=True)
    assert not segments.reserve(3_000_001)
    assert disk.used == 0
    assert disk.list("/data") == []
    assert segments.reserve(3_000_000)


def test_the_reserve_is_found_again_and_not_written_twice() -> None:
    disk = CountingDisk(MemoryDisk())
    assert FileSegments(disk, ["/one", "/two"], create=True).reserve(1_000)
    assert disk.bytes["write"] == 2_000
    assert FileSegments(disk, ["/one", "/two"]).reserve(1_000)
    assert disk.bytes["write"] == 2_000


def test_nor_where_blocks_are_asked_for_ahead_of_large_writes(tmp_path: Path) -> None:
    disk, size = CountingDisk(AheadDisk(everywhere=True)), 3 * CLAIM_BYTES
    segments = FileSegments(disk, [str(tmp_path)], create=True)
    for _ in range(3):
        assert segments.reserve(size)
        assert disk.bytes["write"] == size


def test_a_reserve_on_a_disk_that_fails_is_none() -> None:
    disk = MemoryDisk()
    opened(disk)
    for nth in range(2, 7):
        failing = FailingDisk(disk, nth, times=FOREVER)
        assert not FileSegments(failing, ["/data"]).reserve(3_000_000)


# -- the price -------------------------------------------------------------------------


def test_what_each_call_costs(tmp_path: Path) -> None:
    disk = CountingDisk(OsDisk())
    segments = FileSegments(disk, [str(tmp_path)])
    disk.reset()
    segment = segments.begin("b", 0, [b"head"])
    assert disk.calls == {
        "free_bytes": 1, "make_folder": 1, "create": 1, "write": 1, "sync": 1, "sync_folder": 2,
    }  # fmt: skip
    disk.reset()
    segments.begin("b", 1, [b"head"])
    assert disk.calls == {"create": 1, "write": 1, "sync": 1, "sync_folder": 1}
    disk.reset()
    segment.append([b"one", b"two"])
    segment.sync()
    segment.read(0, 9)
    assert disk.calls == {"write": 1, "sync": 1, "read": 1}
    disk.reset()
    segments.share("b", 0, "c", 0)
    assert disk.calls == {"make_folder": 1, "link": 1, "sync_folder": 2}
    disk.reset()
    segments.drop("b", 1)
    assert disk.calls == {"unlink": 1, "sync_folder": 1}
