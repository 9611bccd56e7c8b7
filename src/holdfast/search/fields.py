"""Values of JSON documents by path, and numbers and dates of text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

Json = object
NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
DATE: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?"
)


def as_number(text: str) -> float | None:
    """A number; of a date (ISO 8601, UTC unless it says otherwise) seconds since 1970.

    Example:
        >>> as_number("2.5"), as_number("1970-01-02"), as_number("two")
        (2.5, 86400.0, None)
    """
    if NUMBER.fullmatch(text):
        value = float(text)
        return value if math.isfinite(value) else None
    if DATE.fullmatch(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def at_path(value: Json, path: str) -> Iterator[Json]:
    """What a document holds at a path of names, ``author.name``; lists are walked through.

    Example:
        >>> list(at_path({"items": [{"price": 1}, {"price": 2}]}, "items.price"))
        [1, 2]
    """
    found: list[Json] = [value]
    for name in path.removeprefix("$.").split("."):
        found = [
            one[name]
            for part in found
            for one in _each(part)
            if isinstance(one, dict) and name in one
        ]
    for part in found:
        yield from _each(part)


def _each(value: Json) -> Iterator[Json]:
    if isinstance(value, list):
        for part in value:
            yield from _each(part)
    else:
        yield value


def texts(value: Json) -> Iterator[str]:
    """All text of a value, whatever it is in."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from texts(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from texts(part)
