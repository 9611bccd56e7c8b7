from __future__ import annotations

from holdfast.metering import Rates
from holdfast.metering.rates import MINUTE_NS, SPACES_KEPT, PerHour


class Clock:
    def __init__(self) -> None:
        self.now_ns = 1_700_000_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns


def test_an_hour_slides() -> None:
    clock = Clock()
    rates = Rates(clock)
    for _ in range(120):
        rates.count("acme", writes=False)
        clock.now_ns += MINUTE_NS // 2
    rates.count("acme", writes=True)
    assert rates.per_hour("acme") == PerHour(118, 1)
    clock.now_ns += 30 * MINUTE_NS
    assert rates.per_hour("acme") == PerHour(58, 1)
    clock.now_ns += 30 * MINUTE_NS
    assert rates.per_hour("acme") == PerHour(0, 0)


def test_namespaces_do_not_share() -> None:
    rates = Rates(Clock())
    rates.count("ns1", writes=True)
    rates.count("ns10", writes=True)
    assert rates.per_hour("ns1") == PerHour(0, 1)
    assert rates.per_hour("ns") == PerHour(0, 0)


def test_what_is_kept_is_bounded() -> None:
    clock = Clock()
    rates = Rates(clock)
    for number in range(SPACES_KEPT + 10):
        rates.count(str(number), writes=True)
    assert rates.per_hour(str(SPACES_KEPT)) == PerHour(0, 0)
    clock.now_ns += MINUTE_NS
    rates.count(str(SPACES_KEPT), writes=True)
    assert rates.per_hour(str(SPACES_KEPT)) == PerHour(0, 1)
