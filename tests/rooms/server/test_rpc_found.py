"""Searches, proofs and balances over gRPC, to a caller that knows the schema alone."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import msgspec
import pytest

import holdfast
from holdfast.testing.serving import Serving
from holdfast.wire.proofs import Answered
from holdfast.wire.protobuf.found import answered_of
from tests.rooms.server.rpc_client import Caller, Said, problem, say, served

NOTED_S = 60
MIB = 1 << 20


@pytest.fixture
def both() -> Iterator[tuple[Serving, Caller]]:
    with served() as both:
        yield both


def proved(caller: Caller, **fields: object) -> Answered:
    request = say("ProofRequest", **fields)
    return answered_of(caller.method("Proofs")(request, metadata=caller.metadata, timeout=60))


def _answer(caller: Caller, method: str, request: Said) -> None:
    answered = caller.method(method)(request, metadata=caller.metadata, timeout=60)
    if method == "Proofs":
        list(answered)


def refused(caller: Caller, method: str, request: Said) -> str:
    with pytest.raises(grpc.RpcError) as told:
        _answer(caller, method, request)
    return str(problem(told.value)["code"])


def test_parts_and_lists_are_proved(both: tuple[Serving, Caller]) -> None:
    serving, caller = both
    acme, key = serving.store.namespace("acme"), serving.store.public_key()
    value = bytes(range(256)) * (5 * MIB // 256)
    acme.put("large", value)
    acme.put("small", b"s")
    whole = proved(caller, namespace="acme", key="large")
    assert whole.value == value
    assert holdfast.verify("acme", "large", value, whole.proof, public_key=key).size == 5 * MIB
    parts = proved(caller, namespace="acme", key="large", start=MIB + 1, stop=2 * MIB + 1)
    assert (parts.first, parts.value, len(parts.paths)) == (1, value[MIB : 3 * MIB], 2)
    assert proved(caller, namespace="acme", key="small", without_value=True).value is None
    absent = proved(caller, namespace="acme", key="none", sealed=True)
    assert holdfast.verify("acme", "none", None, absent.proof, public_key=key).size is None
    page = proved(caller, namespace="acme", prefix="", limit=1)
    assert page.next == "large"
    rest = proved(caller, namespace="acme", prefix="", after="large", limit=1, since=0)
    assert rest.proof != page.proof


def test_proofs_that_cannot_be_are_refused_by_name(both: tuple[Serving, Caller]) -> None:
    _, caller = both
    for fields in (
        {"key": "k", "start": 1},
        {"key": "k", "start": 2, "stop": 2},
        {"start": 0, "stop": 1},
        {"limit": 0},
    ):
        request = say("ProofRequest", namespace="acme", **fields)
        assert refused(caller, "Proofs", request) == "invalid_value"
    request = say("ProofRequest", namespace="acme", key="")
    assert refused(caller, "Proofs", request) == "invalid_key"


def test_a_search_without_a_right_or_a_sense_is_refused(both: tuple[Serving, Caller]) -> None:
    serving, caller = both
    serving.store.namespace("acme").put("a/1", b"fox", index=True)
    found = caller.ask("Search", namespace="acme", query="fox", fresh=True)
    assert [hit.key for hit in found.hits] == ["a/1"]
    request = say("SearchRequest", namespace="acme", query="fox AND (")
    assert refused(caller, "Search", request) == "invalid_query"
    request = say("SearchRequest", namespace="acme", query="fox", facets=["a,b"])
    assert refused(caller, "Search", request) == "invalid_value"
    few = Caller(serving.rpc_url, serving.token("acme", ("read",), prefix="a/"))
    try:
        assert few.ask("Search", namespace="acme", query="fox", prefix="a/").total == 1
        request = say("SearchRequest", namespace="acme", query="fox")
        assert refused(few, "Search", request) == "forbidden"
    finally:
        few.close()


def test_all_namespaces_are_searched_in_the_words_of_http(both: tuple[Serving, Caller]) -> None:
    serving, caller = both
    for name in ("acme", "beta"):
        serving.store.namespace(name).put("k", b"fox", index=True)
    told = caller.ask("Administer", method="GET", path="/v1/search?query=fox")
    assert (told.status, msgspec.json.decode(told.body)["total"]) == (200, 2)


def noted(caller: Caller, store: holdfast.Store) -> dict[str, str]:
    """Trailers of a read, once the server has taken note of what is metered."""
    for _ in range(NOTED_S * 100):
        store.tick(1)
        trailers = caller.trailers("Exists", namespace="acme", key="k")
        if "holdfast-balance" in trailers:
            return trailers
        store.clock.sleep(0.01)
    raise AssertionError("nothing is metered")


def test_a_namespace_that_pays_is_told_what_is_left(both: tuple[Serving, Caller]) -> None:
    serving, caller = both
    store = serving.store
    store.accounts.deposit("acme", 10**18, "invoice 1")
    store.namespace("acme").configure(tariff="enclave")
    trailers = noted(caller, store)
    assert 0 < int(trailers["holdfast-balance"]) <= 10**18
    assert "holdfast-balance" not in caller.trailers("Exists", namespace="free", key="k")
    request = say("LoadRequest", namespace="acme", key="none")
    with pytest.raises(grpc.RpcError) as told:
        caller.method("Get")(request, metadata=caller.metadata, timeout=60)
    assert "holdfast-balance" in dict(told.value.trailing_metadata())
    operations = [
        say("Operation", store=say("StoreRequest", key=key, value=b"v")) for key in ("a", "b")
    ]
    batch = say("BatchRequest", namespace="acme", operations=operations)
    stream = caller.method("Batch")(iter([batch] * 3), metadata=caller.metadata, timeout=60)
    costs = [int(one.store.cost_atto) for reply in stream for one in reply.results]
    ended = dict(stream.trailing_metadata())
    assert len(costs) == 6
    assert int(ended["holdfast-cost"]) == sum(costs) > 0
    assert "holdfast-balance" in ended
    absent = say("StoreRequest", key="a", value=b"v", if_absent=True)
    batch = say(
        "BatchRequest", namespace="acme", atomic=True, operations=[say("Operation", store=absent)]
    )
    stream = caller.method("Batch")(iter([batch]), metadata=caller.metadata, timeout=60)
    with pytest.raises(grpc.RpcError):
        list(stream)
    assert "holdfast-balance" in dict(stream.trailing_metadata())
