"""Challenge, session, hand-over over HTTP: what proves who asks, and what proves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import holdfast
from holdfast.identity.enclaves import AttestationSettings
from holdfast.identity.handover import Statement
from holdfast.limits import SECOND_NS
from holdfast.store.store import Store
from holdfast.testing.authority import image
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.enclave import MockEnclave
from holdfast.testing.serving import Serving
from tests.rooms.server.conftest import Serve
from tests.rooms.server.enclaves import AUTHORITY, HOUR_NS, Caller, octets, text
from tests.rooms.server.raw import Raw, Told

Dial = Callable[[Serving], Raw]
OWNER = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Iterator[Store]:
    with holdfast.open(":memory:", in_place=False, clock=clock, upkeep=False) as opened:
        yield opened


class Door:
    """A server that takes enclaves, and enclaves to come in by it."""

    def __init__(self, store: Store, serve: Serve, connect: Dial) -> None:
        self.store = store
        self._serve = serve
        self._connect = connect
        self._entropy = SeededEntropy(5)
        self.serving: Serving
        self.start()

    def start(self, **settings: Any) -> None:  # noqa: ANN401 - of AttestationSettings
        told = AttestationSettings(**{"roots": (AUTHORITY.pem,)} | settings)
        self.serving = self._serve(attestation=told)

    def caller(self, number: int = 1, *, bearer: bool = False) -> Caller:
        """An enclave that has said nothing yet."""
        enclave = MockEnclave(AUTHORITY, self.store.clock, self._entropy, image(number))
        caller = Caller(self._connect(self.serving), enclave, bearer=bearer)
        caller.raw.token = ""
        return caller

    def begun(self, number: int = 1, namespace: str | None = None) -> Caller:
        """An enclave with a session."""
        caller = self.caller(number)
        told = caller.begin(namespace)
        assert told.status == 200, told.body
        return caller


@pytest.fixture
def door(store: Store, serve: Serve, connect: Dial) -> Door:
    return Door(store, serve, connect)


def why(told: Told) -> tuple[int, str, str]:
    """Status, code and reason of a refusal."""
    problem = json.loads(told.body)
    return told.status, problem["code"], problem["facts"].get("reason", "")


def test_a_mock_is_nobody_where_its_root_is_not_named(door: Door) -> None:
    door.start(roots=("aws",))
    assert why(door.caller().begin()) == (401, "attestation_invalid", "root")


def test_the_openapi_document_says_what_proves_who_asks(door: Door) -> None:
    caller = door.caller()
    caller.raw.token = door.serving.token()
    paths = json.loads(caller.raw.ask("GET", "/openapi.json").body)["paths"]
    told = {path: paths[path]["post"]["security"] for path in ("/load", "/session", "/handover")}
    proven: list[dict[str, list[str]]] = [{"session": []}, {"document": []}]
    assert told == {"/load": proven, "/session": [], "/handover": [{"session": []}, {}]}


# -- challenge and session --------------------------------------------------------------


def test_a_challenge_is_32_bytes_for_a_minute(door: Door) -> None:
    for body in (None, {}, {"image_id": "0" * 64}):
        told = door.caller().plain("/challenge", body)
        found = json.loads(told.body)
        assert (told.status, found["seconds"], len(octets(found["nonce"]))) == (200, 60, 32)
    assert door.caller().plain("/challenge", {"image_id": "acme"}).status == 422
    assert door.caller().plain("/challenge", {"surprise": 1}).status == 400


def test_a_session_says_what_the_page_says(door: Door) -> None:
    caller = door.caller()
    found = json.loads(caller.begin().body)
    named = ["session", "public_key", "sealed", "image_id", "namespace", "store", "until_ns"]
    assert list(found) == named
    assert (found["image_id"], found["namespace"]) == (caller.image_id, caller.image_id)
    assert [len(octets(found[name])) for name in ("public_key", "sealed")] == [32, 48]
    assert found["store"] == door.store.file.store
    assert caller.ask("/exists", key="a") == (200, {"value": False})


def test_a_document_is_exchanged_once(door: Door) -> None:
    caller = door.caller()
    nonce = octets(json.loads(caller.plain("/challenge").body)["nonce"])
    asked = {"document": text(caller.enclave.document(nonce))}
    assert caller.plain("/session", asked).status == 200
    assert why(caller.plain("/session", asked)) == (401, "attestation_invalid", "nonce")


def test_a_document_without_our_nonce_is_no_login(door: Door) -> None:
    caller = door.caller()
    for nonce in (None, bytes(32)):
        asked = {"document": text(caller.enclave.document(nonce))}
        assert why(caller.plain("/session", asked)) == (401, "attestation_invalid", "nonce")
    assert caller.plain("/session", {"document": "?"}).status == 422
    assert why(caller.plain("/session", {"document": ""}))[2] == "encoding"
    assert caller.plain("/session", {}).status == 400


def test_a_challenge_for_one_image_is_no_other_ones(door: Door) -> None:
    one, other = door.caller(1), door.caller(2)
    told = one.plain("/challenge", {"image_id": one.image_id})
    nonce = octets(json.loads(told.body)["nonce"])
    asked = {"document": text(other.enclave.document(nonce))}
    assert why(other.plain("/session", asked))[2] == "nonce"


# -- marked requests --------------------------------------------------------------------


def test_what_was_seen_on_the_way_is_worth_nothing(door: Door) -> None:
    caller = door.begun()
    data = json.dumps({"key": "a", "value": "v", "expiry": HOUR_NS}).encode()
    mark = caller.enclave.mark("POST", "/store", data)
    asked = {"Holdfast_Enclave": mark}
    assert caller.raw.ask("POST", "/store", data, **asked).status == 200
    assert why(caller.raw.ask("POST", "/store", data, **asked)) == (
        401,
        "unauthenticated",
        "counter",
    )
    thief = door.caller()
    assert why(thief.raw.ask("POST", "/store", data, **asked))[2] == "counter"


def test_a_mark_is_for_its_path_and_its_body(door: Door) -> None:
    caller = door.begun()
    data = b'{"key": "a"}'
    for method, path, body in (
        ("POST", "/delete", data),
        ("POST", "/load?x=1", data),
        ("POST", "/load", b'{"key": "b"}'),
    ):
        mark = caller.enclave.mark("POST", "/load", data)
        told = caller.raw.ask(method, path, body, Holdfast_Enclave=mark)
        assert why(told) == (401, "unauthenticated", "signature")


def test_a_query_is_part_of_what_is_marked(door: Door) -> None:
    caller = door.begun()
    mark = caller.enclave.mark("POST", "/exists?x=%2F", b'{"key": "a"}')
    told = caller.raw.ask("POST", "/exists?x=%2F", b'{"key": "a"}', Holdfast_Enclave=mark)
    assert told.status == 200


def test_a_session_is_not_anothers(door: Door) -> None:
    one, other = door.begun(1), door.begun(2)
    data = b'{"key": "a"}'
    session = other.enclave.mark("POST", "/load", data).partition(";")[0]
    forged = session + ";" + one.enclave.mark("POST", "/load", data).partition(";")[2]
    told = one.raw.ask("POST", "/load", data, Holdfast_Enclave=forged)
    assert why(told) == (401, "unauthenticated", "signature")


def test_a_session_ends(door: Door, clock: ManualClock) -> None:
    caller = door.begun()
    assert caller.ask("/exists", key="a")[0] == 200
    clock.advance(3600 * SECOND_NS)
    assert why(caller.send("/exists", b'{"key": "a"}'))[2] == "session"


def test_requests_sent_behind_one_another_are_looked_at_in_order(
    door: Door, clock: ManualClock
) -> None:
    """The first needs a look at the record, on a thread; those behind it must not overtake."""
    caller = door.begun()
    data = b'{"key": "a"}'
    for _ in range(20):
        clock.advance(2 * SECOND_NS)
        marks = [caller.enclave.mark("POST", "/exists", data) for _ in range(5)]
        sent = [caller.raw.request("POST", "/exists", data, Holdfast_Enclave=m) for m in marks]
        caller.raw.say(b"".join(sent))
        assert [caller.raw.hear().status for _ in marks] == [200] * 5


# -- the other paths --------------------------------------------------------------------


def marked(caller: Caller, method: str, path: str, body: bytes = b"", **headers: str) -> Told:
    mark = caller.enclave.mark(method, path, body)
    return caller.raw.ask(method, path, body, Holdfast_Enclave=mark, **headers)


def test_a_session_counts_on_every_path(door: Door) -> None:
    caller = door.begun()
    space = f"/v1/namespaces/{caller.image_id}"
    assert marked(caller, "PUT", f"{space}/objects/a%2Fb", b"\xff").status == 200
    assert marked(caller, "GET", f"{space}/objects/a%2Fb").body == b"\xff"
    assert marked(caller, "HEAD", f"{space}/objects/a%2Fb").status == 200
    told = marked(caller, "GET", f"{space}/objects?prefix=a&recursive=true")
    assert json.loads(told.body)["keys"] == ["a/b"]
    body = msgspec.msgpack.encode({"atomic": False, "operations": [["exists", "a/b", None]]})
    told = marked(caller, "POST", f"{space}/batch", body)
    assert msgspec.msgpack.decode(told.body) == [[0, True]]
    told = marked(caller, "GET", "/v1/namespaces")
    assert json.loads(told.body) == {"namespaces": [caller.image_id]}
    assert marked(caller, "DELETE", f"{space}/objects/a%2Fb").status == 204


def test_a_session_reaches_no_other_namespace(door: Door) -> None:
    caller = door.begun()
    door.store.namespace("acme").put("a", b"1")
    for method, body in (("GET", b""), ("PUT", b"2"), ("DELETE", b"")):
        told = marked(caller, method, "/v1/namespaces/acme/objects/a", body)
        assert why(told)[:2] == (403, "forbidden")
    assert door.store.namespace("acme").get("a") == b"1"


def test_a_mark_is_for_its_body_on_every_path(door: Door) -> None:
    caller = door.begun()
    path = f"/v1/namespaces/{caller.image_id}/objects/a"
    mark = caller.enclave.mark("PUT", path, b"1")
    told = caller.raw.ask("PUT", path, b"2", Holdfast_Enclave=mark)
    assert why(told) == (401, "unauthenticated", "signature")
    assert caller.raw.ask("PUT", path, b"1", Holdfast_Enclave=mark).status == 200
    assert why(caller.raw.ask("PUT", path, b"1", Holdfast_Enclave=mark))[2] == "counter"


def test_what_is_marked_is_gathered_and_so_it_is_bounded(door: Door) -> None:
    caller = door.begun()
    path = f"/v1/namespaces/{caller.image_id}/objects/a"
    assert marked(caller, "PUT", path, bytes(1 << 20)).status == 200
    assert why(marked(caller, "PUT", path, bytes((1 << 20) + 1)))[:2] == (413, "limit_exceeded")


def test_nobody_without_a_session_makes_the_server_gather(door: Door) -> None:
    caller = door.caller()
    mark = f"{'0' * 32};1;{'0' * 64}"
    head = caller.raw.request("PUT", "/v1/namespaces/acme/objects/a", Holdfast_Enclave=mark)
    caller.raw.say(head.replace(b"Content-Length: 0", b"Content-Length: 1000000"))
    assert why(caller.raw.hear()) == (401, "unauthenticated", "session")


# -- bearer -----------------------------------------------------------------------------


def test_a_document_alone_is_refused_where_nobody_asked_for_it(door: Door) -> None:
    told = door.caller(bearer=True).send("/load", b'{"key": "a"}')
    assert why(told) == (401, "unauthenticated", "bearer")


def test_a_document_is_good_until_it_is_too_old(door: Door, clock: ManualClock) -> None:
    door.start(mode="bearer", max_age_s=100)
    caller = door.caller(bearer=True)
    assert caller.ask("/exists", key="a") == (200, {"value": False})
    clock.advance(100 * SECOND_NS)
    assert caller.ask("/exists", key="a") == (200, {"value": False})
    clock.advance(1)
    assert why(caller.send("/exists", b'{"key": "a"}')) == (401, "attestation_invalid", "stale")


@pytest.mark.parametrize("document", ["", "?", "AAAA", "A" * 30_000])
def test_a_header_that_is_no_document_is_refused(door: Door, document: str) -> None:
    door.start(mode="bearer")
    caller = door.caller(bearer=True)
    caller.document = document
    assert why(caller.send("/load", b'{"key": "a"}')) == (401, "attestation_invalid", "encoding")


def test_a_document_cannot_hand_over(door: Door) -> None:
    """Whoever saw it on the way could give the namespace away."""
    door.start(mode="bearer")
    caller = door.caller(bearer=True)
    for path, body in (("/handover", b'{"to": "%064d"}' % 0), ("/owner", b'{"public_key": null}')):
        assert why(caller.send(path, body)) == (401, "unauthenticated", "session")


# -- hand-over --------------------------------------------------------------------------


def test_a_release_keeps_its_data_by_hand_over(door: Door) -> None:
    old = door.begun(1)
    old.put("state", "precious")
    new = door.caller(2)
    assert why(new.begin(old.image_id)) == (403, "forbidden", "image")
    answer = (200, {"images": [new.image_id], "number": 0})
    assert old.ask("/handover", to=new.image_id) == answer
    assert new.begin(old.image_id).status == 200
    assert new.ask("/load", key="state") == (200, {"value": "precious"})
    assert why(old.send("/load", b'{"key": "state"}')) == (403, "forbidden", "image")
    assert why(door.caller(1).begin())[1] == "forbidden"


def test_both_images_may_go_on(door: Door) -> None:
    old, new = door.begun(1), door.caller(2)
    old.put("state", "1")
    assert old.ask("/handover", to=new.image_id, keep=True)[0] == 200
    new.begin(old.image_id)
    new.put("state", "2")
    assert old.ask("/load", key="state") == (200, {"value": "2"})


def test_the_owner_hands_over_by_signature_alone(door: Door) -> None:
    old, new, anybody = door.begun(1), door.caller(2), door.caller(3)
    old.put("state", "precious")
    key = text(OWNER.public_key().public_bytes_raw())
    assert old.ask("/owner", public_key=key) == (200, {"images": [old.image_id], "number": 0})
    statement = Statement(old.image_id, old.image_id, new.image_id, keep=False, number=1)
    signature = OWNER.sign(statement.signed_bytes(door.store.file.store))
    asked = {
        "namespace": old.image_id,
        "from": old.image_id,
        "to": new.image_id,
        "keep": False,
        "number": 1,
        "signature": text(signature),
    }
    assert why(anybody.plain("/handover", asked | {"keep": True}))[2] == "owner"
    told = anybody.plain("/handover", asked)
    assert (told.status, json.loads(told.body)) == (200, {"images": [new.image_id], "number": 1})
    assert why(anybody.plain("/handover", asked))[1] == "forbidden"
    new.begin(old.image_id)
    assert new.ask("/load", key="state") == (200, {"value": "precious"})


def test_the_operator_alone_hands_nothing_over(door: Door) -> None:
    old, new = door.begun(1), door.caller(2)
    old.put("state", "precious")
    operator = door.caller(9)
    operator.raw.token = door.serving.token()
    for path, body in (
        ("/handover", {"to": new.image_id}),
        ("/owner", {"public_key": text(OWNER.public_key().public_bytes_raw())}),
    ):
        assert why(operator.plain(path, body)) == (401, "unauthenticated", "session")
    assert why(new.begin(old.image_id)) == (403, "forbidden", "image")


def test_a_hand_over_outlives_the_server(door: Door) -> None:
    old, new = door.begun(1), door.caller(2)
    old.put("state", "precious")
    assert old.ask("/handover", to=new.image_id)[0] == 200
    door.start()
    again = door.begun(2, old.image_id)
    assert again.ask("/load", key="state") == (200, {"value": "precious"})
    assert why(door.caller(1).begin())[1] == "forbidden"


def test_who_holds_a_namespace_is_in_no_list(door: Door) -> None:
    old = door.begun(1)
    assert old.ask("/handover", to=door.caller(2).image_id)[0] == 200
    assert door.store.namespaces() == []


# -- the audit log ----------------------------------------------------------------------


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(r.getMessage()) for r in caplog.records if r.name == "holdfast.audit"]


def test_a_refused_credential_leaves_a_line(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caller = door.begun()
    with caplog.at_level("INFO", logger="holdfast.audit"):
        caller.plain("/load", {"key": "a"})
        caller.plain("/session", {"document": text(caller.enclave.document())})
        caller.plain("/load", {"key": "a"}, Holdfast_Enclave=f"{'0' * 32};1;{'0' * 64}")
        caller.ask("/exists", key="a")
    told = [(one["event"], one["operation"], one["code"], one["reason"]) for one in lines(caplog)]
    assert told == [
        ("refused", "load", "unauthenticated", "missing"),
        ("refused", "enclave.session", "attestation_invalid", "nonce"),
        ("refused", "load", "unauthenticated", "session"),
    ]


def test_a_hand_over_leaves_a_line(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    old, new = door.begun(1), door.caller(2)
    with caplog.at_level("INFO", logger="holdfast.audit"):
        old.ask("/owner", public_key=None)
        old.ask("/handover", to=new.image_id, keep=False)
    told = [(one["event"], one["operation"], one["principal"]) for one in lines(caplog)]
    assert told == [
        ("allowed", "enclave.owner", old.image_id),
        ("allowed", "enclave.handover", old.image_id),
    ]
    last = lines(caplog)[-1]
    assert (last["namespace"], last["to"], last["keep"]) == (old.image_id, new.image_id, False)


# -- strangers --------------------------------------------------------------------------


def test_so_many_documents_wait_and_no_more(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    door.start(mode="bearer")
    known, caller = door.caller(1, bearer=True), door.caller(2, bearer=True)
    assert known.ask("/exists", key="a")[0] == 200
    monkeypatch.setattr("holdfast.server.enclave_callers.VERIFYING", 0)
    asked = {"document": text(caller.enclave.document())}
    for told in (caller.send("/load", b'{"key": "a"}'), caller.plain("/session", asked)):
        assert (why(told)[:2], told.headers["retry-after"]) == ((429, "rate_limited"), "1")
    assert known.ask("/exists", key="a")[0] == 200  # what was verified goes on


def test_a_flood_of_documents_leaves_others_their_threads(door: Door) -> None:
    caller, strangers = door.begun(1), [door.caller(2) for _ in range(10)]
    nonce = octets(json.loads(strangers[0].plain("/challenge").body)["nonce"])
    document = bytearray(strangers[0].enclave.document(nonce))
    document[-1] ^= 1
    data = json.dumps({"document": text(bytes(document))}).encode()
    for stranger in strangers:
        stranger.raw.say(stranger.raw.request("POST", "/session", data) * 3)
    for turn in range(5):
        caller.put("a", str(turn))
        assert caller.ask("/load", key="a") == (200, {"value": str(turn)})
    told = [stranger.raw.hear().status for stranger in strangers for _ in range(3)]
    assert set(told) <= {401, 429}
    assert told.count(401) >= 10
