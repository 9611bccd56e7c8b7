"""What the system has of a file in memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.engines.cached import Kept, fetch, kept

SIZE = 8 << 20


def forgotten(path: Path) -> None:
    """Have the system let go of a file; skipped where it does not, as of files in memory."""
    fd = os.open(path, os.O_RDWR)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
    if kept(str(path)).missing == 0:
        pytest.skip("this file stays in memory, or nobody knows")


def asked_for(path: Path) -> Kept:
    """What there is of a file once it was read: again where memory is short, and some went."""
    found = Kept(0, 1)
    for _ in range(100):
        with path.open("rb") as opened:
            while opened.read(1 << 20):
                pass
        found = kept(str(path))
        if not found.missing:
            break
    return found


def test_what_was_just_written_is_there(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(SIZE + 1))
    assert asked_for(file) == (SIZE + 1, 0)


def test_what_was_let_go_is_missing_until_it_is_fetched(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(SIZE))
    forgotten(file)
    assert kept(str(file)).missing > SIZE // 2
    assert asked_for(file).missing == 0
    forgotten(file)
    fetch(str(file), 0, SIZE)  # which the system may take its time for
    assert 0 <= kept(str(file)).missing <= SIZE


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        kept(str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        fetch(str(tmp_path / "none"), 0, 1)
