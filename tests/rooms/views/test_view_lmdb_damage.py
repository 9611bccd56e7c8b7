"""Damaged, foreign, cut and older files: an error or the truth, never another answer, no death."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest
from lmdb.verify import VerifyError, verify

from holdfast.errors import Corrupt, FormatTooNew
from holdfast.testing.views import commit
from holdfast.views.lmdb_file import Meta, inspect, read_metas
from holdfast.views.lmdb_open import NAMES
from holdfast.views.lmdb_rows import FORMAT_KEY, HOUSE, SEEDS, commit_row, seal
from holdfast.views.lmdb_view import LmdbView
from holdfast.views.port import Table
from tests.rooms.views.lmdb_places import (
    BRANCH,
    LONG,
    PAGE,
    Model,
    contents,
    copy,
    flip,
    pages_by_kind,
    with_a_past,
)

ROOT = Path(__file__).parents[3]

Past = tuple[Path, Model]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    folder = tmp_path_factory.mktemp("past") / "view"
    return folder, with_a_past(folder, keys=600)


@pytest.fixture(params=[True, False], ids=["sums", "walk"])
def copied(past: Past, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[LmdbView]:
    """A copy of the view with a past, with its sums and without."""
    view = copy(past[0], tmp_path / "copy", sums=request.param)
    yield view
    view.close()


def data(view: LmdbView) -> Path:
    return view.paths.data


# -- flipped bits ------------------------------------------------------------------


def flips(folder: Path, trials: int, where: str, sums: str) -> dict[str, int]:
    script = [sys.executable, "-m", "tests.rooms.views.lmdb_flips"]
    told = subprocess.run(
        [*script, str(folder), str(trials), where, sums],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    counts: dict[str, int] = json.loads(told.stdout)
    print(where, sums, counts)
    assert sum(counts.values()) == trials
    return counts


@pytest.mark.push
@pytest.mark.parametrize("where", ["anywhere", "meta", "leaf", "branch"])
@pytest.mark.parametrize("sums", ["sums", "walk", "asked"])
def test_a_flipped_bit_never_gives_another_answer(tmp_path: Path, where: str, sums: str) -> None:
    counts = flips(tmp_path, 75 if sums == "asked" else 150, where, sums)
    known = {"same", "refused", "corrupt", "missing"}
    assert counts.keys() <= known - ({"missing"} if sums == "asked" else set())
    assert counts["corrupt" if sums == "asked" and where != "meta" else "refused"]


def test_every_bit_of_a_table_s_record_is_spoken_for(past: Past, tmp_path: Path) -> None:
    """The record in the tree of names leads to a table; an older root would show older rows."""
    view = copy(past[0], tmp_path / "copy", sums=False)
    path = data(view)
    whole = path.read_bytes()
    record = whole.index(b"keys", newest(path).names.root * PAGE)
    for offset in range(record + 4, record + 4 + 48):
        for bit in range(8):
            path.write_bytes(whole)
            flip(path, offset, bit)
            found = answers(view)
            assert found in (None, past[1]), (offset - record, bit)


def newest(path: Path) -> Meta:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        metas = read_metas(descriptor)
    finally:
        os.close(descriptor)
    assert metas
    return metas[0]


def answers(view: LmdbView) -> Model | None:
    """What a view opened anew holds; None where it is refused."""
    fresh = LmdbView(str(view.paths.folder))
    try:
        found = contents(fresh)
        assert [fresh.count(table) for table in found] == [len(rows) for rows in found.values()]
        return found  # noqa: TRY300 - the two lines are one answer
    except Corrupt:
        return None
    finally:
        fresh.close()


def test_no_bit_of_a_meta_brings_an_older_commit_back(past: Past, tmp_path: Path) -> None:
    whole = (past[0] / "data.mdb").read_bytes()
    for sums in (True, False):
        view = copy(past[0], tmp_path / "copy", sums=sums)
        for page in (0, 1):
            for offset in (*range(16), *range(56, 152)):
                flip(data(view), page * PAGE + offset, offset % 8)
                assert answers(view) in (None, past[1]), (page, offset)
                data(view).write_bytes(whole)


@pytest.mark.parametrize("commits", [0, 1, 2, 3])
def test_no_bit_of_a_commit_s_number_is_taken_on_trust(tmp_path: Path, commits: int) -> None:
    """Whatever the two numbers end on: some single bits leave them neighbours."""
    view = LmdbView(str(tmp_path / "view"))
    for number in range(4 + commits):
        commit(view, [(b"a", b"%d" % number)])
    view.close()
    for sums in (True, False):
        for page in (0, 1):
            for bit in range(64):
                copied = copy(tmp_path / "view", tmp_path / "copy", sums=sums)
                flip(data(copied), page * PAGE + 144 + bit // 8, bit % 8)
                with pytest.raises(Corrupt):
                    copied.get(Table.KEYS, b"a")


# -- what a walk accepts ---------------------------------------------------------------


def walk(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        inspect(descriptor, newest(path), frozenset(NAMES))
    except Corrupt:
        return False
    finally:
        os.close(descriptor)
    return True


def judged_by_lmdb(path: Path) -> bool:
    try:
        return not verify(str(path))  # type: ignore[no-untyped-call]
    except VerifyError:
        return False


def test_every_commit_passes_a_walk(tmp_path: Path) -> None:
    for rounds in range(1, 12):
        with_a_past(tmp_path / f"{rounds}", keys=300, rounds=rounds, seed=rounds)
        path = tmp_path / f"{rounds}" / "data.mdb"
        assert walk(path)
        assert judged_by_lmdb(path)


def test_a_shorter_value_in_the_place_of_a_longer_passes_a_walk(tmp_path: Path) -> None:
    """It keeps the longer one's pages, which LMDB's verifier takes for damage."""
    view = LmdbView(str(tmp_path))
    with view.writer() as writer:
        writer.put(Table.KEYS, [(b"a", b"v" * 9_000), (b"b", b"v" * 9_000)])
        writer.put(Table.KEYS, [(b"a", b"short"), (b"b", b"v" * 5_000)])
    view.park()
    assert walk(data(view))
    assert not judged_by_lmdb(data(view))
    assert view.get(Table.KEYS, b"a") == b"short"


def test_a_file_may_end_before_pages_that_are_free(tmp_path: Path) -> None:
    """What was put and deleted within a commit took pages that were never written."""
    view = LmdbView(str(tmp_path))
    for value in (b"1", b"2", b"3"):  # so that there are free pages to be used first
        commit(view, [(b"%04d" % n, value) for n in range(500)])
    with view.writer() as writer:
        writer.put(Table.KEYS, [(b"a", b"1"), (b"b", b"v" * 50_000)])
        writer.delete(Table.KEYS, [b"b"])
    view.park()
    assert walk(data(view))
    for _ in range(2):
        assert view.get(Table.KEYS, b"a") == b"1"
        view.close()
        view = LmdbView(str(tmp_path))
        view.paths.sums.unlink(missing_ok=True)
    assert data(view).stat().st_size < (newest(data(view)).last_page + 1) * PAGE


def test_a_walk_refuses_what_lmdb_s_own_verifier_refuses(past: Past, tmp_path: Path) -> None:
    """Structure at fixed places: ours may refuse more (bounds between pages), never less."""
    view = copy(past[0], tmp_path / "copy", sums=False)
    path = data(view)
    whole = path.read_bytes()
    for kind, pages in pages_by_kind(path).items():
        for page in pages[:: 1 + len(pages) // 6]:
            for offset in (*range(0, 16, 2), 16, 17, 24, 4_000 if kind == 1 else 30):
                path.write_bytes(whole)
                flip(path, page * PAGE + offset, offset % 8)
                assert judged_by_lmdb(path) or not walk(path), (kind, page, offset)


# -- what only one part of the walk can see --------------------------------------------

Node = tuple[int, int, bytes]  # where it is in the file, its child or size, its key


def nodes(whole: bytes, number: int) -> list[Node]:
    """The nodes of a page, in key order."""
    at = number * PAGE
    lower = int.from_bytes(whole[at + 12 : at + 14], "little")
    found = []
    for slot in struct.unpack_from(f"<{(lower - 16) // 2}H", whole, at + 16):
        low, _, size = struct.unpack_from("<IHH", whole, at + slot)
        found.append((at + slot, low, whole[at + slot + 8 : at + slot + 8 + size]))
    return found


@pytest.fixture
def replaced(tmp_path: Path) -> tuple[LmdbView, list[Node], list[Node]]:
    """A view whose every row was replaced once; its branch now, and the one before, freed."""
    view = LmdbView(str(tmp_path / "view"))
    for value in (b"old", b"new"):
        commit(view, [(b"%06d" % n, value * 20) for n in range(300)])
    view.close()
    view.paths.sums.unlink()
    before, now = pages_by_kind(data(view))[BRANCH]
    whole = data(view).read_bytes()
    assert walk(data(view))
    return LmdbView(str(tmp_path / "view")), nodes(whole, now), nodes(whole, before)


def edit(view: LmdbView, offset: int, text: bytes) -> None:
    whole = bytearray(data(view).read_bytes())
    whole[offset : offset + len(text)] = text
    data(view).write_bytes(whole)


def test_a_page_that_was_freed_is_not_taken_for_the_one_in_its_place(
    replaced: tuple[LmdbView, list[Node], list[Node]],
) -> None:
    """Every check of a row in it verifies: LMDB alone answers what was replaced."""
    view, now, before = replaced
    edit(view, now[1][0], before[1][1].to_bytes(4, "little"))
    with lmdb.open(str(view.paths.folder), max_dbs=len(NAMES)) as environment:
        table = environment.open_db(b"keys", create=False)
        with environment.begin(db=table) as transaction:
            assert (transaction.get(now[1][2]) or b"").startswith(b"old")
    assert not walk(data(view))


def test_a_key_between_pages_is_held_against_their_rows(
    replaced: tuple[LmdbView, list[Node], list[Node]],
) -> None:
    """Moved by one in either direction, it would lead a search to the wrong page."""
    view, now, _ = replaced
    offset, _, key = now[2]
    for moved in (int(key) - 1, int(key) + 1):
        edit(view, offset + 8, b"%06d" % moved)
        assert judged_by_lmdb(data(view))
        assert not walk(data(view))
    edit(view, offset + 8, key)
    assert walk(data(view))


def test_the_sizes_of_nodes_are_held_against_each_other(
    replaced: tuple[LmdbView, list[Node], list[Node]],
) -> None:
    view, now, _ = replaced
    row = nodes(data(view).read_bytes(), now[1][1])[3]
    for size in (row[1] - 2, row[1] + 2):
        edit(view, row[0], size.to_bytes(2, "little"))
        assert not walk(data(view))


# -- cut, foreign, older files -----------------------------------------------------------


def test_a_cut_file_is_refused(copied: LmdbView) -> None:
    whole = data(copied).read_bytes()
    for pages in (1, 2, 3, len(whole) // PAGE // 2, len(whole) // PAGE - 1):
        for extra in (0, 100):
            data(copied).write_bytes(whole[: pages * PAGE + extra])
            with pytest.raises(Corrupt):
                copied.get(Table.KEYS, b"a")
    data(copied).write_bytes(whole[:50])
    with pytest.raises(Corrupt):
        copied.scan(Table.KEYS, b"", None, 9)


def test_an_empty_file_is_a_view_that_was_never_written(copied: LmdbView) -> None:
    data(copied).write_bytes(b"")
    assert copied.get(Table.KEYS, b"a") is None
    commit(copied, [(b"a", b"1")])
    assert contents(copied)[Table.KEYS] == {b"a": b"1"}


@pytest.mark.parametrize("text", [b"x", b"\0" * PAGE * 4, b"no database " * 5_000])
def test_another_file_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "data.mdb").write_bytes(text)
    view = LmdbView(str(tmp_path))
    for call in (lambda: view.get(Table.KEYS, b"a"), lambda: view.count(Table.KEYS)):
        with pytest.raises(Corrupt):
            call()
    assert (tmp_path / "data.mdb").read_bytes() == text


@pytest.mark.parametrize("version", [0, 1])
def test_an_environment_of_someone_else_is_refused(tmp_path: Path, version: int) -> None:
    with lmdb.open(str(tmp_path), max_dbs=2, lib_version=version) as environment:
        theirs = environment.open_db(b"keys")
        with environment.begin(write=True) as transaction:
            transaction.put(b"a", b"1", db=theirs)
    with pytest.raises(Corrupt):
        LmdbView(str(tmp_path)).get(Table.KEYS, b"a")


def raw_put(view: LmdbView, name: bytes, rows: list[tuple[bytes, bytes]]) -> None:
    """Rows as they are stored, past the view."""
    view.park()
    folder = str(view.paths.folder)
    with lmdb.open(folder, max_dbs=len(NAMES)) as environment:
        table = environment.open_db(name, create=False)
        house = environment.open_db(b"house", create=False)
        with environment.begin(write=True) as transaction:
            for key, value in rows:
                transaction.put(key, value, db=table)
            for key, value in seal(SEEDS[HOUSE], [commit_row(transaction.id())]):
                transaction.put(key, value, db=house)


def test_a_later_format_is_refused(copied: LmdbView) -> None:
    raw_put(copied, b"house", seal(SEEDS[HOUSE], [(FORMAT_KEY, b"\2\0")]))
    with pytest.raises(FormatTooNew):
        copied.get(Table.KEYS, b"a")


def test_a_row_out_of_its_place_does_not_verify(copied: LmdbView) -> None:
    row = seal(SEEDS[Table.KEYS], [(b"a", b"1")])[0][1]
    raw_put(copied, b"keys", [(b"a", row), (b"b", row)])
    raw_put(copied, b"locks", [(b"a", row)])
    assert copied.get(Table.KEYS, b"a") == b"1"
    for table, key in ((Table.KEYS, b"b"), (Table.LOCKS, b"a")):
        with pytest.raises(Corrupt) as told:
            copied.get(table, key)
        assert told.value.facts["position"] == f"view {table.name} {key.hex()}"
        with pytest.raises(Corrupt):
            copied.get_many(table, [key])
        with pytest.raises(Corrupt):
            copied.scan(table, key, None, 1)
    with pytest.raises(Corrupt):
        copied.get(Table.KEYS, b"b")
    with pytest.raises(Corrupt):
        copied.verify()


def test_a_damaged_run_does_not_verify(copied: LmdbView) -> None:
    key = LONG[:480] + b"\0"
    raw_put(copied, b"keys", [(key, b"not a run")])
    for call in (
        lambda: copied.get(Table.KEYS, LONG + b"x"),
        lambda: copied.get_many(Table.KEYS, [LONG + b"x"]),
        lambda: copied.scan(Table.KEYS, LONG[:480], None, 5),
    ):
        with pytest.raises(Corrupt):
            call()


def test_a_damaged_lock_file_does_not_matter(past: Past, copied: LmdbView) -> None:
    copied.get(Table.KEYS, b"a")
    copied.park()
    copied.paths.lock.write_bytes(os.urandom(8192))
    assert contents(copied) == past[1]
    commit(copied, [(b"a", b"1")])


@pytest.mark.parametrize("text", [b"", b"x" * 10, b"x" * 5_000])
def test_damaged_sums_cost_a_walk_and_nothing_else(
    past: Past, copied: LmdbView, text: bytes
) -> None:
    copied.paths.sums.write_bytes(text)
    assert contents(copied) == past[1]
    copied.park()
    flip(copied.paths.data, 0, 1)
    with pytest.raises(Corrupt):
        copied.get(Table.KEYS, b"a")


# -- a damaged view can be written anew -----------------------------------------------------


def test_a_damaged_view_is_cleared_and_filled_again(copied: LmdbView) -> None:
    flip(data(copied), 16, 0)
    with pytest.raises(Corrupt):
        commit(copied, [(b"a", b"1")])
    with pytest.raises(Corrupt), copied.writer():
        pass
    with copied.writer() as writer:
        with pytest.raises(Corrupt):
            writer.delete(Table.KEYS, [b"a"])
        writer.clear()
        writer.put(Table.KEYS, [(b"a", b"1")])
    assert contents(copied)[Table.KEYS] == {b"a": b"1"}
    assert copied.count(Table.EXPIRY) == 0
    copied.verify()


# -- copies, kills and older sums ---------------------------------------------------------


def test_a_copy_between_commits_opens_as_of_then(tmp_path: Path) -> None:
    view = LmdbView(str(tmp_path / "view"))
    for number in range(12):
        with view.writer() as writer:
            writer.put(Table.KEYS, [(b"%05d" % n, b"%d" % number) for n in range(number, 2_000, 3)])
            writer.delete(Table.KEYS, [b"%05d" % n for n in range(0, 2_000, 50)])
        expected = contents(view)
        for sums in (True, False):
            taken = copy(tmp_path / "view", tmp_path / "copy", sums=sums)
            assert contents(taken) == expected
            taken.verify()
            taken.close()
    view.close()


def test_sums_of_the_commit_before_cost_a_walk(past: Past, tmp_path: Path) -> None:
    """A process that dies between a commit and its sums leaves this behind."""
    view = copy(past[0], tmp_path / "copy", sums=True)
    before = view.paths.sums.read_bytes()
    commit(view, [(b"a", b"1")])
    view.park()
    view.paths.sums.write_bytes(before)
    expected = {**past[1], Table.KEYS: {**past[1][Table.KEYS], b"a": b"1"}}
    assert contents(view) == expected


def test_pages_that_nobody_needs_may_hold_anything(past: Past, tmp_path: Path) -> None:
    """A process that dies within a commit has written to free pages, and behind the last."""
    view = copy(past[0], tmp_path / "copy", sums=True)
    commit(view, [(b"a", b"1")])
    expected = contents(view)
    commit(view, [(b"b", b"1")])
    view.park()
    later = data(view).read_bytes()
    shutil.copy(past[0] / "data.mdb", data(view))
    shutil.copy(past[0] / "data.sum", view.paths.sums)
    torn = bytearray(data(view).read_bytes())
    torn[2 * PAGE :] = later[2 * PAGE : len(torn)]
    before = past[0].joinpath("data.mdb").read_bytes()
    used = [n for n in range(2, len(torn) // PAGE) if page(later, n) == page(before, n)]
    assert used
    data(view).write_bytes(bytes(torn) + os.urandom(10_000))
    assert contents(view) == past[1]
    assert expected != past[1]


def page(text: bytes, number: int) -> bytes:
    return text[number * PAGE : (number + 1) * PAGE]


WRITER = """
import sys
from holdfast.views.lmdb_view import LmdbView
from holdfast.views.port import Table
view = LmdbView(sys.argv[1])
for number in range(10_000):
    with view.writer() as writer:
        rows = [(b"%05d" % n, b"%d" % number) for n in range(0, 3_000, 1 + number % 7)]
        writer.put(Table.KEYS, rows)
        writer.put(Table.META, [(b"number", b"%d" % number)])
    print(number, flush=True)
"""


@pytest.mark.push
def test_a_killed_writer_leaves_a_whole_commit(tmp_path: Path) -> None:
    for lines in (1, 2, 3, 5, 8, 13, 21, 34):
        folder = tmp_path / f"{lines}"
        command = [sys.executable, "-c", WRITER, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            said = [int(process.stdout.readline()) for _ in range(lines)]
            process.kill()
        view = LmdbView(str(folder))
        number = int(view.get(Table.META, b"number") or b"-1")
        assert said[-1] <= number
        expected = {}
        for each in range(number + 1):
            expected.update({b"%05d" % n: b"%d" % each for n in range(0, 3_000, 1 + each % 7)})
        assert contents(view)[Table.KEYS] == expected
        view.verify()
        view.close()
