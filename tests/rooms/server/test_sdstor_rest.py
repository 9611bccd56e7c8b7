"""0-stor's REST interface, as its clients know it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from holdfast.server.sdstor.shelf import CARRIER
from holdfast.store.store import Store
from holdfast.testing.serving import Serving
from tests.rooms.server.conftest import Serve
from tests.rooms.server.raw import Raw
from tests.rooms.server.sdstor_clients import LABEL, MATRIX, RIGHTS, SCOPE, issuers, member

Dial = Callable[[Serving], Raw]
SPACE = f"/namespaces/{LABEL}"
OBJECTS = f"{SPACE}/objects"
MIB = 1 << 20


class Client:
    """One connection of a member."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        data = b"" if body is None else json.dumps(body).encode()
        told = self.raw.ask(method, path, data)
        return told.status, json.loads(told.body) if told.body else None

    def create(
        self, name: str, data: bytes, references: list[str] | None = None
    ) -> tuple[int, Any]:
        asked: dict[str, object] = {"id": name, "data": base64.b64encode(data).decode()}
        if references is not None:
            asked["referenceList"] = references
        return self.ask("POST", OBJECTS, asked)


@pytest.fixture
def serving(serve: Serve, tmp_path: Path) -> Serving:
    return serve(issuers=issuers(tmp_path))


@pytest.fixture
def client(serving: Serving, connect: Dial, store: Store) -> Client:
    raw = connect(serving)
    raw.token = member(store)
    return Client(raw)


def test_the_tour(client: Client) -> None:
    told = client.create("one", b"\x00payload", ["a", "b"])
    echo = {"id": "one", "data": "AHBheWxvYWQ=", "referenceList": ["a", "b"]}
    assert told == (201, echo)
    assert client.ask("GET", f"{OBJECTS}/one") == (200, echo)
    assert client.raw.ask("HEAD", f"{OBJECTS}/one").status == 200
    assert client.ask("PUT", f"{OBJECTS}/one/references", ["c"]) == (200, ["c"])
    asked = {"references": ["d", "d"]}
    assert client.ask("PUT", f"{OBJECTS}/one/references", asked) == (200, asked)
    assert client.ask("GET", f"{OBJECTS}/one")[1]["referenceList"] == ["d", "d"]
    assert client.ask("GET", OBJECTS) == (200, ["one"])
    told = client.ask("GET", f"{SPACE}/check", {"ids": ["one", "two", "no id"]})
    statuses = [
        {"id": "one", "status": "ok"},
        *({"id": i, "status": "missing"} for i in ("two", "no id")),
    ]
    assert told == (200, statuses)
    assert client.ask("POST", f"{SPACE}/check", {"ids": ["one"]}) == (200, statuses[:1])
    assert client.ask("GET", f"{SPACE}/check?ids=one,two") == (200, statuses[:2])
    assert client.ask("DELETE", f"{OBJECTS}/one") == (204, None)
    for method in ("GET", "DELETE"):
        assert client.ask(method, f"{OBJECTS}/one") == (404, {"error": "no object has this key"})
    assert client.raw.ask("HEAD", f"{OBJECTS}/one").status == 404
    assert client.ask("PUT", f"{OBJECTS}/one/references", ["c"])[0] == 404


def test_an_object_is_overwritten_and_keeps_its_references(client: Client) -> None:
    client.create("one", b"1", ["a"])
    assert client.create("one", b"22")[0] == 201
    told = client.ask("GET", f"{OBJECTS}/one")[1]
    assert (told["data"], told["referenceList"]) == ("MjI=", ["a"])


def test_null_is_the_list_of_nothing_that_programs_in_go_write(client: Client) -> None:
    client.create("one", b"1", ["a"])
    asked = {"id": "one", "data": "Mg==", "referenceList": None}
    assert client.ask("POST", OBJECTS, asked) == (201, asked)
    assert client.ask("GET", f"{OBJECTS}/one")[1]["referenceList"] == ["a"]
    assert client.ask("GET", f"{SPACE}/check", {"ids": None}) == (200, [])
    for body, echo in ((b"null", []), (b'{"references": null}', {"references": []})):
        client.create("one", b"1", ["a"])
        told = client.raw.ask("PUT", f"{OBJECTS}/one/references", body)
        assert (told.status, json.loads(told.body)) == (200, echo)
        assert client.ask("GET", f"{OBJECTS}/one")[1]["referenceList"] == []


def test_figures(client: Client) -> None:
    client.create("one", b"x" * MIB)
    client.create("two", b"x" * (MIB // 2))
    client.ask("GET", f"{OBJECTS}/one")
    status, told = client.ask("GET", SPACE)
    stats = told["stats"]
    assert (status, told["label"]) == (200, LABEL)
    assert (stats["nrObjects"], stats["spaceUsed"]) == (2, 1.5)
    assert (stats["writeRequestPerHour"], stats["readRequestPerHour"]) == (2, 2)
    assert stats["spaceAvailable"] > 0
    assert client.ask("GET", "/stats")[1]["size"] >= 0


def test_siblings_are_not_counted(client: Client, store: Store) -> None:
    # 0-stor counted keys by the label without its end: ns1 counted those of ns10.
    client.create("one", b"1")
    client.raw.token = member(store, f"{SCOPE}0")
    path = f"/namespaces/{LABEL}0"
    client.ask("POST", f"{path}/objects", {"id": "x", "data": "MQ=="})
    assert client.ask("GET", path)[1]["stats"]["nrObjects"] == 1
    client.raw.token = member(store)
    assert client.ask("GET", SPACE)[1]["stats"]["nrObjects"] == 1


def test_pages(client: Client, store: Store) -> None:
    names = [f"n{number:03d}" for number in range(105)]
    store.namespace(LABEL).put_many([(name, b"1") for name in names])
    assert client.ask("GET", OBJECTS)[1] == names[:30]
    assert client.ask("GET", f"{OBJECTS}?page=2")[1] == names[30:60]
    assert client.ask("GET", f"{OBJECTS}?page=2&per_page=100")[1] == names[100:]
    assert client.ask("GET", f"{OBJECTS}?page=9")[1] == []
    for query in (
        "per_page=101",
        "per_page=0",
        "page=0",
        "page=-1",
        "page=x",
        "page=",
        "page=%D9%A3",
    ):
        assert client.ask("GET", f"{OBJECTS}?{query}")[0] == 400
    assert client.ask("GET", f"{OBJECTS}?page=999999999&per_page=100")[0] == 400


# -- what is refused ---------------------------------------------------------------------


def test_bounds(client: Client) -> None:
    assert client.create("most", b"x" * MIB, ["r"] * 160)[0] == 201
    status, told = client.create("more", b"x" * 1025 * 1024)
    assert (status, list(told)) == (400, ["error"])
    told = client.create("many", b"x", ["r"] * 161)
    text = "reference list is too big, can only contains 160 entries"
    assert told == (400, {"error": text})
    assert client.ask("PUT", f"{OBJECTS}/most/references", ["r"] * 161) == (400, {"error": text})
    assert client.ask("GET", OBJECTS)[1] == ["most"]


def test_a_body_that_is_far_too_large_is_not_read(client: Client) -> None:
    body = b'{"id": "a", "data": "' + b"A" * (3 * MIB) + b'"}'
    head = client.raw.request("POST", OBJECTS, body)[: -len(body)]
    client.raw.say(head)
    assert client.raw.hear().status == 400


@pytest.mark.parametrize(
    "asked",
    [
        {"id": "", "data": "MQ=="},
        {"id": "a" * 129, "data": "MQ=="},
        {"id": "with space", "data": "MQ=="},
        {"id": "ends\n", "data": "MQ=="},
        {"id": "käse", "data": "MQ=="},
        {"id": "a", "data": ""},
        {"id": "a", "data": "not base64"},
        {"id": "a", "data": 1},
        {"id": "a"},
        {"data": "MQ=="},
        {"id": "a", "data": "MQ==", "referenceList": [""]},
        {"id": "a", "data": "MQ==", "referenceList": ["a" * 17]},
        {"id": "a", "data": "MQ==", "referenceList": ["a b"]},
        {"id": "a", "data": "MQ==", "referenceList": "abc"},
        ["a"],
        None,
    ],
)
def test_what_is_no_object(client: Client, asked: object) -> None:
    data = json.dumps(asked).encode()
    told = client.raw.ask("POST", OBJECTS, data)
    assert told.status == 400
    assert told.headers["content-type"] == "application/json"
    assert list(json.loads(told.body)) == ["error"]
    assert client.ask("GET", OBJECTS) == (200, [])


@pytest.mark.parametrize(
    "label",
    [
        *("just%20a%20simple%20string", "org.0stor.namespace", "org_0-stor_namespace"),
        *("org_0stor_", "0stor", "_0stor_", "org_0stor", "_0stor_x"),
        *("a_0stor_b_0stor_c", "%C3%A4_0stor_b", "x" * 130 + "_0stor_b"),
    ],
)
def test_labels_that_are_none(client: Client, serving: Serving, label: str) -> None:
    client.raw.token = serving.token()
    status, told = client.ask("POST", f"/namespaces/{label}/objects", {"id": "a", "data": "MQ=="})
    assert (status, list(told)) == (400, ["error"])


def test_what_is_refused_says_so_in_the_same_words(client: Client) -> None:
    for path in (f"{OBJECTS}/one/references", f"{SPACE}/check"):
        method = "PUT" if path.endswith("references") else "GET"
        for body in (b"{", b"1", b'{"other": 1}', b"\xff"):
            told = client.raw.ask(method, path, body)
            assert (told.status, list(json.loads(told.body))) == (400, ["error"])
    assert client.ask("PATCH", f"{OBJECTS}/one")[0] == 405
    assert client.ask("GET", f"{OBJECTS}/with%20space")[0] == 400
    assert client.ask("GET", f"{SPACE}/check")[0] == 400


# -- who may -----------------------------------------------------------------------------


@pytest.mark.parametrize("who", RIGHTS)
def test_the_matrix_of_rights(client: Client, store: Store, who: str) -> None:
    reads, writes, deletes, _ = MATRIX[who]
    store.namespace(LABEL).put("one", b"1")
    client.raw.token = member(store, RIGHTS[who])
    reading = [
        *(("GET", path) for path in (SPACE, OBJECTS, f"{OBJECTS}/one", f"{SPACE}/check?ids=one")),
        ("HEAD", f"{OBJECTS}/one"),
    ]
    for method, path in reading:
        assert client.raw.ask(method, path).status == (200 if reads else 403)
    assert client.create("two", b"2")[0] == (201 if writes else 403)
    asked = client.ask("PUT", f"{OBJECTS}/one/references", ["a"])
    assert asked[0] == (200 if writes else 403)
    assert client.ask("DELETE", f"{OBJECTS}/one")[0] == (204 if deletes else 403)
    assert client.ask("GET", "/stats")[0] == 200


def test_who_shows_no_token_and_whose_is_none(client: Client, store: Store) -> None:
    request = f"GET {OBJECTS} HTTP/1.1\r\nHost: h\r\n"
    client.raw.say(f"{request}\r\n".encode())
    told = client.raw.hear()
    assert (told.status, list(json.loads(told.body))) == (401, ["error"])
    for token in ("", "x", member(store, life_s=-1), member(store)[:-3]):
        client.raw.say(f"{request}Authorization: Bearer {token}\r\n\r\n".encode())
        assert client.raw.hear().status == 403
    client.raw.say(f"{request}Authorization: {member(store)}\r\n\r\n".encode())
    assert client.raw.hear().status == 200


def test_a_narrowed_grant_opens_no_more_through_this_face(client: Client, serving: Serving) -> None:
    client.create("open_a", b"1")
    client.create("secret", b"1")
    client.raw.token = serving.token(LABEL, ("read", "write"), prefix="open_")
    assert client.ask("GET", f"{OBJECTS}/open_a")[0] == 200
    for path in ("objects/secret", "objects?prefix=open_", "check?ids=secret&prefix=open_"):
        assert client.ask("GET", f"{SPACE}/{path}")[0] == 403
    assert client.ask("GET", f"{SPACE}?prefix=open_")[0] == 403
    assert client.create("secret", b"2")[0] == 403


# -- what other faces leave -----------------------------------------------------------------


def test_lists_without_objects_are_passed_over(client: Client, store: Store) -> None:
    space = store.namespace(LABEL)
    space.put("listed", b"", consumers=["a"], content_type=CARRIER)
    space.put("empty", b"")
    assert client.ask("GET", OBJECTS) == (200, ["empty"])
    assert client.ask("GET", SPACE)[1]["stats"]["nrObjects"] == 1
    assert client.ask("GET", f"{OBJECTS}/listed")[0] == 404
    assert client.ask("DELETE", f"{OBJECTS}/listed")[0] == 404
    assert client.create("listed", b"1")[0] == 201
    assert client.ask("GET", f"{OBJECTS}/listed")[1]["referenceList"] == ["a"]


def test_permanent_and_large_objects(client: Client, store: Store) -> None:
    space = store.namespace(LABEL)
    space.put("stays", b"1", permanent=True)
    space.put("large", b"x" * (MIB + 1))
    assert client.ask("DELETE", f"{OBJECTS}/stays")[0] == 409
    assert client.ask("GET", f"{OBJECTS}/large")[0] == 400
    told = client.ask("GET", f"{SPACE}/check?ids=large")[1]
    assert told == [{"id": "large", "status": "ok"}]


def test_many_change_one_list(serving: Serving, connect: Dial, store: Store) -> None:
    client = Client(connect(serving))
    client.raw.token = member(store)
    client.create("one", b"1")

    def replace(number: int) -> int:
        own = Client(connect(serving))
        own.raw.token = client.raw.token
        return own.ask("PUT", f"{OBJECTS}/one/references", [f"r{number}"] * 160)[0]

    with ThreadPoolExecutor(32) as pool:
        assert set(pool.map(replace, range(64))) == {200}
    (kept,) = set(client.ask("GET", f"{OBJECTS}/one")[1]["referenceList"])
    assert kept.startswith("r")


def test_what_is_wrapped_around_values_and_names_costs_nothing(
    client: Client, store: Store
) -> None:
    store.accounts.deposit(LABEL, 10**18, "invoice 1")
    store.tariffs.set("plain", "operation = 1_000\negress = 1")
    store.namespace(LABEL).configure(tariff="plain")
    data = base64.b64encode(b"v" * 99).decode()
    asked: list[tuple[str, str, object, int]] = [
        ("POST", OBJECTS, {"id": "one", "data": data}, 1_000),
        ("POST", OBJECTS, {"id": "two", "data": data, "referenceList": ["a"]}, 1_000),
        ("GET", f"{OBJECTS}/one", None, 1_099),
        ("GET", f"{OBJECTS}/two", None, 1_099),
        ("GET", OBJECTS, None, 10_006),
        ("GET", SPACE, None, 10_000),
        ("GET", f"{SPACE}/check?ids=one,no", None, 10_005),
        ("HEAD", f"{OBJECTS}/one", None, 1_000),
        ("PUT", f"{OBJECTS}/one/references", ["b"], 1_000),
        ("DELETE", f"{OBJECTS}/one", None, 1_000),
        ("GET", f"{OBJECTS}/one", None, 0),
    ]
    for method, path, body, cost in asked:
        raw = b"" if body is None else json.dumps(body).encode()
        told = client.raw.ask(method, path, raw)
        assert (method, path, int(told.headers["holdfast-cost"])) == (method, path, cost)
    used = store.namespace(LABEL).usage()
    assert used.cost_atto == sum(cost for *_, cost in asked)
    assert used.egress_bytes == 99 + 99 + 6 + 5
