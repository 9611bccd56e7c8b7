"""How many views are open at once, and how that follows from what the process may open."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.store import opening
from holdfast.testing.views import commit, numbered
from holdfast.views.lmdb_view import LmdbView
from holdfast.views.open_views import OpenViews
from holdfast.views.port import Table


def test_no_more_views_are_open_than_may_be(tmp_path: Path) -> None:
    among = OpenViews(2)
    views = [LmdbView(str(tmp_path / f"{number}"), among=among) for number in range(5)]
    for _ in range(2):
        for view in views:
            commit(view, numbered(1))
            assert view.get(Table.KEYS, b"000000") == b"0"
            assert len(among) <= 2
            assert sum(one._readers.environment is not None for one in views) <= 2
    for view in views:
        view.close()


@pytest.fixture
def descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (600, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("descriptors")
def test_the_limit_on_descriptors_is_asked_for() -> None:
    assert opening._descriptors() == 400
    among = opening._Views("nowhere", real=False, given=None)._among
    assert among._limit == 400 // 2 // opening.VIEW_DESCRIPTORS
