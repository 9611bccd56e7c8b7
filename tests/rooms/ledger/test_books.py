"""The books balance, after whatever anybody does, and every entry counts once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from holdfast.charges import Charge, Line
from holdfast.errors import BalanceEmpty, Busy, Corrupt, HoldfastError, InvalidValue
from holdfast.ledger import entries, keeping
from holdfast.ledger.books import DAY_NS, Books, replay
from holdfast.ledger.entries import Charged, Deposit, Fund, Returned, TopUp
from holdfast.ledger.ledger import KEEP_PAGES, Ledger, Report
from tests.rooms.ledger.keeping import (
    DISK,
    DOLLAR,
    ENCLAVE,
    STORE,
    TERMS,
    Clock,
    PagesInMemory,
    a_delete,
    a_ledger,
    a_put,
    lines_of,
)

NAMES = st.sampled_from(["reserve", "acme", "globex"])
BUCKETS = st.sampled_from(["b1", "b2"])
TIMES = st.integers(0, 3)
AMOUNTS = st.integers(0, 3 * DOLLAR)


class Bucket:
    """What a bucket knows of its float: the independent half of the protocol."""

    def __init__(self) -> None:
        self.float_ = self.received = self.given = self.version = self.since = 0
        self.charged = 0
        self.made: list[Charge] = []
        self.gifts: list[tuple[int, int]] = []


class Money(RuleBasedStateMachine):
    """Deposits, transfers, rules, transfers to buckets and back, charges; in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger, self.pages, self.clock = a_ledger()
        self.buckets: dict[tuple[str, str], Bucket] = {}
        self.deposited = 0
        self.references = 0
        for name in ("reserve", "acme", "globex"):
            for terms in TERMS.values():
                self.ledger.price(name, "t", 1, terms)

    def bucket(self, account: str, bucket: str) -> Bucket:
        return self.buckets.setdefault((account, bucket), Bucket())

    @rule(account=NAMES, amount=AMOUNTS)
    def deposit(self, account: str, amount: int) -> None:
        self.references += 1
        try:
            self.ledger.deposit(account, amount, f"r{self.references}")
        except InvalidValue:
            assert not amount
        else:
            self.deposited += amount

    @rule(names=st.tuples(NAMES, NAMES), amount=AMOUNTS)
    def transfer(self, names: tuple[str, str], amount: int) -> None:
        source, target = names
        self.references += 1
        held = self.ledger.account(source).balance
        try:
            self.ledger.transfer(source, target, amount, f"t{self.references}")
        except InvalidValue:
            assert not amount or source == target
        except BalanceEmpty:
            assert amount > held

    @rule(names=st.tuples(NAMES, NAMES), threshold=AMOUNTS, amount=AMOUNTS, per_day=TIMES)
    def draw_by(self, names: tuple[str, str], threshold: int, amount: int, per_day: int) -> None:
        account, parent = names
        with suppress(InvalidValue):
            self.ledger.rule(account, threshold, amount, per_day=per_day, parent=parent)

    @rule(passed=st.integers(0, 2 * DAY_NS))
    def tick(self, passed: int) -> None:
        self.clock.now += passed
        self.ledger.top_up()

    @rule(account=NAMES, bucket=BUCKETS, amount=AMOUNTS)
    def fund(self, account: str, bucket: str, amount: int) -> None:
        held = self.ledger.account(account).balance
        try:
            self.ledger.fund(account, bucket, amount)
        except InvalidValue:
            assert not amount
        except BalanceEmpty:
            assert amount > held

    @rule(account=NAMES, bucket=BUCKETS, most=st.integers(0, 5))
    def arrive(self, account: str, bucket: str, most: int) -> None:
        """Transfers arrive, some of them again."""
        own = self.bucket(account, bucket)
        for number, amount in self.ledger.pending(account, bucket)[:most]:
            if number > own.received:
                own.received = number
                own.float_ += amount

    @rule(account=NAMES, bucket=BUCKETS, size=st.integers(0, 10**15), seconds=st.integers(0, 9))
    def charge(self, account: str, bucket: str, size: int, seconds: int) -> None:
        own = self.bucket(account, bucket)
        for terms in (ENCLAVE, DISK):
            made = a_put(terms, size=size, seconds=seconds)
            own.version += 1
            if made.amount <= own.float_:
                own.float_ -= made.amount
                own.charged += made.amount
                own.made.append(made)

    @rule(account=NAMES, bucket=BUCKETS)
    def give_back(self, account: str, bucket: str) -> None:
        own = self.bucket(account, bucket)
        own.given += 1
        own.gifts.append((own.given, own.float_ // 2))
        own.float_ -= own.float_ // 2

    @rule(account=NAMES, bucket=BUCKETS, again=st.booleans())
    def report(self, account: str, bucket: str, again: bool) -> None:  # noqa: FBT001
        own = self.bucket(account, bucket)
        gifts = tuple(gift for gift in own.gifts if gift[1])
        told = Report(
            account, bucket, own.received, gifts, own.since, own.version, lines_of(*own.made)
        )
        self.ledger.report([told])
        if own.made:
            own.since, own.made = own.version, []
        if again:
            self.ledger.report([told])

    @invariant()
    def nothing_is_made_or_lost(self) -> None:
        books = self.ledger.books()
        books.check()
        held = sum(
            account.balance + account.transit + account.charged
            for account in books.accounts.values()
        )
        floats = sum(account.float_ for account in books.accounts.values())
        assert held + floats == self.deposited == books.deposited

    @invariant()
    def the_ledger_and_the_buckets_agree(self) -> None:
        for name, account in self.ledger.books().accounts.items():
            own = [bucket for (owner, _), bucket in self.buckets.items() if owner == name]
            given = sum(
                amount
                for (owner, place), bucket in self.buckets.items()
                if owner == name
                for number, amount in bucket.gifts
                if number > self.ledger.books().lane(owner, place).returned
            )
            arrived = sum(
                amount
                for (owner, place), bucket in self.buckets.items()
                if owner == name
                for number, amount in self.ledger.pending(owner, place)
                if number <= bucket.received
            )
            spent = sum(bucket.charged for bucket in own) - account.charged
            assert account.float_ + arrived == sum(b.float_ for b in own) + given + spent

    @invariant()
    def nothing_is_below_zero(self) -> None:
        for account in self.ledger.books().accounts.values():
            assert min(account.balance, account.transit, account.float_) >= 0

    def teardown(self) -> None:
        """Whoever reads the pages comes to the same books."""
        other = Ledger(self.pages, STORE, self.clock)
        mine, theirs = self.ledger.books(), other.books()
        assert dict(mine.accounts) == dict(theirs.accounts)
        assert dict(mine.lanes) == dict(theirs.lanes)
        assert self.ledger.head == other.head
        again = replay(STORE, self.ledger.history())
        assert dict(again.accounts) == dict(mine.accounts)


TestMoney = Money.TestCase


def test_a_deposit_counts_once_for_its_reference() -> None:
    ledger, pages, _ = a_ledger()
    first = ledger.deposit("acme", 5, "invoice 7")
    assert ledger.deposit("acme", 5, "invoice 7") == first
    assert (ledger.account("acme").balance, len(pages.pages)) == (5, 1)
    with pytest.raises(InvalidValue) as refused:
        ledger.deposit("acme", 6, "invoice 7")
    assert refused.value.argument == "reference"


@pytest.mark.parametrize(
    ("account", "amount", "reference"),
    [
        ("a b", 5, "r"),
        ("", 5, "r"),
        ("a", 0, "r"),
        ("a", -5, "r"),
        ("a", 5, ""),
        ("a", 5, "x" * 201),
    ],
)
def test_a_deposit_that_is_wrong_changes_nothing(account: str, amount: int, reference: str) -> None:
    ledger, pages, _ = a_ledger()
    with pytest.raises((InvalidValue, BalanceEmpty)):
        ledger.deposit(account, amount, reference)
    assert not pages.pages


def test_more_than_64_bits_of_money() -> None:
    ledger, _, _ = a_ledger()
    ledger.deposit("reserve", 10**40, "a lot")
    ledger.transfer("reserve", "acme", 10**40 - 1, "most")
    assert (ledger.account("reserve").balance, ledger.account("acme").balance) == (1, 10**40 - 1)


def test_rules_draw_parents_first_and_no_more_than_a_day_allows() -> None:
    ledger, _, clock = a_ledger()
    ledger.deposit("reserve", 100, "r")
    ledger.rule("tenant", 10, 30, per_day=5, parent="reserve")
    ledger.rule("acme", 5, 10, per_day=2, parent="tenant")
    assert [(one.source, one.target) for one in ledger.top_up()] == [
        ("reserve", "tenant"), ("tenant", "acme"),
    ]  # fmt: skip
    ledger.transfer("acme", "sink", 10, "spent")
    ledger.top_up()
    ledger.transfer("acme", "sink", 10, "spent again")
    assert ledger.top_up() == []
    assert ledger.books().low() == ["acme"]
    clock.now += DAY_NS
    assert [one.target for one in ledger.top_up()] == ["acme", "tenant"]


def test_what_a_rule_answers_is_what_the_books_have() -> None:
    ledger, _, _ = a_ledger()
    ledger.deposit("reserve", 100, "r")
    made = ledger.rule("tenant", 10, 30, per_day=5, parent="reserve")
    assert made.number == 2
    assert made == list(ledger.history())[-1] == ledger.account("tenant").rule


def test_an_empty_reserve_draws_nothing_until_it_is_filled() -> None:
    ledger, _, _ = a_ledger()
    ledger.rule("acme", 5, 10, per_day=2, parent="reserve")
    assert ledger.top_up() == []
    assert ledger.books().low() == ["acme"]
    ledger.deposit("reserve", 10, "refill")
    assert [one.amount for one in ledger.top_up()] == [10]
    assert ledger.books().low() == []


def test_accounts_cannot_draw_from_each_other_in_a_ring() -> None:
    ledger, _, _ = a_ledger()
    ledger.rule("b", 5, 10, per_day=2, parent="a")
    ledger.rule("c", 5, 10, per_day=2, parent="b")
    for parent in ("c", "a"):
        with pytest.raises(InvalidValue):
            ledger.rule("a", 5, 10, per_day=2, parent=parent)


def test_a_clock_that_goes_back_draws_no_second_day() -> None:
    ledger, _, clock = a_ledger()
    clock.now = 10 * DAY_NS
    ledger.deposit("reserve", 100, "r")
    ledger.rule("acme", 5, 10, per_day=1, parent="reserve")
    assert len(ledger.top_up()) == 1
    ledger.transfer("acme", "sink", 10, "spent")
    clock.now = 2 * DAY_NS
    assert ledger.top_up() == []
    assert ledger.books().time_ns == 10 * DAY_NS


def test_a_transfer_to_a_bucket_that_is_gone_comes_back() -> None:
    ledger, _, _ = a_ledger()
    ledger.deposit("acme", 100, "r")
    ledger.fund("acme", "b", 30)
    ledger.fund("acme", "b", 20)
    ledger.report([Report("acme", "b", 1)])
    ledger.void("acme", "b", 1)
    ledger.void("acme", "b", 1)
    account = ledger.account("acme")
    assert (account.balance, account.transit, account.float_) == (70, 0, 30)


def test_a_number_of_a_transfer_counts_once() -> None:
    ledger, _, _ = a_ledger()
    ledger.deposit("acme", 100, "r")
    ledger.fund("acme", "b", 30)
    ledger.report([Report("acme", "b", 1, ((2, 10),))])
    before = ledger.account("acme")
    for again in (
        Fund(account="acme", bucket="b", transfer=1, amount=5),
        Fund(account="acme", bucket="b", transfer=3, amount=5),
        Returned(account="acme", bucket="b", transfer=2, amount=10),
        Returned(account="acme", bucket="b", transfer=1, amount=10),
    ):
        with pytest.raises(InvalidValue):
            ledger.commit(lambda _, entry=again: [entry])  # type: ignore[misc]
    assert ledger.account("acme") == before


def test_money_that_nobody_paid_in_is_noticed() -> None:
    ledger, _, _ = a_ledger()
    ledger.deposit("acme", 100, "r")
    books = ledger.books()
    books.check()
    books.deposited += 1
    with pytest.raises(Corrupt):
        books.check()


def funded() -> tuple[Ledger, PagesInMemory, Clock]:
    ledger, pages, clock = a_ledger()
    ledger.price("acme", "enclave", 1, ENCLAVE)
    ledger.deposit("acme", DOLLAR, "r")
    ledger.fund("acme", "b", DOLLAR)
    ledger.report([Report("acme", "b", 1)])
    return ledger, pages, clock


def test_charges_are_taken_once_and_only_if_they_add_up() -> None:
    ledger, pages, _ = funded()
    lines = lines_of(a_put(), a_delete())
    told = Report("acme", "b", 1, (), 0, 7, lines)
    assert [one.amount for one in ledger.report([told]) if isinstance(one, Charged)] == [
        2 * 1_763_750_000 + 52_776_000 - 26_388_000 * 4 // 5
    ]
    assert ledger.report([told]) == []
    before = len(pages.pages)
    first = lines[0].charge
    wrong = Line(1, msgspec.structs.replace(first, amount=first.amount - 1))
    for bad in (
        Report("acme", "b", 1, (), 7, 9, (wrong,)),
        Report("acme", "b", 1, (), 3, 9, lines),
        Report("acme", "b", 1, (), 7, 9, (Line(1, msgspec.structs.replace(first, terms=77)),)),
    ):
        with pytest.raises(InvalidValue):
            ledger.report([bad])
    assert len(pages.pages) == before


def test_a_bucket_cannot_charge_what_it_was_not_given() -> None:
    ledger, _, _ = funded()
    with pytest.raises(BalanceEmpty):
        ledger.report([Report("acme", "b", 1, (), 0, 7, lines_of(a_put(size=1 << 50)))])
    assert ledger.account("acme").charged == 0


def test_two_that_write_at_once_both_count() -> None:
    pages, clock = PagesInMemory(), Clock()
    one, other = Ledger(pages, STORE, clock), Ledger(pages, STORE, clock)
    turns = iter([lambda: other.deposit("acme", 2, "other")])
    pages.before = lambda: [turn() for turn in [next(turns, None)] if turn]
    one.deposit("acme", 1, "one")
    assert (one.account("acme").balance, other.account("acme").balance) == (3, 3)


def test_who_never_gets_a_turn_is_told() -> None:
    pages, clock = PagesInMemory(), Clock()
    one, other = Ledger(pages, STORE, clock), Ledger(pages, STORE, clock)
    count = iter(range(1_000))
    depth: list[int] = []

    def before() -> None:
        if not depth:
            depth.append(1)
            other.deposit("acme", 1, f"r{next(count)}")
            depth.clear()

    pages.before = before
    with pytest.raises(Busy):
        one.deposit("acme", 1, "never")
    assert one.account("acme").balance == 100


def is_noticed(pages: PagesInMemory, head: tuple[int, bytes]) -> bool:
    """Whether whoever reads the pages sees that they are not the ones of that head."""
    try:
        return Ledger(pages, STORE, Clock()).head != head
    except HoldfastError:
        return True


def test_a_page_that_was_changed_is_noticed() -> None:
    ledger, pages, _ = funded()
    ledger.deposit("acme", 5, "x")
    for at, page in enumerate(list(pages.pages)):
        for offset in range(0, len(page), 7):
            flipped = bytearray(page)
            flipped[offset] ^= 1
            pages.pages[at] = bytes(flipped)
            assert is_noticed(pages, ledger.head)
        pages.pages[at] = page
    assert not is_noticed(pages, ledger.head)
    pages.pages.pop(1)
    assert is_noticed(pages, ledger.head)
    with pytest.raises(Corrupt):
        list(Ledger(pages, STORE, Clock()).history())


def a_busy_ledger() -> tuple[Ledger, PagesInMemory]:
    """More pages than go without being kept, with something in every place."""
    ledger, pages, _ = funded()
    ledger.rule("acme", 5, 10, per_day=2, parent="reserve")
    ledger.report([Report("acme", "b", 1, ((1, 7),), 0, 7, lines_of(a_put()))])
    ledger.fund("acme", "b2", 3)
    for at in range(KEEP_PAGES + 3):
        ledger.deposit("reserve", 10**30, f"r{at}")
    return ledger, pages


def same(one: Ledger, other: Ledger) -> bool:
    mine, theirs = one.books(), other.books()
    return all(
        dict(getattr(mine, name)) == dict(getattr(theirs, name))
        for name in ("accounts", "lanes", "terms", "references")
    ) and (mine.number, mine.deposited, one.head) == (theirs.number, theirs.deposited, other.head)


def test_who_opens_the_books_reads_only_the_pages_behind_what_was_kept() -> None:
    ledger, pages = a_busy_ledger()
    assert pages.books is not None
    asked: list[int] = []
    get = pages.get
    pages.get = lambda number: (asked.append(number), get(number))[1]  # type: ignore[method-assign,func-returns-value]
    other = Ledger(pages, STORE, Clock())
    assert same(ledger, other)
    assert len(asked) < 20
    other.deposit("reserve", 1, "one more")
    assert ledger.account("reserve") == other.account("reserve")


@pytest.mark.parametrize(
    "change", [lambda kept: kept[:-1], lambda _: b"", lambda kept: b"x" + kept]
)
def test_what_was_kept_and_cannot_be_read_is_made_again(change: Callable[[bytes], bytes]) -> None:
    ledger, pages = a_busy_ledger()
    assert pages.books is not None
    pages.books = change(pages.books)
    assert same(ledger, Ledger(pages, STORE, Clock()))


def test_what_was_kept_of_other_books_does_not_count() -> None:
    ledger, pages = a_busy_ledger()
    pages.books = keeping.encode(keeping.Kept(Books(STORE), 200, bytes(32)))
    assert same(ledger, Ledger(pages, STORE, Clock()))
    pages.books = keeping.encode(keeping.Kept(Books("00" * 16), len(pages.pages), bytes(32)))
    assert same(ledger, Ledger(pages, STORE, Clock()))


def test_an_entry_is_read_as_it_was_written_and_in_no_other_form() -> None:
    ledger, _, _ = funded()
    ledger.report([Report("acme", "b", 1, (), 0, 7, lines_of(a_put()))])
    for entry in ledger.history():
        data = entries.encode(entry)
        assert entries.decode(data) == entry
        for other in (data + b" ", data.replace(b":", b": ", 1), data[:-1], b"[]", b"{}", b"1"):
            with pytest.raises(Corrupt):
                entries.decode(other)


@pytest.mark.parametrize("amount", ["05", "+5", " 5", "5.0", "", "x"])
def test_an_amount_has_one_form(amount: str) -> None:
    made = entries.to_object(Deposit(account="a", amount=5, reference="r", number=1))
    with pytest.raises(Corrupt):
        entries.from_object(made | {"amount": amount})
    with pytest.raises(Corrupt):
        entries.from_object(made | {"amount": 5})


def test_kinds_are_told() -> None:
    assert Fund(account="a", bucket="b", transfer=1, amount=1).kind == "fund"
    assert TopUp(source="a", target="b", amount=1).kind == "top_up"
