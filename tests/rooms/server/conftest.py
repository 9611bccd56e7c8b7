"""A server for the tests of this room, and raw connections to it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

import holdfast
from holdfast.store.store import Store
from holdfast.testing.serving import Serving
from tests.rooms.server.raw import Raw

Serve = Callable[..., Serving]


@pytest.fixture
def store() -> Iterator[Store]:
    with holdfast.open(":memory:", in_place=False) as opened:
        yield opened


@pytest.fixture
def serve(store: Store) -> Iterator[Serve]:
    started: list[Serving] = []

    def start(**options: object) -> Serving:
        serving = Serving(store, **options)
        started.append(serving.__enter__())
        return serving

    yield start
    for serving in started:
        serving.__exit__(None, None, None)


@pytest.fixture
def connect() -> Iterator[Callable[[Serving], Raw]]:
    made: list[Raw] = []

    def dial(serving: Serving) -> Raw:
        host, _, port = serving.url.removeprefix("http://").rpartition(":")
        raw = Raw(socket.create_connection((host, int(port)), timeout=60), serving.token())
        made.append(raw)
        return raw

    yield dial
    for raw in made:
        raw.socket.close()
