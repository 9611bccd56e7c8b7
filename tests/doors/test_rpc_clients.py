"""Clients that were generated from ``holdfast.proto`` alone do the tour, in Python and in Go."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.testing.serving import Serving
from holdfast.wire import protobuf
from tests.doors.generated import tour_in_go, tour_in_python

PROTO = Path(protobuf.__file__).with_name("holdfast.proto")
GO = Path(__file__).parent / "rpc_go"
PYTHON = """
import sys
import grpc, holdfast_pb2 as pb, holdfast_pb2_grpc as services

address, token = sys.argv[1:]
said = {"metadata": [("authorization", "Bearer " + token)], "timeout": 60}
with grpc.insecure_channel(address) as channel:
    store = services.HoldfastStub(channel)
    at = {"namespace": "tour", "key": "a"}
    receipt = store.Put(pb.StoreRequest(value=b"1", ttl_ns=10**15, **at), **said)
    assert store.Get(pb.LoadRequest(**at), **said).version == receipt.version
    assert store.Exists(pb.ExistsRequest(**at), **said).exists
    assert store.Append(pb.AppendRequest(value=b"2", **at), **said).size == 2
    assert store.Stat(pb.StatRequest(**at), **said).size == 2
    lease = store.Lock(pb.LockRequest(**at), **said)
    store.Renew(pb.RenewRequest(lock_id=lease.lock_id, **at), **said)
    store.Unlock(pb.UnlockRequest(lock_id=lease.lock_id, **at), **said)
    ids = pb.ConsumerIds(ids=[pb.ConsumerId(text="x")])
    store.Consumers(pb.ConsumersRequest(action="set", ids=ids, **at), **said)
    assert store.Consumers(pb.ConsumersRequest(action="list", **at), **said) == ids

    large = bytes(5 << 20)
    chunks = [pb.StoreChunk(begin=pb.StoreRequest(namespace="tour", key="large"))]
    chunks += [pb.StoreChunk(data=large[n : n + (1 << 20)]) for n in range(0, len(large), 1 << 20)]
    receipt = store.Store(iter([*chunks, pb.StoreChunk(end=pb.Done())]), **said)
    assert receipt.size == len(large)
    first, *rest = store.Load(pb.LoadRequest(namespace="tour", key="large"), **said)
    assert first.attributes.size == len(large)
    assert b"".join(chunk.data for chunk in rest) == large

    operations = [
        pb.Operation(store=pb.StoreRequest(key="b", value=b"2")),
        pb.Operation(load=pb.LoadRequest(key="b")),
        pb.Operation(delete=pb.DeleteRequest(key="none")),
    ]
    asked = pb.BatchRequest(namespace="tour", operations=operations)
    (answer,) = store.Batch(iter([asked]), **said)
    assert [one.WhichOneof("result") for one in answer.results] == ["store", "load", "problem"]
    (page,) = store.List(pb.ListRequest(namespace="tour"), **said)
    assert list(page.keys) == ["a", "b", "large"]
    assert store.Locate(pb.LocateRequest(**at), **said).bucket
    store.Delete(pb.DeleteRequest(**at), **said)
    try:
        store.Get(pb.LoadRequest(**at), **said)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
        assert ("holdfast-code", "not_found") in [tuple(one) for one in error.trailing_metadata()]
    else:
        raise AssertionError
print("done")
"""


def arguments(serving: Serving) -> list[str]:
    return [serving.rpc_url.removeprefix("grpc://"), serving.token("tour")]


@pytest.mark.push
def test_a_generated_client_does_the_tour(serving: Serving, tmp_path: Path) -> None:
    assert tour_in_python(PROTO, PYTHON, arguments(serving), tmp_path) == "done\n"


@pytest.mark.nightly
@pytest.mark.timeout(1_800)
def test_so_does_one_in_go(serving: Serving, tmp_path: Path) -> None:
    assert tour_in_go(PROTO, GO, arguments(serving), tmp_path) == "done\n"
