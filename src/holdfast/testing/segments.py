"""The suites of the engines' ports: inherit one and say how to open the ground.

Example:
    >>> class TestMine(SegmentsSuite):
    ...     @pytest.fixture
    ...     def ground(self, tmp_path):
    ...         return lambda: FileSegments(OsDisk(), [str(tmp_path)])
"""

from __future__ import annotations

# ruff: noqa: D102, S101, PLR2004 - tests: told by their names, and they assert what they expect
from collections.abc import Callable
from threading import Thread

import pytest

from holdfast.engines.port import Buffer, Disk, Segments

Ground = Callable[[], Segments]


class SegmentsSuite:
    """What every implementation of ``Segments`` does alike.

    Inherit it and give a fixture ``ground``: a function that opens the same
    place, empty at first, each time it is called, as a new process would.
    """

    @pytest.fixture
    def ground(self) -> Ground:
        raise NotImplementedError("how to open the segments under test")

    @pytest.fixture
    def segments(self, ground: Ground) -> Segments:
        return ground()

    # -- begin and open ----------------------------------------------------------

    def test_a_segment_begins_with_its_head(self, segments: Segments) -> None:
        segment = segments.begin("b", 0, [b"he", b"ad"])
        assert segment.size == 4
        assert segment.read(0, 4) == b"head"
        assert segments.listing() == {"b": [0]}

    def test_a_number_is_taken_once(self, segments: Segments) -> None:
        segments.begin("b", 0, [b"first"])
        with pytest.raises(FileExistsError):
            segments.begin("b", 0, [b"second"])
        assert segments.open("b", 0).read(0, 99) == b"first"

    def test_one_of_many_that_begin_the_same_number_wins(self, segments: Segments) -> None:
        segments.begin("b", 0, [b"head"])
        won: list[bytes] = []

        def race(name: bytes) -> None:
            try:
                segments.begin("b", 1, [name])
            except FileExistsError:
                return
            won.append(name)

        threads = [Thread(target=race, args=(b"%d" % n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [segments.open("b", 1).read(0, 9)] == won

    def test_what_is_absent_cannot_be_opened(self, segments: Segments) -> None:
        with pytest.raises(FileNotFoundError):
            segments.open("b", 0)
        segments.begin("b", 0, [b"head"])
        with pytest.raises(FileNotFoundError):
            segments.open("b", 1)

    def test_an_opened_segment_goes_on_where_it_ended(self, ground: Ground) -> None:
        segment = ground().begin("b", 7, [b"head"])
        segment.append([b"one"])
        segment.sync()
        segment.park()
        again = ground().open("b", 7)
        assert again.size == 7
        again.append([b"two"])
        again.sync()
        assert again.read(0, 99) == b"headonetwo"

    def test_the_listing_is_in_order(self, ground: Ground) -> None:
        segments = ground()
        for number in (300, 2, (1 << 64) - 1, 16):
            segments.begin("b2", number, [b"head"])
        segments.begin("b10", 1, [b"head"])
        expected = {"b10": [1], "b2": [2, 16, 300, (1 << 64) - 1]}
        for found in (segments.listing(), ground().listing()):
            assert list(found.items()) == list(expected.items())

    # -- append and read -----------------------------------------------------------

    def test_buffers_are_appended_in_order_whatever_they_are(self, segments: Segments) -> None:
        segment = segments.begin("b", 0, [])
        buffers: list[Buffer] = [b"a", bytearray(b"b"), b"", memoryview(b"xcx")[1:2]]
        segment.append(buffers)
        segment.append([])
        segment.append([memoryview(b"d")])
        assert segment.size == 4
        assert segment.read(0, 4) == b"abcd"

    def test_thousands_of_buffers_are_one_append(self, segments: Segments) -> None:
        segment = segments.begin("b", 0, [b"head"])
        buffers = [b"%04d" % n for n in range(3_000)]
        segment.append(buffers)
        assert segment.size == 4 + 12_000
        assert segment.read(4, segment.size) == b"".join(buffers)

    def test_a_read_ends_where_the_segment_ends(self, segments: Segments) -> None:
        segment = segments.begin("b", 0, [b"0123456789"])
        assert segment.read(3, 6) == b"345"
        assert segment.read(8, 20) == b"89"
        assert segment.read(10, 20) == b""
        assert segment.read(30, 40) == b""

    def test_a_read_that_may_not_wait_is_the_same_or_nothing(self, segments: Segments) -> None:
        segment = segments.begin("b", 0, [b"0123456789"])
        assert segment.read_now(3, 6) in {b"345", None}
        assert segment.read_now(8, 20) in {b"89", None}

    def test_what_is_set_aside_is_given_back(self, ground: Ground) -> None:
        segment = ground().begin("b", 0, [b"head"])
        for _ in range(300):
            segment.append([bytes(range(250)) * 4])
        segment.finish()
        assert ground().open("b", 0).size == segment.size == 4 + 300_000
        segment.append([b"key block"])
        segment.sync()
        assert ground().open("b", 0).size == segment.size
        assert segment.read(299_999, 300_099) == bytes(range(245, 250)) + b"key block"

    def test_a_map_is_the_whole_segment_and_slices_to_bytes(self, segments: Segments) -> None:
        segment = segments.begin("b", 0, [b"head"])
        segment.append([b"record"])
        segment.sync()
        mapped = segment.map()
        assert len(mapped) == 10
        assert type(mapped[4:10]) is bytes
        assert mapped[4:10] == b"record"
        assert segment.read(4, 10) == b"record"

    def test_an_empty_segment_maps_to_nothing(self, segments: Segments) -> None:
        assert segments.begin("b", 0, []).map()[:] == b""

    def test_a_map_outlives_the_parking_and_the_drop(self, segments: Segments) -> None:
        segment = segments.begin("b", 0, [b"head"])
        mapped = segment.map()
        segment.park()
        segments.drop("b", 0)
        assert mapped[:] == b"head"

    def test_a_parked_segment_opens_itself_again(self, segments: Segments) -> None:
        segment = segments.begin("b", 0, [b"head"])
        segment.park()
        segment.append([b"one"])
        segment.park()
        segment.park()
        assert segment.read(0, 99) == b"headone"
        segment.park()
        segment.sync()
        segment.park()
        assert segment.map()[:] == b"headone"

    def test_readers_never_see_half_an_append(self, segments: Segments) -> None:
        segment = segments.begin("b", 0, [])
        wrong: list[bytes] = []

        def look() -> None:
            for _ in range(300):
                data = segment.read(0, segment.size)
                if len(data) % 8 or data.strip(b"x"):
                    wrong.append(data)

        threads = [Thread(target=look) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(300):
            segment.append([b"xxxx", b"xxxx"])
        for thread in threads:
            thread.join()
        assert not wrong

    # -- share ---------------------------------------------------------------------

    def test_a_shared_segment_has_the_same_bytes(self, ground: Ground) -> None:
        segments = ground()
        segments.begin("parent", 3, [b"head", b"records"])
        segments.share("parent", 3, "child", 0)
        assert segments.open("child", 0).read(0, 99) == b"headrecords"
        assert ground().listing() == {"child": [0], "parent": [3]}

    def test_sharing_again_changes_nothing(self, ground: Ground) -> None:
        segments = ground()
        segments.begin("parent", 3, [b"head", b"records" * 4_000])
        for _ in range(2):
            segments.share("parent", 3, "child", 0)
        ground().share("parent", 3, "child", 0)
        assert ground().listing() == {"child": [0], "parent": [3]}

    def test_a_number_with_other_bytes_is_not_shared_over(self, segments: Segments) -> None:
        segments.begin("parent", 3, [b"head"])
        segments.begin("child", 0, [b"mine"])
        with pytest.raises(FileExistsError):
            segments.share("parent", 3, "child", 0)
        assert segments.open("child", 0).read(0, 9) == b"mine"

    def test_what_is_absent_cannot_be_shared(self, segments: Segments) -> None:
        with pytest.raises(FileNotFoundError):
            segments.share("parent", 3, "child", 0)
        segments.begin("parent", 0, [b"head"])
        with pytest.raises(FileNotFoundError):
            segments.share("parent", 3, "child", 0)
        assert segments.listing() == {"parent": [0]}

    def test_a_share_outlives_its_source(self, ground: Ground) -> None:
        segments = ground()
        segments.begin("parent", 3, [b"head"])
        segments.share("parent", 3, "child", 9)
        segments.retire("parent")
        assert ground().open("child", 9).read(0, 9) == b"head"

    # -- drop and retire -----------------------------------------------------------

    def test_a_dropped_segment_is_gone_and_its_number_free(self, ground: Ground) -> None:
        segments = ground()
        segments.begin("b", 0, [b"zero"])
        segments.begin("b", 1, [b"one"])
        for _ in range(2):
            segments.drop("b", 0)
        assert ground().listing() == {"b": [1]}
        with pytest.raises(FileNotFoundError):
            segments.open("b", 0)
        assert segments.begin("b", 0, [b"new"]).read(0, 9) == b"new"

    def test_what_is_absent_is_dropped_and_retired_in_silence(self, segments: Segments) -> None:
        segments.drop("b", 0)
        segments.retire("b")
        assert segments.listing() == {}

    def test_a_bucket_without_segments_is_none(self, ground: Ground) -> None:
        segments = ground()
        segments.begin("b", 0, [b"head"])
        segments.drop("b", 0)
        assert segments.listing() == ground().listing() == {}

    def test_a_retired_bucket_is_gone_and_its_name_free(self, ground: Ground) -> None:
        segments = ground()
        for number in range(3):
            segments.begin("gone", number, [b"head"])
        segments.begin("stays", 0, [b"head"])
        for _ in range(2):
            segments.retire("gone")
        assert segments.listing() == ground().listing() == {"stays": [0]}
        segments.begin("gone", 0, [b"new"])
        assert ground().open("gone", 0).read(0, 9) == b"new"

    # -- room ------------------------------------------------------------------------

    def test_room_is_told_of_buckets_that_are_and_are_not(self, segments: Segments) -> None:
        segments.begin("b", 0, [b"head"])
        assert segments.free_bytes("b") > 0
        assert segments.free_bytes("none") > 0

    def test_a_reserve_is_kept_and_given_back(self, ground: Ground) -> None:
        segments = ground()
        for size in (5_000, 5_000, 3_000, 2_000_000, 0, 0):
            assert segments.reserve(size)
        assert segments.reserve(1_000)
        assert ground().reserve(0)
        assert segments.listing() == {}


class DiskSuite:
    """What every implementation of ``Disk`` does alike.

    Inherit it and give two fixtures: ``disk``, and ``top``, an existing empty
    folder on it.
    """

    @pytest.fixture
    def disk(self) -> Disk:
        raise NotImplementedError("the disk under test")

    @pytest.fixture
    def top(self) -> str:
        raise NotImplementedError("an empty folder on it")

    # -- files -----------------------------------------------------------------------

    def test_bytes_come_back(self, disk: Disk, top: str) -> None:
        file = disk.open(f"{top}/a", create=True)
        assert file.write(0, [b"hold"]) == 4
        assert file.write(4, [b"fa", b"", bytearray(b"st")]) == 4
        assert file.size() == 8
        assert file.read(2, 4) == b"ldfa"
        assert file.read(6, 99) == b"st"
        assert file.read(99, 1) == b""
        file.sync()
        assert disk.open(f"{top}/a").read(0, 8) == b"holdfast"

    def test_a_write_may_land_anywhere(self, disk: Disk, top: str) -> None:
        file = disk.open(f"{top}/a", create=True)
        file.write(3, [b"later"])
        file.write(1, [b"b"])
        assert file.read(0, 99) == b"\0b\0later"

    def test_more_buffers_than_one_call_takes(self, disk: Disk, top: str) -> None:
        file = disk.open(f"{top}/a", create=True)
        assert file.write(1, [b"xy"] * 5_000) == 10_000
        assert file.read(0, 20_000) == b"\0" + b"xy" * 5_000

    def test_no_bytes_are_no_error(self, disk: Disk, top: str) -> None:
        file = disk.open(f"{top}/a", create=True)
        assert file.write(0, []) == file.write(0, [b""]) == file.write(5, [b"", b""]) == 0
        assert file.size() == 0
        assert file.map()[:] == b""

    def test_buffers_wider_than_bytes_count_in_bytes(self, disk: Disk, top: str) -> None:
        file = disk.open(f"{top}/a", create=True)
        wide = memoryview(b"12345678").cast("I")
        assert file.write(0, [wide]) == 8
        assert file.write(8, [wide, wide]) == 16
        assert file.read(0, 99) == b"12345678" * 3

    def test_a_map_outlives_its_file_and_its_name(self, disk: Disk, top: str) -> None:
        file = disk.open(f"{top}/a", create=True)
        file.write(0, [b"mapped"])
        mapped = file.map()
        file.close()
        disk.unlink(f"{top}/a")
        assert mapped[1:3] == b"ap"
        assert len(mapped) == 6

    def test_a_closed_file_refuses(self, disk: Disk, top: str) -> None:
        file = disk.open(f"{top}/a", create=True)
        file.close()
        file.close()
        for call in (file.size, file.sync, lambda: file.read(0, 1), lambda: file.write(0, [b"x"])):
            with pytest.raises(OSError, match="Bad file descriptor"):
                call()

    def test_a_file_that_is_only_read_takes_nothing(self, disk: Disk, top: str) -> None:
        disk.open(f"{top}/a", create=True).write(0, [b"hold"])
        file = disk.open(f"{top}/a", write=False)
        with pytest.raises(OSError, match="Bad file descriptor"):
            file.write(0, [b"fast"])
        assert (file.read(0, 8), file.size(), file.map()[:4]) == (b"hold", 4, b"hold")
        file.close()
        with pytest.raises(FileNotFoundError):
            disk.open(f"{top}/b", write=False)
        with pytest.raises(IsADirectoryError):
            disk.open(top, write=False)

    def test_a_name_is_made_once(self, disk: Disk, top: str) -> None:
        disk.open(f"{top}/a", create=True).write(0, [b"first"])
        with pytest.raises(FileExistsError):
            disk.open(f"{top}/a", create=True)
        assert disk.open(f"{top}/a").size() == 5

    def test_what_is_absent_cannot_be_opened(self, disk: Disk, top: str) -> None:
        for path in ("a", "no/a"):
            with pytest.raises(FileNotFoundError):
                disk.open(f"{top}/{path}")
        with pytest.raises(FileNotFoundError):
            disk.open(f"{top}/no/a", create=True)
        with pytest.raises(IsADirectoryError):
            disk.open(top)

    # -- names -----------------------------------------------------------------------

    def test_links_share_their_bytes(self, disk: Disk, top: str) -> None:
        file = disk.open(f"{top}/a", create=True)
        disk.link(f"{top}/a", f"{top}/b")
        file.write(0, [b"shared"])
        disk.unlink(f"{top}/a")
        assert disk.open(f"{top}/b").read(0, 9) == b"shared"
        with pytest.raises(FileNotFoundError):
            disk.link(f"{top}/a", f"{top}/c")
        disk.open(f"{top}/a", create=True)
        with pytest.raises(FileExistsError):
            disk.link(f"{top}/a", f"{top}/b")

    def test_an_unlinked_file_stays_for_who_has_it(self, disk: Disk, top: str) -> None:
        file = disk.open(f"{top}/a", create=True)
        disk.unlink(f"{top}/a")
        file.write(0, [b"still"])
        assert file.read(0, 9) == b"still"
        assert disk.list(top) == []

    def test_what_is_absent_is_unlinked_in_silence(self, disk: Disk, top: str) -> None:
        disk.unlink(f"{top}/a")
        disk.unlink(f"{top}/no/a")

    def test_a_rename_replaces(self, disk: Disk, top: str) -> None:
        disk.open(f"{top}/a", create=True).write(0, [b"new"])
        old = disk.open(f"{top}/b", create=True)
        old.write(0, [b"old"])
        disk.rename(f"{top}/a", f"{top}/b")
        assert disk.list(top) == ["b"]
        assert disk.open(f"{top}/b").read(0, 9) == b"new"
        assert old.read(0, 9) == b"old"
        with pytest.raises(FileNotFoundError):
            disk.rename(f"{top}/a", f"{top}/b")

    def test_a_folder_is_renamed_with_what_is_in_it(self, disk: Disk, top: str) -> None:
        disk.make_folder(f"{top}/a/deep")
        disk.open(f"{top}/a/deep/file", create=True).write(0, [b"in"])
        disk.make_folder(f"{top}/full/x")
        with pytest.raises(OSError, match="not empty"):
            disk.rename(f"{top}/a", f"{top}/full")
        disk.rename(f"{top}/a", f"{top}/b")
        assert disk.list(top) == ["b", "full"]
        assert disk.open(f"{top}/b/deep/file").read(0, 9) == b"in"

    def test_a_rename_keeps_files_and_folders_apart(self, disk: Disk, top: str) -> None:
        disk.open(f"{top}/file", create=True)
        disk.make_folder(f"{top}/folder")
        with pytest.raises(IsADirectoryError):
            disk.rename(f"{top}/file", f"{top}/folder")
        with pytest.raises(NotADirectoryError):
            disk.rename(f"{top}/folder", f"{top}/file")

    # -- folders ---------------------------------------------------------------------

    def test_folders_are_made_with_those_above(self, disk: Disk, top: str) -> None:
        for _ in range(2):
            disk.make_folder(f"{top}/a/b/c")
        assert disk.list(f"{top}/a/b") == ["c"]
        disk.open(f"{top}/f", create=True)
        with pytest.raises(FileExistsError):
            disk.make_folder(f"{top}/f")
        with pytest.raises(NotADirectoryError):
            disk.make_folder(f"{top}/f/g")

    def test_names_are_listed_in_order(self, disk: Disk, top: str) -> None:
        for name in ("b", "a", "c10", "c9"):
            disk.open(f"{top}/{name}", create=True)
        assert disk.list(top) == ["a", "b", "c10", "c9"]
        assert disk.list(f"{top}/none") == []
        with pytest.raises(NotADirectoryError):
            disk.list(f"{top}/a")

    def test_only_an_empty_folder_is_unlinked(self, disk: Disk, top: str) -> None:
        disk.make_folder(f"{top}/a/b")
        with pytest.raises(OSError, match="not empty"):
            disk.unlink(f"{top}/a")
        disk.unlink(f"{top}/a/b")
        disk.unlink(f"{top}/a")
        assert disk.list(top) == []

    def test_a_folder_is_synced_where_there_is_one(self, disk: Disk, top: str) -> None:
        disk.sync_folder(top)
        with pytest.raises(FileNotFoundError):
            disk.sync_folder(f"{top}/none")

    def test_room_is_told_where_a_folder_is(self, disk: Disk, top: str) -> None:
        assert disk.free_bytes(top) > 0
        with pytest.raises(FileNotFoundError):
            disk.free_bytes(f"{top}/none")
