"""What operations will cost and did, of a namespace that is charged and of one that is not."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread

import pytest

import holdfast
from holdfast.bucket import settling
from holdfast.errors import BalanceEmpty, InvalidExpiry, InvalidValue
from holdfast.store import Namespace, Store
from holdfast.testing.clock import ManualClock

SECOND = 1_000_000_000
C = 1_763_750_000
B = 2 * C
STORAGE = 8_796


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Iterator[Store]:
    with holdfast.open(":memory:", clock=clock, upkeep=False) as opened:
        yield opened


def charged(store: Store, name: str, atto: int = 10**18) -> Namespace:
    """A namespace whose one bucket has a purse with money in it."""
    (bucket,) = store.placement.directory
    settling.begin(bucket, name.encode(), store.tariffs.get("enclave").terms)
    settling.settle(bucket, name.encode(), settling.Settlement(received=(1, atto)))
    return store.namespace(name)


def test_what_was_quoted_is_charged(store: Store, clock: ManualClock) -> None:
    acme = charged(store, "acme")
    for size, ttl in ((100, 60), (7, 0.5), (1_000, "1h")):
        quoted = acme.quote("store", key="k", size_bytes=size, ttl=ttl)
        assert acme.put("k", bytes(size), ttl=ttl).cost_atto == quoted.atto
        clock.advance(10 * SECOND + SECOND // 4)
    quoted = acme.quote("append", key="k", size_bytes=50)
    with acme.bill() as bill:
        acme.append("k", bytes(50))
    assert bill.cost_atto == quoted.atto > C
    quoted = acme.quote("delete", key="k")
    with acme.bill() as bill:
        acme.delete("k")
    assert bill.cost_atto == quoted.atto < 0
    assert quoted.tariff == "enclave"


def test_a_bill_has_what_was_charged_inside_and_nothing_else(store: Store) -> None:
    acme = charged(store, "acme")
    acme.put("before", b"1")
    with acme.bill() as bill:
        acme.put("a", b"123", ttl=60)
        lock = acme.lock("l")
        lock.release()
        elsewhere = Thread(target=lambda: acme.put("other", b"1"))
        elsewhere.start()
        elsewhere.join()
    acme.put("after", b"1")
    assert bill.cost_atto == C + 4 * 60 * STORAGE + 2 * B


def test_a_namespace_without_a_tariff_is_free(store: Store) -> None:
    free = store.namespace("free")
    with free.bill() as bill:
        free.put("a", b"1", ttl=60)
        free.get("a")
    assert bill.cost_atto == 0
    assert free.quote("store", key="a", size_bytes=9, ttl=9).atto == 0


def test_what_is_refused_costs_nothing(store: Store) -> None:
    acme = charged(store, "acme", C)
    with acme.bill() as bill, pytest.raises(BalanceEmpty):
        acme.put("a", bytes(100), ttl=60)
    assert bill.cost_atto == 0
    assert not acme.exists("a")


def test_a_quote_of_nonsense_is_refused(store: Store) -> None:
    acme = charged(store, "acme")
    with pytest.raises(InvalidValue):
        acme.quote("dance")
    with pytest.raises(InvalidValue):
        acme.quote("store", size_bytes=-1)
    with pytest.raises(InvalidExpiry):
        acme.quote("store", ttl=0)
