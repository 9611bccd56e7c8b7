"""The protobuf form: one schema with the others, and every word there and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

from holdfast.errors import InvalidValue, NotFound
from holdfast.values import Place, Proven, Receipt, Stat
from holdfast.wire.batch import KNOWN, Call, Verb
from holdfast.wire.problems import KINDS
from holdfast.wire.protobuf.descriptor import file_descriptor, proto_text
from holdfast.wire.protobuf.schema import MESSAGES, REPLIES, name_of, request_of
from holdfast.wire.protobuf.statuses import RPC_STATUS
from holdfast.wire.protobuf.words import (
    call_of,
    message_of,
    outcome_message,
    outcome_of,
    parse,
    request_message,
    value_of,
)
from holdfast.wire.values import Locked
from tests.house.source import SRC

PRINTED = SRC / "holdfast/wire/protobuf/holdfast.proto"
VERBS: tuple[Verb, ...] = get_args(Verb)
STAT = Stat(
    key="k",
    size=1,
    modified_ns=2,
    expires_ns=None,
    version=3,
    terminal=True,
    consumers=1,
    permanent=False,
    state="managed",
    content_type="text/plain",
    crc32c=(1 << 32) - 1,
    bucket="b",
)
VALUES = [
    Receipt("k", (1 << 63) + 1, 2, None, "b", 10**30),
    Receipt("k", 1, 2, -3, "b"),
    STAT,
    Place("b", None, ("a", "k"), "http://h", 4),
    Proven(None, b"p", 1, 2),
    Proven(b"", b"p", 1, 2),
    Locked("ab", 7),
]
CALLS = [
    Call("store", "k", {"value": b"v"}),
    Call("store", "k", {"value": b"", "ttl_ns": 5, "keep_ttl": True, "consumers": ["a", b"b"]}),
    Call("store", "k", {"value": b"v", "if_version": 0, "consumers": [], "content_type": ""}),
    Call("load", "k"),
    Call("load", "k", {"start": 0, "stop": 0}),
    Call("delete", "k", {"missing_ok": True}),
    Call("append", "k", {"value": b""}),
    Call("consumers", "k", {"action": "remove", "ids": ["x", b"y"]}),
    Call("lock", "k", {"ttl_ns": 1}),
    Call("unlock", "k", {"lock_id": "ab"}),
]
RESULTS: dict[str, Any] = {
    "store": VALUES[0],
    "load": b"v",
    "exists": True,
    "stat": STAT,
    "delete": None,
    "append": 7,
    "release": None,
    "consumers": ["a", b"b"],
    "lock": ("ab", 9),
    "renew": 9,
    "unlock": None,
}


def test_the_printed_file_is_what_is_spoken(tmp_path: Path) -> None:
    assert PRINTED.read_text() == proto_text()
    told = tmp_path / "described"
    arguments = [f"-I{PRINTED.parent}", f"--descriptor_set_out={told}", PRINTED.name]
    assert protoc.main(["protoc", *arguments]) == 0
    (described,) = descriptor_pb2.FileDescriptorSet.FromString(told.read_bytes()).file
    assert described == file_descriptor()


def test_every_argument_and_every_field_has_its_place() -> None:
    for verb, arguments in KNOWN.items():
        names = [field.name for field in MESSAGES[request_of(verb)].fields]
        assert names[: len(arguments) + 2] == ["namespace", "key", *arguments]
    for value in VALUES:
        fields = [field.name for field in MESSAGES[name_of(type(value))].fields]
        assert fields == [field.name for field in msgspec.structs.fields(type(value))]


def test_no_number_is_used_twice() -> None:
    for message in MESSAGES.values():
        numbers = [field.number for field in message.fields]
        assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_go_there_and_back(value: msgspec.Struct) -> None:
    body = message_of(value).SerializeToString()
    assert value_of(parse(name_of(type(value)), body), type(value)) == value


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.verb)
def test_calls_go_there_and_back(call: Call) -> None:
    body = request_message("a", call).SerializeToString()
    assert call_of(call.verb, parse(request_of(call.verb), body)) == call


@pytest.mark.parametrize("verb", VERBS)
def test_results_go_there_and_back(verb: str) -> None:
    body = outcome_message(verb, RESULTS[verb]).SerializeToString()
    assert outcome_of(verb, parse("Result", body)) == RESULTS[verb]
    refused = outcome_of(verb, outcome_message(verb, NotFound(key="k")))
    assert repr(refused) == "NotFound(key='k')"
    assert REPLIES[verb] in MESSAGES


@pytest.mark.parametrize("body", [b"\xff", b"\x12\x02\xff\xff", b"\x0a\xff\xff\xff\xff\x0f"])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidValue):
        parse("StoreRequest", body)


def test_every_error_has_a_status() -> None:
    assert set(RPC_STATUS) == set(KINDS)
