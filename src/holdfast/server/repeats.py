"""Requests like the one before on their connection are not parsed again.

A client that asks for object after object sends the same header each time, but for the key.
What the parser makes of a request is a function of its bytes; so where they are those of one
that the connection sent before, with another key or another body of the same size, what was
read out of that one is taken for this one too:

    GET /v1/namespaces/acme/objects/ k0017 HTTP/1.1 CRLF Host: ... CRLF Authorization: ... CRLF CRLF
    `----------- before -----------' `key' `---------------------- after -----------------------'

Only the reading is saved: who asks, and whether they may, is settled each time by the same
functions. Whatever is not wholly like one before, or comes in pieces, or finds something before
it unanswered, goes through the parser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from holdfast.limits import KEY_BYTES
from holdfast.server import loads, objects
from holdfast.server.deadlines import IDLE
from holdfast.server.enclave_callers import DOCUMENT, MARK, SPACE
from holdfast.server.gets import Gets, marked
from holdfast.server.puts import Puts
from holdfast.server.requests import Request
from holdfast.server.routes import Route
from holdfast.wire.paths import UNCHANGED

if TYPE_CHECKING:
    from holdfast.server.connection import Connection
    from holdfast.server.site import Site

METHOD: Final = slice(4)  # tells methods apart: one request of each is remembered
MOST_BYTES: Final = 8 << 10  # of a header that is remembered
MISSES: Final = 16  # in a row, after which nothing is remembered of a connection any more
LINE: Final = b" HTTP/1.1\r\n"
END: Final = b"\r\n\r\n"
SPACES: Final = b"/v1/namespaces/"
# Their requests are each another, or answered by more than what is asked.
APART: Final = frozenset(("transfer-encoding", "expect", "origin"))
MARK_BYTES: Final = b"0123456789abcdef;"
# With these alone a get is answered with the whole object, in the plain way.
PLAIN: Final = frozenset(("host", "authorization", "accept", "content-type", MARK))
LOAD: Final = b"/load"
PLAIN_LOAD: Final = frozenset(
    ("host", DOCUMENT, SPACE, "accept", "authorization", "content-type", "content-length")
)
PLAIN_PUT: Final = frozenset(("host", "authorization", "accept", "content-length"))


class Found(NamedTuple):
    """What of a request is not of the one that it is like."""

    key: bytes
    mark: bytes
    body: bytes


class Repeat(msgspec.Struct, frozen=True, gc=False):
    """What was read out of a request.

    ``before`` is what stands before the key, ``middle`` from there to the mark of an enclave's
    session, which is another each time, and empty where there is none; ``after`` is the rest of
    the header, ``size`` the body's bytes. ``path`` goes up to the key. ``is_plain``: a get that is
    answered with the whole object, or a put that asks for nothing but to store.
    """

    before: bytes
    middle: bytes
    after: bytes
    size: int
    method: str
    path: bytes
    namespace: bytes | None
    route: Route
    headers: dict[str, str]
    is_plain: bool

    @property
    def is_marked_get(self) -> bool:
        """Whether an enclave's session has marked a get."""
        return self.is_plain and self.middle != b""

    def find(self, data: bytes) -> Found | None:
        """What is another in a request that is like this one, whole and alone; else None."""
        if not data.startswith(self.before):
            return None
        stop = len(data) - self.size
        start, end = len(self.before), stop - len(self.after)
        if end < start or not data.startswith(self.after, end):
            return None
        mark = b""
        if self.middle:
            at = data.find(self.middle, start, end)
            mark = data[at + len(self.middle) : end]
            if at < 0 or not mark or mark.translate(None, MARK_BYTES):
                return None
            end = at
        key = data[start:end]
        if self.namespace is None:
            return None if key else Found(key, mark, data[stop:])
        if not 0 < len(key) <= KEY_BYTES or key.translate(None, UNCHANGED):
            return None
        return Found(key, mark, data[stop:])


class Repeats:
    """The requests of one connection that others may be like."""

    __slots__ = ("_gets", "_known", "_misses", "_puts")

    def __init__(self) -> None:
        self._known: dict[bytes, Repeat] = {}
        self._gets: Gets | None = None
        self._puts: Puts | None = None
        self._misses = 0

    def serve(self, connection: Connection, data: bytes) -> bool:
        """Take what came in for one request like one before; False where it is not.

        Args:
            connection: that they are of.
            data: all that came in.
        """
        if connection.stage is not IDLE or connection.due or connection.parked:
            return False
        if connection.sending is not None or connection.choked_since_s is not None:
            return False
        gets = self._gets
        answer = gets.answer(data) if gets is not None else None
        if answer is None:
            return self._serve_other(connection, data)
        self._misses = 0
        connection.since_s = connection.site.now_s
        connection.transport.write(answer)
        return True

    def _serve_other(self, connection: Connection, data: bytes) -> bool:
        repeat = self._known.get(data[METHOD])
        found = repeat.find(data) if repeat is not None else None
        if repeat is None or found is None:
            return False
        self._misses = 0
        connection.since_s = connection.site.now_s
        puts = self._puts
        if puts is not None and puts.repeat is repeat and puts.take(connection, found):
            return True
        answer = _answer(connection, repeat, found)
        if answer is not None:
            connection.transport.write(answer)
        else:
            _begin(connection, repeat, found)
        return True

    def note(self, connection: Connection, data: bytes) -> None:
        """Remember the request that was parsed last, if it was all of ``data``."""
        request = connection.latest
        if request is None or self._misses > MISSES:
            return
        if connection.ending or connection.stage is not IDLE:
            return
        self._misses += 1
        repeat = _repeat_of(connection.site, request, data)
        if repeat is not None:
            self._known[data[METHOD]] = repeat
            self._note_plain(connection, repeat)

    def _note_plain(self, connection: Connection, repeat: Repeat) -> None:
        if repeat.namespace is None or repeat.middle or not repeat.is_plain:
            return
        if repeat.route.handle is objects.get:
            self._gets = Gets(connection, repeat, repeat.namespace)
        elif repeat.route.handle is objects.put:
            self._puts = Puts(connection, repeat, repeat.namespace)


def _answer(connection: Connection, repeat: Repeat, found: Found) -> bytes | None:
    """The answer to what an enclave asks that is told in one go; None to all else."""
    if repeat.is_marked_get:
        return marked(connection, repeat, found)
    if repeat.path == LOAD and not repeat.middle and PLAIN_LOAD.issuperset(repeat.headers):
        return loads.answer(connection, repeat, found.body)
    return None


def _repeat_of(site: Site, request: Request, data: bytes) -> Repeat | None:
    """What may be taken from a request for others; None where they must be parsed."""
    route, headers = request.route, request.headers
    if route is None or _is_apart(request):
        return None
    line = b"%b %b" % (request.method.encode(), request.path)
    stop = data.find(END) + len(END)
    size = int(headers.get("content-length", "0"))
    whole = data.startswith(line + LINE) and len(data) == stop + size
    place = _place_of(site, request)
    if not whole or stop > MOST_BYTES or place is None:
        return None
    path, namespace = place
    middle, after = b"", data[len(line) : stop]
    if MARK in headers:
        middle, mark, after = after.partition(headers[MARK].encode("latin-1"))
        if not mark or mark in after:
            return None
    return Repeat(
        before=line[: len(line) - len(request.path) + len(path)],
        middle=middle,
        after=after,
        size=size,
        method=request.method,
        path=path,
        namespace=namespace,
        route=route,
        headers=headers,
        is_plain=_is_plain(request),
    )


def _is_plain(request: Request) -> bool:
    handle = request.route.handle if request.route is not None else None
    if handle is objects.get:
        return request.method == "GET" and PLAIN.issuperset(request.headers)
    return (
        handle is objects.put and PLAIN_PUT.issuperset(request.headers) and request.form == "json"
    )


def _is_apart(request: Request) -> bool:
    """Whether a request is more than its header and a body that came with it."""
    if request.sink is not None or request.closes or request.query:
        return True
    if request.headers.get(MARK) == "":  # nothing that could be found again
        return True
    return not APART.isdisjoint(request.headers)


def _place_of(site: Site, request: Request) -> tuple[bytes, bytes | None] | None:
    """The path up to the key, and the namespace in it; None where a route reads more out of it."""
    path = request.path
    if not path.startswith(SPACES):
        found = site.routes.fixed.get(path, {}).get(request.method)
        return (path, None) if found is request.route else None
    parts = path.split(b"/", 5)
    if len(parts) != 6:  # noqa: PLR2004 - as routes.py splits
        return None
    found = site.routes.keyed.get(parts[4], {}).get(request.method)
    return (path[: -len(parts[5])], parts[3]) if found is request.route else None


def _begin(connection: Connection, repeat: Repeat, found: Found) -> None:
    """As the parser's callbacks would, of a request that is whole."""
    site, (key, mark, body) = connection.site, found
    site.requests += 1
    request = Request(connection, site.requests)
    request.method, request.headers = repeat.method, repeat.headers
    if mark:
        request.headers = {**repeat.headers, MARK: mark.decode()}
    request.path = repeat.path + key
    request.address, request.peer = connection.address, connection.peer
    if repeat.namespace is not None:
        request.tenant = site.tenants.find(repeat.namespace)
        request.key = key.decode()
    refusal = site.admit(request, repeat.route)
    if refusal is None and body:
        refusal = site.gather(request, len(body))
        request.left -= len(body)
        request.body = body
    if refusal is not None:
        request.reply = refusal
    connection.take_whole(request)
