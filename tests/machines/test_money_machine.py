"""Money through any history: nothing is made or lost, whatever is split, merged or cut off when.

Two customers write, read, are topped up and bounded, while buckets are split and merged; before
any step ends the power may go. A model that shares no arithmetic with the house says what each
step costs; where every unit is, is added up after each of them.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from holdfast import BalanceEmpty, LimitExceeded, NotFound
from holdfast.bucket import fork
from holdfast.store import Namespace
from holdfast.testing.disk import MODES
from holdfast.testing.machine import machine_settings, nightly_settings
from holdfast.views.port import Table
from tests.machines import money
from tests.machines.money import SECOND_NS, Kept
from tests.machines.money_base import (
    ACCOUNTS,
    MOST,
    PRICES,
    USD,
    Cut,
    Effect,
    Expected,
    MoneyBase,
    lasts_of,
)

names = st.sampled_from(sorted(PRICES))
keys = st.integers(0, 14).map(lambda number: f"k{number:02}")
sizes = st.integers(0, 6_000)
ttls = st.one_of(st.none(), st.sampled_from([0.4, 1, 7.25, 60, 3_600, "30d"]))
cuts = st.one_of(
    st.none(), st.none(), st.none(), st.tuples(st.sampled_from(MODES), st.integers(0, 999))
)


class MoneyMachine(MoneyBase):
    """The steps."""

    @initialize()
    def configure(self) -> None:
        self.store.accounts.deposit("reserve", 5 * USD, "capital")
        for name, price in PRICES.items():
            self.store.tariffs.set(name, price.toml())
            self.store.namespace(name).configure(tariff=name, grace="90d")
            self.store.accounts.transfer("reserve", name, USD, name)

    # -- what customers do ------------------------------------------------------------

    @rule(name=names, key=keys, size=sizes, ttl=ttls, cut=cuts)
    def put(  # noqa: PLR0917 - by name
        self, name: str, key: str, size: int, ttl: float | str | None, cut: Cut
    ) -> None:
        self.write(name, cut, lambda space: self._put(space, {key: size}, ttl))

    @rule(name=names, first=st.integers(0, 14), size=sizes, ttl=ttls, cut=cuts)
    def put_many(  # noqa: PLR0917 - by name
        self, name: str, first: int, size: int, ttl: float | str | None, cut: Cut
    ) -> None:
        wanted = {f"k{(first + 7 * i) % 15:02}": size + i for i in range(9)}
        self.write(name, cut, lambda space: self._put(space, wanted, ttl, many=True))

    def _put(
        self,
        space: Namespace,
        sizes: dict[str, int],
        ttl: float | str | None,
        *,
        many: bool = False,
    ) -> list[Effect]:
        now, price = self.now(), self.price[space.name]
        ends = None
        if ttl is not None:
            ends = now + (30 * 86_400 if ttl == "30d" else Fraction(str(ttl))) * SECOND_NS
        expected = []
        for key, size in sizes.items():
            after = Kept(
                len(key) + size, None if ends is None else int(ends), price if ends else None
            )
            before = self.objects[space.name].get(key)
            cost = money.stored(price, before, after, now)
            expected.append(
                (key, after, cost, lasts_of(after, now) - lasts_of(before, now, begun=0))
            )
        if many:
            return self._put_each(space, sizes, ttl, expected)
        ((key, size),) = sizes.items()
        _, after, cost, _ = expected[0]
        self.want(key, after, cost)
        assert space.put(key, bytes(size), ttl=ttl).cost_atto == cost
        return [self.effect(space.name, *expected[0])]

    def _put_each(
        self, space: Namespace, sizes: dict[str, int], ttl: float | str | None, expected: Expected
    ) -> list[Effect]:
        """A batch: where a bound is met in its middle, what is before it is stored all the same."""
        values = {key: bytes(size) for key, size in sizes.items()}
        before = {key: self.version(space.name, key) for key in sizes}
        try:
            receipts = space.put_many(values, ttl=ttl) if ttl else space.put_many(values)
        except (BalanceEmpty, LimitExceeded):
            expected = [  # what had expired may be gone
                one for one in expected if self.version(space.name, one[0]) > before[one[0]]
            ]
        else:
            assert [receipt.cost_atto for receipt in receipts] == [one[2] for one in expected]
        return [self.effect(space.name, *one) for one in expected]

    @rule(name=names, at=st.integers(0, 14), size=sizes, cut=cuts)
    def keep(self, name: str, at: int, size: int, cut: Cut) -> None:
        known = sorted(self.objects[name]) or ["none"]
        key = known[at % len(known)]

        def work(space: Namespace) -> list[Effect]:
            now, before = self.now(), self.live(name, key)
            paid = self.price[name] if before is not None and before.expires_ns else None
            ends = None if before is None else before.expires_ns
            after = Kept(len(key) + size, ends, paid)
            cost = money.stored(self.price[name], before, after, now)
            self.want(key, after, cost)
            assert space.put(key, bytes(size), keep_ttl=True).cost_atto == cost
            lasts = lasts_of(after, now) - lasts_of(before, now, begun=0)
            return [self.effect(name, key, after, cost, lasts)]

        self.write(name, cut, work)

    @rule(name=names, key=keys, size=st.integers(1, 900), cut=cuts)
    def append(self, name: str, key: str, size: int, cut: Cut) -> None:
        def work(space: Namespace) -> list[Effect]:
            now, before = self.now(), self.live(name, key)
            if before is None:
                after, cost = Kept(len(key) + size), self.price[name].operation
            else:
                after = before._replace(size=before.size + size)
                cost = money.appended(self.price[name], before, size, now)
            self.want(key, after, cost)
            with space.bill() as bill:
                space.append(key, bytes(size))
            assert bill.cost_atto == cost
            lasts = lasts_of(after, now) * size // after.size
            return [self.effect(name, key, after, cost, lasts)]

        self.write(name, cut, work)

    @rule(name=names, at=st.integers(0, 14), cut=cuts)
    def delete(self, name: str, at: int, cut: Cut) -> None:
        known = sorted(self.objects[name]) or ["none"]
        key = known[at % len(known)]

        def work(space: Namespace) -> list[Effect]:
            now, before = self.now(), self.live(name, key)
            with space.bill() as bill:
                space.delete(key)
            assert before is not None
            cost = money.deleted(self.price[name], before, now)
            assert bill.cost_atto == cost
            return [self.effect(name, key, None, cost, -lasts_of(before, now, begun=0))]

        self.write(name, cut, work)

    @rule(name=names, cut=cuts)
    def lock(self, name: str, cut: Cut) -> None:
        self.references += 1
        key = f"lock {self.references}"

        def work(space: Namespace) -> list[Effect]:
            with space.bill() as bill:
                space.lock(key)
            cost = 2 * self.price[name].operation
            assert bill.cost_atto == cost
            return [Effect(name, key, None, cost, 1, table=Table.LOCKS)]

        self.write(name, cut, work)

    @rule(name=names, key=keys, kind=st.sampled_from(["get", "exists", "stat", "list"]))
    def read(self, name: str, key: str, kind: str) -> None:
        space, price = self.store.namespace(name), self.price[name]
        found = self.live(name, key)
        with space.bill() as bill:
            if kind == "list":
                listed = list(space.list())
                assert listed == sorted(k for k in self.objects[name] if self.live(name, k))
                cost = 10 * price.operation + ceil(sum(map(len, listed)) * price.egress)
            elif found is None:
                with pytest.raises(NotFound):
                    space.get(key)
                cost = 0
            else:
                getattr(space, kind)(key)
                sent = {"get": found.size - len(key), "exists": 0, "stat": len(key)}[kind]
                cost = price.operation + ceil(sent * price.egress)
        pages = len(self.store.status().buckets) if kind == "list" else 0  # each is rounded up
        assert cost <= bill.cost_atto <= cost + pages
        self.perhaps[name] += bill.cost_atto

    # -- what operators do ------------------------------------------------------------

    @rule(account=st.sampled_from(ACCOUNTS), atto=st.integers(1, USD), cut=cuts)
    def deposit(self, account: str, atto: int, cut: Cut) -> None:
        self.references += 1
        reference = f"r{self.references}"
        before = self.store.accounts.ledger.books().deposited
        self.carry(cut, lambda: self.store.accounts.deposit(account, atto, reference))
        self.store.accounts.deposit(account, atto, reference)  # whoever was not answered asks again
        assert self.store.accounts.ledger.books().deposited == before + atto

    @rule(source=st.sampled_from(ACCOUNTS), sink=names, atto=st.integers(1, USD), cut=cuts)
    def transfer(self, source: str, sink: str, atto: int, cut: Cut) -> None:
        self.references += 1
        if source == sink or self.store.accounts.get("reserve").balance < atto:
            return

        def work() -> None:
            try:
                self.store.accounts.transfer(source, sink, atto, f"r{self.references}")
            except BalanceEmpty:
                assert self.store.accounts.balance(source) < atto  # wherever it is

        self.carry(cut, work)

    @rule(name=names, threshold=st.integers(0, USD), amount=st.integers(1, USD), cut=cuts)
    def top_up(self, name: str, threshold: int, amount: int, cut: Cut) -> None:
        self.carry(cut, lambda: self.store.accounts.rule(name, threshold, amount, 5))

    @rule(name=names, bound=st.integers(0, 60_000), objects=st.integers(0, 30), cut=cuts)
    def bound(self, name: str, bound: int, objects: int, cut: Cut) -> None:
        most = (bound or None, objects or None)
        space = self.store.namespace(name)
        wanted = {"bytes_max": most[0], "objects_max": most[1], "grace": "90d"}
        self.carry(cut, lambda: space.configure(tariff=name, **wanted))  # type: ignore[arg-type]
        self.store.namespace(name).configure(tariff=name, **wanted)  # type: ignore[arg-type]
        self.bounds[name] = most
        self.most[name] = MOST  # what is stored already stays; it does not grow

    @rule(name=names, operation=st.integers(1, 2_000), cut=cuts)
    def reprice(self, name: str, operation: int, cut: Cut) -> None:
        price = PRICES[name]._replace(operation=operation)
        self.store.tariffs.set(name, price.toml())
        most = {"bytes_max": self.bounds[name][0], "objects_max": self.bounds[name][1]}
        self.carry(cut, lambda: None)
        self.settled(name)
        self.store.namespace(name).configure(tariff=name, grace="90d", **most)
        self.price[name] = price
        self.repriced.add(name)

    # -- what becomes of buckets ----------------------------------------------------------

    @rule(name=names, key=keys, cut=cuts)
    def split(self, name: str, key: str, cut: Cut) -> None:
        def work() -> None:
            placement, start = self.store.placement, f"{name}\0{key}".encode()
            bucket = placement.directory.find(start)
            with placement.changing:
                fork.finish_moves(bucket)
                placement._settle(bucket)
                child = fork.split(bucket, placement.new_id(), start)
                if child is not None:
                    placement.directory.add(child)

        self.carry(cut, work)

    @rule(cut=cuts)
    def merge(self, cut: Cut) -> None:
        self.carry(cut, self.store.placement.shrink)

    @rule(seconds=st.sampled_from([0.001, 0.3, 1, 2.5, 61, 4_000, 90_000]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(round(seconds * SECOND_NS))

    @rule(cut=cuts)
    def tick(self, cut: Cut) -> None:
        self.carry(cut, lambda: self.store.tick(60))

    @rule(cut=cuts)
    def collect(self, cut: Cut) -> None:
        self.carry(cut, self.store.collect)

    @rule()
    def restart(self) -> None:
        self.moved_on()
        self.store.close()  # charges what was read
        self.open()
        self.moved_on()
        for name in PRICES:
            self.sure[name], self.perhaps[name] = self.sure[name] + self.perhaps[name], 0


def test_what_was_read_is_paid_before_a_write_that_other_purses_help() -> None:
    """Found by the machine: help brought what the write costs, and the read took it."""
    state = MoneyMachine()
    state.configure()
    state.put_many(cut=None, first=2, name="acme", size=2_079, ttl="30d")
    state.split(cut=None, key="k05", name="acme")
    state.put_many(cut=None, first=13, name="beta", size=1_373, ttl=None)
    state.append(cut=None, key="k02", name="acme", size=860)
    state.put_many(cut=None, first=6, name="acme", size=1, ttl=3_600)
    state.read(key="k05", kind="exists", name="acme")
    state.append(cut=None, key="k14", name="acme", size=279)
    state.teardown()


@pytest.mark.push
def test_money_is_conserved_through_any_history() -> None:
    run_state_machine_as_test(MoneyMachine, settings=machine_settings(examples=12, steps=40))


@pytest.mark.nightly
@pytest.mark.timeout(7_200)
def test_by_night_money_is_conserved() -> None:
    run_state_machine_as_test(MoneyMachine, settings=nightly_settings(examples=1_500, steps=80))
