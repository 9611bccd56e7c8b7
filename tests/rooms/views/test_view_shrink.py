"""A view gives free pages back to the disk: its copy takes its place."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.errors import Moved
from holdfast.testing.views import commit, unnoticed
from holdfast.views.lmdb_file import Meta, inspect
from holdfast.views.lmdb_view import LmdbView
from holdfast.views.port import Table

ALL = 1 << 20
ROWS = 3_000
Rows = list[tuple[bytes, bytes]]


@pytest.fixture
def view(tmp_path: Path) -> Iterator[LmdbView]:
    view = LmdbView(str(tmp_path / "view"))
    yield view
    view.close()


def rows_of(number: int) -> Rows:
    return [(b"%06d" % key, b"%04d" % number * 50) for key in range(ROWS)]


def overwritten(view: LmdbView, times: int = 4) -> Rows:
    """A view whose every page was written over and over; its rows."""
    for number in range(times):
        commit(view, rows_of(number))
    return rows_of(times - 1)


def held(view: LmdbView) -> Rows:
    return view.scan(Table.KEYS, b"", None, ALL)


def test_free_pages_are_given_back(view: LmdbView) -> None:
    rows = overwritten(view)
    commit(view, [(b"a", b"1")], Table.LOCKS)
    before = view.disk_bytes()
    given = view.shrink()
    assert given == before - view.disk_bytes()
    assert given > before // 2
    assert held(view) == rows
    assert view.get(Table.LOCKS, b"a") == b"1"
    view.verify()
    assert view.shrink() == 0


def test_what_has_few_is_left_alone(view: LmdbView, tmp_path: Path) -> None:
    assert view.shrink() == 0
    assert list(tmp_path.iterdir()) == []
    commit(view, rows_of(0))
    there = view.paths.data.stat().st_ino
    assert view.shrink() == 0
    assert view.paths.data.stat().st_ino == there


def test_a_view_that_holds_next_to_nothing_is_copied_too(view: LmdbView) -> None:
    """Twice its copy is no room for the commits that number it anew."""
    commit(view, rows_of(0))
    with view.writer() as writer:
        writer.clear()
        writer.put(Table.KEYS, [(b"a", b"1")])
    assert view.shrink() > 0
    assert held(view) == [(b"a", b"1")]


def test_it_goes_on_behind_that_and_opens_by_its_sums(
    view: LmdbView, monkeypatch: pytest.MonkeyPatch
) -> None:
    overwritten(view)
    view.shrink()
    commit(view, rows_of(7))
    view.shrink()
    walked: list[object] = []

    def noted(descriptor: int, meta: Meta, names: frozenset[bytes]) -> None:
        walked.append(meta)
        inspect(descriptor, meta, names)

    monkeypatch.setattr("holdfast.views.lmdb_open.inspect", noted)
    again = LmdbView(str(view.paths.folder))
    assert held(again) == rows_of(7)
    again.close()
    assert walked == []
    commit(view, rows_of(8))
    assert held(view) == rows_of(8)


def test_readers_and_writers_do_not_notice(view: LmdbView) -> None:
    rows = overwritten(view)

    def look() -> bool:
        found, one = held(view), view.get(Table.KEYS, rows[9][0])
        return len({value for _, value in found}) == 1 and len(found) == ROWS and one is not None

    given = 0
    with unnoticed(look):
        for number in range(5):
            overwritten(view, 3)
            commit(view, rows_of(number))
            given += view.shrink() > 0
    assert given == 5
    assert held(view) == rows_of(4)


def test_a_copy_that_a_crash_left_is_gone_with_the_next_opening(view: LmdbView) -> None:
    rows = overwritten(view)
    view.park()
    shutil.copytree(view.paths.folder, view.paths.folder.parent / "left")
    shutil.move(view.paths.folder.parent / "left", view.paths.copy)
    assert held(view) == rows
    assert not view.paths.copy.exists()


@pytest.mark.parametrize("instead", [b"", b"of another commit"])
def test_the_sums_of_another_commit_say_nothing(view: LmdbView, instead: bytes) -> None:
    """A crash came when the copy had taken its place, and its sums had not."""
    rows = overwritten(view)
    sums = instead and view.paths.sums.read_bytes()
    view.shrink()
    view.park()
    view.paths.sums.write_bytes(sums)
    again = LmdbView(str(view.paths.folder))
    assert held(again) == rows
    again.close()


def test_who_is_closed_is_not_shrunk(view: LmdbView) -> None:
    overwritten(view)
    view.close()
    with pytest.raises(Moved):
        view.shrink()


FULL_DISK = """
import resource, signal, sys
from holdfast.errors import StorageFailed
from holdfast.views.lmdb_view import LmdbView
from holdfast.views.port import Table
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
view = LmdbView(sys.argv[1])
first = view.scan(Table.KEYS, b"", None, 1 << 20)
for part in range(8):
    resource.setrlimit(resource.RLIMIT_FSIZE, (part << 15, resource.RLIM_INFINITY))
    try:
        view.shrink()
        print("none")
    except StorageFailed as error:
        print(error.facts["errno"])
    assert view.scan(Table.KEYS, b"", None, 1 << 20) == first
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert not view.paths.copy.exists()
assert view.shrink() > 0
assert view.scan(Table.KEYS, b"", None, 1 << 20) == first
"""


def test_a_disk_that_refuses_the_copy_leaves_the_view(view: LmdbView) -> None:
    overwritten(view)
    view.close()
    command = [sys.executable, "-c", FULL_DISK, str(view.paths.folder)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert set(told.split()) <= {"EFBIG", "EIO"}
