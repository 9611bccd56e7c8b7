"""The client of an enclave: the face of a store, with sessions in place of a token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import holdfast
from holdfast.client.enclave import Enclave
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.errors import (
    AttestationInvalid,
    Forbidden,
    InvalidValue,
    LimitExceeded,
    NotFound,
    Unavailable,
)
from holdfast.identity.enclaves import AttestationSettings
from holdfast.store.store import Store
from holdfast.testing.authority import MockAuthority, image
from holdfast.testing.clock import ManualClock
from holdfast.testing.proxy import Proxy
from holdfast.testing.serving import Serving

CLOCK = SystemClock()
AUTHORITY = MockAuthority(SystemEntropy(), now_ns=CLOCK.wall_ns())
SETTINGS = AttestationSettings(roots=(AUTHORITY.pem,))


def attest(number: int) -> Callable[[bytes, bytes], bytes]:
    """The security module of an image."""

    def document(nonce: bytes, public_key: bytes) -> bytes:
        pcrs = image(number)
        return AUTHORITY.document(CLOCK.wall_ns(), pcrs=pcrs, nonce=nonce, public_key=public_key)

    return document


@pytest.fixture
def store() -> Iterator[Store]:
    with holdfast.open(":memory:", in_place=False) as opened:
        yield opened


@pytest.fixture
def serving(store: Store) -> Iterator[Serving]:
    with Serving(store, attestation=SETTINGS) as started:
        yield started


def test_it_is_the_face_of_a_store(serving: Serving, store: Store) -> None:
    enclave = Enclave(attest(1))
    with holdfast.connect(serving.url, enclave=enclave) as remote:
        ns = remote.namespace(enclave.namespace)
        receipt = ns.put("a/ä", b"\xff", ttl="1h")
        assert ns.get("a/ä") == b"\xff"
        assert ns.stat("a/ä").version == receipt.version
        assert ns.append("a/b", b"1") == 1
        ns.put_many([(f"k{number}", b"v") for number in range(10)])
        assert len(list(ns.list())) == 12
        with ns.lock("a/ä") as lock:
            ns.put("a/ä", b"2", fence=lock.fence)
        ns.delete("k1")
        with pytest.raises(NotFound):
            ns.get("k1")
        ns.put_soon("soon", b"3")
        assert remote.flush() == []
        assert ns.get("soon") == b"3"
        assert remote.namespaces() == [enclave.namespace]
    assert store.namespaces() == [enclave.image_id]


def test_many_at_once_have_a_session_each(serving: Serving) -> None:
    enclave = Enclave(attest(1))
    with holdfast.connect(serving.url, enclave=enclave) as remote:
        ns = remote.namespace(enclave.namespace)

        def work(number: int) -> bytes:
            for turn in range(20):
                ns.put(f"{number}/{turn}", b"%d" % turn)
            return ns.get(f"{number}/19")

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(work, range(16))) == [b"19"] * 16
        assert len(list(ns.list())) == 320
    assert 1 <= len(serving.server.enclaves.sessions) <= 16


def test_async_too(serving: Serving) -> None:
    enclave = Enclave(attest(1))

    async def run() -> list[bytes]:
        async with holdfast.aconnect(serving.url, enclave=enclave) as remote:
            ns = remote.namespace(enclave.namespace)
            await asyncio.gather(*(ns.put(f"k{number}", b"v") for number in range(30)))
            return list(await asyncio.gather(*(ns.get(f"k{number}") for number in range(30))))

    assert asyncio.run(run()) == [b"v"] * 30


def test_a_server_that_forgot_its_sessions_is_asked_again(store: Store) -> None:
    enclave = Enclave(attest(1))
    with (
        Serving(store, attestation=SETTINGS) as first,
        Proxy(first.url) as proxy,
        holdfast.connect(proxy.url, enclave=enclave, timeout=60) as remote,
        Serving(store, attestation=SETTINGS) as second,
    ):
        ns = remote.namespace(enclave.namespace)
        ns.put("a", b"1")
        proxy.retarget(second.url)
        proxy.cut()
        ns.put("a", b"2")
        assert ns.get("a") == b"2"


def test_a_namespace_that_was_handed_over(serving: Serving) -> None:
    old, new = Enclave(attest(1)), Enclave(attest(2))
    taking = Enclave(attest(2), namespace=old.image_id)
    with holdfast.connect(serving.url, enclave=old) as remote:
        ns = remote.namespace(old.namespace)
        ns.put("state", b"precious")
        with holdfast.connect(serving.url, enclave=taking) as early, pytest.raises(Forbidden):
            early.namespace(old.image_id).get("state")
        caller = next(iter(serving.server.enclaves.sessions._open.values())).principal
        serving.server.enclaves.hand_over(caller, new.image_id)
        with pytest.raises(Forbidden):
            ns.get("state")
    with holdfast.connect(serving.url, enclave=taking) as remote:
        assert remote.namespace(taking.namespace).get("state") == b"precious"


def test_what_does_not_verify_is_told_as_it_is(serving: Serving) -> None:
    other = MockAuthority(SystemEntropy(), now_ns=CLOCK.wall_ns())

    def document(nonce: bytes, public_key: bytes) -> bytes:
        return other.document(CLOCK.wall_ns(), nonce=nonce, public_key=public_key)

    with holdfast.connect(serving.url, enclave=Enclave(document)) as remote:
        with pytest.raises(AttestationInvalid) as caught:
            remote.namespace("acme").get("a")
        assert caught.value.reason == "root"


def test_where_nobody_listens_nothing_was_done() -> None:
    enclave, clock = Enclave(attest(1)), ManualClock()
    remote = holdfast.connect("http://127.0.0.1:1", enclave=enclave, clock=clock)
    with remote, pytest.raises(Unavailable):
        remote.namespace("acme").put("a", b"1")


def test_what_cannot_be_marked_is_refused(serving: Serving) -> None:
    enclave = Enclave(attest(1))
    with holdfast.connect(serving.url, enclave=enclave) as remote:
        ns = remote.namespace(enclave.namespace)
        with pytest.raises(LimitExceeded):
            ns.put("a", bytes((1 << 20) + 1))
        with pytest.raises(InvalidValue), ns.open("a", "wb") as file:
            file.write(bytes(1 << 21))
        ns.put("a", bytes(1 << 20))
        assert len(ns.get("a")) == 1 << 20
    with pytest.raises(InvalidValue):
        holdfast.connect(serving.url, token="t", enclave=enclave)  # noqa: S106 - no secret
