"""The machine of money notices each mistake that is made on purpose."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis.stateful import run_state_machine_as_test

from holdfast import charges
from holdfast.bucket import metered, settling
from holdfast.bucket.purse import Purse, Purses
from holdfast.charges import Terms
from holdfast.log.purses import Kept
from holdfast.testing.machine import search_settings
from tests.machines.test_money_machine import MoneyMachine

Mutate = Callable[[pytest.MonkeyPatch], None]


def _a_split_copies_the_float(patch: pytest.MonkeyPatch) -> None:
    give = Purse.give

    def generous(purse: Purse, share: Kept, version: int, time_ns: int) -> None:
        held = purse.float_atto
        give(purse, share, version, time_ns)
        purse.float_atto = held

    patch.setattr(Purse, "give", generous)


def _a_merge_forgets_the_float(patch: pytest.MonkeyPatch) -> None:
    join = Purse.join

    def forgetful(purse: Purse, other: Purse, version: int, time_ns: int) -> None:
        other.float_atto = 0
        join(purse, other, version, time_ns)

    patch.setattr(Purse, "join", forgetful)


def _a_merge_forgets_what_was_charged(patch: pytest.MonkeyPatch) -> None:
    join = Purse.join

    def forgetful(purse: Purse, other: Purse, version: int, time_ns: int) -> None:
        others = purse.others
        join(purse, other, version, time_ns)
        purse.others = others

    patch.setattr(Purse, "join", forgetful)


def _charges_are_not_replayed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Purses, "replay", lambda *_: None)


def _a_transfer_counts_each_time_it_comes(patch: pytest.MonkeyPatch) -> None:
    def received(purse: Purse, _number: int, amount: int) -> None:
        purse.float_atto += amount

    patch.setattr(settling, "_receive", received)
    patch.setattr(Purses, "put", _twice(Purses.put))


def _twice(put: Callable[[Purses, Kept], Purse]) -> Callable[[Purses, Kept], Purse]:
    """A transfer that the books believe lost comes again."""

    def forgetting(purses: Purses, kept: Kept) -> Purse:
        purse = put(purses, kept)
        purse.line = type(purse.line)(purse.bucket, 0, purse.line.given, purse.line.gift)
        return purse

    return forgetting


def _begun_seconds_are_free(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(metered, "begun_seconds", charges.whole_seconds)


def _deleting_gives_all_back(patch: pytest.MonkeyPatch) -> None:
    def unused(terms: Terms, size_bytes: int, seconds: int, *, early: bool) -> int:
        del early
        return size_bytes * seconds * terms.storage_atto // terms.storage_unit

    patch.setattr(charges, "unused", unused)


def _a_split_copies_the_allotment(patch: pytest.MonkeyPatch) -> None:
    give = Purse.give

    def generous(purse: Purse, share: Kept, version: int, time_ns: int) -> None:
        held = purse.allotted_bytes, purse.allotted_objects
        give(purse, share, version, time_ns)
        purse.allotted_bytes, purse.allotted_objects = held

    patch.setattr(Purse, "give", generous)


def _a_merge_forgets_rent(patch: pytest.MonkeyPatch) -> None:
    join = Purse.join

    def forgetful(purse: Purse, other: Purse, version: int, time_ns: int) -> None:
        other.accrue(time_ns)
        other.rent_due = 0
        join(purse, other, version, time_ns)

    patch.setattr(Purse, "join", forgetful)


def _bounds_are_not_held(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Purse, "over", lambda *_: None)


def _batches_cost_one_operation(patch: pytest.MonkeyPatch) -> None:
    added = charges.Tally.add

    def once(tally: charges.Tally, made: charges.Charge, times: int = 1) -> None:
        added(tally, made, min(times, 1))

    patch.setattr(charges.Tally, "add", once)


QUICK: tuple[Mutate, ...] = (
    _a_split_copies_the_float,
    _charges_are_not_replayed,
    _begun_seconds_are_free,
)
SLOW: tuple[Mutate, ...] = (
    _a_merge_forgets_the_float,
    _a_merge_forgets_what_was_charged,
    _a_transfer_counts_each_time_it_comes,
    _deleting_gives_all_back,
    _a_split_copies_the_allotment,
    _a_merge_forgets_rent,
    _bounds_are_not_held,
    _batches_cost_one_operation,
)


def is_caught(mutate: Mutate, monkeypatch: pytest.MonkeyPatch) -> bool:
    mutate(monkeypatch)
    try:
        run_state_machine_as_test(MoneyMachine, settings=search_settings(examples=100, steps=40))
    except Exception:  # noqa: BLE001 - whatever it is, it was noticed
        return True
    return False


@pytest.mark.push
@pytest.mark.parametrize("mutate", QUICK)
def test_a_mistake_is_noticed(mutate: Mutate, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_caught(mutate, monkeypatch)


@pytest.mark.nightly
@pytest.mark.parametrize("mutate", SLOW)
def test_every_mistake_is_noticed(mutate: Mutate, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_caught(mutate, monkeypatch)
