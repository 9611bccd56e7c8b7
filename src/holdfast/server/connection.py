"""One connection: bytes become requests, answers become bytes, in the order of the requests.

A subclass of uvicorn's httptools protocol that answers from the parser's callbacks and brings
what uvicorn lacks (rule 13). A request goes through these places:

    read -> parked -> due -> sent
            |         `- begun; answered at once, or later, in any order
            `- whole, but not begun: too much is due, or what is due must be over first

Requests of one kind (reads; plain writes) are begun side by side, a change of kind waits: so
whoever sends a put and a get behind one another reads what was put.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from holdfast.limits import REQUESTS_DUE
from holdfast.server.answers import Answer, head_of, plain
from holdfast.server.bodies import outgrown
from holdfast.server.deadlines import BODY, HEAD, IDLE, LINGER
from holdfast.server.download import Download
from holdfast.server.head import BAD_REQUEST, Head
from holdfast.server.listeners import peer_of
from holdfast.server.repeats import Repeats
from holdfast.server.requests import Request

if TYPE_CHECKING:
    from holdfast.server.site import Site
    from holdfast.values import Principal

DISCARD_BYTES = 64 << 10  # of a body that nobody wants: read, so that the connection goes on
SLICE_BYTES = 16 << 10  # is parsed before anybody looks whether too much is due
UNSENT_BYTES = 1 << 20  # of answers that wait for an earlier one, before no more is begun
WRITE_HIGH_BYTES = 256 << 10
NO_EXPECTATION = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(HttpToolsProtocol):
    """One connection of a site; made by the event loop's listener.

    Args:
        config: uvicorn's, which the parent class asks for.
        server_state: where the parent class notes its connections.
        app_state: holds the ``Site`` under "site".
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=False)
        self.site: Site = app_state["site"]
        self.address = ""
        self.peer: Principal | None = None
        self.due: deque[Request] = deque()  # begun and not sent, in order
        self.parked: deque[Request] = deque()  # whole and not begun, in order
        self.request: Request | None = None  # that comes in now
        self.sending: Download | None = None
        self.held = b""  # received, not parsed: too much is due
        self.stage = IDLE
        self.since_s = self.site.now_s
        self.body_bytes = 0
        self.body_since_s = 0.0
        self.head = Head(self.site.settings.header_bytes, self.site.settings.header_count)
        self.out: list[bytes] | None = None  # answers that are gathered while parsing
        self.unsent_bytes = 0
        self.choked_since_s: float | None = None
        self.reading = True
        self.ending = False  # what comes in now is not read any more
        self.advancing = False
        self.lingers = False  # the caller still sends: a plain close would take the answer away
        self.waits_to_continue = False
        self.repeats = Repeats()
        self.latest: Request | None = None  # that was parsed and whole

    # -- the transport's callbacks ---------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it where there are too many."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self.peer = peer_of(transport)
        transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        refusal = self.site.refuse_connection(len(self.connections))
        self.stage, self.since_s = HEAD, self.site.now_s
        if refusal is not None:
            self.ending = True
            transport.write(head_of(refusal, self.site.date, b"-", close=True) + refusal.body)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was asked; what was begun goes on to its end."""
        super().connection_lost(exc)
        self.ending = True
        self._drop_unfinished()
        if self.sending is not None:
            self.sending.stop()
        self._forget_all()
        self.held = b""

    def eof_received(self) -> bool:  # type: ignore[override]
        """The caller sends no more, and may still read: answer what is whole, then close."""
        self.ending, self.lingers = True, False
        self._drop_unfinished()
        self._close_if_done()
        return True

    def _drop_unfinished(self) -> None:
        """Forget the request that was coming in: the rest of it never will."""
        for asked in self.due:
            asked.is_waited_for = False  # so nobody is to wait for a lock any more
        request, self.request = self.request, None
        if request is not None:
            self.site.forget(request)
        if request is None or request.sink is None:
            return
        request.sink.abandon()
        for places in (self.due, self.parked):
            if request in places:
                places.remove(request)

    def pause_writing(self) -> None:
        """The caller does not read as fast as it asks."""
        super().pause_writing()
        self.choked_since_s = self.site.now_s
        self._settle_reading()

    def resume_writing(self) -> None:
        """The caller has read."""
        super().resume_writing()
        self.choked_since_s = None
        if self.sending is not None:
            self.sending.go_on()
        self._advance()

    def data_received(self, data: bytes) -> None:
        """Parse what came in, and answer what is whole."""
        if self.ending:
            return
        if self.held:
            self.held += data
            return
        if self.repeats.serve(self, data):
            return
        self.latest = None
        self.out = []
        try:
            if len(data) <= SLICE_BYTES:
                self._parse(data)
            else:
                self._parse_slices(data)
        finally:
            out, self.out = self.out, None
            if out and not self.transport.is_closing():
                self.transport.write(out[0] if len(out) == 1 else b"".join(out))
        self.repeats.note(self, data)
        if self.parked or self.due or self.ending:
            self._advance()

    def take_whole(self, request: Request) -> None:
        """A request that is whole, and answered already where it was refused."""
        (self._line_up if request.reply is not None else self._begin_or_park)(request)
        if self.due or self.ending:
            self._advance()

    def _parse_slices(self, data: bytes) -> None:
        for at in range(0, len(data), SLICE_BYTES):
            if self.ending:
                return
            if self._is_full():
                self.held = data[at:]
                return
            self._parse(data[at : at + SLICE_BYTES])

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.ending = True  # the request was answered as if it had not asked for it
        except httptools.HttpParserError:
            self._refuse_if(plain(BAD_REQUEST, "invalid_request", "this is not HTTP/1.1"))
        else:
            if self.stage is HEAD:
                self._refuse_if(self.head.receive(len(data)))

    # -- the parser's callbacks --------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        if self.ending:  # what stands behind a refused request is not answered
            return
        self.site.requests += 1
        self.request = Request(self, self.site.requests)
        self.head.begin()
        self.stage, self.since_s = HEAD, self.site.now_s

    def on_url(self, url: bytes) -> None:
        """A piece of what is asked for."""
        self._refuse_if(self.head.add_url(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which is counted and passed over."""
        request = self.request
        if request is not None:
            headers = request.headers if self.stage is HEAD else None
            self._refuse_if(self.head.add(name, value, headers))

    def on_headers_complete(self) -> None:
        """The header is whole: settle who asks, and whether they may, before the body is read."""
        request = self.request
        if request is None:
            return
        self.stage, self.since_s = BODY, self.site.now_s
        self.body_since_s, self.body_bytes = self.since_s, 0
        request.method = self.parser.get_method().decode("latin-1")
        request.path, _, request.query = self.head.target.partition(b"?")
        request.address, request.peer = self.address, self.peer
        request.closes = not self.parser.should_keep_alive()
        if "host" not in request.headers and self.parser.get_http_version() != "1.0":
            self.refuse(plain(BAD_REQUEST, "invalid_request", "there is no Host"))
            return
        refusal = self.site.admit(request)
        if refusal is not None:
            self._refuse_request(request, refusal)
            return
        self.waits_to_continue = "expect" in request.headers
        if request.sink is not None:
            self._begin_or_park(request)
        self._tell_to_continue()

    def _begin_or_park(self, request: Request) -> None:
        if self.due or self.parked or self.choked_since_s is not None:
            self.parked.append(request)
        else:
            self.due.append(request)
            self.site.begin(request)

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        request = self.request
        self.since_s = self.site.now_s
        self.body_bytes += len(body)
        if request is None or request.reply is not None:
            return
        if request.sink is not None:
            if not request.sink.take(body):
                self._settle_reading()
            return
        request.left -= len(body)
        refusal = self.site.gather(request, len(body))
        if refusal is not None:
            self._refuse_request(request, refusal)
        elif request.left < 0:
            self._refuse_request(request, outgrown(request))
        elif request.body:
            if not isinstance(request.body, bytearray):
                request.body = bytearray(request.body)
            request.body += body
        else:
            request.body = body

    def on_message_complete(self) -> None:
        """A request is whole."""
        request, self.request = self.request, None
        self.stage, self.since_s = IDLE, self.site.now_s
        self.waits_to_continue = False
        self.latest = request
        if request is None:
            return
        if request.closes:
            self.ending = True
        if request.reply is not None:
            return
        if request.sink is not None:
            request.sink.complete()
        else:
            self._begin_or_park(request)

    # -- refusing --------------------------------------------------------------------

    def refuse(self, answer: Answer) -> None:
        """Answer what comes in now, behind what is due, and end the connection."""
        request = self.request or Request(self, 0)
        self.ending = self.lingers = request.closes = True
        self.request = None
        request.reply = answer
        self._line_up(request)

    def _refuse_if(self, refusal: Answer | None) -> None:
        if refusal is not None and not self.ending:
            self.refuse(refusal)

    def _refuse_request(self, request: Request, answer: Answer) -> None:
        """Answer before the body is read; a body that is not small ends the connection."""
        if request.has_more_than(DISCARD_BYTES):
            self.refuse(answer)
            return
        request.reply = answer
        self._line_up(request)

    def _line_up(self, request: Request) -> None:
        """Put an answered request behind everything that was asked before it."""
        if self.parked:
            self.parked.append(request)
        else:
            self.due.append(request)
            self.answered(request)

    # -- answering --------------------------------------------------------------------

    def answered(self, request: Request) -> None:
        """A request has its answer: send what can be sent."""
        if request is self.request and request.sink is not None:  # before its body was whole
            self.ending = self.lingers = request.closes = True
            self.request = None
        due = self.due
        if len(due) == 1 and due[0] is request and self.sending is None and not self.parked:
            due.popleft()
            self._send(request)
            if self.ending:
                self._close_if_done()
        else:
            if request.reply is not None:
                self.unsent_bytes += len(request.reply.body)
            if due and due[0].reply is not None:
                self._advance()

    @property
    def is_clear(self) -> bool:
        """Whether nothing that was asked before is unanswered."""
        return not self.due and not self.parked

    def _advance(self) -> None:
        """Send the answers that are next; begin what may be begun; read on."""
        if self.advancing:
            return
        self.advancing = True
        try:
            while self._send_next() or self._begin_next():
                pass
        finally:
            self.advancing = False
        self._settle_reading()
        self._parse_held()
        self._close_if_done()

    def _send_next(self) -> bool:
        due = self.due
        if not due or due[0].reply is None or self.sending is not None:
            return False
        if self.choked_since_s is not None:
            return False
        request = due.popleft()
        if request.reply is not None:
            self.unsent_bytes = max(0, self.unsent_bytes - len(request.reply.body))
        self._send(request)
        return True

    def _begin_next(self) -> bool:
        if not self.parked or self.choked_since_s is not None or self.sending is not None:
            return False
        request, due = self.parked[0], self.due
        if due and (
            len(due) >= REQUESTS_DUE
            or self.unsent_bytes >= UNSENT_BYTES
            or not self.site.are_of_a_kind(due[-1], request)
        ):
            return False
        self.parked.popleft()
        due.append(request)
        if request.reply is None:
            self.site.begin(request)
        return True

    def _forget_all(self) -> None:
        """Nothing that is due or parked will be answered any more."""
        for request in (*self.due, *self.parked):
            self.site.forget(request)
        self.due.clear()
        self.parked.clear()

    def _send(self, request: Request) -> None:
        self.site.forget(request)
        answer = request.reply
        if answer is None or self.transport.is_closing():
            return
        if self.ending and not self.parked and not self.due and self.request is None:
            request.closes = True
        if answer.code and request.face is not None:
            answer = request.face.worded(answer)
        self.site.note(request, answer)
        if request.extra:
            answer.headers += request.extra
        name = self.site.name_at(request.number)
        head = head_of(answer, self.site.date, name, close=request.closes)
        if request.closes:
            self.ending = True
            self._forget_all()
        if answer.pieces is not None and request.method != "HEAD":
            self.pass_on(head)
            self.sending = Download(self, answer.pieces)
            self.sending.go_on()
        elif request.method == "HEAD" or not answer.body:
            self.pass_on(head)
        else:
            self.pass_on(head + answer.body)

    @property
    def reads(self) -> Site:
        """Where reads are carried out."""
        return self.site

    def pass_on(self, data: bytes) -> None:
        """Send bytes, with what else is sent while parsing."""
        (self.transport.write if self.out is None else self.out.append)(data)

    def sent(self) -> None:
        """A download has come to its end."""
        self.sending = None
        self._advance()

    def abort(self) -> None:
        """What was promised cannot be kept: end the connection before it looks whole."""
        self.sending = None
        self.transport.abort()

    # -- reading and ending --------------------------------------------------------------

    def _is_full(self) -> bool:
        return (
            self.choked_since_s is not None
            or len(self.due) + len(self.parked) >= REQUESTS_DUE
            or self._sink_is_full()
        )

    def _sink_is_full(self) -> bool:
        request = self.request
        return request is not None and request.sink is not None and not request.sink.take(b"")

    def _settle_reading(self) -> None:
        wanted = not (self._is_full() or self.held)
        if wanted is not self.reading and not self.transport.is_closing():
            self.reading = wanted
            if wanted:
                self.since_s = self.site.now_s
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def read_on(self) -> None:
        """A sink has room again."""
        self._settle_reading()
        self._parse_held()

    def _parse_held(self) -> None:
        if self.held and not self._is_full() and not self.ending:
            data, self.held = self.held, b""
            self.data_received(data)
            self._settle_reading()

    def _tell_to_continue(self) -> None:
        begun = len(self.due) == 1 and self.due[0] is self.request
        if self.waits_to_continue and (self.is_clear or begun):
            self.waits_to_continue = False
            self.pass_on(b"" if self.parser.get_http_version() == "1.0" else NO_EXPECTATION)

    def _close_if_done(self) -> None:
        self._tell_to_continue()
        if not self.ending or self.due or self.parked or self.sending is not None:
            return
        if self.out is not None:
            self.loop.call_soon(self._close_if_done)
        elif self.lingers and self.transport.can_write_eof():
            self.stage, self.since_s = LINGER, self.site.now_s
            self.transport.write_eof()
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """Answer what is due and what is coming in, take no more, and close."""
        request = self.request
        if request is not None and self.stage is BODY and request.reply is None:
            request.closes = True  # whoever sends its body expects an answer
            return
        self.ending = True
        self._drop_unfinished()
        self._close_if_done()
