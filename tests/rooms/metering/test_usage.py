"""Hourly counters."""

from __future__ import annotations

from holdfast.metering import Usage, quote
from holdfast.metering import usage as counting
from holdfast.metering.usage import HOUR_NS, HOURS_KEPT


def test_hours_are_counted_apart_and_forgotten_after_two_days() -> None:
    now = [10 * HOUR_NS]
    usage = Usage(lambda: now[0])
    usage.count("a", in_bytes=1, out_bytes=2, cost_atto=3)
    now[0] += HOUR_NS
    usage.tick()
    usage.count("a", in_bytes=10, out_bytes=20, cost_atto=30)
    usage.count("a", in_bytes=10, out_bytes=20, cost_atto=30)
    first, second = usage.hour("a", 10), usage.hour("a", 11)
    assert (first.requests, first.in_bytes, first.out_bytes, first.cost_atto) == (1, 1, 2, 3)
    assert (second.requests, second.in_bytes, second.out_bytes, second.cost_atto) == (2, 20, 40, 60)
    now[0] += HOURS_KEPT * HOUR_NS
    usage.tick()
    assert usage.hour("a", 11).requests == 0


def test_no_crowd_of_names_costs_more_than_its_bound() -> None:
    usage = Usage(lambda: 0)
    for number in range(counting.SPACES_KEPT + 5):
        usage.count(str(number), in_bytes=0, out_bytes=0, cost_atto=0)
    assert usage.hour(str(counting.SPACES_KEPT - 1), 0).requests == 1
    assert usage.hour(str(counting.SPACES_KEPT), 0).requests == 0
    assert usage.hour(counting.OTHERS, 0).requests == 5


def test_free_is_free() -> None:
    assert quote(None, "store", size_bytes=1 << 40).atto == 0
