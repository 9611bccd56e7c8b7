"""Where the bytes are: what status tells is what the disk holds."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

import holdfast
from holdfast.bucket.checkpoint import checkpoint
from holdfast.engines.memory import Folder, MemoryDisk
from holdfast.testing.clock import ManualClock
from holdfast.upkeep.space import Space
from tests.growth.growing import in_memory, tick_on

VALUE = b"v" * 1_000
VALUE_BYTES_AT_LEAST = 100_000  # of what was replaced
SEGMENT_ENDS_BYTES = 100_000  # heads, key blocks and records of what was dropped


def on_disk(folder: Path) -> int:
    """Bytes of all files below a folder, each file once whatever its names."""
    files = {(told := path.stat()).st_ino: told for path in folder.rglob("*") if path.is_file()}
    return sum(told.st_blocks * 512 for told in files.values())


def in_segments(disk: MemoryDisk) -> int:
    """Bytes of all segments of a disk in memory, each file once."""
    seen: dict[int, int] = {}

    def walk(folder: Folder) -> None:
        for name, node in folder.entries.items():
            if isinstance(node, Folder):
                walk(node)
            elif name.endswith(".seg"):
                seen[id(node)] = len(node)

    walk(disk.root)
    return sum(seen.values())


def test_shared_segments_count_once() -> None:
    disk = MemoryDisk()
    with in_memory(disk) as (store, clock):
        ns = store.namespace("acme")
        for number in Random(0).sample(range(500), 500):
            ns.put(f"k{number:05d}", VALUE)
        tick_on(store, clock)
        status = store.status()
        assert len(status.buckets) > 4
        assert status.disk_bytes == status.live_bytes + status.dead_bytes
        assert 0 <= status.disk_bytes - in_segments(disk) < 200  # shares are rounded up
        assert sum(bucket.live_bytes for bucket in status.buckets) == status.live_bytes
        assert status.live_bytes == 500 * (44 + 11 + 1_000)


def test_hidden_parts_are_alive() -> None:
    with in_memory(bucket_bytes=64 << 20) as (store, _):
        ns = store.namespace("acme")
        ns.put("large", b"x" * (5 << 20))
        status = store.status()
        assert status.live_bytes > 5 << 20
        assert status.dead_bytes < 4_000
        ns.delete("large")
        clock = store.clock
        assert isinstance(clock, ManualClock)
        clock.advance(2 * 3600 * 10**9)
        store.collect()
        assert store.status().live_bytes < 4_000
        assert store.check().ok


@pytest.mark.push
@pytest.mark.parametrize("bucket_bytes", [1 << 20, 64 << 20])
def test_status_tells_what_the_folder_takes(tmp_path: Path, bucket_bytes: int) -> None:
    path = tmp_path / "data"
    with holdfast.open(path, sync="never", upkeep=False, bucket_bytes=bucket_bytes) as store:
        ns = store.namespace("acme")
        numbers = Random(0).sample(range(8_000), 8_000)
        for at in range(0, len(numbers), 200):
            ns.put_many([(f"k{n:05d}", Random(n).randbytes(1_000)) for n in numbers[at : at + 200]])
        for n in numbers[::3]:
            ns.delete(f"k{n:05d}")
        store.collect()
        status = store.status()
        views = sum(1 for _ in path.rglob("data.mdb"))
        reserve = sum(one.stat().st_blocks * 512 for one in (path / "log").glob("reserve*"))
        # Beside what status tells: the reserve, the store's own file, and the lock, sums and
        # the last block of each file.
        apart = on_disk(path) - reserve - status.disk_bytes
        files = sum(1 for _ in path.rglob("*"))
        assert 0 <= apart <= 4_096 * (files + 3 * views)
        assert status.live_bytes == sum(44 + 11 + 1_000 for n in numbers if n not in numbers[::3])


def test_a_collection_says_what_the_disk_has_back() -> None:
    disk = MemoryDisk()
    with in_memory(disk) as (store, clock):
        ns = store.namespace("acme")
        for value in (VALUE, VALUE[1:]):
            for number in Random(0).sample(range(1_500), 1_500):
                ns.put(f"k{number:05d}", value)
            tick_on(store, clock)
        assert len(store.status().buckets) > 4
        before = in_segments(disk)
        report = store.collect()
        after = in_segments(disk)
        assert report.bytes_freed > VALUE_BYTES_AT_LEAST
        grown = report.bytes_freed - (before - after)  # by what was moved, and what says so
        assert report.bytes_moved <= grown < 2 * report.bytes_moved + SEGMENT_ENDS_BYTES


def test_only_who_wrote_nothing_since_an_earlier_round_is_counted_out() -> None:
    """To look twice at once shows nobody at rest: a writer may have waited for who looks."""
    with in_memory(bucket_bytes=64 << 20) as (store, _):
        ns = store.namespace("acme")
        for _ in range(2):
            ns.put_many((f"k{number:05d}", b"v") for number in range(2_000))
        (bucket,) = store.placement.directory
        space, overlay = Space(1 << 20), bucket.state.active
        for _ in range(2):
            space.begin_round()
            for _ in range(3):
                space.look([bucket], exact=False)
            assert overlay.resolved == 0
            ns.put("another", b"v")
        space.begin_round()
        space.look([bucket], exact=False)
        space.begin_round()
        space.look([bucket], exact=False)
        assert overlay.resolved == len(overlay.keys)


def test_who_wants_it_exact_has_it_in_the_round_of_who_did_not() -> None:
    with in_memory(bucket_bytes=64 << 20) as (store, _):
        store.namespace("acme").put_many((f"k{number:05d}", b"v") for number in range(2_000))
        (bucket,) = store.placement.directory
        space, overlay = Space(1 << 20), bucket.state.active
        space.look([bucket], exact=False)
        assert overlay.resolved == 0
        space.look([bucket], exact=True)
        assert overlay.resolved == 2_000


def test_views_give_free_pages_back_where_the_store_is_over_its_bound(tmp_path: Path) -> None:
    clock, chance = ManualClock(), Random(3)
    with holdfast.open(
        tmp_path / "s", bucket_bytes=8 << 20, sync="never", upkeep=False, clock=clock
    ) as store:
        ns = store.namespace("acme")
        keys = [f"{number:06d}" for number in range(6_000)]
        (bucket,) = store.placement.directory
        chosen, files = keys, set[int]()
        for _ in range(24):
            ns.put_many([(key, bytes(300)) for key in chosen])
            checkpoint(bucket)
            tick_on(store, clock)
            files.add(Path(bucket.view.file or "").stat().st_ino)
            chosen = chance.sample(keys, 1_000)
        assert len(files) > 1  # a copy took the place of each but the last
        assert ns.get_many(keys) == [bytes(300)] * len(keys)
        assert store.check().problems == ()
