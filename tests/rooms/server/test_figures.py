"""Figures of several processes are one truth: their sums only grow."""

from __future__ import annotations

import msgspec

from holdfast.server.figures import Figures, Place, total
from holdfast.server.metrics import text_of
from holdfast.server.times import BOUNDS_NS

LOADS = 'holdfast_requests_total{operation="load",status="200"}'


def counted(life: str, count: int, **gauges: int) -> Figures:
    times = {"load": [count] + [0] * len(BOUNDS_NS)}
    told = Figures(life, {"load": {200: count}}, times, {"load": 10 * count})
    return msgspec.structs.replace(told, **gauges)


def test_a_sum_is_of_all_counters_and_states() -> None:
    whole = total([counted("a", 3, connections=1, buckets=2), counted("b", 4, connections=5)])
    assert (whole.requests, whole.sums_ns) == ({"load": {200: 7}}, {"load": 70})
    assert whole.times["load"][0] == whole.answered == 7
    assert (whole.connections, whole.buckets) == (6, 2)


def test_what_a_process_counted_outlives_it() -> None:
    place = Place()
    assert place.seen(counted("a", 3, buckets=1)).answered == 3
    assert place.seen(counted("a", 5, buckets=1)).answered == 5
    gone = place.seen(None)
    assert (gone.answered, gone.up, gone.buckets) == (5, False, 0)
    assert place.seen(None).answered == 5
    assert place.seen(Figures()).answered == 5  # another one begins
    again = place.seen(counted("b", 2, buckets=1))
    assert (again.answered, again.up, again.buckets) == (7, True, 1)
    assert again.times["load"][0] == 7
    assert place.seen(counted("b", 6)).answered == 11


def test_low_accounts_that_a_process_told_of_outlive_it() -> None:
    place = Place()
    place.seen(counted("a", 3, low_events=2))
    told = place.seen(counted("b", 1, low_events=1))
    assert total([told, counted("c", 0, low_events=4)]).low_events == 7
    assert (
        "holdfast_balance_low_total 7.0\n"
        in text_of([told, counted("c", 0, low_events=4)]).decode()
    )


def test_a_process_that_only_did_not_answer_is_not_counted_twice() -> None:
    place = Place()
    place.seen(counted("a", 3))
    place.seen(None)
    assert place.seen(counted("a", 4)).answered == 4


def test_the_text_has_the_sum_and_each_ones_share() -> None:
    text = text_of([counted("a", 3, live_bytes=10), counted("b", 4, live_bytes=20)]).decode()
    assert f"{LOADS} 7.0\n" in text
    assert 'holdfast_request_seconds_bucket{le="+Inf",operation="load"} 7.0\n' in text
    assert "holdfast_live_bytes 30.0\n" in text
    assert 'holdfast_worker_requests_total{worker="1"} 4.0\n' in text
    assert 'holdfast_worker_live_bytes{worker="0"} 10.0\n' in text
    assert 'holdfast_worker_up{worker="0"} 1.0\n' in text


def test_what_upkeep_could_not_do_and_what_its_scrub_found_are_told() -> None:
    place = Place()
    place.seen(counted("a", 3, upkeep_failures=2, scrub_problems=1))
    told = place.seen(counted("b", 1, upkeep_failures=1, scrub_problems=3))
    text = text_of([told, counted("c", 0, upkeep_failures=4, scrub_problems=5)]).decode()
    assert "holdfast_upkeep_failures_total 7.0\n" in text
    assert "holdfast_scrub_problems 8.0\n" in text
