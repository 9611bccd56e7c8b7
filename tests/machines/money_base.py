"""A store under a customer's, an operator's and a power plant's hand, and what must hold of it.

``MoneyBase`` carries steps out and cuts the power in their middle; its invariants add up where
every unit of money is, and what the model says that was charged. The steps themselves are in
``test_money_machine.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil
from typing import NamedTuple

from hypothesis.stateful import RuleBasedStateMachine, invariant

from holdfast import BalanceEmpty, LimitExceeded, NotFound
from holdfast.bucket.dividing import Held, held
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import HoldfastError
from holdfast.ledger import statement
from holdfast.store import Namespace, Store
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import CrashDisk, Mode
from holdfast.views.port import Table
from tests.machines import money
from tests.machines.money import SECOND_NS, Kept, Price

PRICES = {
    "acme": Price(999, Fraction(8_796, 1_000), Fraction(3, 7), Fraction(1, 3)),
    "beta": Price(1_000, Fraction(7), Fraction(3), Fraction(1, 5)),
}
ACCOUNTS = ("reserve", *PRICES)
USD = 2 * 10**11  # a few of the dearest writes
UNTIL = 1 << 62
MOST = (UNTIL, UNTIL)

Cut = tuple[Mode, int] | None


class Effect(NamedTuple):
    """What a step did to an object, or to a lock, and what that cost."""

    name: str
    key: str
    after: Kept | None
    cost: int
    version: int  # of the object behind it, 0 where it is gone
    lasts: int = 0  # byte-seconds that were paid ahead, less those given back
    table: Table = Table.KEYS


class Wanted(NamedTuple):
    """What a write needs: money, and room for what will be there under its key."""

    cost: int
    key: str
    after: Kept


Expected = list[tuple[str, Kept, int, int]]


class MoneyBase(RuleBasedStateMachine):
    """A store under a customer's, an operator's and a power plant's hand."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.life = 0
        self.references = 0
        self.objects: dict[str, dict[str, Kept]] = {name: {} for name in PRICES}
        self.price = dict(PRICES)
        self.bounds: dict[str, tuple[int | None, int | None]] = dict.fromkeys(PRICES, (None, None))
        self.most = dict.fromkeys(PRICES, MOST)
        self.writes = dict.fromkeys(PRICES, 0)  # what they cost
        self.prepaid = dict.fromkeys(PRICES, 0)  # byte-seconds, less those given back
        self.sure = dict.fromkeys(PRICES, 0)  # reads that are charged
        self.perhaps = dict.fromkeys(PRICES, 0)  # and those that a crash may still lose
        self.rent_ns = dict.fromkeys(PRICES, 0)  # byte-nanoseconds of what pays as time passes
        self.repriced: set[str] = set()
        self.wanted: Wanted | None = None
        self._begin(MemoryDisk())
        self.at_ns = self.store.bucket_time_ns()

    def _begin(self, disk: MemoryDisk) -> None:
        self.disk = CrashDisk(disk)
        self.open()

    def open(self) -> None:
        self.life += 1
        self.store: Store = open_on(
            self.disk,
            "store",
            bucket_bytes=1 << 16,
            clock=self.clock,
            entropy=SeededEntropy(self.life),
            upkeep=False,
        )

    # -- how a step is carried out ----------------------------------------------------------

    def now(self) -> int:
        return self.store.bucket_time_ns()

    def moved_on(self) -> None:
        """Rent falls due for the time that passed; behind a crash it may be earlier than it was."""
        now = self.now()
        for name, objects in self.objects.items():
            size = sum(kept.size for kept in objects.values() if kept.paid is None)
            self.rent_ns[name] += size * (now - self.at_ns)
        self.at_ns = now

    def live(self, name: str, key: str) -> Kept | None:
        kept = self.objects[name].get(key)
        if kept is None or (kept.expires_ns is not None and kept.expires_ns <= self.now()):
            return None
        return kept

    def effect(  # noqa: PLR0917 - what became of an object
        self, name: str, key: str, after: Kept | None, cost: int, lasts: int
    ) -> Effect:
        return Effect(name, key, after, cost, self.version(name, key), lasts)

    def version(self, name: str, key: str) -> int:
        return money.version_of(self.store, f"{name}\0{key}".encode())

    def write(self, name: str, cut: Cut, work: Callable[[Namespace], list[Effect]]) -> None:
        """Carry out a write; one that is refused changes nothing and is refused rightly."""
        self.moved_on()
        space = self.store.namespace(name)
        try:
            effects = self.carry(cut, lambda: work(space))
        except (BalanceEmpty, LimitExceeded, NotFound) as refused:
            self._refused(name, refused)
            return
        for effect in effects or []:
            self._happened(effect)

    def want(self, key: str, after: Kept, cost: int) -> None:
        """Take note of what a write needs before it is asked for."""
        self.wanted = Wanted(cost, key, after)

    def _refused(self, name: str, refused: HoldfastError) -> None:
        """What could be paid, or was within its bounds, is not refused."""
        wanted, self.wanted = self.wanted, None
        purses = money.purses_of(self.store, name)
        if wanted is None:
            return
        # What had expired is removed, or not yet, when a bound would be passed.
        there = self.objects[name].get(wanted.key) if self.version(name, wanted.key) else None
        more = wanted.after.size - (there.size if there is not None else 0)
        if isinstance(refused, BalanceEmpty):
            funds = self.store.accounts.ledger.account(name).balance
            funds += sum(purse.float_atto for purse in purses)
            assert wanted.cost + sum(purse.owed.amount for purse in purses) > funds
        elif isinstance(refused, LimitExceeded):
            most_bytes, most_objects = self.bounds[name]
            if refused.facts["limit"] == "bytes_max":
                assert most_bytes is not None
                assert sum(purse.used_bytes for purse in purses) + more > most_bytes
            else:
                assert most_objects is not None
                assert sum(purse.used_objects for purse in purses) + (there is None) > most_objects

    def carry(self, cut: Cut, work: Callable[[], object]) -> list[Effect]:
        """Do something; with a cut, as far as the power went. What is to be seen of it."""
        self.moved_on()
        first = self.disk.points
        found = work()
        effects = found if isinstance(found, list) else []
        if cut is None:
            return effects
        mode, share = cut
        points = self.disk.points - first
        at = first + 1 + share * points // 1_000 if points else None
        self.moved_on()
        self._begin(self.disk.after_cut(mode, share, at=at))
        for effect in effects:
            if self._is_there(effect):
                self._happened(effect)
        self.moved_on()
        self._take_note_of_reads()
        return []

    def _is_there(self, effect: Effect) -> bool:
        composite = f"{effect.name}\0{effect.key}".encode()
        if effect.table is Table.LOCKS:
            bucket = self.store.placement.directory.find(composite)
            return bucket.peek(Table.LOCKS, composite) is not None
        return money.version_of(self.store, composite) == effect.version

    def _happened(self, effect: Effect) -> None:
        self.writes[effect.name] += effect.cost
        if effect.table is Table.LOCKS:
            return
        objects = self.objects[effect.name]
        objects.pop(effect.key, None)
        self.prepaid[effect.name] += effect.lasts
        if effect.after is not None:
            objects[effect.key] = effect.after

    # -- what must hold ---------------------------------------------------------------

    @invariant()
    def every_unit_is_somewhere(self) -> None:
        books = self.store.accounts.ledger.books()
        assert sum(money.spread(self.store)) == books.deposited
        for name in PRICES:
            for purse in money.purses_of(self.store, name):
                assert purse.float_atto >= 0

    @invariant()
    def what_is_used_is_what_is_there(self) -> None:
        for name in PRICES:
            there = Held()
            for bucket in self.store.placement.directory:
                if name.encode() not in bucket.purses:
                    continue
                found = held(bucket, name.encode(), bucket.start, bucket.stop)
                purse = bucket.purses[name.encode()]
                assert found == (purse.used_bytes, purse.used_objects, purse.rent_bytes)
                there = Held(*(one + other for one, other in zip(there, found, strict=True)))
            live = [kept for key, kept in self.objects[name].items() if self.live(name, key)]
            assert there.objects >= len(live)
            most = sum(kept.size for kept in self.objects[name].values())
            assert sum(kept.size for kept in live) <= there.size_bytes <= most

    @invariant()
    def no_bound_is_passed(self) -> None:
        for name, (most_bytes, most_objects) in self.bounds.items():
            purses = money.purses_of(self.store, name)
            used = sum(purse.used_bytes for purse in purses)
            count = sum(purse.used_objects for purse in purses)
            self.most[name] = (min(used, self.most[name][0]), min(count, self.most[name][1]))
            if most_bytes is not None:
                assert used <= max(most_bytes, self.most[name][0])
                assert sum(purse.allotted_bytes for purse in purses) <= most_bytes
            if most_objects is not None:
                assert count <= max(most_objects, self.most[name][1])
                assert sum(purse.allotted_objects for purse in purses) <= most_objects

    def settled(self, name: str) -> tuple[int, int]:
        """What is charged, or owed, of a namespace once all was told; and its byte-nanoseconds."""
        self.store.meters.settle(name)
        self.moved_on()
        purses = money.purses_of(self.store, name)
        owed = [line for purse in purses for line in purse.owed.lines()]
        charged = sum(purse.charged_atto for purse in purses)
        charged += sum(line.times * line.charge.amount for line in owed)
        lasted = sum(purse.totals[3] for purse in purses)
        lasted += sum(line.times * line.charge.size_bytes * line.charge.seconds for line in owed)
        return charged, lasted * SECOND_NS + sum(purse.rent_due for purse in purses)

    def _take_note_of_reads(self) -> None:
        """Behind a crash: reads that were not charged by then never are."""
        for name in PRICES:
            charged, lasted = self.settled(name)
            reads = charged - self.writes[name] - self._rent(name, lasted)
            if name not in self.repriced:
                assert self.sure[name] <= reads <= self.sure[name] + self.perhaps[name]
            self.sure[name], self.perhaps[name] = reads, 0

    def _rent(self, name: str, lasted: int) -> int:
        """What rent comes to so far, of byte-nanoseconds that are what the model says."""
        assert lasted == self.prepaid[name] * SECOND_NS + self.rent_ns[name]
        purses = money.purses_of(self.store, name)
        due = sum(purse.rent_due for purse in purses)
        billed, rest = divmod(self.rent_ns[name] - due, SECOND_NS)
        cost = self.price[name].storage * billed
        assert not rest
        assert name in self.repriced or cost.denominator == 1  # the rest of a price is rounded up
        return ceil(cost)

    def teardown(self) -> None:
        if not self.store.accounts.names():
            return
        for name in PRICES:
            charged, lasted = self.settled(name)
            if name not in self.repriced:
                reads = self.sure[name] + self.perhaps[name]
                assert charged == self.writes[name] + reads + self._rent(name, lasted)
        self._books_follow()
        self.store.collect()
        for account in self.store.accounts.names():
            document = self.store.statement(account, 0, UNTIL)
            statement.verify(document, public_key=self.store.public_key())
        self.store.close()

    def _books_follow(self) -> None:
        """The books are what their entries come to, and what purses say."""
        ledger = self.store.accounts.ledger
        books = ledger.books()
        books.check()
        places = money.told(ledger.history())
        for name, account in books.accounts.items():
            held_now = (account.balance, account.transit, account.float_, account.charged)
            assert held_now == tuple(places[name].values())
            purses = money.purses_of(self.store, name)
            assert account.transit == 0
            assert account.float_ == sum(p.float_atto + p.sums.amount for p in purses)
            assert account.charged == sum(p.charged_atto - p.sums.amount for p in purses)


def lasts_of(kept: Kept | None, now_ns: int, *, begun: int = 1) -> int:
    """Byte-seconds until an object ends: begun ones are paid, whole ones given back."""
    if kept is None or kept.paid is None or kept.expires_ns is None:
        return 0
    rest_ns = max(0, kept.expires_ns - now_ns)
    return kept.size * (-(-rest_ns // SECOND_NS) if begun else rest_ns // SECOND_NS)
