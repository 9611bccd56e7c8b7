"""What callers may hand in, said once more and independently of the store.

Each function returns the argument in the model's own form or raises the error
of the face; nothing here looks at any state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from holdfast import limits
from holdfast.errors import (
    InvalidExpiry,
    InvalidKey,
    InvalidNamespace,
    InvalidValue,
    LimitExceeded,
)

SECOND_NS: Final = 1_000_000_000
NAMESPACE: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)")
UNIT_NS: Final = {
    "ms": 1_000_000,
    "s": SECOND_NS,
    "m": 60 * SECOND_NS,
    "h": 3_600 * SECOND_NS,
    "d": 86_400 * SECOND_NS,
    "w": 604_800 * SECOND_NS,
}


def namespace_name(name: object) -> str:
    """1 to 128 of ``[A-Za-z0-9._-]``."""
    if not isinstance(name, str) or not NAMESPACE.fullmatch(name):
        raise InvalidNamespace(namespace=name)
    return name


def key_name(key: object) -> str:
    """A string of 1 to 1,024 bytes of UTF-8; any character but a lone surrogate."""
    if not isinstance(key, str):
        raise InvalidKey(key=key)
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidKey(key=key) from None
    if not 1 <= length <= limits.KEY_BYTES:
        raise InvalidKey(key=key)
    return key


def payload(data: object) -> bytes:
    """The bytes of a bytes, bytearray or memoryview."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InvalidValue(argument="data")
    return bytes(data)


def integer(value: object, argument: str) -> int:
    """An int that is not a bool."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidValue(argument=argument)
    return value


def optional_integer(value: object, argument: str) -> int | None:
    """An int that is not a bool, or None."""
    return None if value is None else integer(value, argument)


def byte_range(span: object, size: int) -> slice:
    """``(start, stop)``: never negative, never backwards, from within the value, cut at its end."""
    if not isinstance(span, tuple) or len(span) != 2:  # noqa: PLR2004 - a pair
        raise InvalidValue(argument="range")
    start, stop = integer(span[0], "range"), integer(span[1], "range")
    if start < 0 or stop < start or start > size:
        raise InvalidValue(argument="range")
    return slice(start, min(stop, size))


def duration_ns(ttl: object) -> int:
    """A time to live in ns, from seconds or from "30d"; a part of a nanosecond is never nothing."""
    if isinstance(ttl, str):
        return _within(_written_ns(ttl), ttl)
    if isinstance(ttl, bool) or not isinstance(ttl, int | float):
        raise InvalidExpiry(ttl=ttl)
    return _within(ttl * SECOND_NS, ttl)


def _written_ns(ttl: str) -> float:
    match = DURATION.fullmatch(ttl)
    if match is None:
        raise InvalidExpiry(ttl=ttl)
    return float(match[1]) * UNIT_NS[match[2]]


def _within(ttl_ns: float, ttl: object) -> int:
    if not 0 < ttl_ns <= limits.TTL_NS:
        raise InvalidExpiry(ttl=ttl)
    return max(1, round(ttl_ns))


def consumer_id(given: object) -> str | bytes:
    """One consumer, in the type it was given: 1 to 16 bytes, or as many bytes of UTF-8."""
    if not isinstance(given, str | bytes):
        raise InvalidValue(argument="consumers")
    try:
        length = len(consumer_bytes(given))
    except UnicodeEncodeError:
        raise InvalidValue(argument="consumers") from None
    if not 1 <= length <= limits.CONSUMER_BYTES:
        raise InvalidValue(argument="consumers")
    return given


def consumer_bytes(given: str | bytes) -> bytes:
    """What makes two consumers the same: their bytes."""
    return given.encode() if isinstance(given, str) else given


def consumer_ids(ids: object) -> list[str | bytes]:
    """A list of consumers; one bare string is no list of its letters."""
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise InvalidValue(argument="consumers")
    return [consumer_id(given) for given in ids]


def consumer_list(ids: object) -> list[str | bytes]:
    """A whole reference list: at most 160 consumers."""
    given = consumer_ids(ids)
    if len(given) > limits.CONSUMERS:
        raise LimitExceeded(limit="CONSUMERS")
    return given


def content_type_name(content_type: object) -> str | None:
    """None, or a string of at most 255 bytes."""
    if content_type is None:
        return None
    if not isinstance(content_type, str):
        raise InvalidValue(argument="content_type")
    try:
        length = len(content_type.encode())
    except UnicodeEncodeError:
        raise InvalidValue(argument="content_type") from None
    if length > limits.CONTENT_TYPE_BYTES:
        raise LimitExceeded(limit="CONTENT_TYPE_BYTES")
    if content_type != content_type.strip() or any(c < " " or c == "\x7f" for c in content_type):
        raise InvalidValue(argument="content_type")
    return content_type


def listing_text(text: object, argument: str) -> str:
    """A prefix or a cursor: any string."""
    if not isinstance(text, str):
        raise InvalidValue(argument=argument)
    return text


def listing_limit(limit: object) -> int | None:
    """None, or how many names at most: never negative."""
    if limit is None:
        return None
    count = integer(limit, "limit")
    if count < 0:
        raise InvalidValue(argument="limit")
    return count


def batch(pairs: Iterable[tuple[object, object]]) -> list[tuple[str, bytes]]:
    """The pairs of a batch, within its bounds on count and bytes."""
    items = listed(pairs.items() if isinstance(pairs, Mapping) else pairs, "pairs")
    if not all(isinstance(item, tuple | list) and len(item) == 2 for item in items):  # noqa: PLR2004 - pairs
        raise InvalidValue(argument="pairs")
    given = [(key_name(key), payload(data)) for key, data in items]
    if len(given) > limits.BATCH_OPERATIONS:
        raise LimitExceeded(limit="BATCH_OPERATIONS")
    if sum(len(data) for _, data in given) > limits.BATCH_BYTES:
        raise LimitExceeded(limit="BATCH_BYTES")
    return given


def listed(values: Iterable[Any], argument: str) -> list[Any]:
    """The items of anything that can be walked over, but for text."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidValue(argument=argument)
    return list(values)


def truth(value: object, argument: str) -> bool:
    """True or False."""
    if value is not True and value is not False:
        raise InvalidValue(argument=argument)
    return value


def budget(seconds: object) -> float:
    """A finite number of seconds that is not negative."""
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 0 <= cast("float", seconds) < float("inf"):
        raise InvalidValue(argument="budget_s")
    return cast("float", seconds)


def collect_mode(mode: object) -> str:
    """How to collect."""
    if mode not in {"auto", "copying", "compacting"}:
        raise InvalidValue(argument="mode")
    return str(mode)
