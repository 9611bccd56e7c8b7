"""Numbers for plain writes, so that one whose answer was lost may be sent again (rule 9).

A client begins a session with its first write and numbers its writes in it. A bucket keeps
1,000 numbers of a session above its floor, which is the lowest one under way; so where a
session is full of writes that wait behind a slow one, another session is begun beside it, and
taken up again later. Nothing here does I/O.

    take a number -> ask -> answered                              settle it
                         -> lost, or nobody knows: ask again      until the deadline
                         -> the session is not known              another one, once more
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Final

import msgspec

from holdfast.client.asks import Answer, Ask, Pause, Work
from holdfast.clock import Clock
from holdfast.errors import (
    Busy,
    Closed,
    DeadlineExceeded,
    Exists,
    FenceTooOld,
    HoldfastError,
    LimitExceeded,
    LockHeld,
    LockLost,
    NotFound,
    OutcomeUnknown,
    Permanent,
    RateLimited,
    SessionUnknown,
    Unavailable,
    VersionMismatch,
    Waitable,
)
from holdfast.limits import SESSION_IDLE_NS, SESSION_NUMBERS
from holdfast.wire.headers import Numbered
from holdfast.wire.values import decode

if TYPE_CHECKING:
    from holdfast.client.line import Line

RENEWED_NS: Final = SESSION_IDLE_NS // 7  # after this a session is followed by another
REST_NS: Final = 60_000_000_000  # without numbers, where the server gives none
BEGIN_PAUSE_S: Final = 0.005
NOT_BEGUN: Final = (Unavailable, DeadlineExceeded, Busy, RateLimited, Closed)
# What is said with the number in sight: the write was decided so, now or before.
DECIDED: Final = (
    *(NotFound, Exists, VersionMismatch, FenceTooOld, LockLost, Permanent),
    LockHeld,
)
ROOM: Final = frozenset(("SESSION_NUMBERS", "SESSIONS", "SPACE_NUMBERS"))
Go = Callable[[Ask], Work[Answer]]


class _Session(msgspec.Struct):
    """A session: when it began, its next number, and the numbers under way, lowest first."""

    id: bytes
    begun_ns: int
    next: int = 1
    open: dict[int, int] = msgspec.field(default_factory=dict)

    def take(self, count: int) -> Numbered | None:
        """So many numbers that follow one another; None where too many are under way."""
        floor = next(iter(self.open), self.next)
        if self.next + count - floor > SESSION_NUMBERS:
            return None
        first = self.next
        self.next += count
        self.open[first] = count
        return Numbered(self.id, first, floor)


class Numbers:
    """The sessions of one client; safe for threads.

    Args:
        clock: tells how old they are.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._sessions: dict[bytes, _Session] = {}
        self._beginning = False
        self._rest_ns: int | None = None

    def find(self, count: int) -> Numbered | None:
        """Numbers of the first session that has so many."""
        with self._lock:
            for session in self._sessions.values():
                found = session.take(count)
                if found is not None:
                    return found
            return None

    def settle(self, numbered: Numbered) -> None:
        """Nobody will ask for these again; a session that is old and done goes."""
        with self._lock:
            session = self._sessions.get(numbered.session)
            if session is None:
                return
            session.open.pop(numbered.number, None)
            if self._clock.wall_ns() - session.begun_ns > RENEWED_NS:
                del self._sessions[numbered.session]

    def add(self, session: bytes) -> None:
        """A session that was begun."""
        with self._lock:
            self._sessions[session] = _Session(session, self._clock.wall_ns())

    def lose(self, refusal: object) -> None:
        """The server refused a number: sessions are over, or there is no room for them."""
        with self._lock:
            self._sessions.clear()
        if isinstance(refusal, LimitExceeded):
            self.rest()

    def begins(self) -> bool:
        """Whether to begin a session now; then ``begun`` must follow. One caller at a time."""
        with self._lock:
            begins, self._beginning = not self._beginning, True
            return begins

    def begun(self) -> None:
        """The attempt is over."""
        with self._lock:
            self._beginning = False

    def rest(self) -> None:
        """The server has no numbers for us: go without for a minute."""
        self._rest_ns = self._clock.monotonic_ns() + REST_NS

    @property
    def resting(self) -> bool:
        """Whether to go without."""
        return self._rest_ns is not None and self._clock.monotonic_ns() < self._rest_ns


def write(line: Line, ask: Ask, *, go: Go | None = None, count: int = 1) -> Work[Answer]:
    """Ask for a write, again and again until it is known what came of it, or the time is over.

    Args:
        line: the client's.
        ask: the write.
        go: the way that it takes; through any server if None.
        count: how many numbers it needs: one for each operation.

    Raises:
        HoldfastError: what the server answered. Unavailable: nothing was done.
        OutcomeUnknown: the time is over, and nobody knows.
    """
    way = line.exchange if go is None else go
    ask = msgspec.structs.replace(ask, begun_ns=line.clock.monotonic_ns())
    for _ in range(2):
        numbered = yield from _take(line, ask, count)
        if numbered is None:
            break
        try:
            return (yield from _surely(line, msgspec.structs.replace(ask, number=numbered), way))
        except HoldfastError as error:
            if not is_about_session(error):
                raise
            line.numbers.lose(error)
        finally:
            line.numbers.settle(numbered)
    return (yield from way(ask))


def is_about_session(outcome: object) -> bool:
    """Whether an operation was refused because of its number alone."""
    if isinstance(outcome, LimitExceeded):
        return outcome.facts.get("limit") in ROOM
    return isinstance(outcome, SessionUnknown)


def _surely(line: Line, ask: Ask, way: Go) -> Work[Answer]:
    """Ask under one number; an answer that came after a doubt says so."""
    doubt: OutcomeUnknown | None = None
    attempt = 0
    while True:
        try:
            answer = yield from way(ask)
        except OutcomeUnknown as error:
            doubt = error
        except HoldfastError as error:
            if doubt is None or isinstance(error, DECIDED):
                raise
            if not isinstance(error, NOT_BEGUN):  # it says nothing of the first time
                raise OutcomeUnknown(cause=error.code) from error
        else:
            return answer if doubt is None else msgspec.structs.replace(answer, doubted=True)
        pause_s = line.pause_s(attempt, doubt)
        left_s = line.left_s(ask)
        if line.closed or (left_s is not None and pause_s >= left_s):
            raise doubt
        attempt += 1
        yield Pause(pause_s)


def _take(line: Line, ask: Ask, count: int) -> Work[Numbered | None]:
    """Numbers for a write; None where it has to go without."""
    numbers = line.numbers
    if count > SESSION_NUMBERS:
        return None
    while True:
        found = numbers.find(count)
        if found is not None:
            return found
        left_s = line.left_s(ask)
        if numbers.resting or line.closed or (left_s is not None and left_s <= 0):
            return None
        if numbers.begins():
            try:
                yield from _begin(line, ask)
            finally:
                numbers.begun()
        else:
            yield Pause(BEGIN_PAUSE_S)


def _begin(line: Line, ask: Ask) -> Work[None]:
    """Begin a session, within the time of the write that needs it."""
    begin = Ask("POST", "/v1/sessions", repeatable=True, begun_ns=ask.begun_ns)
    try:
        told = decode((yield from line.exchange(begin)).body, dict[str, str])
        line.numbers.add(bytes.fromhex(told["session"]))
    except Waitable:
        raise  # nor could the write be sent
    except (HoldfastError, KeyError, ValueError):
        line.numbers.rest()
