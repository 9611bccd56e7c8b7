"""Metering: what an operation costs, and how much of everything was asked for.

Comes in: tariffs as TOML (from the store); from a door, each operation with its namespace and
size; the hour. Goes out: terms to charge by, quotes, a price in 10^-18 USD for an answer to
show; requests per namespace and hour.
Keeps: counters of the last two days, in memory; with the package, the tariffs that ship.
Must never know: who asks, what is in a value, how an operation is carried out.
Invariants: prices are integers or fractions of two; a quote depends on its arguments alone;
what is kept is bounded whatever is asked for.
"""

from __future__ import annotations

from holdfast.metering.quote import quote
from holdfast.metering.rates import Rates
from holdfast.metering.tariffs import Tariff, compiled, shipped
from holdfast.metering.usage import Hour, Usage

__all__ = ["Hour", "Rates", "Tariff", "Usage", "compiled", "quote", "shipped"]
