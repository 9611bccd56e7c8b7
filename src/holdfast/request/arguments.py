"""What callers hand in, checked once at the edge: typed, specific errors, nothing changed.

Keys become composite keys here (log/records.py draws them).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast.errors import (
    InvalidExpiry,
    InvalidKey,
    InvalidNamespace,
    InvalidValue,
    LimitExceeded,
)
from holdfast.limits import (
    CONTENT_TYPE_BYTES,
    KEY_BYTES,
    SEARCH_INDEX_BYTES,
    SECOND_NS,
    TAG_BYTES,
    TAGS,
    TTL_NS,
    VALUE_RECORD_BYTES,
)
from holdfast.values import NAMESPACE_NAME, Progress

UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": SECOND_NS,
    "m": 60 * SECOND_NS,
    "h": 3600 * SECOND_NS,
    "d": 86_400 * SECOND_NS,
    "w": 7 * 86_400 * SECOND_NS,
}
HEX = re.compile(r"[0-9a-f]{40}")
CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
CLOCK = ("wall_ns", "monotonic_ns", "sleep")
ENTROPY = ("bytes",)
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
DURATION = re.compile(r"(\d{1,20}(?:\.\d{1,20})?)(ns|us|ms|s|m|h|d|w)", re.ASCII)
VISIBLE, HIDDEN, BEYOND = b"\x00", b"\x01", b"\x02"  # what follows a namespace's name
# What the store keeps for itself: a name that no caller can spell, below every one that can be,
# so that the keys of callers stay the highest there are and an ascending load still rolls.
RESERVED = b"!holdfast"
LEAST_NAME = b"-"


def namespace_bytes(name: object) -> bytes:
    """A namespace's name as bytes: 1 to 128 of ``[A-Za-z0-9._-]``."""
    if not isinstance(name, str) or not NAMESPACE_NAME.fullmatch(name):
        raise InvalidNamespace(namespace=name)
    return name.encode()


def compose(prefix: bytes, key: object) -> bytes:
    """The composite key of a caller's key; ``prefix`` is the namespace and VISIBLE."""
    if not isinstance(key, str):
        raise InvalidKey(key=key, reason="not a string")
    try:
        raw = key.encode()
    except UnicodeEncodeError:
        raise InvalidKey(key=key, reason="not UTF-8") from None
    if not 0 < len(raw) <= KEY_BYTES:
        raise InvalidKey(key=key, reason="1 to 1024 bytes", length=len(raw))
    return prefix + raw


def payload(data: object) -> bytes | memoryview:
    """A value's bytes, not copied where they cannot change under us."""
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    raise InvalidValue(argument="data", reason="not bytes")


def duration_ns(ttl: object) -> int:
    """Nanoseconds of a time to live: seconds (int, float) or text like ``"30d"``."""
    ns: float
    if isinstance(ttl, str):
        match = DURATION.fullmatch(ttl)
        if match is None:
            raise InvalidExpiry(ttl=ttl)
        amount = float(match[1]) if "." in match[1] else int(match[1])
        ns = amount * UNITS_NS[match[2]]
    elif isinstance(ttl, bool) or not isinstance(ttl, int | float):
        raise InvalidExpiry(ttl=ttl)
    else:
        ns = ttl * SECOND_NS
    return life_ns(ns, ttl=ttl)


def life_ns(ns: float, **told: object) -> int:
    """Nanoseconds of a time to live that was ``told`` so: above 0, and ``TTL_NS`` at most."""
    if ns > TTL_NS:  # infinite, too, which cannot be rounded
        raise InvalidExpiry(**told, limit="TTL_NS", most=TTL_NS)
    if not ns > 0:  # nor is this no number
        raise InvalidExpiry(**told)
    return max(1, round(ns))


def byte_range(span: object, size: int) -> tuple[int, int]:
    """``(start, stop)`` within a value of ``size`` bytes, cut at its end."""
    start, stop = pair(span)
    if start > size:
        raise InvalidValue(argument="range", reason="start past the end", size=size)
    return start, min(stop, size)


def pair(span: object) -> tuple[int, int]:
    """Two ints that can be a byte range."""
    if not isinstance(span, tuple) or len(span) != 2:  # noqa: PLR2004 - a pair
        raise InvalidValue(argument="range", reason="not (start, stop)")
    start, stop = (integer(bound, "range") for bound in span)
    if start < 0 or stop < start:
        raise InvalidValue(argument="range", reason="negative or backwards")
    return start, stop


def integer(value: object, argument: str) -> int:
    """An int that is not a bool."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidValue(argument=argument, reason="not an integer")
    return value


def outside(argument: str) -> InvalidValue:
    """What refuses an integer that is too small or too large."""
    return InvalidValue(argument=argument, reason="out of range")


def optional_integer(value: object, argument: str) -> int | None:
    """An int, or None."""
    return None if value is None else integer(value, argument)


def flag(value: object, argument: str) -> bool:
    """A bool."""
    if not isinstance(value, bool):
        raise InvalidValue(argument=argument, reason="not a bool")
    return value


def content_type(value: object) -> str | None:
    """None, or a media type of at most 255 bytes that a header can carry at every door."""
    if value is None:
        return None
    if (size := len(text(value, "content_type"))) > CONTENT_TYPE_BYTES:
        raise LimitExceeded(limit="CONTENT_TYPE_BYTES", most=CONTENT_TYPE_BYTES, asked=size)
    if not isinstance(value, str) or CONTROLS.search(value) or value != value.strip():
        reason = "control characters, or blanks at an end"
        raise InvalidValue(argument="content_type", reason=reason)
    return value


def index(value: object) -> str | bool | None:
    """What of an object is searched: its value, nothing, a text of at most 32 KiB, or by rule."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and (size := len(text(value, "index"))) > SEARCH_INDEX_BYTES:
        raise LimitExceeded(limit="SEARCH_INDEX_BYTES", most=SEARCH_INDEX_BYTES, asked=size)
    if isinstance(value, str):
        return value
    raise InvalidValue(argument="index", reason="not text, True or False")


def tags(value: object) -> dict[str, str] | None:
    """Names with values: at most 50, each pair of at most 512 bytes; None where there is none."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise InvalidValue(argument="tags", reason="not a mapping of names to texts")
    if len(value) > TAGS:
        raise LimitExceeded(limit="TAGS", most=TAGS, asked=len(value))
    told = {_tag_part(name): _tag_part(said) for name, said in value.items()}
    for name, said in told.items():
        if not name or "=" in name:
            raise InvalidValue(argument="tags", reason="a name is empty, or has a =", name=name)
        if (size := len(name.encode()) + len(said.encode())) > TAG_BYTES:
            raise LimitExceeded(limit="TAG_BYTES", most=TAG_BYTES, asked=size, name=name)
    return told or None


def _tag_part(value: object) -> str:
    text(value, "tags")
    if not isinstance(value, str) or CONTROLS.search(value):
        raise InvalidValue(argument="tags", reason="control characters")
    return value


def texts(values: object, argument: str) -> tuple[str, ...]:
    """Several texts; one by itself is a mistake."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidValue(argument=argument, reason="not a list of texts")
    told = tuple(values)
    for value in told:
        text(value, argument)
    return told


def text(value: object, argument: str) -> bytes:
    """A string as UTF-8 bytes, of any length (prefixes, cursors)."""
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            pass
    raise InvalidValue(argument=argument, reason="not text")


def page_limit(value: object) -> int | None:
    """None, or how many at the most."""
    if value is None:
        return None
    count = integer(value, "limit")
    if count < 0:
        raise InvalidValue(argument="limit", reason="negative")
    return count


def listed(values: Iterable[Any], argument: str) -> list[Any]:
    """What an iterable gives, all of it; text is none, though it gives characters."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidValue(argument=argument, reason="not a list")
    return list(values)


def columns(pairs: Iterable[Any] | Mapping[Any, Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Keys, and the value of each, of pairs or of a mapping; neither is looked at."""
    items = list(pairs.items()) if isinstance(pairs, Mapping) else listed(pairs, "pairs")
    if not items:
        return (), ()
    try:
        names, values = zip(*items, strict=True)
    except (TypeError, ValueError):
        raise InvalidValue(argument="pairs", reason="not pairs of key and value") from None
    return names, values


def path(value: object, argument: str = "path") -> str:
    """A folder's name as it was given."""
    name = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(name, str):
        raise InvalidValue(argument=argument, reason="not a path")
    try:
        raw = os.fsencode(name)
    except UnicodeEncodeError:
        raw = b""
    if not raw or b"\0" in raw:
        raise InvalidValue(argument=argument, reason="no file can have this name")
    if URL.match(name):
        raise InvalidValue(argument=argument, reason="a URL, not a folder: holdfast.connect")
    return name


def in_one_record(values: Iterable[bytes | memoryview]) -> None:
    """LimitExceeded where a value is larger than a record: it would be stored in parts.

    For what cannot be: a queued write, one of an atomic or a numbered batch.
    """
    size = max(map(len, values), default=0)
    if size > VALUE_RECORD_BYTES:
        raise LimitExceeded(limit="VALUE_RECORD_BYTES", most=VALUE_RECORD_BYTES, asked=size)


def noted_path(value: object, argument: str) -> str:
    """A folder's name that a store notes as text: UTF-8, and so is where it lies."""
    name = path(value, argument)
    text(os.path.abspath(name), argument)  # noqa: PTH100 - plain paths
    return name


def progress(value: object) -> Progress:
    """What a caller looks at while the work goes on, begun anew; if None, what nobody sees."""
    if value is None:
        return Progress()
    if not isinstance(value, Progress):
        raise InvalidValue(argument="progress", reason="not a holdfast.Progress")
    value.done = value.total = 0
    return value


def able(value: Any, methods: Sequence[str], argument: str) -> None:  # noqa: ANN401 - asked here
    """Refuse a clock or an entropy that is none: whether it has the methods."""
    if value is not None and not all(callable(getattr(value, name, None)) for name in methods):
        raise InvalidValue(argument=argument, reason=f"without {', '.join(methods)}")


def lock_id(value: object) -> bytes:
    """A lock's id as bytes; what is none holds nothing and is told as nothing."""
    if isinstance(value, str) and HEX.fullmatch(value):
        return bytes.fromhex(value)
    return b""


def seconds(value: object, argument: str) -> float:
    """Seconds to wait: finite, not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidValue(argument=argument, reason="not a number")
    if not 0 <= value <= sys.float_info.max:
        raise InvalidValue(argument=argument, reason="negative or not finite")
    return float(value)
