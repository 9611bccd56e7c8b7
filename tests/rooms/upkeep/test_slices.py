"""Upkeep works in slices: what it does until it may rest does not grow with what there is.

Counted in calls, because time tells of the machine: 1,000 of them take some 0.1 ms.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from holdfast.bucket import collect, commit, fork
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import Pace, checkpoint
from holdfast.bucket.seal import seal_all
from holdfast.bucket.settings import Sync
from holdfast.engines.disk import OsDisk
from holdfast.limits import SECOND_NS
from holdfast.store.opening import open_on
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.upkeep import expire
from tests.rooms.uncollected import uncollected

RECORDS = 16_000
SLICE_CALLS = 5_000  # of Python and of C: fewer than records, so no work on all of them fits
USUAL_CALLS = 1_000  # in nine of ten slices
CHILD = "0c" * 8
LIFE_S = 1_000


def calls_of(work: Callable[[Pace], object]) -> list[int]:
    """The calls that work makes in each of its slices, fewest first."""
    slices = []
    calls = 0

    def pace() -> None:
        nonlocal calls
        slices.append(calls)
        calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    with uncollected():
        sys.setprofile(count)
        try:
            work(pace)
        finally:
            sys.setprofile(None)
    return sorted([*slices, calls])


def the_bucket(store: Store) -> Bucket:
    (bucket,) = store.placement.directory
    return bucket


def split_off(bucket: Bucket, pace: Pace) -> None:
    """Key blocks are written before, views parted after."""
    child = fork.split(bucket, CHILD, f"acme\0k{RECORDS // 2:06}".encode(), pace=pace)
    assert child is not None
    fork.take_over(child, pace)


WORK: dict[str, Callable[[Bucket, Pace], object]] = {
    "sealed": seal_all,
    "absorbed": checkpoint,
    "collected": collect.try_collect,
    "split off": split_off,
    "expired": expire.sweep_expired,
}


CASES = [*((how, "never") for how in WORK), ("collected", "always"), ("expired", "always")]


def fill(store: Store) -> Bucket:
    """Two segments that have ended; most of the first is dead."""
    pytest.importorskip("numpy")  # once for a process, and many calls
    ns, bucket = store.namespace("acme"), the_bucket(store)
    for turn in range(2):
        for at in range(0, RECORDS, 500):
            keys = [f"k{n * 7919 % RECORDS:06}" for n in range(at, at + 500)]
            ns.put_many([(key, b"v") for key in keys[turn * 200 :]], ttl=LIFE_S)
        with commit.alone(bucket):
            commit.switch(bucket)
    bucket.noted.clear()  # what is kept in memory makes it shorter
    return bucket


@pytest.mark.push
@pytest.mark.parametrize(("how", "sync"), CASES)
def test_a_slice_is_no_longer_where_there_is_more(how: str, sync: Sync, tmp_path: Path) -> None:
    clock = ManualClock()
    with open_on(
        OsDisk(), str(tmp_path / "s"), sync=sync, clock=clock, entropy=SeededEntropy(1)
    ) as store:
        bucket = fill(store)
        if how in {"collected", "split off"}:
            checkpoint(bucket)
        if how == "expired":
            clock.advance(2 * LIFE_S * SECOND_NS)
        slices = calls_of(partial(WORK[how], bucket))
        assert slices[-1] < SLICE_CALLS
        assert slices[len(slices) * 9 // 10] < USUAL_CALLS
