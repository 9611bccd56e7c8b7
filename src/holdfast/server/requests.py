"""One request on its way: what was asked, by whom, and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from holdfast.errors import HoldfastError
from holdfast.server.answers import Answer, refused
from holdfast.wire.headers import timeout_ns
from holdfast.wire.values import Form, form_of

if TYPE_CHECKING:
    from holdfast.access.grants import Ask
    from holdfast.server.routes import Face, Route
    from holdfast.server.tenants import Tenant
    from holdfast.values import Principal

# Headers that mean something here, by every spelling that clients are known to use.
CONDITIONS = ("if-match", "if-none-match", "if-range", "range", "content-range")
FRAMING = ("host", "content-length", "content-type", "transfer-encoding", "expect", "origin")
CREDENTIALS = ("authorization", "attestation")
OURS = tuple(
    f"holdfast-{name}"
    for name in (
        *(
            "ttl",
            "keep-ttl",
            "fence",
            "consumers",
            "permanent",
            "index",
            "tags",
            "session",
            "timeout",
        ),
        *("enclave", "namespace"),
    )
)
LISTED = ("accept", "if-match", "if-none-match", "access-control-request-method")
NAMES = {
    spelling.encode(): name
    for name in (*CONDITIONS, *FRAMING, *CREDENTIALS, *OURS, *LISTED)
    for spelling in (name, name.title(), name.upper())
} | {b"Holdfast-TTL": "holdfast-ttl", b"Holdfast-Keep-TTL": "holdfast-keep-ttl"}
REPEATABLE = frozenset(LISTED)
OURS_BEGIN = b"holdfast-"
UNKNOWN = "holdfast-"  # no header's name: what begins so and is none of ours is noted under it


class Owner(Protocol):
    """What a request needs of the connection it came in by."""

    def answered(self, request: Request) -> None:
        """The request has its answer."""

    def read_on(self) -> None:
        """Its sink has room again."""


class Request:
    """One request. The connection fills it in, a handler answers it.

    ``answer`` may be called once, at once or later, on the loop.
    """

    # Of the class, not set one by one: most requests keep most of them.
    address = ""
    ask: Ask | None = None  # what must be settled on a thread
    began_ns = 0
    body: bytes | bytearray = b""
    cost_atto = 0  # that the house has charged for it
    counted = False  # the house has counted what it reads
    sent_bytes: int | None = None  # of the value, where the answer wraps it in more
    closes = False  # the connection ends behind this answer
    extra = b""  # headers that the answer carries whatever it is
    face: Face | None = None  # whose words a refusal is told in
    gathered_bytes = 0
    is_waited_for = True  # its caller has not gone
    held: Tenant | None = None  # whose bound counts it among the requests that are under way
    key = ""
    left = 0  # bytes that the body may still have
    method = ""
    path = b""
    peer: Principal | None = None  # who the system says is at the other end
    principal: Principal | None = None
    query = b""
    reply: Answer | None = None
    route: Route | None = None
    sink: Sink | None = None
    size_bytes = 0  # of the body, where the header says it
    tenant: Tenant | None = None

    def __init__(self, owner: Owner, number: int) -> None:
        self.owner = owner
        self.number = number
        self.headers: dict[str, str] = {}

    @property
    def operation(self) -> str:
        """What it is called in logs and metrics."""
        route = self.route
        return (route.operation or "probe") if route is not None else "none"

    @property
    def form(self) -> Form:
        """The form that the caller wants its answer in."""
        return form_of(self.headers.get("accept"))

    def left_ns(self) -> int | None:
        """Nanoseconds that its caller will wait; None where it does not say."""
        return timeout_ns(self.headers)

    def has_more_than(self, size: int) -> bool:
        """Whether more of a body may still come than ``size`` bytes."""
        headers = self.headers
        if "transfer-encoding" in headers or "expect" in headers:
            return True
        return int(headers.get("content-length", "0")) > size

    def answer(self, answer: Answer) -> None:
        """Answer it."""
        if self.reply is None:
            self.reply = answer
            if self.held is not None:
                self.let_go()
            self.owner.answered(self)

    def let_go(self) -> None:
        """It is no longer under way."""
        if self.held is not None:
            self.held.end()
            self.held = None

    def refuse(self, error: HoldfastError) -> None:
        """Answer it with an error."""
        self.answer(refused(error))


class Sink(Protocol):
    """Takes a body that is too large to be gathered, as it comes in."""

    def take(self, data: bytes) -> bool:
        """Take bytes; False where no more should be read for now."""

    def start(self) -> None:
        """Everything that was asked before is answered."""

    def complete(self) -> None:
        """The body is whole."""

    def abandon(self) -> None:
        """It will never be."""
