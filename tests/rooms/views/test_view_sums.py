"""Sums of pages are brought forward from commit to commit: only what was written is measured."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from holdfast.errors import Corrupt
from holdfast.testing.views import commit
from holdfast.views import lmdb_sums
from holdfast.views.lmdb_file import Pages, free_pages, read_metas
from holdfast.views.lmdb_view import LmdbView
from holdfast.views.port import Table
from tests.rooms.views.lmdb_places import PAGE, Model, copy, flip, with_a_past

Past = tuple[Path, Model]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    folder = tmp_path_factory.mktemp("past") / "view"
    return folder, with_a_past(folder, keys=600)


def free_now(view: LmdbView) -> set[int]:
    """The pages that the newest commit does not need."""
    with view.paths.data.open("rb") as file:
        metas = read_metas(file.fileno())
        assert metas
        return set(free_pages(Pages(file.fileno(), metas[0]), metas[0]))


def test_sums_that_are_brought_forward_are_those_of_all_pages(past: Past, tmp_path: Path) -> None:
    """But for pages that a commit took and did not need, which are free."""
    view = copy(past[0], tmp_path / "copy", sums=True)
    chance = random.Random(5)
    keys = sorted(past[1][Table.KEYS])
    for number in range(20):
        with view.writer() as writer:
            some = sorted(chance.sample(keys, chance.choice([1, 10, 300])))
            writer.put(Table.KEYS, [(key, bytes(chance.randrange(150))) for key in some])
            writer.delete(Table.KEYS, chance.sample(keys, 20))
            writer.put(Table.CONSUMERS, [(b"large", bytes(chance.randrange(30_000)))])
            if number % 3 == 0:
                writer.delete(Table.CONSUMERS, [b"large"])
        with view.paths.data.open("rb") as file:
            metas = read_metas(file.fileno())
            assert metas
            kept = lmdb_sums.read(view.paths.sums, metas[0])
            assert kept is not None
            found = lmdb_sums.measure(file.fileno(), metas[0])
        differing = {page for page, (a, b) in enumerate(zip(kept, found, strict=True)) if a != b}
        assert differing <= free_now(view)


def test_a_page_that_rots_between_commits_keeps_its_sum(past: Past, tmp_path: Path) -> None:
    """To measure all pages anew behind each commit would make the damage what was written."""
    view = copy(past[0], tmp_path / "copy", sums=True)
    commit(view, [(b"a", b"1")])
    key = sorted(past[1][Table.KEYS])[300]
    whole, free = view.paths.data.read_bytes(), free_now(view)
    places = [found.start() for found in re.finditer(re.escape(key), whole)]
    (at,) = (place for place in places if place // PAGE not in free)
    flip(view.paths.data, at - 3, 0)  # in the head of the row's node
    commit(view, [(b"b", b"1")])
    assert at // PAGE not in free_now(view)
    view.park()
    view._known = None
    with pytest.raises(Corrupt):
        view.get(Table.KEYS, b"a")


def pages_and_sums(folder: Path, value: bytes) -> list[tuple[bytes, int]]:
    view = LmdbView(str(folder))
    commit(view, [(b"%04d" % number, value) for number in range(150)])
    with view.paths.data.open("rb") as file:
        metas = read_metas(file.fileno())
        assert metas
        sums = lmdb_sums.measure(file.fileno(), metas[0])
    whole = view.paths.data.read_bytes()
    view.close()
    return [(whole[n * PAGE : (n + 1) * PAGE], told) for n, told in enumerate(sums)]


def test_rows_in_the_place_of_others_are_seen(tmp_path: Path) -> None:
    """Each verifies by its own check, so a page of a write that was lost looks whole, too."""
    one = pages_and_sums(tmp_path / "one", b"11")
    other = pages_and_sums(tmp_path / "other", b"14")
    pairs = [(a, b) for (a, _), (b, _) in zip(one, other, strict=True)]
    sums = [(a, b) for (_, a), (_, b) in zip(one, other, strict=True)]
    differing = [n for n, (a, b) in enumerate(pairs) if a != b]
    assert differing
    assert [n for n, (a, b) in enumerate(sums) if a != b] == differing
