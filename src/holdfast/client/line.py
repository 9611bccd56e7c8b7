"""The policy of a client, without I/O: deadlines, credentials, and when to ask once more.

Asked again, after a pause that grows and is drawn by chance, is only what can do no harm:

    nothing was sent, or the server said that it had not begun     any request
    sent, and no answer came                                       reads, and numbered writes

Any other write whose answer is lost is told as ``OutcomeUnknown``; numbers.py sees to it that
plain writes have numbers, and asks those again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from holdfast.bucket.bills import OPEN, OPENED
from holdfast.client.asks import Answer, Ask, BrokenError, LostError, Pause, UnsentError, Work
from holdfast.client.numbers import Numbers
from holdfast.clock import Clock, Entropy
from holdfast.errors import (
    Busy,
    Closed,
    Correctable,
    DeadlineExceeded,
    HoldfastError,
    InvalidValue,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
)
from holdfast.limits import SECOND_NS
from holdfast.store import forked
from holdfast.wire.headers import COST, SESSION, TIMEOUT, numbered_text, seconds_text
from holdfast.wire.problems import MEDIA_TYPE, error_of

if TYPE_CHECKING:
    from holdfast.client.enclave import Enclave, Marks
    from holdfast.client.trust import Trust

TRIES: Final = 8
PAUSE_S, PAUSE_MOST_S = 0.05, 2.0
BAD, SERVER_ERROR, NOT_BEGUN = 400, 500, 503
NOT_BEGUN_ERRORS: Final = (Unavailable, RateLimited, Busy)


class Line:
    """What all calls of one client share.

    Args:
        token: the credential, or None.
        timeout_s: seconds that a call may take, tries and pauses included.
        clock: tells how much of them is left.
        entropy: draws the pauses.
        enclave: who asks where there is no token.
    """

    def __init__(
        self,
        token: str | None,
        timeout_s: float | None,
        clock: Clock,
        entropy: Entropy,
        *,
        enclave: Enclave | None = None,
    ) -> None:
        self.timeout_s = timeout_s
        self.clock = clock
        self.entropy = entropy
        self.closed = False
        forked.watch(self)
        self.numbers = Numbers(clock)
        self.trust: Trust | None = None  # where reads must prove themselves
        self._marks = None if enclave is None else _marks(enclave, entropy)
        self._common = {} if token is None else {"authorization": f"Bearer {token}"}

    def exchange(self, ask: Ask, *, patient: bool = False, tries: int = TRIES) -> Work[Answer]:
        """Ask until there is an answer, for as long as that is safe and in time.

        Args:
            ask: what to ask.
            patient: let the server take any time (a check of the whole store).
            tries: how often, at the most.

        Raises:
            HoldfastError: what the server answered.
            Unavailable: it could not be reached; nothing was done.
            DeadlineExceeded: a read took too long.
            OutcomeUnknown: a write was sent and not answered.
        """
        if ask.begun_ns is None:
            ask = msgspec.structs.replace(ask, begun_ns=self.clock.monotonic_ns())
        failure: HoldfastError = DeadlineExceeded(timeout_s=self.timeout_s)
        for attempt in range(tries):
            left_s = None if patient else self.left_s(ask)
            if left_s is not None and left_s <= 0:
                break
            outcome = yield from self._try(ask, left_s)
            if isinstance(outcome, Answer):
                return outcome
            failure = outcome
            pause_s = self.pause_s(attempt, failure)
            if attempt == tries - 1 or (left_s is not None and pause_s >= left_s):
                break
            yield Pause(pause_s)
        raise failure

    def disown(self) -> None:
        """Be closed, in a child of the process that connected: what goes this way is its own."""
        self.closed = True

    def require_open(self) -> None:
        """Closed once the store that it leads to was closed here."""
        if self.closed:
            raise Closed(what="store")

    def _try(self, ask: Ask, left_s: float | None) -> Work[Answer | HoldfastError]:
        """Ask once: the answer, or an error after which asking once more does no harm."""
        self.require_open()
        try:
            dressed = self._dressed(ask, left_s)
            if self._marks is None:
                answer = yield dressed
            else:
                answer = yield from self._marks.send(dressed)
        except LostError as error:
            failure = self._failure(error, ask)
            if isinstance(failure, Unavailable):
                return failure
            raise failure from None
        if answer.status < BAD:
            note_cost(answer)
            return answer
        failure = refusal_of(answer, ask)
        if _was_not_begun(answer, failure):
            return failure
        raise failure

    def left_s(self, ask: Ask) -> float | None:
        """Seconds that are left of the call that an ask is part of; None where it has no end."""
        if self.timeout_s is None or ask.begun_ns is None:
            return self.timeout_s
        return self.timeout_s + ask.waits_s - (self.clock.monotonic_ns() - ask.begun_ns) / SECOND_NS

    def _dressed(self, ask: Ask, left_s: float | None) -> Ask:
        """The ask with what every request carries."""
        headers = self._common | ask.headers
        if left_s is not None:
            headers[TIMEOUT] = seconds_text(round(left_s * 1000) * 1_000_000)
        if ask.number is not None:
            headers[SESSION] = numbered_text(ask.number)
        return msgspec.structs.replace(ask, headers=headers, timeout_s=left_s)

    def dressed(self, ask: Ask) -> Ask:
        """An ask as it is sent where no answer is waited for yet: a stream.

        Raises:
            InvalidValue: an enclave asks, which marks only what is whole.
        """
        if self._marks is not None:
            raise InvalidValue(argument="mode", reason="an enclave sends no streams")
        return msgspec.structs.replace(
            ask, headers=self._common | ask.headers, timeout_s=self.timeout_s
        )

    def _failure(self, error: LostError, ask: Ask) -> HoldfastError:
        if isinstance(error, BrokenError) and not ask.repeatable:
            return OutcomeUnknown(cause=error.cause)
        if error.late and not isinstance(error, UnsentError):
            return DeadlineExceeded(timeout_s=self.timeout_s, cause=error.cause)
        return Unavailable(cause=error.cause)

    def pause_s(self, attempt: int, failure: HoldfastError) -> float:
        """Twice as long each time, of which chance takes up to a half; never before it was said."""
        most = min(PAUSE_S * (1 << min(attempt, TRIES)), PAUSE_MOST_S)
        drawn = most * (1 - self.entropy.bytes(1)[0] / 512)
        said = failure.facts.get("retry_after_s")
        return max(drawn, said) if isinstance(said, int | float) else drawn


def note_cost(answer: Answer) -> None:
    """Put what an answer says that it cost on the bill that is open here."""
    bill = OPEN.get() if OPENED else None
    if bill is None:
        return
    with suppress(ValueError):
        bill.add_read(int(answer.headers.get(COST, "0")))


def _marks(enclave: Enclave, entropy: Entropy) -> Marks:
    from holdfast.client.enclave import Marks  # noqa: PLC0415 - certificates take 50 ms to load

    return Marks(enclave, entropy)


def refusal_of(answer: Answer, ask: Ask) -> HoldfastError:
    """The error that an answer tells; one that no Holdfast gave tells little."""
    if answer.headers.get("content-type", "").startswith(MEDIA_TYPE):
        try:
            problem = msgspec.json.decode(answer.body, type=dict[str, object])
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            pass
        else:
            return error_of(problem)
    if answer.status < SERVER_ERROR:
        return Correctable(status=answer.status)
    if ask.repeatable:
        return Unavailable(status=answer.status)
    return OutcomeUnknown(status=answer.status)


def _was_not_begun(answer: Answer, failure: HoldfastError) -> bool:
    """Whether the server says that it did nothing and that later may be better."""
    return isinstance(failure, NOT_BEGUN_ERRORS) or (
        isinstance(failure, Closed) and answer.status == NOT_BEGUN
    )
