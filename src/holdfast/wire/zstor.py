"""The messages of 0-stor's gRPC interface, as ``zstor.proto`` beside this file describes them.

A key is bytes there and text here. One that is UTF-8 is that text; any other is

    "bytes:" and its hex digits

and so is one whose text would begin like this, so that no two keys become one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from holdfast.errors import InvalidKey
from holdfast.limits import KEY_BYTES, VALUE_RECORD_BYTES
from holdfast.wire.problems import unreadable
from holdfast.wire.protobuf.statuses import (
    DATA_LOSS,
    DEADLINE_EXCEEDED,
    FAILED_PRECONDITION,
    INTERNAL,
    INVALID_ARGUMENT,
    NOT_FOUND,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    UNAUTHENTICATED,
    UNAVAILABLE,
)
from holdfast.wire.sdstor import TOO_MANY

FILE: Final = "zstor.proto"
MARK: Final = "bytes:"
TELLING: Final = {"missing": 0, "ok": 1, "corrupted": 2}
KEY: Final = ("key",)
LISTED: Final = ("key", "referenceList")


class Method(NamedTuple):
    """One method: the fields that it asks with and tells, in the order of their numbers."""

    service: str
    name: str
    asks: tuple[str, ...] = KEY
    tells: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """What it is called over the wire."""
        return f"/{self.service}/{self.name}"


FIGURES: Final = ("label", "readRequestPerHour", "writeRequestPerHour", "nrObjects")
METHODS: Final = (
    Method("NamespaceManager", "GetNamespace", (), FIGURES),
    Method("ObjectManager", "SetObject", ("key", "data", "referenceList")),
    Method("ObjectManager", "GetObject", KEY, ("data", "referenceList")),
    Method("ObjectManager", "DeleteObject"),
    Method("ObjectManager", "GetObjectStatus", KEY, ("status",)),
    Method("ObjectManager", "ListObjectKeys", (), KEY),
    Method("ObjectManager", "SetReferenceList", LISTED),
    Method("ObjectManager", "GetReferenceList", KEY, ("referenceList",)),
    Method("ObjectManager", "GetReferenceCount", KEY, ("count",)),
    Method("ObjectManager", "AppendToReferenceList", LISTED),
    Method("ObjectManager", "DeleteFromReferenceList", LISTED, ("count",)),
    Method("ObjectManager", "DeleteReferenceList"),
)
STREAMED: Final = "ListObjectKeys"
SERVICES: Final = ("NamespaceManager", "ObjectManager")
_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_BYTES: Final = frozenset(("key", "data"))
_TEXTS: Final = frozenset(("label", "referenceList"))


class Asked(msgspec.Struct, frozen=True):
    """What a request says; what its message has no field for is empty."""

    key: bytes = b""
    data: bytes = b""
    references: tuple[str, ...] = ()


def asked(method: Method, message: bytes) -> Asked:
    """What the bytes of a request say; InvalidValue where they are none.

    Example:
        >>> asked(METHODS[2], bytes((10, 1, 97))).key
        b'a'
    """
    try:
        found = _classes()[f"{method.name}Request"].FromString(message)
    except DecodeError:
        raise unreadable("not a message of this method") from None
    told = {name: getattr(found, name) for name in method.asks}
    return Asked(told.get("key", b""), told.get("data", b""), tuple(told.get("referenceList", ())))


def told(method: Method, *fields: object) -> bytes:
    r"""An answer's bytes, of its fields in the order of their numbers.

    Example:
        >>> told(METHODS[8], 3)
        b'\x08\x03'
    """
    named = dict(zip(method.tells, fields, strict=True))
    answer: bytes = _classes()[f"{method.name}Response"](**named).SerializeToString()
    return answer


# -- refusals ----------------------------------------------------------------------------

DENIED: Final = (PERMISSION_DENIED, "zstordb: JWT token does not permit requested action")
UNIMPLEMENTED: Final = (12, "zstordb: method support not implemented")
ALIKE: Final[dict[str, tuple[int, str]]] = {
    "unauthenticated": DENIED,
    "forbidden": DENIED,
    "invalid_namespace": DENIED,
    "not_found": (NOT_FOUND, "zstordb: key is no found"),  # (sic)
    "corrupt": (DATA_LOSS, "zstordb: object data is corrupted"),
    "invalid_key": (INVALID_ARGUMENT, "zstordb: key is not valid"),
    "invalid_value": (INVALID_ARGUMENT, "zstordb: request is not valid"),
    "limit_exceeded": (INVALID_ARGUMENT, "zstordb: a limit would be exceeded"),
    "permanent": (FAILED_PRECONDITION, "zstordb: object is permanent"),
    "rate_limited": (RESOURCE_EXHAUSTED, "zstordb: too many requests"),
    "busy": (UNAVAILABLE, "zstordb: database is catching up"),
    "unavailable": (UNAVAILABLE, "zstordb: server is going down"),
    "closed": (UNAVAILABLE, "zstordb: server is going down"),
    "deadline_exceeded": (DEADLINE_EXCEEDED, "zstordb: the deadline has passed"),
}
FAILED: Final = (INTERNAL, "zstordb: database operation failed")
LIMITED: Final = {
    "CONSUMERS": f"zstordb: {TOO_MANY}",
    "VALUE_RECORD_BYTES": f"zstordb: data is too big, can only contain {VALUE_RECORD_BYTES} bytes",
}
UNSHOWN: Final = {"label": "zstordb: no label given", "missing": "zstordb: no JWT token given"}
PROVIDED: Final = {"key": "key", "data": "data", "referenceList": "reference list"}


def refusal(problem: Mapping[str, object]) -> tuple[int, str]:
    """A problem document as 0-stor's clients know refusals: gRPC's number, and the text.

    Example:
        >>> refusal({"code": "not_found", "facts": {"key": "a"}})
        (5, 'zstordb: key is no found')
    """
    code, told = str(problem.get("code")), problem.get("facts")
    facts = told if isinstance(told, Mapping) else {}
    reason, argument = facts.get("reason"), facts.get("argument")
    if code == "unauthenticated" and reason in UNSHOWN:
        return UNAUTHENTICATED, UNSHOWN[reason]
    if code == "limit_exceeded" and facts.get("limit") in LIMITED:
        return INVALID_ARGUMENT, LIMITED[facts["limit"]]
    if code == "invalid_value" and reason == "missing" and argument in PROVIDED:
        return INVALID_ARGUMENT, f"zstordb: {PROVIDED[argument]} is not provided"
    return ALIKE.get(code, FAILED)


# -- keys --------------------------------------------------------------------------------


def key_of(raw: bytes) -> str:
    r"""A key of 0-stor as one of ours.

    Raises:
        InvalidKey: it is too long.

    Example:
        >>> key_of(b"a"), key_of(b"\xff"), key_of(b"bytes:")
        ('a', 'bytes:ff', 'bytes:62797465733a')
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = MARK
    if text.startswith(MARK):
        text = MARK + raw.hex()
    if len(raw) > KEY_BYTES or len(text.encode()) > KEY_BYTES:
        raise InvalidKey(reason="too long", length=len(raw))
    return text


def raw_of(key: str) -> bytes:
    r"""One of our keys as 0-stor has it; what is marked and no hex is itself.

    Example:
        >>> raw_of("a"), raw_of("bytes:ff"), raw_of("bytes:x")
        (b'a', b'\xff', b'bytes:x')
    """
    if key.startswith(MARK):
        try:
            return bytes.fromhex(key.removeprefix(MARK))
        except ValueError:
            pass
    return key.encode()


# -- the schema --------------------------------------------------------------------------


@cache
def _classes() -> dict[str, Any]:
    """Message classes by name; the file is added to the pool that reflection tells of.

    A program that has a client in the same process has added the file itself: the same is taken
    as it is. Where its client was made from another file of that name, ours stays apart.
    """
    pool = descriptor_pool.Default()
    try:
        pool.Add(file_descriptor())
    except TypeError:
        pool = descriptor_pool.DescriptorPool()
        pool.Add(file_descriptor())
    messages = pool.FindFileByName(FILE).message_types_by_name
    return {name: message_factory.GetMessageClass(one) for name, one in messages.items()}


def register() -> None:
    """Have the schema known to this process, and to reflection."""
    _classes()


def file_descriptor() -> descriptor_pb2.FileDescriptorProto:
    """The file as protoc describes it to Python; a test holds it against ``zstor.proto``."""
    described = descriptor_pb2.FileDescriptorProto(name=FILE, syntax="proto3")
    described.options.go_package = "./zstor"
    status = described.enum_type.add(name="ObjectStatus")
    for name, number in TELLING.items():
        status.value.add(name=name, number=number)
    for service in SERVICES:
        methods = described.service.add(name=service)
        for one in METHODS:
            if one.service == service:
                _describe(described, methods, one)
    return described


def _describe(
    described: descriptor_pb2.FileDescriptorProto,
    service: descriptor_pb2.ServiceDescriptorProto,
    method: Method,
) -> None:
    names = (f"{method.name}Request", f"{method.name}Response")
    entry = service.method.add(
        name=method.name, input_type=f".{names[0]}", output_type=f".{names[1]}"
    )
    entry.options.SetInParent()
    if method.name == STREAMED:
        entry.server_streaming = True
    for name, fields in zip(names, (method.asks, method.tells), strict=True):
        message = described.message_type.add(name=name)
        for number, field in enumerate(fields, 1):
            _add_field(message, field, number)


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int) -> None:
    field = message.field.add(name=name, number=number)
    field.label = _FIELD.LABEL_REPEATED if name == "referenceList" else _FIELD.LABEL_OPTIONAL
    if name == "status":
        field.type, field.type_name = _FIELD.TYPE_ENUM, ".ObjectStatus"
    elif name in _BYTES:
        field.type = _FIELD.TYPE_BYTES
    else:
        field.type = _FIELD.TYPE_STRING if name in _TEXTS else _FIELD.TYPE_INT64
