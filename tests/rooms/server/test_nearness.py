"""What only a view knows is asked for on a thread while not all of the view is in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

import holdfast
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import checkpoint
from holdfast.engines import cached
from holdfast.server import nearness
from holdfast.server.nearness import FETCH_BYTES, Nearness
from holdfast.store.store import Store
from holdfast.testing.serving import Serving
from tests.rooms.engines.test_cached import forgotten
from tests.rooms.server.raw import Raw

Dial = Callable[[Serving], Raw]
SPACE = "/v1/namespaces/acme"
LOOP = "holdfast-serving"  # the thread of a server under test


@pytest.fixture
def absorbed(tmp_path: Path) -> Iterator[Store]:
    """A store whose view has everything, and no overlay anything."""
    with holdfast.open(tmp_path / "s", in_place=False, upkeep=False) as store:
        store.namespace("acme").put_many({"a": b"1", "b": b"2"})
        checkpoint(only(store))
        yield store


def only(store: Store) -> Bucket:
    (bucket,) = store.placement.directory
    return bucket


def batch(raw: Raw, verb: str) -> list[object]:
    body = msgspec.msgpack.encode({"operations": [[verb, key, None] for key in "ab"]})
    told = raw.ask("POST", f"{SPACE}/batch", body)
    assert told.status == 200
    return [result for _, result in msgspec.msgpack.decode(told.body)]


@pytest.mark.parametrize("cold", [False, True])
def test_a_cold_view_is_not_asked_on_the_loop(
    absorbed: Store, connect: Dial, monkeypatch: pytest.MonkeyPatch, *, cold: bool
) -> None:
    view, asking = only(absorbed).state.view, []

    def noted(name: str) -> None:
        look = getattr(view, name)

        def ask(*arguments: object) -> object:
            asking.append(threading.current_thread().name)
            return look(*arguments)

        monkeypatch.setattr(view, name, ask)

    monkeypatch.setattr(Nearness, "look", lambda _: None)  # nobody else says what is cold
    with Serving(absorbed) as serving:
        raw = connect(serving)
        noted("get")
        noted("get_many")
        only(absorbed).cold = cold
        assert raw.ask("GET", f"{SPACE}/objects/a").body == b"1"
        assert raw.ask("HEAD", f"{SPACE}/objects/a").status == 200
        assert raw.ask("GET", f"{SPACE}/objects/none").status == 404
        assert raw.ask("GET", f"{SPACE}/exists/b").body == b'{"exists":true}'
        assert raw.ask("GET", f"{SPACE}/consumers/b").status == 200
        assert batch(raw, "load") == [b"1", b"2"]
        assert batch(raw, "exists") == [True, True]
        assert (LOOP in asking) is not cold
        asking.clear()
        raw.ask("PUT", f"{SPACE}/objects/a", b"new")
        assert raw.ask("GET", f"{SPACE}/objects/a").body == b"new"  # an overlay has it
        assert batch(raw, "load") == [b"new", b"2"]


def test_who_looks_finds_cold_views_and_has_them_read(
    absorbed: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, missing = FETCH_BYTES * 2 + 1, 5
    fetched: list[tuple[int, int]] = []
    monkeypatch.setattr(nearness, "kept", lambda _: cached.Kept(size, missing))
    monkeypatch.setattr(nearness, "fetch", lambda _, *span: fetched.append(span))
    near = Nearness(absorbed.placement.directory)
    for _ in range(3):
        near.look()
    assert only(absorbed).cold
    assert sorted(fetched) == [(n * FETCH_BYTES, FETCH_BYTES) for n in range(3)]
    missing = 0
    near.look()
    assert not only(absorbed).cold
    assert len(fetched) == 3


def test_a_view_is_cold_when_some_of_it_left_memory_and_not_after_a_checkpoint(
    absorbed: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearness, "fetch", lambda *_: None)  # nothing brings it back unasked
    bucket, near = only(absorbed), Nearness(absorbed.placement.directory)
    for turn in range(3):  # pages are freed, taken again, and some are written for the first time
        keys = {f"{turn % 2}{n}": bytes(100) for n in range(2_000)}
        absorbed.namespace("acme").put_many(keys)
        checkpoint(bucket)
        near.look()
        assert not bucket.cold
    forgotten(Path(bucket.state.view.file or ""))
    near.look()
    assert bucket.cold


def test_a_view_in_memory_is_never_cold() -> None:
    with holdfast.open(":memory:") as store:
        Nearness(store.placement.directory).look()
        assert not only(store).cold
