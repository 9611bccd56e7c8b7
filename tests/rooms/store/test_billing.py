"""Tariffs and accounts of a store: kept with the rest, restored with the rest, of one mind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import BalanceEmpty, Closed, InvalidValue, NotFound
from holdfast.ledger import statement
from holdfast.ledger.entries import Deposit
from holdfast.metering.tariffs import OWN_FROM, SHIPPED
from holdfast.store import Store
from holdfast.testing.clock import ManualClock

DOLLAR = 10**18
AGES = 1 << 62


@pytest.fixture
def store() -> Iterator[Store]:
    with holdfast.open(":memory:", clock=ManualClock(), upkeep=False) as opened:
        yield opened


def test_what_ships_is_there(store: Store) -> None:
    assert [tariff.name for tariff in store.tariffs.all()] == list(SHIPPED)
    assert store.tariffs.get("enclave").terms.c == 1_763_750_000


def test_versions_stand_side_by_side(store: Store) -> None:
    first = store.tariffs.set("mine", "operation = 1")
    second = store.tariffs.set("mine", "operation = 2")
    again = store.tariffs.set("mine", "operation = 2")
    other = store.tariffs.set("enclave", "operation = 3")
    assert (first.version, second.version, again.version, other.version) == (1, 2, 2, 2)
    assert [one.terms.number for one in (first, second, other)] == [100, 101, 102]
    assert store.tariffs.get("mine") == second
    assert store.tariffs.get("mine", 1) == first
    assert store.tariffs.get("enclave", 1).terms.number == 2
    assert set(store.tariffs.terms()) == {1, 2, 3, 4, 5, 100, 101, 102}
    with pytest.raises(InvalidValue):
        store.tariffs.get("mine", 3)


def test_a_tariff_that_is_wrong_is_not_set(store: Store) -> None:
    with pytest.raises(InvalidValue) as refused:
        store.tariffs.set("mine", "operation = -1")
    assert refused.value.field == "operation"
    assert len(store.tariffs.all()) == len(SHIPPED)


def test_money_and_tariffs_survive_a_close_a_backup_and_a_restore(tmp_path: Path) -> None:
    with holdfast.open(tmp_path / "one") as store:
        store.tariffs.set("mine", "operation = 1")
        store.accounts.deposit("reserve", 5 * DOLLAR, "bank 1")
    with holdfast.open(tmp_path / "one") as store:
        store.accounts.transfer("reserve", "acme", DOLLAR, "welcome")
        assert store.tariffs.get("mine").terms.number == OWN_FROM
        assert store.namespaces() == []
        store.backup(tmp_path / "kept")
        store.accounts.deposit("reserve", DOLLAR, "after the backup")
    holdfast.restore(tmp_path / "kept", tmp_path / "two")
    with holdfast.open(tmp_path / "two") as store:
        assert store.accounts.balance("acme") == DOLLAR
        assert store.accounts.balance("reserve") == 4 * DOLLAR
        assert store.accounts.names() == ["acme", "reserve"]


def test_entries_of_an_account_are_its_own(store: Store) -> None:
    store.accounts.deposit("acme", 5, "one")
    store.accounts.deposit("globex", 7, "two")
    found = store.accounts.entries("acme")
    assert [(one.account, one.reference) for one in found if isinstance(one, Deposit)] == [
        ("acme", "one")
    ]
    assert store.accounts.get("globex").balance == 7
    with pytest.raises(NotFound):
        store.accounts.get("initech")
    assert store.accounts.balance("initech") == 0


WRONG: list[tuple[str, tuple[object, ...]]] = [
    ("deposit", ("acme", 1.5, "r")),
    ("deposit", ("acme", True, "r")),
    ("deposit", ("acme", -1, "r")),
    ("deposit", ("acme", 0, "r")),
    ("deposit", ("a/b", 1, "r")),
    ("deposit", (7, 1, "r")),
    ("deposit", ("", 1, "r")),
    *((call, ("a b",)) for call in ("get", "balance", "entries")),
    ("statement", ("", 0, 5)),
    ("transfer", ("acme", "é", 1, "r")),
    ("deposit", ("acme", 1, None)),
    ("transfer", ("acme", "acme", 1, "r")),
    ("rule", ("acme", 1, 1, -1)),
    ("rule", ("reserve", 1, 1, 1)),
    ("statement", ("acme", 5, 4)),
    ("statement", ("acme", -1, 4)),
    ("statement", ("acme", 0, 1.5)),
]


@pytest.mark.parametrize(("call", "given"), WRONG)
def test_what_is_wrong_is_refused_and_changes_nothing(
    store: Store, call: str, given: tuple[object, ...]
) -> None:
    with pytest.raises(InvalidValue):
        getattr(store.accounts, call)(*given)
    assert store.accounts.names() == []


def test_nobody_spends_what_is_not_there(store: Store) -> None:
    store.accounts.deposit("acme", 5, "one")
    with pytest.raises(BalanceEmpty) as refused:
        store.accounts.transfer("acme", "globex", 6, "too much")
    assert (refused.value.account, refused.value.place) == ("acme", "balance")


def test_statements_of_periods_that_meet_have_every_entry_once(store: Store) -> None:
    store.accounts.deposit("acme", 5, "one")
    first = statement.verify(store.statement("acme", 0, AGES), public_key=store.public_key())
    store.accounts.deposit("acme", 6, "two")
    document = store.statement("acme", first.stop_ns, AGES)
    second = statement.verify(document, public_key=store.public_key())
    assert (len(first.entries), len(second.entries)) == (1, 1)
    assert first.closing == second.opening
    assert (first.closing.balance, second.closing.balance) == (5, 11)


def test_a_closed_store_has_no_books() -> None:
    store = holdfast.open(":memory:")
    store.close()
    with pytest.raises(Closed):
        _ = store.tariffs
    with pytest.raises(Closed):
        _ = store.accounts


@pytest.mark.parametrize("atto", [-1, 1.5, "5", True, None, 10**60, 10**4_299])
def test_no_amount_is_taken_that_the_books_could_not_hold(store: Store, atto: object) -> None:
    for ask in (
        lambda: store.accounts.deposit("acme", atto, "r"),  # type: ignore[arg-type]
        lambda: store.accounts.transfer("acme", "beta", atto, "r"),  # type: ignore[arg-type]
        lambda: store.accounts.rule("acme", 1, atto, 1),  # type: ignore[arg-type]
        lambda: store.accounts.rule("acme", atto, 1, 1),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidValue):
            ask()
    assert store.accounts.names() == []


@pytest.mark.parametrize("reference", ["", "x" * 201, None, 5, b"r", "\ud800"])
def test_a_reference_is_text_that_can_be_written(store: Store, reference: object) -> None:
    with pytest.raises(InvalidValue):
        store.accounts.deposit("acme", 1, reference)  # type: ignore[arg-type]
    assert store.accounts.names() == []


def test_the_largest_amounts_add_up(store: Store) -> None:
    most = 10**60 - 1
    for number in range(50):
        store.accounts.deposit("acme", most, f"{number}")
    store.accounts.rule("acme", most, most, most)
    assert store.accounts.balance("acme") == 50 * most
    document = store.statement("acme", 0, AGES)
    assert statement.verify(document, public_key=store.public_key()).closing.balance == 50 * most
