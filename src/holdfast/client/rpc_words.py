"""Asks as calls of gRPC, and their replies as answers; without I/O.

What a call of the store says is an ``Ask`` (asks.py), in the words of HTTP. Here it becomes the
method and the messages that ask for the same, and the reply becomes the answer that HTTP would
have given, so that everything above the transport is one.

    Ask("GET", "/v1/namespaces/a/stat/k")  ->  Rpc("Stat", [StatRequest(...)])
    ObjectStat(...)                        ->  Answer(200, {}, b'{"key": "k", ...}')
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import grpc
import msgspec

from holdfast.client.asks import Answer, Ask, BrokenError, LostError, UnsentError
from holdfast.client.sync import AbandonedError
from holdfast.errors import HoldfastError, LimitExceeded, RateLimited
from holdfast.limits import KIB, MIB, RPC_MESSAGE_BYTES, SECOND_NS, VALUE_RECORD_BYTES
from holdfast.request.arguments import duration_ns
from holdfast.values import Place, Receipt, Stat
from holdfast.wire import headers as wire
from holdfast.wire.batch import Argument, Call, arguments_of, decode_batch, encode_results
from holdfast.wire.paths import decode_key, decode_query
from holdfast.wire.problems import MEDIA_TYPE, problem_of
from holdfast.wire.protobuf.found import answered_of, hits_of, proof_message, search_message
from holdfast.wire.protobuf.schema import METHODS
from holdfast.wire.protobuf.statuses import BUCKET, PROBLEM, SESSION
from holdfast.wire.protobuf.words import (
    CLASSES,
    ids_of,
    outcome_of,
    request_message,
    value_of,
)
from holdfast.wire.values import Consumers, Keys, Locked, Missing, Objects, encode, told_ids

Said: TypeAlias = Any  # a message: its class is made of its descriptor
CHUNK_BYTES: Final = MIB
BATCH_MESSAGE_BYTES: Final = RPC_MESSAGE_BYTES * 3 // 4
APPEND_BYTES: Final = RPC_MESSAGE_BYTES - 8 * KIB  # beside namespace and key
FARTHEST: Final = (1 << 63) - 1
OPERATION_BYTES: Final = 512  # what stands around a value
SERVICE: Final = "/holdfast.v1.Holdfast/"
NO_CONTENT, PARTIAL = 204, 206
ACTIONS: Final = {"GET": "list", "PUT": "set", "POST": "append", "DELETE": "remove"}
LOCKS: Final = {"PUT": "renew", "DELETE": "unlock"}
NOWHERE: Final = ("failed to connect", "DNS resolution failed", "name resolution")
CROWDED: Final = "Concurrent RPC limit exceeded"
CHANNEL: Final = (
    ("grpc.max_receive_message_length", 2 * RPC_MESSAGE_BYTES),
    ("grpc.max_send_message_length", 2 * RPC_MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),  # proxies that the environment names are not used
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # for a connection: a busy server is no absent one
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class Rpc(msgspec.Struct):
    """One call of gRPC.

    ``kind`` is what grpc calls such a method; ``asked`` are its requests, ``tell`` makes the
    answer of its reply, or of all of them. ``instead`` is another way to ask, for a value that
    turns out to be too large for one message.
    """

    method: str
    kind: str
    asked: Iterable[Said]
    tell: Callable[[Said], Answer]
    instead: Rpc | None = None

    @property
    def path(self) -> str:
        """What HTTP/2 calls it."""
        return SERVICE + self.method

    @property
    def is_one(self) -> bool:
        """Whether it takes one request."""
        return self.kind.startswith("unary")

    @property
    def tells_one(self) -> bool:
        """Whether it has one reply."""
        return self.kind.endswith("unary")

    @property
    def first(self) -> Said:
        """The only request."""
        return next(iter(self.asked))


def serialize(message: Said) -> bytes:
    """A request as bytes."""
    told: bytes = message.SerializeToString()
    return told


def reader(method: str) -> Callable[[bytes], Said]:
    """What reads a reply."""
    read: Callable[[bytes], Said] = CLASSES[REPLIES[method]].FromString
    return read


REPLIES: Final = {method.name: method.tells for method in METHODS}


def rpc_of(ask: Ask, body: bytes | Iterator[bytes]) -> Rpc:
    """The call that asks for the same."""
    path, _, query = ask.target.partition("?")
    parts = path.split("/")
    if parts[2:3] == ["buckets"]:
        parts = [*parts[:2], *parts[4:]]
    about = Asked(ask, body, decode_query(query.encode()) if query else {})
    match parts:
        case ["", "v1", "namespaces", space, noun, *rest] if noun in NOUNS:
            about.namespace = decode_key(space.encode())
            about.key = decode_key("/".join(rest).encode()) if rest else None
            return NOUNS[noun](about)
        case ["", "v1", "locate"]:
            request = CLASSES["LocateRequest"](**about.fields)
            return _unary("Locate", request, partial(_value, Place))
        case ["", "v1", "sessions"]:
            return _unary("BeginSession", CLASSES["BeginSessionRequest"](), _session)
    return _administer(about)


class Asked:
    """An ask, taken apart.

    Args:
        ask: as HTTP would send it.
        body: whole, or as it comes.
        fields: of the query.
    """

    def __init__(self, ask: Ask, body: bytes | Iterator[bytes], fields: Mapping[str, str]) -> None:
        self.ask = ask
        self.body = body
        self.fields = fields
        self.namespace = ""
        self.key: str | None = None

    @property
    def whole(self) -> bytes:
        """The body, where it came whole."""
        return self.body if isinstance(self.body, bytes) else b"".join(self.body)

    def request(self, call: Call) -> Said:
        """The message of a call."""
        return request_message(self.namespace, call)


def metadata_of(ask: Ask) -> tuple[tuple[str, str], ...]:
    """What goes beside the messages."""
    told = {name: ask.headers[name] for name in ("authorization", SESSION) if name in ask.headers}
    path = ask.target.split("/", 4)
    if path[2:3] == ["buckets"]:
        told[BUCKET] = decode_key(path[3].encode())
    return tuple(told.items())


def _unary(method: str, message: Said, tell: Callable[[Said], Answer]) -> Rpc:
    return Rpc(method, "unary_unary", [message], tell)


# -- objects -----------------------------------------------------------------------------


def _objects(about: Asked) -> Rpc:
    if "proof" in about.fields:
        return _prove(about)
    if about.key is None:
        return _list(about)
    if about.ask.method == "GET":
        return _load(about, about.key)
    if about.ask.method == "PUT":
        return _store(about, about.key)
    given: dict[str, Argument] = {} if "strict" in about.fields else {"missing_ok": True}
    return _unary("Delete", about.request(Call("delete", about.key, given)), _done)


def _load(about: Asked, key: str) -> Rpc:
    headers = about.ask.headers
    request = about.request(Call("load", key))
    status = 200
    if "range" in headers:
        request.start, request.stop = _span(headers["range"])
        status = PARTIAL
    version = wire.version_of(headers, wire.IF_MATCH)
    if version is not None:
        request.if_version = version
    stream = Rpc("Load", "unary_stream", [request], partial(_chunks, status))
    return Rpc("Get", "unary_unary", [request], partial(_one_value, status), stream)


def _span(told: str) -> tuple[int, int]:
    """Where a range begins and stops, as numbers that a message has room for."""
    first, last = wire.range_of(told)
    return min(first or 0, FARTHEST), min((last or 0) + 1, FARTHEST)


def _one_value(status: int, reply: Said) -> Answer:
    return Answer(status, {}, reply.value)


def _chunks(status: int, replies: Sequence[Said]) -> Answer:
    return Answer(status, {}, b"".join([chunk.data for chunk in replies]))


def _store(about: Asked, key: str) -> Rpc:
    options = wire.options_of(about.ask.headers)
    given: dict[str, Argument] = {} if options is None else arguments_of(options)
    tell = partial(_value, Receipt)
    body = about.body
    if isinstance(body, bytes) and len(body) <= VALUE_RECORD_BYTES:
        return _unary("Put", about.request(Call("store", key, given | {"value": body})), tell)
    begin = about.request(Call("store", key, given | {"value": b""}))
    pieces = iter((body,)) if isinstance(body, bytes) else body
    return Rpc("Store", "stream_unary", _store_chunks(begin, pieces), tell)


def _store_chunks(begin: Said, pieces: Iterator[bytes]) -> Iterator[Said]:
    chunk = CLASSES["StoreChunk"]
    yield chunk(begin=begin)
    try:
        for piece in pieces:
            for at in range(0, len(piece), CHUNK_BYTES):
                yield chunk(data=piece[at : at + CHUNK_BYTES])
    except AbandonedError:
        return  # without an end nothing is stored
    yield chunk(end=CLASSES["Done"]())


def _prove(about: Asked) -> Rpc:
    span = None
    if "range" in about.ask.headers:
        span = _span(about.ask.headers["range"])
    request = proof_message(about.namespace, about.key, about.fields, span)
    return Rpc("Proofs", "unary_stream", [request], _proved)


def _proved(replies: Sequence[Said]) -> Answer:
    return Answer(200, {}, encode(answered_of(replies), "msgpack"))


def _search(about: Asked) -> Rpc:
    return _unary("Search", search_message(about.namespace, about.fields), _found)


def _found(reply: Said) -> Answer:
    return Answer(200, {}, encode(hits_of(reply)))


def _list(about: Asked) -> Rpc:
    fields = about.fields
    details = fields.get("details") == "true"
    request = CLASSES["ListRequest"](
        namespace=about.namespace,
        prefix=fields.get("prefix", ""),
        flat=fields.get("recursive") == "false",
        by=fields.get("by", ""),
        limit=int(fields["limit"]),
        after=fields.get("after"),
        details=details,
    )
    return Rpc("List", "unary_stream", [request], partial(_page, details))


def _page(details: bool, replies: Sequence[Said]) -> Answer:  # noqa: FBT001 - bound by partial
    (page,) = replies
    following = page.next if page.HasField("next") else None
    if details:
        rows = tuple([value_of(one, Stat) for one in page.objects])
        return Answer(200, {}, encode(Objects(rows, following)))
    return Answer(200, {}, encode(Keys(tuple(page.keys), following)))


def _done(_reply: Said) -> Answer:
    return Answer(NO_CONTENT, {}, b"")


def _value(kind: type[msgspec.Struct], reply: Said) -> Answer:
    return Answer(200, {}, encode(value_of(reply, kind)))


# -- other verbs ----------------------------------------------------------------------------


def _stat(about: Asked) -> Rpc:
    return _unary("Stat", about.request(Call("stat", about.key or "")), partial(_value, Stat))


def _exists(about: Asked) -> Rpc:
    request = about.request(Call("exists", about.key or ""))
    return _unary("Exists", request, lambda reply: _plain({"exists": reply.exists}))


def _append(about: Asked) -> Rpc:
    value = about.whole
    if len(value) > APPEND_BYTES:
        raise LimitExceeded(limit="RPC_MESSAGE_BYTES", most=APPEND_BYTES, asked=len(value))
    request = about.request(Call("append", about.key or "", {"value": value}))
    return _unary("Append", request, lambda reply: _plain({"size": reply.size}))


def _release(about: Asked) -> Rpc:
    return _unary("Release", about.request(Call("release", about.key or "")), _done)


def _consumers(about: Asked) -> Rpc:
    action = ACTIONS[about.ask.method]
    given: dict[str, Argument] = {"action": action}
    if action == "list":
        tell = _ids_listed
    else:
        given["ids"] = list(msgspec.json.decode(about.whole, type=Consumers).consumers)
        tell = _ids_missing
    return _unary("Consumers", about.request(Call("consumers", about.key or "", given)), tell)


def _ids_listed(reply: Said) -> Answer:
    return Answer(200, {}, encode(Consumers(told_ids(ids_of(reply)))))


def _ids_missing(reply: Said) -> Answer:
    return Answer(200, {}, encode(Missing(told_ids(ids_of(reply)))))


def _locks(about: Asked) -> Rpc:
    told = msgspec.json.decode(about.whole, type=dict[str, Any])
    verb = LOCKS.get(about.ask.method)
    key = about.key or ""
    if verb is None:
        request = about.request(Call("lock", key, {"ttl_ns": duration_ns(told["ttl"])}))
        request.wait_ns = int(told.get("wait", 0) * SECOND_NS)
        return _unary("Lock", request, partial(_value, Locked))
    request = about.request(Call("renew", key, {"lock_id": told["lock_id"]}))
    if verb == "unlock":
        request = about.request(Call("unlock", key, {"lock_id": told["lock_id"]}))
    return _unary(verb.title(), request, _done)


def _plain(value: dict[str, object]) -> Answer:
    return Answer(200, {}, encode(value))


# -- batches ---------------------------------------------------------------------------------


def _batch(about: Asked) -> Rpc:
    asked = decode_batch(about.whole)
    messages = _batch_messages(about, asked.operations, atomic=asked.atomic)
    return Rpc("Batch", "stream_stream", messages, partial(_results, asked.operations))


def _batch_messages(about: Asked, calls: Sequence[Call], *, atomic: bool) -> list[Said]:
    """A batch in messages of which none is too large; one operation may be."""
    kind, operation = CLASSES["BatchRequest"], CLASSES["Operation"]
    messages = [kind(namespace=about.namespace, atomic=atomic)]
    size = 0
    for call in calls:
        weight = len((call.arguments or {}).get("value", b"")) + OPERATION_BYTES
        if size and size + weight > BATCH_MESSAGE_BYTES:
            messages[-1].more = True
            messages.append(kind())
            size = 0
        messages[-1].operations.append(operation(**{call.verb: request_message("", call)}))
        size += weight
    return messages


def _results(calls: Sequence[Call], replies: Sequence[Said]) -> Answer:
    told = [one for reply in replies for one in reply.results]
    results = [
        _told(call, outcome_of(call.verb, one)) for call, one in zip(calls, told, strict=False)
    ]
    return Answer(200, {}, encode_results(results))


def _told(call: Call, outcome: object) -> object:
    """A result as it travels over HTTP."""
    if call.verb == "consumers" and isinstance(outcome, list):
        return told_ids(outcome)
    return outcome


# -- of the whole store --------------------------------------------------------------------


def _session(reply: Said) -> Answer:
    return _plain({"session": reply.session})


def _administer(about: Asked) -> Rpc:
    ask = about.ask
    request = CLASSES["AdministerRequest"](method=ask.method, path=ask.target, body=about.whole)
    return _unary("Administer", request, lambda reply: Answer(reply.status, {}, reply.body))


NOUNS: Final[dict[str, Callable[[Asked], Rpc]]] = {
    "objects": _objects,
    "stat": _stat,
    "exists": _exists,
    "append": _append,
    "release": _release,
    "consumers": _consumers,
    "locks": _locks,
    "batch": _batch,
    "search": _search,
}


# -- failures ----------------------------------------------------------------------------------


def failure_of(error: grpc.RpcError) -> Answer:
    """What a call that failed was answered.

    Raises:
        UnsentError, BrokenError: there is no answer.
    """
    for name, told in error.trailing_metadata() or ():
        if name == PROBLEM:
            return _refusal(told)
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and CROWDED in details:
        return _refused(RateLimited(cause=details))
    lost: LostError
    if code is grpc.StatusCode.UNAVAILABLE and any(text in details for text in NOWHERE):
        lost = UnsentError(details)
    else:
        late = code is grpc.StatusCode.DEADLINE_EXCEEDED
        lost = BrokenError(f"{code.name}: {details}", late=late)
    raise lost from error


def _refused(error: HoldfastError) -> Answer:
    return _refusal(encode(problem_of(error)))


def _refusal(problem: bytes) -> Answer:
    status = msgspec.json.decode(problem, type=dict[str, Any]).get("status")
    return Answer(status if isinstance(status, int) else 500, {"content-type": MEDIA_TYPE}, problem)


def is_too_large(answer: Answer) -> bool:
    """Whether a value was refused only because it does not fit one message."""
    if answer.status != TOO_LARGE:
        return False
    told = msgspec.json.decode(answer.body, type=dict[str, Any]).get("facts")
    return isinstance(told, dict) and told.get("limit") == "RPC_MESSAGE_BYTES"


TOO_LARGE: Final = 413
