"""One call on its way: a request of the site that came over gRPC, and how it is answered.

The site settles who asks, what is allowed and what it costs as for HTTP; here its answers become
messages and trailers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from holdfast.errors import HoldfastError, InvalidNamespace
from holdfast.request.arguments import compose
from holdfast.server.answers import Answer, refused
from holdfast.server.http2.call import Call, Ended
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

Context: TypeAlias = Call
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
    then: Callable[[Answer], object] | None = None  # what is to be done with its answer
    message: Any = None  # what it asks, parsed
    version = 0  # of the object that it is about, for the trailers
    found: Any = None  # what a stream of a value goes on with

    def __init__(self, site: Site, context: Context, headers: dict[str, str] | None = None) -> None:
        site.requests += 1
        super().__init__(self, site.requests)
        self._site = site
        self._context = context
        self.headers = _wanted(context) if headers is None else headers

    @property
    def address(self) -> str:  # type: ignore[override] # found out when it is asked for
        """Who is at the other end."""
        return self._context.host

    @property
    def is_waited_for(self) -> bool:  # type: ignore[override] # as of ``address``
        """Whether its caller waits for an answer."""
        return not self._context.is_gone

    def left_ns(self) -> int | None:
        """Nanoseconds until its deadline; None where it has none."""
        return self._context.left_ns()

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
        if self.then is not None and self.reply is not None:
            self.then(self.reply)
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


def _wanted(context: Context) -> dict[str, str]:
    """What of the metadata means something here."""
    opening = context.opening
    if opening.kept is None:
        texts = {name: text for name, text in opening.metadata if name in WANTED}
        opening.kept = {name: text for name, text in texts.items() if isinstance(text, str)}
    return opening.kept.copy()


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
    if answer.status >= BAD:
        end(site, called, answer, context)
        raise Ended
    called.let_go()
    site.note(called, answer)
    context.set_trailing_metadata(_trailers(site, called, answer))
    return answer.body


def end(site: Site, called: Called, answer: Answer, context: Context) -> None:
    """End a call of one answer."""
    called.let_go()
    site.note(called, answer)
    if answer.status < BAD:
        context.reply(answer.body, _trailers(site, called, answer))
    else:
        trailers = trailers_of(site, called.tenant, answer.cost_atto)
        refuse(site, called.number, answer, trailers, context)


def _trailers(site: Site, called: Called, answer: Answer) -> Trailers:
    trailers, version = trailers_of(site, called.tenant, answer.cost_atto), called.version
    return (*trailers, (VERSION, str(version))) if version else trailers


def trailers_of(site: Site, tenant: Tenant | None, cost_atto: int) -> Trailers:
    """What a call cost, and what a namespace that pays has left."""
    cost = (COST, str(cost_atto))
    balance = None if tenant is None else site.charging.balance_of(tenant)
    return (cost,) if balance is None else (cost, (BALANCE, str(balance)))


def refuse(  # noqa: PLR0917 - a call, and what it is told
    site: Site, number: int, answer: Answer, trailers: Trailers, context: Context
) -> None:
    """End a call that is refused."""
    head = msgspec.json.decode(answer.body, type=Head)
    code = answer.code or head.code
    problem = answer.body if len(answer.body) <= PROBLEM_BYTES else _bare(answer.body)
    more = ((REQUEST, site.name_at(number).decode()), (CODE, code), (PROBLEM, problem))
    context.refuse(rpc_status(code), head.title, (*trailers, *more))


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


def allowed(_site: Site, _request: Request) -> Answer:
    """Answers a call that goes on as a stream, once it is allowed."""
    return Answer()
