"""Plain writes over a network that loses answers: each is applied once, or is said to be unknown.

What the store holds is held against what the client was told: by versions, which each further
application would raise, and by appends and reference lists, which each would lengthen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple, SupportsIndex

import pytest

import holdfast
from holdfast.client.store import RemoteNamespace
from holdfast.clock import SystemClock
from holdfast.errors import Exists, HoldfastError, NotFound, VersionMismatch
from holdfast.testing.proxy import Proxy
from holdfast.testing.serving import Serving

pytestmark = [pytest.mark.push, pytest.mark.timeout(300)]
KEYS = ["a", "b", "c"]
STEPS = 40


class Quick(SystemClock):
    """Pauses are a tenth as long: what is tested is what is asked again, not when."""

    @staticmethod
    def sleep(seconds: SupportsIndex | float) -> None:
        SystemClock.sleep(float(seconds) / 10)


class Net(NamedTuple):
    """A store, and a network before its server."""

    store: holdfast.Store
    proxy: Proxy
    token: str


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    with (
        holdfast.open(":memory:", bucket_bytes=64 << 10) as store,
        Serving(store) as serving,
        Proxy(serving.url) as proxy,
    ):
        yield Net(store, proxy, serving.token())


class Story:
    """One seed's writes, each told to a model as the client was told of it.

    Args:
        ns: the namespace, through the network.
        inside: the same, in the store.
        chance: the seed's.
    """

    def __init__(self, ns: RemoteNamespace, inside: holdfast.Namespace, chance: Random) -> None:
        self.ns = ns
        self.inside = inside
        self.chance = chance
        self.values: dict[str, bytes] = {}
        self.versions: dict[str, int] = {}

    def step(self) -> None:
        steps: list[Callable[[str, bytes], None]] = [
            *(self.put, self.put_if, self.append, self.delete),
            *(self.consumers, self.lock, self.put_many),
        ]
        value = self.chance.randbytes(self.chance.choice((10, 2_000)))
        self.chance.choice(steps)(self.chance.choice(KEYS), value)

    def put(self, key: str, value: bytes) -> None:
        self.stored(key, value, self.ns.put(key, value).version)

    def put_if(self, key: str, value: bytes) -> None:
        known = self.versions.get(key)
        if known is None:
            receipt = self.ns.put(key, value, if_absent=True)
            with pytest.raises(Exists):
                self.ns.put(key, value, if_absent=True)
        else:
            receipt = self.ns.put(key, value, if_version=known)
            with pytest.raises(VersionMismatch):
                self.ns.put(key, b"", if_version=known)
        self.stored(key, value, receipt.version)

    def stored(self, key: str, value: bytes, version: int) -> None:
        self.values[key], self.versions[key] = value, version
        assert self.inside.stat(key).version == version

    def append(self, key: str, value: bytes) -> None:
        whole = self.values.get(key, b"") + value
        assert self.ns.append(key, value) == len(whole)
        self.stored(key, whole, self.inside.stat(key).version)

    def delete(self, key: str, value: bytes) -> None:
        del value
        if key in self.values:
            self.ns.delete(key)
            del self.values[key], self.versions[key]
        else:
            with pytest.raises(NotFound):
                self.ns.delete(key)

    def consumers(self, key: str, value: bytes) -> None:
        if key not in self.values:
            self.put(key, value)
        ids = self.ns.consumers(key)
        before = ids.list()
        ids.append(["one", "two"])
        assert ids.list() == [*before, "one", "two"]
        assert ids.remove(["one", "three"]) == ["three"]
        ids.set(before)
        self.versions[key] = self.inside.stat(key).version

    def lock(self, key: str, value: bytes) -> None:
        if key not in self.values:
            self.put(key, value)
        with self.ns.lock(key) as held:
            self.stored(key, value, self.ns.put(key, value, fence=held.fence).version)
        self.ns.lock(key).release()

    def put_many(self, key: str, value: bytes) -> None:
        del key
        atomic = self.chance.random() < 1 / 2
        for receipt in self.ns.put_many(dict.fromkeys(KEYS, value), atomic=atomic):
            self.stored(receipt.key, value, receipt.version)


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_every_write_is_applied_once(net: Net, seed: int, direct: bool) -> None:  # noqa: FBT001
    tell(net, seed, direct=direct)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 140))
def test_every_write_is_applied_once_for_many_seeds(net: Net, seed: int) -> None:
    tell(net, seed, direct=seed % 2 == 0)


def tell(net: Net, seed: int, *, direct: bool) -> None:
    chance = Random(seed)
    name = f"seed-{seed}-{direct}"
    with holdfast.connect(
        net.proxy.url, token=net.token, direct=direct, timeout=60, clock=Quick()
    ) as remote:
        story = Story(remote.namespace(name), net.store.namespace(name), chance)
        for _ in range(STEPS):
            net.proxy.lose_answers(chance.choice((0, 0, 0, 1, 2)))
            if chance.random() < 1 / 20:
                net.proxy.cut()
            story.step()
        net.proxy.lose_answers(0)
        assert {key: story.inside.get(key) for key in story.inside.list()} == story.values


def test_many_tasks_at_once_write_each_once(net: Net) -> None:
    """More than a session has numbers: others are begun beside it."""
    inside = net.store.namespace("tasks")

    async def run() -> list[int]:
        async with holdfast.aconnect(
            net.proxy.url, token=net.token, clock=Quick(), timeout=300
        ) as remote:
            ns = remote.namespace("tasks")

            async def add(number: int) -> int:
                if number % 97 == 0:
                    net.proxy.lose_answers(2)
                return await ns.append(f"k{number % 50}", b"x")

            return await asyncio.gather(*(add(number) for number in range(1_200)))

    sizes = asyncio.run(run())
    assert sorted(sizes) == sorted(list(range(1, 25)) * 50)
    assert all(inside.get(f"k{number}") == b"x" * 24 for number in range(50))


@pytest.mark.parametrize("direct", [False, True])
def test_a_large_value_is_stored_once(net: Net, direct: bool) -> None:  # noqa: FBT001
    """Its parts are new with each try; the object that they make appears once."""
    inside = net.store.namespace(f"large-{direct}")
    with holdfast.connect(
        net.proxy.url, token=net.token, direct=direct, timeout=60, clock=Quick()
    ) as remote:
        ns = remote.namespace(inside.name)
        for number in range(3):
            net.proxy.lose_answers(2)
            value = Random(number).randbytes(3_000_000)
            receipt = ns.put("large", value, if_absent=number == 0)
            assert inside.stat("large").version == receipt.version
            assert inside.get("large") == value
            net.proxy.lose_answers(1)
            assert ns.append("large", b"more") == 3_000_004


def test_a_caller_with_few_rights_writes_as_it_may(net: Net) -> None:
    with holdfast.connect(net.proxy.url, token=None, timeout=60) as nobody:
        with pytest.raises(HoldfastError) as caught:
            nobody.namespace("acme").put("a", b"1")
        assert caught.value.code == "unauthenticated"
