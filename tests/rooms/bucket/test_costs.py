"""What an operation writes: as much as it says, whatever the object's size."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from holdfast.bucket.collect import Collected, candidates, collect, prepare
from holdfast.bucket.seal import seal_all
from holdfast.engines.memory import MemoryDisk
from holdfast.limits import KIB, MIB
from holdfast.store.store import Store
from holdfast.testing.disk import CountingDisk
from tests.growth.growing import in_memory


class House:
    """A store in one large bucket, and what its disk counts."""

    def __init__(self, store: Store, disk: CountingDisk) -> None:
        self.store = store
        self.ns = store.namespace("acme")
        self.disk = disk

    def written(self) -> int:
        """Bytes written since this was last asked."""
        count = self.disk.bytes["write"]
        self.disk.reset()
        return count


@pytest.fixture
def house() -> Iterator[House]:
    disk = CountingDisk(MemoryDisk())
    with in_memory(disk, bucket_bytes=1 << 30) as (store, _):
        yield House(store, disk)


def test_consumers_cost_the_same_whatever_they_hold_on_to(house: House) -> None:
    costs = []
    for size in (KIB, MIB, 3 * MIB):
        house.ns.put("object", b"x" * size, consumers=["first"])
        consumers = house.ns.consumers("object")
        house.written()
        consumers.append(["second", b"third"])
        consumers.remove(["first"])
        consumers.set(["one"])
        costs.append(house.written())
    assert len(set(costs)) == 1
    assert costs[0] < 1_000


@pytest.mark.parametrize("size", [KIB, MIB])
def test_an_append_writes_what_is_appended(house: House, size: int) -> None:
    house.ns.put("object", b"x" * size)
    house.written()
    house.ns.append("object", b"y" * 100)
    assert house.written() < 300
    house.ns.append("object", b"y" * 10_000)
    assert house.written() < 10_300


def test_many_appends_write_each_byte_a_few_times(house: House) -> None:
    """Locations are joined geometrically: a byte is written again log(n) times."""
    pieces = [Random(number).randbytes(50) for number in range(10_000)]
    for number, piece in enumerate(pieces, 1):
        assert house.ns.append("log", piece) == 50 * number
    whole = b"".join(pieces)
    records = 10_000 * (50 + 150)  # heads of record and group, the key, size and checksum
    assert house.written() < records + len(whole) * 14  # 2 ** 14 > 10,000
    assert house.ns.get("log") == whole
    assert house.ns.get("log", range=(123_456, 345_678)) == whole[123_456:345_678]
    house.store.rebuild()
    assert house.ns.get("log") == whole
    house.store.collect()
    assert house.ns.get("log") == whole
    assert house.store.check().problems == ()


def test_an_append_to_a_large_object_writes_what_is_appended(house: House) -> None:
    house.ns.put("object", b"x" * (5 * MIB + 3))
    house.written()
    house.ns.append("object", b"y" * 100)
    assert house.written() < 400
    assert house.ns.get("object") == b"x" * (5 * MIB + 3) + b"y" * 100


def test_a_read_reads_what_it_needs(house: House) -> None:
    house.ns.put("object", b"x" * (5 * MIB))
    house.disk.reset()
    assert len(house.ns.get("object", range=(MIB, MIB + 10))) == 10
    assert house.disk.bytes["read"] <= MIB + 100


def test_the_operations_of_a_batch_in_one_bucket_are_one_group() -> None:
    disk = CountingDisk(MemoryDisk())
    with in_memory(disk, bucket_bytes=1 << 24, sync="always") as (store, _):
        ns = store.namespace("acme")
        ns.put("a", b"", ttl=9)
        disk.reset()
        ns.put_many([(f"k{number}", b"x") for number in range(20)], ttl=9)
        assert disk.calls == {"write": 1, "sync": 1}


def test_a_rebuild_reads_key_blocks_and_no_values(house: House) -> None:
    house.ns.put_many((f"k{number:04}", bytes(60 * KIB)) for number in range(100))
    for bucket in house.store.placement.directory:
        with bucket.lock:
            bucket.log.switch(bucket.segment_state())
        seal_all(bucket)
        bucket.log.park()
    house.disk.reset()
    house.store.rebuild()
    assert house.disk.bytes["read"] < 100 * KIB
    assert house.ns.get("k0007") == bytes(60 * KIB)


def test_what_two_halves_of_a_fork_collect_leaves_the_other_as_it_was() -> None:
    disk = MemoryDisk()
    with in_memory(disk) as (store, _):
        ns = store.namespace("acme")
        model = {f"k{number:04d}": Random(number).randbytes(600) for number in range(150)}
        for key in Random(0).sample(sorted(model), len(model)):
            ns.put(key, model[key])
        store.tick()
        lower, upper = store.status().buckets
        for half, other in ((lower, upper), (upper, lower)):
            mine = [key for key in model if ns.stat(key).bucket == half.id]
            for key in mine[::3]:
                ns.put(key, model[key][::-1])
                model[key] = model[key][::-1]
            for key in mine[1::3]:
                ns.delete(key)
                del model[key]
            one = store.bucket(half.id)._bucket
            done = Collected()
            prepare(one)
            collect(one, candidates(one, 1), done)
            assert done.segments > 0
            for key, value in model.items():
                assert ns.get(key) == value
            assert store.check().problems == ()
            assert other.id in {bucket.id for bucket in store.status().buckets}
