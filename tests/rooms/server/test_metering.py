"""A namespace that pays, over HTTP: costs and balance in every answer, bounds by their status."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import grpc
import msgspec
import pytest

import holdfast
from holdfast.errors import RateLimited
from holdfast.server.tenants import Tenants
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock
from holdfast.testing.serving import Serving
from tests.rooms.server.conftest import Serve
from tests.rooms.server.raw import Raw, Told
from tests.rooms.server.rpc_client import Caller, Said, say

Dial = Callable[[Serving], Raw]
C = 1_763_750_000
SPACE = "/v1/namespaces/acme"
NOTED_S = 60
MIB = 1 << 20
BEGUN_AND_ENDED = {
    "Store": (
        say("StoreChunk", begin=say("StoreRequest", namespace="acme", key="k")),
        say("StoreChunk", end=say("Done")),
    ),
    "Batch": (say("BatchRequest", namespace="acme", more=True), say("BatchRequest")),
}


@pytest.fixture
def raw(serve: Serve, connect: Dial) -> Raw:
    return connect(serve())


def asked(raw: Raw, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
    answer = raw.ask(method, path, b"" if body is None else json.dumps(body).encode())
    assert answer.status == 200, answer
    return json.loads(answer.body)


def test_requests_like_those_before_cost_from_the_moment_on(raw: Raw, store: Store) -> None:
    store.accounts.deposit("acme", 10**18, "invoice 1")
    for _ in range(3):
        assert cost_of(raw.ask("PUT", f"{SPACE}/objects/k", b"v" * 99)) == 0
        assert cost_of(raw.ask("GET", f"{SPACE}/objects/k")) == 0
    asked(raw, "PUT", f"{SPACE}/metering", {"tariff": "enclave"})
    for _ in range(3):
        assert cost_of(raw.ask("PUT", f"{SPACE}/objects/k", b"v" * 99)) > 0
        assert cost_of(raw.ask("GET", f"{SPACE}/objects/k")) == C + 99 * 90_000_000


def cost_of(answer: Told) -> int:
    return int(answer.headers["holdfast-cost"])


def noted(raw: Raw, store: Store) -> None:
    """Wait until the server has taken note of what is metered."""
    for _ in range(NOTED_S * 100):
        store.tick(1)
        if "holdfast-balance" in raw.ask("GET", f"{SPACE}/exists/k").headers:
            return
        store.clock.sleep(0.01)
    raise AssertionError("nothing is metered")


def test_answers_tell_what_they_cost(raw: Raw, store: Store) -> None:
    store.accounts.deposit("acme", 10**18, "invoice 1")
    told = asked(raw, "PUT", f"{SPACE}/metering", {"tariff": "enclave", "grace": "1h"})
    assert (told["tariff"], told["grace_ns"]) == ("enclave", 3_600 * 10**9)
    assert asked(raw, "GET", f"{SPACE}/metering") == told
    noted(raw, store)
    stored = raw.ask("PUT", f"{SPACE}/objects/k", b"v" * 99, Holdfast_TTL="60")
    assert cost_of(stored) == C + 100 * 60 * 8_796
    assert cost_of(raw.ask("GET", f"{SPACE}/objects/k")) == C + 99 * 90_000_000
    assert cost_of(raw.ask("HEAD", f"{SPACE}/objects/k")) == C  # nothing of the value is sent
    assert cost_of(raw.ask("GET", f"{SPACE}/objects/absent")) == 0
    assert cost_of(raw.ask("DELETE", f"{SPACE}/objects/k")) < C
    used = asked(raw, "GET", f"{SPACE}/usage")
    assert (used["objects"], used["live_bytes"]) == (0, 0)
    assert int(used["balance_atto"]) + int(used["cost_atto"]) == 10**18


def test_who_is_let_in_after_a_restart_pays_from_the_first_read_on(
    connect: Dial,
) -> None:
    """Upkeep may not have looked yet; where a server stood before, it knew."""
    clock = ManualClock()  # all three are asked within one second
    with holdfast.open(":memory:", in_place=False, clock=clock) as store:
        store.accounts.deposit("acme", 10**18, "invoice 1")
        store.namespace("acme").configure(tariff="enclave", requests_per_s=2)
        store.namespace("acme").put("k", b"v")
        with Serving(store) as serving:
            raw = connect(serving)
            answers = [raw.ask("GET", f"{SPACE}/objects/k") for _ in range(3)]
    assert [cost_of(answer) for answer in answers] == [C + 90_000_000, C + 90_000_000, 0]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert all("holdfast-balance" in answer.headers for answer in answers)


def test_an_answer_that_tells_nothing_else_tells_its_own_cost(raw: Raw, store: Store) -> None:
    """Answers without a body are made for each request: what one cost is not told with another."""
    store.accounts.deposit("acme", 10**18, "invoice 1")
    for name in ("acme", "free"):
        store.namespace(name).put("k", b"v")
    asked(raw, "PUT", f"{SPACE}/metering", {"tariff": "enclave"})
    for _ in range(3):
        answer = raw.ask("POST", f"{SPACE}/release/k")
        assert (answer.status, cost_of(answer)) == (204, C)
        assert answer.headers["holdfast-balance"].isdigit()
        answer = raw.ask("POST", "/v1/namespaces/free/release/k")
        assert (answer.status, cost_of(answer)) == (204, 0)
        assert "holdfast-balance" not in answer.headers


def test_where_a_key_lives_is_told_with_its_cost(raw: Raw, store: Store) -> None:
    store.accounts.deposit("acme", 10**18, "invoice 1")
    store.namespace("acme").configure(tariff="enclave")
    answer = raw.ask("GET", "/v1/locate?namespace=acme&key=k")
    assert cost_of(answer) == C
    assert answer.headers["holdfast-balance"] == str(10**18)
    assert cost_of(raw.ask("GET", "/v1/locate?namespace=free&key=k")) == 0
    store.namespace("acme").configure(tariff="enclave", requests_per_s=0)
    assert raw.ask("GET", "/v1/locate?namespace=acme&key=k").status == 429


@pytest.mark.parametrize("path", ["objects/k", "stat/k", "exists/k", "objects?prefix=k"])
def test_a_read_is_charged_once_and_told_so(raw: Raw, store: Store, path: str) -> None:
    acme = store.namespace("acme")
    store.accounts.deposit("acme", 10**18, "invoice 1")
    asked(raw, "PUT", f"{SPACE}/metering", {"tariff": "enclave"})
    noted(raw, store)
    raw.ask("PUT", f"{SPACE}/objects/k", b"v" * 99, Holdfast_TTL="60")
    before = acme.usage()
    cost = cost_of(raw.ask("GET", f"{SPACE}/{path}"))
    after = acme.usage()
    assert sum(after.requests.values()) - sum(before.requests.values()) == 1
    assert after.cost_atto - before.cost_atto == cost > 0


def test_bounds_have_a_status_each(raw: Raw, store: Store) -> None:
    asked(raw, "PUT", f"{SPACE}/metering", {"bytes_max": 100, "requests_per_s": 1_000})
    noted(raw, store)
    assert raw.ask("PUT", f"{SPACE}/objects/k", b"v" * 50).status == 200
    full = raw.ask("PUT", f"{SPACE}/objects/l", b"v" * 50)
    assert (full.status, json.loads(full.body)["facts"]["limit"]) == (507, "bytes_max")
    asked(raw, "PUT", f"{SPACE}/metering", {"requests_per_s": 0})
    answer = raw.ask("GET", f"{SPACE}/objects/k")
    for _ in range(NOTED_S * 100):
        if answer.status == 429:
            break
        store.clock.sleep(0.01)
        answer = raw.ask("GET", f"{SPACE}/objects/k")
    assert json.loads(answer.body)["facts"]["limit"] == "requests_per_s"
    assert "retry-after" in answer.headers


def until(store: Store, holds: Callable[[], bool]) -> None:
    for _ in range(NOTED_S * 100):
        if holds():
            return
        store.clock.sleep(0.01)
    raise AssertionError("it never was so")


def at_once(raw: Raw) -> str | None:
    """The bound that one more request passes."""
    answer = raw.ask("GET", f"{SPACE}/exists/k")
    return None if answer.status < 400 else json.loads(answer.body)["facts"]["limit"]


@pytest.mark.parametrize("size", [MIB // 2, 2 * MIB], ids=["gathered", "streamed"])
def test_a_body_that_is_still_coming_counts_among_those_at_once(
    serve: Serve, connect: Dial, store: Store, size: int
) -> None:
    serving = serve()
    slow, raw = connect(serving), connect(serving)
    asked(raw, "PUT", f"{SPACE}/metering", {"concurrent_max": 1})
    put = slow.request("PUT", f"{SPACE}/objects/k", bytes(size))
    slow.say(put[: size // 2])
    until(store, lambda: at_once(raw) == "concurrent_max")
    slow.say(put[size // 2 :])
    assert slow.hear().status == 200
    assert at_once(raw) is None
    slow.say(put[: size // 2])
    until(store, lambda: at_once(raw) == "concurrent_max")
    slow.socket.close()  # who goes away asks for nothing
    until(store, lambda: at_once(raw) is None)
    refused = raw.ask("PUT", f"{SPACE}/objects/k", b"", If_Match='"7"')
    assert refused.status == 412
    assert at_once(raw) is None


def test_who_asks_behind_himself_is_counted_from_each_header_on(
    serve: Serve, connect: Dial
) -> None:
    raw = connect(serve())
    asked(raw, "PUT", f"{SPACE}/metering", {"concurrent_max": 2})
    put, get = (raw.request(method, f"{SPACE}/objects/k") for method in ("PUT", "GET"))
    raw.say(put * 3)
    assert sorted(raw.hear().status for _ in range(3)) == [200, 200, 429]
    raw.say(put + get)
    assert [raw.hear().status for _ in range(2)] == [200, 200]


def chunks(first: Said, go_on: Event, last: Said) -> Iterator[Said]:
    yield first
    go_on.wait(NOTED_S)
    yield last


@pytest.mark.parametrize("name", ["Store", "Batch"])
def test_a_stream_over_grpc_counts_among_those_at_once(
    serve: Serve, connect: Dial, store: Store, name: str
) -> None:
    serving = serve(grpc_port=0)
    raw, caller = connect(serving), Caller(serving.rpc_url, serving.token())
    asked(raw, "PUT", f"{SPACE}/metering", {"concurrent_max": 1})
    method, parts = caller.method(name), BEGUN_AND_ENDED[name]
    for is_given_up in (False, True):
        go_on = Event()
        asks = chunks(parts[0], go_on, parts[1])
        if name == "Store":
            call = method.future(asks, metadata=caller.metadata, timeout=NOTED_S)
        else:
            call = method(asks, metadata=caller.metadata, timeout=NOTED_S)
        until(store, lambda: at_once(raw) == "concurrent_max")
        if is_given_up:
            call.cancel()
            until(store, lambda: at_once(raw) is None)
        go_on.set()
        if not is_given_up:
            assert call.result() if name == "Store" else [*call]
            assert at_once(raw) is None
    caller.channel.close()


def test_what_is_refused_or_streamed_is_not_at_once_for_ever(
    serve: Serve, connect: Dial, store: Store
) -> None:
    serving = serve(grpc_port=0)
    raw, caller = connect(serving), Caller(serving.rpc_url, serving.token())
    asked(raw, "PUT", f"{SPACE}/metering", {"concurrent_max": 1})
    store.namespace("acme").put("k", b"v")
    for _ in range(2):
        with pytest.raises(grpc.RpcError):
            caller.ask("Delete", namespace="acme", key="absent")
        assert [[*page.keys] for page in caller.ask("List", namespace="acme")] == [["k"]]
        assert len(caller.ask("Load", namespace="acme", key="k")) == 2
        store_one = say("Operation", store=say("StoreRequest", key="k", value=b"v"))
        assert caller.ask("Batch", namespace="acme", operations=[store_one])
        with pytest.raises(grpc.RpcError):  # nobody may, who does not say who he is
            Caller(serving.rpc_url, None).ask("Stat", namespace="acme", key="k")
        assert raw.ask("GET", f"{SPACE}/objects/absent").status == 404
        assert at_once(raw) is None
    caller.channel.close()


def test_a_namespace_is_one_however_its_name_is_written() -> None:
    tenants = Tenants(2)
    one, other = tenants.find(b"acme"), tenants.find(b"%61cme")
    tenants.admit(one)
    tenants.admit(other)
    with pytest.raises(RateLimited):
        tenants.admit(one)


def test_an_empty_account_is_402(raw: Raw, store: Store) -> None:
    asked(raw, "PUT", f"{SPACE}/metering", {"tariff": "enclave"})
    assert raw.ask("PUT", f"{SPACE}/objects/k", b"v").status == 402
    store.accounts.deposit("acme", 10**18, "invoice 1")
    assert raw.ask("PUT", f"{SPACE}/objects/k", b"v").status == 200


def test_a_batch_of_reads_is_answered_once_so_many_are_charged(
    serve: Serve, store: Store, connect: Dial
) -> None:
    """The loop answers none that would pass the bound; a thread charges before it answers."""
    most = store.placement.settings.lags.most = 100
    store.accounts.deposit("acme", 10**18, "invoice 1")
    store.namespace("acme").configure(tariff="enclave")
    serving = serve()
    noted(connect(serving), store)
    store.placement.settings.lags.near = lambda: None  # nobody comes to help
    keys = [f"k{number:03d}" for number in range(300)]
    with holdfast.connect(serving.url, token=serving.token()) as remote:
        acme = remote.namespace("acme")
        acme.put_many([(key, b"v") for key in keys])
        for count in (60, 60, 200, 300, 99, 2) * 3:
            assert acme.get_many(keys[:count]) == [b"v"] * count
            reads = [one for bucket in store.placement.directory for one in bucket.reads.values()]
            assert sum(map(len, reads)) <= most
        loads = 3 * (60 + 60 + 200 + 300 + 99 + 2)
        assert store.namespace("acme").usage().requests["C"] >= loads + len(keys)


def test_a_cost_of_more_than_64_bits_is_told_through_every_way(
    raw: Raw, serve: Serve, store: Store
) -> None:
    store.accounts.deposit("acme", 10**30, "invoice 1")
    store.namespace("acme").configure(tariff="enclave")
    size, ttl = 999_999, 36_500 * 86_400
    cost = C + (size + 1) * ttl * 8_796
    assert cost > 1 << 64
    told = raw.ask(
        "PUT",
        f"{SPACE}/objects/a",
        bytes(size),
        Holdfast_TTL=str(ttl),
        Accept="application/msgpack",
    )
    assert (told.status, cost_of(told)) == (200, cost)
    assert int(msgspec.msgpack.decode(told.body)["cost_atto"]) == cost
    serving = serve(grpc_port=0)
    for url in (serving.url, serving.rpc_url):
        with holdfast.connect(url, token=serving.token()) as remote:
            acme, at = remote.namespace("acme"), url[:1]
            with acme.bill() as bill:
                receipts = acme.put_many([(at, bytes(size))], ttl=ttl)
                acme.append(at, b"")
            assert [one.cost_atto for one in receipts] == [cost]
            assert bill.cost_atto == cost + C
            assert acme.put(at, b"", ttl=1).cost_atto < 0
    assert (
        store.namespace("acme").usage().cost_atto + store.namespace("acme").balance_atto == 10**30
    )
