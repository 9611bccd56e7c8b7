"""Purses: what writes are charged, and that effect and charge are one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast import BalanceEmpty, Exists, LimitExceeded, Moved, NotFound, StorageFailed
from holdfast.bucket import commit, counted, fork
from holdfast.bucket.bills import OPEN, Bill, opened
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.dividing import held
from holdfast.bucket.purse import Purse
from holdfast.bucket.settling import Settlement, begin, settle
from holdfast.charges import Charge, Terms
from holdfast.engines.disk import OsDisk
from holdfast.engines.memory import MemoryDisk
from holdfast.log.records import Type
from holdfast.store.namespace import Namespace
from holdfast.store.opening import open_on
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock, SeededEntropy
from tests.growth.growing import tick_on
from tests.rooms.gate import Gate

SECOND_NS = 1_000_000_000
PRICED = Terms(1, 10_000, 2_000, 1_000, 7, 1, 3, 1, 1, 5)
ODD = Terms(2, 10_000, 2_000, 1_000, 8_796, 1_000, 3, 7, 1, 5)
FUNDS = 10**15
Opener = Callable[[], Store]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def opener(tmp_path: Path, clock: ManualClock) -> Opener:
    def opened_again() -> Store:
        return open_on(
            OsDisk(),
            str(tmp_path / "s"),
            bucket_bytes=1 << 16,
            clock=clock,
            entropy=SeededEntropy(7),
        )

    return opened_again


@pytest.fixture
def store(opener: Opener) -> Iterator[Store]:
    with opener() as opened:
        yield opened


def metered(store: Store, terms: Terms = PRICED, funds: int = FUNDS) -> Namespace:
    (bucket,) = store.placement.directory
    begin(bucket, b"acme", terms)
    settle(bucket, b"acme", Settlement(received=(1, funds)))
    return store.namespace("acme")


def purse_of(store: Store) -> Purse:
    (bucket,) = store.placement.directory
    return bucket.purses[b"acme"]


def is_exact(bucket: Bucket) -> bool:
    """Whether what is noted as used is what is there."""
    purse = bucket.purses[b"acme"]
    there = held(bucket, b"acme", bucket.start, bucket.stop)
    return there == (purse.used_bytes, purse.used_objects, purse.rent_bytes)


def test_a_store_costs_its_operation_and_its_storage_until_the_expiry(store: Store) -> None:
    acme = metered(store)
    assert acme.put("k", b"v" * 9).cost_atto == 1_000
    assert acme.put("e", b"v" * 9, ttl=60).cost_atto == 1_000 + 10 * 60 * 7
    assert acme.put("m", b"v" * 9, ttl=0.001).cost_atto == 1_000 + 10 * 7
    purse = purse_of(store)
    spent = 3_000 + 10 * 61 * 7
    assert (purse.float_atto, purse.charged_atto) == (FUNDS - spent, spent)
    assert (purse.used_objects, purse.used_bytes, purse.rent_bytes) == (3, 30, 10)


def test_replacing_gives_the_rest_back_in_full_and_deleting_less_the_share(
    store: Store, clock: ManualClock
) -> None:
    acme = metered(store)
    acme.put("e", b"v" * 9, ttl=100)
    clock.advance(10 * SECOND_NS + 1)
    assert acme.put("e", b"v" * 19, ttl=10).cost_atto == 1_000 + 20 * 10 * 7 - 10 * 89 * 7
    before = purse_of(store).float_atto
    acme.delete("e")
    assert purse_of(store).float_atto - before == 20 * 10 * 7 * 4 // 5 - 1_000
    assert is_exact(next(iter(store.placement.directory)))


def test_keeping_the_expiry_does_not_grow_for_nothing(store: Store, clock: ManualClock) -> None:
    acme = metered(store)
    acme.put("e", b"v", ttl=100)
    clock.advance(50 * SECOND_NS)
    cost = acme.put("e", b"v" * 1001, keep_ttl=True).cost_atto
    assert cost == 1_000 + 1_002 * 50 * 7 - 2 * 50 * 7
    before = purse_of(store).float_atto
    acme.append("e", b"v" * 100)
    assert before - purse_of(store).float_atto == 1_000 + 100 * 50 * 7


def test_what_was_paid_by_other_terms_is_given_back_by_those(
    store: Store, clock: ManualClock
) -> None:
    acme = metered(store)
    acme.put("e", b"v" * 9, ttl=100)
    (bucket,) = store.placement.directory
    settle(bucket, b"acme", Settlement(terms=ODD))
    clock.advance(10 * SECOND_NS)
    before = purse_of(store).float_atto
    acme.append("e", b"v")
    assert before - purse_of(store).float_atto == 1_000 + 90 * 7
    cost = acme.put("e", b"v" * 9, ttl=100).cost_atto
    assert cost == 1_000 + 8_796 - 11 * 90 * 7


def test_refusals_cost_nothing(store: Store) -> None:
    acme = metered(store)
    acme.put("k", b"v")
    before = purse_of(store).kept()
    for refused in (
        lambda: acme.put("k", b"w", if_absent=True),
        lambda: acme.delete("absent"),
        lambda: acme.consumers("absent").append(["a"]),
    ):
        with pytest.raises((Exists, NotFound)):
            refused()
    assert purse_of(store).kept() == before


def test_an_empty_purse_writes_nothing(store: Store) -> None:
    acme = metered(store, funds=2_500)
    acme.put("a", b"1")
    with pytest.raises(BalanceEmpty):
        acme.put("b", b"2", ttl=1000)
    with pytest.raises(BalanceEmpty):
        acme.put_many([("c", b"3"), ("d", b"4")])
    assert list(acme.list()) == ["a", "c"]
    assert purse_of(store).float_atto == 500
    with pytest.raises(BalanceEmpty):
        acme.lock("a")
    assert is_exact(next(iter(store.placement.directory)))


def test_an_allotment_is_never_passed(store: Store) -> None:
    acme = metered(store)
    (bucket,) = store.placement.directory
    settle(bucket, b"acme", Settlement(allotted=(20, 3)))
    acme.put("a", b"v" * 9)
    with pytest.raises(LimitExceeded) as refused:
        acme.put("b", b"v" * 10)
    assert refused.value.limit == "bytes_max"
    acme.put_many([("b", b""), ("c", b"")])
    acme.put("b", b"v" * 5)
    with pytest.raises(LimitExceeded) as refused:
        acme.put_many([("d", b""), ("e", b"")])
    assert refused.value.limit == "objects_max"
    with pytest.raises(LimitExceeded):
        acme.append("a", b"v" * 10)
    assert acme.get("a") == b"v" * 9
    acme.delete("a")
    acme.put("d", b"v" * 9)
    assert is_exact(bucket)


def test_an_atomic_batch_that_is_refused_costs_nothing(store: Store) -> None:
    acme = metered(store, funds=2_500)
    with pytest.raises(BalanceEmpty):
        acme.put_many([("a", b"1"), ("b", b"2"), ("c", b"3")], atomic=True)
    purse = purse_of(store)
    assert (purse.float_atto, purse.ahead_atto, purse.used_objects) == (2_500, 0, 0)
    assert list(acme.list()) == []


def test_a_numbered_write_is_charged_once(store: Store) -> None:
    acme, session = metered(store), store.begin_session()
    for _ in range(3):
        acme.numbered(session, 1).append("log", b"x")
    assert purse_of(store).charged_atto == 1_000


def test_rent_is_paid_by_the_second_of_bucket_time(store: Store, clock: ManualClock) -> None:
    acme = metered(store)
    (bucket,) = store.placement.directory
    acme.put("k", b"v" * 9)
    clock.advance(5 * SECOND_NS)
    acme.put("k", b"v" * 19)
    clock.step_wall(86_400 * SECOND_NS)
    clock.advance(5 * SECOND_NS)
    before = purse_of(store).float_atto
    settle(bucket, b"acme", Settlement())
    assert before - purse_of(store).float_atto == (10 * 5 + 20 * 5) * 7
    settle(bucket, b"acme", Settlement())
    assert before - purse_of(store).float_atto == (10 * 5 + 20 * 5) * 7


def test_rent_that_cannot_be_paid_is_owed_and_paid_first(store: Store, clock: ManualClock) -> None:
    acme = metered(store, funds=2_000)
    (bucket,) = store.placement.directory
    acme.put("k", b"v" * 99)
    clock.advance(100 * SECOND_NS)
    settle(bucket, b"acme", Settlement())
    purse = purse_of(store)
    assert (purse.float_atto, purse.owed.amount) == (1_000, 100 * 100 * 7)
    assert not purse.empty_ns  # others may have it
    settle(bucket, b"acme", Settlement(poor=True))
    purse = purse_of(store)
    assert (purse.float_atto, purse.owed.amount) == (1_000, 100 * 100 * 7)
    assert purse.empty_ns
    with pytest.raises(BalanceEmpty):
        acme.put("l", b"")
    settle(bucket, b"acme", Settlement(received=(2, 100_000)))
    settle(bucket, b"acme", Settlement(received=(2, 100_000)))
    assert purse_of(store).float_atto == 101_000 - 70_000
    acme.put("l", b"")


def test_bills_tell_what_was_charged_in_them(store: Store) -> None:
    acme = metered(store)
    bill = Bill()
    token = OPEN.set(bill)
    acme.put("a", b"1")
    acme.put_many([("b", b"2"), ("c", b"3")])
    with acme.lock("a"):
        pass
    OPEN.reset(token)
    acme.put("d", b"")
    assert bill.cost_atto == 3_000 + 4_000


@pytest.mark.parametrize("clean", [True, False])
def test_what_is_in_a_purse_outlives_the_process(
    opener: Opener, clock: ManualClock, *, clean: bool
) -> None:
    store = opener()
    acme = metered(store)
    acme.put_many((f"k{i}", b"v" * i) for i in range(100))
    acme.put("k7", b"other", ttl=60)
    acme.append("k7", b"more")
    clock.advance(3 * SECOND_NS + 5)
    acme.delete("k8")
    acme.put_many((f"k{i}", b"w") for i in range(50, 150))
    before = purse_of(store).kept()
    if clean:
        store.close()
    else:
        for bucket in store.placement.directory:
            bucket.close()
        store._owners.release()
    with opener() as again:
        assert purse_of(again).kept() == before
        again.rebuild()
        assert purse_of(again).kept() == before
        assert is_exact(next(iter(again.placement.directory)))


def test_what_is_in_a_purse_outlives_the_segment_that_said_so(opener: Opener) -> None:
    """The next segment's beginning says all of it; nothing is read of those before."""
    with opener() as store:
        acme = metered(store)
        acme.put_many((f"k{i}", b"v" * i) for i in range(20))
        (bucket,) = store.placement.directory
        with commit.alone(bucket):
            commit.switch(bucket)
        acme.put("k3", b"other")
        before = purse_of(store).kept()
    with opener() as again:
        assert purse_of(again).kept() == before


def test_splits_and_merges_keep_every_sum(opener: Opener, clock: ManualClock) -> None:
    with opener() as store:
        acme = metered(store)
        (first,) = store.placement.directory
        settle(first, b"acme", Settlement(allotted=(50_000_000, 50_000)))
        for start in range(0, 400, 20):
            acme.put_many((f"{i * 7919 % 400:05}", b"v" * 500) for i in range(start, start + 20))
            clock.advance(SECOND_NS)
            store.tick(60)
        assert len(list(store.placement.directory)) > 2
        check_sums(store)
        for key in list(acme.list())[5:]:
            acme.delete(key)
        for _ in range(20):
            clock.advance(2 * SECOND_NS)
            store.tick(60)
            store.collect()
        assert len(list(store.placement.directory)) < 3
        check_sums(store)
    with opener() as store:
        check_sums(store)


def test_a_bucket_that_was_merged_away_takes_no_money(opener: Opener, clock: ManualClock) -> None:
    """Whoever found it before would else pay into a log that nobody reads again."""
    with opener() as store:
        acme = metered(store)
        (first,) = store.placement.directory
        settle(first, b"acme", Settlement(allotted=(50_000_000, 50_000)))
        acme.put_many((f"{i:03}", b"v" * 500) for i in range(200))
        tick_on(store, clock, 20)
        seen = list(store.placement.directory)
        assert len(seen) > 1
        for key in list(acme.list())[5:]:
            acme.delete(key)
        for _ in range(3):
            tick_on(store, clock, 20)
            store.collect()
        gone = [bucket for bucket in seen if bucket.closed]
        assert gone
        for bucket in gone:
            assert settle(bucket, b"acme", Settlement(received=(9, FUNDS))) is None
            begin(bucket, b"beta", PRICED)
            assert b"beta" not in bucket.purses
            with pytest.raises(Moved), commit.alone(bucket):
                commit.write_control(bucket, Type.PURSE, b"")
        check_sums(store)
    with opener() as store:
        check_sums(store)


@pytest.mark.parametrize("owes", ["left", "right"])
def test_what_one_bucket_owed_is_paid_by_the_one_it_becomes(opener: Opener, owes: str) -> None:
    """Else it would be poor, and refuse, with all that it holds, until it is settled again."""
    with opener() as store:
        acme, placement = metered(store), store.placement
        (left,) = placement.directory
        settle(left, b"acme", Settlement(allotted=(50_000_000, 50_000)))
        acme.put("k", b"v" * 9)
        cut = b"acme\0" if owes == "left" else b"acme\1"  # all money goes to the right, or half
        right = fork.split(left, placement.new_id(), cut)
        assert right is not None
        poor = left if owes == "left" else right
        settle(poor, b"acme", Settlement(give_atto=FUNDS))
        lacking = FUNDS - sum(b.purses[b"acme"].float_atto for b in (left, right)) - 1_000
        counted.count(poor, b"acme", "B", 0)
        settle(poor, b"acme", Settlement(read=True, poor=True))
        assert poor.purses[b"acme"].owed.amount == PRICED.b
        with pytest.raises(BalanceEmpty):
            counted.count(poor, b"acme", "B", 0)
        assert fork.merge(left, right)
        fork.finish_moves(left)
        counted.count(left, b"acme", "B", 0)
        assert acme.put("k", b"v" * 9).cost_atto == 1_000
        settle(left, b"acme", Settlement(received=(2, lacking)))
    with opener() as store:
        check_sums(store)


def check_sums(store: Store) -> None:
    purses = [b.purses[b"acme"] for b in store.placement.directory if b"acme" in b.purses]
    assert sum(p.float_atto + p.charged_atto for p in purses) == FUNDS
    assert sum(p.allotted_bytes for p in purses) == 50_000_000
    assert sum(p.allotted_objects for p in purses) == 50_000
    assert all(is_exact(b) for b in store.placement.directory if b"acme" in b.purses)
    told = sum(p.sums.amount for p in purses)
    lines = [line for p in purses for line in p.others if line.open]
    told += sum(purses[0].tally(line.open.lines).amount for line in lines if line.open)
    assert told == sum(p.charged_atto for p in purses)


def test_a_group_that_failed_is_not_charged() -> None:
    """Nor is what it would have taken kept from writes that come after it."""
    gate = Gate(MemoryDisk(), "sync", refuses=True)
    gate.go.set()
    with open_on(gate, "s", clock=ManualClock(), entropy=SeededEntropy(7)) as store:
        acme = metered(store, funds=2_000)
        purse_of(store).allotted_objects = 2
        before = purse_of(store).kept()
        for write in (lambda: acme.put("a", b"1"), lambda: acme.put_many([("a", b"1")] * 2)):
            gate.shut = True
            with opened() as bill, pytest.raises(StorageFailed):
                write()
            assert bill.cost_atto == 0
            assert purse_of(store).kept() == before
        acme.put("a", b"1")
        acme.put("b", b"2")
        assert purse_of(store).float_atto == 0


@pytest.mark.parametrize(("of", "most"), [("objects", 1), ("bytes", 15)])
def test_what_a_call_takes_counts_before_it_is_written(store: Store, of: str, most: int) -> None:
    acme = metered(store)
    setattr(purse_of(store), f"allotted_{of}", most)
    with pytest.raises(LimitExceeded) as refused:
        acme.put_many([("a", b"v" * 9), ("b", b"v" * 9)], content_type="text/plain")
    assert refused.value.limit == f"{of}_max"
    assert list(acme.list()) == ["a"]
    assert is_exact(next(iter(store.placement.directory)))


def test_who_owes_may_delete_what_gives_money_back(store: Store) -> None:
    acme = metered(store)
    acme.put("e", b"v" * 9, ttl=1_000)
    purse_of(store).charge(Charge(PRICED.number, "B", amount=2 * FUNDS))
    with pytest.raises(BalanceEmpty):
        acme.put("k", b"")
    acme.delete("e")
    assert not acme.exists("e")
