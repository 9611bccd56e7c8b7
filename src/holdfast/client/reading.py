"""Answers become values."""

from __future__ import annotations

from typing import TypeVar

from holdfast.client.asks import Answer, Ask
from holdfast.errors import InvalidValue, OutcomeUnknown, Unavailable
from holdfast.wire.values import decode

T = TypeVar("T")


def read(answer: Answer, kind: type[T], ask: Ask | None = None) -> T:
    """The value of an answer.

    Args:
        answer: what came back.
        kind: what it must be.
        ask: the write that it answers, if it is one.

    Raises:
        Unavailable: it cannot be read, so no Holdfast gave it. OutcomeUnknown: of a write.
    """
    try:
        return decode(answer.body, kind)
    except InvalidValue as error:
        if ask is not None and not ask.repeatable:
            raise OutcomeUnknown(cause="the answer cannot be read") from error
        raise Unavailable(cause="the answer cannot be read") from error
