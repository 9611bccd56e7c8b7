"""A client over gRPC: what is lost on the way, TLS, several processes; the suite has the rest."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import (
    Forbidden,
    InvalidValue,
    LimitExceeded,
    OutcomeUnknown,
    Unauthenticated,
    Unavailable,
)
from holdfast.testing.clock import ManualClock
from holdfast.testing.proxy import Proxy
from holdfast.testing.serving import Serving
from tests.doors.test_client import authority
from tests.doors.test_workers import filled, serving

pytestmark = [pytest.mark.push, pytest.mark.timeout(120)]
MIB = 1 << 20
__all__ = ["filled"]


def http(url: str) -> str:
    return url.replace("grpc:", "http:")


def rpc(url: str) -> str:
    return url.replace("http:", "grpc:")


@pytest.fixture
def served() -> Iterator[Serving]:
    with holdfast.open(":memory:") as store, Serving(store, grpc_port=0) as told:
        yield told


def test_a_write_whose_answer_is_lost_is_asked_again_and_applied_once(served: Serving) -> None:
    with (
        Proxy(http(served.rpc_url)) as proxy,
        holdfast.connect(rpc(proxy.url), token=served.token(), timeout=60) as remote,
    ):
        ns = remote.namespace("acme")
        ns.put("warm", b"1")
        proxy.lose_answers(2)
        assert ns.append("log", b"x") == 1
        proxy.lose_answers(1)
        assert ns.get("log") == b"x"
        proxy.lose_answers(1)
        ns.put_many({"a": b"1", "b": b"2"})
        assert ns.get_many(["a", "b", "c"]) == [b"1", b"2", None]


def test_a_write_that_is_never_answered_may_have_happened_and_says_so(served: Serving) -> None:
    with (
        Proxy(http(served.rpc_url)) as proxy,
        holdfast.connect(
            rpc(proxy.url), token=served.token(), timeout=60, clock=ManualClock()
        ) as hasty,
    ):
        ns = hasty.namespace("acme")
        ns.put("warm", b"1")
        proxy.lose_answers(1_000)
        with pytest.raises((OutcomeUnknown, Unavailable)):
            ns.append("log", b"x")
    assert served.store.namespace("acme").get("warm") == b"1"


def test_a_server_that_is_not_there_did_nothing() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"grpc://127.0.0.1:{taken.getsockname()[1]}"
        with (
            holdfast.connect(url, token="x", clock=ManualClock()) as store,  # noqa: S106 - none
            pytest.raises(Unavailable),
        ):
            store.namespace("acme").put("a", b"1")


def test_a_server_that_is_slow_to_greet_is_there(served: Serving) -> None:
    """A connection is given up after five seconds, not when it may be tried again: here at once."""
    with (
        Proxy(http(served.rpc_url)) as proxy,
        holdfast.connect(rpc(proxy.url), token=served.token(), clock=ManualClock()) as store,
    ):
        proxy.delay_s = 0.3
        ns = store.namespace("acme")
        ns.put("a", b"1")
        assert ns.get("a") == b"1"


def test_under_tls_the_server_is_held_to_its_name(tmp_path: Path) -> None:
    cert, key = authority(tmp_path)
    with (
        holdfast.open(":memory:") as store,
        Serving(store, grpc_port=0, tls_cert=str(cert), tls_key=str(key)) as served,
    ):
        token = served.token()
        assert served.rpc_url.startswith("grpcs://")
        with holdfast.connect(served.rpc_url, token=token, ca=cert) as remote:
            remote.namespace("acme").put("a", b"1")
            assert remote.namespace("acme").get("a") == b"1"
        with (
            holdfast.connect(served.rpc_url, token=token, clock=ManualClock()) as trusting,
            pytest.raises(Unavailable),
        ):
            trusting.namespace("acme").get("a")


def test_rights_and_limits_are_told_as_over_http(served: Serving) -> None:
    with holdfast.connect(served.rpc_url) as nobody, pytest.raises(Unauthenticated):
        nobody.namespace("acme").get("a")
    with holdfast.connect(served.rpc_url, token=served.token("acme", ["read"])) as reader:
        with pytest.raises(Forbidden):
            reader.namespace("acme").put("a", b"1")
        with pytest.raises(Forbidden):
            reader.status()
    with holdfast.connect(served.rpc_url, token=served.token()) as store:
        with pytest.raises(LimitExceeded):
            store.namespace("acme").put_many({f"{n}": bytes(MIB) for n in range(70)}, atomic=True)
        store.namespace("acme").put_many({f"{n}": bytes(MIB) for n in range(9)}, atomic=True)
        assert store.namespace("acme").get("8") == bytes(MIB)
        with pytest.raises(LimitExceeded) as told:  # an append is one message
            store.namespace("acme").append("8", bytes(4 * MIB))
        assert (told.value.effect, told.value.facts["limit"]) == ("none", "RPC_MESSAGE_BYTES")
        assert store.namespace("acme").append("8", bytes(4 * MIB - (8 << 10))) == 5 * MIB - (
            8 << 10
        )


def test_what_only_http_has_is_refused_by_name() -> None:
    for url in ("grpc://127.0.0.1", "grpc://127.0.0.1:1/path", "grpc://"):
        with pytest.raises(InvalidValue):
            holdfast.connect(url)
    with pytest.raises(InvalidValue) as told:
        holdfast.connect("grpc://127.0.0.1:1", direct=True)
    assert told.value.facts["argument"] == "direct"


def test_every_process_serves_the_one_port(filled: tuple[Path, dict[str, bytes]]) -> None:
    folder, values = filled
    with socket.socket() as held:  # nobody else is given the port; who shares it may listen
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        url = f"grpc://127.0.0.1:{port}"
        with (
            serving(folder, 2, "--grpc-port", str(port)) as several,
            holdfast.connect(url, token=several.token) as store,
        ):
            ns = store.namespace("acme")
            assert list(ns.list()) == sorted(values)
            for key in sorted(values)[::60]:
                assert ns.get(key) == values[key]
                ns.put(key, b"new")
                assert ns.get(key) == b"new"
