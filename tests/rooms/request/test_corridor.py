"""The corridor's quick ways do what the slow one does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import holdfast
from holdfast.bucket.settings import Sync
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import Permanent
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import CountingDisk
from holdfast.values import Receipt


@pytest.mark.parametrize("sync", ["always", "never"])
def test_of_stores_together_each_has_its_own_outcome(sync: Sync) -> None:
    with holdfast.open(":memory:", sync=sync, upkeep=False) as store:
        ns = store.namespace("acme")
        ns.put("b", b"kept", permanent=True)
        names = ["a", "b", "c"]
        keys = [b"acme\0" + name.encode() for name in names]
        first, refused, last = store.corridor.store_each((keys, names, [b"new"] * 3))
        assert isinstance(first, Receipt)
        assert isinstance(refused, Permanent)
        assert isinstance(last, Receipt)
        assert [ns.get(name) for name in names] == [b"new", b"kept", b"new"]
        with pytest.raises(Permanent) as told:
            store.corridor.store_many((keys, names, [b"newer"] * 3))
        assert told.value.index == 1
        assert ns.get("c") == b"newer"


def test_a_batch_is_one_commit_of_each_bucket_it_reaches() -> None:
    disk = CountingDisk(MemoryDisk())
    with open_on(
        *(disk, "store"),
        bucket_bytes=64 << 10,
        clock=ManualClock(),
        entropy=SeededEntropy(3),
    ) as store:
        ns = store.namespace("acme")
        names = [f"{n:03}" for n in range(200)]
        for name in names:
            ns.put(name, bytes(1_000))
        ns.put_many((name, bytes(700)) for name in reversed(names))  # so that none is full
        store.tick()
        keys = [f"{n * 77 % 200:03}" for n in range(100)]  # to and fro between the buckets
        found = {store.corridor.directory.find(b"acme\0" + key.encode()).id for key in keys}
        assert len(found) > 2
        session = store.begin_session()
        ways: list[Callable[[], object]] = [
            lambda: ns.put_many((key, b"plain") for key in keys),
            lambda: ns.put_many(((key, b"typed") for key in keys), content_type="a/b"),
            lambda: ns.numbered(session, 1).put_many((key, b"numbered") for key in keys),
        ]
        for way in ways:
            disk.reset()
            way()
            assert disk.calls["sync"] == len(found)
        assert {ns.get(key) for key in keys} == {b"numbered"}
        ns.put_many([("000", b"1"), ("199", b"1"), ("000", b"2"), ("199", b"2"), ("000", b"3")])
        assert (ns.get("000"), ns.get("199")) == (b"3", b"2")
