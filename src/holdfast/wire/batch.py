"""Many operations in one request (docs/PROTOCOL.md section 3), as msgpack.

    asked      {"atomic": bool, "operations": [[verb, key, arguments], ...]}
    answered   [[0, result], [1, problem], ...]

``arguments`` is a map, or nil. What is asked is checked here: every verb is known, and has no
argument that it does not know, or of another type. What the arguments mean is for the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from holdfast.bucket.rows import decode_id, encode_ids
from holdfast.errors import Corrupt, HoldfastError, InvalidExpiry, InvalidValue, LimitExceeded
from holdfast.limits import BATCH_BYTES, BATCH_OPERATIONS
from holdfast.operations import StoreOptions
from holdfast.request.arguments import content_type, life_ns, tags
from holdfast.request.arguments import index as searched
from holdfast.values import Receipt, Stat
from holdfast.wire.headers import json_of, json_text, travelling
from holdfast.wire.problems import error_of, problem_of, unreadable
from holdfast.wire.values import ConsumerId, consumer_ids, fitting, told_ids

Verb = Literal[
    "store",
    "load",
    "exists",
    "stat",
    "delete",
    "append",
    "release",
    "consumers",
    "lock",
    "renew",
    "unlock",
]
Argument = bool | int | str | bytes | list[ConsumerId] | None
Arguments = Mapping[str, Any]  # of these types, once they were checked


class Call(msgspec.Struct, array_like=True):
    """One operation: a verb, a key, and its arguments by name."""

    verb: Verb
    key: str
    arguments: dict[str, Any] | None = None


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    """What a batch asks for; ``atomic``: all of it, or nothing."""

    operations: list[Call]
    atomic: bool = False


OPTIONS: Final[dict[str, tuple[type, ...]]] = {
    "ttl_ns": (int, type(None)),
    "keep_ttl": (bool,),
    "if_absent": (bool,),
    "if_version": (int, type(None)),
    "fence": (int, type(None)),
    "consumers": (list, type(None)),
    "permanent": (bool,),
    "content_type": (str, type(None)),
    "index": (str, type(None)),  # as JSON, like the header
    "tags": (str, type(None)),
}
KNOWN: Final[dict[str, dict[str, tuple[type, ...]]]] = {
    "store": {"value": (bytes,)} | OPTIONS,
    "load": {"start": (int,), "stop": (int,)},
    "exists": {},
    "stat": {},
    "delete": {"missing_ok": (bool,)},
    "append": {"value": (bytes,)},
    "release": {},
    "consumers": {"action": (str,), "ids": (list,)},
    "lock": {"ttl_ns": (int,)},
    "renew": {"lock_id": (str,)},
    "unlock": {"lock_id": (str,)},
}
NEEDED: Final = {
    "store": {"value"},
    "append": {"value"},
    "consumers": {"action"},
    "renew": {"lock_id"},
    "unlock": {"lock_id"},
}
ACTIONS: Final = frozenset(("set", "append", "remove", "list"))
RESULTS: Final[dict[str, object]] = {
    "store": Receipt,
    "load": bytes,
    "exists": bool,
    "stat": Stat,
    "delete": None,
    "append": int,
    "release": None,
    "consumers": list[Any],
    "lock": tuple[str, int],
    "renew": int,
    "unlock": None,
}
_DECODER: Final = msgspec.msgpack.Decoder(Batch)
_ENCODER: Final = msgspec.msgpack.Encoder()
_ANSWERS: Final = msgspec.msgpack.Decoder(list[tuple[int, msgspec.Raw]])
_RESULTS: Final = {  # what a store cost may be told by its digits
    verb: msgspec.msgpack.Decoder(kind, strict=verb != "store") for verb, kind in RESULTS.items()
}
_PROBLEM: Final = msgspec.msgpack.Decoder(dict[str, object])


# -- what is asked ------------------------------------------------------------------------


def encode_batch(batch: Batch) -> bytes:
    """A batch as the body of a request."""
    return _ENCODER.encode(batch)


def decode_batch(body: bytes | memoryview) -> Batch:
    """The batch that a body asks for, checked.

    Raises:
        LimitExceeded: over 64 MiB, or over 10,000 operations.
        InvalidValue: not a batch, an unknown verb (status 400); an argument that the verb does
            not know, lacks, or has of another type (``index`` says whose).
    """
    if len(body) > BATCH_BYTES:
        raise LimitExceeded(limit="BATCH_BYTES", most=BATCH_BYTES, asked=len(body))
    try:
        batch = _DECODER.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise unreadable(_reason(error)) from None
    if len(batch.operations) > BATCH_OPERATIONS:
        asked = len(batch.operations)
        raise LimitExceeded(limit="BATCH_OPERATIONS", most=BATCH_OPERATIONS, asked=asked)
    for index, call in enumerate(batch.operations):
        if call.arguments is not None or call.verb in NEEDED:
            check_call(call, index)
    return batch


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, msgspec.ValidationError) else "it is not msgpack"


def check_call(call: Call, index: int) -> None:
    """Refuse arguments that are not the verb's; ``index`` says whose; InvalidValue."""
    given = call.arguments or {}
    known = KNOWN[call.verb]
    for name, value in given.items():
        if name not in known:
            raise InvalidValue(argument=name, reason="unknown to this verb", index=index)
        if type(value) not in known[name]:
            raise InvalidValue(argument=name, reason="of another type", index=index)
    missing = NEEDED.get(call.verb, set()) - given.keys()
    if missing:
        raise InvalidValue(argument=min(missing), reason="missing", index=index)
    if call.verb == "load" and len(given) == 1:
        raise InvalidValue(argument="range", reason="start and stop, or neither", index=index)
    if call.verb == "consumers":
        _check_consumers(given, index)


def _check_consumers(given: Arguments, index: int) -> None:
    if given["action"] not in ACTIONS:
        raise InvalidValue(argument="action", reason="set, append, remove or list", index=index)
    if ("ids" in given) is (given["action"] == "list"):
        raise InvalidValue(argument="ids", reason="with set, append and remove", index=index)


def arguments_of(options: StoreOptions) -> dict[str, Argument]:
    """The arguments of a ``store`` that ask for these options.

    Raises:
        InvalidValue: one of them cannot travel.
    """
    version, fence = travelling(options)
    told: dict[str, Argument] = {
        "ttl_ns": options.ttl_ns,
        "keep_ttl": options.keep_ttl,
        "if_absent": options.if_absent,
        "if_version": version,
        "fence": fence,
        "permanent": options.permanent,
        "content_type": options.content_type,
        "index": None if options.index is None else json_text(options.index),
        "tags": None if options.tags is None else json_text(options.tags),
    }
    asked: dict[str, Argument] = {
        name: value for name, value in told.items() if value is not None and value is not False
    }
    if options.consumers is not None:
        asked["consumers"] = list(told_ids(map(decode_id, options.consumers)))
    return asked


def options_of(arguments: Arguments) -> StoreOptions | None:
    """The options that a checked ``store`` asks for; None where it asks for none.

    Raises:
        InvalidExpiry, InvalidValue, LimitExceeded: as ``put`` refuses them.
    """
    if len(arguments) == 1:  # the value alone
        return None
    ttl_ns, ids = arguments.get("ttl_ns"), arguments.get("consumers")
    if isinstance(ttl_ns, int):
        life_ns(ttl_ns, ttl_ns=ttl_ns)
    options = StoreOptions(
        ttl_ns,
        arguments.get("keep_ttl", False),
        arguments.get("if_absent", False),
        arguments.get("if_version"),
        arguments.get("fence"),
        encode_ids(consumer_ids(ids)) if isinstance(ids, list) else None,
        arguments.get("permanent", False),
        content_type(arguments.get("content_type")),
        index=searched(json_of(arguments, "index")),
        tags=tags(json_of(arguments, "tags")),
    )
    if options.ttl_ns is not None and (options.keep_ttl or options.permanent):
        raise InvalidExpiry(ttl_ns=ttl_ns, reason="excluded by keep_ttl or permanent")
    return options


# -- what is answered -----------------------------------------------------------------------


def encode_results(results: Iterable[object]) -> bytes:
    """Results in order, each a value or an error, as the body of an answer."""
    told = [
        (1, problem_of(result)) if isinstance(result, HoldfastError) else (0, result)
        for result in results
    ]
    try:
        return _ENCODER.encode(told)
    except OverflowError:  # a cost of more than 64 bits
        return _ENCODER.encode(fitting(told))


def decode_results(body: bytes | memoryview, calls: Sequence[Call]) -> list[object]:
    """The results of calls, in order: values, and errors to be raised.

    Raises:
        Corrupt: the body does not answer these calls.
    """
    try:
        answers = _ANSWERS.decode(body)
        if len(answers) != len(calls):
            raise Corrupt(position="answer", answers=len(answers), calls=len(calls))
        return [_result(call, *answer) for call, answer in zip(calls, answers, strict=True)]
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise Corrupt(position="answer", reason="it does not answer the batch") from None


def _result(call: Call, refused: int, raw: msgspec.Raw) -> object:
    if refused:
        return error_of(_PROBLEM.decode(raw))
    result = _RESULTS[call.verb].decode(raw)
    return consumer_ids(result) if call.verb == "consumers" else result
