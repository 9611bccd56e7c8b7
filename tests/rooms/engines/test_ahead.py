"""Windows: what they hold is the file's, what they leave is given back, who loses one goes on."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

import holdfast
from holdfast.bucket.settings import Sync
from holdfast.engines import ahead
from holdfast.engines import disk as module
from holdfast.engines.ahead import (
    CLAIM_BYTES,
    OPEN_WINDOWS,
    RUN_BYTES,
    SMALL_BYTES,
    WINDOW_BYTES,
    AheadDisk,
    AheadFile,
)
from holdfast.engines.disk import OsDisk, OsFile
from holdfast.engines.port import Buffer
from holdfast.store import Store
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy

PIECE = 1_000


def new(folder: Path, name: str = "file", disk: AheadDisk | None = None) -> AheadFile:
    made = (disk or AheadDisk(everywhere=True)).open(f"{folder}/{name}", create=True)
    assert isinstance(made, AheadFile)
    return made


def grown(file: AheadFile, start: int = 0, stop: int = RUN_BYTES + 2 * PIECE) -> int:
    """Write piece by piece, until there is a window; where the next piece goes."""
    for at in range(start, stop, PIECE):
        assert file.write(at, [b"%09d\n" % at * (PIECE // 10)]) == PIECE
    assert file.window is not None
    return at + PIECE


def expected(stop: int) -> bytes:
    return b"".join(b"%09d\n" % at * (PIECE // 10) for at in range(0, stop, PIECE))


def test_what_was_copied_is_the_files(tmp_path: Path) -> None:
    file = new(tmp_path)
    stop = grown(file, stop=5 * WINDOW_BYTES)
    other = OsDisk().open(f"{tmp_path}/file")
    assert other.read(0, stop) == file.read(0, stop) == expected(stop)
    behind = other.read(stop, 2 * WINDOW_BYTES)
    assert behind == bytes(len(behind))
    assert stop < other.size() <= stop + 2 * WINDOW_BYTES
    file.sync()
    file.finish(stop)
    assert other.size() == stop
    assert (tmp_path / "file").read_bytes() == expected(stop)


def test_few_calls_write_many_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = new(tmp_path)
    at = grown(file)
    calls = []

    def counted(fd: int, buffer: Buffer, offset: int) -> int:
        calls.append(len(buffer))
        return os.pwrite(fd, buffer, offset)

    monkeypatch.setattr(module, "pwrite", counted)
    grown(file, at, at + 1_000 * PIECE)
    assert len(calls) <= 60


def test_without_maps_there_are_zeros_all_the_same(tmp_path: Path) -> None:
    file = new(tmp_path, disk=AheadDisk(mapped=False, everywhere=True))
    sizes = set()
    for at in range(0, 8 * WINDOW_BYTES, PIECE):
        assert file.write(at, [b"%09d\n" % at * (PIECE // 10)]) == PIECE
        assert file.window is None
        if at > 2 * WINDOW_BYTES:
            sizes.add(file.size())
    stop = at + PIECE
    assert len(sizes) <= 8  # it grows a block at a time
    assert file.read(0, stop) == expected(stop)
    assert file.read(stop, WINDOW_BYTES) == bytes(file.size() - stop)
    file.finish(stop)
    assert file.size() == stop


def test_larger_writes_go_by_call_and_end_the_run(tmp_path: Path) -> None:
    file = new(tmp_path)
    at = grown(file)
    file.write(at, [b"x" * WINDOW_BYTES])
    assert file.window is None
    file.write(at + WINDOW_BYTES, [b"y" * PIECE])
    assert file.window is None
    for number in range(4 * RUN_BYTES // SMALL_BYTES):
        file.write(at + WINDOW_BYTES + PIECE + number * SMALL_BYTES, [b"z" * SMALL_BYTES])
        assert file.window is None
    assert file.read(0, at) == expected(at)


LARGE = b"%09d\n" * (SMALL_BYTES // 10 + 1) % tuple(range(SMALL_BYTES // 10 + 1))


def many(file: AheadFile) -> int:
    """Large writes until the file is over what none is asked for; where the next goes."""
    at = 0
    while at <= CLAIM_BYTES + len(LARGE):
        at += file.write(at, [LARGE])
    return at


def test_blocks_are_asked_for_ahead_of_large_writes_and_given_back(tmp_path: Path) -> None:
    file = new(tmp_path)
    stop = many(file)
    assert stop < file.size() <= 2 * stop
    assert file.read(0, file.size()) == LARGE * (stop // len(LARGE)) + bytes(file.size() - stop)
    size = file.size()
    stop += file.write(stop, [LARGE])
    assert file.size() == size  # there was room
    file.finish(stop)
    assert file.size() == stop
    assert file.read(0, stop) == LARGE * (stop // len(LARGE))
    stop += file.write(stop, [LARGE])
    assert file.size() == stop  # a key block, say: nothing follows it
    stop += file.write(stop, [LARGE])
    assert file.size() > stop  # asked for again


def test_small_writes_behind_large_ones_have_their_zeros(tmp_path: Path) -> None:
    file = new(tmp_path)
    start = many(file) // PIECE * PIECE + PIECE
    stop = grown(file, start, start + RUN_BYTES + 2 * PIECE)
    behind = OsDisk().open(f"{tmp_path}/file").read(stop, WINDOW_BYTES)
    assert behind == bytes(len(behind))


def test_short_files_and_those_of_other_disks_ask_for_no_blocks(tmp_path: Path) -> None:
    short = new(tmp_path, "short")
    assert short.write(0, [LARGE]) == short.size()
    synced = new(tmp_path, "synced", AheadDisk(mapped=False, everywhere=True))
    assert many(synced) == synced.size()


def test_a_disk_that_has_no_blocks_to_spare_takes_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def full(fd: int, start: int, length: int) -> None:
        asked.append((fd, start, length))
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", full)
    file = new(tmp_path)
    assert many(file) == file.size()
    assert len(asked) == 1


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_writes_of_any_size_land_where_they_should(
    tmp_path: Path, seed: int, *, mapped: bool
) -> None:
    chance = Random(seed)
    file = new(tmp_path, disk=AheadDisk(mapped=mapped, everywhere=True))
    model = bytearray()
    for _ in range(400):
        most = chance.choice((100, 1_000, 20_000 if chance.random() < 0.1 else 5_000))
        data = chance.randbytes(chance.randint(1, most))
        cut = chance.randint(0, len(data))
        buffers = chance.choice(([data], [memoryview(data)], [data[:cut], data[cut:]]))
        assert file.write(len(model), buffers) == len(data)
        model += data
        if chance.random() < 0.01:
            file.finish(len(model))
            assert file.size() == len(model)
        if chance.random() < 0.01:
            file.window = None  # as another file's would take it
    assert file.read(0, len(model)) == model
    file.finish(len(model))
    assert file.size() == len(model)


def test_the_oldest_window_goes_where_there_are_too_many(tmp_path: Path) -> None:
    disk = AheadDisk(everywhere=True)
    files = [new(tmp_path, f"{n}", disk) for n in range(OPEN_WINDOWS + 3)]
    stops = [grown(file) for file in files]
    assert [file.window is None for file in files[:4]] == [True, True, True, False]
    for file, stop in zip(files, stops, strict=True):
        assert file.read(0, stop) == expected(grown_again(file, stop))
    del files, file


def grown_again(file: AheadFile, stop: int) -> int:
    """Go on without a window as with one; ``stop`` stays what was there before."""
    file.write(stop, [b"%09d\n" % stop * (PIECE // 10)])
    assert file.read(0, stop + PIECE) == expected(stop + PIECE)
    return stop


def test_a_full_disk_takes_no_window_and_says_so_by_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = new(tmp_path)
    at = grown(file)
    room = at + WINDOW_BYTES + 50 * PIECE

    def full(fd: int, buffer: Buffer, offset: int) -> int:
        if offset + len(buffer) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.pwrite(fd, buffer, offset)

    monkeypatch.setattr(module, "pwrite", full)
    while at + PIECE <= room:  # not a byte less than without windows
        file.write(at, [b"%09d\n" % at * (PIECE // 10)])
        at += PIECE
    assert file.window is None
    with pytest.raises(OSError, match="No space left"):
        file.write(at, [bytes(PIECE)])
    assert file.read(0, at) == expected(at)


def test_an_unknown_file_system_has_no_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "IN_PLACE", frozenset())
    assert type(AheadDisk().open(f"{tmp_path}/a", create=True)) is OsFile
    monkeypatch.setattr(ahead, "_MOUNTS", f"{tmp_path}/absent")
    assert type(AheadDisk().open(f"{tmp_path}/b", create=True)) is OsFile


# -- a store on such a disk ------------------------------------------------------------


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have windows whatever file system the tests run on."""
    defaults = {"mapped": True, "everywhere": True}
    monkeypatch.setattr(ahead.AheadDisk.__init__, "__kwdefaults__", defaults)


def opened(folder: Path, sync: Sync = "never") -> Store:
    return open_on(
        OsDisk(),
        str(folder),
        sync=sync,
        bucket_bytes=16 << 20,
        clock=ManualClock(1_700_000_000 * 10**9),
        entropy=SeededEntropy(1),
    )


def segments(folder: Path) -> Iterator[Path]:
    return folder.glob("log/*/*.seg")


def ends_in_zeros(path: Path) -> bool:
    return path.read_bytes().endswith(bytes(PIECE))


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("sync", ["always", "interval", "never"])
def test_a_closed_store_keeps_nothing_aside(tmp_path: Path, sync: Sync) -> None:
    with opened(tmp_path / "s", sync) as store:
        space = store.namespace("n")
        for number in range(260):
            space.put(f"{number}", b"v" * PIECE)
        assert any(map(ends_in_zeros, segments(tmp_path / "s")))
    assert not any(map(ends_in_zeros, segments(tmp_path / "s")))
    with holdfast.open(tmp_path / "s") as again:
        assert again.check().ok
        assert len(list(again.namespace("n").list())) == 260


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize(("sync", "puts"), [("never", 900), ("always", 240)])
def test_whatever_moment_a_process_ends_all_it_answered_is_there(
    tmp_path: Path, sync: Sync, puts: int
) -> None:
    with opened(tmp_path / "s", sync) as store:
        space = store.namespace("n")
        for number in range(puts):
            space.put(f"{number:04d}", b"%d" % number * 250)
            if number % 60 == 59:
                shutil.copytree(tmp_path / "s", tmp_path / f"{number}")
    for copy in tmp_path.glob("[0-9]*"):
        with opened(copy, "always") as again:
            found = again.namespace("n")
            assert list(found.list()) == [f"{n:04d}" for n in range(int(copy.name) + 1)]
            assert found.get(f"{int(copy.name):04d}") == copy.name.encode() * 250
            found.put("more", b"after")
            assert again.check().ok
        with opened(copy) as third:
            assert third.namespace("n").get("more") == b"after"


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("seed", range(8))
def test_a_power_cut_takes_only_what_was_not_synced(tmp_path: Path, seed: int) -> None:
    chance = Random(seed)
    with opened(tmp_path / "s") as store:
        space = store.namespace("n")
        for number in range(300):
            space.put(f"{number:04d}", b"%d" % number * 250)
        assert store.flush() == []
        (path,) = segments(tmp_path / "s")
        (bucket,) = store.placement.directory
        durable = bucket.log.synced
        for number in range(300, 400):
            space.put(f"{number:04d}", b"%d" % number * 250)
        shutil.copytree(tmp_path / "s", tmp_path / "cut")
    copy = tmp_path / "cut" / path.relative_to(tmp_path / "s")
    with copy.open("r+b") as file:
        for page in range(durable // 4096 + 1, copy.stat().st_size // 4096):
            if chance.random() < 0.3:  # its page was never written back
                file.seek(page * 4096)
                file.write(bytes(4096))
    with opened(tmp_path / "cut") as again:
        names = list(again.namespace("n").list())
        assert names == [f"{n:04d}" for n in range(len(names))]
        assert len(names) >= 300
        assert all(again.namespace("n").get(name) for name in names)
        assert again.check().ok
