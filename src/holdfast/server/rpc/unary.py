"""Calls of one message and one answer: each verb, and what is asked of the whole store."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import msgspec

from holdfast.errors import HoldfastError, InvalidValue, LimitExceeded, NotFound, VersionMismatch
from holdfast.limits import REQUEST_BYTES, RPC_MESSAGE_BYTES, VALUE_RECORD_BYTES
from holdfast.log.entry import ENTRY, Entry, unpack
from holdfast.operations import Append, Lock, Operation, Store
from holdfast.request import arguments, large, reading
from holdfast.server import locks
from holdfast.server.answers import Answer, refused
from holdfast.server.batches import Run, result_of, right_of, stands_alone
from holdfast.server.direct import by_its_bucket
from holdfast.server.requests import Request
from holdfast.server.routes import Handler, Route
from holdfast.server.rpc.called import BAD, Called, Context, end
from holdfast.values import Receipt
from holdfast.wire.batch import Call, Verb
from holdfast.wire.paths import encode_query
from holdfast.wire.protobuf.statuses import BUCKET
from holdfast.wire.protobuf.words import CLASSES, Said, Value, call_of, message_of, parse, reply_of

if TYPE_CHECKING:
    from holdfast.server.site import Site
    from holdfast.values import Proven

ROOM_BYTES: Final = 64 << 10  # what stands around a value in a message
MESSAGE_VALUE_BYTES: Final = RPC_MESSAGE_BYTES - ROOM_BYTES
PLAIN_FIELDS: Final = 3  # namespace, key, value


class Unary:
    """Answers the calls of one method.

    Args:
        site: admits and answers them.
        asks: the message of a request.
        admit: settles from the message what is asked, and whether it may be.
        dress: makes a message of an answer that is none yet.
    """

    def __init__(
        self,
        site: Site,
        asks: str,
        admit: Callable[[Site, Called], None],
        dress: Callable[[Answer], Answer] | None = None,
    ) -> None:
        self._site = site
        self._asks = asks
        self._admit = admit
        self._dress = dress

    def begin(self, body: bytes, context: Context) -> None:
        """Answer one call: at once, or when its answer is there."""
        site, called = self._site, Called(self._site, context)
        try:
            called.message = parse(self._asks, body)
            self._admit(site, called)
        except HoldfastError as error:
            self._end(called, context, refused(error))
            return
        except Exception as error:  # noqa: BLE001 - the caller is told, and so is the log
            self._end(called, context, site.fault(error))
            return
        site.begin(called)
        if called.reply is not None:
            self._end(called, context, called.reply)
        else:
            called.then = partial(self._end, called, context)

    def _end(self, called: Called, context: Context, answer: Answer) -> None:
        end(self._site, called, answer if self._dress is None else self._dress(answer), context)


def told(message: Said) -> Answer:
    """A message as an answer."""
    return Answer(200, b"", message.SerializeToString())


# -- verbs ---------------------------------------------------------------------------------


def by_key(verb: Verb, handle: Handler) -> Callable[[Site, Called], None]:
    """What admits a call about one key.

    Args:
        verb: its right.
        handle: answers it.
    """
    routes = {
        name: Route(name, handle, "alone")
        for name in (
            [f"consumers.{action}" for action in ("set", "append", "remove", "list")]
            if verb == "consumers"
            else [verb]
        )
    }

    def admit(site: Site, called: Called) -> None:
        message = called.message
        called.aim(message.namespace, message.key)
        size = 0
        name: str = verb
        if verb == "consumers":
            name = right_of(call_of(verb, message))
        elif verb in {"store", "append"}:
            size = len(message.value)
        site.admit_call(called, routes[name], size)

    return admit


def perform(verb: Verb, site: Site, request: Request) -> None:
    """Carry out a call of any verb: a write in its bucket's lane, the rest on a thread."""
    called = cast("Called", request)
    wait_ns = 0
    if verb == "lock":  # how long to wait is no argument of the lease, and no batch waits
        wait_ns = called.message.wait_ns
        called.message.ClearField("wait_ns")
    call = call_of(verb, called.message)
    run = Run(site, request, MESSAGE_VALUE_BYTES)
    answer = partial(_replied, verb, called)
    if stands_alone(call):
        site.work(request, partial(run.alone, 0, call), answer)
        return
    operation = run.operation(0, call)
    if isinstance(operation, Lock):
        settled = partial(_settled, site, called, call, operation)
        locks.take(site, request, operation, settled, wait_ns=wait_ns)
        return
    size = len((call.arguments or {}).get("value", b""))
    site.commit_all(request, operation, partial(_settled, site, called, call, operation), size)


def _settled(  # noqa: PLR0917 - a write and what became of it
    site: Site, called: Called, call: Call, operation: Operation, outcome: object
) -> Answer | None:
    if isinstance(operation, Append) and large.wants_folding(outcome):
        run = Run(site, called)
        site.work(called, partial(run.alone, 0, call), partial(_replied, call.verb, called))
        return None
    result = result_of(call, operation, outcome)
    if isinstance(result, HoldfastError):
        raise result
    return _replied(call.verb, called, result)


def _replied(verb: Verb, called: Called, result: object) -> Answer:
    answer = told(reply_of(verb, result))
    if isinstance(result, Receipt):
        called.version, answer.cost_atto = result.version, result.cost_atto
    return answer


def performer(verb: Verb) -> Handler:
    """What answers calls of a verb."""
    return partial(perform, verb)


def put(site: Site, request: Request) -> None:
    """Store a value that came whole; without options the short way."""
    called = cast("Called", request)
    message = called.message
    value = message.value
    plain = len(message.ListFields()) == (PLAIN_FIELDS if value else PLAIN_FIELDS - 1)
    if not plain or len(value) > VALUE_RECORD_BYTES:
        perform("store", site, request)
        return
    composite = site.tenant_of(request).space + request.key.encode()
    operation = Store(composite, request.key, value)
    site.commit(request, operation, partial(_replied, "store", called), len(value))


def get(site: Site, request: Request) -> Answer | None:
    """A value that fits one message; at once where it lies in memory."""
    called = cast("Called", request)
    composite = site.tenant_of(request).space + request.key.encode()
    message = called.message
    if not (
        message.HasField("start") or message.HasField("stop") or message.HasField("if_version")
    ):
        try:
            near = reading.look_at_row(site.corridor, composite)
        except NotFound:
            raise NotFound(key=request.key) from None
        if near is not None and near[1] is not None:
            return _near(called, *near)
    site.ask(request, partial(_read, site, called, composite), partial(_found, called))
    return None


def _near(called: Called, row: bytes, value: bytes | None) -> Answer:
    """The quick way of most answers: an entry as it is packed."""
    version, modified_ns, expires_ns, _, _, _, attributes, _, _ = ENTRY.unpack_from(row)
    called.version, called.sent_bytes = version, len(value or b"")
    kind = unpack(row).attributes.content_type if attributes else None
    reply = Value(value=value, version=version, modified_ns=modified_ns)
    if expires_ns:
        reply.expires_ns = expires_ns
    if kind is not None:
        reply.content_type = kind
    return told(reply)


def span_of(called: Called, entry: Entry) -> tuple[int, int]:
    """The bytes of an object that a call asks for.

    Raises:
        VersionMismatch: the object has another version. InvalidValue: it has no such bytes.
    """
    message = called.message
    if message.HasField("if_version") and message.if_version != entry.version:
        raise VersionMismatch(key=called.key, version=entry.version)
    if message.HasField("start") is not message.HasField("stop"):
        raise InvalidValue(argument="range", reason="start and stop, or neither")
    if not message.HasField("start"):
        return 0, entry.size
    return arguments.byte_range((message.start, message.stop), entry.size)


def _read(site: Site, called: Called, composite: bytes) -> tuple[Entry, bytes]:
    found = reading.look(site.corridor, composite, called.key)
    start, stop = span_of(called, found.entry)
    if stop - start > MESSAGE_VALUE_BYTES:
        raise LimitExceeded(limit="RPC_MESSAGE_BYTES", most=RPC_MESSAGE_BYTES, asked=stop - start)
    if found.value is not None:
        return found.entry, found.value[start:stop]
    pieces = reading.pieces(site.corridor, composite, called.key, found.entry, start, stop)
    return found.entry, b"".join(pieces)


def _found(called: Called, found: object) -> Answer:
    entry, value = cast("tuple[Entry, bytes]", found)
    called.version, called.sent_bytes = entry.version, len(value)
    reply = Value(value=value, version=entry.version, modified_ns=entry.modified_ns)
    if entry.expires_ns:
        reply.expires_ns = entry.expires_ns
    if entry.attrs and entry.attributes.content_type is not None:
        reply.content_type = entry.attributes.content_type
    return told(reply)


def direct(handle: Handler) -> Handler:
    """The same, by the bucket that the metadata names, if it does."""

    def by_bucket(site: Site, request: Request) -> Answer | None:
        asked = request.headers.get(BUCKET)
        if asked is None:
            return handle(site, request)
        return by_its_bucket(site, request, asked.encode(), handle)

    return by_bucket


# -- of the whole store ----------------------------------------------------------------------


def locate(site: Site, called: Called) -> None:
    """Admit the question where a key lives."""
    message = called.message
    called.aim(message.namespace, message.key)
    asked = {"namespace": message.namespace, "key": message.key}
    called.query = encode_query(asked).encode()
    site.admit_call(called, LOCATE, 0)


def _locate(site: Site, request: Request) -> None:
    name = site.tenant_of(request).name
    site.ask(request, partial(site.store.locate, name, request.key), _value_told)


def _value_told(value: object) -> Answer:
    return told(message_of(cast("msgspec.Struct", value)))


def prove(site: Site, called: Called) -> None:
    """Admit the question for a proof."""
    called.aim(called.message.namespace, called.message.key)
    site.admit_call(called, PROVE, 0)


def _prove(site: Site, request: Request) -> None:
    name, sealed = site.tenant_of(request).name, cast("Called", request).message.sealed
    prover = site.store.certifier.prove
    work = partial(prover, name, request.key, sealed=sealed, most_bytes=MESSAGE_VALUE_BYTES)

    def proved(found: object) -> Answer:
        proven = cast("Proven", found)
        request.sent_bytes = len(proven.value or b"") + len(proven.proof)
        return _value_told(proven)

    site.work(request, work, proved)


def session(site: Site, called: Called) -> None:
    """Admit the wish for a session of numbered writes."""
    site.admit_call(called, BEGIN, 0)


def _session(site: Site, _request: Request) -> Answer:
    return told(CLASSES["Session"](session=site.store.begin_session()))


LOCATE: Final = Route("locate", _locate, "alone")
PROVE: Final = Route("load", _prove, "alone")
BEGIN: Final = Route("session", _session, "alone")


def administer(site: Site, called: Called) -> None:
    """Admit what HTTP has behind its data routes."""
    message = called.message
    path, _, query = message.path.partition("?")
    called.method, called.path, called.query = message.method, path.encode(), query.encode()
    called.body = message.body
    if site.routes.find(called.path) is not None:
        raise InvalidValue(argument="path", reason="it has a call of its own, or is over HTTP only")
    if len(message.body) > REQUEST_BYTES:
        raise LimitExceeded(limit="REQUEST_BYTES", most=REQUEST_BYTES, asked=len(message.body))
    site.admit_call(called, site.behind.route, len(message.body))


def administered(answer: Answer) -> Answer:
    """What HTTP would have answered, as a message."""
    if answer.status >= BAD:
        return answer
    reply = CLASSES["AdministerReply"](status=answer.status, body=answer.body)
    if reply.ByteSize() > RPC_MESSAGE_BYTES:
        size = len(answer.body)
        return refused(LimitExceeded(limit="RPC_MESSAGE_BYTES", most=RPC_MESSAGE_BYTES, asked=size))
    return told(reply)
