"""Bounds on requests: one number over all processes, in any order of looks."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.limits import SECOND_NS
from holdfast.server.bounds import SLOTS, TABLE_BYTES, TRIES, Bounds

STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, SECOND_NS // 4)), min_size=1, max_size=200
)


def shared(count: int) -> list[Bounds]:
    tables = memoryview(bytearray(count * TABLE_BYTES))
    return [Bounds(tables, index) for index in range(count)]


@given(steps=STEPS, rate=st.integers(0, 9))
def test_processes_let_in_together_what_one_would(steps: list[tuple[int, int]], rate: int) -> None:
    alone, several = Bounds(), shared(3)
    now_ns = 10 * SECOND_NS
    for process, passed_ns in steps:
        now_ns += passed_ns
        assert several[process].spend("acme", rate, now_ns) == alone.spend("acme", rate, now_ns)


@given(passed=st.lists(st.integers(0, SECOND_NS), min_size=1, max_size=60), rate=st.integers(1, 9))
def test_no_second_has_many_more_than_the_bound(passed: list[int], rate: int) -> None:
    bounds, now_ns = Bounds(), 10 * SECOND_NS
    let_in: list[int] = []
    for passed_ns in passed:
        now_ns += passed_ns
        if bounds.spend("acme", rate, now_ns):
            let_in.append(now_ns)
    for at in let_in:
        assert sum(at <= one < at + SECOND_NS for one in let_in) <= 2 * rate
        assert sum(at // SECOND_NS == one // SECOND_NS for one in let_in) <= rate


def test_who_asks_evenly_at_the_bound_is_never_refused() -> None:
    one, other = shared(2)
    for number in range(200):
        bounds = one if number % 3 else other
        assert bounds.spend("acme", 7, 10 * SECOND_NS + number * SECOND_NS // 7)


def test_what_is_under_way_elsewhere_is_seen_until_it_is_not() -> None:
    one, other, third = shared(3)
    one.tell("acme", 2, 0)
    other.tell("acme", 3, 0)
    seen = [bounds.under_way_elsewhere("acme") for bounds in (one, other, third)]
    assert seen == [3, 2, 5]
    other.spend("acme", 100, 90 * SECOND_NS)  # what is under way stays, however long it takes
    one.tell("acme", 0, 90 * SECOND_NS)
    assert third.under_way_elsewhere("acme") == 3
    assert third.under_way_elsewhere("other") == 0


def test_a_process_that_takes_the_place_of_another_begins_with_nothing() -> None:
    tables = memoryview(bytearray(2 * TABLE_BYTES))
    one, other = Bounds(tables, 0), Bounds(tables, 1)
    one.tell("acme", 2, 0)
    other.tell("acme", 1, 0)
    Bounds(tables, 0)
    assert other.under_way_elsewhere("acme") == 0
    assert Bounds(tables, 0).under_way_elsewhere("acme") == 1


def test_slots_of_who_has_gone_are_taken_again_and_a_full_table_lets_nobody_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = shared(2)
    for bounds in (one, other):
        monkeypatch.setattr(bounds, "_ids", {f"n{at}": 1 + at * SLOTS for at in range(TRIES + 2)})
    names = [f"n{at}" for at in range(TRIES)]
    assert all(one.spend(name, 5, SECOND_NS) for name in names)
    one.tell("n0", 1, SECOND_NS)
    assert not one.spend(f"n{TRIES}", 5, SECOND_NS)
    late_ns = 9 * SECOND_NS
    assert all(one.spend(name, 5, late_ns) for name in (f"n{TRIES}", f"n{TRIES + 1}"))
    assert other.under_way_elsewhere("n0") == 1  # it was not idle
    taken = list(chain(names[3:], [f"n{TRIES}"]))
    assert not other.spend(taken[-1], 1, late_ns)
    assert other.spend(taken[0], 1, late_ns)
