"""When a write has a number, when it is asked again, and what its failure is called."""

from __future__ import annotations

from collections import deque

import msgspec
import pytest

from holdfast.client.asks import Answer, Ask, BrokenError
from holdfast.client.line import Line
from holdfast.client.numbers import RENEWED_NS, Numbers, is_about_session, write
from holdfast.errors import (
    Busy,
    Exists,
    Forbidden,
    HoldfastError,
    InvalidValue,
    LimitExceeded,
    LockHeld,
    OutcomeUnknown,
    SessionUnknown,
    StorageFailed,
    Unavailable,
)
from holdfast.limits import SESSION_NUMBERS
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.wire.headers import Numbered
from tests.rooms.client.test_line import BROKEN, OK, UNSENT, Driver, Outcome, refusal

WRITE = Ask("PUT", "/v1/x", body=b"1")
SESSIONS = [bytes([number]) * 16 for number in range(1, 9)]


class Writer(Driver):
    """As ``Driver``; sessions are given out, what else is asked has the outcomes."""

    def __init__(self, *outcomes: Outcome, timeout_s: float | None = 30) -> None:
        super().__init__(*outcomes, timeout_s=timeout_s)
        self.sessions: deque[Outcome] = deque(told(session) for session in SESSIONS)

    def outcome(self, ask: Ask) -> Outcome:
        if ask.target == "/v1/sessions":
            return self.sessions.popleft()
        return super().outcome(ask)

    def write(self, count: int = 1) -> Answer:
        return self.run(write(self.line, WRITE, count=count))

    def numbers(self) -> list[Numbered | None]:
        """The numbers of the writes that were sent."""
        return [ask.number for ask in self.asks if ask.target != "/v1/sessions"]


def told(session: bytes) -> Answer:
    return Answer(200, {}, msgspec.json.encode({"session": session.hex()}))


def test_writes_are_numbered_in_a_session_that_is_begun_once() -> None:
    driver = Writer(OK)
    for _ in range(3):
        assert driver.write() is OK
    assert driver.numbers() == [Numbered(SESSIONS[0], number, number) for number in (1, 2, 3)]
    assert driver.asks[1].headers["holdfast-session"] == f"{SESSIONS[0].hex()};1;1"


@pytest.mark.parametrize(
    "lost",
    [
        BROKEN,
        BrokenError("slow", late=True),
        Answer(502, {}, b""),
        refusal(OutcomeUnknown()),
    ],
)
def test_one_whose_answer_is_lost_is_asked_again_under_its_number(lost: Outcome) -> None:
    driver = Writer(lost, UNSENT, refusal(Busy()), lost, OK)
    answer = driver.write()
    assert (answer.body, answer.doubted) == (OK.body, True)
    assert driver.numbers() == [Numbered(SESSIONS[0], 1, 1)] * 5


def test_what_is_never_known_is_said_to_be_at_the_deadline() -> None:
    driver = Writer(BROKEN, UNSENT)
    with pytest.raises(OutcomeUnknown):
        driver.write()
    assert 25 < sum(driver.paused_s) <= 30
    driver = Writer(UNSENT)
    with pytest.raises(Unavailable):
        driver.write()


@pytest.mark.parametrize("error", [Exists(key="a"), LockHeld(key="a")])
def test_what_was_decided_under_the_number_is_the_outcome(error: HoldfastError) -> None:
    with pytest.raises(type(error)):
        Writer(BROKEN, refusal(error)).write()


@pytest.mark.parametrize("error", [Forbidden(), SessionUnknown(), StorageFailed(), InvalidValue()])
def test_what_says_nothing_of_the_first_time_leaves_it_unknown(error: HoldfastError) -> None:
    driver = Writer(BROKEN, refusal(error))
    with pytest.raises(OutcomeUnknown) as caught:
        driver.write()
    assert caught.value.cause == error.code
    with pytest.raises(type(error)):
        Writer(refusal(error), *[refusal(error)] * 3).write()


def test_a_session_that_is_over_is_followed_by_another() -> None:
    driver = Writer(OK, refusal(SessionUnknown()), OK)
    driver.write()
    assert driver.write() is OK
    assert driver.numbers()[1:] == [Numbered(SESSIONS[0], 2, 2), Numbered(SESSIONS[1], 1, 1)]
    driver.clock.advance(RENEWED_NS + 1)
    driver.write()
    driver.write()
    assert driver.numbers()[-1] == Numbered(SESSIONS[2], 1, 1)


def test_a_server_without_room_for_numbers_is_written_to_without_for_a_minute() -> None:
    full = refusal(LimitExceeded(limit="SESSIONS", most=1000))
    driver = Writer(full, OK)
    assert driver.write() is OK
    driver.write()
    assert driver.numbers()[1:] == [None, None]
    driver.clock.sleep(61)
    driver.write()
    assert driver.numbers()[-1] == Numbered(SESSIONS[1], 1, 1)


@pytest.mark.parametrize("refused", [refusal(Forbidden()), Answer(404, {}, b""), OK])
def test_who_is_given_no_session_writes_without(refused: Answer) -> None:
    driver = Writer(BROKEN)
    driver.sessions = deque([refused])
    with pytest.raises(OutcomeUnknown):
        driver.write()
    assert driver.numbers() == [None]


def test_a_server_that_is_away_was_not_written_to() -> None:
    driver = Writer(OK)
    driver.sessions = deque([UNSENT] * 9)
    with pytest.raises(Unavailable):
        driver.write()
    assert driver.numbers() == []


def test_too_many_at_once_have_no_numbers() -> None:
    driver = Writer(OK)
    driver.write(SESSION_NUMBERS + 1)
    assert driver.numbers() == [None]


def test_who_waits_for_a_session_waits_no_longer_than_its_call() -> None:
    driver = Writer(OK)
    assert driver.line.numbers.begins()
    with pytest.raises(HoldfastError, match="deadline"):
        driver.write()
    assert driver.asks == []


def test_a_slow_write_holds_up_no_others() -> None:
    numbers = Numbers(ManualClock())
    numbers.add(SESSIONS[0])
    slow = numbers.find(1)
    assert slow == Numbered(SESSIONS[0], 1, 1)
    for _ in range(SESSION_NUMBERS - 1):
        taken = numbers.find(1)
        assert taken is not None
        assert taken.number - taken.floor < SESSION_NUMBERS
        numbers.settle(taken)
    assert numbers.find(1) is None
    numbers.add(SESSIONS[1])
    beside = numbers.find(10)
    assert beside == Numbered(SESSIONS[1], 1, 1)
    numbers.settle(slow)
    assert numbers.find(2) == Numbered(SESSIONS[0], 1_001, 1_001)
    assert numbers.find(1) == Numbered(SESSIONS[0], 1_003, 1_001)


def test_what_numbers_are_refused_for() -> None:
    assert is_about_session(SessionUnknown())
    assert is_about_session(LimitExceeded(limit="SESSION_NUMBERS"))
    assert not is_about_session(LimitExceeded(limit="BATCH_BYTES"))
    assert not is_about_session(b"")


def test_a_call_that_is_given_up_settles_its_number() -> None:
    line = Line(None, 30, ManualClock(), SeededEntropy(1))
    line.numbers.add(SESSIONS[0])
    work = write(line, WRITE)
    ask = next(work)
    assert isinstance(ask, Ask)
    work.close()
    assert line.numbers.find(1) == Numbered(SESSIONS[0], 2, 2)


def test_the_cause_is_told_where_asking_again_is_too_late() -> None:
    with pytest.raises(OutcomeUnknown) as caught:
        Writer(BROKEN, timeout_s=0.01).write()
    assert caught.value.cause == "reset"
