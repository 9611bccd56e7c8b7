"""A large file answers before all of it was judged: what was, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Thread
from typing import TypeVar

import pytest

from holdfast.errors import Corrupt, FormatTooNew, Moved
from holdfast.testing.views import Fresh, ViewSuite, commit
from holdfast.views.lmdb_file import Meta, read_metas
from holdfast.views.lmdb_judged import Judgement
from holdfast.views.lmdb_life import Judging, Transaction
from holdfast.views.lmdb_open import Handles
from holdfast.views.lmdb_rows import FORMAT_KEY, HOUSE, SEEDS, seal
from holdfast.views.lmdb_view import LmdbView
from holdfast.views.port import Table
from tests.rooms.views.lmdb_places import (
    BRANCH,
    LEAF,
    OVERFLOW,
    PAGE,
    Model,
    contents,
    copy,
    flip,
    pages_by_kind,
    with_a_past,
)

T = TypeVar("T")
Past = tuple[Path, Model]


class Unsure(LmdbView):
    """A view that judges its file anew for every question, unless it is being written to."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder, at_once_bytes=0)
        self.judged = 0

    def _doubt(self) -> None:
        if self.try_park():
            self._known = None

    def get(self, table: Table, key: bytes) -> bytes | None:
        self._doubt()
        return super().get(table, key)

    def use(self, work: Callable[[Transaction, Handles], T], absent: T) -> T:
        self._doubt()
        return super().use(work, absent)

    def _judged(self, readers: Judging, work: Callable[[Transaction, Handles], T]) -> T:
        self.judged += 1
        return super()._judged(readers, work)


class TestJudgedView(ViewSuite):
    """Whatever is asked is answered as LMDB would, without it."""

    @pytest.fixture
    def fresh(self, tmp_path: Path) -> Fresh:
        numbers = count()
        return lambda: Unsure(str(tmp_path / f"{next(numbers)}"))


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    folder = tmp_path_factory.mktemp("past") / "view"
    return folder, with_a_past(folder, keys=6_000)


@pytest.fixture
def view(past: Past, tmp_path: Path) -> Iterator[LmdbView]:
    """A copy of the view with a past, of which nothing is judged yet."""
    view = copy(past[0], tmp_path / "copy", sums=True, at_once_bytes=0)
    yield view
    view.close()


def is_judging(view: LmdbView) -> bool:
    return isinstance(view._readers, Judging)


def is_damaged(view: LmdbView) -> bool:
    return view.damage is not None


def stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is judged but what is asked for."""
    monkeypatch.setattr(Judgement, "go_on", lambda _self, *, wait=False: wait)


def data(view: LmdbView) -> Path:
    return view.paths.data


def test_the_suite_is_answered_without_lmdb(tmp_path: Path) -> None:
    view = Unsure(str(tmp_path / "view"))
    commit(view, [(b"a", b"1")])
    assert (view.get(Table.KEYS, b"a"), view.count(Table.KEYS)) == (b"1", 1)
    assert view.judged == 2
    view.close()
    with pytest.raises(Moved):
        view.get(Table.KEYS, b"a")


def test_everything_is_answered_before_all_is_judged(
    past: Past, view: LmdbView, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_still(monkeypatch)
    model = past[1]
    for table, rows in model.items():
        assert all(view.get(table, key) == value for key, value in list(rows.items())[:300])
        assert view.get_many(table, sorted(rows)) == rows
        assert view.count(table) == len(rows)
        assert view.get(table, b"absent") is None
    assert contents(view) == model
    assert is_judging(view)
    assert view._readers.environment is None


def test_questions_judge_the_file_and_lmdb_takes_over(past: Past, view: LmdbView) -> None:
    asked = 0
    keys = list(past[1][Table.KEYS].items())
    for key, value in keys:
        assert view.get(Table.KEYS, key) == value
        asked += 1
        if not is_judging(view):
            break
    assert asked == -(-data(view).stat().st_size // (64 * PAGE))  # each judges 256 KiB
    assert all(view.get(Table.KEYS, key) == value for key, value in keys)
    assert view._readers.environment is not None


def test_who_writes_has_the_rest_judged_first(past: Past, view: LmdbView) -> None:
    assert view.get(Table.KEYS, b"a") is None
    assert is_judging(view)
    commit(view, [(b"a", b"1")])
    assert not is_judging(view)
    assert contents(view) == {**past[1], Table.KEYS: {**past[1][Table.KEYS], b"a": b"1"}}


def test_readers_go_on_while_the_rest_is_judged(past: Past, view: LmdbView) -> None:
    keys = list(past[1][Table.KEYS].items())
    wrong: list[object] = []

    def read() -> None:
        for key, value in keys:
            try:
                found = view.get(Table.KEYS, key)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the failure
                wrong.append(error)
                return
            if found != value:
                wrong.append(key)

    threads = [Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(5):
        commit(view, [(b"a", b"%d" % number)])
    for thread in threads:
        thread.join()
    assert wrong == []


def metas(path: Path) -> tuple[Meta, Meta]:
    with path.open("rb") as file:
        found = read_metas(file.fileno())
    assert found
    return found


def damaged(view: LmdbView, kind: int, seed: int) -> None:
    """Turn some bits of pages of a kind over, of each one bit."""
    chance = random.Random(seed)
    pages = pages_by_kind(data(view))[kind]
    for page in chance.sample(pages, max(1, len(pages) // 20)):
        flip(data(view), page * PAGE + chance.randrange(PAGE), chance.randrange(8))


@pytest.mark.parametrize("kind", [LEAF, BRANCH, OVERFLOW])
def test_a_damaged_page_gives_no_answer_and_the_others_give_theirs(
    past: Past, view: LmdbView, monkeypatch: pytest.MonkeyPatch, kind: int
) -> None:
    stand_still(monkeypatch)
    right = 0
    for seed in range(5):
        whole = data(view).read_bytes()
        damaged(view, kind, seed)
        refused = 0
        for table, rows in past[1].items():
            for key, value in rows.items():
                try:
                    assert view.get(table, key) == value
                    right += 1
                except Corrupt:
                    refused += 1
            try:
                assert view.scan(table, b"", None, 2 * len(rows)) == sorted(rows.items())
            except Corrupt:
                refused += 1
        assert bool(refused) == is_damaged(view)
        data(view).write_bytes(whole)
        view.park()
        view.damage = None
    assert right


def test_a_file_with_a_damaged_page_is_never_handed_to_lmdb(past: Past, view: LmdbView) -> None:
    page = metas(data(view))[0].free.root  # which no question needs
    flip(data(view), page * PAGE + 20, 3)
    for key, value in past[1][Table.KEYS].items():
        assert view.get(Table.KEYS, key) == value
    assert is_damaged(view)
    assert is_judging(view)
    with pytest.raises(Corrupt), view.writer() as writer:
        writer.put(Table.KEYS, [(b"a", b"1")])
    with view.writer() as writer:
        writer.clear()
        writer.put(Table.KEYS, [(b"a", b"1")])
    assert not is_damaged(view)
    assert contents(view)[Table.KEYS] == {b"a": b"1"}


def test_no_bit_of_a_meta_leads_elsewhere(tmp_path: Path) -> None:
    model = with_a_past(tmp_path / "view", keys=100)
    view = copy(tmp_path / "view", tmp_path / "copy", sums=True, at_once_bytes=0)
    whole = data(view).read_bytes()
    for page in (0, 1):
        for offset in (*range(16), *range(56, 152)):
            flip(data(view), page * PAGE + offset, offset % 8)
            with suppress(Corrupt):
                assert contents(view) == model, (page, offset)
            view.park()
            view._known = view.damage = None
            data(view).write_bytes(whole)


def test_a_file_that_somebody_wrote_is_judged_anew(
    past: Past, view: LmdbView, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_still(monkeypatch)
    assert view.get(Table.KEYS, b"a") is None
    other = LmdbView(str(view.paths.folder))
    commit(other, [(b"a", b"1")])
    other.close()
    assert view.get(Table.KEYS, b"a") == b"1"
    assert is_judging(view)
    assert contents(view) == {**past[1], Table.KEYS: {**past[1][Table.KEYS], b"a": b"1"}}


def test_who_reads_amid_later_commits_is_answered_anew(past: Past, view: LmdbView) -> None:
    """LMDB knows nothing of a reader here, and gives the pages it reads to the next commits."""
    keys = sorted(key for key in past[1][Table.KEYS] if len(key) < 100)
    other = LmdbView(str(view.paths.folder))
    times = count()

    def work(pages: Transaction, handles: Handles) -> list[bytes | None]:
        if not next(times):
            readers = view._readers
            assert isinstance(readers, Judging)
            readers.judgement._turn.acquire()  # somebody else judges on, and sees it later
            for number in range(6):
                commit(other, [(key, b"%d" % number) for key in keys])
        return [pages.get(key, None, handles[Table.KEYS]) for key in keys]

    nothing: list[bytes | None] = []
    found = view.use(work, nothing)
    assert next(times) > 1
    assert {value[:1] if value else value for value in found} == {b"5"}
    assert view.damage is None
    other.close()


def test_a_later_format_is_refused_while_it_is_judged(view: LmdbView) -> None:
    with view.writer() as writer:
        writer.put(Table.KEYS, [(b"a", b"1")])
        attempt = writer._attempt  # type: ignore[attr-defined]
        for key, value in seal(SEEDS[HOUSE], [(FORMAT_KEY, b"\2\0")]):
            attempt.transaction.put(key, value, db=attempt.handles[-1])
    view.park()
    view._known = None
    with pytest.raises(FormatTooNew):
        view.get(Table.KEYS, b"a")


def test_a_file_without_sums_is_walked(past: Past, tmp_path: Path) -> None:
    view = copy(past[0], tmp_path / "copy", sums=False, at_once_bytes=0)
    view.get(Table.KEYS, b"a")
    assert not is_judging(view)
    assert contents(view) == past[1]
    view.close()
