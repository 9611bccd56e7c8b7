"""0-stor's gRPC interface, as its clients know it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
import requests
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_tools import protoc

import holdfast
from holdfast.limits import RPC_MESSAGE_BYTES
from holdfast.store.store import Store
from holdfast.testing.serving import Serving
from holdfast.wire import zstor
from tests.rooms.server.conftest import Serve
from tests.rooms.server.sdstor_clients import LABEL, MATRIX, RIGHTS, SCOPE, issuers, member

PROTO = Path(zstor.__file__).with_suffix(".proto")
MIB = 1 << 20
METHODS = {one.name: one for one in zstor.METHODS}
PERMISSION = {
    **dict.fromkeys(
        (
            *("GetObject", "GetObjectStatus", "ListObjectKeys"),
            *("GetReferenceList", "GetReferenceCount"),
        ),
        "read",
    ),
    **dict.fromkeys(("SetObject", "SetReferenceList", "AppendToReferenceList"), "write"),
    **dict.fromkeys(("DeleteObject", "DeleteFromReferenceList", "DeleteReferenceList"), "delete"),
    "GetNamespace": "admin",
}
KINDS = ("read", "write", "delete", "admin")


class Refusal(NamedTuple):
    code: str
    text: str


ABSENT = Refusal("NOT_FOUND", "zstordb: key is no found")


class Client:
    """A member's channel."""

    def __init__(self, channel: grpc.Channel, token: str | None, label: str | None = LABEL) -> None:
        self.channel = channel
        pairs = (("authorization", token), ("label", label))
        self.metadata = [(name, text) for name, text in pairs if text is not None]

    def raw(self, path: str, message: bytes) -> bytes | Refusal:
        """What a method answers, whatever it is asked."""
        try:
            if path.endswith("ListObjectKeys"):
                streamed = self.channel.unary_stream(path)(message, 60, self.metadata)
                return b"".join(streamed)
            answer: bytes = self.channel.unary_unary(path)(message, 60, self.metadata)
        except grpc.RpcError as error:
            refused: Any = error
            return Refusal(refused.code().name, refused.details())
        return answer

    def ask(self, name: str, **fields: object) -> Any:  # noqa: ANN401 - a message
        method = METHODS[name]
        classes = zstor._classes()
        answer = self.raw(method.path, classes[f"{name}Request"](**fields).SerializeToString())
        if isinstance(answer, Refusal):
            return answer
        return classes[f"{name}Response"].FromString(answer)

    def keys(self) -> list[bytes]:
        path = METHODS["ListObjectKeys"].path
        found = self.channel.unary_stream(path)(b"", timeout=60, metadata=self.metadata)
        answer = zstor._classes()["ListObjectKeysResponse"]
        return [answer.FromString(message).key for message in found]


@pytest.fixture
def serving(serve: Serve, tmp_path: Path) -> Serving:
    return serve(issuers=issuers(tmp_path), grpc_port=0)


Dial = Callable[..., Client]


@pytest.fixture
def dial(serving: Serving, store: Store) -> Iterator[Dial]:
    with grpc.insecure_channel(serving.rpc_url.removeprefix("grpc://")) as channel:
        yield lambda scope=SCOPE, label=LABEL: Client(channel, member(store, scope), label)


@pytest.fixture
def client(dial: Dial) -> Client:
    return dial()


def test_the_schema_is_that_of_the_proto(tmp_path: Path) -> None:
    out = tmp_path / "described"
    asked = ["", f"-I{PROTO.parent}", f"--descriptor_set_out={out}", str(PROTO)]
    assert protoc.main(asked) == 0
    (described,) = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    for message in described.message_type:
        for field in message.field:
            field.ClearField("json_name")  # as the generator for Python does
    assert described == zstor.file_descriptor()


def test_a_client_in_the_same_process_may_have_its_own_file() -> None:
    other = (
        "from google.protobuf import descriptor_pb2, descriptor_pool\n"
        "file = descriptor_pb2.FileDescriptorProto(name='zstor.proto', syntax='proto3')\n"
        "descriptor_pool.Default().Add(file)\n"
        "from holdfast.wire import zstor\n"
        "assert zstor.told(zstor.METHODS[8], 3) == bytes((8, 3))\n"
    )
    subprocess.run([sys.executable, "-c", other], check=True, timeout=60)


def test_the_tour(client: Client) -> None:
    assert client.ask("GetObjectStatus", key=b"k").status == 0
    client.ask("SetObject", key=b"k", data=b"\x00\xff", referenceList=["a", "b"])
    assert client.ask("GetObjectStatus", key=b"k").status == 1
    found = client.ask("GetObject", key=b"k")
    assert (found.data, list(found.referenceList)) == (b"\x00\xff", ["a", "b"])
    client.ask("SetObject", key=b"k", data=b"new")
    assert list(client.ask("GetObject", key=b"k").referenceList) == ["a", "b"]
    client.ask("AppendToReferenceList", key=b"k", referenceList=["b", "c"])
    assert client.ask("GetReferenceCount", key=b"k").count == 4
    assert client.ask("DeleteFromReferenceList", key=b"k", referenceList=["b", "x"]).count == 3
    assert list(client.ask("GetReferenceList", key=b"k").referenceList) == ["a", "b", "c"]
    client.ask("SetReferenceList", key=b"k", referenceList=["z"])
    assert list(client.ask("GetReferenceList", key=b"k").referenceList) == ["z"]
    client.ask("DeleteReferenceList", key=b"k")
    assert client.ask("GetReferenceList", key=b"k") == Refusal(
        "NOT_FOUND", "zstordb: key is no found"
    )
    assert client.ask("GetReferenceCount", key=b"k").count == 0
    assert client.ask("GetObject", key=b"k").data == b"new"
    assert client.keys() == [b"k"]
    told = client.ask("GetNamespace")
    assert (told.label, told.nrObjects) == (LABEL, 1)
    assert (told.readRequestPerHour, told.writeRequestPerHour) == (12, 6)
    client.ask("DeleteObject", key=b"k")
    assert client.ask("DeleteObject", key=b"k").ByteSize() == 0
    assert client.ask("GetObject", key=b"k") == ABSENT


def test_a_list_needs_no_object(client: Client, store: Store) -> None:
    client.ask("AppendToReferenceList", key=b"k", referenceList=["a"])
    client.ask("SetReferenceList", key=b"l", referenceList=["a", "a"])
    assert client.ask("GetReferenceCount", key=b"l").count == 2
    assert client.ask("GetObjectStatus", key=b"k").status == 0
    assert client.ask("GetObject", key=b"k").code == "NOT_FOUND"
    assert client.keys() == []
    assert client.ask("GetNamespace").nrObjects == 0
    client.ask("SetObject", key=b"k", data=b"1")
    assert list(client.ask("GetObject", key=b"k").referenceList) == ["a"]
    client.ask("DeleteFromReferenceList", key=b"l", referenceList=["a", "a"])
    client.ask("SetObject", key=b"l", data=b"1")
    client.ask("DeleteReferenceList", key=b"k")
    client.ask("SetObject", key=b"k", data=b"anew")
    store.collect()
    assert client.keys() == [b"k", b"l"]
    client.ask("SetReferenceList", key=b"k", referenceList=["a"])
    client.ask("DeleteReferenceList", key=b"k")
    assert client.ask("GetObject", key=b"k").data == b"anew"
    store.collect()
    assert client.keys() == [b"l"]
    for name in ("DeleteReferenceList", "DeleteObject"):
        assert client.ask(name, key=b"none").ByteSize() == 0
    assert client.ask("DeleteFromReferenceList", key=b"none", referenceList=["a"]).count == 0


def test_keys_are_bytes(client: Client) -> None:
    keys = [b"\x00", b"\xff\xfe" * 16, "käse".encode(), b"a/b", b"bytes:", b"bytes:00", b"x" * 1024]
    for number, key in enumerate(keys):
        client.ask("SetObject", key=key, data=b"%d" % number)
    for number, key in enumerate(keys):
        assert client.ask("GetObject", key=key).data == b"%d" % number
    assert sorted(client.keys()) == sorted(keys)
    for key in (b"x" * 1025, b"\xff" * 600):
        assert client.ask("SetObject", key=key, data=b"1").code == "INVALID_ARGUMENT"


# -- who may -----------------------------------------------------------------------------


@pytest.mark.parametrize("who", RIGHTS)
def test_the_matrix_of_rights(dial: Dial, who: str) -> None:
    client = dial(RIGHTS[who])
    denied = Refusal("PERMISSION_DENIED", "zstordb: JWT token does not permit requested action")
    for name, method in METHODS.items():
        allowed = MATRIX[who][KINDS.index(PERMISSION[name])]
        told = client.raw(method.path, b"\x0a\x01k")
        assert (told != denied) is allowed, name


@pytest.mark.parametrize(
    "label",
    [
        *("just a simple string", "org.0stor.namespace", "org_0-stor_namespace"),
        *("org_0stor_", "0stor", "_0stor_", "org_0stor", "_0stor_x", "org_0stor_ns_0stor_x"),
    ],
)
def test_labels_that_are_none(serving: Serving, dial: Dial, label: str) -> None:
    client = Client(dial().channel, serving.token(), label)
    assert client.ask("GetReferenceCount", key=b"k").code == "PERMISSION_DENIED"


def test_what_is_missing_of_the_metadata(client: Client, store: Store) -> None:
    path = METHODS["GetObject"].path
    no_label = Refusal("UNAUTHENTICATED", "zstordb: no label given")
    no_token = Refusal("UNAUTHENTICATED", "zstordb: no JWT token given")
    token = member(store)
    assert Client(client.channel, token, None).raw(path, b"") == no_label
    assert Client(client.channel, token, "").raw(path, b"") == no_label
    assert Client(client.channel, None).raw(path, b"") == no_token
    assert Client(client.channel, "").raw(path, b"") == no_token
    for shown in (f"Bearer {token}", f"bearer {token}", token):
        assert Client(client.channel, shown).ask("GetReferenceCount", key=b"k").count == 0
    for shown in ("x", token[:-3], member(store, life_s=-1), f"Basic {token}"):
        told = Client(client.channel, shown).ask("GetReferenceCount", key=b"k")
        assert told.code == "PERMISSION_DENIED"


# -- what is refused ---------------------------------------------------------------------


def test_what_is_missing_is_named(client: Client) -> None:
    texts = {"key": "key", "data": "data", "referenceList": "reference list"}
    fields = {"key": b"k", "data": b"d", "referenceList": ["r"]}
    for name, method in METHODS.items():
        for field in method.asks:
            if (name, field) == ("SetObject", "referenceList"):
                continue
            given = {one: fields[one] for one in method.asks if one != field}
            text = f"zstordb: {texts[field]} is not provided"
            assert client.ask(name, **given) == Refusal("INVALID_ARGUMENT", text), name


@pytest.mark.parametrize(
    "path", ["/ObjectManager/", "/NamespaceManager/", "/ObjectManager/Foo", "/NamespaceManager/Bar"]
)
def test_methods_that_nobody_knows(client: Client, path: str) -> None:
    text = "zstordb: method support not implemented"
    assert client.raw(path, b"") == Refusal("UNIMPLEMENTED", text)


def test_bounds(client: Client) -> None:
    client.ask("SetObject", key=b"k", data=b"x" * MIB, referenceList=["r"] * 160)
    told = client.ask("SetObject", key=b"k", data=b"x" * (MIB + 1))
    assert told == Refusal(
        "INVALID_ARGUMENT", "zstordb: data is too big, can only contain 1048576 bytes"
    )
    text = "zstordb: reference list is too big, can only contains 160 entries"
    many = Refusal("INVALID_ARGUMENT", text)
    assert client.ask("SetReferenceList", key=b"k", referenceList=["r"] * 161) == many
    assert client.ask("AppendToReferenceList", key=b"k", referenceList=["r"]) == many
    for one in ("", "x" * 17):
        told = client.ask("SetReferenceList", key=b"k", referenceList=[one])
        assert told.code == "INVALID_ARGUMENT"
    assert client.ask("GetReferenceCount", key=b"k").count == 160


def test_what_is_no_message(client: Client) -> None:
    for message in (b"\x0a", b"\x0a\x7f", b"\xff" * 40, b"\x1a\x02\xff\xfe"):
        told = client.raw(METHODS["SetObject"].path, message)
        assert isinstance(told, Refusal)
        assert told.code == "INVALID_ARGUMENT"
    told = client.raw(METHODS["SetObject"].path, bytes(RPC_MESSAGE_BYTES + 1))
    assert isinstance(told, Refusal)
    assert told.code == "RESOURCE_EXHAUSTED"
    assert client.ask("GetReferenceCount", key=b"k").count == 0


def test_a_damaged_object_is_told(tmp_path: Path) -> None:
    with (
        holdfast.open(tmp_path / "data", in_place=False) as store,
        Serving(store, grpc_port=0) as serving,
        grpc.insecure_channel(serving.rpc_url.removeprefix("grpc://")) as channel,
    ):
        client = Client(channel, serving.token())
        client.ask("SetObject", key=b"k", data=b"x" * 100_000)
        (segment,) = [path for path in (tmp_path / "data").rglob("*") if _holds(path, b"x" * 1000)]
        with segment.open("r+b") as file:
            file.seek(segment.read_bytes().index(b"x" * 1000) + 500)
            file.write(b"y")
        assert client.ask("GetObjectStatus", key=b"k").status == 2
        text = "zstordb: object data is corrupted"
        assert client.ask("GetObject", key=b"k") == Refusal("DATA_LOSS", text)


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and data in path.read_bytes()


# -- many at once ---------------------------------------------------------------------------


def test_many_change_one_list(client: Client) -> None:
    ids = [f"r{number}" for number in range(256)]

    def append(one: str) -> bool:
        told = client.ask("AppendToReferenceList", key=b"k", referenceList=[one])
        return not isinstance(told, Refusal)

    def remove(one: str) -> Any:  # noqa: ANN401 - a message
        return client.ask("DeleteFromReferenceList", key=b"k", referenceList=[one])

    def in_turn(one: str) -> None:
        while not append(one):  # the list is full until others have left it
            pass
        remove(one)

    with ThreadPoolExecutor(64) as pool:
        stored = Counter(pool.map(append, ids))
        assert stored == {True: 160, False: 96}
        kept = list(client.ask("GetReferenceList", key=b"k").referenceList)
        assert len(set(kept)) == 160
        assert {told.count for told in pool.map(remove, ids)} >= {0}
        assert client.ask("GetReferenceCount", key=b"k").count == 0
        client.ask("SetReferenceList", key=b"k", referenceList=["stays"])
        list(pool.map(in_turn, ids))
        assert list(client.ask("GetReferenceList", key=b"k").referenceList) == ["stays"]


def test_a_long_list_is_streamed_and_may_be_left(client: Client, store: Store) -> None:
    names = [f"n{number:05d}" for number in range(5000)]
    store.namespace(LABEL).put_many([(name, b"1") for name in names])
    assert client.keys() == [name.encode() for name in names]
    path = METHODS["ListObjectKeys"].path
    for _ in range(20):
        found = client.channel.unary_stream(path)(b"", timeout=60, metadata=client.metadata)
        next(found)
        found.cancel()
    assert client.ask("GetReferenceCount", key=b"k").count == 0


def test_reflection_shows_the_services(client: Client) -> None:
    shown = ProtoReflectionDescriptorDatabase(client.channel)
    assert {"ObjectManager", "NamespaceManager"} <= set(shown.get_services())
    assert shown.FindFileContainingSymbol("ObjectManager").name == "zstor.proto"


def test_both_doors_change_one_list(client: Client, serving: Serving) -> None:
    client.ask("SetObject", key=b"k", data=b"1")
    url = f"{serving.url}/v1/namespaces/{LABEL}/consumers/k"
    headers = {"Authorization": f"Bearer {serving.token()}"}

    def over_grpc(name: str, one: str) -> bool:
        return not isinstance(client.ask(name, key=b"k", referenceList=[one]), Refusal)

    def over_http(method: str, one: str) -> bool:
        told = requests.request(method, url, json={"consumers": [one]}, headers=headers, timeout=60)
        return told.status_code == 200

    def append(number: int) -> bool:
        if number % 2:
            return over_http("POST", f"r{number}")
        return over_grpc("AppendToReferenceList", f"r{number}")

    def remove(number: int) -> bool:
        if number % 3:
            return over_http("DELETE", f"r{number}")
        return over_grpc("DeleteFromReferenceList", f"r{number}")

    with ThreadPoolExecutor(32) as pool:
        assert Counter(pool.map(append, range(256))) == {True: 160, False: 96}
        assert len(set(client.ask("GetReferenceList", key=b"k").referenceList)) == 160
        assert all(pool.map(remove, range(256)))
    assert client.ask("GetReferenceCount", key=b"k").count == 0


@pytest.mark.parametrize("name", PERMISSION)
def test_the_statistic_of_each_method(client: Client, serving: Serving, name: str) -> None:
    site = serving.server._site
    assert site is not None
    client.raw(METHODS[name].path, b"\x0a\x01k")
    writes = PERMISSION[name] in {"write", "delete"}
    assert site.rates.per_hour(LABEL) == ((0, 1) if writes else (1, 0))
    client.raw("/ObjectManager/Foo", b"")
    Client(client.channel, "x").raw(METHODS[name].path, b"")
    assert sum(site.rates.per_hour(LABEL)) == 1


def test_values_and_names_are_paid_for_and_nothing_around_them(
    client: Client, store: Store
) -> None:
    store.accounts.deposit(LABEL, 10**18, "invoice 1")
    store.tariffs.set("plain", "operation = 1_000\negress = 1")
    space = store.namespace(LABEL)
    space.configure(tariff="plain")
    for key in (b"one", b"three"):
        client.ask("SetObject", key=key, data=b"v" * 99, referenceList=["a"])
    assert client.ask("GetObject", key=b"one").data == b"v" * 99
    assert space.usage().egress_bytes == 99
    assert client.keys() == [b"one", b"three"]
    used = space.usage()
    assert used.egress_bytes == 99 + 8
    assert used.cost_atto == 2 * 1_000 + 1_099 + 10_008
