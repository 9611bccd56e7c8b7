"""One customer's day through every face: what it costs, is shown and is billed is the same.

The embedded store, its twin for asyncio, and both clients over HTTP; what costs what follows from
the tariff alone, reckoned here by hand.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

import pytest

import holdfast
from holdfast.errors import BalanceEmpty, InvalidExpiry, InvalidValue, LimitExceeded
from holdfast.ledger import statement
from holdfast.operations import Append, Consumers, Delete, Lock, Store, StoreOptions
from holdfast.testing.clock import ManualClock
from holdfast.testing.serving import Serving

SECOND_NS = 1_000_000_000
OPERATION, STORAGE, EGRESS = 1_000, 7, 3
TOML = f"operation = {OPERATION}\nstorage = {STORAGE}\negress = {EGRESS}\nearly_delete = '1/5'"
FUNDS = 10**9
NOTED_S = 60
Face = Callable[[], Any]


@asynccontextmanager
async def embedded(store: holdfast.Store) -> AsyncIterator[Any]:
    yield store


@asynccontextmanager
async def http(store: holdfast.Store) -> AsyncIterator[Any]:
    with Serving(store) as serving, holdfast.connect(serving.url, token=serving.token()) as remote:
        yield remote


@asynccontextmanager
async def http_async(store: holdfast.Store) -> AsyncIterator[Any]:
    with Serving(store) as serving:
        async with holdfast.aconnect(serving.url, token=serving.token()) as remote:
            yield remote


FACES = {"embedded": embedded, "http": http, "http_async": http_async}


async def now(found: Any) -> Any:  # noqa: ANN401 - whatever a face answers
    """What a face answers, awaited where it has to be."""
    return await found if inspect.isawaitable(found) else found


async def listed(found: Any) -> list[str]:  # noqa: ANN401 - an iterator of one kind or the other
    if hasattr(found, "__aiter__"):
        return [name async for name in found]
    return list(found)


async def cost(space: Any, work: Callable[[], Any]) -> int:  # noqa: ANN401 - a namespace of a face
    opened: AbstractContextManager[Any] = space.bill()
    with opened as bill:
        await now(work())
    return int(bill.cost_atto)


async def prepared(store: Any) -> Any:  # noqa: ANN401 - a face
    """A namespace that pays, of which the face has taken note."""
    await now(store.tariffs.set("mine", TOML))
    assert (await now(store.tariffs.get("mine"))).terms.storage_atto == STORAGE
    assert len(await now(store.tariffs.all())) == 6
    await now(store.accounts.deposit("reserve", 2 * FUNDS, "bank"))
    await now(store.accounts.transfer("reserve", "acme", FUNDS, "welcome"))
    await now(store.accounts.rule("acme", 5, 10, 1))
    acme = store.namespace("acme")
    await now(acme.configure(tariff="mine", objects_max=4))
    await noted(acme)
    return acme


async def noted(acme: Any) -> None:  # noqa: ANN401 - a namespace of a face
    """Wait until a face has taken note of what is metered."""
    for _ in range(NOTED_S * 50):
        if await cost(acme, lambda: acme.exists("k")):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("nothing is metered")


async def operations(acme: Any) -> dict[str, int]:  # noqa: ANN401 - a namespace of a face
    """What each kind of operation costs."""
    return {
        "put": await cost(acme, lambda: acme.put("b", b"v" * 9)),
        "put_many": await cost(acme, lambda: acme.put_many({"c": b"1", "d": b"2"})),
        "get": await cost(acme, lambda: acme.get("a")),
        "get_many": await cost(acme, lambda: acme.get_many(["a", "b", "none"])),
        "part": await cost(acme, lambda: acme.get("a", range=(0, 10))),
        "exists": await cost(acme, lambda: acme.exists("a")),
        "list": await cost(acme, lambda: listed(acme.list())),
        "append": await cost(acme, lambda: acme.append("b", b"v")),
        "delete": await cost(acme, lambda: acme.delete("b")),
    }


async def quotes(acme: Any) -> None:  # noqa: ANN401 - a namespace of a face
    """An operation as a value is quoted as by its name, to the nanosecond; nothing is done."""
    lived = StoreOptions(ttl_ns=365 * 86_400 * SECOND_NS + 1)
    made = await now(acme.quote(Store(b"", "q", b"v" * 9, lived)))
    assert made.atto == OPERATION + 10 * (365 * 86_400 + 1) * STORAGE
    for kept in (
        await now(acme.quote(Store(b"", "a", b"v" * 9, StoreOptions(keep_ttl=True)))),
        await now(acme.quote("store", key="a", size_bytes=9, keep_ttl=True)),
    ):
        assert 0 < kept.storage_atto <= 10 * 60 * STORAGE
        assert 0 < kept.back_atto <= 100 * 60 * STORAGE
    for asked, name in (
        (Append(b"", "q", b"v"), "append"),
        (Delete(b"", "q"), "delete"),
        (Lock(b"", "q", b"", 1), "lock"),
        (Consumers(b"", "q", "set", ()), "consumers.set"),
    ):
        told = await now(acme.quote(name, key="q", size_bytes=int(name == "append")))
        assert await now(acme.quote(asked)) == told
    with pytest.raises(InvalidExpiry):
        await now(acme.quote("store", key="a", ttl=9, keep_ttl=True))


async def a_day(store: Any) -> dict[str, int]:  # noqa: ANN401 - a face
    """What operations cost, once everything about money was asked for."""
    acme = await prepared(store)
    quoted = await now(acme.quote("store", key="a", size_bytes=99, ttl=60))
    receipt = await now(acme.put("a", b"v" * 99, ttl=60))
    assert receipt.cost_atto == quoted.atto == OPERATION + 100 * 60 * STORAGE
    await quotes(acme)
    costs = await operations(acme)
    with pytest.raises(LimitExceeded):
        await now(acme.put_many({"e": b"", "f": b""}))
    with pytest.raises(InvalidValue):
        await now(acme.quote("dance"))
    with pytest.raises(InvalidValue):
        await now(store.tariffs.set("mine", "operation = -1"))
    with pytest.raises(BalanceEmpty):
        await now(store.accounts.transfer("acme", "reserve", FUNDS, "all of it"))
    used = await now(acme.usage())
    assert used.objects <= 4
    left = await now(acme.balance_atto)
    assert left + used.cost_atto == FUNDS
    for hour in await now(acme.hours()):  # it depends on the clock whether there is one
        assert 0 <= hour.cost_atto <= used.cost_atto
    assert left == await now(store.accounts.balance("acme"))
    assert "acme" in await now(store.accounts.names())
    kinds = [entry.kind for entry in await now(store.accounts.entries("acme"))]
    assert kinds[:3] == ["transfer", "rule", "terms"]
    document = await now(store.statement("acme", 0, 1 << 62))
    key = await now(store.public_key()) if hasattr(store, "public_key") else None
    if key is not None:
        assert statement.verify(document, public_key=key).closing.charged == used.cost_atto
    return costs


EXPECTED = {
    "put": OPERATION,
    "put_many": 2 * OPERATION,
    "get": OPERATION + 99 * EGRESS,
    "get_many": 2 * OPERATION + (99 + 9) * EGRESS,
    "part": OPERATION + 10 * EGRESS,
    "exists": OPERATION,
    "list": 10 * OPERATION + 4 * EGRESS,
    "append": OPERATION,
    "delete": OPERATION,
}


@pytest.mark.parametrize("face", FACES)
def test_a_day_costs_the_same_through_every_face(face: str) -> None:
    async def told() -> dict[str, int]:
        clock = ManualClock()  # rent would go on between two looks at what is left
        with holdfast.open(":memory:", clock=clock) as store:
            async with FACES[face](store) as seen:
                return await a_day(seen)

    assert asyncio.run(told()) == EXPECTED


def test_a_day_costs_the_same_through_the_twin() -> None:
    async def told() -> dict[str, int]:
        clock = ManualClock()  # rent would go on between two looks at what is left
        async with holdfast.aopen(":memory:", clock=clock) as store:
            return await a_day(store)

    assert asyncio.run(told()) == EXPECTED


async def charged(store: holdfast.Store, remote: Any) -> None:  # noqa: ANN401 - a client over gRPC
    """Single calls say what they cost; a stream of batches is charged the same."""
    space, acme = store.namespace("acme"), remote.namespace("acme")
    for key in ("a", "b", "c", "d"):
        space.delete(key, missing_ok=True)
    space.put("a", b"v" * 99, ttl=60)
    await noted(acme)
    before = space.usage().requests
    costs = await operations(acme)
    streamed = {"put_many", "get_many"}
    assert {k: v for k, v in costs.items() if k not in streamed} == {
        k: v for k, v in EXPECTED.items() if k not in streamed
    }
    after = space.usage().requests
    assert {kind: after[kind] - before[kind] for kind in "ABC"} == {"A": 1, "B": 0, "C": 10}


def test_a_day_costs_the_same_over_grpc() -> None:
    async def told(store: holdfast.Store, serving: Serving) -> None:
        await prepared(store)
        token = serving.token()
        with holdfast.connect(serving.rpc_url, token=token) as remote:
            await charged(store, remote)
            assert remote.accounts.balance("acme") == store.accounts.balance("acme")
        async with holdfast.aconnect(serving.rpc_url, token=token) as remote:
            await charged(store, remote)

    clock = ManualClock()  # rent would go on between two looks at what is left
    with (
        holdfast.open(":memory:", clock=clock) as store,
        Serving(store, grpc_port=0) as serving,
    ):
        asyncio.run(told(store, serving))


@asynccontextmanager
async def grpc(store: holdfast.Store) -> AsyncIterator[Any]:
    with (
        Serving(store, grpc_port=0) as serving,
        holdfast.connect(serving.rpc_url, token=serving.token()) as remote,
    ):
        yield remote


@asynccontextmanager
async def grpc_async(store: holdfast.Store) -> AsyncIterator[Any]:
    with Serving(store, grpc_port=0) as serving:
        async with holdfast.aconnect(serving.rpc_url, token=serving.token()) as remote:
            yield remote


MANY = 300  # more than the loop decides by itself


def numbered(first: int, count: int = MANY) -> dict[str, bytes]:
    return {f"k{number:04d}": b"v" * (number % 9) for number in range(first, first + count)}


async def batches(acme: Any, used: Callable[[], int]) -> None:  # noqa: ANN401 - of a face
    """Receipts say what the bill says, and the bill what is charged."""
    stored: list[tuple[dict[str, bytes], dict[str, Any]]] = [
        ({"alone": b"1"}, {}),
        (numbered(0, 9), {}),
        (numbered(0), {}),  # replaces some
        (numbered(MANY // 2), {"ttl": 3600}),
        (numbered(MANY), {"content_type": "text/plain"}),  # replaces what expires
        (numbered(0, 9), {"atomic": True}),
    ]
    for pairs, options in stored:
        before = used()
        with acme.bill() as bill:
            receipts = await now(acme.put_many(pairs, **options))
        assert bill.cost_atto == sum(receipt.cost_atto for receipt in receipts) != 0
        assert used() - before == bill.cost_atto
    before = used()
    with acme.bill() as bill:
        await now(acme.get_many([*numbered(0), "none"]))
    sent = sum(map(len, numbered(0).values()))
    assert bill.cost_atto == used() - before == MANY * OPERATION + sent * EGRESS


async def queued(store: Any, acme: Any, used: Callable[[], int]) -> None:  # noqa: ANN401 - a face
    """What is stored soon is stored by another: it is charged, and on no bill."""
    before = used()
    with acme.bill() as bill:
        await now(acme.put_soon("soon", b"1"))
        await now(store.flush())
    assert (bill.cost_atto, used() - before) == (0, OPERATION)


async def all_of_it(store: holdfast.Store, seen: Any) -> None:  # noqa: ANN401 - a face
    store.tariffs.set("prepaid", f"operation = {OPERATION}\negress = {EGRESS}")
    store.accounts.deposit("acme", FUNDS, "bank")
    acme, space = seen.namespace("acme"), store.namespace("acme")

    def used() -> int:
        return space.usage().cost_atto

    space.configure(tariff="prepaid")
    await noted(acme)
    await batches(acme, used)
    await queued(seen, acme, used)


@pytest.mark.parametrize("face", [embedded, http, http_async, grpc, grpc_async])
def test_receipts_sum_up_to_the_bill_and_bills_to_what_is_charged(
    face: Callable[[holdfast.Store], Any],
) -> None:
    async def told() -> None:
        clock = ManualClock()  # rent would go on between two looks at what is left
        with holdfast.open(":memory:", clock=clock) as store:
            async with face(store) as seen:
                await all_of_it(store, seen)

    asyncio.run(told())


def test_receipts_sum_up_to_the_bill_through_the_twin() -> None:
    async def told() -> None:
        async with holdfast.aopen(":memory:") as store:
            await all_of_it(store._inner, store)

    asyncio.run(told())
