"""The schema of ``holdfast.v1``, derived from the tables that HTTP's forms are read by.

Arguments of operations come from wire/batch.py, values from values.py and wire/values.py. Fields
are numbered in the order in which they stand there: whatever is added goes to the end.

    verb "store"    -> message StoreRequest    namespace = 1, key = 2, then its arguments
    Receipt         -> message Receipt         its fields, from 1
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, Union, get_args, get_origin

import msgspec

from holdfast.values import Hit, Place, Proven, Receipt, Stat
from holdfast.wire.batch import KNOWN, NEEDED, RESULTS
from holdfast.wire.values import Locked

PACKAGE: Final = "holdfast.v1"
SERVICE: Final = "Holdfast"
FILE: Final = "holdfast.proto"
Label = Literal["", "optional", "repeated"]
NO_FIELDS: Final = ()


class Field(msgspec.Struct, frozen=True):
    """One field of a message; ``kind`` is a scalar type, or a message of this schema."""

    name: str
    number: int
    kind: str
    label: Label = ""
    choice: str = ""  # the oneof that it is of


class Message(msgspec.Struct, frozen=True):
    """One message, and what it is for."""

    name: str
    summary: str
    fields: tuple[Field, ...] = NO_FIELDS


class Method(msgspec.Struct, frozen=True):
    """One call of the service; either side may be a stream."""

    name: str
    asks: str
    tells: str
    summary: str
    asks_many: bool = False
    tells_many: bool = False


# -- what is derived -----------------------------------------------------------------------

SCALARS: Final = {str: "string", bytes: "bytes", bool: "bool", int: "int64", float: "double"}
# Integers of another width. A charge has no bound: it is told as its digits.
WIDTHS: Final = {
    "cost_atto": "string",
    "crc32c": "uint32",
    "wait_ns": "int64",
    "consumers": "uint32",
    **dict.fromkeys(("version", "if_version", "fence", "size", "start", "stop"), "uint64"),
}
BOUND: Final = tuple[str, str]
ARGUMENTS_FROM: Final = 3
BESIDE: Final = 15  # what a call of its own takes and a batch does not, from here on


def _kind_of(name: str, told: Any) -> tuple[str, Label]:  # noqa: ANN401 - an annotation
    """The protobuf type of an annotated field, and its label."""
    if get_origin(told) in {Union, types.UnionType}:
        (present,) = [one for one in get_args(told) if one is not type(None)]
        return _kind_of(name, present)[0], "optional"
    if told == BOUND:
        return "Bound", ""
    if get_origin(told) is tuple:
        return _kind_of(name, get_args(told)[0])[0], "repeated"
    if get_origin(told) is Literal:
        return "string", ""
    if told is int:
        return WIDTHS.get(name, "int64"), ""
    return SCALARS.get(told) or name_of(told), ""


def name_of(kind: type) -> str:
    """What the message of a value is called; none may be called as a method is."""
    return "ObjectStat" if kind is Stat else kind.__name__


def _struct(kind: type[msgspec.Struct], summary: str) -> Message:
    """The message of a value."""
    fields = []
    for number, field in enumerate(msgspec.structs.fields(kind), 1):
        scalar, label = _kind_of(field.name, field.type)
        fields.append(Field(field.name, number, scalar, label))
    return Message(name_of(kind), summary, tuple(fields))


def _argument(verb: str, name: str, number: int, kinds: tuple[type, ...]) -> Field:
    kind = kinds[0]
    if kind is list:
        return Field(name, number, "ConsumerIds")
    scalar = WIDTHS.get(name, "int64") if kind is int else SCALARS[kind]
    needed = kind is bool or name in NEEDED.get(verb, set())
    return Field(name, number, scalar, "" if needed else "optional")


def request_of(verb: str) -> str:
    """The message that asks for a verb."""
    return f"{verb.title()}Request"


def _request(verb: str) -> Message:
    arguments = [
        _argument(verb, name, number, kinds)
        for number, (name, kinds) in enumerate(KNOWN[verb].items(), ARGUMENTS_FROM)
    ]
    beside = [
        Field(name, number, WIDTHS[name], "optional")
        for number, name in enumerate(ALONE.get(verb, ()), BESIDE)
    ]
    target = (Field("namespace", 1, "string"), Field("key", 2, "string"))
    return Message(request_of(verb), f"Asks to {WHAT[verb]}.", (*target, *arguments, *beside))


ALONE: Final[Mapping[str, tuple[str, ...]]] = {
    "load": ("if_version",),
    "lock": ("wait_ns",),
}
WHAT: Final = {
    "store": "create or replace an object; times to live are nanoseconds",
    "load": "read a value, or the bytes from start to stop, exclusive",
    "exists": "find out whether there is an object",
    "stat": "tell what is known of an object, or of a name that others lie below",
    "delete": "remove an object",
    "append": "add bytes to a value, creating it where it is absent",
    "release": "lift `permanent` from an object",
    "consumers": "change a reference list, or list it: set, append, remove or list",
    "lock": "take a lease on a key",
    "renew": "begin a lease anew",
    "unlock": "give a lease back",
}
# verb -> the message of its result
REPLIES: Final = {
    "store": "Receipt",
    "load": "Value",
    "exists": "Existence",
    "stat": "ObjectStat",
    "delete": "Done",
    "append": "Size",
    "release": "Done",
    "consumers": "ConsumerIds",
    "lock": "Locked",
    "renew": "Fence",
    "unlock": "Done",
}


def _choices(choice: str, kinds: Mapping[str, str], first: int = 1) -> tuple[Field, ...]:
    return tuple(
        Field(name, number, kind, choice=choice)
        for number, (name, kind) in enumerate(kinds.items(), first)
    )


def _messages() -> Iterator[Message]:
    yield from map(_request, KNOWN)
    yield _struct(Receipt, "What a write returns; cost_atto is in 10^-18 USD, as digits.")
    yield _struct(Stat, "What is known of one object; times are nanoseconds since 1970.")
    yield _struct(Locked, "A lease: its id as 40 hex digits, and its fence.")
    yield _struct(Place, "Where a key lives; start is inclusive, stop exclusive, absent is no end.")
    yield _struct(Proven, "A value, absent where there is none, and the proof of it.")
    yield _struct(Hit, "An object that a search found; its score is 0 in the order of keys.")
    yield from BY_HAND


# -- what only this form has --------------------------------------------------------------------

TEXT, BLOB = "string", "bytes"


def _many(name: str, number: int) -> Field:
    """A field of any number of hashes."""
    return Field(name, number, BLOB, "repeated")


BY_HAND: Final = (
    Message("Bound", "Where a range ends.", (Field("namespace", 1, TEXT), Field("key", 2, TEXT))),
    Message("ConsumerId", "One id.", _choices("id", {"text": TEXT, "raw": BLOB})),
    Message(
        "ConsumerIds",
        "A reference list, or the ids that a removal did not find.",
        (Field("ids", 1, "ConsumerId", "repeated"),),
    ),
    Message(
        "Attributes",
        "What comes before the bytes of a value: of which version they are, how many follow.",
        (
            Field("version", 1, "uint64"),
            Field("size", 2, "uint64"),
            Field("modified_ns", 3, "int64"),
            Field("expires_ns", 4, "int64", "optional"),
            Field("content_type", 5, TEXT, "optional"),
            Field("start", 6, "uint64"),
            Field("stop", 7, "uint64"),
        ),
    ),
    Message(
        "Value",
        "A value that fits one message; its version is not told in a batch.",
        (
            Field("value", 1, BLOB),
            Field("version", 2, "uint64"),
            Field("modified_ns", 3, "int64"),
            Field("expires_ns", 4, "int64", "optional"),
            Field("content_type", 5, TEXT, "optional"),
        ),
    ),
    Message("Existence", "Whether there is an object.", (Field("exists", 1, "bool"),)),
    Message("Size", "Bytes of the whole value.", (Field("size", 1, "uint64"),)),
    Message("Fence", "A lease's fence.", (Field("fence", 1, "uint64"),)),
    Message("Done", "It was done."),
    Message(
        "Problem",
        "An error: its stable code, the status that HTTP has for it, its facts as JSON.",
        (
            Field("code", 1, TEXT),
            Field("title", 2, TEXT),
            Field("effect", 3, TEXT),
            Field("status", 4, "uint32"),
            Field("facts", 5, TEXT),
        ),
    ),
    Message(
        "Operation",
        "One operation of a batch; its namespace is the batch's.",
        _choices("verb", {verb: request_of(verb) for verb in KNOWN}),
    ),
    Message(
        "Result",
        "What became of one operation.",
        (Field("problem", 1, "Problem", choice="result"), *_choices("result", REPLIES, 2)),
    ),
    Message(
        "BatchRequest",
        "Operations, each with its own result. `more`: the next message belongs to this batch.",
        (
            Field("namespace", 1, TEXT),
            Field("operations", 2, "Operation", "repeated"),
            Field("atomic", 3, "bool"),
            Field("more", 4, "bool"),
        ),
    ),
    Message(
        "BatchReply",
        "Results in the order of the operations. `more`: the next message has the rest.",
        (Field("results", 1, "Result", "repeated"), Field("more", 2, "bool")),
    ),
    Message(
        "StoreChunk",
        "First what is stored, with the first of its bytes if you like; then the rest of them; then"
        " `end`, without which nothing is stored.",
        _choices("chunk", {"begin": "StoreRequest", "data": BLOB, "end": "Done"}),
    ),
    Message(
        "LoadChunk",
        "First what the object is, then its bytes.",
        _choices("chunk", {"attributes": "Attributes", "data": BLOB}),
    ),
    Message(
        "ListRequest",
        'Which keys: below a prefix, behind `after`, at most `limit`; `by` "text" or "component".',
        (
            Field("namespace", 1, TEXT),
            Field("prefix", 2, TEXT),
            Field("flat", 3, "bool"),
            Field("by", 4, TEXT),
            Field("limit", 5, "uint64", "optional"),
            Field("after", 6, TEXT, "optional"),
            Field("details", 7, "bool"),
        ),
    ),
    Message(
        "Page",
        "At most 1,000 keys, or objects where details were asked for; `next` goes into `after`.",
        (
            Field("keys", 1, TEXT, "repeated"),
            Field("objects", 2, "ObjectStat", "repeated"),
            Field("next", 3, TEXT, "optional"),
        ),
    ),
    Message(
        "LocateRequest",
        "Asks where a key lives.",
        (Field("namespace", 1, TEXT), Field("key", 2, TEXT)),
    ),
    Message(
        "ProveRequest",
        "Asks for a value, or its absence, with the proof; `sealed` takes the newest seal.",
        (Field("namespace", 1, TEXT), Field("key", 2, TEXT), Field("sealed", 3, "bool")),
    ),
    Message("BeginSessionRequest", "Asks for a session of numbered writes."),
    Message("Session", "A session: 32 hex digits.", (Field("session", 1, TEXT),)),
    Message(
        "AdministerRequest",
        "What is seldom asked, in HTTP's words: a method, a path with its query, a JSON body.",
        (Field("method", 1, TEXT), Field("path", 2, TEXT), Field("body", 3, BLOB)),
    ),
    Message(
        "AdministerReply",
        "What HTTP would have answered.",
        (Field("status", 1, "uint32"), Field("body", 2, BLOB)),
    ),
    Message(
        "SearchRequest",
        'What is searched for; `rank` is "bm25" or "key", `facets` are names of tags. What is'
        " not fresh is answered from what is indexed, at the latest after `max_wait_ns`.",
        (
            Field("namespace", 1, TEXT),
            Field("query", 2, TEXT),
            Field("limit", 3, "uint64", "optional"),
            Field("after", 4, TEXT, "optional"),
            Field("rank", 5, TEXT),
            Field("highlight", 6, "bool"),
            Field("fresh", 7, "bool", "optional"),
            Field("max_wait_ns", 8, "uint64", "optional"),
            Field("prefix", 9, TEXT),
            Field("facets", 10, TEXT, "repeated"),
        ),
    ),
    Message("Count", "How many.", (Field("value", 1, TEXT), Field("count", 2, "uint64"))),
    Message(
        "Facet",
        "How many of all that was found have which value of a tag.",
        (Field("tag", 1, TEXT), Field("counts", 2, "Count", "repeated")),
    ),
    Message(
        "Hits",
        "What a search found: `total` counts all, `next` goes into `after`, `behind` records are"
        " not indexed yet.",
        (
            Field("total", 1, "uint64"),
            Field("hits", 2, "Hit", "repeated"),
            Field("next", 3, TEXT, "optional"),
            Field("behind", 4, "uint64"),
            Field("facets", 5, "Facet", "repeated"),
        ),
    ),
    Message(
        "ProofRequest",
        "Asks for the proof of an object, of the parts that the bytes from start to stop lie in,"
        " or, without a key, of a list. `since` is the place of a root that the caller knows.",
        (
            Field("namespace", 1, TEXT),
            Field("key", 2, TEXT, "optional"),
            Field("sealed", 3, "bool"),
            Field("since", 4, "uint64", "optional"),
            Field("start", 5, "uint64", "optional"),
            Field("stop", 6, "uint64", "optional"),
            Field("without_value", 7, "bool"),
            Field("prefix", 8, TEXT),
            Field("after", 9, TEXT, "optional"),
            Field("limit", 10, "uint64", "optional"),
        ),
    ),
    Message("Path", "Hashes that lead from a part to its object.", (_many("hashes", 1),)),
    Message(
        "Proved",
        "What comes before the bytes of a proved value and of the proof. `first` is the place of"
        " the first part, `next` goes into `after`; the rest leads here from the root of `since`.",
        (
            Field("revision", 1, "uint64"),
            Field("time_ns", 2, "int64"),
            Field("has_value", 3, "bool"),
            Field("first", 4, "uint64"),
            Field("paths", 5, "Path", "repeated"),
            Field("next", 6, TEXT, "optional"),
            _many("consistency", 7),
            _many("inclusion", 8),
        ),
    ),
    Message(
        "ProofChunk",
        "First what is proved, then the bytes of its value, then those of the proof.",
        _choices("chunk", {"proved": "Proved", "value": BLOB, "proof": BLOB}),
    ),
)
MESSAGES: Final[dict[str, Message]] = {message.name: message for message in _messages()}

METHODS: Final = (
    Method("Put", "StoreRequest", "Receipt", "Create or replace an object of at most 1 MiB"),
    Method("Get", "LoadRequest", "Value", "A value, or a range of it, of at most 1 MiB"),
    *(
        Method(verb.title(), request_of(verb), REPLIES[verb], WHAT[verb].capitalize())
        for verb in KNOWN
        if verb not in {"store", "load"}
    ),
    Method("Store", "StoreChunk", "Receipt", "Store an object of any size", asks_many=True),
    Method("Load", "LoadRequest", "LoadChunk", "A value of any size", tells_many=True),
    Method("List", "ListRequest", "Page", "Keys or objects below a prefix", tells_many=True),
    Method(
        "Batch",
        "BatchRequest",
        "BatchReply",
        "Batches, answered in order",
        asks_many=True,
        tells_many=True,
    ),
    Method("Locate", "LocateRequest", "Place", "Where a key lives"),
    Method("Prove", "ProveRequest", "Proven", "A value with its proof"),
    Method("BeginSession", "BeginSessionRequest", "Session", "Begin numbered writes"),
    Method("Administer", "AdministerRequest", "AdministerReply", "What is seldom asked"),
    Method("Search", "SearchRequest", "Hits", "What a query finds in a namespace"),
    Method("Proofs", "ProofRequest", "ProofChunk", "A proof of any size", tells_many=True),
)
if KNOWN.keys() != RESULTS.keys() or KNOWN.keys() != REPLIES.keys() or KNOWN.keys() != WHAT.keys():
    raise AssertionError("a verb that this form does not have")
