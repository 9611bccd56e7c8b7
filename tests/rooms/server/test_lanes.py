"""Lanes: what waits for several buckets at once, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

import holdfast
from holdfast.errors import DeadlineExceeded, OutcomeUnknown, Unavailable
from holdfast.limits import BATCH_OPERATIONS
from holdfast.operations import Delete, Store
from holdfast.server.lanes import Lanes, Stores
from holdfast.values import Receipt

PREFIX = b"n\0"
MIB = 1 << 20


def stores_of(names: list[str], value: bytes = b"v") -> Stores:
    return Stores([PREFIX + name.encode() for name in names], names, [value] * len(names))


async def settled(begin: Callable[[Callable[[object], None]], None]) -> object:
    done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    begin(done.set_result)
    return await asyncio.wait_for(done, 60)


def test_stores_of_several_buckets_come_back_in_their_order() -> None:
    names = [f"{number % 7}/{number:03}" for number in range(300)]

    async def ask() -> Sequence[object]:
        lanes = Lanes(store.corridor, store.clock, MIB)
        try:
            told = await settled(lambda settle: lanes.put_stores(stores_of(names), settle))
            assert lanes.count == 0
        finally:
            await asyncio.to_thread(lanes.close)
        assert isinstance(told, Sequence)
        return told

    with holdfast.open(":memory:", bucket_bytes=1 << 16) as store:
        space = store.namespace("n")
        for name in names:
            space.put(name, b"old" * 300)
        assert len(store.placement.directory) > 1
        told = asyncio.run(ask())
        assert [receipt.key for receipt in told if isinstance(receipt, Receipt)] == names
        assert {receipt.bucket for receipt in told if isinstance(receipt, Receipt)} == {
            store.locate("n", name).bucket for name in names
        }
        assert all(space.get(name) == b"v" for name in names)


def test_stores_beside_other_writes_are_carried_out_in_their_order() -> None:
    async def ask() -> tuple[object, ...]:
        lanes = Lanes(store.corridor, store.clock, MIB)
        key = PREFIX + b"k"
        try:
            return await asyncio.gather(
                settled(lambda s: lanes.put_stores(stores_of(["k", "a"], b"1"), s)),
                settled(lambda s: lanes.put(Delete(key, "k"), s, 0)),
                settled(lambda s: lanes.put(Store(key, "k", b"2"), s, 1)),
                settled(lambda s: lanes.put_stores(stores_of(["b", "b"], b"3"), s)),
            )
        finally:
            await asyncio.to_thread(lanes.close)

    with holdfast.open(":memory:") as store:
        first, _, second, last = asyncio.run(ask())
        assert isinstance(first, Sequence)
        assert isinstance(last, Sequence)
        assert isinstance(second, Receipt)
        assert [one.key for one in (*first, second, *last)] == ["k", "a", "k", "b", "b"]
        assert {key: store.namespace("n").get(key) for key in "abk"} == {
            "a": b"1",
            "b": b"3",
            "k": b"2",
        }


def test_stores_whose_time_is_over_are_not_begun() -> None:
    async def ask() -> tuple[object, ...]:
        lanes = Lanes(store.corridor, store.clock, MIB)
        past = store.clock.monotonic_ns() - 1
        try:
            return await asyncio.gather(
                settled(lambda s: lanes.put_stores(stores_of(["late", "too"]), s, past)),
                settled(lambda s: lanes.put_stores(stores_of(["due"]), s)),
            )
        finally:
            await asyncio.to_thread(lanes.close)

    with holdfast.open(":memory:") as store:
        late, due = asyncio.run(ask())
        assert isinstance(late, Sequence)
        assert isinstance(due, Sequence)
        assert [type(one) for one in (*late, *due)] == [DeadlineExceeded, DeadlineExceeded, Receipt]
        assert list(store.namespace("n").list()) == ["due"]


def test_what_comes_after_the_end_is_told_so() -> None:
    async def ask() -> object:
        lanes = Lanes(store.corridor, store.clock, MIB)
        await asyncio.to_thread(lanes.close)
        return await settled(lambda settle: lanes.put_stores(stores_of(["k"]), settle))

    with holdfast.open(":memory:") as store:
        told = asyncio.run(ask())
        assert isinstance(told, Sequence)
        assert [type(one) for one in told] == [Unavailable]


@pytest.mark.parametrize("first", ["single", "batch"])
def test_nothing_is_refused_for_what_waits_beside_it(first: str) -> None:
    """A batch as large as may be has a group to itself: with a put it would be too large."""
    names = [f"{number:05}" for number in range(BATCH_OPERATIONS)]
    single = Store(PREFIX + b"single", "single", b"1")

    async def ask() -> tuple[object, object]:
        lanes = Lanes(store.corridor, store.clock, 64 * MIB)
        begins = [
            lambda settle: lanes.put(single, settle, 1),
            lambda settle: lanes.put_stores(stores_of(names, b""), settle),
        ]
        asked = begins if first == "single" else begins[::-1]
        try:
            told = await asyncio.gather(*map(settled, asked))
        finally:
            await asyncio.to_thread(lanes.close)
        alone, many = told if first == "single" else told[::-1]
        return alone, many

    with holdfast.open(":memory:") as store:
        alone, many = asyncio.run(ask())
        assert isinstance(alone, Receipt)
        assert isinstance(many, Sequence)
        assert {type(one) for one in many} == {Receipt}
        assert len(many) == BATCH_OPERATIONS


def test_of_a_commit_that_was_interrupted_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be stored: who is told so must not take it for refused."""

    def store_each(*_: object) -> None:
        raise ZeroDivisionError

    async def ask() -> object:
        lanes = Lanes(store.corridor, store.clock, MIB)
        try:
            return await settled(lambda s: lanes.put_stores(stores_of(["a", "b"]), s))
        finally:
            await asyncio.to_thread(lanes.close)

    with holdfast.open(":memory:") as store:
        monkeypatch.setattr(store.corridor, "store_each", store_each)
        told = asyncio.run(ask())
        assert isinstance(told, list)
        assert [type(one) for one in told] == [OutcomeUnknown, OutcomeUnknown]
