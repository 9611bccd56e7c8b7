"""A writer that dies at every part of a 10 MiB object: the old object or the new one (rule 8)."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import pytest

from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.store import Store
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import MODES, CrashDisk

MIB = 1 << 20
BUCKET_BYTES = 64 << 10
OLD = b"old!" * (MIB // 2)
NEW = b"new!new!" * (10 * MIB // 8)
HOUR_NS = 3_600_000_000_000
PARTS = 8
HIDDEN = b"\x01"


class Run(NamedTuple):
    """The recorded run, and the points between which the new object was written."""

    disk: CrashDisk
    began: int
    ended: int


def opened(disk: Disk, clock: ManualClock, seed: int) -> Store:
    return open_on(
        disk,
        "store",
        bucket_bytes=BUCKET_BYTES,
        clock=clock,
        entropy=SeededEntropy(seed),
    )


@cache
def recorded() -> Run:
    disk = CrashDisk(MemoryDisk())
    store = opened(disk, ManualClock(), 1)
    space = store.namespace("n")
    space.put_many({f"k{number:03d}": bytes([number]) * 900 for number in range(100)})
    space.put("big", OLD)
    began = disk.points
    with space.open("big", "wb") as file:
        for at in range(0, len(NEW), MIB // 2):
            file.write(NEW[at : at + MIB // 2])
    return Run(disk, began, disk.points)


def parts_left(store: Store) -> int:
    """How many hidden parts there are, in every bucket."""
    count = 0
    for bucket in store.placement.directory:
        at: bytes | None = bucket.start
        while at is not None:
            rows, at = bucket.page(at, bucket.stop, 1_000)
            count += sum(HIDDEN in key for key, _ in rows)
    return count


@pytest.mark.parametrize("part", range(PARTS))
def test_a_writer_that_dies_at_any_point_leaves_one_of_the_two(part: int) -> None:
    run = recorded()
    points = range(run.began + 1, run.ended + 1)
    assert len(points) >= 2 * len(NEW) // MIB  # a write and a sync for each part at least
    for point in points[part::PARTS]:
        mode = MODES[point % len(MODES)]
        clock = ManualClock()
        store = opened(run.disk.after_cut(mode, point, at=point), clock, 2)
        value = store.namespace("n").get("big")
        assert value in (OLD, NEW), (point, mode)
        clock.advance(2 * HOUR_NS)  # beyond the grace of slow readers
        store.collect()
        store.collect()
        assert parts_left(store) == (len(value) - 1) // MIB, (point, mode)
        assert store.namespace("n").get("big") == value
        assert store.check().ok, (point, mode)
