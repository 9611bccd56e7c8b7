"""What operations will cost and did, of a namespace that is charged and of one that is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Thread

import pytest

import holdfast
from holdfast.bucket import settling
from holdfast.errors import BalanceEmpty, InvalidExpiry, InvalidQuery, InvalidValue, NotFound
from holdfast.limits import VALUE_RECORD_BYTES
from holdfast.operations import Store as Operation
from holdfast.operations import StoreOptions
from holdfast.store import Namespace, Store
from holdfast.testing.clock import ManualClock

SECOND = 1_000_000_000
C = 1_763_750_000
B = 2 * C
STORAGE = 8_796
EGRESS = 90_000_000


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


@pytest.mark.parametrize("size", [1, VALUE_RECORD_BYTES, VALUE_RECORD_BYTES + 1, 70 << 20])
def test_an_append_is_one_operation_however_many_records_it_is(store: Store, size: int) -> None:
    acme = charged(store, "acme")
    acme.put("k", b"v", ttl=60)
    quoted = acme.quote("append", key="k", size_bytes=size)
    with acme.bill() as bill:
        acme.append("k", bytes(size))
    assert bill.cost_atto == quoted.atto == C + 60 * size * STORAGE


def test_a_stat_and_a_kept_life_are_quoted_as_they_are_charged(
    store: Store, clock: ManualClock
) -> None:
    acme = charged(store, "acme")
    acme.put("key", bytes(100), ttl=60)
    quoted = acme.quote("stat", key="key")
    with acme.bill() as bill:
        acme.stat("key")
    assert bill.cost_atto == quoted.atto == C + 3 * EGRESS
    clock.advance(10 * SECOND)
    kept = Operation(b"", "key", bytes(300), StoreOptions(keep_ttl=True))
    quoted = acme.quote(kept)
    assert acme.put("key", bytes(300), keep_ttl=True).cost_atto == quoted.atto > C


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


def paying(store: Store) -> Namespace:
    """A namespace that pays from an account."""
    store.accounts.deposit("acme", 10**18, "paid ahead")
    acme = store.namespace("acme")
    acme.configure(tariff="enclave")
    return acme


def bill_of(acme: Namespace, work: Callable[[], object]) -> int:
    with acme.bill() as bill, suppress(NotFound, InvalidValue, InvalidQuery):
        work()
    return bill.cost_atto


def test_a_read_that_fails_costs_nothing(store: Store) -> None:
    acme = paying(store)
    acme.put("a", b"abc")
    acme.put("large", bytes(VALUE_RECORD_BYTES + 1))
    acme.append("large", b"more")
    before = acme.usage()
    for failing in (
        lambda: acme.get("none"),
        lambda: acme.stat("none"),
        lambda: acme.get("none", prove=True),
        lambda: acme.get("a", range=(4, 5)),
        lambda: acme.get("a", range=(2, 1)),
        lambda: acme.get("large", range=(1 << 30, 1 << 31)),
        lambda: acme.open("none"),
        lambda: acme.consumers("none").list(),
        lambda: acme.search('"'),
    ):
        assert bill_of(acme, failing) == 0
        assert acme.usage() == before


def test_every_way_to_read_is_paid_by_what_it_sends(store: Store) -> None:
    acme = paying(store)
    size = VALUE_RECORD_BYTES + 5
    acme.put("a", b"one fox", index=True, consumers=["job"])
    acme.put("large", bytes(size))
    proven, listed = acme.prove("a"), acme.prove_list("")

    def streamed(most: int) -> None:
        with acme.open("large") as file:
            while file.read(most):
                pass

    (bucket,) = store.placement.directory
    direct = store.bucket(bucket.id)
    for work, cost in (
        (lambda: acme.get("large", range=(0, 10)), C + 10 * EGRESS),
        (lambda: acme.get("large", range=(size - 3, size + 9)), C + 3 * EGRESS),
        (lambda: streamed(size), C + size * EGRESS),
        (lambda: streamed(100_000), C + size * EGRESS),
        (lambda: acme.consumers("a").list(), C),
        (lambda: acme.search("fox"), 10 * C + EGRESS),
        (lambda: acme.search("fox", highlight=True), 10 * C + (1 + len("one **fox**")) * EGRESS),
        (lambda: acme.prove("a"), C + (7 + len(proven.proof)) * EGRESS),
        (lambda: acme.get("a", prove="sealed"), C + (7 + len(proven.proof)) * EGRESS),
        (lambda: acme.prove_list(""), 10 * C + len(listed.proof) * EGRESS),
        (lambda: direct.stat("acme", "a"), C + EGRESS),
        (lambda: store.locate("acme", "none"), C),
    ):
        before = acme.usage()
        assert bill_of(acme, work) == cost
        after = acme.usage()
        assert after.cost_atto - before.cost_atto == cost
        assert sum(after.requests.values()) == sum(before.requests.values()) + 1


def test_what_expires_and_was_stored_for_nothing_pays_rent_and_gives_nothing_back(
    store: Store, clock: ManualClock
) -> None:
    acme = store.namespace("acme")
    for key in "abcd":
        acme.put(key, bytes(99), ttl=3_600)
    store.accounts.deposit("acme", 10**18, "invoice 1")
    acme.configure(tariff="enclave")
    clock.advance(10 * SECOND)
    paid = 4 * 100 * 10 * STORAGE  # rent, until each goes
    assert acme.usage().cost_atto == paid
    assert acme.quote("delete", key="a").atto == C
    with acme.bill() as bill:
        acme.delete("a")
        acme.append("b", bytes(100))
    assert bill.cost_atto == 2 * C  # nothing came back, and what was added pays rent too
    quoted = acme.quote("store", key="c", size_bytes=9, ttl=60).atto
    assert acme.put("c", bytes(9), ttl=60).cost_atto == quoted == C + 10 * 60 * STORAGE
    paid += 3 * C + 10 * 60 * STORAGE
    clock.advance(5 * SECOND)
    paid += (200 + 100) * 5 * STORAGE
    assert acme.usage().cost_atto == paid
    kept = acme.put("d", bytes(99), keep_ttl=True).cost_atto  # from now on it is paid ahead
    assert kept == C + 100 * (3_600 - 15) * STORAGE
    clock.advance(5 * SECOND)
    assert acme.usage().cost_atto == paid + kept + 200 * 5 * STORAGE
    clock.advance(3_600 * SECOND)
    store.tick(60)
    gone = acme.usage()
    assert gone.objects == 0
    clock.advance(3_600 * SECOND)
    assert acme.usage().cost_atto == gone.cost_atto
