"""Segments that are shorter than their log says: damage of one bucket, told and mended."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import holdfast
from holdfast.errors import Corrupt, NotFound
from holdfast.limits import BUCKET_BYTES_LEAST
from holdfast.store import Store
from holdfast.testing.clock import ManualClock

VALUES = {f"k{number:03}": Random(number).randbytes(3_000) for number in range(80)}
LENGTHS: dict[str, Callable[[int], int]] = {
    "empty": lambda _: 0,
    "one byte": lambda _: 1,
    "half a head": lambda _: 60,
    "half": lambda size: size // 2,
    "without its key block": lambda size: size - 2_000,
    "all but 100": lambda size: size - 100,
    "all but one": lambda size: size - 1,
}


def opened(path: Path) -> Store:
    return holdfast.open(
        path,
        bucket_bytes=BUCKET_BYTES_LEAST,
        upkeep=False,
        clock=ManualClock(),  # a tick has all the time it needs
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of several buckets, whose segments have ended or have not, some of them shared."""
    path = tmp_path_factory.mktemp("base") / "data"
    with opened(path) as store:
        store.namespace("n").put_many(VALUES)
        for _ in range(4):
            store.tick(1)
    return path


def judge(store: Store) -> int:
    """How many values cannot be read; all others are what they were."""
    lost = 0
    for key, value in VALUES.items():
        try:
            assert store.namespace("n").get(key) == value
        except (Corrupt, NotFound):
            lost += 1
    return lost


@pytest.mark.timeout(300)
@pytest.mark.parametrize("crashed", [False, True])
@pytest.mark.parametrize("shorter", LENGTHS)
def test_the_others_go_on_and_repair_keeps_what_verifies(
    base: Path, tmp_path: Path, shorter: str, *, crashed: bool
) -> None:
    segments = sorted(path.relative_to(base) for path in base.glob("log/*/*.seg"))
    assert len(segments) > 5
    for segment in segments:
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        shutil.copytree(base, tmp_path / "data")
        if crashed:
            (tmp_path / "data" / "CLOSED").unlink()
            shutil.rmtree(tmp_path / "data" / "index")
        path = tmp_path / "data" / segment
        size = path.stat().st_size
        os.truncate(path, max(0, LENGTHS[shorter](size)))
        with opened(tmp_path / "data") as store:
            assert judge(store) < len(VALUES), segment
            store.check(repair=True)
            assert store.check().ok, segment
            assert judge(store) < len(VALUES), segment
