"""What a connection that has asked before answers is what one that has not answers, byte for byte.

Requests like the one before are not parsed (server/repeats.py) and plain gets are answered in one
go (server/gets.py). Whatever is sent behind such requests must mean to the server what it means
to the parser.
"""

from __future__ import annotations

import base64
import re
import socket
from collections.abc import Iterator, Sequence
from random import Random

import pytest

from holdfast.identity.enclaves import AttestationSettings
from holdfast.store.store import Store
from holdfast.testing.authority import MockAuthority, image
from holdfast.testing.enclave import MockEnclave
from holdfast.testing.serving import Serving
from tests.rooms.server.conftest import Serve
from tests.rooms.server.raw import OBJECTS, Raw
from tests.rooms.server.test_admin import Dial

# What is another each time; and who closes first may say so, or not have to.
OWN = re.compile(rb"(?m)^(Date: |Holdfast-Request: |Connection: close)[^\r]*\r\n")
STATUS = re.compile(rb"HTTP/1.1 ([0-9]+) ")
ASKED = 3  # before what is compared
ROUNDS = 150


@pytest.fixture
def serving(serve: Serve, store: Store) -> Serving:
    space = store.namespace("acme")
    for number in range(5):
        space.put(f"k{number}", b"%d" % number * 50)
    space.put("A", b"percent")
    space.put("short", b"s", ttl=3600)
    space.put("typed", b"t", content_type="text/plain")
    space.put("large", bytes(100_000))
    space.put("fixed", b"f", permanent=True)
    return serve()


def whole(raw: Raw, pieces: Sequence[bytes]) -> bytes:
    """All that is answered to bytes, which are the last that are sent; but what is always new."""
    try:
        for piece in pieces:
            raw.say(piece)
        raw.socket.shutdown(socket.SHUT_WR)
    except OSError:  # it was refused before all was sent
        pass
    return OWN.sub(b"", raw.rest())


class Lanes:
    """Two connections at a time: one that has asked before, and one that has not."""

    def __init__(self, serving: Serving, connect: Dial) -> None:
        self._serving = serving
        self._connect = connect
        raw = connect(serving)
        self.token = raw.token
        self.plain = raw.request("GET", OBJECTS + "k1")
        raw.socket.close()

    def dial(self) -> Raw:
        """Another connection."""
        return self._connect(self._serving)

    def get(self, key: str, **headers: str) -> bytes:
        """A get as bytes."""
        return self.plain.replace(b"objects/k1 ", b"objects/%b " % key.encode("latin-1")).replace(
            b"\r\n\r\n",
            b"".join(b"\r\n%b: %b" % (n.encode(), h.encode()) for n, h in headers.items())
            + b"\r\n\r\n",
        )

    def compare(self, *pieces: bytes) -> bytes:
        """Hold that both are answered the same, and return it."""
        first, later = (self._connect(self._serving) for _ in range(2))
        for number in range(ASKED):
            later.say(self.get(f"k{number}"))
            assert later.hear().body == b"%d" % number * 50
        told, again = whole(first, pieces), whole(later, pieces)
        assert again == told, pieces
        for raw in (first, later):
            raw.socket.close()
        return told


@pytest.fixture
def lanes(serving: Serving, connect: Dial) -> Lanes:
    return Lanes(serving, connect)


def crafted(lanes: Lanes) -> Iterator[tuple[int, bytes]]:
    """Bytes that are nearly a plain get, and how many answers with a value they may have."""
    plain = lanes.plain
    head, host = plain.split(b"\r\n", 1)
    yield 1, plain
    yield 2, plain * 2
    yield 20, plain * 20
    yield 0, plain[:-1]
    yield 1, plain + b"\r\n"
    yield 2, plain + b"\r\n\r\n" + plain
    yield 0, head + b"\r\n folded: yes\r\n" + host
    yield 0, plain.replace(b"Host: h\r\n", b"Host: h\r\nHost: h\r\n")
    yield 0, plain.replace(b"Host: h\r\n", b"Host: h\r\n folded\r\n")
    yield 0, plain.replace(b"Host: h\r\n", b"")
    yield 0, plain.replace(b"\r\n", b"\n")
    yield 0, plain.replace(b"Host: h\r\n", b"Host: h\n")
    yield 0, plain.replace(b"\r\n\r\n", b"\n\n")
    yield 0, plain.replace(b"\r\n\r\n", b"\r\n\n")
    yield 0, plain.replace(b"\r\n\r\n", b"\n\n") + plain
    yield 0, plain.replace(b"\r\n\r\n", b"\r\r\n")
    yield 0, plain.replace(b"Host: h", b"Host: h\0")
    yield 0, plain.replace(b"k1", b"k\x001")
    yield 1, plain.replace(b"k1", b"k1 HTTP/1.1\r\nHost: h\r\n\r\nGET " + OBJECTS.encode() + b"k2")
    yield 1, plain.replace(b"/v1/", b"http://h/v1/", 1)
    yield 0, plain.replace(b" HTTP/1.1", b" HTTP/1.2")
    yield 1, plain.replace(b" HTTP/1.1", b" HTTP/1.0")
    yield 1, plain.replace(b" HTTP/1.1", b"  HTTP/1.1")
    yield 0, plain.replace(b" HTTP/1.1", b"\tHTTP/1.1")
    yield 0, plain.replace(b"GET", b"get")
    yield 0, plain.replace(b"Bearer ", b"Bearer x")
    yield 0, plain.replace(b"acme", b"other")
    yield 1, plain.replace(b"acme", b"%61cme")


KEYS = ("A", "%41", "%4", "%zz", "%2E%2E", "..", ".", "k1/", "/k1", "//", "k1?", "k1?proof=no")
OTHERS = ("k1#x", "k%31", "typed", "short", "large", "none", "é", "k*", "x" * 1_024, "x" * 1_025)
HEADERS = {
    "Range": "bytes=1-3",
    "If-None-Match": "*",
    "If-Match": '"7"',
    "Content-Length": "0",
    "Transfer-Encoding": "chunked",
    "Connection": "close",
    "Upgrade": "h2c",
    "Expect": "100-continue",
    "Origin": "http://elsewhere",
    "Holdfast-Enclave": "0;1;00",
    "Holdfast-Fence": "1",
    "X-Unknown": "1",
    "X-Long": "x" * 40_000,
}


def put_of(lanes: Lanes, key: str, body: bytes, **headers: str) -> bytes:
    """A put as bytes."""
    length = headers.pop("Content_Length", str(len(body)))
    lines = lanes.get(key).replace(b"GET", b"PUT", 1).removesuffix(b"\r\n")
    lines += b"Content-Length: %b\r\n" % length.encode()
    named = {name.replace("_", "-").encode(): text.encode() for name, text in headers.items()}
    return lines + b"".join(b"%b: %b\r\n" % pair for pair in named.items()) + b"\r\n" + body


PUTS: tuple[tuple[str, bytes, dict[str, str]], ...] = (
    ("k1", b"a" * 20, {}),
    ("%41", b"b" * 20, {}),
    ("..", b"c" * 20, {}),
    ("k1", b"d" * 19, {}),
    ("k1", b"e" * 20 + b"\r\n", {"Content_Length": "20"}),
    ("k1", b"f" * 19, {"Content_Length": "20"}),
    ("k1", b"g" * 20, {"Content_Length": "+20"}),
    ("k1", b"h" * 20, {"Content_Length": "20, 20"}),
    ("k1", b"i" * 20, {"Accept": "application/msgpack"}),
    ("k1", b"j" * 20, {"Accept": "*/*"}),
    ("k1", b"k" * 20, {"Holdfast_TTL": "60"}),
    ("k1", b"l" * 20, {"If_None_Match": "*"}),
    ("k1", b"m" * 20, {"If_Match": '"0"'}),
    ("k1", b"n" * 20, {"Content_Type": "text/plain"}),
    ("k1", b"o" * 20, {"Holdfast_Timeout": "0"}),
    ("k1", b"p" * 20, {"Expect": "100-continue"}),
    ("x" * 1_025, b"q" * 20, {}),
    ("fixed", b"r" * 20, {}),
)


@pytest.mark.parametrize("asked", PUTS)
def test_puts_mean_the_same(
    lanes: Lanes, store: Store, asked: tuple[str, bytes, dict[str, str]]
) -> None:
    key, body, headers = asked
    data = put_of(lanes, key, body, **headers)
    told = []
    for before in (0, 3):
        store.namespace("acme").put("k1", b"before")
        raw = lanes.dial()
        for number in range(before):
            raw.say(put_of(lanes, f"other{number}", b"%d" % number * 20))
            assert raw.hear().status == 200
        answers = whole(raw, (data + lanes.get("k1"),))
        # Versions and times are others, and msgpack has them as they are.
        words = b"" if "Accept" in headers else re.sub(rb"[0-9]+", b"-", answers)
        told.append((STATUS.findall(answers), store.namespace("acme").get("k1"), words))
    assert told[0] == told[1]


def test_puts_and_gets_behind_one_another_are_answered_in_order(lanes: Lanes, store: Store) -> None:
    raw = lanes.dial()
    for number in range(40):
        body = b"%020d" % number
        raw.say(put_of(lanes, "k1", body))
        if number % 3 == 0:
            raw.say(lanes.get("k1") + put_of(lanes, "k2", body))
        assert raw.hear().status == 200
        if number % 3 == 0:
            assert raw.hear().body == body
            assert raw.hear().status == 200
            assert store.namespace("acme").get("k2") == body
    raw.say(put_of(lanes, "k3", bytes(20)))
    assert whole(raw, ()).startswith(b"HTTP/1.1 200 OK\r\n")  # due when the caller ended


def test_nearly_the_same_is_read_by_the_parser(lanes: Lanes) -> None:
    for most, data in crafted(lanes):
        told = lanes.compare(data)
        assert told.count(b"HTTP/1.1 200 OK\r\n") <= most, data


@pytest.mark.parametrize("key", [*KEYS, *OTHERS])
def test_keys_mean_the_same(lanes: Lanes, key: str) -> None:
    assert lanes.compare(lanes.get(key)).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_headers_mean_the_same(lanes: Lanes, name: str) -> None:
    lanes.compare(lanes.get("k1", **{name: HEADERS[name]}))
    lanes.compare(lanes.get("k1", **{name: HEADERS[name]}), lanes.get("k2"))


LOADS = (
    b'{"key": "k1"}',
    b'{"data": "k1"}',
    b'{"key": "none"}',
    b'{"key": "raw", "encoding": "base64"}',
    b'{"key": "raw"}',
    b'{"key": ""}',
    b'{"key": 1}',
    b'{"kez": "k1"}',
    b"[]",
    b"\xff",
    b'{"key": "short"}',
    b'{"key": "empty"}',
    '{"key": "k ü"}'.encode(),
)


def test_loads_by_a_document_mean_the_same(serve: Serve, connect: Dial, store: Store) -> None:
    authority = MockAuthority(store.entropy, now_ns=store.clock.wall_ns())
    serving = serve(attestation=AttestationSettings(mode="bearer", roots=(authority.pem,)))
    enclave = MockEnclave(authority, store.clock, store.entropy, image(1))
    space = store.namespace(enclave.image_id)
    space.put("k1", b"one")
    space.put("k ü", b"another")
    space.put("empty", b"")
    space.put("raw", b"\xff\0")
    space.put("short", b"s", ttl=3600)
    document = base64.b64encode(enclave.document()).decode()
    other = MockEnclave(authority, store.clock, store.entropy, image(2))
    unheld = {"Attestation": document, "Holdfast_Namespace": other.image_id}
    for body in LOADS:
        for shown in ({"Attestation": document}, unheld, {"Attestation": document[:-8]}, {}):
            first, later = connect(serving), connect(serving)
            asked = first.request("POST", "/load", body, **shown)
            told = whole(first, (asked,))
            for _ in range(3):
                later.say(asked)
                assert later.hear().status == int(told.split(b" ")[1])
            assert whole(later, (asked,)) == told


def test_a_load_tells_what_was_stored_last(serve: Serve, connect: Dial, store: Store) -> None:
    authority = MockAuthority(store.entropy, now_ns=store.clock.wall_ns())
    serving = serve(attestation=AttestationSettings(mode="bearer", roots=(authority.pem,)))
    enclave = MockEnclave(authority, store.clock, store.entropy, image(1))
    document = base64.b64encode(enclave.document()).decode()
    later = connect(serving)
    for value in (b"one", b"two", b"", b"three"):
        store.namespace(enclave.image_id).put("k1", value)
        for _ in range(3):
            later.say(later.request("POST", "/load", b'{"key": "k1"}', Attestation=document))
            assert later.hear().body == b'{"value":"%b"}' % value


def test_split_at_every_byte(lanes: Lanes) -> None:
    both = lanes.get("k2") + lanes.get("k3")
    told = lanes.compare(both)
    assert told.count(b"HTTP/1.1 200 OK\r\n") == 2
    for at in range(1, len(both), 1 + len(both) // 60):
        assert lanes.compare(both[:at], both[at:]) == told


def test_bytes_changed_by_chance(lanes: Lanes) -> None:
    chance = Random(6)
    words = (b"\r\n", b"\n", b"\0", b" ", b":", b"\r\n\r\n", b"GET ", b"/", b"%", b"\r", b"\xff")
    for _ in range(ROUNDS):
        data = bytearray(lanes.get(chance.choice(["k1", "k2", "typed"])))
        at = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at:at] = chance.choice(words)
            case 2:
                del data[at : at + chance.randrange(1, 5)]
            case _:
                data[at:at] = data[: chance.randrange(len(data))]
        lanes.compare(bytes(data))
