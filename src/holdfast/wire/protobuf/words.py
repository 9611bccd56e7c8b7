"""Values, calls and results as messages of ``holdfast.v1``, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from holdfast.errors import HoldfastError, InvalidValue
from holdfast.values import Receipt, Stat
from holdfast.wire.batch import NEEDED, Call, Verb, check_call
from holdfast.wire.problems import TYPE, error_of, problem_of, unreadable
from holdfast.wire.protobuf.descriptor import file_descriptor
from holdfast.wire.protobuf.schema import FILE, MESSAGES, REPLIES, name_of
from holdfast.wire.values import consumer_ids

S = TypeVar("S", bound=msgspec.Struct)
Said: TypeAlias = Any  # a message: its class is made of its descriptor
NO_ARGUMENTS: Final[Mapping[str, object]] = {}


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file_descriptor().SerializeToString())
    described = pool.FindFileByName(FILE).message_types_by_name
    return {name: message_factory.GetMessageClass(described[name]) for name in MESSAGES}


CLASSES: Final = _classes()
ConsumerIds, ConsumerId, Bound = (CLASSES[n] for n in ("ConsumerIds", "ConsumerId", "Bound"))
Result, Problem = CLASSES["Result"], CLASSES["Problem"]
Done, Value = CLASSES["Done"], CLASSES["Value"]


def parse(name: str, body: bytes) -> Said:
    """The message of that name in these bytes; InvalidValue (status 400) where there is none."""
    try:
        return CLASSES[name].FromString(body)
    except (DecodeError, UnicodeDecodeError):
        told = f"not a {name}"
        raise unreadable(told) from None


# -- values --------------------------------------------------------------------------------


def message_of(value: msgspec.Struct) -> Said:
    """The message of a value that the schema derives."""
    if type(value) is Receipt:
        return CLASSES["Receipt"](
            key=value.key,
            version=value.version,
            size=value.size,
            expires_ns=value.expires_ns,
            bucket=value.bucket,
            cost_atto=str(value.cost_atto),
        )
    fields = msgspec.structs.asdict(value)
    for name in ("start", "stop"):
        if isinstance(fields.get(name), tuple):
            namespace, key = fields[name]
            fields[name] = Bound(namespace=namespace, key=key)
    return CLASSES[name_of(type(value))](**fields)


def value_of(message: Message, kind: type[S]) -> S:
    """The value that a message stands for.

    Raises:
        InvalidValue: it does not.
    """
    told: dict[str, object] = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            told[field.name] = None
            continue
        value = getattr(message, field.name)
        told[field.name] = (value.namespace, value.key) if isinstance(value, Bound) else value
    if "cost_atto" in told:
        told["cost_atto"] = int(str(told["cost_atto"]) or 0)
    try:
        return msgspec.convert(told, kind)
    except msgspec.ValidationError as error:
        raise unreadable(str(error)) from None


def ids_message(ids: Iterable[str | bytes]) -> Said:
    """A reference list."""
    return ConsumerIds(
        ids=[ConsumerId(text=i) if isinstance(i, str) else ConsumerId(raw=i) for i in ids]
    )


def ids_of(message: Said) -> list[str | bytes]:
    """The ids of a reference list; one that says nothing is an empty text, and refused later."""
    return [one.raw if one.WhichOneof("id") == "raw" else one.text for one in message.ids]


# -- what is asked -------------------------------------------------------------------------


def call_of(verb: Verb, message: Message, index: int = 0) -> Call:
    """The call that a request stands for, checked.

    Raises:
        InvalidValue: arguments are missing, or exclude each other (``index`` says whose).
    """
    given = {field.name: value for field, value in message.ListFields()}
    key = given.pop("key", "")
    given.pop("namespace", None)
    if verb in NEEDED and "value" in NEEDED[verb]:
        given.setdefault("value", b"")
    for name in ("ids", "consumers"):
        if name in given:
            given[name] = ids_of(given[name])
    call = Call(verb, key, given or None)
    if given or verb in NEEDED:
        check_call(call, index)
    return call


def request_message(namespace: str, call: Call) -> Said:
    """The request that a call stands for."""
    given = dict(call.arguments or NO_ARGUMENTS)
    for name in ("ids", "consumers"):
        if name in given:
            given[name] = ids_message(consumer_ids(given[name]))
    kind = CLASSES[f"{call.verb.title()}Request"]
    try:
        return kind(namespace=namespace, key=call.key, **given)
    except (ValueError, TypeError):
        raise InvalidValue(argument="arguments", reason="out of range") from None


def operations_of(message: Said, first: int = 0) -> list[Call]:
    """The calls of a message of a batch.

    Raises:
        InvalidValue: one says nothing, names another namespace, or has arguments amiss.
    """
    calls: list[Call] = []
    for index, operation in enumerate(message.operations, first):
        verb = operation.WhichOneof("verb")
        if verb is None:
            raise InvalidValue(argument="verb", reason="missing", index=index)
        asked = getattr(operation, verb)
        if asked.namespace not in {"", message.namespace}:
            raise InvalidValue(argument="namespace", reason="not the batch's", index=index)
        calls.append(call_of(verb, asked, index))
    return calls


# -- what is answered -------------------------------------------------------------------------


def reply_of(verb: str, result: Said) -> Said:
    """The message of a verb's result, as wire/batch.py names its type."""
    match verb:
        case "store" | "stat":
            return message_of(result)
        case "load":
            return Value(value=result)
        case "lock":
            return CLASSES["Locked"](lock_id=result[0], fence=result[1])
        case "consumers":
            return ids_message(consumer_ids(result))
        case "exists" | "append" | "renew":
            kind = CLASSES[REPLIES[verb]]
            return kind(**{kind.DESCRIPTOR.fields[0].name: result})
    return Done()


def result_of(verb: str, message: Said) -> object:
    """The result that a reply stands for."""
    return READ[verb](message)


def _lease(message: Said) -> tuple[str, int]:
    return message.lock_id, message.fence


def _nothing(_message: Message) -> None:
    return None


READ: Final[dict[str, Callable[[Said], object]]] = {
    "store": lambda message: value_of(message, Receipt),
    "load": lambda message: message.value,
    "exists": lambda message: message.exists,
    "stat": lambda message: value_of(message, Stat),
    "delete": _nothing,
    "append": lambda message: message.size,
    "release": _nothing,
    "consumers": ids_of,
    "lock": _lease,
    "renew": lambda message: message.fence,
    "unlock": _nothing,
}


def outcome_message(verb: str, outcome: object) -> Said:
    """One result of a batch: what the operation gave, or its error."""
    if isinstance(outcome, HoldfastError):
        return Result(problem=problem_message(outcome))
    return Result(**{verb: reply_of(verb, outcome)})


def outcome_of(verb: str, message: Said) -> object:
    """What became of one operation: its result, or an error to be raised."""
    if message.WhichOneof("result") == "problem":
        return error_of(problem_told(message.problem))
    return result_of(verb, getattr(message, verb))


def problem_message(error: HoldfastError) -> Said:
    """An error as a message."""
    told = problem_of(error)
    facts = msgspec.json.encode(told["facts"]).decode()
    return Problem(
        code=told["code"],
        title=told["title"],
        effect=told["effect"],
        status=told["status"],
        facts=facts,
    )


def problem_told(message: Said) -> dict[str, object]:
    """A problem document, as wire/problems.py reads it."""
    try:
        facts = msgspec.json.decode(message.facts or "{}")
    except msgspec.DecodeError:
        facts = {}
    return {
        "type": TYPE + message.code,
        "title": message.title,
        "status": message.status,
        "code": message.code,
        "effect": message.effect,
        "facts": facts,
    }


def split(results: Sequence[Said], most_bytes: int) -> Iterable[Said]:
    """Replies with these results, none larger than ``most_bytes`` unless one result is."""
    reply, size = CLASSES["BatchReply"](), 0
    for result in results:
        weight = result.ByteSize()
        if size and size + weight > most_bytes:
            reply.more = True
            yield reply
            reply, size = CLASSES["BatchReply"](), 0
        reply.results.append(result)
        size += weight
    yield reply
