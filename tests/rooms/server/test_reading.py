"""A connection is read no further than its caller reads, and than there is room (rule 13)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event

import pytest

from holdfast.limits import REQUESTS_DUE
from holdfast.server.connection import UNSENT_BYTES, WRITE_HIGH_BYTES, Connection
from holdfast.store.store import Store
from holdfast.testing.serving import Serving
from tests.rooms.server.conftest import Serve
from tests.rooms.server.raw import OBJECTS, Raw
from tests.rooms.server.test_time_over import busy, pools

Dial = Callable[[Serving], Raw]
MIB = 1 << 20


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(6_000):
        if holds():
            return
        Event().wait(0.01)
    raise AssertionError


def connection(serving: Serving) -> Connection:
    """The server's side of the one that there is."""
    state = serving.server._state
    wait_until(lambda: len(state.connections) == 1)
    (one,) = state.connections
    assert isinstance(one, Connection)
    return one


@contextmanager
def dialled(serving: Serving) -> Iterator[Raw]:
    """A connection that takes little before it is read from."""
    host, _, port = serving.url.removeprefix("http://").rpartition(":")
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.settimeout(20)
        made.connect((host, int(port)))
        yield Raw(made, serving.token())


@pytest.mark.parametrize("more", [0, 3])
def test_who_does_not_read_is_not_read_from(serve: Serve, store: Store, more: int) -> None:
    value = bytes(MIB)
    store.namespace("acme").put("a", value * 6)
    store.namespace("acme").put("b", value)
    serving = serve()
    with dialled(serving) as raw:
        served = connection(serving)
        raw.say(raw.request("GET", OBJECTS + "a") + raw.request("GET", OBJECTS + "b") * more)
        wait_until(lambda: served.choked_since_s is not None)
        wait_until(lambda: not served.reading)
        assert raw.hear().body == value * 6
        for _ in range(more):
            assert raw.hear().body == value
        wait_until(lambda: served.reading)


def test_no_more_is_read_while_so_many_requests_are_due(
    serve: Serve, connect: Dial, store: Store
) -> None:
    asked = 2 * REQUESTS_DUE
    serving = serve()
    raw = connect(serving)
    served = connection(serving)
    with busy(pools(serving)["lanes"]):
        for number in range(asked):
            raw.say(raw.request("PUT", f"{OBJECTS}k{number:03}", b"v"))
        wait_until(lambda: not served.reading)
        assert REQUESTS_DUE <= len(served.due) + len(served.parked) < asked
    for _ in range(asked):
        assert raw.hear().status == 200
    assert len(list(store.namespace("acme").list())) == asked
    wait_until(lambda: served.reading)


def test_no_more_of_a_body_is_read_than_is_stored(
    serve: Serve, connect: Dial, store: Store
) -> None:
    serving = serve()
    raw = connect(serving)
    served = connection(serving)
    data = raw.request("PUT", OBJECTS + "large", bytes(16 * MIB))
    with busy(pools(serving)["workers"]):
        raw.socket.settimeout(0.3)
        sent = 0
        with suppress(TimeoutError):
            while sent < len(data):
                sent += raw.socket.send(data[sent : sent + 65_536])
        assert sent < len(data)
        wait_until(lambda: not served.reading)
    raw.socket.settimeout(20)
    raw.say(data[sent:])
    assert raw.hear().status == 200
    assert store.namespace("acme").stat("large").size == 16 * MIB


def test_answers_that_wait_for_an_earlier_one_are_few(
    serve: Serve, connect: Dial, store: Store
) -> None:
    value = bytes(200_000)
    store.namespace("acme").put("a", value)
    serving = serve()
    raw = connect(serving)
    served = connection(serving)
    listed = raw.request("GET", "/v1/namespaces/acme/objects?prefix=a")
    with busy(pools(serving)["readers"]):
        raw.say(listed + raw.request("GET", OBJECTS + "a") * 40)
        wait_until(lambda: len(served.due) + len(served.parked) == 41)
        wait_until(lambda: served.unsent_bytes >= UNSENT_BYTES)
        assert served.unsent_bytes <= UNSENT_BYTES + len(value)
    assert raw.hear().status == 200
    for _ in range(40):
        assert raw.hear().body == value


def test_no_more_requests_are_begun_than_may_be_due(
    serve: Serve, connect: Dial, store: Store
) -> None:
    asked = 3 * REQUESTS_DUE
    serving = serve()
    raw = connect(serving)
    served = connection(serving)
    with busy(pools(serving)["lanes"]):
        raw.say(b"".join(raw.request("PUT", f"{OBJECTS}k{n:03}", b"v") for n in range(asked)))
        wait_until(lambda: not served.reading)
        assert 0 < len(served.due) <= REQUESTS_DUE
    for _ in range(asked):
        assert raw.hear().status == 200
    assert len(list(store.namespace("acme").list())) == asked


def test_answers_that_are_ready_wait_while_the_send_buffer_is_over_its_mark(
    serve: Serve, store: Store
) -> None:
    value = bytes(200_000)
    store.namespace("acme").put("a", value)
    serving = serve()
    with dialled(serving) as raw:
        served = connection(serving)
        sending = served.transport.get_extra_info("socket")
        sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        listed = raw.request("GET", "/v1/namespaces/acme/objects?prefix=a")
        with busy(pools(serving)["readers"]):
            raw.say(listed + raw.request("GET", OBJECTS + "a") * 5)
            wait_until(lambda: len(served.due) == 6)
        wait_until(lambda: served.choked_since_s is not None)
        assert served.transport.get_write_buffer_size() < WRITE_HIGH_BYTES + 2 * len(value)
        assert raw.hear().status == 200
        for _ in range(5):
            assert raw.hear().body == value
