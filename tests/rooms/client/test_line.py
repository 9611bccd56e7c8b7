"""When a call is asked again, and what its failure is called: without a socket."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.client.asks import Answer, Ask, BrokenError, LostError, Pause, UnsentError, Work
from holdfast.client.line import TRIES, Line
from holdfast.errors import (
    Busy,
    Closed,
    DeadlineExceeded,
    HoldfastError,
    LockHeld,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.wire.problems import MEDIA_TYPE, problem_of, status_of

READ = Ask("GET", "/v1/x", repeatable=True)
WRITE = Ask("PUT", "/v1/x", body=b"1")
OK = Answer(200, {}, b"ok")
UNSENT = UnsentError("refused")
BROKEN = BrokenError("reset")
Outcome = Answer | LostError


def refusal(error: HoldfastError) -> Answer:
    body = msgspec.json.encode(problem_of(error))
    return Answer(status_of(error), {"content-type": MEDIA_TYPE}, body)


class Driver:
    """Answers each ask with the next outcome, the last one for ever; counts and waits."""

    def __init__(self, *outcomes: Outcome, timeout_s: float | None = 30) -> None:
        self.clock = ManualClock()
        self.line = Line("secret", timeout_s, self.clock, SeededEntropy(1))
        self.outcomes = list(outcomes)
        self.asks: list[Ask] = []
        self.paused_s: list[float] = []
        self.oversleeps_ns = 0

    def run(self, work: Work[Answer]) -> Answer:
        step = next(work)
        while True:
            try:
                step = self.go_on(work, step)
            except StopIteration as end:
                answer: Answer = end.value
                return answer

    def go_on(self, work: Work[Answer], step: Ask | Pause) -> Ask | Pause:
        if isinstance(step, Pause):
            self.paused_s.append(step.seconds)
            self.clock.sleep(step.seconds)
            self.clock.advance(self.oversleeps_ns)
            return work.send(OK)
        self.asks.append(step)
        outcome = self.outcome(step)
        if isinstance(outcome, Answer):
            return work.send(outcome)
        return work.throw(outcome)

    def outcome(self, ask: Ask) -> Outcome:
        del ask
        return self.outcomes[0] if len(self.outcomes) == 1 else self.outcomes.pop(0)

    def ask(self, ask: Ask) -> Answer:
        return self.run(self.line.exchange(ask))


def test_an_answer_is_an_answer() -> None:
    driver = Driver(OK)
    assert driver.ask(READ) is OK
    (sent,) = driver.asks
    assert sent.headers == {"authorization": "Bearer secret", "holdfast-timeout": "30"}
    assert sent.timeout_s == 30


@pytest.mark.parametrize("ask", [READ, WRITE], ids=["read", "write"])
@pytest.mark.parametrize(
    "outcome",
    [UNSENT, refusal(Unavailable()), refusal(Busy()), refusal(RateLimited()), refusal(Closed())],
    ids=["unsent", "unavailable", "busy", "rate", "closed"],
)
def test_what_was_not_begun_is_asked_again(ask: Ask, outcome: Outcome) -> None:
    driver = Driver(outcome, outcome, OK)
    assert driver.ask(ask) is OK
    assert len(driver.asks) == 3
    assert 0.025 <= driver.paused_s[0] <= 0.05 <= driver.paused_s[1] <= 0.1


def test_a_read_whose_answer_is_lost_is_asked_again() -> None:
    driver = Driver(BROKEN, OK)
    assert driver.ask(READ) is OK
    assert len(driver.asks) == 2


@pytest.mark.parametrize(
    "lost",
    [BROKEN, BrokenError("slow", late=True), Answer(502, {}, b""), Answer(503, {}, b"<html>")],
)
def test_a_write_whose_answer_is_lost_is_not(lost: Outcome) -> None:
    driver = Driver(lost)
    with pytest.raises(OutcomeUnknown) as caught:
        driver.ask(WRITE)
    assert caught.value.effect == "unknown"
    assert len(driver.asks) == 1


def test_what_the_server_decided_is_not_asked_again() -> None:
    for error in (NotFound(key="a"), LockHeld(key="a"), OutcomeUnknown()):
        driver = Driver(refusal(error))
        with pytest.raises(type(error)):
            driver.ask(READ)
        assert len(driver.asks) == 1


def test_tries_come_to_an_end() -> None:
    driver = Driver(UNSENT, timeout_s=None)
    with pytest.raises(Unavailable) as caught:
        driver.ask(WRITE)
    assert caught.value.effect == "none"
    assert len(driver.asks) == TRIES


def test_tries_and_pauses_share_one_deadline() -> None:
    driver = Driver(UNSENT, timeout_s=0.2)
    begun = driver.clock.monotonic_ns()
    with pytest.raises(Unavailable):
        driver.ask(READ)
    assert driver.clock.monotonic_ns() - begun <= 200_000_000
    left = [ask.timeout_s or 0 for ask in driver.asks]
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.2


def test_a_pause_that_took_too_long_leaves_the_reason_told() -> None:
    driver = Driver(UNSENT, timeout_s=0.2)
    driver.oversleeps_ns = 10**9
    with pytest.raises(Unavailable):
        driver.ask(READ)
    assert len(driver.asks) == 1


def test_a_read_that_takes_too_long_is_told_so() -> None:
    driver = Driver(BrokenError("slow", late=True))
    with pytest.raises(DeadlineExceeded):
        driver.ask(READ)
    assert len(driver.asks) == 1


def test_a_server_that_says_when_is_not_asked_before() -> None:
    driver = Driver(refusal(RateLimited(retry_after_s=7)), OK)
    driver.ask(READ)
    assert driver.paused_s == [7]
    driver = Driver(refusal(RateLimited(retry_after_s=31)))
    with pytest.raises(RateLimited):
        driver.ask(READ)
    assert driver.paused_s == []


def test_the_patient_have_no_deadline() -> None:
    driver = Driver(OK, timeout_s=1)
    driver.run(driver.line.exchange(READ, patient=True))
    assert driver.asks[0].timeout_s is None
    assert "holdfast-timeout" not in driver.asks[0].headers


def test_a_closed_line_asks_nothing() -> None:
    driver = Driver(OK)
    driver.line.closed = True
    with pytest.raises(Closed):
        driver.ask(READ)
    assert driver.asks == []


def test_an_answer_of_somebody_else_is_told_by_its_status() -> None:
    driver = Driver(Answer(404, {"content-type": "text/html"}, b"<html>"))
    with pytest.raises(HoldfastError) as caught:
        driver.ask(WRITE)
    assert caught.value.status == 404
    assert not isinstance(caught.value, NotFound)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_a_broken_problem_is_no_problem(body: bytes) -> None:
    driver = Driver(Answer(500, {"content-type": MEDIA_TYPE}, body))
    with pytest.raises(OutcomeUnknown):
        driver.ask(WRITE)
