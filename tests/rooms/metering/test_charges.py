"""Prices to the last unit, and the mistakes that others made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import charges
from holdfast.charges import Back, Charge, Terms
from holdfast.errors import Corrupt

ENCLAVE = Terms(
    1,
    17_637_500_000,
    3_527_500_000,
    1_763_750_000,
    8_796,
    1,
    90_000_000,
    1,
    early_num=1,
    early_den=5,
)
DISK = Terms(2, storage_atto=8_796, storage_unit=1_000)
DAY = 86_400

VECTORS = [
    (1, 1, 8_796),
    (100, 60, 52_776_000),
    (1_000_000, DAY, 759_974_400_000_000),
    (1 << 30, 3_600, 34_000_679_102_054_400),
    (1 << 30, 30 * DAY, 24_480_488_953_479_168_000),
]

sizes = st.integers(0, 5 << 40)
times = st.integers(0, 1 << 33)
prices = st.integers(0, 1 << 62)
units = st.integers(1, 1 << 40)


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    early_den = draw(st.integers(1, 1_000))
    early_num = draw(st.integers(0, early_den))
    a, b, c, storage, egress = (draw(prices) for _ in range(5))
    return Terms(3, a, b, c, storage, draw(units), egress, draw(units), early_num, early_den)


@pytest.mark.parametrize(("size", "seconds", "amount"), VECTORS)
def test_the_vectors_of_the_enclave_tariff(size: int, seconds: int, amount: int) -> None:
    assert charges.storage(ENCLAVE, size, seconds) == amount


def test_operations_are_ten_two_one() -> None:
    a, b, c = (charges.operation(ENCLAVE, kind) for kind in ("A", "B", "C"))
    assert (a, b, c) == (17_637_500_000, 3_527_500_000, 1_763_750_000)
    assert (a, b) == (10 * c, 2 * c)
    assert charges.operation(ENCLAVE, "") == 0


@pytest.mark.parametrize(("ns", "paid", "given"), [
    (0, 0, 0), (1, 1, 0), (999_999_999, 1, 0), (10**9, 1, 1), (10**9 + 1, 2, 1), (-1, 0, 0),
])  # fmt: skip
def test_begun_seconds_are_paid_and_whole_ones_given_back(ns: int, paid: int, given: int) -> None:
    assert charges.begun_seconds(ns) == paid
    assert charges.whole_seconds(ns) == given


def test_a_time_to_live_below_a_second_is_not_free() -> None:
    seconds = charges.begun_seconds(1)
    assert charges.charge(ENCLAVE, "C", size_bytes=1, seconds=seconds).amount == (
        1_763_750_000 + 8_796
    )


def test_more_than_64_bits_do_not_wrap_to_a_credit() -> None:
    made = charges.charge(ENCLAVE, "C", size_bytes=5 << 40, seconds=100 * 365 * DAY)
    assert made.amount == 1_763_750_000 + (5 << 40) * 100 * 365 * DAY * 8_796
    assert made.amount > 1 << 64
    assert charges.decode(charges.encode(made)) == made


def test_a_fraction_of_a_unit_is_rounded_up_when_charged_and_down_when_given_back() -> None:
    assert charges.storage(DISK, 1, 1) == 9
    assert charges.unused(DISK, 1, 1, early=False) == 8
    assert charges.storage(DISK, 1_000, 1) == 8_796


def test_who_deletes_early_gets_four_fifths_of_the_rest() -> None:
    assert charges.unused(ENCLAVE, 100, 60, early=True) == 52_776_000 * 4 // 5
    assert charges.unused(ENCLAVE, 100, 60, early=False) == 52_776_000


def test_growth_with_the_expiry_kept_is_paid() -> None:
    rest = charges.begun_seconds(59_500_000_000)
    back = Back(1, 100, charges.whole_seconds(59_500_000_000))
    grown = charges.charge(ENCLAVE, "C", size_bytes=1_000, seconds=rest, back=back)
    assert grown.amount == 1_763_750_000 + 8_796 * (1_000 * 60 - 100 * 59)


@given(terms(), sizes, times)
def test_giving_back_at_once_never_gives_more_than_was_paid(
    price: Terms, size: int, seconds: int
) -> None:
    paid = charges.storage(price, size, seconds)
    whole = charges.unused(price, size, seconds, early=False)
    assert 0 <= charges.unused(price, size, seconds, early=True) <= whole <= paid <= whole + 1


@given(terms(), sizes, times, st.integers(0, 1 << 33))
def test_parts_of_a_stay_never_cost_less_than_the_whole(
    price: Terms, size: int, seconds: int, more: int
) -> None:
    parts = charges.storage(price, size, seconds) + charges.storage(price, size, more)
    assert parts >= charges.storage(price, size, seconds + more)


KINDS: list[charges.Kind] = ["A", "B", "C", ""]


@st.composite
def made(draw: st.DrawFn) -> tuple[Charge, Terms]:
    price = draw(terms())
    back = Back(1, draw(sizes), draw(times), draw(st.booleans())) if draw(st.booleans()) else None
    return charges.charge(
        price,
        draw(st.sampled_from(KINDS)),
        size_bytes=draw(sizes),
        seconds=draw(times),
        egress_bytes=draw(sizes),
        back=back,
        back_terms=ENCLAVE,
    ), price


@given(made())
def test_a_charge_is_read_as_it_was_written_and_computed_again(drawn: tuple[Charge, Terms]) -> None:
    one, price = drawn
    assert charges.decode(charges.encode(one)) == one
    assert charges.recompute(one, {1: ENCLAVE, 3: price}) == one.amount


@given(st.integers(-(1 << 200), 1 << 200))
def test_any_number_is_held(number: int) -> None:
    assert charges.narrow(charges.wide(number)) == number


def test_what_costs_nothing_is_small() -> None:
    assert len(charges.encode(Charge(1, "C", 40, 0, 1_763_750_000))) <= 16


@pytest.mark.parametrize("data", [b"", b"\x90", b"\xc0", b"\x95\x01\xa1D\x00\x00\x00", b"\xff" * 9])
def test_what_is_no_charge_is_refused(data: bytes) -> None:
    with pytest.raises(Corrupt):
        charges.decode(data)


@given(st.lists(st.tuples(made(), st.integers(1, 9)), max_size=6))
def test_a_tally_comes_to_what_the_charges_come_to(
    drawn: list[tuple[tuple[Charge, Terms], int]],
) -> None:
    for at, ((_, price), _) in enumerate(drawn):
        terms = {1: ENCLAVE, 3: price}
        tally = charges.Tally(terms)
        alike = [(one, times) for (one, other), times in drawn[at:] if other == price]
        for one, times in alike:
            tally.add(one, times)
        lines = tally.lines()
        whole = sum(one.amount * times for one, times in alike)
        assert tally.amount == charges.total(lines) == whole
        assert all(charges.recompute(line.charge, terms) == line.charge.amount for line in lines)


def test_a_million_sizes_are_a_few_lines() -> None:
    tally = charges.Tally({1: ENCLAVE})
    for size in range(1_000):
        back = Back(1, size, 3)
        tally.add(charges.charge(ENCLAVE, "C", size_bytes=size, seconds=60, back=back))
    assert len(tally.lines()) == 3
