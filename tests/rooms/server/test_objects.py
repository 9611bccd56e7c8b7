"""Objects over HTTP, by raw requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.engines.disk import OsDisk
from holdfast.store.opening import open_on
from holdfast.testing.disk import CountingDisk
from holdfast.testing.serving import Serving
from tests.rooms.server.conftest import Serve
from tests.rooms.server.raw import OBJECTS, Raw, Told

Dial = Callable[[Serving], Raw]


@pytest.fixture
def raw(serve: Serve, connect: Dial) -> Raw:
    return connect(serve())


def test_what_was_put_is_got_with_its_version(raw: Raw) -> None:
    put = raw.ask("PUT", OBJECTS + "a", b"value", Content_Type="text/plain")
    got = raw.ask("GET", OBJECTS + "a")
    assert put.status == got.status == 200
    receipt = json.loads(put.body)
    assert (receipt["key"], receipt["size"], receipt["cost_atto"]) == ("a", 5, 0)
    assert got.body == b"value"
    assert got.headers["etag"] == put.headers["etag"] == f'"{receipt["version"]}"'
    assert got.headers["content-type"] == "text/plain"
    assert got.headers["holdfast-cost"] == "0"
    assert got.headers["holdfast-request"] != put.headers["holdfast-request"]


@pytest.mark.parametrize(
    ("kind", "caged"),
    [
        (None, (None, None)),
        ("image/png", ("nosniff", None)),
        ("text/html; charset=utf-8", ("nosniff", "sandbox")),
        ("Image/SVG+XML", ("nosniff", "sandbox")),
        ("application/xhtml+xml", ("nosniff", "sandbox")),
    ],
)
def test_a_browser_runs_no_script_that_a_tenant_stored(
    raw: Raw, kind: str | None, caged: tuple[str | None, str | None]
) -> None:
    raw.ask("PUT", OBJECTS + "a", b"<script>", **({"Content_Type": kind} if kind else {}))
    for method, path in (("GET", OBJECTS), ("HEAD", OBJECTS), ("GET", "/certified/acme/")):
        told = raw.ask(method, path + "a").headers
        found = told.get("x-content-type-options"), told.get("content-security-policy")
        assert found == caged
        assert told["content-type"] == (kind or "application/octet-stream")


def test_head_tells_what_get_would(raw: Raw) -> None:
    raw.ask("PUT", OBJECTS + "a", b"value")
    got, head = raw.ask("GET", OBJECTS + "a"), raw.ask("HEAD", OBJECTS + "a")
    assert head.body == b""
    names = ("content-length", "etag", "holdfast-version", "holdfast-modified", "content-type")
    assert [head.headers[name] for name in names] == [got.headers[name] for name in names]
    assert raw.ask("HEAD", OBJECTS + "b").status == 404
    assert raw.ask("GET", OBJECTS + "a").body == b"value"  # nothing of a body was sent before


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-3", (206, b"0123", "bytes 0-3/10")),
        ("bytes=8-", (206, b"89", "bytes 8-9/10")),
        ("bytes=-3", (206, b"789", "bytes 7-9/10")),
        ("bytes=-99", (206, b"0123456789", "bytes 0-9/10")),
        ("bytes=4-99", (206, b"456789", "bytes 4-9/10")),
        ("bytes=10-", (416, None, "bytes */10")),
        (f"bytes={'9' * 30}-", (416, None, "bytes */10")),
        (f"bytes=0-{'9' * 30}", (206, b"0123456789", "bytes 0-9/10")),
        ("bytes=-0", (416, None, "bytes */10")),
        ("bytes=5-4", (200, b"0123456789", None)),
        ("bytes=0-1,4-5", (200, b"0123456789", None)),
        ("lines=0-1", (200, b"0123456789", None)),
    ],
)
def test_ranges(raw: Raw, asked: str, expected: tuple[int, bytes | None, str | None]) -> None:
    raw.ask("PUT", OBJECTS + "a", b"0123456789")
    told = raw.ask("GET", OBJECTS + "a", Range=asked)
    status, body, placed = expected
    assert told.status == status
    assert body is None or told.body == body
    assert told.headers.get("content-range") == placed


def test_conditions_of_a_get(raw: Raw) -> None:
    tag = raw.ask("PUT", OBJECTS + "a", b"1").headers["etag"]
    assert raw.ask("GET", OBJECTS + "a", If_None_Match=tag).status == 304
    assert raw.ask("GET", OBJECTS + "a", If_None_Match='"0", W/' + tag).status == 304
    assert raw.ask("GET", OBJECTS + "a", If_None_Match='"0"').body == b"1"
    assert raw.ask("GET", OBJECTS + "a", If_Match=tag).body == b"1"
    assert raw.ask("GET", OBJECTS + "a", If_Match='"0"').status == 412
    assert raw.ask("GET", OBJECTS + "a", If_Match="W/" + tag).status == 412
    assert raw.ask("GET", OBJECTS + "a", Range="bytes=0-0", If_Range='"0"').status == 200


@pytest.mark.parametrize("name", ["If_Match", "If_None_Match", "Holdfast_Fence", "Holdfast_TTL"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "objects/a"), ("POST", "append/a"), ("PUT", "consumers/a"), ("POST", "release/a")],
)
def test_a_change_that_takes_no_condition_is_not_made_in_spite_of_one(
    raw: Raw, method: str, path: str, name: str
) -> None:
    raw.ask("PUT", OBJECTS + "a", b"1")
    body = b'{"consumers": ["x"]}' if method != "DELETE" else b""
    told = raw.ask(method, f"/v1/namespaces/acme/{path}", body, **{name: '"99"'})
    assert (told.status, json.loads(told.body)["code"]) == (422, "invalid_value")
    assert raw.ask("GET", OBJECTS + "a").body == b"1"


@pytest.mark.parametrize("name", ["Holdfast_Permanant", "holdfast_ttl_s", "HOLDFAST_X"])
@pytest.mark.parametrize(("method", "path"), [("PUT", "objects/a"), ("GET", "objects/b")])
def test_a_header_of_ours_that_there_is_not_is_refused(
    raw: Raw, method: str, path: str, name: str
) -> None:
    raw.ask("PUT", OBJECTS + "b", b"1")
    told = raw.ask(method, f"/v1/namespaces/acme/{path}", b"", **{name: "true"})
    problem = json.loads(told.body)
    assert (told.status, problem["code"]) == (422, "invalid_value")
    assert problem["facts"]["argument"] == name.lower().replace("_", "-")
    assert raw.ask("GET", OBJECTS + "a").status == 404
    assert raw.ask("GET", OBJECTS + "b").body == b"1"  # and nothing of it is left for the next


def test_a_flag_that_is_neither_is_refused(raw: Raw) -> None:
    raw.ask("PUT", OBJECTS + "a", b"1")
    assert raw.ask("DELETE", OBJECTS + "a?strict=yes").status == 422
    assert raw.ask("GET", OBJECTS + "a").status == 200


def test_whatever_can_be_got_has_a_head(raw: Raw) -> None:
    raw.ask("PUT", OBJECTS + "a", b"1")
    space = "/v1/namespaces/acme"
    for path in ("/ping", "/livez", "/readyz", "/v1/root", f"{space}/objects", f"{space}/stat/a"):
        got, head = raw.ask("GET", path), raw.ask("HEAD", path)
        assert (head.status, head.body) == (got.status, b"")
        assert head.headers["content-length"] == got.headers["content-length"]
    assert raw.ask("DELETE", "/ping").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "locks/a", {"ttl": 30, "tll": 1}),
        ("PUT", "consumers/a", {"consumers": [], "atomic": True}),
        ("POST", "share", {"key": "a", "ttl": "1h", "use": 1}),
        ("PUT", "published", {"prefixes": [""], "until": 1}),
        ("PUT", "cors", {"origins": ["*"], "methods": ["GET"]}),
        ("PUT", "grants", {"grants": [], "add": True}),
    ],
)
def test_a_field_that_nobody_knows_is_refused(
    raw: Raw, method: str, path: str, body: dict[str, object]
) -> None:
    raw.ask("PUT", OBJECTS + "a", b"1")
    told = raw.ask(method, f"/v1/namespaces/acme/{path}", json.dumps(body).encode())
    assert (told.status, json.loads(told.body)["code"]) == (400, "invalid_value")


def test_a_batch_with_a_field_that_nobody_knows_is_refused(raw: Raw) -> None:
    asked = {"atmoic": True, "operations": [["store", "a", {"value": b"1"}]]}
    told = raw.ask("POST", "/v1/namespaces/acme/batch", msgspec.msgpack.encode(asked))
    assert told.status == 400
    assert raw.ask("GET", OBJECTS + "a").status == 404


def test_conditions_of_a_put(raw: Raw) -> None:
    tag = raw.ask("PUT", OBJECTS + "a", b"1", If_None_Match="*").headers["etag"]
    again = raw.ask("PUT", OBJECTS + "a", b"2", If_None_Match="*")
    assert (again.status, json.loads(again.body)["code"]) == (412, "exists")
    assert raw.ask("PUT", OBJECTS + "a", b"2", If_Match='"0"').status == 412
    assert raw.ask("PUT", OBJECTS + "a", b"2", If_Match=tag).status == 200
    assert raw.ask("GET", OBJECTS + "a").body == b"2"


@pytest.mark.parametrize(
    "key",
    ["a/../b", "//", "/", "a//b/", "..", ".", "%252F", "%C3%A4", "a%20b", "a+b"],
)
def test_keys_are_never_normalised(raw: Raw, key: str) -> None:
    assert raw.ask("PUT", OBJECTS + key, key.encode()).status == 200
    assert raw.ask("GET", OBJECTS + key).body == key.encode()
    listed = json.loads(raw.ask("GET", OBJECTS.rstrip("/")).body)["keys"]
    assert len(listed) == 1


@pytest.mark.parametrize("key", ["", "%FF", "%zz", "a" * 1025])
def test_what_is_no_key_is_refused(raw: Raw, key: str) -> None:
    told = raw.ask("PUT", OBJECTS + key, b"")
    assert (told.status, json.loads(told.body)["code"]) == (422, "invalid_key")


def test_a_delete_says_whether_there_was_one(raw: Raw) -> None:
    raw.ask("PUT", OBJECTS + "a", b"1")
    first, second = raw.ask("DELETE", OBJECTS + "a"), raw.ask("DELETE", OBJECTS + "a")
    assert (first.status, first.headers["holdfast-existed"]) == (204, "true")
    assert (second.status, second.headers["holdfast-existed"]) == (204, "false")
    assert raw.ask("DELETE", OBJECTS + "a?strict=true").status == 404


@pytest.mark.parametrize("size", [0, 1, 1 << 18, (1 << 18) + 1, 1 << 20, (1 << 20) + 1, 5 << 20])
def test_a_value_of_any_size_comes_back(raw: Raw, size: int) -> None:
    value = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert raw.ask("PUT", OBJECTS + "a", value).status == 200
    assert raw.ask("GET", OBJECTS + "a").body == value
    if size > 10:
        part = raw.ask("GET", OBJECTS + "a", Range=f"bytes={size // 2}-{size - 2}")
        assert part.body == value[size // 2 : size - 1]


def test_a_chunked_body_is_one_value(raw: Raw) -> None:
    head = raw.request("PUT", OBJECTS + "a", Transfer_Encoding="chunked")
    raw.say(head.replace(b"Content-Length: 0\r\n", b""))
    for piece in (b"5\r\nhello\r\n", b"1\r\n \r\n", b"5\r\nworld\r\n", b"0\r\n\r\n"):
        raw.say(piece)
    assert raw.hear().status == 200
    assert raw.ask("GET", OBJECTS + "a").body == b"hello world"


def test_a_batch_answers_each_operation(raw: Raw) -> None:
    operations = [
        ("store", "a", {"value": b"1"}),
        ("store", "b", {"value": b"2", "if_version": 99}),
        ("load", "a", None),
        ("append", "a", {"value": b"2"}),
        ("delete", "x", {"missing_ok": True}),
        ("lock", "a", {"ttl_ns": 10**9}),
        ("stat", "a", None),
        ("exists", "b", None),
    ]
    body = msgspec.msgpack.encode({"atomic": False, "operations": operations})
    told = raw.ask("POST", "/v1/namespaces/acme/batch", body)
    assert told.status == 200
    results = msgspec.msgpack.decode(told.body)
    assert [flag for flag, _ in results] == [0, 1, 0, 0, 0, 0, 0, 0]
    assert results[1][1]["code"] == "version_mismatch"
    assert results[2][1] == b"1"
    assert results[3][1] == 2
    assert results[6][1]["size"] == 2
    assert results[7][1] is False


def test_an_atomic_batch_is_all_or_nothing(raw: Raw) -> None:
    operations = [("store", "a", {"value": b"1"}), ("delete", "x", None)]
    body = msgspec.msgpack.encode({"atomic": True, "operations": operations})
    told = raw.ask("POST", "/v1/namespaces/acme/batch", body)
    assert told.status == 404
    assert json.loads(told.body)["facts"]["index"] == 1
    assert raw.ask("GET", OBJECTS + "a").status == 404


def test_nobody_is_let_in_without_a_credential(raw: Raw) -> None:
    raw.token = raw.token[::-1]
    refused = raw.ask("GET", OBJECTS + "a")
    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
    raw.say(b"GET /ping HTTP/1.1\r\nHost: h\r\n\r\n")
    assert json.loads(raw.hear().body) == {"version": "1.0.0"}


@pytest.mark.parametrize(("seconds", "code"), [("0", "deadline_exceeded"), ("x", "invalid_value")])
@pytest.mark.parametrize(
    ("method", "body"), [("PUT", b"1"), ("PUT", b"1" * 2_000_000), ("GET", b"")]
)
def test_a_timeout_that_has_passed_or_is_none_begins_nothing(  # noqa: PLR0917 - a table
    serve: Serve, connect: Dial, method: str, body: bytes, seconds: str, code: str
) -> None:
    url = serve()
    raw = connect(url)
    raw.say(raw.request(method, OBJECTS + "a", body, Holdfast_Timeout=seconds))
    assert json.loads(raw.hear().body)["code"] == code
    assert connect(url).ask("GET", OBJECTS + "a").status == 404


def test_a_part_of_a_value_is_not_taken_for_all_of_it(raw: Raw) -> None:
    raw.ask("PUT", OBJECTS + "a", b"whole")
    told = raw.ask("PUT", OBJECTS + "a", b"wh", Content_Range="bytes 0-1/5")
    assert (told.status, json.loads(told.body)["code"]) == (400, "invalid_value")
    assert raw.ask("GET", OBJECTS + "a", Content_Range="bytes 0-1/5").body == b"whole"


def test_a_request_may_name_the_server_before_the_path(raw: Raw) -> None:
    raw.ask("PUT", "http://holdfast:80" + OBJECTS + "a//b?x", b"1")
    assert raw.ask("GET", "HTTPS://other" + OBJECTS + "a//b").body == b"1"
    assert raw.ask("GET", OBJECTS + "a//b").body == b"1"
    assert raw.ask("GET", "http://holdfast").status == 400


def test_a_slash_more_is_another_path(raw: Raw) -> None:
    assert raw.ask("GET", "/v1/namespaces").status == 200
    assert raw.ask("GET", "/v1/namespaces/").status == 404


def test_a_path_or_method_that_is_none(raw: Raw) -> None:
    assert raw.ask("GET", "/v1/nothing").status == 404
    told = raw.ask("POST", OBJECTS + "a")
    assert told.status == 405
    assert "PUT" in told.headers["allow"]


def test_a_numbered_write_is_applied_once(raw: Raw) -> None:
    session = json.loads(raw.ask("POST", "/v1/sessions").body)["session"]

    def ask(number: int, method: str, path: str, body: bytes = b"") -> Told:
        return raw.ask(method, path, body, Holdfast_Session=f"{session};{number};0")

    appending = "/v1/namespaces/acme/append/a"
    assert ask(1, "POST", appending, b"x").body == ask(1, "POST", appending, b"x").body
    assert ask(2, "PUT", OBJECTS + "b", b"1").body == ask(2, "PUT", OBJECTS + "b", b"1").body
    large = bytes(3 << 20)
    assert ask(3, "PUT", OBJECTS + "l", large).body == ask(3, "PUT", OBJECTS + "l", large).body
    locking = "/v1/namespaces/acme/locks/a"
    assert ask(4, "POST", locking).body == ask(4, "POST", locking).body
    operations = [("append", "a", {"value": b"y"}), ("stat", "a", None), ("lock", "c", None)]
    body = msgspec.msgpack.encode({"operations": operations})
    batch = "/v1/namespaces/acme/batch"
    assert ask(5, "POST", batch, body).body == ask(5, "POST", batch, body).body
    assert raw.ask("GET", OBJECTS + "a").body == b"xy"
    unknown = raw.ask("PUT", OBJECTS + "a", b"1", Holdfast_Session=f"{'0' * 32};1;0")
    assert (unknown.status, json.loads(unknown.body)["code"]) == (409, "session_unknown")


def test_what_is_not_in_memory_is_read_on_a_thread(tmp_path: Path, connect: Dial) -> None:
    # Around a disk nothing can be had at once (rule 12), so every read takes the other way.
    disk = CountingDisk(OsDisk())
    with open_on(
        disk, str(tmp_path / "s"), in_place=False, clock=SystemClock(), entropy=SystemEntropy()
    ) as store:
        store.namespace("acme").put("a", b"0123456789")
        with Serving(store) as serving:
            raw = connect(serving)
            asked = raw.request("GET", OBJECTS + "a") + raw.request("GET", "/ping")
            raw.say(asked + raw.request("GET", OBJECTS + "a", Range="bytes=2-3"))
            assert raw.hear().body == b"0123456789"
            assert raw.hear().status == 200
            assert raw.hear().body == b"23"
