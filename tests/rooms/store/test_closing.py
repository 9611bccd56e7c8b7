"""A store closes whatever the disk says: every bucket, and with a typed error."""

from __future__ import annotations

import pytest

from holdfast.engines.memory import MemoryDisk
from holdfast.errors import StorageFailed
from holdfast.store.opening import open_on
from holdfast.testing import ManualClock, SeededEntropy
from holdfast.testing.disk import FOREVER
from holdfast.testing.simulator_world import Faulty


def test_a_disk_that_refuses_the_last_sync() -> None:
    disk = Faulty(MemoryDisk(), 1, times=FOREVER)
    store = open_on(
        disk,
        "store",
        sync="always",
        bucket_bytes=64 << 10,
        clock=ManualClock(),
        entropy=SeededEntropy(1),
    )
    ns = store.namespace("acme")
    for number in range(300):
        ns.put(f"k{number:03}", bytes(900))
    store.upkeep.settle()
    buckets = list(store.placement.directory)
    assert len(buckets) > 2
    buckets[0].log.active.append((b"what a write left that was not finished",))
    disk.armed = True
    with pytest.raises(StorageFailed) as told:
        store.close()
    assert told.value.bucket == buckets[0].id
    assert all(bucket.closed for bucket in buckets)
    store.close()
