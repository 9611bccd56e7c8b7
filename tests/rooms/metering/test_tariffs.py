"""Tariffs as TOML: what ships, what is refused, what an operation will cost."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.access import rights
from holdfast.charges import Back, Terms
from holdfast.errors import InvalidValue
from holdfast.metering import compiled, quote, shipped
from holdfast.metering.tariffs import CLASSES, OWN_FROM, SHIPPED
from holdfast.values import dollars

ENCLAVE = shipped()["enclave"]
SECOND = 1_000_000_000

SHIPPED_TERMS = {
    "free": Terms(1),
    "enclave": Terms(
        2, 17_637_500_000, 3_527_500_000, 1_763_750_000, 8_796, 1, 90_000_000, 1, 1, 5
    ),
    "disk": Terms(
        3, 17_637_500_000, 3_527_500_000, 1_763_750_000, 8_796, 1_000, 90_000_000, 1, 1, 5
    ),
    "ic": Terms(4, 17_637_500_000, 3_527_500_000, 1_763_750_000, 177, 1, 90_000_000, 1, 1, 5),
    "hardened": Terms(
        5, 26_456_250_000, 5_291_250_000, 2_645_625_000, 8_796, 1, 90_000_000, 1, 1, 5
    ),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_has_the_prices_it_says(name: str) -> None:
    assert shipped()[name].terms == SHIPPED_TERMS[name]
    assert shipped()[name].terms.number < OWN_FROM


def test_the_ic_tariff_is_about_six_dollars_a_gib_and_year() -> None:
    year = quote(shipped()["ic"], "store", size_bytes=1 << 30, ttl_ns=365 * 86_400 * SECOND)
    assert dollars(year.storage_atto) == "$5.99"


REFUSED = [
    ("operation = -1", "operation"),
    ("operation = 1.5", "operation"),
    ("operation = true", "operation"),
    ('operation = "1/0"', "operation"),
    ('storage = "1"', "storage"),
    ('storage = "-1/2"', "storage"),
    ("storage = 1000000000000000001", "storage"),
    ("egress = [1]", "egress"),
    ('early_delete = "6/5"', "early_delete"),
    ("early_delete = 2", "early_delete"),
    ("egres = 1", "egres"),
    ("[storage]\natto = 1", "storage"),
]


@pytest.mark.parametrize(("toml", "field"), REFUSED)
def test_a_tariff_that_is_wrong_is_refused_by_the_field(toml: str, field: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        compiled("mine", toml, number=100)
    assert (refused.value.argument, refused.value.field) == ("toml", field)


@pytest.mark.parametrize("toml", ["= 1", "a = 1\na = 2", "\x00", "x" * 20_000, "[" * 5_000])
def test_what_is_no_toml_is_refused(toml: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        compiled("mine", toml, number=100)
    assert refused.value.argument == "toml"


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a/b"])
def test_a_name_that_is_wrong_is_refused(name: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        compiled(name, "", number=100)
    assert refused.value.argument == "name"


@given(st.text(max_size=60))
def test_any_text_is_a_tariff_or_refused(toml: str) -> None:
    with suppress(InvalidValue):
        assert compiled("mine", toml, number=100).toml == toml


def test_fractions_of_an_operation_are_rounded_up_once() -> None:
    terms = compiled("mine", 'operation = "1/3"', number=100).terms
    assert (terms.a, terms.b, terms.c) == (4, 1, 1)


def test_a_quote_says_what_everything_costs() -> None:
    cost = quote(ENCLAVE, "store", size_bytes=100, ttl_ns=60 * SECOND, back=Back(2, 100, 30))
    assert (cost.operation_atto, cost.storage_atto) == (1_763_750_000, 52_776_000)
    assert (cost.egress_atto, cost.back_atto) == (0, 26_388_000)
    assert cost.atto == 1_763_750_000 + 26_388_000
    assert (cost.kind, cost.tariff, cost.version) == ("C", "enclave", 1)


def test_what_is_sent_is_paid_and_what_comes_in_is_not() -> None:
    assert quote(ENCLAVE, "load", size_bytes=10).egress_atto == 900_000_000
    assert quote(ENCLAVE, "list", size_bytes=10).atto == 17_637_500_000 + 900_000_000
    assert quote(ENCLAVE, "append", size_bytes=10).egress_atto == 0


def test_a_time_to_live_below_a_second_costs_a_second() -> None:
    assert quote(ENCLAVE, "store", size_bytes=1, ttl_ns=1).storage_atto == 8_796


def test_a_namespace_without_a_tariff_is_free() -> None:
    cost = quote(None, "store", size_bytes=1 << 40, ttl_ns=1 << 62)
    assert (cost.atto, cost.tariff, cost.version, str(cost)) == (0, "", 0, "$0")


@pytest.mark.parametrize("given", [("drop", 0, None), ("store", -1, None), ("store", 1, -1)])
def test_a_quote_of_nonsense_is_refused(given: tuple[str, int, int | None]) -> None:
    with pytest.raises(InvalidValue):
        quote(ENCLAVE, given[0], size_bytes=given[1], ttl_ns=given[2])


def test_every_operation_on_a_key_has_a_class() -> None:
    assert set(CLASSES) >= rights.READS | rights.WRITES | rights.DELETES


@pytest.mark.parametrize(("atto", "told"), [
    (0, "$0"), (34_000_679_102_054, "$0.000034"), (24_480_488_953_479_168_000, "$24.48"),
    (1, "$0.000000000000000001"), (-1_763_750_000, "-$0.0000000018"), (10**18, "$1.00"),
    (995 * 10**15, "$1.00"), (12 * 10**20, "$1200.00"),
])  # fmt: skip
def test_dollars_for_people(atto: int, told: str) -> None:
    assert dollars(atto) == told
