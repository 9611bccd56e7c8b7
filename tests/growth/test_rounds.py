"""Twenty rounds of overwriting, deleting and expiring: the disk holds what is alive, and
little more.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple

import pytest

import holdfast
from holdfast.limits import MIB
from holdfast.store.opening import segment_bytes
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock
from tests.growth.growing import SECOND_NS

VALUE_BYTES = 1_024
BATCH = 500
Way = Literal["collect", "tick"]


class Size(NamedTuple):
    """How much, in buckets of which bound, how many rounds."""

    live: int
    bucket: int
    rounds: int


def on_disk(folder: Path) -> int:
    """Bytes of all files below a folder, each file once whatever its names."""
    files = {(told := path.stat()).st_ino: told for path in folder.rglob("*") if path.is_file()}
    return sum(told.st_blocks * 512 for told in files.values())


class Life:
    """A store whose objects come and go."""

    def __init__(self, store: Store, clock: ManualClock, way: Way) -> None:
        self.versions: dict[str, int] = {}
        self._store = store
        self._ns = store.namespace("acme")
        self._clock = clock
        self._way = way
        self._chance = Random(0)

    def put(self, keys: list[str], version: int, ttl: float | None = None) -> None:
        for at in range(0, len(keys), BATCH):
            part = keys[at : at + BATCH]
            self._ns.put_many([(key, value_of(key, version)) for key in part], ttl=ttl)
            if self._way == "tick":
                self._clock.advance(SECOND_NS)
                self._store.tick(60)
        if ttl is None:
            self.versions.update(dict.fromkeys(keys, version))

    def round(self, number: int) -> None:
        """Overwrite, delete and expire a fifth each, and put as many new ones."""
        keys = sorted(self.versions)
        chosen = self._chance.sample(keys, len(keys) * 3 // 5)
        third = len(chosen) // 3
        overwritten, deleted, expired = (chosen[i * third : (i + 1) * third] for i in range(3))
        self.put(overwritten, number)
        for key in deleted:
            self._ns.delete(key)
        self.put(expired, number, ttl=1)
        for key in (*deleted, *expired):
            del self.versions[key]
        self.put([f"{number:02d}/{index:07d}" for index in range(2 * third)], number)

    def catch_up(self) -> None:
        self._clock.advance(5 * SECOND_NS)
        if self._way == "collect":
            self._store.collect()
        else:
            for _ in range(4):
                self._clock.advance(2 * SECOND_NS)
                self._store.tick(600)

    def hold_values(self, part: int) -> None:
        for key in self._chance.sample(sorted(self.versions), len(self.versions) // part):
            assert self._ns.get(key) == value_of(key, self.versions[key])


def value_of(key: str, version: int) -> bytes:
    return blake2b(f"{key} {version}".encode(), digest_size=16).digest() * (VALUE_BYTES // 16)


def live_through(path: Path, size: Size, way: Way) -> None:
    clock = ManualClock()
    segment = segment_bytes(size.bucket)
    with holdfast.open(
        path, bucket_bytes=size.bucket, sync="never", upkeep=False, clock=clock
    ) as store:
        life = Life(store, clock, way)
        life.put([f"00/{index:07d}" for index in range(size.live // VALUE_BYTES)], 0)
        for number in range(1, size.rounds + 1):
            life.round(number)
            life.catch_up()
            status = store.status()
            assert sum(bucket.keys for bucket in status.buckets) == len(life.versions)
            assert status.disk_bytes < 1.5 * status.live_bytes + 2 * segment
            assert on_disk(path) < 1.5 * status.live_bytes + 2 * segment
            life.hold_values(20)
        life.hold_values(1)
        assert store.check().problems == ()


@pytest.mark.push
@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", ["collect", "tick"])
@pytest.mark.parametrize("bucket", [16 * MIB, 1 << 30])
def test_the_disk_holds_what_is_alive_and_little_more(
    tmp_path: Path, bucket: int, way: Way
) -> None:
    live_through(tmp_path / "data", Size(32 * MIB, bucket, 5), way)


@pytest.mark.nightly
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("way", ["collect", "tick"])
def test_twenty_rounds_of_a_gibibyte(tmp_path: Path, way: Way) -> None:
    live_through(tmp_path / "data", Size(1 << 30, 4 << 30, 20), way)
