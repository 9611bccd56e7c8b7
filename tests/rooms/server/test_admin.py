"""What is asked seldom: namespaces, rights, the operation of the store, documents, metrics."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.store.store import Store
from holdfast.testing.serving import Serving
from tests.rooms.server.conftest import Serve
from tests.rooms.server.raw import OBJECTS, Raw

Dial = Callable[[Serving], Raw]
PROTOCOL = Path(__file__).resolve().parents[3] / "docs" / "PROTOCOL.md"
ROUTE = re.compile(r"(?:`(?P<path>(?:[A-Z]+ )?/[^`]*)`|`(?P<method>[A-Z]+)`)")


@pytest.fixture
def raw(serve: Serve, connect: Dial) -> Raw:
    return connect(serve())


def test_every_code_that_no_error_has_is_in_the_table() -> None:
    server = PROTOCOL.parents[1] / "src" / "holdfast" / "server"
    made = "".join(path.read_text() for path in sorted(server.rglob("*.py")))
    codes = set(re.findall(r'\bplain\([A-Z_]+, "(\w+)"', made))
    assert "not_allowed" in codes
    table = PROTOCOL.read_text().partition("| status | codes |")[2].partition("\n\n")[0]
    assert codes <= set(re.findall(r"`(\w+)`", table))


def told(raw: Raw, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
    sent = b"" if body is None else json.dumps(body).encode()
    answer = raw.ask(method, path, sent)
    assert answer.status in {200, 204}, answer
    return json.loads(answer.body) if answer.body else None


def test_namespaces_are_listed_for_who_may_read_them(
    serve: Serve, connect: Dial, store: Store
) -> None:
    for name in ("acme", "other"):
        store.namespace(name).put("a", b"1")
    serving = serve()
    raw = connect(serving)
    assert told(raw, "GET", "/v1/namespaces") == {"namespaces": ["acme", "other"]}
    raw.token = serving.token("acme", ("read",))
    assert told(raw, "GET", "/v1/namespaces") == {"namespaces": ["acme"]}
    assert raw.ask("DELETE", "/v1/namespaces/acme").status == 403
    raw.token = serving.token("acme", ("admin",))
    assert told(raw, "DELETE", "/v1/namespaces/acme") is None
    assert store.namespaces() == ["other"]


def test_tokens_are_listed_for_who_administers_them(serve: Serve, connect: Dial) -> None:
    serving = serve()
    raw = connect(serving)
    ids = {}
    for name in ("acme", "other"):
        wanted = {"namespace": name, "rights": ["read"], "ttl": "1h", "name": name}
        ids[name] = told(raw, "POST", "/v1/tokens", wanted)["id"]
    seen = told(raw, "GET", "/v1/tokens")["tokens"]
    assert set(ids.values()) <= {one["id"] for one in seen}
    assert not any("token" in one for one in seen)
    raw.token = serving.token("acme", ("admin",))
    assert raw.ask("GET", "/v1/tokens").status == 403
    assert raw.ask("GET", "/v1/tokens?namespace=other").status == 403
    names = [one["name"] for one in told(raw, "GET", "/v1/tokens?namespace=acme")["tokens"]]
    assert "acme" in names
    assert "other" not in names
    raw.token = serving.token("acme", ("read", "write", "delete"))
    assert raw.ask("GET", "/v1/tokens?namespace=acme").status == 403


def test_rights_are_given_and_told(raw: Raw) -> None:
    given = {"grants": [{"to": "user:x#y", "grant": {"namespace": "acme", "rights": ["read"]}}]}
    assert told(raw, "PUT", "/v1/namespaces/acme/grants", given) == given
    assert told(raw, "GET", "/v1/namespaces/acme/grants") == given
    for name, body in (("published", {"prefixes": ["a/"]}), ("cors", {"origins": ["*"]})):
        assert told(raw, "PUT", f"/v1/namespaces/acme/{name}", body) == body
        assert told(raw, "GET", f"/v1/namespaces/acme/{name}") == body


def test_tokens_are_made_and_ended(raw: Raw) -> None:
    wanted = {"namespace": "acme", "rights": ["read"], "ttl": "1h", "name": "ci", "prefix": "a/"}
    made = told(raw, "POST", "/v1/tokens", wanted)
    mine = raw.token
    raw.token = made["token"]
    assert raw.ask("GET", OBJECTS + "a/b").status == 404
    assert raw.ask("GET", OBJECTS + "b").status == 403
    raw.token = mine
    assert told(raw, "DELETE", f"/v1/tokens/{made['id']}") is None
    raw.token = made["token"]
    assert raw.ask("GET", OBJECTS + "a/b").status == 401


def test_a_link_that_was_shared_opens_the_object(raw: Raw) -> None:
    raw.ask("PUT", OBJECTS + "a%20b", b"1")
    url = told(raw, "POST", "/v1/namespaces/acme/share", {"key": "a b", "ttl": "1h"})["url"]
    path = "/" + url.split("/", 3)[3]
    raw.say(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert raw.hear().body == b"1"


def test_the_operator_runs_the_store(raw: Raw, tmp_path: Path) -> None:
    raw.ask("PUT", OBJECTS + "a", b"1")
    assert told(raw, "GET", "/v1/status")["dead_letters"] == 0
    assert told(raw, "POST", "/v1/check")["ok"] is True
    assert told(raw, "POST", "/v1/collect?mode=copying")["mode"] == "copying"
    assert told(raw, "POST", "/v1/tick?budget_s=0.01") is None
    assert told(raw, "POST", "/v1/rebuild") is None
    assert told(raw, "POST", "/v1/flush") == {"dead_letters": []}
    assert told(raw, "GET", "/v1/dead-letters") == {"dead_letters": []}
    assert told(raw, "POST", "/v1/backup", {"path": str(tmp_path / "copy")}) is None
    assert (tmp_path / "copy").is_dir()
    for path in ("/v1/collect?mode=x", "/v1/tick?budget_s=x", "/v1/check?repair=x"):
        assert raw.ask("POST", path).status == 422
    assert raw.ask("POST", "/v1/backup", b"{").status == 400
    assert raw.ask("POST", "/v1/backup", b'{"path": "\\u0000"}').status == 422


def test_only_the_operator_does(serve: Serve, connect: Dial) -> None:
    serving = serve()
    raw = connect(serving)
    raw.token = serving.token("acme", ("read", "write", "delete", "admin"))
    for method, path in (
        ("GET", "/v1/status"),
        ("POST", "/v1/check"),
        ("POST", "/v1/backup"),
        ("GET", "/metrics"),
    ):
        assert raw.ask(method, path).status == 403, path


def test_metrics_count_what_was_asked(raw: Raw) -> None:
    for _ in range(3):
        raw.ask("GET", OBJECTS + "a")
    text = raw.ask("GET", "/metrics").body.decode()
    assert 'holdfast_requests_total{operation="load",status="404"} 3.0' in text
    assert 'holdfast_request_seconds_count{operation="load"} 3.0' in text
    assert "holdfast_connections 1.0" in text


def test_what_was_refused_is_logged_without_secrets(
    serve: Serve, connect: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "holdfast.requests")
    quiet = connect(serve())
    assert quiet.ask("GET", OBJECTS + "a").status == 404  # which is nobody's problem
    raw = connect(serve(log="all"))
    answer = raw.ask("GET", OBJECTS + "secret-key")
    (record,) = [one for one in caplog.records if one.name == "holdfast.requests"]
    line = vars(record)["told"]
    assert line["request"] == answer.headers["holdfast-request"]
    assert (line["operation"], line["namespace"], line["status"]) == ("load", "acme", 404)
    assert (line["cost_atto"], line["code"]) == (0, "not_found")
    assert line["took_ms"] >= 0
    assert raw.token not in str(line)
    assert "secret-key" not in str(line)


def test_nobody_gets_further_than_the_door(raw: Raw) -> None:
    raw.say(b"GET /openapi.json HTTP/1.1\r\nHost: h\r\n\r\n")
    assert raw.hear().status == 401
    assert raw.ask("GET", "/nothing/at/all").status == 404
    assert raw.ask("PATCH", "/v1/status").status == 405


# -- the document ------------------------------------------------------------------------------


def promised() -> set[tuple[str, str]]:
    """Methods and paths that the page promises in sections 1, 2 and 4."""
    found = {("GET", path) for path in ("/ping", "/livez", "/readyz")}
    sections = re.split(r"^## ", PROTOCOL.read_text(), flags=re.MULTILINE)
    rows = [line for n in (2, 4) for line in sections[n].splitlines() if line.startswith("| `")]
    path, method = "", ""
    for row in rows:
        waiting: list[str] = []
        for match in ROUTE.finditer(re.split(r"(?<!\\)\|", row)[1]):
            if match["method"]:
                waiting.append(match["method"])
                continue
            first, _, path = match["path"].rpartition(" ")
            method = first or method
            found |= {(one, path) for one in (*waiting, method)}
            waiting = []
        found |= {(one, path) for one in waiting}  # of the same path
    return {(method, plain(path)) for method, path in found}


def plain(path: str) -> str:
    """A path without its query, its parts as the document names them."""
    return re.sub(r"\{[^}]*\}", "{}", path.partition("?")[0])


def test_the_document_names_what_the_page_promises(raw: Raw) -> None:
    paths = told(raw, "GET", "/openapi.json")["paths"]
    made = {(method.upper(), plain(path)) for path in paths for method in paths[path]}
    missing = {
        (method, path)
        for method, path in promised() - made
        if path.startswith("/") and "..." not in path
    }
    assert missing == set()


def test_the_document_is_served_and_whole(raw: Raw) -> None:
    served = told(raw, "GET", "/openapi.json")
    assert served["openapi"] == "3.1.0"
    for path, methods in served["paths"].items():
        names = set(re.findall(r"\{(\w+)\}", path))
        for method in methods.values():
            told_of = {p["name"] for p in method["parameters"] if p["in"] == "path"}
            assert told_of == names
            assert "400" in method["responses"]
