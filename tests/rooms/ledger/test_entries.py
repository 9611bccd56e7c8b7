"""Entries that do not follow from those before them are not taken (rule 14)."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.errors import InvalidValue
from holdfast.ledger.entries import Deposit, Received, Void
from tests.rooms.ledger.keeping import a_ledger


@pytest.mark.parametrize("amount", [0, 1, 29])
def test_what_arrives_or_comes_back_is_what_was_under_way(amount: int) -> None:
    ledger, _, _ = a_ledger()
    ledger.deposit("acme", 100, "r")
    ledger.fund("acme", "b", 30)
    before = ledger.account("acme")
    for wrong in (
        Received(account="acme", bucket="b", transfer=1, amount=amount),
        Void(account="acme", bucket="b", transfer=0, amount=amount),
    ):
        with pytest.raises(InvalidValue):
            ledger.commit(lambda _, entry=wrong: [entry])  # type: ignore[misc]
    assert ledger.account("acme") == before
    ledger.commit(lambda _: [Received(account="acme", bucket="b", transfer=1, amount=30)])
    assert (ledger.account("acme").transit, ledger.account("acme").float_) == (0, 30)


@pytest.mark.parametrize(("later", "passed_ns"), [(0, 1), (2, 1), (1, -1)])
def test_numbers_follow_each_other_and_time_does_not_go_back(later: int, passed_ns: int) -> None:
    ledger, _, clock = a_ledger()
    ledger.deposit("acme", 100, "r")
    books = ledger.books()
    before = books.account("acme")
    entry = Deposit(account="acme", amount=5, reference="s")
    entry = msgspec.structs.replace(entry, number=books.number + later, time_ns=clock() + passed_ns)
    with pytest.raises(InvalidValue):
        books.apply(entry)
    assert books.account("acme") == before
