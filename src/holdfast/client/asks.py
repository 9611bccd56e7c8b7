"""What a call is made of, without I/O: asks go out, answers come in.

A call is a generator: it yields an ``Ask`` (or a ``Pause``), is sent the ``Answer``, and returns
its value. Whoever drives it owns the sockets; sync.py and tasks.py do.

    work                      driver
    yield Ask(...)    ->      sends it
    answer            <-      the answer; or throws Unsent, Broken
    return value      ->      the value of the call
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TypeVar

import msgspec

from holdfast.wire.headers import Numbered

R = TypeVar("R")


class Ask(msgspec.Struct, frozen=True):
    """One request, as it is to be sent.

    ``target`` is path and query; ``origin`` another server than the client's own;
    ``repeatable`` says that sending it twice does no harm; ``number`` is a write's own;
    ``timeout_s`` None waits for ever; ``begun_ns`` is when the call began that it is part of,
    ``waits_s`` how long the server is to wait, which is on top of its time.
    """

    method: str
    target: str
    headers: dict[str, str] = {}
    body: bytes | memoryview = b""
    origin: str | None = None
    repeatable: bool = False
    timeout_s: float | None = None
    number: Numbered | None = None
    begun_ns: int | None = None
    waits_s: float = 0


class Answer(msgspec.Struct, frozen=True):
    """What came back; the names of headers are lower-case.

    ``doubted``: it was asked before under the same number, and nobody knew what came of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    doubted: bool = False


class Pause(msgspec.Struct, frozen=True):
    """Wait before going on."""

    seconds: float


Work = Generator[Ask | Pause, Answer, R]


class LostError(Exception):
    """The transport has no answer; ``cause`` says why in its own words."""

    def __init__(self, cause: str, *, late: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.late = late


class UnsentError(LostError):
    """Nothing of the request has left this process."""


class BrokenError(LostError):
    """The request was sent, at least in part, and nobody knows what became of it."""
