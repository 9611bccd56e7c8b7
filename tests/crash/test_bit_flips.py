"""Single bits that turn over: in the log detected or harmless, in a view never a wrong value."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

import holdfast
from holdfast.engines.memory import Folder, Inode, MemoryDisk
from holdfast.errors import Corrupt, FormatTooNew, HoldfastError, NotFound
from holdfast.store import Store
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.platter import copy_tree
from holdfast.testing.simulator_world import KeptView, Shelf
from holdfast.views.port import Table

BUCKET_BYTES = 64 << 10
LOG_FLIPS = 3_600
VIEW_FLIPS = 1_400
PARTS = 8
VALUES = {f"key/{number:03d}": bytes([number]) * (number * 37 % 1_900) for number in range(120)}


class Found(NamedTuple):
    """What a flip led to: how often it was told, and whether all values still read right."""

    told: bool
    right: bool


class Base(NamedTuple):
    """A closed store with several buckets and segments, and its views."""

    disk: MemoryDisk
    shelf: Shelf


def fill(store: Store) -> None:
    space = store.namespace("n")
    for number, (key, value) in enumerate(VALUES.items()):
        space.put(key, b"first" * 100)
        space.put(key, value, ttl=10_000 if number % 5 == 0 else None)
    for number in range(30):
        space.put(f"gone/{number}", b"x" * 300)
        space.delete(f"gone/{number}")
    space.consumers("key/007").set(["a", "b"])
    store.tick(10)
    store.collect()


@cache
def base() -> Base:
    disk, shelf = MemoryDisk(), Shelf()
    with open_on(
        disk,
        "store",
        bucket_bytes=BUCKET_BYTES,
        clock=ManualClock(),
        entropy=SeededEntropy(1),
        open_view=lambda bucket: KeptView(shelf, bucket),
    ) as store:
        fill(store)
        assert len(store.status().buckets) >= 2
    return Base(disk, shelf)


def files_of(folder: Folder, path: str = "") -> list[tuple[str, Inode]]:
    found: list[tuple[str, Inode]] = []
    for name, node in sorted(folder.entries.items()):
        below = f"{path}/{name}"
        found += files_of(node, below) if isinstance(node, Folder) else [(below, node)]
    return found


def flipped(chance: Random) -> tuple[MemoryDisk, str]:
    """The store with one bit of one file turned over; larger files are met more often."""
    disk = MemoryDisk(copy_tree(base().disk.root, {}))
    files = [(path, node) for path, node in files_of(disk.root) if "/reserve" not in path]
    path, node = chance.choices(files, [len(node) for _, node in files])[0]
    at, bit = chance.randrange(len(node)), chance.randrange(8)
    (byte,) = node.read(at, 1)
    node.write(at, bytes([byte ^ 1 << bit]))
    return disk, f"{path} byte {at} of {len(node)} bit {bit}"


def judged(store: Store) -> Found:
    """Read everything and check: a value is right, or refused with a typed error."""
    told = False
    right = True
    space = store.namespace("n")
    for key, value in VALUES.items():
        try:
            found = space.get(key)
        except NotFound:
            right = False
            continue
        except HoldfastError:
            told, right = True, False
            continue
        assert found == value, f"{key} reads {len(found)} other bytes"
    try:
        assert {key for key in space.list() if key.startswith("gone/")} == set()
    except HoldfastError:
        told = True
    return Found(told or not store.check().ok, right)


@pytest.mark.parametrize("views", ["lost", "kept"])
@pytest.mark.parametrize("part", range(PARTS))
def test_flips_in_the_log(part: int, views: str) -> None:
    chance = Random(f"{part}{views}")
    for _ in range(LOG_FLIPS // PARTS // 2):
        disk, where = flipped(chance)
        shelf = Shelf()
        if views == "kept":
            for bucket, tables in base().shelf.everything().items():
                shelf.tables(bucket).update(tables)
        try:
            store = open_on(
                disk,
                "store",
                bucket_bytes=BUCKET_BYTES,
                clock=ManualClock(),
                entropy=SeededEntropy(2),
                open_view=lambda bucket, shelf=shelf: KeptView(shelf, bucket),  # type: ignore[misc]
            )
        except (Corrupt, FormatTooNew):
            continue
        found = judged(store)
        assert found.right or found.told, f"{where}: something is missing and nobody says so"


@pytest.mark.timeout(300)  # seconds: at load 10 it took 34
@pytest.mark.parametrize("part", range(PARTS))
def test_flips_in_the_views(part: int, tmp_path: Path) -> None:
    chance = Random(part)
    clock = ManualClock()
    home, copy = tmp_path / "home", tmp_path / "copy"
    with holdfast.open(
        home,
        bucket_bytes=BUCKET_BYTES,
        upkeep=False,
        clock=clock,
        entropy=SeededEntropy(3),  # ids say in which order files are met
    ) as store:
        fill(store)
        store.rebuild()
    missing = wrong = 0
    for _ in range(VIEW_FLIPS // PARTS):
        shutil.copytree(home, copy)
        files = [path for path in sorted((copy / "index").rglob("*")) if path.is_file()]
        path = chance.choices(files, [path.stat().st_size for path in files])[0]
        data = bytearray(path.read_bytes())
        at, bit = chance.randrange(len(data)), chance.randrange(8)
        data[at] ^= 1 << bit
        path.write_bytes(data)
        with holdfast.open(copy, bucket_bytes=BUCKET_BYTES, upkeep=False, clock=clock) as store:
            found = judged(store)
        assert found.right or found.told, f"{path.name} byte {at} bit {bit}: missing, not found"
        missing += not found.right
        wrong += found.told
        shutil.rmtree(copy)
    assert missing <= wrong


def test_a_key_that_a_view_lost_is_found_by_check() -> None:
    """Not by a flip but by hand: each row taken out of the views in turn."""
    for bucket, tables in base().shelf.everything().items():
        for key in list(tables[Table.KEYS])[::11]:
            shelf = Shelf()
            for name, kept in base().shelf.everything().items():
                shelf.tables(name).update(kept)
            del shelf.tables(bucket)[Table.KEYS][key]
            store = open_on(
                MemoryDisk(copy_tree(base().disk.root, {})),
                "store",
                bucket_bytes=BUCKET_BYTES,
                clock=ManualClock(),
                entropy=SeededEntropy(2),
                open_view=lambda name, shelf=shelf: KeptView(shelf, name),  # type: ignore[misc]
            )
            report = store.check()
            assert not report.ok
            assert any("missing" in problem.what for problem in report.problems)
            assert store.check(repair=True).problems[0].repaired
            assert store.check().ok
            assert store.namespace("n").get(key.partition(b"\0")[2].decode()) is not None
