"""One call on its way: a request of the site that came over gRPC, and how it is answered.

The site settles who asks, what is allowed and what it costs as for HTTP; here its answers become
messages and trailers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
import msgspec
from grpc.aio import ServicerContext

from holdfast.errors import HoldfastError, InvalidNamespace
from holdfast.request.arguments import compose
from holdfast.server.answers import Answer, refused
from holdfast.server.requests import Request
from holdfast.wire.protobuf.statuses import (
    BALANCE,
    BUCKET,
    CODE,
    COST,
    PROBLEM,
    REQUEST,
    SESSION,
    VERSION,
    rpc_status,
)

if TYPE_CHECKING:
    from holdfast.server.site import Site
    from holdfast.server.tenants import Tenant

BAD: Final = 400
PROBLEM_BYTES: Final = 4096  # callers take 8 KiB of trailers unless they are told otherwise
WANTED: Final = frozenset(("authorization", SESSION, BUCKET))
SECOND_NS: Final = 1_000_000_000
PATIENCE_S: Final = 1e9  # a deadline beyond this is none
STATUS: Final = {status.value[0]: status for status in grpc.StatusCode}


Context: TypeAlias = ServicerContext
Trailers: TypeAlias = tuple[tuple[str, str], ...]


class Called(Request):
    """One call; it owns itself, for nothing else comes in by its way.

    Args:
        site: admits and answers it.
        context: the call as gRPC knows it.
        headers: what its metadata says, where that was read already.
    """

    _done: asyncio.Future[None] | None = None
    _room: asyncio.Future[None] | None = None
    message: Any = None  # what it asks, parsed
    version = 0  # of the object that it is about, for the trailers
    found: Any = None  # what a stream of a value goes on with

    def __init__(self, site: Site, context: Context, headers: dict[str, str] | None = None) -> None:
        site.requests += 1
        super().__init__(self, site.requests)
        self._site = site
        self._context = context
        if headers is not None:
            self.headers = headers
            return
        for name, text in context.invocation_metadata() or ():
            if name in WANTED:
                self.headers[name] = text

    @property
    def address(self) -> str:  # type: ignore[override] # found out when it is asked for
        """Who is at the other end."""
        return host_of(self._context.peer())

    def left_ns(self) -> int | None:
        """Nanoseconds until its deadline; None where it has none."""
        left_s: float | None = self._context.time_remaining()
        if left_s is None or left_s > PATIENCE_S:
            return None
        return max(0, round(left_s * SECOND_NS))

    def aim(self, namespace: str, key: str | None = None) -> None:
        """Say which namespace it is about, and which key.

        Raises:
            InvalidNamespace, InvalidKey.
        """
        if not namespace.isascii() or "%" in namespace:  # found as it stands in a path
            raise InvalidNamespace(namespace=namespace)
        self.tenant = self._site.tenants.find(namespace.encode())
        if key is not None:
            compose(b"", key)
            self.key = key

    def answered(self, _request: Request) -> None:
        """It has its answer."""
        for waits in (self._done, self._room):
            if waits is not None and not waits.done():
                waits.set_result(None)

    def read_on(self) -> None:
        """Its upload has room again."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    async def room(self) -> None:
        """Until its upload has room, or it is answered."""
        self._room = self._site.loop.create_future()
        await self._room

    async def outcome(self) -> Answer:
        """Its answer, once it has one."""
        if self.reply is None:
            self._done = self._site.loop.create_future()
            await self._done
        if self.reply is None:
            raise AssertionError("it was answered")
        return self.reply


@lru_cache(1024)
def host_of(peer: str) -> str:
    """The address in what gRPC calls a peer.

    Example:
        >>> host_of("ipv4:127.0.0.1:4711"), host_of("ipv6:%5B::1%5D:4711")
        ('127.0.0.1', '::1')
    """
    kind, _, rest = peer.partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return ""
    return rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")


async def conduct(site: Site, called: Called, prepare: Callable[[], object]) -> Answer:
    """Prepare a call, which admits it, and have the site answer it."""
    try:
        prepare()
    except HoldfastError as error:
        return refused(error)
    except Exception as error:  # noqa: BLE001 - the caller is told, and so is the log
        return site.fault(error)
    site.begin(called)
    return called.reply or await called.outcome()


async def finish(site: Site, called: Called, answer: Answer, context: Context) -> bytes:
    """End a call by its answer: note it, tell its trailers; its message, or the end of the call."""
    site.note(called, answer)
    trailers = trailers_of(site, called.tenant, answer.cost_atto)
    if answer.status < BAD:
        version = called.version
        context.set_trailing_metadata((*trailers, (VERSION, str(version))) if version else trailers)
        return answer.body
    await refuse(site, called.number, answer, trailers, context)
    raise AssertionError("an abort raises")


def trailers_of(site: Site, tenant: Tenant | None, cost_atto: int) -> Trailers:
    """What a call cost, and what a namespace that pays has left."""
    cost = (COST, str(cost_atto))
    balance = None if tenant is None else site.charging.balance_of(tenant)
    return (cost,) if balance is None else (cost, (BALANCE, str(balance)))


async def refuse(  # noqa: PLR0917 - a call, and what it is told
    site: Site, number: int, answer: Answer, trailers: Trailers, context: Context
) -> None:
    """End a call that is refused."""
    head = msgspec.json.decode(answer.body, type=Head)
    code = answer.code or head.code
    problem = answer.body if len(answer.body) <= PROBLEM_BYTES else _bare(answer.body)
    more = ((REQUEST, site.name_at(number).decode()), (CODE, code), (PROBLEM, problem))
    await context.abort(STATUS[rpc_status(code)], head.title, (*trailers, *more))


def _bare(body: bytes) -> bytes:
    """A problem document without its facts."""
    return msgspec.json.encode(msgspec.json.decode(body, type=dict[str, object]) | {"facts": {}})


class Head(msgspec.Struct):
    """What a problem document begins with."""

    code: str = ""
    title: str = ""


def on_thread(site: Site, work: Callable[[], object]) -> Awaitable[Any]:
    """Carry out a read for nobody's account, on a thread."""
    done: asyncio.Future[object] = site.loop.create_future()

    def settle(outcome: object) -> None:
        if done.cancelled():
            return
        if isinstance(outcome, BaseException):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)

    site.read(work, settle)
    return done


ALLOWED: Final = Answer()


def allowed(_site: Site, _request: Request) -> Answer:
    """Answers a call that goes on as a stream, once it is allowed."""
    return ALLOWED
