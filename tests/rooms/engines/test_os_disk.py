"""What the machine's own disk does at its edges: short writes, descriptors, foreign errors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.engines import disk as module
from holdfast.engines.disk import GATHER, LARGE_BYTES, PIECE_BYTES, OsDisk
from holdfast.engines.port import Buffer, File
from holdfast.testing.disk import CountingDisk


def new(tmp_path: Path) -> File:
    return OsDisk().open(f"{tmp_path}/file", create=True)


def descriptors(folder: Path) -> int:
    """How many this process has open below ``folder``, maps and unlinked files included."""
    links: list[str] = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile, by whatever else runs here
            links.append(str(link.readlink()))
    return sum(link.startswith(str(folder)) for link in links)


class ShortKernel:
    """A kernel that takes at most ``most`` bytes a call."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.calls = 0

    def pwrite(self, fd: int, buffer: Buffer, offset: int) -> int:
        self.calls += 1
        return os.pwrite(fd, memoryview(buffer)[: self.most], offset)

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int) -> int:
        self.calls += 1
        assert len(buffers) <= GATHER
        assert all(len(buffer) for buffer in buffers)
        return os.pwrite(fd, b"".join(buffers)[: self.most], offset)


@pytest.mark.parametrize("most", [1, 2, 3, 7, 1_000])
def test_a_short_write_is_taken_up_where_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    kernel = ShortKernel(most)
    file = new(tmp_path)
    monkeypatch.setattr(module, "pwrite", kernel.pwrite)
    monkeypatch.setattr(module, "pwritev", kernel.pwritev)
    assert file.write(0, [b"0123456789"]) == 10
    assert file.write(10, [b"ab", b"", b"cde", b"f"]) == 6
    assert file.read(0, 99) == b"0123456789abcdef"
    assert kernel.calls >= 16 / most


@pytest.mark.parametrize("buffers", [[b"one"], [b"one", b"two"]])
def test_a_kernel_that_takes_nothing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buffers: list[Buffer]
) -> None:
    file = new(tmp_path)
    kernel = ShortKernel(0)
    monkeypatch.setattr(module, "pwrite", kernel.pwrite)
    monkeypatch.setattr(module, "pwritev", kernel.pwritev)
    with pytest.raises(OSError, match="takes no bytes"):
        file.write(0, buffers)


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="this kernel cannot be asked so")
def test_who_must_not_wait_asks_the_kernel_not_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def noted(fd: int, buffers: Sequence[bytearray], offset: int, flags: int = 0) -> int:
        asked.append(flags)
        return os.preadv(fd, buffers, offset, flags)

    monkeypatch.setattr(module, "preadv", noted)
    file = OsDisk().open(str(tmp_path / "file"), create=True)
    file.write(0, [b"kept"])
    assert file.read_now(0, 4) == b"kept"
    assert file.read_now(2, 4) is None
    assert asked == [os.RWF_NOWAIT] * 2
    file.close()


@pytest.mark.parametrize("most", [1 << 30, 50_000])
@pytest.mark.parametrize("start", [0, 88, PIECE_BYTES, 1_000_003])
def test_a_large_buffer_goes_in_aligned_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: int, most: int
) -> None:
    kernel = ShortKernel(most)
    file = new(tmp_path)
    monkeypatch.setattr(module, "pwritev", kernel.pwritev)
    large, last = os.urandom(5 * LARGE_BYTES + 7), os.urandom(LARGE_BYTES)
    assert file.write(start, [b"head", large, b"mid", b"", last, b"tail"]) == sum(
        map(len, (b"head", large, b"mid", last, b"tail"))
    )
    assert file.read(start, 1 << 20) == b"head" + large + b"mid" + last + b"tail"
    if most > PIECE_BYTES:
        assert kernel.calls <= (5 * LARGE_BYTES + LARGE_BYTES) // PIECE_BYTES + 7
    assert file.write(0, [large]) == len(large)
    assert file.read(0, len(large)) == large


def test_one_buffer_is_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = ShortKernel(1 << 30)
    file = new(tmp_path)
    monkeypatch.setattr(module, "pwrite", kernel.pwrite)
    monkeypatch.setattr(module, "pwritev", kernel.pwritev)
    file.write(0, [b"x" * 100_000])
    assert kernel.calls == 1
    file.write(0, [b"xy"] * (3 * GATHER))
    assert kernel.calls == 4


def test_a_forgotten_file_closes_itself(tmp_path: Path) -> None:
    before = descriptors(tmp_path)
    file = new(tmp_path)
    assert descriptors(tmp_path) == before + 1
    del file
    assert descriptors(tmp_path) == before


def test_a_map_is_read_only_and_given_back(tmp_path: Path) -> None:
    before = descriptors(tmp_path)
    file = new(tmp_path)
    file.write(0, [b"mapped"])
    mapped = file.map()
    with pytest.raises(TypeError):
        mapped[0] = 1  # type: ignore[index]
    del file, mapped
    assert descriptors(tmp_path) == before


def test_a_folder_that_cannot_be_synced_leaves_no_descriptor(tmp_path: Path) -> None:
    before = descriptors(tmp_path)
    OsDisk().sync_folder(str(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        OsDisk().sync_folder(f"{tmp_path}/file")
    assert descriptors(tmp_path) == before


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    disk = OsDisk()
    disk.make_folder(f"{tmp_path}/folder")
    disk.open(f"{tmp_path}/folder/file", create=True)
    assert (tmp_path / "folder").stat().st_mode & 0o077 == 0
    assert (tmp_path / "folder/file").stat().st_mode & 0o077 == 0


def test_what_may_not_be_unlinked_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()

    def refuse(path: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(PermissionError):
        OsDisk().unlink(f"{tmp_path}/file")


def test_the_counts_are_the_systems_own(tmp_path: Path) -> None:
    """One commit of one record is one write and one sync, whatever lies around the disk."""
    disk = CountingDisk(OsDisk())
    file = disk.open(f"{tmp_path}/file", create=True)
    for n in range(10):
        file.write(n * 4, [b"four"])
        file.sync()
    file.read(0, 99)
    assert disk.calls == {"create": 1, "write": 10, "sync": 10, "read": 1}
    assert disk.bytes == {"write": 40, "read": 40}
