"""Batches of one plain verb go a short way: they answer what the long way answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

import holdfast
from holdfast.bucket.read import NOW_BYTES
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.engines.disk import OsDisk
from holdfast.server import plain_batches
from holdfast.server.plain_batches import AT_ONCE, AT_ONCE_BYTES
from holdfast.store.opening import open_on
from holdfast.store.store import Store
from holdfast.testing.disk import CountingDisk
from holdfast.testing.serving import Serving
from holdfast.values import Grant
from tests.rooms.server.conftest import Serve
from tests.rooms.server.raw import Raw, Told

Dial = Callable[[Serving], Raw]
Operation = tuple[str, str, dict[str, object] | None]
SPACE = "/v1/namespaces/acme"
LONG_WAY: Operation = ("exists", "-", None)  # with it a batch is not of one verb
SIZES = (0, 1, 100, 5_000, NOW_BYTES, NOW_BYTES + 1, 1 << 20, (1 << 20) + 1)
KEYS = [*"abcdefgh", "ä/\x00", "k" * 480, "k" * 1_024, "nothing"]
WRONG = ("", "k" * 1_025)


@pytest.fixture
def raw(serve: Serve, connect: Dial) -> Raw:
    return connect(serve())


def asked(raw: Raw, operations: list[Operation], **headers: str) -> Told:
    body = msgspec.msgpack.encode({"operations": operations})
    return raw.ask("POST", f"{SPACE}/batch", body, **headers)


def results(answer: Told) -> list[list[Any]]:
    assert answer.status == 200, answer
    told: list[list[Any]] = msgspec.msgpack.decode(answer.body)
    return told


def filled(store: Store, seed: int) -> None:
    """Objects of every kind under the keys but the last: whole, appended to, expired, large."""
    chance, space = Random(seed), store.namespace("acme")
    for key in KEYS[:-1]:
        for _ in range(chance.randrange(3)):
            space.put(key, chance.randbytes(chance.choice(SIZES)))
        match chance.randrange(5):
            case 0:
                space.append(key, b"more")
            case 1:
                space.put(key, b"gone", ttl="1ns")
            case 2:
                space.delete(key, missing_ok=True)


def some_loads(chance: Random) -> list[Operation]:
    keys = [*KEYS, *WRONG] if chance.random() < 0.2 else KEYS
    return [("load", chance.choice(keys), None) for _ in range(chance.randrange(1, 30))]


def some_stores(chance: Random) -> list[Operation]:
    keys = [*KEYS, *WRONG] if chance.random() < 0.2 else KEYS
    sizes = SIZES if chance.random() < 0.2 else SIZES[:4]
    values = (bytes(chance.choice(sizes)) for _ in range(chance.randrange(1, 30)))
    return [("store", chance.choice(keys), {"value": value}) for value in values]


def bare(told: list[list[Any]]) -> list[list[Any]]:
    """Results without the names of buckets, and without versions: upkeep takes some too."""
    for _, result in told:
        if isinstance(result, dict):
            result.pop("bucket", None)
            result.pop("version", None)
    return told


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Batches that were found to be plain."""
    seen: list[object] = []
    made = plain_batches.Plain.__init__

    def note(self: plain_batches.Plain, *arguments: Any) -> None:  # noqa: ANN401 - the class's
        seen.append(self)
        made(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(plain_batches.Plain, "__init__", note)
        yield seen


@pytest.mark.parametrize("seed", range(3))
def test_loads_are_those_of_the_long_way(
    raw: Raw, store: Store, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(store, seed)
    chance = Random(seed)
    with counted(monkeypatch) as plain:
        for _ in range(20):
            operations = some_loads(chance)
            long_way = results(asked(raw, [*operations, LONG_WAY]))
            assert results(asked(raw, operations)) == long_way[:-1]
        assert plain


@pytest.mark.parametrize("seed", range(2))
def test_loads_that_wait_for_the_disk_are_those_of_the_long_way(
    tmp_path: Path, connect: Dial, seed: int
) -> None:
    disk = CountingDisk(OsDisk())  # around which nothing can be had at once
    with open_on(
        *(disk, str(tmp_path / "s")),
        in_place=False,
        sync="never",
        bucket_bytes=1 << 20,
        clock=SystemClock(),
        entropy=SystemEntropy(),
    ) as store:
        filled(store, seed)
        store.namespace("acme").put_many({f"more/{n}": bytes(30_000) for n in range(90)})
        with Serving(store) as serving:
            raw, chance = connect(serving), Random(seed)
            for _ in range(5):
                operations = some_loads(chance)
                long_way = results(asked(raw, [*operations, LONG_WAY]))
                assert results(asked(raw, operations)) == long_way[:-1]
            many: list[Operation] = [("load", f"more/{n % 95}", None) for n in range(2 * AT_ONCE)]
            long_way = results(asked(raw, [*many, LONG_WAY]))
            assert results(asked(raw, many)) == long_way[:-1]


@pytest.mark.parametrize("seed", range(3))
def test_stores_are_those_of_the_long_way(connect: Dial, seed: int) -> None:
    chance = Random(seed)
    batches = [some_stores(chance) for _ in range(10)]
    seen = []
    for way in ([], [LONG_WAY]):
        with holdfast.open(":memory:") as store, Serving(store) as serving:
            raw = connect(serving)
            told = [results(asked(raw, [*batch, *way])) for batch in batches]
            told = [one[:-1] if way else one for one in told]
            space = store.namespace("acme")
            seen.append((list(map(bare, told)), {key: space.get(key) for key in space.list()}))
    assert seen[0] == seen[1]


def test_a_large_answer_is_made_on_a_thread(raw: Raw, store: Store) -> None:
    value = bytes(AT_ONCE_BYTES // 8)
    store.namespace("acme").put_many({str(n): value for n in range(9)})
    told = results(asked(raw, [("load", str(n), None) for n in range(9)]))
    assert told == [[0, value]] * 9


def test_a_narrow_right_is_held_against_each_key(
    serve: Serve, connect: Dial, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.namespace("acme").put_many({"in/a": b"1", "out": b"2"})
    serving = serve()
    raw = connect(serving)
    raw.token = serving.token("acme", ("read",), prefix="in/")
    with counted(monkeypatch) as plain:
        told = results(asked(raw, [("load", "in/a", None), ("load", "out", None)]))
        assert not plain
    assert [flag for flag, _ in told] == [0, 1]
    assert told[1][1]["code"] == "forbidden"
    refused = results(asked(raw, [("store", "in/a", {"value": b"x"})]))
    assert refused[0][1]["code"] == "forbidden"


def test_a_batch_past_its_deadline_is_not_begun(raw: Raw, store: Store) -> None:
    begun: list[Operation] = [("load", "a", None), ("store", "a", {"value": b"1"})]
    for operation in begun:
        late = asked(raw, [operation], Holdfast_Timeout="0")
        assert (late.status, json.loads(late.body)["code"]) == (504, "deadline_exceeded")
    assert not store.namespace("acme").exists("a")


@pytest.mark.parametrize("way", [[], [LONG_WAY]])
def test_what_a_batch_reads_and_writes_is_charged(
    raw: Raw, store: Store, way: list[Operation]
) -> None:
    acme = store.namespace("acme")
    store.accounts.deposit("acme", 10**18, "invoice 1")
    acme.configure(tariff="enclave")
    for _ in range(6_000):  # until the server has taken note
        store.tick(1)
        if "holdfast-balance" in raw.ask("GET", f"{SPACE}/exists/k").headers:
            break
        store.clock.sleep(0.01)
    extra = int(raw.ask("GET", f"{SPACE}/exists/-").headers["holdfast-cost"]) if way else 0
    stores: list[Operation] = [("store", key, {"value": b"v" * 99}) for key in "ab"]
    stored = asked(raw, [*stores, *way])
    receipts = [result for _, result in results(stored)[:2]]
    assert int(stored.headers["holdfast-cost"]) - extra == sum(r["cost_atto"] for r in receipts) > 0
    one = int(raw.ask("GET", f"{SPACE}/objects/a").headers["holdfast-cost"])
    assert one > 0
    loads: list[Operation] = [("load", key, None) for key in ("a", "b", "nothing")]
    before = acme.usage()
    loaded = asked(raw, [*loads, *way])
    assert int(loaded.headers["holdfast-cost"]) - extra == 2 * one
    after = acme.usage()
    assert after.requests["C"] - before.requests["C"] == 2 + len(way)
    assert after.egress_bytes - before.egress_bytes == 2 * 99


def test_of_a_batch_of_loads_each_is_held_against_the_rights(raw: Raw, store: Store) -> None:
    store.namespace("acme").put_many({"a/1": b"1", "a/2": b"2", "b/1": b"3"})
    raw.token = store.tokens.issue("some", [Grant("acme", ("read",), prefix="a/")], ttl_s=600)
    told = results(asked(raw, [("load", key, None) for key in ("a/2", "b/1", "a/3", "a/1", "")]))
    assert [one[0] for one in told] == [0, 1, 1, 0, 1]
    assert [told[0][1], told[3][1]] == [b"2", b"1"]
    codes = [told[at][1]["code"] for at in (1, 2, 4)]
    assert codes == ["forbidden", "not_found", "forbidden"]
