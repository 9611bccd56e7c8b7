"""How far long work is: a true total, reached at the end, in a value that callers look at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

import holdfast
from holdfast.errors import InvalidValue
from holdfast.limits import BUCKET_BYTES_LEAST
from holdfast.store.store import Store
from holdfast.values import Progress

Work = Callable[[Store, Path, Progress], object]
WORKS: dict[str, Work] = {
    "check": lambda store, _, progress: store.check(progress=progress),
    "collect": lambda store, _, progress: store.collect(progress=progress),
    "rebuild": lambda store, _, progress: store.rebuild(progress=progress),
    "backup": lambda store, folder, progress: store.backup(folder / "copy", progress=progress),
}


class Seen(Progress):
    """Remembers how far the work was each time something was done."""

    def __setattr__(self, name: str, value: int) -> None:
        super().__setattr__(name, value)
        if name == "done" and value:
            STEPS.append((value, self.total))


STEPS: list[tuple[int, int]] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    STEPS.clear()


def filled(folder: Path) -> Store:
    store = holdfast.open(folder / "data", bucket_bytes=BUCKET_BYTES_LEAST, sync="never")
    acme = store.namespace("acme")
    for number in range(300):
        acme.put(f"{number:03d}", b"x" * 1_000)
    return store


@pytest.mark.parametrize("name", WORKS)
def test_work_goes_step_by_step_to_its_end(name: str, tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        buckets = len(store.status().buckets)
        progress = Seen()
        WORKS[name](store, tmp_path, progress)
        steps = list(STEPS)
    assert len(steps) >= buckets > 2
    assert steps == sorted(steps)
    assert all(0 < done <= total for done, total in steps)
    assert progress.done == progress.total == steps[-1][0]
    if name in {"collect", "rebuild"}:
        assert progress.total >= buckets
    if name == "backup":
        files = (tmp_path / "copy").glob("*/*.seg")
        assert 300_000 < progress.total <= sum(file.stat().st_size for file in files)


def test_a_check_counts_what_was_not_opened_yet(tmp_path: Path) -> None:
    filled(tmp_path).close()
    with holdfast.open(tmp_path / "data", bucket_bytes=BUCKET_BYTES_LEAST) as store:
        assert store.check(progress=Seen()).ok
        segments = sum(1 for _ in (tmp_path / "data").glob("log/*/*.seg"))
        buckets = len(store.status().buckets)
    assert STEPS[0][1] == segments + buckets


def test_a_restore_counts_the_bytes_of_the_backup(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        store.backup(tmp_path / "copy")
    progress = Seen()
    holdfast.restore(tmp_path / "copy", tmp_path / "again", progress=progress)
    files = list((tmp_path / "copy").glob("*/*.seg"))
    assert progress.done == progress.total == sum(file.stat().st_size for file in files)
    assert len(STEPS) == len(files)
    with holdfast.open(tmp_path / "again") as store:
        assert len(list(store.namespace("acme").list())) == 300


def test_one_value_serves_again(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        progress = Progress(7, 9)
        for _ in range(2):
            store.rebuild(progress=progress)
            assert progress.done == progress.total == len(store.status().buckets)


@pytest.mark.parametrize("name", WORKS)
def test_what_is_no_progress_is_refused_before_anything_happens(name: str, tmp_path: Path) -> None:
    with filled(tmp_path) as store, pytest.raises(InvalidValue, match="progress"):
        WORKS[name](store, tmp_path, cast("Any", print))
    assert not (tmp_path / "copy").exists()


def test_an_asyncio_store_takes_it_too(tmp_path: Path) -> None:
    filled(tmp_path).close()

    async def seen() -> Progress:
        progress = Progress()
        async with holdfast.aopen(tmp_path / "data") as store:
            await store.check(progress=progress)
        return progress

    progress = asyncio.run(seen())
    assert progress.done == progress.total > 2
