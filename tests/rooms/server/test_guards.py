"""Rule 13, against raw sockets: whatever a caller does costs bounded memory and time."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

import msgspec
import pytest

from holdfast.store.store import Store
from holdfast.testing.serving import Serving
from tests.rooms.server.conftest import Serve
from tests.rooms.server.raw import OBJECTS, Raw

Dial = Callable[[Serving], Raw]
QUICK_S = 1.5
PING = b"GET /ping HTTP/1.1\r\nHost: h\r\n\r\n"
MIB = 1 << 20


def until(holds: Callable[[], bool]) -> None:
    for _ in range(6_000):
        if holds():
            return
        Event().wait(0.01)
    raise AssertionError("it never was so")


# -- too slow --------------------------------------------------------------------------


def test_who_connects_and_says_nothing_is_let_go(serve: Serve, connect: Dial) -> None:
    assert connect(serve(header_s=QUICK_S)).rest() == b""


def begun(serve: Serve, connect: Dial, said: bytes) -> Raw:
    """Who began a header; the server waits no longer for one once it has read that."""
    serving = serve()
    raw = connect(serving)
    raw.say(said)
    until(lambda: any(one.request for one in list(serving.server._connections())))
    serving.server.take(msgspec.structs.replace(serving.server.settings, header_s=QUICK_S))
    return raw


def test_a_header_that_does_not_come_in_time_is_refused(serve: Serve, connect: Dial) -> None:
    raw = begun(serve, connect, b"GET /ping HTTP/1.1\r\nHos")
    assert raw.hear().status == 408
    assert raw.rest() == b""


def test_a_byte_at_a_time_does_not_buy_more_time(serve: Serve, connect: Dial) -> None:
    raw = begun(serve, connect, b"G")
    raw.socket.settimeout(0.05)
    sent = 0
    try:
        while sent < 2_000:
            raw.say(b"ET /ping HTTP/1.1\r\nX: "[sent : sent + 1] or b"x")
            sent += 1
            try:
                raw.unread += raw.socket.recv(100)
            except TimeoutError:
                continue
            break
    except OSError:
        pass
    raw.socket.settimeout(60)
    assert raw.unread.startswith(b"HTTP/1.1 408") or raw.rest().startswith(b"HTTP/1.1 408")


def test_nothing_behind_a_refused_header_is_carried_out(
    serve: Serve, connect: Dial, store: Store
) -> None:
    raw = connect(serve(header_bytes=1_000))
    put = raw.request("PUT", OBJECTS + "a", b"never")
    raw.say(raw.request("GET", OBJECTS + "b", X="x" * 1_001) + put)
    assert raw.rest().count(b"HTTP/1.1 ") == 1
    assert not store.namespace("acme").exists("a")


@pytest.mark.parametrize("size", [100, 5 * MIB])
def test_a_body_that_stops_coming_ends_the_request(
    serve: Serve, connect: Dial, store: Store, size: int
) -> None:
    raw = connect(serve(body_s=QUICK_S))
    with suppress(OSError):  # it may be ended before all is said
        raw.say(raw.request("PUT", OBJECTS + "a", bytes(size))[: -size // 2])
    told = raw.rest()
    assert told == b"" or told.startswith(b"HTTP/1.1 408")
    assert not store.namespace("acme").exists("a")


def test_a_body_that_trickles_in_is_refused(serve: Serve, connect: Dial) -> None:
    raw = connect(serve(body_s=2.0, body_bytes_s=10_000))
    asked = raw.request("PUT", OBJECTS + "a", bytes(100_000))
    raw.say(asked[:-100_000])
    raw.socket.settimeout(0.05)
    with suppress(ConnectionError):
        for _ in range(2_000):
            raw.say(b"x")
            with suppress(TimeoutError):
                raw.unread += raw.socket.recv(100)
                break
    raw.socket.settimeout(60)
    assert (raw.unread or raw.rest()).startswith(b"HTTP/1.1 408")


def test_a_connection_without_a_request_is_let_go(serve: Serve, connect: Dial) -> None:
    raw = connect(serve(idle_s=QUICK_S))
    raw.say(PING)
    assert raw.hear().status == 200
    assert raw.rest() == b""


def test_who_does_not_read_is_let_go_and_holds_little(
    serve: Serve, connect: Dial, store: Store
) -> None:
    store.namespace("acme").put("a", bytes(200_000))
    serving = serve(send_s=0.3)
    raw = connect(serving)
    raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.say(PING)
    assert raw.hear().status == 200
    connections = serving.server._state.connections
    assert len(connections) == 1
    raw.say(raw.request("GET", OBJECTS + "a") * 60)  # whole, and nothing else is ever late
    until(lambda: not connections)


def test_reading_stops_while_too_much_is_due(serve: Serve, connect: Dial, store: Store) -> None:
    store.namespace("acme").put("a", bytes(200_000))
    raw = connect(serve())
    asked = raw.request("GET", OBJECTS + "a", X="x" * 12_000)
    data = asked * (64 * MIB // len(asked))  # more than the system takes on the way
    raw.socket.settimeout(0.5)
    sent = 0
    with suppress(TimeoutError):
        while sent < len(data):
            sent += raw.socket.send(data[sent : sent + (1 << 16)])
    assert sent < len(data)
    begun = -(-sent // len(asked))
    raw.socket.settimeout(60)
    with ThreadPoolExecutor(1) as beside:  # more may fit only once something was heard
        rest = beside.submit(raw.say, data[sent : begun * len(asked)])
        for _ in range(begun):
            assert len(raw.hear().body) == 200_000
        rest.result()


# -- too large -------------------------------------------------------------------------


def test_a_header_of_16_kib_is_taken_and_one_of_64_is_not(serve: Serve, connect: Dial) -> None:
    serving = serve()
    raw = connect(serving)
    assert raw.ask("GET", "/ping", X="x" * (16 << 10)).status == 200
    refused = raw.ask("GET", "/ping", X="x" * (64 << 10))
    assert (refused.status, json.loads(refused.body)["code"]) == (431, "limit_exceeded")
    assert raw.rest() == b""


def test_a_header_line_without_end_is_cut(serve: Serve, connect: Dial) -> None:
    raw = connect(serve())
    raw.say(b"GET /ping HTTP/1.1\r\nHost: h\r\nX: ")
    raw.socket.settimeout(0)
    for _ in range(100):
        with suppress(OSError):  # nor is there anybody to send to, a while behind the refusal
            raw.socket.send(b"x" * 4096)
    raw.socket.settimeout(60)
    assert raw.hear().status == 431


def test_too_many_headers_are_refused(serve: Serve, connect: Dial) -> None:
    raw = connect(serve())
    many = {f"x{number}": "1" for number in range(200)}
    assert raw.ask("GET", "/ping", b"", **many).status == 431


@pytest.mark.parametrize("kib", [40, 64])  # what is parsed at once is more than the bound
def test_an_address_without_end_is_refused(serve: Serve, connect: Dial, kib: int) -> None:
    assert connect(serve()).ask("GET", "/" + "a" * (kib << 10)).status == 431


def test_a_body_over_its_bound_is_refused_before_it_is_read(serve: Serve, connect: Dial) -> None:
    raw = connect(serve())
    raw.say(raw.request("PUT", OBJECTS + "a").replace(b"Length: 0", b"Length: 9999999999999999"))
    told = raw.hear()
    assert (told.status, json.loads(told.body)["facts"]["limit"]) == (413, "OBJECT_BYTES")
    assert raw.rest() == b""


def test_a_chunked_body_is_cut_at_its_bound(serve: Serve, connect: Dial) -> None:
    raw = connect(serve())
    asked = raw.request("POST", "/v1/namespaces/acme/locks/a", Transfer_Encoding="chunked")
    raw.say(asked.replace(b"Content-Length: 0\r\n", b""))
    piece = b"%x\r\n%b\r\n" % (MIB // 2, bytes(MIB // 2))
    for _ in range(3):
        with suppress(OSError):  # it is ended before all is said
            raw.say(piece)
    assert raw.hear().status == 413


def test_who_may_not_is_told_before_the_body_is_read(serve: Serve, connect: Dial) -> None:
    raw = connect(serve())
    raw.token = "x" * 8
    raw.say(raw.request("PUT", OBJECTS + "a").replace(b"Length: 0", b"Length: 10000000"))
    assert raw.hear().status == 401
    assert raw.rest() == b""


def test_one_connection_too_many_is_told_to_wait(serve: Serve, connect: Dial) -> None:
    serving = serve(connections=1)
    first = connect(serving)
    first.say(PING)
    assert first.hear().status == 200
    told = connect(serving).hear()
    assert (told.status, json.loads(told.body)["code"]) == (503, "unavailable")
    assert "retry-after" in told.headers
    first.say(PING)
    assert first.hear().status == 200


def test_bodies_together_take_no_more_than_their_bound(serve: Serve, connect: Dial) -> None:
    serving = serve(gathered_bytes=MIB)
    both = [connect(serving), connect(serving)]
    whole = [raw.request("PUT", OBJECTS + "a", bytes(MIB * 2 // 3)) for raw in both]
    for raw, asked in zip(both, whole, strict=True):
        with suppress(OSError):  # who is refused is not listened to for long
            raw.say(asked[:-1])
    refused, _, _ = select.select([raw.socket for raw in both], [], [], 60)
    for raw, asked in zip(both, whole, strict=True):
        if raw.socket in refused:
            assert raw.hear().status == 503
        else:
            raw.say(asked[-1:])
            assert raw.hear().status == 200
    assert len(refused) == 1
    assert connect(serving).ask("PUT", OBJECTS + "b", bytes(1024)).status == 200


@pytest.mark.parametrize("half", [True, False])
def test_a_body_whose_caller_has_gone_takes_no_room(
    serve: Serve, connect: Dial, *, half: bool
) -> None:
    serving = serve(gathered_bytes=MIB)
    site = serving.server._site
    assert site is not None
    for _ in range(3):
        raw = connect(serving)
        asked = raw.request("POST", "/v1/namespaces/acme/append/a", bytes(MIB * 2 // 3))
        raw.say(asked[: MIB // 2])
        until(lambda: site.gathered_bytes > 0)
        if half:
            raw.socket.shutdown(socket.SHUT_WR)
            assert raw.socket.recv(1) == b""
        raw.socket.close()
        until(lambda: site.gathered_bytes == 0)
    told = connect(serving)
    assert told.ask("POST", "/v1/namespaces/acme/append/a", bytes(MIB * 3 // 4)).status == 200


# -- smuggled and malformed --------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 6",
        "Content-Length: -5",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length: 99999999999999999999999",
        "Content-Length : 5",
        "Content-Length\t: 5",
        " Content-Length: 5",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: gzip",
        "X: a\nTransfer-Encoding: chunked",
        "X: a\x00b",
        "X\x00: a",
        "Host: other",
        "Authorization: Bearer x",
    ],
)
def test_what_two_servers_could_read_differently_is_refused(
    serve: Serve, connect: Dial, store: Store, lines: str
) -> None:
    raw = connect(serve())
    head = f"PUT {OBJECTS}a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {raw.token}\r\n{lines}"
    raw.say(head.encode("latin-1") + b"\r\n\r\n0\r\n\r\n" + PING)
    told = raw.rest()
    assert told.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413")), told
    assert told.count(b"HTTP/1.1 ") == 1, told
    assert not store.namespace("acme").exists("a")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\xff" * 100 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(serve: Serve, connect: Dial, data: bytes) -> None:
    raw = connect(serve())
    raw.say(data)
    assert raw.hear().status == 400
    assert raw.rest() == b""


def test_blanks_around_a_header_are_no_part_of_it(serve: Serve, connect: Dial) -> None:
    raw = connect(serve())
    assert raw.ask("PUT", OBJECTS + "a", b"0123").status == 200
    told = raw.ask("GET", OBJECTS + "a", Range=" \t bytes=1-2 \t ")
    assert (told.status, told.body) == (206, b"12")
    raw.token += "  "
    assert raw.ask("GET", OBJECTS + "a").status == 200


def test_trailers_are_no_headers(serve: Serve, connect: Dial, store: Store) -> None:
    raw = connect(serve())
    asked = raw.request("PUT", OBJECTS + "a", Transfer_Encoding="chunked")
    raw.say(asked.replace(b"Content-Length: 0\r\n", b""))
    raw.say(b"1\r\nx\r\n0\r\nHoldfast-Permanent: true\r\n\r\n")
    assert raw.hear().status == 200
    assert not store.namespace("acme").stat("a").permanent


# -- half closed, pipelined ----------------------------------------------------------------


def test_who_has_finished_sending_still_gets_answers(serve: Serve, connect: Dial) -> None:
    raw = connect(serve())
    raw.say(raw.request("PUT", OBJECTS + "a", b"1") + raw.request("GET", OBJECTS + "a") + PING)
    raw.socket.shutdown(socket.SHUT_WR)
    assert [raw.hear().status for _ in range(3)] == [200, 200, 200]
    assert raw.rest() == b""


@pytest.mark.parametrize("size", [10, 3 * MIB])
def test_half_a_body_stores_nothing(serve: Serve, connect: Dial, store: Store, size: int) -> None:
    raw = connect(serve())
    raw.say(PING + raw.request("PUT", OBJECTS + "a", bytes(size))[:-1])
    raw.socket.shutdown(socket.SHUT_WR)
    assert raw.hear().status == 200
    assert raw.rest() == b""
    assert not store.namespace("acme").exists("a")


def test_answers_come_in_the_order_of_the_requests(serve: Serve, connect: Dial) -> None:
    raw = connect(serve())
    asked = b""
    for number in range(300):
        asked += raw.request("PUT", f"{OBJECTS}{number}", b"%d" % number)
        asked += raw.request("GET", f"{OBJECTS}{number}")
        asked += raw.request("GET", "/ping")
        asked += raw.request("DELETE", f"{OBJECTS}{number}")
    raw.say(asked)
    for number in range(300):
        put, got, ping, gone = (raw.hear() for _ in range(4))
        assert json.loads(put.body)["key"] == str(number)
        assert got.body == b"%d" % number
        assert b"version" in ping.body
        assert gone.headers["holdfast-existed"] == "true"


def test_a_large_answer_keeps_its_place(serve: Serve, connect: Dial) -> None:
    raw = connect(serve())
    large = bytes(range(256)) * 8192
    assert raw.ask("PUT", OBJECTS + "large", large).status == 200
    asked = raw.request("GET", OBJECTS + "large") + PING
    raw.say(asked * 5)
    for _ in range(5):
        assert raw.hear().body == large
        assert raw.hear().body == b'{"version":"1.0.0"}'


def test_large_bodies_behind_one_another(serve: Serve, connect: Dial) -> None:
    raw = connect(serve())
    asked = b"".join(
        raw.request("PUT", OBJECTS + "a", bytes([number]) * (2 * MIB)) for number in range(4)
    )
    raw.socket.settimeout(60)
    raw.say(asked + raw.request("GET", OBJECTS + "a"))
    assert [raw.hear().status for _ in range(4)] == [200] * 4
    assert raw.hear().body == b"\x03" * (2 * MIB)


def test_a_connection_that_says_close_is_closed(serve: Serve, connect: Dial) -> None:
    raw = connect(serve())
    raw.say(raw.request("GET", "/ping", Connection="close") + PING)
    told = raw.rest()
    assert told.count(b"HTTP/1.1 200") == 1
    assert b"Connection: close" in told


def test_who_expects_to_be_told_to_go_on_is_told(serve: Serve, connect: Dial) -> None:
    raw = connect(serve())
    head, _, _ = raw.request("PUT", OBJECTS + "a", b"12345", Expect="100-continue").partition(
        b"\r\n\r\n"
    )
    raw.say(head + b"\r\n\r\n")
    assert raw.hear().status == 100
    raw.say(b"12345")
    assert raw.hear().status == 200


def test_who_speaks_http_1_0_is_not_told_to_go_on(serve: Serve, connect: Dial) -> None:
    raw = connect(serve())
    asked = raw.request("PUT", OBJECTS + "a", b"12345", Expect="100-continue")
    raw.say(asked.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    assert raw.hear().status == 200


# -- going down -------------------------------------------------------------------------------


def test_a_write_that_is_under_way_is_answered_before_the_end(
    serve: Serve, connect: Dial, store: Store
) -> None:
    serving = serve()
    raw = connect(serving)
    raw.say(b"".join(raw.request("PUT", f"{OBJECTS}{n}", b"x" * 100) for n in range(50)))
    assert raw.hear().status == 200
    serving.server.stop()
    answered = 1 + raw.rest().count(b"HTTP/1.1 200")
    assert answered == 50
    assert len(list(store.namespace("acme").list())) == 50


@pytest.mark.parametrize("size", [MIB // 2, 2 * MIB], ids=["gathered", "streamed"])
def test_a_body_that_is_under_way_is_taken_to_its_end(
    serve: Serve, connect: Dial, store: Store, size: int
) -> None:
    serving = serve(drain_s=60)
    raw, other = connect(serving), connect(serving)
    asked = raw.request("PUT", OBJECTS + "a", bytes(size))
    raw.say(asked[: size // 2])
    other.say(PING)
    assert other.hear().status == 200
    serving.server.stop()
    assert other.rest() == b""  # it was idle
    raw.say(asked[size // 2 :])
    told = raw.hear()
    assert (told.status, told.headers["connection"]) == (200, "close")
    assert len(store.namespace("acme").get("a")) == size
