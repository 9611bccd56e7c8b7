from __future__ import annotations

import math

import pytest

from holdfast.errors import InvalidExpiry
from holdfast.limits import SECOND_NS, TTL_NS
from holdfast.request.arguments import duration_ns


@pytest.mark.parametrize(
    ("ttl", "ns"),
    [
        (30, 30 * SECOND_NS),
        (0.5, SECOND_NS // 2),
        (1e-12, 1),
        ("30d", 30 * 86_400 * SECOND_NS),
        ("1.5ms", 1_500_000),
        (TTL_NS // SECOND_NS, TTL_NS // SECOND_NS * SECOND_NS),
    ],
)
def test_a_time_to_live_is_so_many_nanoseconds(ttl: object, ns: int) -> None:
    assert duration_ns(ttl) == ns


@pytest.mark.parametrize(
    "ttl",
    [
        *(0, -1, 0.0, "0s", "", "1", "-1s", True, None, math.nan, math.inf, -math.inf),
        *(1.7976931348623157e308, 10**400, "9" * 400 + "w", TTL_NS // SECOND_NS + 1),
    ],
)
def test_what_is_no_time_to_live_is_refused(ttl: object) -> None:
    with pytest.raises(InvalidExpiry):
        duration_ns(ttl)


@pytest.mark.parametrize("ttl", [TTL_NS // SECOND_NS + 1, "999999d", "9999w", math.inf])
def test_what_is_too_long_names_the_bound(ttl: object) -> None:
    with pytest.raises(InvalidExpiry) as refused:
        duration_ns(ttl)
    assert refused.value.facts == {"ttl": ttl, "limit": "TTL_NS", "most": TTL_NS}


@pytest.mark.parametrize("ttl", [0, -1, math.nan, "soon"])
def test_what_is_not_too_long_names_none(ttl: object) -> None:
    with pytest.raises(InvalidExpiry) as refused:
        duration_ns(ttl)
    assert set(refused.value.facts) == {"ttl"}
