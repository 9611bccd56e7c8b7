"""Prices and money over HTTP: who may, and that it is the store's own books."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import holdfast
from holdfast.errors import BalanceEmpty, InvalidValue, LimitExceeded, NotFound
from holdfast.ledger import statement
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock
from holdfast.testing.serving import Serving
from tests.rooms.server.conftest import Serve
from tests.rooms.server.raw import Raw

Dial = Callable[[Serving], Raw]
ACCOUNT = "/v1/accounts/acme"


@pytest.fixture
def raw(serve: Serve, connect: Dial) -> Raw:
    return connect(serve())


def told(raw: Raw, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
    answer = raw.ask(method, path, b"" if body is None else json.dumps(body).encode())
    assert answer.status == 200, answer
    return json.loads(answer.body)


def test_tariffs_are_set_and_listed(raw: Raw) -> None:
    made = told(raw, "PUT", "/v1/tariffs/mine", {"toml": "operation = 7"})
    assert made == {"name": "mine", "version": 1, "toml": "operation = 7", "number": 100}
    listed = told(raw, "GET", "/v1/tariffs")["tariffs"]
    assert [one["name"] for one in listed] == [
        *("free", "enclave", "disk", "ic", "hardened", "mine")
    ]
    answer = raw.ask("PUT", "/v1/tariffs/mine", b'{"toml": "operation = -7"}')
    assert (answer.status, json.loads(answer.body)["facts"]["field"]) == (422, "operation")


def test_money_comes_in_and_moves(raw: Raw, store: Store) -> None:
    paid = {"atto": str(10**30), "reference": "bank"}
    assert told(raw, "POST", "/v1/accounts/reserve/deposits", paid)["amount"] == str(10**30)
    assert told(raw, "POST", "/v1/accounts/reserve/deposits", paid)["number"] == 1
    moved = {"target": "acme", "atto": 5, "reference": "welcome"}
    told(raw, "POST", "/v1/accounts/reserve/transfers", moved)
    drawn = {"threshold": "3", "amount": "4", "per_day": 2}
    told(raw, "PUT", f"{ACCOUNT}/rule", drawn)
    assert told(raw, "GET", "/v1/accounts") == {"accounts": ["acme", "reserve"]}
    standing = told(raw, "GET", ACCOUNT)
    assert (standing["funds"], standing["rule"]) == ("5", {**drawn, "parent": "reserve"})
    kinds = [one["kind"] for one in told(raw, "GET", f"{ACCOUNT}/entries")["entries"]]
    assert kinds == ["transfer", "rule"]
    assert store.accounts.balance("acme") == 5


def test_a_statement_is_the_stores(raw: Raw, store: Store) -> None:
    store.accounts.deposit("acme", 5, "r")
    answer = raw.ask("GET", f"{ACCOUNT}/statement?start_ns=0")
    assert answer.headers["content-type"] == "application/cose"
    held = statement.verify(answer.body, public_key=store.public_key())
    assert (held.account, held.closing.balance) == ("acme", 5)
    none = raw.ask("GET", f"{ACCOUNT}/statement?stop_ns=1").body
    assert statement.verify(none, public_key=store.public_key()).entries == ()


REFUSED = [
    ("POST", f"{ACCOUNT}/deposits", {"atto": "-5", "reference": "r"}, 422),
    ("POST", f"{ACCOUNT}/deposits", {"atto": "5.0", "reference": "r"}, 422),
    ("POST", f"{ACCOUNT}/deposits", {"atto": 0, "reference": "r"}, 422),
    ("POST", f"{ACCOUNT}/deposits", {"atto": 5}, 422),
    ("POST", f"{ACCOUNT}/transfers", {"target": "b", "atto": 5, "reference": "r"}, 402),
    ("PUT", f"{ACCOUNT}/rule", {"threshold": 1, "amount": 1, "per_day": -1}, 422),
    ("GET", ACCOUNT, None, 404),
    ("GET", f"{ACCOUNT}/statement?start_ns=x", None, 422),
    ("GET", f"{ACCOUNT}/statement?start_ns=5&stop_ns=4", None, 422),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), REFUSED)
def test_what_is_wrong_is_refused(
    raw: Raw, store: Store, *, method: str, path: str, body: object, status: int
) -> None:
    sent = b"" if body is None else json.dumps(body).encode()
    assert raw.ask(method, path, sent).status in {status, 400 if status == 422 else status}
    assert store.accounts.names() == []


OPERATORS = [
    ("PUT", "/v1/tariffs/mine", {"toml": ""}),
    ("GET", "/v1/accounts", None),
    ("POST", f"{ACCOUNT}/deposits", {"atto": 1, "reference": "r"}),
    ("POST", f"{ACCOUNT}/transfers", {"target": "b", "atto": 1, "reference": "r"}),
    ("PUT", f"{ACCOUNT}/rule", {"threshold": 1, "amount": 1, "per_day": 1}),
]


def test_who_may_do_what(serve: Serve, connect: Dial, store: Store) -> None:
    store.accounts.deposit("acme", 5, "r")
    serving = serve()
    raw = connect(serving)
    raw.token = serving.token("acme", ("admin",))
    for method, path, body in OPERATORS:
        sent = b"" if body is None else json.dumps(body).encode()
        assert raw.ask(method, path, sent).status == 403, path
    told(raw, "GET", "/v1/tariffs")
    for path in (ACCOUNT, f"{ACCOUNT}/entries"):
        told(raw, "GET", path)
    assert raw.ask("GET", f"{ACCOUNT}/statement").status == 200
    assert raw.ask("GET", "/v1/accounts/other/statement").status == 403
    raw.token = serving.token("acme", ("read", "write", "delete"))
    for path in (ACCOUNT, f"{ACCOUNT}/entries", f"{ACCOUNT}/statement"):
        assert raw.ask("GET", path).status == 403


def test_a_client_asks_as_the_store_is_asked(serve: Serve, store: Store) -> None:
    serving = serve()
    with holdfast.connect(serving.url, token=serving.token("*", ("admin",))) as remote:
        made = remote.tariffs.set("mine", "operation = 7")
        assert made == store.tariffs.get("mine") == remote.tariffs.get("mine", 1)
        assert remote.tariffs.all() == store.tariffs.all()
        paid = remote.accounts.deposit("reserve", 10**30, "bank")
        assert [paid] == store.accounts.entries("reserve")
        remote.accounts.transfer("reserve", "acme", 5, "welcome")
        ruled = remote.accounts.rule("acme", 3, 4, 2)
        assert ruled == store.accounts.entries("acme")[-1]
        assert remote.accounts.balance("acme") == 5
        assert remote.accounts.names() == ["acme", "reserve"]
        assert remote.accounts.entries("acme") == store.accounts.entries("acme")
        document = remote.statement("acme", 0, 1 << 62)
        assert statement.verify(document, public_key=store.public_key()).closing.balance == 5
        with pytest.raises(BalanceEmpty):
            remote.accounts.transfer("acme", "reserve", 6, "too much")
        with pytest.raises(InvalidValue):
            remote.tariffs.set("mine", "operation = -7")
        with pytest.raises(InvalidValue):
            remote.tariffs.get("none")
        with pytest.raises(NotFound):
            remote.accounts.balance("nobody")


def test_a_namespace_is_metered_from_afar() -> None:
    clock = ManualClock()  # rent would go on between two looks at what was used
    with (
        holdfast.open(":memory:", in_place=False, clock=clock) as store,
        Serving(store) as serving,
        holdfast.connect(serving.url, token=serving.token("*", ("admin",))) as remote,
    ):
        store.accounts.deposit("acme", 10**18, "r")
        acme = remote.namespace("acme")
        told = acme.configure(tariff="enclave", objects_max=2, grace="1h")
        assert (told.tariff, told.objects_max, told.bytes_max) == ("enclave", 2, None)
        assert told == acme.configured() == store.namespace("acme").configured()
        quoted = acme.quote("store", key="a", size_bytes=9, ttl=60)
        assert quoted == store.namespace("acme").quote("store", key="a", size_bytes=9, ttl=60)
        assert acme.put("a", bytes(9), ttl=60).cost_atto == quoted.atto > 0
        acme.put("b", b"")
        with pytest.raises(LimitExceeded) as refused:
            acme.put("c", b"")
        assert refused.value.limit == "objects_max"
        assert acme.usage() == store.namespace("acme").usage()
        store.meters._note_hour("acme", 7)  # as the first tick of an hour does
        first = acme.hours()[0]
        assert first == store.namespace("acme").hours()[0]  # upkeep may add another meanwhile
        assert first.cost_atto >= quoted.atto + store.tariffs.get("enclave").terms.c  # and rent
        assert (first.objects, first.requests["C"]) == (2, 2)
        assert acme.balance_atto == store.accounts.balance("acme") < 10**18
        empty = remote.namespace("empty")
        empty.configure(tariff="enclave")
        with pytest.raises(BalanceEmpty):
            empty.put("a", b"1")


def test_who_may_meter_a_namespace(serve: Serve, connect: Dial, store: Store) -> None:
    serving = serve()
    raw = connect(serving)
    path = "/v1/namespaces/acme"
    assert told(raw, "GET", f"{path}/metering")["tariff"] == ""
    assert raw.ask("PUT", f"{path}/metering", b'{"tariff": "none"}').status == 422
    assert raw.ask("POST", f"{path}/quote", b'{"operation": "dance"}').status == 422
    raw.token = serving.token("acme", ("admin",))
    assert raw.ask("PUT", f"{path}/metering", b'{"tariff": "enclave"}').status == 403
    assert told(raw, "GET", f"{path}/usage")["cost_atto"] == "0"
    assert told(raw, "POST", f"{path}/quote", {"operation": "load"})["operation_atto"] == "0"
    raw.token = serving.token("acme", ("read", "write"))
    for method, what in (
        ("GET", "usage"),
        ("GET", "hours"),
        ("GET", "metering"),
        ("POST", "quote"),
    ):
        assert raw.ask(method, f"{path}/{what}", b'{"operation": "load"}').status == 403
    assert store.namespaces() == []
