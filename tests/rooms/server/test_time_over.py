"""What waited until its caller had given up is not begun (rule 21)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, Event

import pytest

from holdfast.store.store import Store
from holdfast.testing.serving import Serving
from tests.rooms.server.conftest import Serve
from tests.rooms.server.raw import OBJECTS, Raw

SPACE = "/v1/namespaces/acme"
Dial = Callable[[Serving], Raw]


@contextmanager
def busy(pool: ThreadPoolExecutor) -> Iterator[None]:
    """All threads of a pool are at work."""
    free, threads = Event(), pool._max_workers
    there = Barrier(threads + 1)

    def work() -> None:
        there.wait(60)
        free.wait(60)

    for _ in range(threads):
        pool.submit(work)
    there.wait(60)
    try:
        yield
    finally:
        free.set()


def is_begun(serving: Serving) -> bool:
    """Whether the server has a request that it has not answered."""
    return any(one.due for one in list(serving.server._connections()))


def pools(serving: Serving) -> dict[str, ThreadPoolExecutor]:
    site = serving.server._site
    assert site is not None
    return {"readers": site._readers, "workers": site._workers, "lanes": site.lanes._pool}


@pytest.mark.parametrize(
    ("pool", "method", "path", "body"),
    [
        ("lanes", "PUT", OBJECTS + "late", b"1"),
        ("lanes", "DELETE", OBJECTS + "there", b""),
        ("readers", "GET", SPACE + "/objects?prefix=t", b""),
    ],
)
def test_what_waited_too_long_is_not_begun(  # noqa: PLR0917 - a table
    serve: Serve, connect: Dial, store: Store, pool: str, method: str, path: str, body: bytes
) -> None:
    store.namespace("acme").put("there", b"1")
    serving = serve()
    raw = connect(serving)
    with busy(pools(serving)[pool]):
        raw.say(raw.request(method, path, body, Holdfast_Timeout="0.2"))
        clock = store.clock
        while not is_begun(serving):  # its time begins when it is read
            clock.sleep(0.01)
        until_ns = clock.monotonic_ns() + 400_000_000
        while clock.monotonic_ns() < until_ns:
            clock.sleep(0.05)
    told = raw.hear()
    assert (told.status, json.loads(told.body)["code"]) == (504, "deadline_exceeded")
    assert list(store.namespace("acme").list()) == ["there"]
