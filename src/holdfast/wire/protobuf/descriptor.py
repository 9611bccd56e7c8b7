"""The schema as protobuf's own description of a file, and as the text of a ``.proto``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from google.protobuf import descriptor_pb2

from holdfast.wire.protobuf.schema import (
    FILE,
    MESSAGES,
    METHODS,
    PACKAGE,
    SERVICE,
    Field,
    Message,
    Method,
)

TYPES: Final = {
    name: descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{name.upper()}")
    for name in ("string", "bytes", "bool", "int64", "uint64", "uint32", "double")
}
MESSAGE: Final = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
ONE: Final = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
MANY: Final = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
WIDTH: Final = 100
GO_PACKAGE: Final = "holdfast/v1;holdfastv1"
HEAD: Final = f"""\
// The gRPC face of Holdfast (docs/PROTOCOL.md). Printed from the schema that the server speaks:
// src/holdfast/wire/protobuf/schema.py. Numbers never change; fields are only ever added.

syntax = "proto3";

package {PACKAGE};

option go_package = "{GO_PACKAGE}";
"""


# -- as protobuf describes it --------------------------------------------------------------


def file_descriptor() -> descriptor_pb2.FileDescriptorProto:
    """The file, as protoc would describe the printed one."""
    told = descriptor_pb2.FileDescriptorProto(name=FILE, package=PACKAGE, syntax="proto3")
    told.options.go_package = GO_PACKAGE
    for message in MESSAGES.values():
        _describe(message, told.message_type.add(name=message.name))
    service = told.service.add(name=SERVICE)
    for method in METHODS:
        described = service.method.add(
            name=method.name, input_type=_full(method.asks), output_type=_full(method.tells)
        )
        if method.asks_many:
            described.client_streaming = True
        if method.tells_many:
            described.server_streaming = True
    return told


def _full(name: str) -> str:
    return f".{PACKAGE}.{name}"


def _describe(message: Message, told: descriptor_pb2.DescriptorProto) -> None:
    choices: list[str] = []
    alone = [f for f in message.fields if f.label == "optional" and f.kind in TYPES]
    for field in message.fields:
        if field.choice and field.choice not in choices:
            choices.append(field.choice)
    choices += [f"_{field.name}" for field in alone]  # proto3: a oneof of its own
    for field in message.fields:
        described = told.field.add(name=field.name, number=field.number, json_name=_camel(field))
        described.label = MANY if field.label == "repeated" else ONE
        if field.kind in TYPES:
            described.type = TYPES[field.kind]
        else:
            described.type, described.type_name = MESSAGE, _full(field.kind)
        if field.choice:
            described.oneof_index = choices.index(field.choice)
        elif field in alone:
            described.oneof_index = choices.index(f"_{field.name}")
            described.proto3_optional = True
    for name in choices:
        told.oneof_decl.add(name=name)


def _camel(field: Field) -> str:
    first, *others = field.name.split("_")
    return first + "".join(word.capitalize() for word in others)


# -- as it is printed -----------------------------------------------------------------------


def proto_text() -> str:
    """The text of ``holdfast.proto``."""
    parts = [HEAD, _service_text(), *map(_message_text, MESSAGES.values())]
    return "\n".join(parts)


def _service_text() -> str:
    lines = [f"service {SERVICE} {{"]
    for method in METHODS:
        lines += [f"  // {method.summary}.", f"  {_method_text(method)}"]
    return "\n".join([*lines, "}", ""])


def _method_text(method: Method) -> str:
    asks = ("stream " if method.asks_many else "") + method.asks
    tells = ("stream " if method.tells_many else "") + method.tells
    return f"rpc {method.name}({asks}) returns ({tells});"


def _message_text(message: Message) -> str:
    lines = textwrap.wrap(message.summary, WIDTH - len("// "))
    told = [f"// {line}" for line in lines]
    if not message.fields:
        return "\n".join([*told, f"message {message.name} {{}}", ""])
    body = _body(message.fields)
    return "\n".join([*told, f"message {message.name} {{", *body, "}", ""])


def _body(fields: Iterable[Field]) -> Iterator[str]:
    for choice, group in groupby(fields, lambda field: field.choice):
        if choice:
            yield f"  oneof {choice} {{"
            yield from (f"    {_field_text(field)}" for field in group)
            yield "  }"
        else:
            yield from (f"  {_field_text(field)}" for field in group)


def _field_text(field: Field) -> str:
    optional = field.label == "optional" and field.kind not in TYPES
    label = "" if optional or not field.label else f"{field.label} "
    return f"{label}{field.kind} {field.name} = {field.number};"
