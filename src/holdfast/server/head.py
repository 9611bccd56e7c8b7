"""The header of a request as it comes in: what means something is kept, all of it is counted."""

from __future__ import annotations

import re
from typing import Final

from holdfast.server.answers import Answer, plain
from holdfast.server.requests import NAMES, OURS_BEGIN, REPEATABLE, UNKNOWN

BAD_REQUEST, TOO_LARGE = 400, 431
LINE_BYTES = 4  # of a line, beside name and value
SERVER: Final = re.compile(rb"https?://[^/?#]+", re.IGNORECASE)
SLACK_BYTES = 16 << 10  # how much may be parsed before anybody counts it


class Head:
    """Bounds one header after another.

    Args:
        most_bytes: of one header.
        most_lines: of one header, trailers included.
    """

    __slots__ = ("_bytes", "_lines", "_most_bytes", "_most_lines", "_received", "url")

    def __init__(self, most_bytes: int, most_lines: int) -> None:
        self._most_bytes = most_bytes
        self._most_lines = most_lines
        self.begin()

    def begin(self) -> None:
        """Another header begins."""
        self.url = b""
        self._bytes = self._lines = 0  # in lines that are whole
        self._received = 0

    @property
    def target(self) -> bytes:
        """What is asked for, without the server before it, as proxies say it (RFC 9112, 3.2)."""
        return self.url if self.url.startswith(b"/") else SERVER.sub(b"", self.url, 1)

    def receive(self, count: int) -> Answer | None:
        """Bytes came in and the header is not whole: a line without end is counted too."""
        self._received += count
        return _too_large() if self._received > self._most_bytes + SLACK_BYTES else None

    def add_url(self, url: bytes) -> Answer | None:
        """A piece of what is asked for; a refusal where it is too long."""
        self.url += url
        return _too_large() if len(self.url) > self._most_bytes else None

    def add(self, name: bytes, value: bytes, headers: dict[str, str] | None) -> Answer | None:
        """A line; what it says goes into ``headers``, or nowhere. A refusal, or None."""
        self._lines += 1
        self._bytes += len(name) + len(value) + LINE_BYTES
        if self._lines > self._most_lines or self._bytes > self._most_bytes:
            return _too_large()
        known = NAMES.get(name) or NAMES.get(name.lower())
        if headers is None:
            return None
        if known is None:
            if name[: len(OURS_BEGIN)].lower() == OURS_BEGIN:
                headers[UNKNOWN] = name.lower().decode("latin-1")
            return None
        text = value.rstrip(b" \t").decode("latin-1")  # blanks behind it are no part of it
        if known in headers:
            if known not in REPEATABLE:
                return plain(BAD_REQUEST, "invalid_request", "a header is there twice")
            text = f"{headers[known]}, {text}"
        headers[known] = text
        return None


def _too_large() -> Answer:
    return plain(TOO_LARGE, "limit_exceeded", "the header is too large")
