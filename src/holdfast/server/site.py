"""What all connections of a server share: the store, the door, the lanes, the routes.

``admit`` settles what a request is and whether it may be asked, from its header alone;
``begin`` has it answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING

from holdfast.access import audit
from holdfast.access.decide import ANONYMOUS
from holdfast.access.grants import SHOWING, Ask
from holdfast.errors import (
    Busy,
    DeadlineExceeded,
    HoldfastError,
    InvalidValue,
    Unauthenticated,
    Unavailable,
)
from holdfast.limits import VALUE_RECORD_BYTES
from holdfast.metering import Rates, Usage
from holdfast.operations import Operation
from holdfast.server.answers import OK, Answer, begin_well, plain, refused
from holdfast.server.behind import Behind
from holdfast.server.bodies import bound
from holdfast.server.browsers import SELDOM, meet, namespace_in
from holdfast.server.charging import Charging, billed
from holdfast.server.conditions import refuse_untaken
from holdfast.server.direct import located
from holdfast.server.door import Door
from holdfast.server.enclave_callers import MARK, Callers
from holdfast.server.kept import Kept
from holdfast.server.lanes import Lanes, Settle
from holdfast.server.logs import request_logger
from holdfast.server.metrics import Metrics
from holdfast.server.numbers import numbered
from holdfast.server.requests import Request
from holdfast.server.routes import Route, chosen, not_allowed
from holdfast.server.settings import Settings
from holdfast.server.spans import span_maker
from holdfast.server.table import data_routes
from holdfast.server.tenants import Tenant, Tenants
from holdfast.server.upload import upload_of
from holdfast.values import Principal
from holdfast.wire.headers import TIMEOUT
from holdfast.wire.paths import decode_key, decode_query
from holdfast.wire.problems import unreadable

if TYPE_CHECKING:
    from holdfast.server.whole import Whole
    from holdfast.store.store import Store

log = logging.getLogger("holdfast.server")
Told = Callable[[object], Answer | None]
READERS = 4
WORKERS = 8
# A link is a secret: a page that it opens must not tell it on, nor may anybody keep the answer.
LINKED = b"Referrer-Policy: no-referrer\r\nCache-Control: private, no-store\r\n"
BROKEN = 500
SETTLED_WITHIN = frozenset(("admin", "batch"))  # where each thing asked has a right of its own


class Site:
    """The state that connections share; made and used on the event loop.

    Args:
        store: the store that is served.
        settings: bounds and deadlines.
        door: settles who asks and whether they may.
        callers: settles which enclave asks.
    """

    def __init__(self, store: Store, settings: Settings, door: Door, callers: Callers) -> None:
        self.store = store
        self.settings = settings
        self.door = door
        self.callers = callers
        self.routes = data_routes(callers)
        self.whole: Store | Whole = store  # as long as no other process holds a part of it
        self.url = store.address  # where whoever answers answers for every key
        self.corridor = store.corridor
        self.clock = store.clock
        self.tenants = Tenants(settings.tenant_requests)
        self.loop = asyncio.get_running_loop()
        self.now_s = self.loop.time()
        self.date = self.beginning = b""
        self.requests = 0
        self.gathered_bytes = 0  # of bodies that came in and are not answered
        self.draining = False
        self.metrics = Metrics(self)
        self.loads, self.stores = (self.metrics.tally(name, OK) for name in ("load", "store"))
        self.kept = Kept(store.placement.directory, settings.kept_bytes)
        self.usage = Usage(store.clock.wall_ns)
        self.rates = Rates(store.clock.wall_ns)
        self.charging = Charging(store)
        self.behind = Behind()
        self.connections: Callable[[], int] = lambda: 0
        self._span = span_maker()
        self._tell_as(settings)
        self.lanes = Lanes(store.corridor, store.clock, settings.queued_bytes)
        self._readers = ThreadPoolExecutor(READERS, "holdfast-read")
        self._workers = ThreadPoolExecutor(WORKERS, "holdfast-work")
        self._name = store.entropy.bytes(4).hex().encode()
        self.tick()

    def take(self, settings: Settings) -> None:
        """Go on by other settings: bounds and deadlines count for what comes from here on."""
        self.settings = settings
        self.tenants.most = settings.tenant_requests
        self.lanes.most_bytes = settings.queued_bytes
        self.kept.bound(settings.kept_bytes)
        self._tell_as(settings)

    def _tell_as(self, settings: Settings) -> None:
        self._log = request_logger(settings.log)
        # Whether nobody is told of requests that went well, beyond their count.
        self.is_quiet = self._span is None and settings.log != "all"

    # -- time ----------------------------------------------------------------------

    def tick(self) -> None:
        """Take note of the time; called about four times a second."""
        self.now_s = self.loop.time()
        self.usage.tick()
        self.charging.tick()
        stamp = formatdate(self.clock.wall_ns() / 1e9, usegmt=True)
        self.date = b"Date: %b\r\n" % stamp.encode()
        self.beginning = begin_well(self.date, self._name)

    def name_at(self, number: int) -> bytes:
        """What ``Holdfast-Request`` calls a request by its number."""
        return b"%b-%x" % (self._name, number)

    # -- admitting -------------------------------------------------------------------

    def refuse_connection(self, count: int) -> Answer | None:
        """The answer to one connection too many."""
        if self.draining or count > self.settings.connections:
            return refused(Unavailable(reason="too many connections"))
        return None

    def admit(self, request: Request, route: Route | None = None) -> Answer | None:
        """Settle route (but where that is known), caller and right; the answer if refused."""
        try:
            if route is None:
                return self._admit(request)
            self._admit_to(request, route)
        except HoldfastError as error:
            return refused(error)
        except Exception:
            log.exception("a request could not be admitted")
            return plain(BROKEN, "holdfast", "the server has a fault")
        return None

    def _admit(self, request: Request) -> Answer | None:
        if not request.path.startswith(b"/"):
            raise unreadable("not a path")
        found = self.routes.find(request.path)
        if found is None:
            return self._admit_behind(request)
        if found.face is not None:
            request.face = found.face
            found.face.meet(request, found.namespace)
        if found.namespace is not None:
            request.tenant = self.tenants.find(found.namespace)
            asked = self._meet_browser(request, request.tenant.name, found.methods)
            if asked is not None:
                return asked
        if found.key is not None:
            request.key = decode_key(found.key)
        route = chosen(found.methods, request.method)
        if route is None:
            return not_allowed(found.methods)
        self._admit_to(request, route)
        return None

    def _admit_behind(self, request: Request) -> Answer | None:
        asked = self._meet_browser(request, namespace_in(request.path), SELDOM)
        if asked is None:
            self._admit_to(request, self.behind.route)
        return asked

    def _meet_browser(
        self, request: Request, namespace: str, methods: Iterable[str]
    ) -> Answer | None:
        if "origin" not in request.headers:
            return None
        return meet(request, self.door.origins(namespace), methods)

    def admit_call(self, request: Request, route: Route, size: int) -> None:
        """The same for a request that did not come over HTTP; Unauthenticated, Forbidden."""
        request.route, request.size_bytes = route, max(size, 0)
        self._hold(request, route, self._who(request), size)

    def _admit_to(self, request: Request, route: Route) -> None:
        request.route = route
        refuse_untaken(request, route)
        if MARK in request.headers and not route.late:
            self.callers.expect(request)
            bound(request, route, marked=True)
            return  # who asks is settled when the body is there
        size = bound(request, route)
        request.size_bytes = max(size, 0)
        if route.operation and not route.late:
            self._hold(request, route, self._who(request), size)
        if route.body == "value" and (size < 0 or size > VALUE_RECORD_BYTES):
            request.sink = upload_of(self, request)

    def _hold(self, request: Request, route: Route, principal: Principal, size: int) -> None:
        """Hold a request against its caller's rights; Unauthenticated, Forbidden."""
        request.principal = principal
        if route.operation == "locate":  # what it is about is not in its path
            name, request.key = located(request)
            request.tenant = self.tenants.find(name.encode())
        if request.tenant is not None and self.charging.known:
            self.charging.hold(request, request.tenant, route.operation)
        if route.operation in SETTLED_WITHIN:
            if principal.kind == "anonymous":
                raise Unauthenticated(reason="missing")
            return
        tenant = request.tenant
        address = request.address
        if tenant is not None and self.door.passes(
            principal, tenant.name, route.operation, address
        ):
            return
        namespace, key = tenant.name if tenant is not None else "", request.key
        if route.operation in SHOWING and request.face is None:
            key = decode_query(request.query).get("prefix", "")
        ask = Ask(namespace, route.operation, key, size, address)
        if self.door.waits(principal, namespace):
            request.ask = ask  # a thread settles it, before the request is begun
        else:
            self.door.allow(principal, ask)

    def _who(self, request: Request) -> Principal:
        authorization = request.headers.get("authorization")
        query = request.query
        grant = decode_query(query).get("grant") if b"grant=" in query else None
        if grant is not None:
            request.extra += LINKED
        if authorization is None and grant is None and request.peer is not None:
            return request.peer
        try:
            return self.door.who(authorization, grant)
        except Unauthenticated as error:
            audit.tell("refused", ANONYMOUS, Ask("", "", address=request.address), **error.facts)
            raise

    # -- answering -------------------------------------------------------------------

    def begin(self, request: Request) -> None:
        """Have a request answered, at once or later."""
        request.began_ns = self.clock.monotonic_ns()
        route = request.route
        if MARK in request.headers and route is not None and not route.late:
            go_on = partial(self._begin_marked, request, route)
            self._answer(request, lambda: self.callers.settle(self, request, go_on))
            return
        self._begin_held(request)

    def _begin_marked(self, request: Request, route: Route, principal: Principal) -> None:
        self._hold(request, route, principal, len(request.body))
        self._begin_held(request)

    def _begin_held(self, request: Request) -> None:
        """Begin a request whose caller is known, and may ask it if a thread agrees."""
        ask, request.ask = request.ask, None
        if ask is None:
            self._go_on(request)
        else:
            allow = partial(self.door.allow, request.principal or ANONYMOUS, ask)
            self.on_thread(self._workers, allow, self._allowed(request))

    def _allowed(self, request: Request) -> Settle:
        def settle(outcome: object) -> None:
            if isinstance(outcome, BaseException):
                self._answer(request, lambda: _result(outcome, _unreachable))
            else:
                self._go_on(request)

        return settle

    def _go_on(self, request: Request) -> None:
        """Hand a request that is allowed, and whose time is not over, to its handler."""
        route = request.route
        if route is None:
            raise AssertionError("a request without a route is not begun")
        try:
            if TIMEOUT in request.headers:
                self.deadline_ns(request)
            if request.sink is not None:
                request.sink.start()
                return
            answer = route.handle(self, request)
        except HoldfastError as error:
            answer = refused(error)
        except Exception as error:  # noqa: BLE001 - the caller is told, and so is the log
            answer = self.fault(error)
        if answer is not None:
            request.answer(answer)

    def fault(self, error: object) -> Answer:
        """The answer where the mistake is ours."""
        log.error("a request failed", exc_info=error if isinstance(error, Exception) else None)
        return plain(BROKEN, "holdfast", "the server has a fault")

    @staticmethod
    def are_of_a_kind(one: Request, other: Request) -> bool:
        """Whether two requests may be under way side by side."""
        if one.route is None or other.route is None:
            return other.reply is not None
        if one.sink is not None or other.sink is not None:
            return False
        if MARK in one.headers or MARK in other.headers:
            return False  # their counters must be looked at in order
        return one.route.kind == other.route.kind != "alone"

    def deadline_ns(self, request: Request) -> int | None:
        """When a request may no longer be begun, in monotonic nanoseconds.

        Raises:
            DeadlineExceeded: its time is over already.
        """
        left = request.left_ns()
        if left is None:
            return None
        if self.clock.monotonic_ns() >= request.began_ns + left:
            raise DeadlineExceeded
        return request.began_ns + left

    def commit(
        self, request: Request, operation: Operation, told: Callable[[object], Answer], size: int
    ) -> None:
        """Carry out a write in its bucket's lane; ``told`` makes the answer of its result."""

        def told_or_raised(outcome: object) -> Answer:
            if isinstance(outcome, HoldfastError):
                raise outcome
            return told(outcome)

        self.commit_all(request, operation, told_or_raised, size)

    def commit_all(self, request: Request, operation: Operation, told: Told, size: int) -> None:
        """As ``commit``; ``told`` is given errors too, and None from it is no answer yet."""
        operation.once = numbered(request)
        tenant = request.tenant
        deadline_ns = self.deadline_ns(request)
        if tenant is not None:
            self.tenants.admit(tenant)

        def settle(outcome: object) -> None:
            if tenant is not None:
                tenant.leave()
            request.cost_atto = operation.cost_atto
            self._answer(request, lambda: told(outcome))

        try:
            self.lanes.put(operation, settle, size, deadline_ns)
        except HoldfastError:
            if tenant is not None:
                tenant.leave()
            raise

    def ask(
        self, request: Request, work: Callable[[], object], told: Callable[[object], Answer]
    ) -> None:
        """Carry out a read on a thread."""
        self._ask(self._readers, request, work, told)

    def work(self, request: Request, work: Callable[[], object], told: Told) -> None:
        """Carry out what may take long, or write, on another thread than reads."""
        self._ask(self._workers, request, work, told)

    def _ask(
        self, pool: ThreadPoolExecutor, request: Request, work: Callable[[], object], told: Told
    ) -> None:
        tenant = request.tenant
        deadline_ns = self.deadline_ns(request)
        if tenant is not None:
            self.tenants.admit(tenant)

        def in_time() -> object:
            if deadline_ns is not None and self.clock.monotonic_ns() >= deadline_ns:
                raise DeadlineExceeded
            return billed(request, work)

        def settle(outcome: object) -> None:
            if tenant is not None:
                tenant.leave()
            self.conclude(request, outcome, told)

        self.on_thread(pool, in_time, settle)

    def conclude(self, request: Request, outcome: object, told: Told) -> None:
        """Answer a request by what became of its work: a result, or an error."""
        self._answer(request, lambda: _result(outcome, told))

    def _answer(self, request: Request, make: Callable[[], Answer | None]) -> None:
        try:
            answer = make()
        except HoldfastError as error:
            answer = refused(error)
        except Exception as error:  # noqa: BLE001 - the caller is told, and so is the log
            answer = self.fault(error)
        if answer is not None:
            request.answer(answer)

    def read(self, work: Callable[[], object], settle: Settle) -> None:
        """Carry out a read for nobody's account (of a download that is under way)."""
        self.on_thread(self._readers, work, settle)

    def write(self, work: Callable[[], object], settle: Settle) -> None:
        """Carry out a write for nobody's account (of an upload that is under way)."""
        self.on_thread(self._workers, work, settle)

    def on_thread(
        self, pool: ThreadPoolExecutor, work: Callable[[], object], settle: Settle
    ) -> None:
        """Carry out work on a thread; ``settle`` is called on the loop with its result or error."""

        def run() -> None:
            outcome: object
            try:
                outcome = work()
            except BaseException as error:  # noqa: BLE001 - whoever waits is told
                outcome = error
            try:
                self.loop.call_soon_threadsafe(settle, outcome)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

        try:
            pool.submit(run)
        except RuntimeError:
            raise Unavailable from None

    def tenant_of(self, request: Request) -> Tenant:
        """The namespace that a request is about."""
        if request.tenant is None:
            raise InvalidValue(argument="namespace", reason="missing")
        return request.tenant

    def note(self, request: Request, answer: Answer) -> None:
        """A request is answered: count it, log it."""
        took_ns = self.clock.monotonic_ns() - request.began_ns if request.began_ns else 0
        self.metrics.count(request.operation, answer.status, took_ns)
        tenant = request.tenant
        if tenant is not None:
            out_bytes = answer.sent_bytes(request.method)
            told_bytes = request.sent_bytes  # no price is asked of an envelope
            self.charging.charge(request, answer, out_bytes if told_bytes is None else told_bytes)
            in_bytes, cost = request.size_bytes, answer.cost_atto
            self.usage.count(tenant.name, in_bytes=in_bytes, out_bytes=out_bytes, cost_atto=cost)
        if self._log is not None:
            self._log(request, answer, took_ns, self.name_at(request.number).decode())
        if self._span is not None:
            self._span(request, answer, self.clock.wall_ns(), took_ns)

    def gather(self, request: Request, size: int) -> Answer | None:
        """Make room for a piece of a body; a refusal where bodies together take too much."""
        if self.gathered_bytes + size > self.settings.gathered_bytes:
            return refused(Busy(gathered_bytes=self.gathered_bytes))
        self.gathered_bytes += size
        request.gathered_bytes += size
        return None

    def forget(self, request: Request) -> None:
        """A request that is answered, or whose caller is gone: its body is no longer kept."""
        if request.held is not None:
            request.let_go()
        self.gathered_bytes -= request.gathered_bytes
        request.gathered_bytes = 0

    def close(self) -> None:
        """Let the threads go."""
        self.lanes.close()
        self.callers.close()
        self._workers.shutdown(wait=True)
        self._readers.shutdown(wait=True)


def _unreachable(_: object) -> Answer:
    raise AssertionError("an error was expected")


def _result(outcome: object, told: Told) -> Answer | None:
    if isinstance(outcome, BaseException):
        raise outcome
    return told(outcome)
