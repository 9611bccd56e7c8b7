"""Namespaces that pay: configured, charged, topped up, bounded, shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from holdfast import (
    BalanceEmpty,
    Exists,
    InvalidValue,
    LimitExceeded,
    LockHeld,
    NotFound,
    StorageFailed,
    Unavailable,
    operations,
)
from holdfast.bucket import fork
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.purse import Need
from holdfast.bucket.settling import Settlement, settle
from holdfast.engines.disk import OsDisk
from holdfast.ledger import statement
from holdfast.ledger.entries import Charged
from holdfast.metering.tariffs import shipped
from holdfast.operations import StoreOptions
from holdfast.store.namespace import Namespace
from holdfast.store.opening import open_on
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.upkeep.allotting import Metering
from tests.rooms.gate import Gate

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS
USD = 10**18
ENCLAVE = shipped()["enclave"].terms
Opener = Callable[[], Store]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def opener(tmp_path: Path, clock: ManualClock) -> Opener:
    def opened() -> Store:
        entropy = SeededEntropy(11)
        return open_on(
            OsDisk(), str(tmp_path / "s"), bucket_bytes=1 << 16, clock=clock, entropy=entropy
        )

    return opened


@pytest.fixture
def store(opener: Opener) -> Iterator[Store]:
    with opener() as opened:
        yield opened


def conserved(store: Store) -> None:
    """Accounts, what is under way, floats and charges are what was deposited; to the unit."""
    store.meters.settle()
    books = store.accounts.ledger.books()
    books.check()
    for name, account in books.accounts.items():
        purses = [p for b in store.placement.directory if (p := b.purses.get(name.encode()))]
        assert account.float_ == sum(p.float_atto + p.sums.amount for p in purses)
        assert account.charged == sum(p.charged_atto - p.sums.amount for p in purses)
        assert account.transit == 0
        assert all(p.float_atto >= 0 for p in purses)


def test_a_namespace_pays_from_its_account(store: Store) -> None:
    store.accounts.deposit("acme", USD, "invoice 1")
    acme = store.namespace("acme")
    acme.configure(tariff="enclave")
    cost = acme.put("k" * 10, b"v" * 90, ttl=60).cost_atto
    assert cost == 52_776_000 + ENCLAVE.c
    assert acme.balance_atto == USD - cost
    used = acme.usage()
    assert (used.objects, used.live_bytes, used.byte_seconds) == (1, 100, 6_000)
    assert (used.requests["C"], used.cost_atto) == (1, cost)
    conserved(store)


def test_accounts_know_what_was_charged_a_moment_ago(store: Store) -> None:
    store.accounts.deposit("acme", USD, "invoice 1")
    acme = store.namespace("acme")
    acme.configure(tariff="enclave")
    cost = acme.put("k", b"v", ttl=60).cost_atto
    assert store.accounts.balance("acme") == USD - cost
    cost += acme.put("l", b"v", ttl=60).cost_atto
    assert store.accounts.get("acme").charged == cost
    cost += acme.put("m", b"v", ttl=60).cost_atto
    found = store.accounts.entries("acme")
    assert sum(entry.amount for entry in found if isinstance(entry, Charged)) == cost


def test_all_that_an_account_has_can_be_moved(store: Store) -> None:
    store.accounts.deposit("acme", USD, "invoice 1")
    acme = store.namespace("acme")
    acme.configure(tariff="enclave")
    left = USD - acme.put("k", b"v", ttl=60).cost_atto
    assert store.accounts.get("acme").balance < left  # a bucket holds the rest
    with pytest.raises(BalanceEmpty):
        store.accounts.transfer("acme", "reserve", left + 1, "too much")
    store.accounts.transfer("acme", "reserve", left, "farewell")
    assert (store.accounts.balance("acme"), store.accounts.balance("reserve")) == (0, left)
    with pytest.raises(BalanceEmpty):
        acme.put("l", b"v")
    conserved(store)


def test_what_is_quoted_is_what_is_charged(store: Store, clock: ManualClock) -> None:
    store.accounts.deposit("acme", USD, "invoice 1")
    acme = store.namespace("acme")
    acme.configure(tariff="hardened")
    quoted = acme.quote("store", key="k", size_bytes=99, ttl=60).atto
    assert acme.put("k", b"v" * 99, ttl=60).cost_atto == quoted
    clock.advance(10 * SECOND_NS)
    quoted = acme.quote("store", key="k", size_bytes=9, ttl=60).atto
    assert acme.put("k", b"v" * 9, ttl=60).cost_atto == quoted
    acme.configure(tariff="disk")
    quoted = acme.quote("append", key="k", size_bytes=5).atto
    with acme.bill() as bill:
        acme.append("k", b"v" * 5)  # is paid as what was there before
    assert bill.cost_atto == quoted == ENCLAVE.c + 5 * 60 * ENCLAVE.storage_atto
    quoted = acme.quote("delete", key="k").atto
    with acme.bill() as bill:
        acme.delete("k")
    assert bill.cost_atto == quoted
    with pytest.raises(InvalidValue):
        acme.quote("store", key="k", size_bytes=-1, ttl=60)


def test_each_price_charges_the_rent_of_its_own_time(store: Store, clock: ManualClock) -> None:
    store.accounts.deposit("acme", USD, "invoice 1")
    store.tariffs.set("cold", 'storage = "1/1000000000"')
    acme = store.namespace("acme")
    acme.configure(tariff="cold")
    acme.put("k", b"v" * 99)
    clock.advance(1_000 * SECOND_NS)
    acme.configure(tariff="enclave")
    assert acme.usage().cost_atto == 1  # 100,000 byte-seconds, begun
    clock.advance(2 * SECOND_NS)
    assert acme.usage().cost_atto == 1 + 2 * 100 * ENCLAVE.storage_atto
    conserved(store)


def test_reads_are_on_the_bill_and_charged_by_the_tick(store: Store, clock: ManualClock) -> None:
    store.accounts.deposit("acme", USD, "invoice 1")
    acme = store.namespace("acme")
    acme.configure(tariff="enclave")
    acme.put("k", b"v" * 100)
    acme.get("k")
    before = acme.usage()
    with acme.bill() as bill:
        acme.get("k")
        acme.get("k", range=(0, 10))
        acme.exists("k")
        acme.stat("k")
        assert list(acme.list()) == ["k"]
        with pytest.raises(NotFound):
            acme.get("absent")
    clock.advance(2 * SECOND_NS)
    store.tick(60)
    after = acme.usage()
    assert after.requests == {"A": 1, "B": 0, "C": before.requests["C"] + 4}
    assert after.egress_bytes - before.egress_bytes == 100 + 10 + 1 + 1
    rent = 2 * 101 * ENCLAVE.storage_atto
    assert after.cost_atto - before.cost_atto == bill.cost_atto + rent
    conserved(store)


def test_an_empty_account_writes_nothing_and_reads_until_the_grace_is_over(
    store: Store, clock: ManualClock
) -> None:
    store.accounts.deposit("acme", 4 * ENCLAVE.c, "little")
    acme = store.namespace("acme")
    told: list[str] = []
    acme.configure(tariff="enclave", grace=3600, retention="2h")
    store.meters.heard_low = lambda account, _: told.append(account)
    for key in "abc":
        acme.put(key, b"")
    clock.advance(10**6 * SECOND_NS)
    store.tick(60)
    with pytest.raises(BalanceEmpty):
        acme.put("d", b"")
    assert told == ["acme"]
    assert acme.get("a") == b""
    clock.advance(3600 * SECOND_NS)
    store.tick(60)
    with pytest.raises(BalanceEmpty):
        acme.get("a")
    with pytest.raises(InvalidValue):
        store.meters.release("acme")
    conserved(store)
    store.accounts.deposit("acme", USD, "more")
    clock.advance(2 * SECOND_NS)
    store.tick(60)
    assert acme.get("a") == b""
    acme.put("d", b"")
    conserved(store)


def test_what_nobody_paid_for_is_released_by_a_step_of_its_own(
    store: Store, clock: ManualClock
) -> None:
    store.accounts.deposit("acme", 2 * ENCLAVE.c, "little")
    acme = store.namespace("acme")
    acme.configure(tariff="enclave", retention="1d")
    acme.put("a", b"kept")
    clock.advance(DAY_NS)
    store.tick(60)
    with pytest.raises(InvalidValue):
        store.meters.release("acme")
    for unmetered in ("beta", "reserve"):
        with pytest.raises(InvalidValue):
            store.meters.release(unmetered)
    clock.advance(DAY_NS)
    store.tick(60)
    assert acme.usage().objects == 1
    store.meters.release("acme")
    assert acme.usage().objects == 0
    conserved(store)


def test_bounds_are_never_passed_by_all_buckets_together(store: Store, clock: ManualClock) -> None:
    acme = store.namespace("acme")
    acme.configure(bytes_max=300_000, objects_max=700)
    stored = 300_000 // 504
    for index in range(stored):
        acme.put(f"{index * 7919 % 1_000:04}", b"v" * 500)
        if index % 50 == 0:
            clock.advance(SECOND_NS)
            store.tick(60)
    with pytest.raises(LimitExceeded) as refused:
        acme.put("beyond", b"v" * 500)
    assert refused.value.limit == "bytes_max"
    assert len(list(store.placement.directory)) > 2
    acme.delete("0000")
    acme.put("more", b"v" * 500)
    with pytest.raises(LimitExceeded):
        acme.put_many([("even", b"v" * 400), ("more still", b"v" * 500)])
    used = acme.usage()
    assert used.live_bytes <= 300_000
    acme.configure(bytes_max=None, objects_max=used.objects + 1)
    acme.put("last", b"")
    with pytest.raises(LimitExceeded) as refused:
        acme.put("one too many", b"")
    assert refused.value.limit == "objects_max"


def test_accounts_are_topped_up_by_rule(store: Store, clock: ManualClock) -> None:
    store.accounts.deposit("reserve", USD, "capital")
    price = ENCLAVE.c
    store.accounts.rule("acme", 20 * price, 100 * price, per_day=2)
    acme = store.namespace("acme")
    acme.configure(tariff="enclave")
    refused = 0
    for _ in range(210):
        try:
            acme.put("k", b"")
        except BalanceEmpty:
            refused += 1
        clock.advance(SECOND_NS // 10)
        store.tick(60)
    assert refused
    spent = acme.usage().cost_atto
    assert 100 * price < spent <= 200 * price
    clock.advance(DAY_NS)
    acme.put("k", b"")
    conserved(store)


def test_a_statement_holds_what_was_charged(store: Store, clock: ManualClock) -> None:
    store.accounts.deposit("acme", USD, "invoice 1")
    acme = store.namespace("acme")
    acme.configure(tariff="disk")
    for size in range(50):
        acme.put(f"k{size}", b"v" * size, ttl=size + 1)
    clock.advance(7 * SECOND_NS)
    for size in range(40, 50):
        acme.delete(f"k{size}")
    data = store.statement("acme", 0, store.bucket_time_ns() + 1)
    read = statement.verify(data, public_key=store.public_key())
    assert read.closing.charged == acme.usage().cost_atto
    assert read.usage.requests["C"] == 60


def test_everything_goes_on_after_a_restart(opener: Opener, clock: ManualClock) -> None:
    with opener() as store:
        store.accounts.deposit("acme", USD, "invoice 1")
        acme = store.namespace("acme")
        acme.configure(tariff="enclave", bytes_max=10_000)
        acme.put_many((f"k{i}", b"v" * 10) for i in range(100))
        used = acme.usage()
    with opener() as store:
        acme = store.namespace("acme")
        assert acme.usage() == used
        acme.put("k", b"", ttl=1)
        clock.advance(SECOND_NS)
        store.tick(60)
        conserved(store)
        with pytest.raises(LimitExceeded):
            acme.put("large", b"v" * 10_000)


def test_who_is_configured_first_after_a_restart_is_not_all_that_is_metered(
    opener: Opener,
) -> None:
    with opener() as store:
        store.accounts.deposit("acme", USD, "1")
        store.namespace("acme").configure(tariff="enclave", objects_max=1)
    with opener() as store:
        store.namespace("bolt").configure(tariff="disk")  # terms that the books do not know
        acme = store.namespace("acme")
        told = acme.configured()
        assert told is not None
        assert told.objects_max == 1
        assert acme.put("a", b"1", ttl=60).cost_atto > 0
        assert acme.usage().objects == 1
        assert set(store.meters.seen()) == {"acme", "bolt"}


def test_hours_are_kept(store: Store, clock: ManualClock) -> None:
    acme = store.namespace("acme")
    acme.configure(objects_max=100)
    for hour in range(4):
        acme.put(f"k{hour}", b"")
        clock.advance(3_600 * SECOND_NS)
        store.tick(60)
    assert [hour.objects for hour in acme.hours()] == [1, 2, 3, 4]
    assert [hour.requests["C"] for hour in acme.hours()] == [1, 2, 3, 4]


def test_an_operation_as_a_value_is_quoted_as_by_its_name(store: Store) -> None:
    acme = store.namespace("acme")
    acme.configure(tariff="enclave")
    lived = StoreOptions(ttl_ns=60_000_000_000)
    told = {
        acme.quote(operations.Store(b"", "k", b"v" * 9, lived)): acme.quote(
            "store", key="k", size_bytes=9, ttl=60
        ),
        acme.quote(operations.Append(b"", "k", b"v")): acme.quote("append", key="k", size_bytes=1),
        acme.quote(operations.Delete(b"", "k")): acme.quote("delete", key="k"),
        acme.quote(operations.Lock(b"", "k", b"", 1)): acme.quote("lock", key="k"),
        acme.quote(operations.Consumers(b"", "k", "set", ())): acme.quote("consumers.set", key="k"),
    }
    for one, other in told.items():
        assert one == other
        assert one.atto > 0
    for wrong in (7, None, "fly", operations.Upload(b"", "k", b"", "begun")):
        with pytest.raises(InvalidValue, match="operation"):
            acme.quote(cast("str", wrong))


@pytest.mark.parametrize("bound", [-1, 1.5, "5", True, 1 << 63, 1 << 70])
@pytest.mark.parametrize("name", ["bytes_max", "objects_max", "requests_per_s", "concurrent_max"])
def test_a_bound_that_cannot_be_kept_changes_nothing(
    store: Store, name: str, bound: object
) -> None:
    acme = store.namespace("acme")
    before = acme.configure(objects_max=5)
    with pytest.raises(InvalidValue):
        acme.configure(**{name: bound})  # type: ignore[arg-type]
    assert acme.configured() == before
    assert [entry.kind for entry in store.accounts.entries("acme")] == ["terms"]


@pytest.mark.parametrize("others", [0, 900])
def test_what_has_expired_counts_against_no_bound(
    store: Store, clock: ManualClock, others: int
) -> None:
    """Upkeep removes it in its own time; who is at a bound meanwhile need not wait for that."""
    acme = store.namespace("acme")
    acme.configure(objects_max=100, bytes_max=150_000)
    store.namespace("a").put_many([(f"k{n}", b"v") for n in range(others)], ttl=1)
    acme.put_many([(f"k{n:03d}", b"v" * 1_400) for n in range(100)], ttl=10)
    for _ in range(2):
        with pytest.raises(LimitExceeded):
            acme.put("one more", b"")
        clock.advance(10 * SECOND_NS)
        assert len(acme.put_many([(f"l{n:03d}", b"v" * 1_400) for n in range(100)], ttl=10)) == 100
        used = acme.usage()
        assert (used.objects, used.live_bytes) == (100, 100 * 1_404)
    clock.advance(10 * SECOND_NS)
    assert (acme.usage().objects, acme.usage().live_bytes) == (0, 0)
    free = store.namespace("free")
    free.put("k", b"v", ttl=1)
    clock.advance(SECOND_NS)
    assert free.usage().objects == 0
    conserved(store)


def test_what_idle_buckets_hold_is_called_back_before_a_write_is_refused(store: Store) -> None:
    store.accounts.deposit("acme", 130 * ENCLAVE.c, "invoice 1")
    acme = store.namespace("acme")
    acme.configure(tariff="enclave")
    for number in range(100):
        acme.put(f"{number * 79 % 100:02}", b"v" * 2_000)
        if number % 20 == 0:
            store.meters.settle()  # every purse is filled for what it may need
    floats = [b.purses[b"acme"].float_atto for b in store.placement.directory]
    assert len(floats) > 2
    assert sum(money > 0 for money in floats) > 1
    for _ in range(30):
        acme.put("99", b"")
    with pytest.raises(BalanceEmpty):
        acme.put("99", b"")
    conserved(store)


def poor(store: Store) -> Bucket:
    """The one bucket of a store, whose purse has sent everything back to a rich account."""
    store.accounts.deposit("acme", USD, "invoice 1")
    acme = store.namespace("acme")
    acme.configure(tariff="enclave")
    acme.put("a", b"v", ttl="365d")
    (bucket,) = store.placement.directory
    settle(bucket, b"acme", Settlement(give_atto=USD))
    return bucket


@pytest.mark.parametrize("came", [True, False])
def test_a_write_whose_key_went_elsewhere_meanwhile_is_helped_there(
    store: Store, *, came: bool
) -> None:
    left, placement, funds = poor(store), store.placement, store.corridor.funds
    helped = funds.help

    def split(bucket: Bucket, _namespace: bytes, _need: Need) -> bool:
        child = fork.split(bucket, placement.new_id(), b"acme\0k")
        assert child is not None
        placement.directory.add(child)
        funds.help = helped
        return came

    funds.help = split
    assert store.namespace("acme").put("k", b"v").cost_atto == ENCLAVE.c
    assert left.stop == b"acme\0k"
    conserved(store)


@pytest.mark.parametrize("tariff", ["disk", "enclave"])
@pytest.mark.parametrize("atomic", [None, False, True])
def test_enough_is_brought_for_what_dearer_terms_paid_or_none(
    store: Store, tariff: str, *, atomic: bool | None
) -> None:
    store.accounts.deposit("acme", USD // 50_000, "invoice 1")
    acme, corridor = store.namespace("acme"), store.corridor
    acme.put("k", b"", ttl="365d")
    acme.configure(tariff="enclave")
    asked: operations.Operation = operations.Store(
        b"acme\0k", "k", b"v" * 9, StoreOptions(keep_ttl=True)
    )
    if tariff == "disk":
        acme.put("k", b"", ttl="365d")
        acme.configure(tariff=tariff)
        asked = operations.Append(b"acme\0k", "k", b"v" * 9)  # at the price of the tariff before
    (bucket,) = store.placement.directory
    settle(bucket, b"acme", Settlement(give_atto=USD))
    quoted = acme.quote(asked).atto
    if atomic is None:
        corridor.write(asked)
    else:
        (outcome,) = corridor.write_many([asked], atomic=atomic)
        assert not isinstance(outcome, BalanceEmpty)
    assert asked.cost_atto == quoted > 9 * 364 * 86_400 * ENCLAVE.storage_atto
    conserved(store)


@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.parametrize("taken_by", ["a split", "another writer"])
def test_a_batch_is_decided_again_where_what_was_brought_went_elsewhere_meanwhile(
    store: Store, taken_by: str, *, atomic: bool
) -> None:
    placement, funds = store.placement, store.corridor.funds
    store.accounts.deposit("acme", 1_100 * ENCLAVE.c, "invoice 1")
    acme = store.namespace("acme")
    acme.configure(tariff="enclave")
    acme.put_many((key, b"v" * 100) for key in "ayz")
    (bucket,) = placement.directory
    settle(bucket, b"acme", Settlement(give_atto=USD))
    helped = funds.help

    def help_and_take(bucket: Bucket, namespace: bytes, need: Need) -> bool:
        funds.help = helped
        came = helped(bucket, namespace, need)
        if taken_by == "a split":
            child = fork.split(bucket, placement.new_id(), b"acme\0y")
            assert child is not None
            placement.directory.add(child)
        else:
            acme.put_many((f"m{index}", b"") for index in range(300))
        return came

    funds.help = help_and_take
    receipts = acme.put_many(((f"b{index:03}", b"") for index in range(600)), atomic=atomic)
    assert [receipt.cost_atto for receipt in receipts] == [ENCLAVE.c] * 600
    conserved(store)


def test_a_write_is_tried_again_while_more_comes(store: Store) -> None:
    store.accounts.deposit("acme", 100 * ENCLAVE.c, "invoice 1")
    acme, funds = store.namespace("acme"), store.corridor.funds
    acme.configure(tariff="enclave")
    (bucket,) = store.placement.directory
    settle(bucket, b"acme", Settlement(give_atto=USD))
    helped, others = funds.help, iter("abc")

    def help_and_take(bucket: Bucket, namespace: bytes, need: Need) -> bool:
        came = helped(bucket, namespace, need)
        other = next(others, None)
        while other is not None and not bucket.purses[namespace].lacks(ENCLAVE.c):
            acme.put(other, b"")
        return came

    funds.help = help_and_take
    acme.put("k", b"")
    assert {"a", "b", "c", "k"} <= set(acme.list())
    conserved(store)


def test_of_a_key_that_a_batch_writes_again_the_last_stays_last(store: Store) -> None:
    acme = store.namespace("acme")
    store.accounts.deposit("acme", USD, "invoice 1")
    acme.configure(tariff="enclave")
    acme.put("k", b"before", ttl="365d")
    funds, (bucket,) = store.corridor.funds, store.placement.directory
    dear = StoreOptions(ttl_ns=365 * DAY_NS)
    first = operations.Store(b"acme\0k", "k", b"v" * 999, dear)
    last = operations.Delete(b"acme\0k", "k")
    helped = funds.help

    def help_and_give(bucket: Bucket, namespace: bytes, need: Need) -> bool:
        funds.help = helped  # there would be enough, were it decided again
        came = helped(bucket, namespace, need)
        settle(bucket, b"acme", Settlement(give_atto=USD))
        return came

    settle(bucket, b"acme", Settlement(give_atto=USD))
    funds.help = help_and_give
    stored, _ = store.corridor.write_many([first, last])
    assert isinstance(stored, BalanceEmpty)
    assert not acme.exists("k")


def test_a_bucket_that_was_merged_away_is_sent_no_money(store: Store) -> None:
    """Who brought some to the bucket that is left would find that nobody has it, ever."""
    left, placement, funds = poor(store), store.placement, store.corridor.funds
    right = fork.split(left, placement.new_id(), b"acme\0k")
    assert right is not None
    placement.directory.add(right)
    helped = funds.help

    def merge(bucket: Bucket, namespace: bytes, need: Need) -> bool:
        assert placement.shrink() == 1
        funding = store.meters.funding
        store.meters.settle()  # the books hear that it is gone
        funding._refill(funding._metered()[namespace], bucket)  # whose round began before
        return helped(bucket, namespace, need)

    funds.help = merge
    assert store.namespace("acme").put("k", b"v").cost_atto == ENCLAVE.c
    assert right.closed
    conserved(store)


def test_a_write_whose_purse_was_filled_meanwhile_is_tried_again(store: Store) -> None:
    bucket, funds, write = poor(store), store.corridor.funds, operations.Store(b"acme\0k", "k", b"")
    assert funds.helped(bucket, write, BalanceEmpty())
    assert funds.helped(bucket, write, BalanceEmpty())  # nothing is lacking now
    assert not funds.helped(bucket, write, LimitExceeded(limit="requests_per_s"))


def test_nobody_is_told_to_pay_where_the_books_cannot_be_asked(store: Store) -> None:
    """They may lie in a process that is just being started again."""
    poor(store)
    corridor = store.corridor

    def fail(*_: object) -> bool:
        raise Unavailable

    helped, corridor.funds.help = corridor.funds.help, fail
    acme = store.namespace("acme")
    with pytest.raises(Unavailable):
        acme.put("k", b"v")
    for atomic in (False, True):
        with pytest.raises(Unavailable):
            acme.put_many([("k", b"v"), ("l", b"w")], atomic=atomic)
    put, delete = operations.Store(b"acme\0k", "k", b""), operations.Delete(b"acme\0a", "a")
    stored, deleted = corridor.write_many((put, delete))
    assert isinstance(stored, Unavailable)
    assert not isinstance(deleted, Exception)  # it gives money back
    corridor.funds.help = helped
    assert len(acme.put_many([("k", b"v"), ("l", b"w")], atomic=True)) == 2
    conserved(store)


class Alone:
    """A process that reaches no other of its store."""

    def __init__(self) -> None:
        self.reaches = False

    def help(self, _one: Metering, _short: Need) -> bool:
        return self.reaches


def test_nobody_is_called_empty_while_a_process_that_may_hold_money_is_away(
    store: Store, clock: ManualClock
) -> None:
    store.accounts.deposit("acme", 3 * ENCLAVE.c, "invoice 1")
    acme = store.namespace("acme")
    acme.configure(tariff="enclave")
    acme.put("k", b"v")
    others = store.meters.funding.whole = Alone()
    with pytest.raises(Unavailable):
        acme.put_many([("a", b""), ("b", b""), ("c", b"")], atomic=True)
    clock.advance(DAY_NS)
    assert acme.get("k") == b"v"
    store.tick(60)  # rent and the read cost more than there is
    assert acme.get("k") == b"v"
    others.reaches = True
    with pytest.raises(BalanceEmpty):
        acme.put_many([("a", b""), ("b", b""), ("c", b"")], atomic=True)
    clock.advance(SECOND_NS)
    store.tick(60)
    with pytest.raises(BalanceEmpty):
        acme.get("k")


def test_a_writer_that_comes_between_does_not_lift_a_bound(store: Store) -> None:
    """What a purse uses counts as handed out, though it shall hold less by now."""
    acme = store.namespace("acme")
    acme.configure(objects_max=60)
    for number in range(50):
        acme.put(f"{number:02}", b"v" * 3_000)
    first, second, *others = store.placement.directory
    one = store.meters.funding._metered()[b"acme"]
    used = first.purses[b"acme"].used_objects
    assert used > 1
    shares = [(first, 1), (second, 59)]  # as they were cut before that writer came
    store.meters.funding.allotting._hand_out(one, [*shares, *((b, 0) for b in others)], 1, 60)
    told = [b.purses[b"acme"] for b in store.placement.directory]
    assert first.purses[b"acme"].allotted_objects == 1
    assert sum(max(purse.used_objects, purse.allotted_objects) for purse in told) <= 60


def test_a_namespace_is_asked_as_often_as_its_bound_says(store: Store, clock: ManualClock) -> None:
    """Also where nobody comes through a door; what is refused changes nothing and costs nothing."""
    store.accounts.deposit("acme", USD, "invoice 1")
    acme, free = store.namespace("acme"), store.namespace("free")
    acme.put("k", b"v")
    acme.configure(tariff="enclave", requests_per_s=3)
    asks: list[Callable[[], object]] = [
        lambda: acme.put("k", b"w", ttl=9),
        lambda: acme.put("k", b"w"),
        lambda: acme.put_many([("k", b"w"), ("l", b"w"), ("m", b"w")]),
        lambda: acme.get("k"),
        lambda: acme.exists("k"),
        lambda: acme.stat("k"),
        lambda: list(acme.list()),
        lambda: acme.append("k", b""),
        lambda: acme.delete("none", missing_ok=True),
        lambda: acme.lock("k").release(),
    ]
    for ask in asks:
        clock.advance(2 * SECOND_NS)
        with pytest.raises(LimitExceeded) as refused:
            [ask() for _ in range(4)]
        assert refused.value.facts["limit"] == "requests_per_s"
        before = acme.usage()
        for again in asks:
            with pytest.raises(LimitExceeded):
                again()
        assert acme.usage() == before
        free.put("k", b"v")
    clock.advance(2 * SECOND_NS)
    for number in range(3):
        acme.put_soon(f"s{number}", b"v")
    with pytest.raises(LimitExceeded):
        acme.put_soon("s3", b"v")
    assert store.flush() == []
    clock.advance(2 * SECOND_NS)
    assert acme.get("s2") == b"v"
    acme.configure(tariff="enclave")
    assert [acme.get("k") for _ in range(9)] == [acme.get("k")] * 9
    conserved(store)


@pytest.mark.parametrize("refuses", [False, True])
def test_no_more_write_at_once_than_the_bound_says(
    tmp_path: Path, clock: ManualClock, *, refuses: bool
) -> None:
    disk = Gate(OsDisk(), "sync", refuses=refuses)
    with open_on(disk, str(tmp_path / "s"), clock=clock, entropy=SeededEntropy(11)) as store:
        acme = store.namespace("acme")
        acme.configure(concurrent_max=1)
        acme.put("k", b"v")

        def slowly() -> None:
            with suppress(StorageFailed):
                acme.put("slow", b"v")

        disk.shut = True
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(slowly)
            try:
                assert disk.entered.wait(30)
                asks: list[Callable[[], object]] = [
                    lambda: acme.put("l", b"v"),
                    lambda: acme.put_many([("l", b"v"), ("m", b"v")]),
                    lambda: acme.delete("k"),
                    lambda: acme.get("k"),
                    lambda: list(acme.list()),
                ]
                for ask in asks:
                    with pytest.raises(LimitExceeded) as refused:
                        ask()
                    assert refused.value.facts["limit"] == "concurrent_max"
                    assert refused.value.facts["most"] == 1
            finally:
                disk.go.set()
            slow.result(30)
        acme.put("l", b"v")
        assert sorted(acme.list()) == (["k", "l"] if refuses else ["k", "l", "slow"])
        assert acme.usage().objects == len(list(acme.list()))


def test_what_fails_counts_against_the_rate(store: Store, clock: ManualClock) -> None:
    acme = store.namespace("acme")
    acme.put("k", b"v")
    acme.configure(requests_per_s=3)
    asks: list[Callable[[], object]] = [
        lambda: acme.get("none"),
        lambda: acme.get("k", range=(7, 9)),
        lambda: acme.stat("none"),
        lambda: acme.open("none"),
        lambda: acme.delete("none"),
        lambda: acme.put("k", b"v", if_absent=True),
    ]
    for ask in asks:
        clock.advance(2 * SECOND_NS)
        for _ in range(3):
            with pytest.raises((NotFound, InvalidValue, Exists)):
                ask()
        with pytest.raises(LimitExceeded):
            ask()


def test_who_waits_for_a_lock_asks_once(store: Store, clock: ManualClock) -> None:
    acme = store.namespace("acme")
    acme.put("k", b"v")
    acme.configure(requests_per_s=3)
    clock.advance(2 * SECOND_NS)
    held = acme.lock("k")
    with pytest.raises(LockHeld):
        acme.lock("k", wait=0.3)  # looks thirty times
    held.release()
    with pytest.raises(LimitExceeded):
        acme.lock("k", wait=0.3)


def test_who_asks_evenly_is_never_refused(store: Store, clock: ManualClock) -> None:
    acme = store.namespace("acme")
    acme.configure(requests_per_s=4)
    for number in range(40):
        acme.put(f"k{number}", b"")
        clock.advance(SECOND_NS // 4)


def beat(store: Store, clock: ManualClock, seconds: int) -> None:
    for _ in range(seconds):
        clock.advance(SECOND_NS)
        store.tick(60)


def priced(store: Store, atto: int) -> Namespace:
    """A namespace that pays 1,000 for an operation and 7 for a byte-second, with so much."""
    store.tariffs.set("priced", "operation = 1_000\nstorage = 7")
    store.accounts.deposit("acme", atto, f"{atto}")
    acme = store.namespace("acme")
    acme.configure(tariff="priced", grace=100)
    return acme


def test_the_grace_begins_with_the_first_write_that_finds_it_empty(
    store: Store, clock: ManualClock
) -> None:
    acme = priced(store, 1_000 + 2 * 7_200 * 7 + 999)
    acme.put("k", b"v", ttl=7_200)
    for _ in range(3):  # from the first on, however often it is asked
        with pytest.raises(BalanceEmpty):
            acme.put("l", b"")
        beat(store, clock, 33)
    assert acme.get("k") == b"v"
    beat(store, clock, 1)
    with pytest.raises(BalanceEmpty):
        acme.get("k")  # which the gets of the last second cannot have ended: 100 s have
    conserved(store)


def test_grace_ends_though_nobody_asks(opener: Opener, clock: ManualClock) -> None:
    with opener() as store:
        acme = priced(store, 1_000 + 2 * 7_200 * 7)
        acme.put("k", b"v", ttl=7_200)
        with pytest.raises(BalanceEmpty):
            acme.put("l", b"")
        beat(store, clock, 101)
        with pytest.raises(BalanceEmpty):
            acme.get("k")
    with opener() as store:
        beat(store, clock, 1)
        with pytest.raises(BalanceEmpty):
            store.namespace("acme").get("k")


def test_who_cannot_pay_for_much_is_not_empty(store: Store, clock: ManualClock) -> None:
    acme = priced(store, 9_000)
    acme.configure(tariff="priced")  # no grace
    with pytest.raises(BalanceEmpty):
        acme.put("k", b"v" * 999, ttl="3650d")
    beat(store, clock, 2)
    acme.put("k", b"", ttl=1)
    assert acme.get("k") == b""


def test_rent_that_is_more_than_there_is_empties_it_on_the_heartbeat(
    store: Store, clock: ManualClock
) -> None:
    acme = priced(store, 1_000 + 100 * 10 * 7 + 699)
    told: list[str] = []
    store.meters.heard_low = lambda account, _: told.append(account)
    acme.put("k", b"v" * 99)
    beat(store, clock, 10)
    assert not told
    beat(store, clock, 1)
    assert told == ["acme"]
    beat(store, clock, 99)
    assert not store.placement.directory.find(b"acme").reads_of(b"acme").silent
    beat(store, clock, 1)
    with pytest.raises(BalanceEmpty):
        acme.get("k")
    conserved(store)


def test_reads_find_it_empty_too(store: Store, clock: ManualClock) -> None:
    acme = priced(store, 1_000 + 7_200 * 7 + 2_999)
    acme.put("k", b"", ttl=7_200)
    for _ in range(3):
        acme.get("k")
    beat(store, clock, 101)
    with pytest.raises(BalanceEmpty):
        acme.get("k")


def test_it_is_empty_until_it_can_pay_for_an_operation(store: Store, clock: ManualClock) -> None:
    acme = priced(store, 1_000 + 7_200 * 7)
    acme.put("k", b"", ttl=7_200)
    acme.get("k")  # is owed
    beat(store, clock, 103)
    for atto in (1_000, 999):
        with pytest.raises(BalanceEmpty):
            acme.get("k")
        store.accounts.deposit("acme", atto, f"{atto} more")
        beat(store, clock, 2)
    with pytest.raises(BalanceEmpty):
        acme.get("k")
    store.accounts.deposit("acme", 1, "one more")
    beat(store, clock, 2)
    assert acme.get("k") == b""
    conserved(store)
