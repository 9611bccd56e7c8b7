"""Metering: what an operation costs, and how much of everything was asked for.

Comes in: from a door, each operation with its namespace and size; the hour.
Goes out: a price in 10^-18 USD for an answer to show; requests per namespace and hour.
Keeps: counters of the last two days, in memory.
Must never know: who asks, what is in a value, how an operation is carried out.
Invariants: prices are integers; a quote depends on its arguments alone; what is kept is
bounded whatever is asked for.
"""

from __future__ import annotations

from holdfast.metering.tariff import FREE, Free, Tariff
from holdfast.metering.usage import Hour, Usage

__all__ = ["FREE", "Free", "Hour", "Tariff", "Usage"]
