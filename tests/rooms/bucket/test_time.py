"""Bucket time: never back, never still, drawn to wall time by a twentieth of rate (rule 7)."""

from __future__ import annotations

import logging

import pytest

from holdfast.clock import BucketTime
from holdfast.errors import InvalidValue
from holdfast.limits import CLOCK_DRAW_PERCENT, SECOND_NS, TIME_MARK_NS
from holdfast.testing.clock import ManualClock


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
        records = [record for record in caplog.records if record.name == "holdfast.clock"]
        assert (time.steps, len(records)) == (steps, steps)


class Written:
    """Where marks are written, and a disk that may refuse them."""

    def __init__(self) -> None:
        self.marks: list[int] = []
        self.refuses = False

    def write(self, time_ns: int) -> bool:
        if not self.refuses:
            self.marks.append(time_ns)
        return not self.refuses


def test_bound_time_is_told_to_nobody_before_it_is_written_down() -> None:
    clock, written = ManualClock(), Written()
    time = BucketTime(clock, 0, written.write)
    clock.advance(100 * SECOND_NS)
    time.now_ns()
    assert written.marks == []  # nothing expires
    time.bind()
    for passed_ns in (1, SECOND_NS, 9 * SECOND_NS, 11 * SECOND_NS, 3_600 * SECOND_NS):
        clock.advance(passed_ns)
        assert time.now_ns() <= written.marks[-1] <= time.now_ns() + 10 * SECOND_NS
    count = len(written.marks)
    clock.advance(TIME_MARK_NS // 2 - 1)
    time.mark_ahead()
    assert len(written.marks) == count  # half of it is left
    clock.advance(2)
    time.mark_ahead()
    assert len(written.marks) == count + 1


def test_crash_after_crash_time_gains_no_more_than_the_lives_took() -> None:
    """By 10 s each, a process that ends in a loop would end every life over night."""
    clock, written = ManualClock(), Written()
    began = clock.wall_ns()
    for _ in range(100):
        time = BucketTime(clock, max(written.marks, default=0), written.write)
        time.bind()
        clock.advance(SECOND_NS)
        time.now_ns()
    assert written.marks[-1] - began <= 2 * 100 * SECOND_NS + TIME_MARK_NS


def test_marks_end_where_nothing_expires_any_more() -> None:
    clock, written = ManualClock(), Written()
    time = BucketTime(clock, 0, written.write)
    time.bind()
    answers = iter([True, False])  # a put came between the two looks
    time.release(lambda: next(answers))
    clock.advance(20 * SECOND_NS)
    assert time.now_ns() <= written.marks[-1]
    time.release(lambda: True)
    count = len(written.marks)
    clock.advance(20 * SECOND_NS)
    time.mark_ahead()
    assert time.now_ns() > written.marks[-1]
    assert len(written.marks) == count
    time.bind()
    assert time.now_ns() <= written.marks[-1]


def test_an_end_takes_the_rest_of_a_mark_back() -> None:
    clock, written = ManualClock(), Written()
    time = BucketTime(clock, 0, written.write)
    time.bind()
    time.end()
    assert written.marks[-1] == time.now_ns() == clock.wall_ns()
    clock.advance(20 * SECOND_NS)
    time.now_ns()
    assert written.marks[-1] < time.now_ns()  # the folder may be another's by now


def test_time_goes_on_where_no_mark_can_be_written() -> None:
    clock, written = ManualClock(), Written()
    time = BucketTime(clock, 0, written.write)
    time.bind()
    written.refuses = True
    clock.advance(100 * SECOND_NS)
    assert time.now_ns() == clock.wall_ns()
    written.refuses = False
    clock.advance(2 * SECOND_NS)
    assert time.now_ns() <= written.marks[-1]


def test_the_clock_of_tests_takes_nanoseconds_and_does_not_go_back() -> None:
    clock = ManualClock(1_000)
    for wrong in (
        lambda: ManualClock("x"),  # type: ignore[arg-type] # that is the point
        lambda: clock.advance(-5),
        lambda: clock.advance(0.5),  # type: ignore[arg-type] # that is the point
        lambda: clock.step_wall(None),  # type: ignore[arg-type] # that is the point
    ):
        with pytest.raises(InvalidValue):
            wrong()
    assert clock.wall_ns() == 1_000
