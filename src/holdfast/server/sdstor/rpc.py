"""0-stor's gRPC interface (docs/PROTOCOL.md section 7): its methods, and who may call them.

A call is admitted, carried out, counted and limited as one of this house's own gRPC service;
here are what 0-stor's methods do, and the words that its refusals have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast

import msgspec

from holdfast.errors import HoldfastError, InvalidValue, LimitExceeded, Unauthenticated
from holdfast.limits import CONSUMERS, VALUE_RECORD_BYTES
from holdfast.server.answers import Answer, refused
from holdfast.server.http2.call import Ended
from holdfast.server.http2.methods import Method
from holdfast.server.requests import Request
from holdfast.server.routes import Route
from holdfast.server.rpc.called import BAD, Called, Context, conduct, on_thread
from holdfast.server.sdstor import writing
from holdfast.server.sdstor.face import bear
from holdfast.server.sdstor.shelf import Shelf, check_label
from holdfast.wire import zstor as wire

if TYPE_CHECKING:
    from holdfast.server.http2.methods import Methods
    from holdfast.server.site import Site

LABEL: Final = "label"
ABSENT: Final = "missing"
Handling = Callable[[wire.Method, "Site", Request], Answer | None]
Fields = Sequence[object]  # of an answer, in the order of their numbers


class Call(NamedTuple):
    """One call that is allowed: whose objects, which of them, what is asked."""

    shelf: Shelf
    key: str
    asked: wire.Asked


# -- what each method does -----------------------------------------------------------------


def _get_object(call: Call) -> Fields:
    return call.shelf.get(call.key)


def _delete_object(call: Call) -> Fields:
    call.shelf.drop(call.key)
    return ()


def _status(call: Call) -> Fields:
    return (wire.TELLING[call.shelf.status(call.key)],)


def _get_list(call: Call) -> Fields:
    return (call.shelf.references(call.key),)


def _count(call: Call) -> Fields:
    return (call.shelf.count(call.key),)


def _remove(call: Call) -> Fields:
    return (call.shelf.remove(call.key, call.asked.references),)


def _clear(call: Call) -> Fields:
    call.shelf.clear(call.key)
    return ()


class Act(NamedTuple):
    """How a method is carried out: its name in the table of rights, and whether it writes."""

    operation: str
    act: Callable[[Call], Fields] | None = None
    writes: bool = False


ACTS: Final[dict[str, Act]] = {
    # 0-stor asks for the administrator here, and over REST for a reader.
    "GetNamespace": Act("grants"),
    "SetObject": Act("store", writes=True),
    "GetObject": Act("load", _get_object),
    "DeleteObject": Act("delete", _delete_object, writes=True),
    "GetObjectStatus": Act("exists", _status),
    "ListObjectKeys": Act("list"),
    "SetReferenceList": Act("consumers.set", writes=True),
    "GetReferenceList": Act("consumers.list", _get_list),
    "GetReferenceCount": Act("consumers.list", _count),
    "AppendToReferenceList": Act("consumers.append", writes=True),
    "DeleteFromReferenceList": Act("consumers.remove", _remove, writes=True),
    "DeleteReferenceList": Act("consumers.remove", _clear, writes=True),
}


def _check(method: wire.Method, asked: wire.Asked) -> None:
    """Refuse what is missing or too much, in 0-stor's order."""
    optional = method.name == "SetObject"
    for name, given in (
        ("key", asked.key),
        ("data", asked.data),
        ("referenceList", asked.references or optional),
    ):
        if name in method.asks and not given:
            raise InvalidValue(argument=name, reason=ABSENT)
    if len(asked.references) > CONSUMERS:
        raise LimitExceeded(limit="CONSUMERS", most=CONSUMERS, asked=len(asked.references))
    if len(asked.data) > VALUE_RECORD_BYTES:
        limit, size = "VALUE_RECORD_BYTES", len(asked.data)
        raise LimitExceeded(limit=limit, most=VALUE_RECORD_BYTES, asked=size)


# -- one call ------------------------------------------------------------------------------


def _begin(method: wire.Method, site: Site, request: Request) -> tuple[Called, Call]:
    """Count a call that is allowed, and see that it can be carried out."""
    called = cast("Called", request)
    label, asked = site.tenant_of(request).name, called.message
    site.rates.count(label, writes=ACTS[method.name].writes)
    _check(method, asked)
    return called, Call(Shelf(site.store, label), called.key, asked)


def _carry_out(method: wire.Method, site: Site, request: Request) -> None:
    called, call = _begin(method, site, request)
    act = ACTS[method.name]
    if act.act is None:
        raise AssertionError(method.name)
    on = site.work if act.writes else site.ask
    on(
        called,
        partial(act.act, call),
        lambda fields: _found(method, called, cast("Fields", fields)),
    )


def _found(method: wire.Method, called: Called, fields: Fields) -> Answer:
    """The answer; of an object its value alone is paid for."""
    if method.name == "GetObject":
        called.sent_bytes = len(cast("bytes", fields[0]))
    return _told(method, fields)


def _set_object(method: wire.Method, site: Site, request: Request) -> None:
    called, call = _begin(method, site, request)
    written = writing.Written(call.key, call.asked.data, call.asked.references or None)
    writing.put(site, called, call.shelf, (written, lambda _: _told(method, ())))


def _change(
    action: Literal["set", "append"], method: wire.Method, site: Site, request: Request
) -> None:
    called, call = _begin(method, site, request)
    asked = (action, call.key, call.asked.references, lambda _: _told(method, ()))
    writing.change(site, called, call.shelf, asked)


def _namespace(method: wire.Method, site: Site, request: Request) -> None:
    called, call = _begin(method, site, request)
    label = site.tenant_of(request).name
    rates = site.rates.per_hour(label)
    site.work(  # every entry is looked at
        called,
        lambda: call.shelf.figures().objects,
        lambda count: _told(method, (label, *rates, count)),
    )


def _list(method: wire.Method, site: Site, request: Request) -> Answer:
    called, call = _begin(method, site, request)
    called.found = call.shelf.keys()
    return Answer()


def _told(method: wire.Method, fields: Fields) -> Answer:
    return Answer(200, b"", wire.told(method, *fields))


HANDLES: Final[dict[str, Handling]] = {
    "GetNamespace": _namespace,
    "SetObject": _set_object,
    "ListObjectKeys": _list,
    "SetReferenceList": partial(_change, "set"),
    "AppendToReferenceList": partial(_change, "append"),
}


class Manager:
    """Answers the calls of one of the two services, those for methods it has not included.

    Args:
        site: admits, carries out and counts them.
        service: which one.
    """

    def __init__(self, site: Site, service: str) -> None:
        self._site = site
        self.methods = {
            one.name: self._method(one) for one in wire.METHODS if one.service == service
        }
        self.others = Method(begin=_refuse)

    def _method(self, method: wire.Method) -> Method:
        handle = partial(HANDLES.get(method.name, _carry_out), method)
        route = Route(ACTS[method.name].operation, handle, "alone")
        if method.name == wire.STREAMED:
            return Method(partial(self._stream, method, route), tells_many=True)
        return Method(partial(self._answer, method, route))

    async def _answer(
        self, method: wire.Method, route: Route, message: bytes, context: Context
    ) -> bytes:
        called = Called(self._site, context)
        admit = partial(self._admit, called, context, lambda: wire.asked(method, message))
        answer = await conduct(self._site, called, partial(admit, route))
        return await self._finish(called, answer, context)

    async def _stream(
        self, method: wire.Method, route: Route, message: bytes, context: Context
    ) -> None:
        called = Called(self._site, context)
        admit = partial(self._admit, called, context, lambda: wire.asked(method, message))
        answer = await conduct(self._site, called, partial(admit, route))
        if answer.status < BAD:
            try:
                await self._send(method, called, context)
            except HoldfastError as error:
                answer = refused(error)
        await self._finish(called, answer, context)

    async def _send(self, method: wire.Method, called: Called, context: Context) -> None:
        """Send pages, each read when the one before has left."""
        pages, called.sent_bytes = called.found, 0
        while (page := await on_thread(self._site, lambda: next(pages, None))) is not None:
            for key in page:
                called.sent_bytes += len(key.encode())
                await context.write(wire.told(method, wire.raw_of(key)))

    def _admit(
        self, called: Called, context: Context, ask: Callable[[], wire.Asked], route: Route
    ) -> None:
        """Settle who asks for what, and whether they may: the label first, as 0-stor does."""
        pairs = context.invocation_metadata()
        label = next((text for name, text in pairs if name == LABEL), "")
        if not isinstance(label, str) or not label:
            raise Unauthenticated(reason=LABEL)
        check_label(label)
        called.aim(label)
        bear(called)
        asked = called.message = ask()
        if asked.key:
            called.key = wire.key_of(asked.key)
        self._site.admit_call(called, route, len(asked.data))

    async def _finish(self, called: Called, answer: Answer, context: Context) -> bytes:
        """End a call by its answer: count it; its message, or a refusal in 0-stor's words."""
        called.let_go()
        self._site.note(called, answer)
        if answer.status >= BAD:
            problem = msgspec.json.decode(answer.body, type=dict[str, object])
            number, text = wire.refusal(problem)
            context.refuse(number, text)
            raise Ended
        return answer.body


def _refuse(_message: bytes, context: Context) -> None:
    context.refuse(*wire.UNIMPLEMENTED)


def add_namespaces(methods: Methods, site: Site) -> str:
    """Serve 0-stor's NamespaceManager; its name."""
    return _add(methods, site, "NamespaceManager")


def add_objects(methods: Methods, site: Site) -> str:
    """Serve 0-stor's ObjectManager; its name."""
    return _add(methods, site, "ObjectManager")


def _add(methods: Methods, site: Site, service: str) -> str:
    wire.register()
    manager = Manager(site, service)
    methods.add(service, manager.methods)
    methods.add_others(service, manager.others)
    return service
