"""Bucket time: never back, never still, drawn to wall time by a twentieth of rate (rule 7)."""

from __future__ import annotations

import logging

import pytest

from holdfast.clock import BucketTime
from holdfast.limits import CLOCK_DRAW_PERCENT
from holdfast.testing.clock import SECOND_NS, ManualClock


def apart_ns(time: BucketTime, clock: ManualClock) -> int:
    return clock.wall_ns() - time.now_ns()


@pytest.mark.parametrize("offset_s", [4, -4, 3_600, -3_600])
def test_wall_time_is_followed_by_a_twentieth_of_what_passes(offset_s: int) -> None:
    assert CLOCK_DRAW_PERCENT == 5
    clock = ManualClock()
    time = BucketTime(clock)
    clock.step_wall(offset_s * SECOND_NS)
    time.draw()
    assert apart_ns(time, clock) == offset_s * SECOND_NS  # nothing at once
    before = time.now_ns()
    for _ in range(100):
        clock.advance(SECOND_NS // 10)
        time.draw()
        assert 0 < time.now_ns() - before <= SECOND_NS // 10 * 105 // 100
        before = time.now_ns()
    left = abs(offset_s) * SECOND_NS - 10 * SECOND_NS * 5 // 100
    assert abs(apart_ns(time, clock)) == left
    clock.advance(100 * SECOND_NS * abs(offset_s))
    time.draw()
    assert apart_ns(time, clock) == 0


def test_time_that_is_ahead_does_not_stand_still() -> None:
    """It stood for 10 s where it was drawn by 5 % of 200 s at once."""
    clock = ManualClock()
    time = BucketTime(clock)
    time.raise_to(clock.wall_ns() + 60 * SECOND_NS)
    clock.advance(200 * SECOND_NS)
    time.now_ns()
    time.draw()
    for _ in range(20):
        before = time.now_ns()
        clock.advance(SECOND_NS)
        assert SECOND_NS * 95 // 100 <= time.now_ns() - before <= SECOND_NS
    before = apart_ns(time, clock)
    time.draw()
    assert apart_ns(time, clock) == before


def test_a_step_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    time = BucketTime(clock)
    time.raise_to(clock.wall_ns() + 10 * SECOND_NS)  # a time mark is no step
    caplog.set_level(logging.WARNING, "holdfast.clock")
    for offset_s, steps in ((0, 0), (4, 0), (-4, 0), (3_600, 1), (0, 1), (-7_200, 2), (0, 2)):
        clock.step_wall(offset_s * SECOND_NS)
        for _ in range(3):
            clock.advance(SECOND_NS)
            time.draw()
        assert (time.steps, len(caplog.records)) == (steps, steps)
