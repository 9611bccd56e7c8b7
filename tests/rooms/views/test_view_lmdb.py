"""The view in LMDB passes the suite of the port; what only LMDB can do wrong stands below."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from threading import Event, Thread

import pytest

from holdfast.limits import MIB
from holdfast.testing.view_machine import P
from holdfast.testing.views import Fresh, ViewSuite, commit, numbered, unnoticed
from holdfast.views.lmdb_file import Meta
from holdfast.views.lmdb_life import MANY_ROWS, READERS, Transaction
from holdfast.views.lmdb_open import Handles, Paths, verify
from holdfast.views.lmdb_view import LmdbView
from holdfast.views.port import Table

ALL = 1 << 20


def holds(view: LmdbView, rows: list[tuple[bytes, bytes]], stop: bytes | None) -> bool:
    """Whether these are the rows below ``stop``, together and alone."""
    found = view.scan(Table.KEYS, b"", stop, ALL)
    return found == rows and view.get(Table.KEYS, rows[9][0]) == rows[9][1]


class Parking(LmdbView):
    """Parks before it shrinks, so that the machine does both."""

    def shrink(self, *, blank: bool = False) -> int:
        self.park()
        return super().shrink(blank=blank)


class TestLmdbView(ViewSuite):
    @pytest.fixture
    def fresh(self, tmp_path: Path) -> Fresh:
        numbers = count()
        return lambda: Parking(str(tmp_path / f"{next(numbers)}"))

    def test_a_parked_view_opens_again_when_used(self, view: LmdbView) -> None:
        view.park()
        assert view.get(Table.KEYS, b"a") is None
        commit(view, [(b"a", b"1"), (P + b"a", b"2")])
        view.park()
        view.park()
        assert view.get(Table.KEYS, b"a") == b"1"
        view.park()
        commit(view, [(b"b", b"3")])
        view.park()
        assert view.scan(Table.KEYS, b"", None, 9) == [
            (b"a", b"1"),
            (b"b", b"3"),
            (P + b"a", b"2"),
        ]
        assert view.count(Table.KEYS) == 3

    def test_readers_do_not_notice_a_park(self, view: LmdbView) -> None:
        rows = numbered(300)
        commit(view, rows)
        with unnoticed(lambda: holds(view, rows, None)):
            for _ in range(30):
                view.park()


@pytest.fixture
def view(tmp_path: Path) -> Iterator[LmdbView]:
    view = LmdbView(str(tmp_path / "view"), map_bytes=MIB)
    yield view
    view.close()


def in_a_child(program: str, *arguments: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def map_bytes(view: LmdbView) -> int:
    environment = view._readers.environment
    assert environment
    size: int = environment.info()["map_size"]
    return size


# -- files ---------------------------------------------------------------------------


def test_reading_leaves_no_file(view: LmdbView, tmp_path: Path) -> None:
    view.get(Table.KEYS, b"a")
    view.scan(Table.KEYS, b"", None, 9)
    view.count(Table.KEYS)
    view.park()
    assert list(tmp_path.iterdir()) == []


def test_every_commit_is_synced_and_nothing_is_written_through_the_map(view: LmdbView) -> None:
    """LMDB without sync can be corrupted by a power cut, by its own documentation."""
    commit(view, numbered(1))
    environment = view._readers.environment
    assert environment
    flags = environment.flags()
    assert (flags["sync"], flags["metasync"]) == (True, True)
    assert (flags["writemap"], flags["map_async"]) == (False, False)


def test_the_files_are_where_the_format_says(view: LmdbView, tmp_path: Path) -> None:
    commit(view, [(b"a", b"1")])
    assert {path.name for path in (tmp_path / "view").iterdir()} == {
        *("data.mdb", "data.sum", "lock.mdb")
    }
    assert 0 < view.disk_bytes() <= 256 * 1024


def test_ascending_loads_fill_their_pages(tmp_path: Path) -> None:
    rows = [(b"%016d" % n, b"v" * 32) for n in range(20_000)]
    ascending = LmdbView(str(tmp_path / "ascending"))
    with ascending.writer() as writer:
        for at in range(0, len(rows), 200):
            writer.put(Table.KEYS, rows[at : at + 200])
    scattered = LmdbView(str(tmp_path / "scattered"))
    with scattered.writer() as writer:
        for at in range(100):
            writer.put(Table.KEYS, rows[at::100])
    assert ascending.disk_bytes() / len(rows) < 1.15 * (16 + 32 + 4 + 8 + 2)
    assert ascending.disk_bytes() < 0.8 * scattered.disk_bytes()
    assert ascending.scan(Table.KEYS, b"", None, ALL) == scattered.scan(Table.KEYS, b"", None, ALL)
    ascending.close()
    scattered.close()


def test_a_parked_view_is_verified_again_only_if_it_changed(
    view: LmdbView, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(view, [(b"a", b"1")])
    verified: list[object] = []

    def noted(paths: Paths) -> Meta | None:
        verified.append(paths)
        return verify(paths)

    monkeypatch.setattr("holdfast.views.lmdb_life.verify", noted)
    view.park()
    assert view.get(Table.KEYS, b"a") == b"1"
    commit(view, [(b"a", b"2")])
    view.park()
    assert view.get(Table.KEYS, b"a") == b"2"
    assert verified == []
    view.park()
    told = view.paths.data.stat()
    os.utime(view.paths.data, ns=(told.st_atime_ns, told.st_mtime_ns + 1))  # not the same again
    assert view.get(Table.KEYS, b"a") == b"2"
    assert verified == [view.paths]


def test_verify_finds_nothing_in_a_sound_view(view: LmdbView) -> None:
    view.verify()
    commit(view, numbered(3_000))
    commit(view, numbered(50, b"p" * 480), Table.LOCKS)
    view.verify()
    assert view.count(Table.KEYS) == 3_000


# -- growth --------------------------------------------------------------------------


def test_what_was_inserted_is_inserted_again_where_the_map_grew(view: LmdbView) -> None:
    commit(view, [(b"000007", b"old")])
    rows = [(b"%06d" % n, bytes([n % 256]) * (n % 3_900)) for n in range(3_000)]
    with view.writer() as writer:
        new = [writer.insert(Table.KEYS, rows[at : at + 100]) for at in range(0, 3_000, 100)]
    assert new == [False] + [True] * 29
    assert map_bytes(view) > MIB
    rows[7] = (b"000007", b"old")
    assert view.scan(Table.KEYS, b"", None, ALL) == rows


def test_the_map_grows_within_one_commit(view: LmdbView) -> None:
    """From 1 MiB through 64 MiB; what was done before in the commit is done again, once."""
    commit(view, [(b"old", b"1"), (b"gone", b"2"), (b"p" * 600, b"3")])
    assert map_bytes(view) == MIB
    rows = [(b"%06d" % n, bytes([n % 256]) * 3_900) for n in range(17_000)]
    with view.writer() as writer:
        writer.delete(Table.KEYS, [b"gone"])
        writer.put(Table.KEYS, [(b"p" * 600, b"new"), (b"p" * 601, b"4")])
        for at in range(0, len(rows), 500):
            writer.put(Table.KEYS, rows[at : at + 500])
            writer.delete(Table.KEYS, [rows[at][0]])
            assert view.get(Table.KEYS, b"gone") == b"2"
        assert map_bytes(view) > 64 * MIB
    left = [row for n, row in enumerate(rows) if n % 500]
    expected = sorted([*left, (b"old", b"1"), (b"p" * 600, b"new"), (b"p" * 601, b"4")])
    assert view.count(Table.KEYS) == len(expected)
    assert view.scan(Table.KEYS, b"", None, ALL) == expected
    view.park()
    assert view.get(Table.KEYS, rows[-1][0]) == rows[-1][1]


def test_a_growth_that_is_given_up_changes_nothing(view: LmdbView) -> None:
    commit(view, [(b"a", b"1")])

    def give_up() -> None:
        with view.writer() as writer:
            writer.clear()
            writer.put(Table.KEYS, [(b"%06d" % n, b"v" * 3_900) for n in range(1_000)])
            raise KeyError

    with pytest.raises(KeyError):
        give_up()
    assert view.scan(Table.KEYS, b"", None, 9) == [(b"a", b"1")]


def test_a_cleared_view_grows_too(view: LmdbView) -> None:
    commit(view, [(b"a", b"1")])
    with view.writer() as writer:
        writer.put(Table.META, [(b"before", b"")])
        writer.clear()
        writer.put(Table.KEYS, [(b"%06d" % n, b"v" * 3_900) for n in range(1_000)])
    assert view.count(Table.KEYS) == 1_000
    assert view.count(Table.META) == 0


def test_the_memory_of_a_large_commit_is_given_back(
    view: LmdbView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LMDB keeps that of its pages for as long as the environment is open."""
    gave: list[bool] = []
    opened: list[bool] = []

    def give_back() -> None:
        gave.append(True)
        opened.append(view._readers.environment is not None)

    monkeypatch.setattr("holdfast.views.lmdb_life.give_back", give_back)
    commit(view, [(b"a", b"1")])
    assert gave == []
    for value in (b"1", b"2"):
        with view.writer() as writer:
            for at in range(0, MANY_ROWS, 500):
                writer.put(Table.KEYS, [(b"%06d" % n, value) for n in range(at, at + 500)])
        assert view.get(Table.KEYS, b"000007") == value
    with view.writer() as writer:
        writer.delete(Table.KEYS, [b"%06d" % n for n in range(MANY_ROWS)])
    assert len(gave) == 3
    assert not any(opened)
    assert view.get(Table.KEYS, b"a") == b"1"


def test_readers_do_not_notice_a_growth(view: LmdbView) -> None:
    rows = numbered(500)
    commit(view, rows)
    with unnoticed(lambda: holds(view, rows, b"x")), view.writer() as writer:
        for at in range(20):
            rows_of_it = [(b"x%06d" % n, b"v" * 3_000) for n in range(at * 200, at * 200 + 200)]
            writer.put(Table.KEYS, rows_of_it)
    assert map_bytes(view) >= 16 * MIB
    assert view.count(Table.KEYS) == 4_500


GROW_ELSEWHERE = """
import sys, lmdb
from holdfast.views.lmdb_open import NAMES
from holdfast.views.lmdb_rows import HOUSE, SEEDS, commit_row, seal
environment = lmdb.open(sys.argv[1], map_size=1 << 26, max_dbs=len(NAMES))
keys, house = (environment.open_db(name, create=False) for name in (b"keys", b"house"))
with environment.begin(write=True) as transaction:
    for key, value in seal(SEEDS[1], [(b"x%05d" % n, b"v" * 3_000) for n in range(2_000)]):
        transaction.put(key, value, db=keys)
    for key, value in seal(SEEDS[HOUSE], [commit_row(transaction.id())]):
        transaction.put(key, value, db=house)
"""


@pytest.mark.parametrize("reads_first", [True, False])
def test_another_process_may_make_the_file_grow(view: LmdbView, reads_first: bool) -> None:  # noqa: FBT001 - named by pytest
    commit(view, [(b"a", b"1")])
    in_a_child(GROW_ELSEWHERE, str(view.paths.folder))
    if reads_first:
        view._turn()  # a pooled reader would go on with the commit it began with
        assert view.get(Table.KEYS, b"x00007") == b"v" * 3_000
    commit(view, [(b"b", b"2")])
    assert view.count(Table.KEYS) == 2_002


# -- readers -------------------------------------------------------------------------


def test_more_threads_than_readers_wait_for_each_other(view: LmdbView) -> None:
    commit(view, [(b"a", b"1")])
    holding, go = Event(), Event()
    in_use: list[int] = []
    answers: list[bytes | None] = []

    def hold() -> None:
        def work(*_: object) -> None:
            in_use.append(1)
            if len(in_use) == READERS:
                holding.set()
            go.wait(60)

        view.use(work, None)

    def ask() -> None:
        answers.append(view.get(Table.KEYS, b"a"))

    holders = [Thread(target=hold) for _ in range(READERS)]
    askers = [Thread(target=ask) for _ in range(8)]
    for thread in holders:
        thread.start()
    assert holding.wait(60)
    for thread in askers:
        thread.start()
    assert answers == []
    go.set()
    for thread in (*holders, *askers):
        thread.join()
    assert answers == [b"1"] * 8
    assert len(view._alive) <= READERS


DIE_WITH_READERS = """
import os, sys, lmdb
from holdfast.views.lmdb_open import NAMES
environment = lmdb.open(sys.argv[1], map_size=1 << 20, max_dbs=len(NAMES))
held = []
try:
    while True:
        held.append(environment.begin())
except lmdb.ReadersFullError:
    print(len(held), flush=True)
    os._exit(0)
"""


def test_slots_of_a_process_that_died_are_taken_back(view: LmdbView) -> None:
    commit(view, [(b"a", b"1")])
    assert int(in_a_child(DIE_WITH_READERS, str(view.paths.folder))) > 100
    assert view.get(Table.KEYS, b"a") == b"1"


def test_no_snapshot_stays_behind_a_commit(view: LmdbView) -> None:
    """A pinned snapshot would keep freed pages from being used again: the file would grow."""
    rows = numbered(2_000)
    commit(view, rows)
    sizes = []
    for number in range(30):
        threads = [Thread(target=view.get, args=(Table.KEYS, rows[n][0])) for n in range(4)]
        for thread in threads:
            thread.start()
        commit(view, [(key, b"%d" % number) for key, _ in rows])
        for thread in threads:
            thread.join()
        sizes.append(view.disk_bytes())
    assert sizes[-1] <= 2 * sizes[5]


@pytest.mark.parametrize("end", [LmdbView.park, LmdbView.try_park, LmdbView.grow, LmdbView.close])
def test_an_environment_stays_where_it_is_while_a_reader_is_in_it(
    view: LmdbView, end: Callable[[LmdbView], object]
) -> None:
    """One that was closed beneath a cursor took the process with it."""
    commit(view, [(b"a", b"1")])
    begun, goes_on = Event(), Event()
    turns: list[bytes | None] = []

    def work(transaction: Transaction, handles: Handles) -> bytes | None:
        begun.set()
        goes_on.wait(60)
        turns.append(transaction.get(b"a", None, handles[Table.KEYS]))
        return turns[-1]

    reader, ender = Thread(target=view.use, args=(work, None)), Thread(target=end, args=(view,))
    reader.start()
    assert begun.wait(60)
    ender.start()
    ender.join(0.05)
    assert ender.is_alive()
    goes_on.set()
    ender.join(60)
    reader.join(60)
    (row,) = turns  # and it was not done again
    assert row is not None


FEW_DESCRIPTORS = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from collections import OrderedDict
from holdfast.views.lmdb_view import LmdbView
from holdfast.views.port import Table
views = [LmdbView(f"{sys.argv[1]}/{n}") for n in range(200)]
opened = OrderedDict()
def use(view):
    opened[view] = None
    opened.move_to_end(view)
    if len(opened) > 60:
        opened.popitem(last=False)[0].park()
    return view
for turn in range(3):
    for n, view in enumerate(views):
        with use(view).writer() as writer:
            writer.put(Table.KEYS, [(b"%d" % turn, b"%d" % n)])
    for n, view in enumerate(views):
        assert use(view).get(Table.KEYS, b"%d" % turn) == b"%d" % n
print(sum(view.count(Table.KEYS) for view in (use(view) for view in views)))
"""


@pytest.mark.push
def test_two_hundred_views_share_few_descriptors(tmp_path: Path) -> None:
    assert int(in_a_child(FEW_DESCRIPTORS, str(tmp_path))) == 600


# -- disks that refuse -----------------------------------------------------------------

FULL_DISK = """
import resource, signal, sys
from holdfast.errors import StorageFailed
from holdfast.views.lmdb_view import LmdbView
from holdfast.views.port import Table
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
view = LmdbView(sys.argv[1])
rows = [(b"%05d" % n, b"1") for n in range(1_000)]
with view.writer() as writer:
    writer.put(Table.KEYS, rows)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, hard))
for _ in range(3):
    try:
        with view.writer() as writer:
            writer.put(Table.KEYS, [(key, b"2" * 900) for key, _ in rows])
        print("stored")
    except StorageFailed as error:
        print(error.errno)
    assert view._readers.environment is None, "it is verified before it is used again"
    assert view.scan(Table.KEYS, b"", None, 9_999) == rows
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
with view.writer() as writer:
    writer.put(Table.KEYS, [(key, b"2" * 900) for key, _ in rows])
assert view.get(Table.KEYS, b"00007") == b"2" * 900
view.verify()
"""


def test_a_disk_that_refuses_leaves_the_commit_before(tmp_path: Path) -> None:
    told = set(in_a_child(FULL_DISK, str(tmp_path / "view")).split())
    assert told <= {"EFBIG", "EIO"}  # LMDB calls a short write EIO
