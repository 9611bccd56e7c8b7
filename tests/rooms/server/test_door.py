"""Who may: tokens, links, published prefixes, origins, the operator's socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from holdfast.store.store import Store
from holdfast.testing.serving import Serving
from holdfast.values import Grant, Right
from tests.rooms.server.conftest import Serve
from tests.rooms.server.raw import OBJECTS, Raw, Told

Dial = Callable[[Serving], Raw]


@pytest.fixture
def serving(serve: Serve) -> Serving:
    return serve()


def test_a_token_reaches_what_it_was_granted_and_no_more(
    serving: Serving, connect: Dial, store: Store
) -> None:
    raw = connect(serving)
    store.namespace("other").put("a", b"secret")
    raw.token = serving.token("acme", ("read", "write"), prefix="in/")
    assert raw.ask("PUT", OBJECTS + "in/a", b"1").status == 200
    assert raw.ask("GET", OBJECTS + "in/a").body == b"1"
    for method, path in (
        ("PUT", OBJECTS + "out"),
        ("GET", OBJECTS + "out"),
        ("DELETE", OBJECTS + "in/a"),
        ("GET", "/v1/namespaces/acme/objects"),
        ("GET", "/v1/namespaces/acme/objects?prefix=out"),
        ("GET", "/v1/namespaces/other/objects/a"),
        ("GET", "/v1/locate?namespace=other&key=a"),
    ):
        told = raw.ask(method, path)
        assert (told.status, json.loads(told.body)["code"]) == (403, "forbidden"), path
    listed = raw.ask("GET", "/v1/namespaces/acme/objects?prefix=in%2F")
    assert json.loads(listed.body)["keys"] == ["in/a"]


def test_networks_narrow_each_request_whoever_asked_before(
    serving: Serving, connect: Dial, store: Store
) -> None:
    store.namespace("acme").put("a", b"1")
    whole: tuple[Right, ...] = ("read", "write")
    here, elsewhere = serving.token("acme", whole, networks=("127.0.0.0/8",)), ("10.0.0.0/8",)
    for token, status in (
        (here, 200),
        (serving.token("acme", whole, networks=elsewhere), 403),
        (here, 200),
    ):
        raw = connect(serving)
        raw.token = token
        assert [raw.ask("GET", OBJECTS + "a").status for _ in range(3)] == [status] * 3


def test_what_the_operator_makes_counts_elsewhere(
    serving: Serving, connect: Dial, store: Store
) -> None:
    raw = connect(serving)
    grant = Grant("*", ("read", "write", "delete", "admin"), networks=("127.0.0.0/8",))
    raw.token = store.tokens.mint("local", [grant], 600, kind="operator").token
    wanted = {"namespace": "acme", "rights": ["read"], "ttl": 60, "name": "bob"}
    made = json.loads(raw.ask("POST", "/v1/tokens", json.dumps(wanted).encode()).body)
    assert store.tokens.verify(made["token"]).grants == (Grant("acme", ("read",)),)
    wanted |= {"networks": ["10.0.0.0/8"]}
    made = json.loads(raw.ask("POST", "/v1/tokens", json.dumps(wanted).encode()).body)
    assert store.tokens.verify(made["token"]).grants[0].networks == ("10.0.0.0/8",)


def test_each_operation_of_a_batch_is_held_against_the_rights(
    serving: Serving, connect: Dial, store: Store
) -> None:
    raw = connect(serving)
    raw.token = serving.token("acme", ("write",), prefix="in/")
    operations = [
        ("store", "in/a", {"value": b"1"}),
        ("store", "out", {"value": b"1"}),
        ("load", "in/a", None),
        ("delete", "in/a", None),
    ]
    body = msgspec.msgpack.encode({"operations": operations})
    results = msgspec.msgpack.decode(raw.ask("POST", "/v1/namespaces/acme/batch", body).body)
    assert [flag for flag, _ in results] == [0, 1, 1, 1]
    assert {result["code"] for flag, result in results if flag} == {"forbidden"}
    assert list(store.namespace("acme").list()) == ["in/a"]


def test_a_revoked_token_is_nobody_at_once(serving: Serving, connect: Dial, store: Store) -> None:
    raw = connect(serving)
    assert raw.ask("PUT", OBJECTS + "a", b"1").status == 200
    store.tokens.revoke(store.tokens.verify(raw.token).credential)
    assert raw.ask("GET", OBJECTS + "a").status == 401


def test_a_counted_grant_is_used_up(serving: Serving, connect: Dial, store: Store) -> None:
    raw = connect(serving)
    store.namespace("acme").put("a", b"1")
    raw.token = serving.token("acme", ("read",), uses=2)
    told = [raw.ask("GET", OBJECTS + "a").status for _ in range(4)]
    assert told == [200, 200, 403, 403]


def test_a_link_needs_no_header(serving: Serving, connect: Dial, store: Store) -> None:
    store.namespace("acme").put("a b", b"1")
    token = store.tokens.mint("link", [Grant("acme", ("read",), prefix="a b")], 60, kind="link")
    raw = connect(serving)
    raw.say(f"GET {OBJECTS}a%20b?grant={token.token} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    told = raw.hear()
    assert told.body == b"1"
    # A page that it opens does not tell the link on, and nobody keeps what it showed.
    assert told.headers["referrer-policy"] == "no-referrer"
    assert told.headers["cache-control"] == "private, no-store"


def test_what_was_published_anyone_reads(serving: Serving, connect: Dial, store: Store) -> None:
    space = store.namespace("acme")
    space.put("open/a", b"1")
    space.put("closed", b"2")
    store.access.publish("acme", "open/")
    raw = connect(serving)
    statuses = []
    for method, key in (("GET", "open/a"), ("GET", "closed"), ("PUT", "open/a")):
        raw.say(f"{method} {OBJECTS}{key} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        statuses.append(raw.hear().status)
    assert statuses == [200, 401, 401]


def test_a_browser_may_ask_where_the_namespace_says_so(
    serving: Serving, connect: Dial, store: Store
) -> None:
    raw = connect(serving)
    origin = "https://app.example"

    def ask_first() -> Told:
        asked = {"Origin": origin, "Access_Control_Request_Method": "PUT"}
        return raw.ask("OPTIONS", OBJECTS + "a", b"", **asked)

    assert ask_first().status == 403
    assert "access-control-allow-origin" not in raw.ask("GET", OBJECTS + "a", Origin=origin).headers
    store.access.set_origins("acme", ["https://app.example"])
    told = ask_first()
    assert (told.status, told.headers["access-control-allow-origin"]) == (
        204,
        "https://app.example",
    )
    assert "PUT" in told.headers["access-control-allow-methods"]
    got = raw.ask("GET", OBJECTS + "a", b"", Origin="https://app.example")
    assert got.headers["access-control-allow-origin"] == "https://app.example"
    other = raw.ask("GET", OBJECTS + "a", b"", Origin="https://evil.example")
    assert "access-control-allow-origin" not in other.headers
    assert (got.headers["vary"], other.headers["vary"]) == ("Origin", "Origin")
    shared = raw.ask("POST", "/v1/namespaces/acme/share", b"{}", Origin=origin)
    assert shared.headers["access-control-allow-origin"] == origin
    asked = {"Origin": origin, "Access_Control_Request_Method": "POST"}
    first = raw.ask("OPTIONS", "/v1/namespaces/acme/share", b"", **asked)
    assert (first.status, first.headers["access-control-allow-origin"]) == (204, origin)
    for elsewhere in ("/v1/namespaces/other/share", "/v1/tokens"):
        told = raw.ask("OPTIONS", elsewhere, b"", **asked)
        assert (told.status, "access-control-allow-origin" in told.headers) == (403, False)


def test_the_operator_needs_no_token_on_the_unix_socket(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    serve(unix_socket=str(path))
    assert path.stat().st_mode & 0o077 == 0
    with socket.socket(socket.AF_UNIX) as connected:
        connected.settimeout(60)
        connected.connect(str(path))
        raw = Raw(connected, "")
        raw.say(f"GET {OBJECTS}a HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        assert raw.hear().status == 404


def test_one_tenant_cannot_take_all_there_is(serve: Serve, connect: Dial) -> None:
    raw = connect(serve(tenant_requests=2))
    raw.say(b"".join(raw.request("PUT", f"{OBJECTS}{n}", b"1") for n in range(60)))
    told = [raw.hear() for _ in range(60)]
    assert {one.status for one in told} == {200, 429}
    refused = next(one for one in told if one.status == 429)
    assert "retry-after" in refused.headers
