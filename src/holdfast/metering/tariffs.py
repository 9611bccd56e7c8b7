"""Tariffs: what is asked for operations, storage and egress, as TOML and as terms.

    operation = 1_763_750_000    # of class C; B costs twice, A ten times as much
    storage = "8796/1000"        # per byte-second of key and value
    egress = 90_000_000          # per byte that is sent; what comes in is free
    early_delete = "1/5"         # of the unused rest, kept when an object is deleted early

Prices are 10^-18 USD: an integer, or "n/d" with two integers. What is left out is 0. A field
that is not known could change a price, so it is refused. A tariff that is set again under its
name is its next version; what was paid under the one before is given back at its prices.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

import msgspec

from holdfast.charges import Kind, Terms
from holdfast.errors import InvalidValue

A_TIMES: Final = 10
B_TIMES: Final = 2
PRICE_MOST: Final = 10**18  # a dollar for a byte
TARIFF_BYTES: Final = 16_384
OWN_FROM: Final = 100  # below are the numbers of those that ship
SHIPPED: Final = ("free", "enclave", "disk", "ic", "hardened")  # numbers 1, 2, ...; never reused
NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
FRACTION: Final = re.compile(r"([0-9]{1,19})/([0-9]{1,19})")
FIELDS: Final = ("operation", "storage", "egress", "early_delete")

# What each operation is, by its name in the table of rights.
CLASSES: Final[dict[str, Kind]] = {
    **dict.fromkeys(("list", "search"), "A"),
    **dict.fromkeys(("lock", "renew", "unlock"), "B"),
    **dict.fromkeys(
        (
            *("load", "exists", "stat", "locate", "store", "append", "release", "delete"),
            *("consumers.list", "consumers.set", "consumers.append", "consumers.remove"),
        ),
        "C",
    ),
}
SENDS: Final = frozenset(("load", "stat", "list", "search"))


class Tariff(msgspec.Struct, frozen=True):
    """One version of a tariff: what was set, and what it comes to.

    ``terms.number`` names it in the store; ``version`` counts those of its name from 1.
    """

    name: str
    version: int
    toml: str
    terms: Terms


class _Price(NamedTuple):
    """A price as a fraction."""

    atto: int
    unit: int


def compiled(name: object, toml: object, *, number: int, version: int = 1) -> Tariff:
    """A tariff from its TOML.

    Args:
        name: 1 to 64 of ``[A-Za-z0-9._-]``.
        toml: as this file's head shows.
        number: unique in the store.
        version: among those of this name.

    Raises:
        InvalidValue: ``argument`` is "name" or "toml", ``field`` what is wrong with it.

    Example:
        >>> compiled("mine", 'storage = "8796/1000"', number=100).terms.storage_unit
        1000
    """
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise InvalidValue(argument="name", reason="1 to 64 of [A-Za-z0-9._-]")
    text, read = _read(toml)
    prices = {field: _price(field, read.get(field, 0)) for field in FIELDS}
    operation, early = prices["operation"], prices["early_delete"]
    if early.atto > early.unit:
        raise _wrong("early_delete", "at most the whole")
    a, b, c = (-(-times * operation.atto // operation.unit) for times in (A_TIMES, B_TIMES, 1))
    terms = Terms(number, a, b, c, *prices["storage"], *prices["egress"], *early)
    return Tariff(name, version, text, terms)


def _wrong(field: str, reason: str) -> InvalidValue:
    return InvalidValue(argument="toml", field=field, reason=reason)


def _read(toml: object) -> tuple[str, dict[str, object]]:
    if not isinstance(toml, str) or len(toml) > TARIFF_BYTES:
        reason = f"text of at most {TARIFF_BYTES} characters"
        raise InvalidValue(argument="toml", reason=reason)
    try:
        read = tomllib.loads(toml)
    except (tomllib.TOMLDecodeError, RecursionError):
        raise InvalidValue(argument="toml", reason="not TOML") from None
    for field in read:
        if field not in FIELDS:
            raise _wrong(field, "not a field of a tariff")
    return toml, read


def _price(field: str, given: object) -> _Price:
    """A price from what stands in the TOML: an integer or a fraction of two."""
    if type(given) is int:
        price = _Price(given, 1)
    else:
        found = FRACTION.fullmatch(given) if isinstance(given, str) else None
        if found is None:
            raise _wrong(field, 'an integer of 10^-18 USD, or "n/d" with two integers')
        price = _Price(int(found[1]), int(found[2]))
    if not 0 <= price.atto <= PRICE_MOST or not 0 < price.unit <= PRICE_MOST:
        raise _wrong(field, f"0 to {PRICE_MOST}, over 1 to {PRICE_MOST}")
    return price


@cache
def shipped() -> dict[str, Tariff]:
    """The tariffs that come with the package, by name."""
    folder = files("holdfast.metering") / "shipped"
    return {
        name: compiled(name, (folder / f"{name}.toml").read_text("utf-8"), number=number)
        for number, name in enumerate(SHIPPED, 1)
    }
