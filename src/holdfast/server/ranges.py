"""Which bytes a request wants (RFC 9110, section 14): one range, or everything."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.errors import InvalidValue
from holdfast.wire.headers import range_of

Span = tuple[int, int]


def span_of(headers: Mapping[str, str], version: int, size: int) -> Span | None:
    """``(start, stop)`` of a Range header, stop exclusive; None where everything is wanted.

    A header that is no range of bytes, several, or one of another version (``If-Range``)
    asks for everything.

    Raises:
        InvalidValue: the range begins past the end (status 416).
    """
    if headers.get("if-range", f'"{version}"') != f'"{version}"':
        return None
    try:
        first, last = range_of(headers["range"])
    except InvalidValue:
        return None
    if first is None:
        count = last or 0
        if not count or not size:
            raise InvalidValue(argument="range", reason="past the end", size=size)
        return max(0, size - count), size
    if first >= size:
        raise InvalidValue(argument="range", reason="past the end", size=size)
    return first, size if last is None else min(last + 1, size)
