"""Who waits for a lock is one request, however long he waits, and through every door."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

import holdfast
from holdfast.errors import LimitExceeded, LockHeld
from holdfast.request.handles import Lock
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock
from holdfast.testing.serving import Serving
from tests.rooms.server.conftest import Serve
from tests.rooms.server.raw import Raw
from tests.rooms.server.rpc_client import Caller, say

Dial = Callable[[Serving], Raw]
SPACE = "/v1/namespaces/acme"
LONG = json.dumps({"ttl": 60, "wait": 3_600}).encode()
WITHIN_S = 60


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_who_waits_for_a_lock_asks_once_and_pays_once(door: str) -> None:
    clock = ManualClock()
    with holdfast.open(":memory:", clock=clock) as store, Serving(store, grpc_port=0) as serving:
        store.accounts.deposit("acme", 10**18, "invoice 1")
        store.namespace("acme").configure(tariff="enclave", requests_per_s=4)
        url = serving.url if door == "http" else serving.rpc_url
        with holdfast.connect(url, token=serving.token(), clock=clock) as remote:
            acme = remote.namespace("acme")
            held = acme.lock("k", ttl=60)
            with acme.bill() as bill, pytest.raises(LockHeld):
                acme.lock("k", wait=0.5)
            assert bill.cost_atto == 0
            held.release()
            mine = acme.lock("k", ttl=60)
            with pytest.raises(LimitExceeded):
                mine.release()
            clock.advance(2_000_000_000)
            with acme.bill() as bill:
                acme.lock("k", ttl=60, wait=90)  # the one before has ended by then
            assert bill.cost_atto == acme.quote("lock").atto
        assert store.namespace("acme").usage().requests["B"] == 4


def at_once(raw: Raw) -> bool:
    """Whether a request is under way where one may be."""
    return raw.ask("GET", f"{SPACE}/exists/k").status == 429


def until(store: Store, holds: Callable[[], bool]) -> None:
    for _ in range(WITHIN_S * 100):
        if holds():
            return
        store.clock.sleep(0.01)
    raise AssertionError("it never was so")


def bounded(store: Store) -> holdfast.Namespace:
    acme = store.namespace("acme")
    acme.configure(concurrent_max=1)
    return acme


def waiting_at(serving: Serving, connect: Dial, store: Store) -> tuple[Raw, Lock]:
    """Who waits for a lock, the one request that may be; and the lock."""
    raw, waiting = connect(serving), connect(serving)
    held = bounded(store).lock("k")
    waiting.say(waiting.request("POST", f"{SPACE}/locks/k", LONG))
    until(store, lambda: at_once(raw))
    return waiting, held


def test_who_went_away_is_given_no_lock(serve: Serve, connect: Dial, store: Store) -> None:
    serving, acme = serve(grpc_port=0), bounded(store)
    raw, waiting = connect(serving), connect(serving)
    held = acme.lock("k")
    waiting.say(waiting.request("POST", f"{SPACE}/locks/k", LONG))
    until(store, lambda: at_once(raw))
    waiting.socket.close()
    until(store, lambda: not at_once(raw))
    caller = Caller(serving.rpc_url, serving.token())
    asked = caller.method("Lock").future(
        say("LockRequest", namespace="acme", key="k", wait_ns=3_600 * 10**9),
        metadata=caller.metadata,
        timeout=WITHIN_S,
    )
    until(store, lambda: at_once(raw))
    asked.cancel()
    until(store, lambda: not at_once(raw))
    caller.channel.close()
    held.release()
    acme.lock("k").release()


def test_a_lock_is_had_once_it_is_released(serve: Serve, connect: Dial, store: Store) -> None:
    waiting, held = waiting_at(serve(), connect, store)
    held.release()
    told = waiting.hear()
    assert (told.status, json.loads(told.body)["fence"] > held.fence) == (200, True)


def test_who_waits_is_told_where_the_server_goes(serve: Serve, connect: Dial, store: Store) -> None:
    serving = serve()
    waiting, held = waiting_at(serving, connect, store)
    serving.server.stop()
    assert waiting.hear().status == 503
    held.release()


def test_nobody_waits_for_ever(serve: Serve, connect: Dial) -> None:
    raw = connect(serve())
    for wait in (-1, 3_601):
        told = raw.ask("POST", f"{SPACE}/locks/k", json.dumps({"wait": wait}).encode())
        assert (told.status, json.loads(told.body)["facts"]["argument"]) == (422, "wait")
