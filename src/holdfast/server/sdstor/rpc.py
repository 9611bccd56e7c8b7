"""0-stor's gRPC interface (docs/PROTOCOL.md section 7): its methods, who may, its refusals.

A call is admitted as 0-stor does it: the label, then the method, then the token, then what is
asked. The work is done on the site's threads, as that of its other faces.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import grpc
import grpc.aio

from holdfast.access.grants import Ask
from holdfast.errors import (
    Busy,
    Closed,
    Corrupt,
    DeadlineExceeded,
    Forbidden,
    HoldfastError,
    InvalidKey,
    InvalidNamespace,
    InvalidValue,
    LimitExceeded,
    NotFound,
    Permanent,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from holdfast.limits import CONSUMERS, VALUE_RECORD_BYTES
from holdfast.server.sdstor.shelf import Shelf
from holdfast.wire import zstor as wire
from holdfast.wire.problems import BAD_REQUEST, status_of
from holdfast.wire.sdstor import TOO_MANY

if TYPE_CHECKING:
    from holdfast.server.site import Site

Work = TypeVar("Work")
Context = Any  # grpc.aio.ServicerContext, which ships without types
AUTHORIZATION, LABEL = "authorization", "label"
FINE, BROKEN = 200, 500


class Refused(Exception):
    """A call is refused: a code of gRPC, and 0-stor's text."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = f"zstordb: {text}"


def _nil(what: str) -> Refused:
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, f"{what} is not provided")


CODES: Final = grpc.StatusCode
NIL_LABEL: Final = (CODES.UNAUTHENTICATED, "no label given")
NIL_TOKEN: Final = (CODES.UNAUTHENTICATED, "no JWT token given")
DENIED: Final = (CODES.PERMISSION_DENIED, "JWT token does not permit requested action")
UNIMPLEMENTED: Final = (CODES.UNIMPLEMENTED, "method support not implemented")
DATABASE: Final = (CODES.INTERNAL, "database operation failed")
# The first that fits; what is not here is a failure of the database.
REFUSALS: Final[tuple[tuple[type[HoldfastError], tuple[grpc.StatusCode, str]], ...]] = (
    (NotFound, (CODES.NOT_FOUND, "key is no found")),  # (sic)
    (Corrupt, (CODES.DATA_LOSS, "object data is corrupted")),
    (Unauthenticated, DENIED),
    (Forbidden, DENIED),
    (InvalidNamespace, DENIED),
    (InvalidKey, (CODES.INVALID_ARGUMENT, "key is not valid")),
    (InvalidValue, (CODES.INVALID_ARGUMENT, "request is not valid")),
    (LimitExceeded, (CODES.INVALID_ARGUMENT, "a limit would be exceeded")),
    (Permanent, (CODES.FAILED_PRECONDITION, "object is permanent")),
    (RateLimited, (CODES.RESOURCE_EXHAUSTED, "too many requests")),
    (Busy, (CODES.UNAVAILABLE, "database is catching up")),
    (Unavailable, (CODES.UNAVAILABLE, "server is going down")),
    (Closed, (CODES.UNAVAILABLE, "server is going down")),
    (DeadlineExceeded, (CODES.DEADLINE_EXCEEDED, "the deadline has passed")),
)
LIMITED: Final = {
    "CONSUMERS": TOO_MANY,
    "VALUE_RECORD_BYTES": f"data is too big, can only contain {VALUE_RECORD_BYTES} bytes",
}


def refusal_of(error: HoldfastError) -> Refused:
    """An error in 0-stor's words."""
    if isinstance(error, Unauthenticated) and error.facts.get("reason") == "missing":
        return Refused(*NIL_TOKEN)
    if isinstance(error, LimitExceeded) and error.facts.get("limit") in LIMITED:
        return Refused(CODES.INVALID_ARGUMENT, LIMITED[str(error.facts["limit"])])
    for kind, told in REFUSALS:
        if isinstance(error, kind):
            return Refused(*told)
    return Refused(*DATABASE)


class Call(NamedTuple):
    """One call that may be carried out."""

    shelf: Shelf
    label: str
    asked: wire.Asked

    @property
    def key(self) -> str:
        """The key that is asked for."""
        return wire.key_of(self.asked.key)


# -- what each method does -----------------------------------------------------------------


def _check_asked(method: wire.Method, asked: wire.Asked) -> None:
    """Refuse what is missing or too much, in 0-stor's order."""
    if "key" in method.asks and not asked.key:
        raise _nil("key")
    if "data" in method.asks and not asked.data:
        raise _nil("data")
    if method.asks == wire.LISTED and not asked.references:
        raise _nil("reference list")
    if len(asked.references) > CONSUMERS:
        raise LimitExceeded(limit="CONSUMERS", most=CONSUMERS, asked=len(asked.references))
    if len(asked.data) > VALUE_RECORD_BYTES:
        limit, size = "VALUE_RECORD_BYTES", len(asked.data)
        raise LimitExceeded(limit=limit, most=VALUE_RECORD_BYTES, asked=size)


def _set_object(_site: Site, call: Call) -> Sequence[object]:
    call.shelf.put(call.key, call.asked.data, call.asked.references or None)
    return ()


def _get_object(_site: Site, call: Call) -> Sequence[object]:
    return call.shelf.get(call.key)


def _delete_object(_site: Site, call: Call) -> Sequence[object]:
    call.shelf.drop(call.key)
    return ()


def _status(_site: Site, call: Call) -> Sequence[object]:
    return (wire.TELLING[call.shelf.status(call.key)],)


def _set_list(_site: Site, call: Call) -> Sequence[object]:
    call.shelf.set(call.key, call.asked.references)
    return ()


def _get_list(_site: Site, call: Call) -> Sequence[object]:
    return (call.shelf.references(call.key),)


def _count(_site: Site, call: Call) -> Sequence[object]:
    return (call.shelf.count(call.key),)


def _append(_site: Site, call: Call) -> Sequence[object]:
    call.shelf.append(call.key, call.asked.references)
    return ()


def _remove(_site: Site, call: Call) -> Sequence[object]:
    return (call.shelf.remove(call.key, call.asked.references),)


def _clear(_site: Site, call: Call) -> Sequence[object]:
    call.shelf.clear(call.key)
    return ()


def _namespace(site: Site, call: Call) -> Sequence[object]:
    return (call.label, *site.rates.per_hour(call.label), call.shelf.figures().objects)


class Act(NamedTuple):
    """How a method is carried out: its name in the table of rights, and whether it writes."""

    operation: str
    act: Callable[[Site, Call], Sequence[object]] | None
    writes: bool = False


ACTS: Final[dict[str, Act]] = {
    # 0-stor asks for the administrator here, and over REST for a reader.
    "GetNamespace": Act("grants", _namespace),
    "SetObject": Act("store", _set_object, writes=True),
    "GetObject": Act("load", _get_object),
    "DeleteObject": Act("delete", _delete_object, writes=True),
    "GetObjectStatus": Act("exists", _status),
    "ListObjectKeys": Act("list", None),
    "SetReferenceList": Act("consumers.set", _set_list, writes=True),
    "GetReferenceList": Act("consumers.list", _get_list),
    "GetReferenceCount": Act("consumers.list", _count),
    "AppendToReferenceList": Act("consumers.append", _append, writes=True),
    "DeleteFromReferenceList": Act("consumers.remove", _remove, writes=True),
    "DeleteReferenceList": Act("consumers.remove", _clear, writes=True),
}


# -- one call ------------------------------------------------------------------------------


class Manager(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc ships without types
    """Answers the calls of both services.

    Args:
        site: whose store, threads and figures they use.
    """

    def __init__(self, site: Site, service: str) -> None:
        self._site = site
        self._prefix = f"/{service}/"
        self._methods = {one.path: one for one in wire.METHODS if one.service == service}

    def service(self, handler_call_details: Any) -> Any:  # noqa: ANN401 - as grpc has it
        """The handler of a call; one that refuses for a method that nobody knows."""
        path = handler_call_details.method
        if not path.startswith(self._prefix):
            return None
        method = self._methods.get(path)
        if method is None:
            return grpc.unary_unary_rpc_method_handler(self._unknown)
        if method.name == wire.STREAMED:
            return grpc.unary_stream_rpc_method_handler(self._streaming(method))
        return grpc.unary_unary_rpc_method_handler(self._unary(method))

    async def _unknown(self, _message: bytes, context: Context) -> bytes:
        refused = Refused(*UNIMPLEMENTED)
        return bytes(await context.abort(refused.code, refused.text))

    def _unary(self, method: wire.Method) -> Callable[[bytes, Context], Any]:
        act = ACTS[method.name]

        async def answer(message: bytes, context: Context) -> bytes:
            async def carry_out() -> bytes:
                call = await self._admit(method, message, context)
                if act.act is None:
                    raise AssertionError(method.name)
                do = act.act
                fields = await self._on_thread(call.label, act, lambda: do(self._site, call))
                return wire.told(method, *fields)

            return await self._told(act, context, carry_out())

        return answer

    def _streaming(self, method: wire.Method) -> Callable[[bytes, Context], Any]:
        act = ACTS[method.name]

        async def answer(message: bytes, context: Context) -> AsyncIterator[bytes]:
            call = await self._told(act, context, self._admit(method, message, context))
            pages = call.shelf.keys()
            while True:
                page = await self._told(act, context, self._next(call, act, pages))
                if page is None:
                    return
                for key in page:
                    yield wire.told(method, wire.raw_of(key))

        return answer

    async def _next(self, call: Call, act: Act, pages: Iterator[list[str]]) -> list[str] | None:
        return await self._on_thread(call.label, act, lambda: next(pages, None))

    async def _told(self, act: Act, context: Context, work: Awaitable[Work]) -> Work:
        """What some work comes to; a refusal ends the call."""
        site = self._site
        began_ns, status = site.clock.monotonic_ns(), BROKEN
        try:
            result = await work
        except HoldfastError as error:
            status, refused = status_of(error), refusal_of(error)
        except Refused as error:
            status, refused = BAD_REQUEST, error
        except Exception as error:  # noqa: BLE001 - the caller is told, and so is the log
            site.fault(error)
            refused = Refused(*DATABASE)
        else:
            status = FINE
            return result
        finally:
            site.metrics.count(act.operation, status, site.clock.monotonic_ns() - began_ns)
        await context.abort(refused.code, refused.text)
        raise AssertionError("a refused call does not go on")

    async def _admit(self, method: wire.Method, message: bytes, context: Context) -> Call:
        """Settle who asks and whether they may, then what; the same order as 0-stor's."""
        site, act = self._site, ACTS[method.name]
        metadata = {name: text for name, text in context.invocation_metadata() or () if text}
        label = metadata.get(LABEL)
        if not label:
            raise Refused(*NIL_LABEL)
        shelf = Shelf(site.store, label)
        asked = wire.asked(method, message)
        key = wire.key_of(asked.key) if asked.key else ""
        await self._allow(
            metadata, Ask(label, act.operation, key, len(asked.data), _address(context))
        )
        site.rates.count(label, writes=act.writes)
        _check_asked(method, asked)
        return Call(shelf, label, asked)

    async def _allow(self, metadata: dict[str, str], ask: Ask) -> None:
        door, authorization = self._site.door, str(metadata.get(AUTHORIZATION, "")).strip()
        if authorization and " " not in authorization:
            authorization = f"Bearer {authorization}"
        principal = door.who(authorization or None, None)
        if door.waits(principal, ask.namespace):
            await _on_thread(self._site, lambda: door.allow(principal, ask), writes=True)
        else:
            door.allow(principal, ask)

    async def _on_thread(self, label: str, act: Act, work: Callable[[], Work]) -> Work:
        """Do some work of a namespace on a thread of the site."""
        tenant = self._site.tenants.find(label.encode())
        self._site.tenants.admit(tenant)
        try:
            return await _on_thread(self._site, work, writes=act.writes)
        finally:
            tenant.under_way -= 1


async def _on_thread(site: Site, work: Callable[[], Work], *, writes: bool) -> Work:
    """The result of some work on a thread: a write is carried out even if nobody waits."""
    waiting: asyncio.Future[Work] = site.loop.create_future()

    def settle(outcome: object) -> None:
        if waiting.cancelled():
            return
        if isinstance(outcome, BaseException):
            waiting.set_exception(outcome)
        else:
            waiting.set_result(outcome)  # type: ignore[arg-type] # it is what the work returned

    (site.write if writes else site.read)(work, settle)
    return await waiting


def _address(context: Context) -> str:
    """The caller's IP address: "ipv4:127.0.0.1:1234", "ipv6:%5B::1%5D:1234"."""
    kind, _, rest = context.peer().partition(":")
    host = rest.rpartition(":")[0]
    if kind == "ipv6":
        return str(host.replace("%5B", "").replace("%5D", "").strip("[]"))
    return str(host) if kind == "ipv4" else ""


def add_namespaces(server: grpc.aio.Server, site: Site) -> str:
    """Serve 0-stor's NamespaceManager; its name."""
    return _add(server, site, "NamespaceManager")


def add_objects(server: grpc.aio.Server, site: Site) -> str:
    """Serve 0-stor's ObjectManager; its name."""
    return _add(server, site, "ObjectManager")


def _add(server: grpc.aio.Server, site: Site, service: str) -> str:
    wire.register()
    server.add_generic_rpc_handlers((Manager(site, service),))
    return service
