"""The books entry by entry, at the edges of what they take."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.charges import Back, Charge, Line, Terms, total
from holdfast.errors import BalanceEmpty, Corrupt, InvalidValue
from holdfast.ledger.books import DAY_NS, REFERENCE_CHARS, Books, Lane
from holdfast.ledger.entries import (
    Charged,
    Deposit,
    Entry,
    Fund,
    Priced,
    Received,
    Returned,
    Rule,
    TopUp,
    Transfer,
    Void,
)
from tests.rooms.ledger.keeping import DISK, ENCLAVE, STORE, a_put, lines_of


def take(books: Books, *found: Entry, time_ns: int | None = None) -> Books:
    """Apply entries as the next ones."""
    for entry in found:
        at = books.time_ns if time_ns is None else time_ns
        books.apply(msgspec.structs.replace(entry, number=books.number + 1, time_ns=at))
    return books


def paid(amount: int = 100, account: str = "acme") -> Books:
    return take(Books(STORE), Deposit(account=account, amount=amount, reference="first"))


def refused(books: Books, entry: Entry, *, time_ns: int | None = None) -> None:
    """It is refused, and nothing changes."""
    before = told(books)
    with pytest.raises((InvalidValue, BalanceEmpty)):
        take(books, entry, time_ns=time_ns)
    assert told(books) == before


def told(books: Books) -> tuple[object, ...]:
    """All that books say."""
    kept = (dict(books.accounts), dict(books.lanes), dict(books.terms), dict(books.references))
    return (*kept, books.number, books.time_ns, books.deposited)


def priced(number: int, terms: Terms = ENCLAVE) -> Priced:
    named = msgspec.structs.replace(terms, number=number)
    return Priced(account="acme", tariff="t", version=1, terms=named)


def funded(amount: int = 50) -> Books:
    books = paid()
    return take(
        books,
        Fund(account="acme", bucket="b", transfer=1, amount=amount),
        Received(account="acme", bucket="b", transfer=1, amount=amount),
    )


def test_a_fork_shows_what_is_there_and_leaves_it() -> None:
    books = take(funded(), priced(2), time_ns=5)
    before, fork = told(books), books.fork()
    assert told(fork) == before
    fork.check()
    take(
        fork,
        Deposit(account="acme", amount=1, reference="second"),
        Fund(account="acme", bucket="b", transfer=2, amount=1),
        priced(9),
        time_ns=6,
    )
    fork.check()
    assert told(books) == before
    refused(fork.fork(), Deposit(account="acme", amount=1, reference="r"), time_ns=5)


def test_entries_follow_each_other() -> None:
    books = take(paid(), Deposit(account="acme", amount=1, reference="r"), time_ns=10)
    entry = Deposit(account="acme", amount=1, reference="s", time_ns=10)
    for number in (0, 1, 2, 4):
        with pytest.raises(InvalidValue):
            books.apply(msgspec.structs.replace(entry, number=number))
    refused(books, entry, time_ns=9)
    take(books, entry, time_ns=10)
    assert books.account("acme").entries == 3


def test_no_place_is_overdrawn() -> None:
    books = funded(50)
    for entry in (
        Transfer(source="acme", target="other", amount=51, reference="r"),
        Fund(account="acme", bucket="b", transfer=2, amount=51),
        Returned(account="acme", bucket="b", transfer=1, amount=51),
    ):
        refused(books, entry)
    take(books, Transfer(source="acme", target="other", amount=50, reference="r"))
    take(books, Returned(account="acme", bucket="b", transfer=1, amount=50))
    account = books.account("acme")
    assert (account.balance, account.transit, account.float_) == (50, 0, 0)
    books.check()


@pytest.mark.parametrize("name", ["", "a b", "a\n", "a" * 129, "a/b"])
def test_names_of_accounts(name: str) -> None:
    refused(paid(), Deposit(account=name, amount=1, reference="r"))
    refused(paid(), Rule(account="acme", threshold=1, amount=1, per_day=1, parent=name))


def test_a_number_of_terms_is_of_one_price() -> None:
    books = take(paid(), priced(2))
    take(books, priced(2))
    refused(books, priced(2, DISK))


def test_rules_have_numbers_from_0() -> None:
    rule = Rule(account="acme", threshold=0, amount=0, per_day=0, parent="reserve")
    take(paid(), rule)
    for change in ({"threshold": -1}, {"amount": -1}, {"per_day": -1}):
        refused(paid(), msgspec.structs.replace(rule, **change))


def test_nobody_draws_from_whoever_draws_from_them() -> None:
    books = paid()
    for account, parent in (("b", "a"), ("c", "b"), ("d", "c")):
        take(books, Rule(account=account, threshold=1, amount=1, per_day=1, parent=parent))
    for parent in ("a", "b", "c", "d"):
        refused(books, Rule(account="a", threshold=1, amount=1, per_day=1, parent=parent))
    take(books, Rule(account="a", threshold=1, amount=1, per_day=1, parent="reserve"))


def test_books_that_do_not_balance_are_noticed() -> None:
    books = take(paid(), Fund(account="acme", bucket="b", transfer=1, amount=10))
    books.check()
    books.lanes["acme", "b"] = Lane(sent=1)
    with pytest.raises(Corrupt):
        books.check()
    books = paid()
    books.deposited += 1
    with pytest.raises(Corrupt):
        books.check()


def drawing(held: int, *, threshold: int, amount: int, reserve: int = 100) -> Books:
    books = take(paid(reserve, "reserve"), Deposit(account="acme", amount=held, reference="h"))
    return take(
        books, Rule(account="acme", threshold=threshold, amount=amount, per_day=2, parent="reserve")
    )


def test_a_rule_draws_below_its_threshold_what_its_parent_has() -> None:
    for held, threshold, amount, draws, low in (
        (9, 10, 100, True, True),
        (10, 10, 100, False, False),
        (9, 10, 101, False, True),
        (9, 10, 0, False, True),
    ):
        books = drawing(held, threshold=threshold, amount=amount)
        assert list(books.due(0)) == ([("reserve", "acme", amount)] if draws else [])
        assert books.low() == (["acme"] if low else [])


def test_what_buckets_hold_counts_before_a_rule_draws() -> None:
    books = drawing(12, threshold=10, amount=5)
    take(books, Fund(account="acme", bucket="b", transfer=1, amount=11))
    assert list(books.due(0)) == []
    assert books.low() == []


def test_a_rule_draws_so_often_a_day_and_no_more() -> None:
    books = drawing(1, threshold=50, amount=5)
    drawn = TopUp(source="reserve", target="acme", amount=5)
    take(books, drawn, drawn, time_ns=DAY_NS)
    assert list(books.due(DAY_NS)) == []
    assert list(books.due(2 * DAY_NS - 1)) == []
    refused(books, drawn, time_ns=2 * DAY_NS - 1)
    assert list(books.due(2 * DAY_NS)) == [("reserve", "acme", 5)]
    assert list(books.due(0)) == []  # a clock that went back
    take(books, drawn, time_ns=2 * DAY_NS)
    assert books.account("acme").drawn == 1
    take(books, Deposit(account="other", amount=5, reference="o"))
    refused(books, TopUp(source="other", target="acme", amount=5))
    refused(books, TopUp(source="acme", target="reserve", amount=1))


def test_what_is_moved_is_something_for_a_reason() -> None:
    for entry in (
        Deposit(account="acme", amount=0, reference="r"),
        Deposit(account="acme", amount=1, reference=""),
        Deposit(account="acme", amount=1, reference="r" * (REFERENCE_CHARS + 1)),
        Transfer(source="acme", target="acme", amount=1, reference="r"),
        Transfer(source="acme", target="b", amount=0, reference="r"),
        Transfer(source="acme", target="b", amount=1, reference=""),
        Fund(account="acme", bucket="b", transfer=1, amount=0),
    ):
        refused(paid(), entry)
    take(paid(), Deposit(account="acme", amount=1, reference="r" * REFERENCE_CHARS))


def charged(start: int, stop: int, *lines: Line, amount: int | None = None) -> Charged:
    found = lines or lines_of(a_put(size=0))
    told_amount = total(found) if amount is None else amount
    return Charged(
        account="acme", bucket="b", start=start, stop=stop, amount=told_amount, lines=found
    )


def rich() -> Books:
    books = take(paid(10**30), priced(ENCLAVE.number))
    return take(
        books,
        Fund(account="acme", bucket="b", transfer=1, amount=10**29),
        Received(account="acme", bucket="b", transfer=1, amount=10**29),
    )


def test_charges_follow_from_what_they_name() -> None:
    (line,) = lines_of(a_put(size=0))
    for bad in (
        msgspec.structs.replace(line, times=0),
        msgspec.structs.replace(line, times=-1),
        Line(1, msgspec.structs.replace(line.charge, terms=77)),
        Line(1, msgspec.structs.replace(line.charge, amount=line.charge.amount + 1)),
    ):
        refused(rich(), charged(0, 1, bad))
    refused(rich(), charged(0, 1, line, amount=line.charge.amount + 1))
    take(rich(), charged(0, 1, line))


def test_terms_that_divide_by_nothing_charge_nothing() -> None:
    broken = msgspec.structs.replace(ENCLAVE, storage_unit=0)
    books = take(rich(), priced(8, broken))
    refused(books, charged(0, 1, Line(1, Charge(8, "C", 100, 60, 5))))
    refused(books, charged(0, 1, Line(1, Charge(8, "C", amount=5, back=Back(8, 1, 1, early=True)))))


def test_what_a_bucket_charged_is_taken_once() -> None:
    books = take(rich(), charged(0, 7))
    for start, stop in ((0, 7), (6, 9), (7, 7), (9, 8)):
        refused(books, charged(start, stop))
    take(books, charged(7, 8), charged(10, 12))
    assert books.lane("acme", "b").absorbed == 12


def test_numbers_of_transfers_follow_each_other() -> None:
    books = funded()
    for number in (0, 1, 3):
        refused(books, Fund(account="acme", bucket="b", transfer=number, amount=1))
    take(books, Fund(account="acme", bucket="b", transfer=2, amount=1))
    take(books, Returned(account="acme", bucket="b", transfer=4, amount=1))
    for number in (3, 4):
        refused(books, Returned(account="acme", bucket="b", transfer=number, amount=1))
    take(books, Returned(account="acme", bucket="b", transfer=5, amount=1))


def test_what_is_under_way_is_received_or_void_and_nothing_else() -> None:
    books = paid()
    for number, amount in ((1, 10), (2, 20), (3, 30)):
        take(books, Fund(account="acme", bucket="b", transfer=number, amount=amount))
    lane = books.lane("acme", "b")
    assert (lane.settled(2), lane.lost(2)) == (30, 30)
    for amount in (10, 20, 31, 60):
        refused(books, Received(account="acme", bucket="b", transfer=2, amount=amount))
    refused(books, Void(account="acme", bucket="b", transfer=2, amount=31))
    take(books, Received(account="acme", bucket="b", transfer=2, amount=30))
    take(books, Void(account="acme", bucket="b", transfer=2, amount=30))
    account = books.account("acme")
    assert (account.balance, account.transit, account.float_) == (70, 0, 30)
    assert books.lane("acme", "b").pending == ()
    books.check()
