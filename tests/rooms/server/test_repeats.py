"""Requests like the one before are answered as if each were the first of its connection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from holdfast.identity.enclaves import AttestationSettings
from holdfast.server.gets import Gets
from holdfast.server.puts import Puts
from holdfast.server.repeats import Found, Repeat
from holdfast.server.routes import Route
from holdfast.store.store import Store
from holdfast.testing.authority import MockAuthority, image
from holdfast.testing.enclave import MockEnclave
from holdfast.testing.serving import Serving
from tests.rooms.server.conftest import Serve
from tests.rooms.server.enclaves import Caller
from tests.rooms.server.raw import OBJECTS, Raw, Told
from tests.rooms.server.test_admin import Dial

OWN = ("date", "holdfast-request")  # of each answer
MARKED = b"0123456789abcdef;1;00"


def test_only_the_same_bytes_but_for_the_key_are_alike() -> None:
    repeat = Repeat(
        before=b"GET /v1/namespaces/acme/objects/",
        middle=b"",
        after=b" HTTP/1.1\r\nHost: h\r\n\r\n",
        size=0,
        method="GET",
        path=b"/v1/namespaces/acme/objects/",
        namespace=b"acme",
        route=Route("load", lambda *_: None),
        headers={"host": "h"},
        is_plain=True,
    )
    whole = repeat.before + b"a/b" + repeat.after
    assert repeat.find(whole) == Found(b"a/b", b"", b"")
    others = (
        *(whole[:at] for at in range(len(whole))),
        whole + b"x",
        whole + whole,
        whole.replace(b"acme", b"other"),
        whole.replace(b"Host: h", b"Host: i"),
        whole.replace(b"GET", b"PUT"),
        *(repeat.before + key + repeat.after for key in (b"", b"a b", b"%41", b"a?b", b"\xc3\xa9")),
        repeat.before + b"a\r\nHost: x" + repeat.after,
        repeat.before + b"a" * 1025 + repeat.after,
    )
    assert [repeat.find(data) for data in others] == [None] * len(others)


def test_a_mark_and_a_body_are_found_where_they_were() -> None:
    repeat = Repeat(
        before=b"POST /load",
        middle=b" HTTP/1.1\r\nHoldfast-Enclave: ",
        after=b"\r\nContent-Length: 3\r\n\r\n",
        size=3,
        method="POST",
        path=b"/load",
        namespace=None,
        route=Route("load", lambda *_: None, late=True),
        headers={},
        is_plain=False,
    )
    whole = repeat.before + repeat.middle + MARKED + repeat.after + b"\r\n\r"
    assert repeat.find(whole) == Found(b"", MARKED, b"\r\n\r")
    for other in (
        whole + b"x",
        whole[:-1],
        whole.replace(b"/load", b"/loads"),
        whole.replace(MARKED, MARKED + b"\r\nContent-Length: 0"),
        whole.replace(MARKED, MARKED.upper()),
        whole.replace(MARKED, b""),
    ):
        assert repeat.find(other) is None


@pytest.fixture
def filled(store: Store) -> Store:
    space = store.namespace("acme")
    for number in range(5):
        space.put(f"k{number}", b"%d" % number * 50)
    space.put("typed/é", b"x", content_type="text/plain")
    space.put("short", b"s", ttl=3600)
    return store


def of_each(told: Told) -> tuple[int, dict[str, str], bytes]:
    """An answer without what is another each time."""
    return told.status, {n: text for n, text in told.headers.items() if n not in OWN}, told.body


@pytest.mark.usefixtures("filled")
def test_a_repeated_request_is_answered_as_a_first_one(serve: Serve, connect: Dial) -> None:
    serving = serve()
    chance = Random(3)
    keys = [*(f"k{number}" for number in range(7)), "short", "typed/%C3%A9", "a//b", "..", "%zz"]
    keys += ["x" * 1024, "x" * 1025, "k1?proof=maybe", "k1/"]
    nouns = ("objects", "objects", "objects", "stat", "exists")
    many = connect(serving)
    for _ in range(300):
        path = f"/v1/namespaces/acme/{chance.choice(nouns)}/{chance.choice(keys)}"
        method = chance.choice(["GET", "GET", "GET", "HEAD"])
        headers = chance.choice([{}, {}, {}, {"Range": "bytes=1-3"}, {"If_None_Match": "*"}])
        with fresh(serving, connect) as first:
            told = [of_each(raw.ask(method, path, b"", **headers)) for raw in (many, first)]
            assert told[0] == told[1]


@contextmanager
def fresh(serving: Serving, connect: Dial) -> Iterator[Raw]:
    """A connection that has asked nothing."""
    raw = connect(serving)
    yield raw
    raw.socket.close()


def test_repeated_writes_store_each_its_own(serve: Serve, connect: Dial, store: Store) -> None:
    raw = connect(serve())
    chance = Random(4)
    values = {f"k{number}": chance.randbytes(64) for number in range(40)}
    for key, value in values.items():
        assert raw.ask("PUT", OBJECTS + key, value).status == 200
    assert {key: raw.ask("GET", OBJECTS + key).body for key in values} == values
    for key in list(values)[:20]:
        assert raw.ask("DELETE", OBJECTS + key).headers["holdfast-existed"] == "true"
    assert list(store.namespace("acme").list()) == sorted(list(values)[20:])
    usage = store.namespace("acme").stat("k39")
    assert usage.size == 64


@pytest.mark.usefixtures("filled")
def test_pieces_and_rows_of_repeated_requests(serve: Serve, connect: Dial) -> None:
    raw = connect(serve())
    for _ in range(3):
        raw.ask("GET", OBJECTS + "k1")
    asked = raw.request("GET", OBJECTS + "k2")
    for at in range(1, len(asked), 61):
        raw.say(asked[:at])
        raw.say(asked[at:])
        assert raw.hear().body == b"2" * 50
    put = raw.request("PUT", OBJECTS + "k2", b"new" * 20)
    for _ in range(3):
        raw.say(asked + put + asked + asked)
        raw.hear()
        assert raw.hear().status == 200
        assert raw.hear().body == raw.hear().body == b"new" * 20


@pytest.mark.usefixtures("filled")
def test_who_asks_is_settled_each_time(serve: Serve, connect: Dial, store: Store) -> None:
    serving = serve()
    raw = connect(serving)
    raw.token = serving.token("acme", ("read",))
    for _ in range(5):
        assert raw.ask("GET", OBJECTS + "k1").status == 200
    assert raw.ask("GET", "/v1/namespaces/other/objects/k1").status == 403
    assert raw.ask("GET", OBJECTS + "k1").status == 200
    store.tokens.revoke(store.tokens.verify(raw.token).credential)
    for _ in range(3):
        assert raw.ask("GET", OBJECTS + "k1").status == 401
    raw.token = serving.token("acme", ("read",), uses=3)
    assert [raw.ask("GET", OBJECTS + "k1").status for _ in range(5)] == [200] * 3 + [403] * 2


@pytest.mark.usefixtures("filled")
def test_plain_requests_go_the_short_way(
    serve: Serve, connect: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[object] = []

    def note(of: type, name: str) -> None:
        way = getattr(of, name)

        def noted(*given: object) -> object:
            taken.append(way(*given))
            return taken[-1]

        monkeypatch.setattr(of, name, noted)

    note(Gets, "answer")
    note(Puts, "take")
    raw = connect(serve())
    for method in ("GET", "PUT"):
        taken.clear()
        for _ in range(3):
            assert raw.ask(method, OBJECTS + "k1", b"" if method == "GET" else b"v").status == 200
        assert [bool(one) for one in taken if one is not None] == [True] * 2


@pytest.mark.usefixtures("filled")
def test_who_writes_is_settled_each_time(serve: Serve, connect: Dial, store: Store) -> None:
    serving = serve()
    raw = connect(serving)
    raw.token = serving.token("acme", ("read", "write"))
    for number in range(5):
        assert raw.ask("PUT", OBJECTS + "k1", b"%d" % number).status == 200
    assert raw.ask("PUT", "/v1/namespaces/other/objects/k1", b"5").status == 403
    store.tokens.revoke(store.tokens.verify(raw.token).credential)
    for _ in range(3):
        assert raw.ask("PUT", OBJECTS + "k1", b"6").status == 401
    raw.token = serving.token("acme", ("read",))
    for _ in range(3):
        assert raw.ask("PUT", OBJECTS + "k1", b"7").status == 403
        assert raw.ask("GET", OBJECTS + "k1").body == b"4"
    raw.token = serving.token("acme", ("read", "write"))
    for number in range(5):
        assert raw.ask("PUT", OBJECTS + "k1", b"%d" % number).status == 200


@pytest.mark.parametrize("body", [b"", b"v" * 9])
def test_a_mark_counts_once_in_repeated_requests_too(
    serve: Serve, connect: Dial, store: Store, body: bytes
) -> None:
    method = "PUT" if body else "GET"
    authority = MockAuthority(store.entropy, now_ns=store.clock.wall_ns())
    serving = serve(attestation=AttestationSettings(roots=(authority.pem,)))
    raw = connect(serving)
    enclave = MockEnclave(authority, store.clock, store.entropy, image(1))
    caller = Caller(raw, enclave)
    assert caller.begin().status == 200
    store.namespace(enclave.image_id).put("k", b"v" * 9)
    path = f"/v1/namespaces/{enclave.image_id}/objects/k"

    def ask(mark: str) -> Told:
        return raw.ask(method, path, body, Holdfast_Enclave=mark)

    marks = [enclave.mark(method, path, body) for _ in range(8)]
    assert [ask(mark).status for mark in marks] == [200] * 8
    reasons = [json.loads(ask(mark).body)["facts"]["reason"] for mark in (marks[-1], marks[2])]
    assert reasons == ["counter"] * 2
    for nothing in ("", "", "0", "0"):
        assert ask(nothing).status == 401
    for_other = enclave.mark(method, path + "x", body)
    assert json.loads(ask(for_other).body)["facts"]["reason"] == "signature"
    assert ask(enclave.mark(method, path, body)).status == 200
