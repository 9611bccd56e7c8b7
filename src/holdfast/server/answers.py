"""Answers, and how they become bytes.

HTTP/1.1 200 OK
Date: ...                        once a second
Holdfast-Request: ...
Content-Length: ...              but for 204 and 304
<headers of the answer>
Holdfast-Cost: ...
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

import msgspec

from holdfast.errors import HoldfastError, RateLimited
from holdfast.request.arguments import CONTROLS
from holdfast.wire.headers import OCTETS
from holdfast.wire.problems import MEDIA_TYPE, problem_of
from holdfast.wire.values import Form, encode

OK, NO_CONTENT, NOT_MODIFIED, UNAUTHORIZED = 200, 204, 304, 401
WAITABLE = frozenset((429, 503))
BODILESS = frozenset((NO_CONTENT, NOT_MODIFIED))
RETRY_AFTER_S: Final = 1
JSON_TYPE = b"Content-Type: application/json\r\n"
MEDIA: Final = {"json": JSON_TYPE, "msgpack": b"Content-Type: application/msgpack\r\n"}
TEXT_TYPE = b"Content-Type: text/plain; charset=utf-8\r\n"
AS_SAID = b"X-Content-Type-Options: nosniff\r\n"
SANDBOX = b"Content-Security-Policy: sandbox\r\n"
STATUS: Final = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}


class Answer(msgspec.Struct, gc=False):
    """What a request is answered with.

    ``headers`` are whole lines. ``length`` is told where it is not that of ``body``: of a
    HEAD, or of ``pieces``, which are sent behind one another as they can be had.
    """

    status: int = 200
    headers: bytes = b""
    body: bytes = b""
    length: int | None = None
    pieces: Iterator[bytes] | None = None
    cost_atto: int = 0
    code: str = ""  # of the error that it tells

    def sent_bytes(self, method: str) -> int:
        """Bytes of it that are sent behind its header: of a HEAD none."""
        if method == "HEAD":
            return 0
        return len(self.body) if self.length is None else self.length


def object_headers(
    kind: str | None, version: int, modified_ns: int, expires_ns: int | None
) -> bytes:
    """What is told beside the value of an object; ``kind`` is its content type."""
    if kind is not None and CONTROLS.search(kind):  # stored by a version that let it in
        kind = None
    return (
        b"Content-Type: %b\r\n%b"
        b'ETag: "%d"\r\nHoldfast-Version: %d\r\nHoldfast-Modified: %d\r\n%b'
        % (
            (kind or OCTETS).encode(),
            _caged(kind) if kind else b"",
            version,
            version,
            modified_ns,
            b"Holdfast-Expires: %d\r\n" % expires_ns if expires_ns else b"",
        )
    )


def _caged(kind: str) -> bytes:
    """A browser takes a value for what it is said to be, and runs no script that a tenant stored.

    All tenants are one origin to it: a page of one could read what another's reader may.
    """
    return AS_SAID + SANDBOX if "html" in kind.lower() or "xml" in kind.lower() else AS_SAID


def head_of(answer: Answer, date: bytes, number: bytes, *, close: bool) -> bytes:
    """The header of an answer, as it is sent."""
    status = answer.status
    if status in BODILESS:
        length = b""
    else:
        known = answer.length
        length = b"Content-Length: %d\r\n" % (len(answer.body) if known is None else known)
    return b"%b%bHoldfast-Request: %b\r\n%b%bHoldfast-Cost: %d\r\n%b\r\n" % (
        STATUS.get(status) or b"HTTP/1.1 %d -\r\n" % status,
        date,
        number,
        length,
        answer.headers,
        answer.cost_atto,
        b"Connection: close\r\n" if close else b"",
    )


def begin_well(date: bytes, name: bytes) -> bytes:
    """The beginning of an answer that tells what was asked for, up to the request's number."""
    return b"%b%bHoldfast-Request: %b-" % (STATUS[OK], date, name)


def rest_of(headers: bytes, body: bytes) -> bytes:
    """What follows the request's name in a free answer, as ``head_of`` makes it."""
    return b"Content-Length: %d\r\n%bHoldfast-Cost: 0\r\n\r\n%b" % (len(body), headers, body)


def told(value: object, form: Form = "json", status: int = 200, headers: bytes = b"") -> Answer:
    """A value as an answer."""
    return Answer(status, MEDIA[form] + headers, encode(value, form))


def refused(error: HoldfastError) -> Answer:
    """An error as an answer: a problem document."""
    problem = problem_of(error)
    status = problem["status"]
    if not isinstance(status, int):
        raise TypeError(status)
    headers = b"Content-Type: " + MEDIA_TYPE.encode() + b"\r\n"
    if status in WAITABLE:
        headers += b"Retry-After: %d\r\n" % _retry_after_s(error)
    if status == UNAUTHORIZED:
        headers += b"WWW-Authenticate: Bearer\r\n"
    return Answer(status, headers, encode(problem), code=error.code)


def _retry_after_s(error: HoldfastError) -> int:
    if isinstance(error, RateLimited):
        asked = error.facts.get("retry_after_s")
        if isinstance(asked, int | float):
            return max(1, round(asked))
    return RETRY_AFTER_S


def plain(status: int, code: str, title: str) -> Answer:
    """A refusal that no error of the tree stands for: this is not HTTP as we take it."""
    problem = {
        "type": f"urn:holdfast:error:{code}",
        "title": title,
        "status": status,
        "code": code,
        "effect": "none",
        "facts": {},
    }
    headers = b"Content-Type: " + MEDIA_TYPE.encode() + b"\r\n"
    return Answer(status, headers, encode(problem), code=code)


def done() -> Answer:
    """That it was done: nothing to tell, but what the request cost, so each has its own."""
    return Answer()


def gone() -> Answer:
    """The same, where the status says that nothing is told."""
    return Answer(NO_CONTENT)
