"""One call is one charge, rounded up once, however many buckets and records it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from holdfast import connect, operations
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import LimitExceeded
from holdfast.server.enclave import names_of
from holdfast.store.namespace import Namespace
from holdfast.store.opening import open_on
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.serving import Serving
from holdfast.wire.enclave import Listed
from holdfast.wire.protobuf.words import CLASSES
from tests.rooms.server.rpc_client import Caller

SECOND_NS = 1_000_000_000
USD = 10**18
A, C = 10_000, 1_000
TOML = f'operation = {C}\nstorage = "1/1000000007"\negress = "7/1009"\nearly_delete = "1/5"'
VALUE = b"v" * 200
KEYS = [f"{index:04}" for index in range(1_200)]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Iterator[Store]:
    disk, entropy = MemoryDisk(), SeededEntropy(3)
    with open_on(disk, "s", bucket_bytes=1 << 16, clock=clock, entropy=entropy) as opened:
        yield opened


def metered(store: Store) -> Namespace:
    store.tariffs.set("odd", TOML)
    store.accounts.deposit("acme", USD, "invoice 1")
    acme = store.namespace("acme")
    acme.configure(tariff="odd")
    return acme


def sent(size_bytes: int) -> int:
    return -(-size_bytes * 7 // 1009)


@pytest.fixture
def acme(store: Store) -> Namespace:
    made = metered(store)
    made.put_many((key, VALUE) for key in KEYS)
    assert len(list(store.placement.directory)) > 3
    return made


def cost(space: Namespace, work: Callable[[], object]) -> int:
    """What work costs: the bill says what is charged."""
    before = space.usage()
    with space.bill() as bill:
        work()
    after = space.usage()
    assert after.cost_atto - before.cost_atto == bill.cost_atto
    return bill.cost_atto


def test_a_list_is_one_charge_however_many_buckets_it_is_of(acme: Namespace) -> None:
    for limit in (1, 7, 300, 1_000, 1_150, None):
        names = KEYS[:limit]
        told = 4 * len(names)
        expected = A + sent(told)
        assert cost(acme, partial(list, acme.list(limit=limit))) == expected
        assert cost(acme, partial(list, acme.entries(limit=limit))) == expected
        assert acme.quote("list", size_bytes=told).atto == expected


def test_a_list_that_is_given_up_pays_for_the_pages_that_were_read(acme: Namespace) -> None:
    paid = cost(acme, lambda: next(acme.list()))
    assert A < paid < A + sent(4 * len(KEYS))


def test_a_list_of_one_level_sends_its_own_names_alone(acme: Namespace) -> None:
    acme.put_many((f"{d}/{i:03}", b"") for d in "abc" for i in range(50))
    expected = A + sent(len("a/") + len("b/"))
    assert cost(acme, lambda: list(acme.list(recursive=False, after="a", limit=2))) == expected


def test_what_an_append_stores_is_rounded_once(store: Store, clock: ManualClock) -> None:
    acme = metered(store)
    acme.put("k", b"v", ttl=3_600)
    clock.advance(SECOND_NS // 2)
    for size in (1, 1 << 20, 3 << 20, (5 << 20) + 1):
        quoted = acme.quote("append", key="k", size_bytes=size)
        assert quoted.storage_atto == -(-size * 3_600 // 1_000_000_007)
        assert cost(acme, partial(acme.append, "k", bytes(size))) == quoted.atto
    two = [operations.Append(b"acme\0k", "k", bytes(9)) for _ in range(2)]
    assert cost(acme, partial(store.corridor.write_many, two)) == 2 * (C + 1)


@pytest.mark.usefixtures("acme")
def test_a_list_over_a_wire_is_one_charge(store: Store) -> None:
    with Serving(store, grpc_port=0) as serving:
        for url in (serving.url, serving.rpc_url):
            with connect(url, token=serving.token()) as remote:
                there = remote.namespace("acme")
                for limit in (7, 300, 1_000):
                    with there.bill() as bill:
                        assert list(there.list(limit=limit)) == KEYS[:limit]
                    assert bill.cost_atto == A + sent(4 * limit)


def test_a_stream_of_pages_is_one_list(acme: Namespace, store: Store) -> None:
    with Serving(store, grpc_port=0) as serving:
        caller = Caller(serving.rpc_url, serving.token())
        before = acme.usage()
        stream = caller.method("List")(
            CLASSES["ListRequest"](namespace="acme"), metadata=caller.metadata, timeout=20
        )
        assert [key for page in stream for key in page.keys] == KEYS
        told = int(dict(stream.trailing_metadata())["holdfast-cost"])
        after = acme.usage()
        caller.channel.close()
    assert told == after.cost_atto - before.cost_atto == A + sent(4 * len(KEYS))


def test_a_list_that_the_enclave_api_refuses_costs_nothing(
    acme: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Listed(is_recursive=True)
    monkeypatch.setattr("holdfast.server.enclave.ENCLAVE_LIST", len(KEYS))
    assert names_of(acme, asked) == KEYS
    assert cost(acme, lambda: names_of(acme, asked)) == A + sent(4 * len(KEYS))
    monkeypatch.setattr("holdfast.server.enclave.ENCLAVE_LIST", len(KEYS) - 1)
    before = acme.usage()
    with acme.bill() as bill, pytest.raises(LimitExceeded):
        names_of(acme, asked)
    assert bill.cost_atto == 0
    assert acme.usage() == before


def test_the_enclave_api_sends_no_more_than_it_tells(acme: Namespace) -> None:
    for limit in (2, 1_100):
        asked = Listed(is_recursive=True, limit=limit)
        assert cost(acme, partial(names_of, acme, asked)) == A + sent(4 * limit)
    acme.put("d/", b"")
    acme.put("d/one", b"")
    acme.put("d/two/three", b"")
    asked = Listed(prefix="d", is_recursive=False)
    assert names_of(acme, asked) == ["d/one", "d/two"]
    assert cost(acme, lambda: names_of(acme, asked)) == A + sent(len("d/one" + "d/two/"))
