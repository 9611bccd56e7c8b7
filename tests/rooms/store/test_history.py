"""The signed roots of a store: kept for ever, read a tile at a time, whatever was lost of tiles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from holdfast import Store
from holdfast.certify import receipts
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.store.history import TILES, Signed
from holdfast.store.tenancy import StoreRecords
from holdfast.testing.clock import ManualClock
from tests.rooms.store.test_certifying import Client, opened

HEIGHT = 2


@contextmanager
def small(disk: Disk, clock: ManualClock) -> Iterator[Store]:
    """A store whose tiles have four hashes."""
    with opened(disk, clock) as store:
        store.certifier._signed = Signed(StoreRecords(store), HEIGHT)
        yield store


def seal(store: Store, count: int) -> None:
    for _ in range(count):
        store.namespace("acme").append("a", b"x")
        store.certifier.seal()


def tiles_of(store: Store) -> list[str]:
    return [name for name, _ in StoreRecords(store).list(TILES)]


def test_history_goes_on_over_openings_and_reads_little(monkeypatch: pytest.MonkeyPatch) -> None:
    disk, clock, chance = MemoryDisk(), ManualClock(), Random(4)
    with small(disk, clock) as store:
        client = Client(store)
        assert client.look(store) == []
        first = client.seen
    read: list[str] = []
    get = StoreRecords.get

    def noted(self: StoreRecords, key: str) -> tuple[bytes, int] | None:
        read.append(key)
        return get(self, key)

    monkeypatch.setattr(StoreRecords, "get", noted)
    for _ in range(8):
        with small(disk, clock) as store:
            read.clear()
            seal(store, 1)
            assert sum(key.startswith("roots/") for key in read) <= 1 << HEIGHT
            seal(store, chance.randint(1, 12))
            assert client.look(store) == []
            other = Client(store)
            other.seen = first
            assert other.look(store) == []
            assert len(tiles_of(store)) >= len(store.certifier._signed.log) >> HEIGHT


@pytest.mark.parametrize("lost", ["upper", "newest", "all", "wrong", "first"])
def test_tiles_that_were_lost_are_made_again(lost: str) -> None:
    disk, clock = MemoryDisk(), ManualClock()
    with small(disk, clock) as store:
        client = Client(store)
        assert client.look(store) == []
        seal(store, 70)
        assert client.look(store) == []
        records, names = StoreRecords(store), tiles_of(store)
        lowest = [name for name in names if name.startswith(f"{TILES}0/")]
        gone = {
            "upper": [name for name in names if name not in lowest],
            "newest": lowest[-1:],
            "all": names,
            "wrong": [],
            "first": lowest[:1],
        }[lost]
        for name in gone:
            records.delete(name)
        if lost == "wrong":
            found = records.get(lowest[2])
            assert found is not None
            records.put(lowest[2], found[0][:-1] + bytes([found[0][-1] ^ 1]))
    with small(disk, clock) as store:
        seal(store, 3)
        assert client.look(store) == []
        made, root = store.certifier.receipt(store.certifier.last().root.revision - 60)
        receipts.verify(made, leaf=root, key=store.public_key())
        if lost != "upper":
            assert {*names} <= {*tiles_of(store)}
