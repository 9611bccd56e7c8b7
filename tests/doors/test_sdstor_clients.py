"""0-stor's clients: generated from the ``.proto`` alone, and in front of several processes."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import requests

import holdfast
from holdfast.testing.serving import Serving
from holdfast.wire import zstor
from tests.doors.generated import tour_in_go, tour_in_python
from tests.doors.test_workers import SMALL
from tests.doors.test_workers import serving as workers

PROTO = Path(zstor.__file__).with_suffix(".proto")
LABEL = "org_0stor_ns"
GO = Path(__file__).parent / "sdstor_go"
PYTHON = """
import sys
import grpc, zstor_pb2 as pb, zstor_pb2_grpc as services

address, token, label = sys.argv[1:]
with grpc.insecure_channel(address) as channel:
    objects, spaces = services.ObjectManagerStub(channel), services.NamespaceManagerStub(channel)
    said = {"metadata": [("authorization", token), ("label", label)], "timeout": 60}
    objects.SetObject(pb.SetObjectRequest(key=b"k", data=b"1", referenceList=["a"]), **said)
    found = objects.GetObject(pb.GetObjectRequest(key=b"k"), **said)
    assert (found.data, list(found.referenceList)) == (b"1", ["a"])
    status = objects.GetObjectStatus(pb.GetObjectStatusRequest(key=b"k"), **said).status
    assert pb.ObjectStatus.Name(status) == "ok"
    assert [one.key for one in objects.ListObjectKeys(pb.ListObjectKeysRequest(), **said)] == [b"k"]
    asked = pb.AppendToReferenceListRequest(key=b"k", referenceList=["b", "b"])
    objects.AppendToReferenceList(asked, **said)
    asked = pb.DeleteFromReferenceListRequest(key=b"k", referenceList=["b"])
    assert objects.DeleteFromReferenceList(asked, **said).count == 2
    found = objects.GetReferenceList(pb.GetReferenceListRequest(key=b"k"), **said)
    assert list(found.referenceList) == ["a", "b"]
    objects.SetReferenceList(pb.SetReferenceListRequest(key=b"k", referenceList=["c"]), **said)
    assert objects.GetReferenceCount(pb.GetReferenceCountRequest(key=b"k"), **said).count == 1
    objects.DeleteReferenceList(pb.DeleteReferenceListRequest(key=b"k"), **said)
    told = spaces.GetNamespace(pb.GetNamespaceRequest(), **said)
    assert (told.label, told.nrObjects, told.writeRequestPerHour) == (label, 1, 5)
    objects.DeleteObject(pb.DeleteObjectRequest(key=b"k"), **said)
    try:
        objects.GetObject(pb.GetObjectRequest(key=b"k"), **said)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
        assert error.details() == "zstordb: key is no found"
    else:
        raise AssertionError
print("done")
"""


def arguments(serving: Serving) -> list[str]:
    return [serving.rpc_url.removeprefix("grpc://"), serving.token(LABEL), LABEL]


@pytest.mark.push
def test_a_generated_client_does_the_tour(serving: Serving, tmp_path: Path) -> None:
    assert tour_in_python(PROTO, PYTHON, arguments(serving), tmp_path) == "done\n"


@pytest.mark.nightly
@pytest.mark.timeout(1_800)
def test_so_does_one_in_go(serving: Serving, tmp_path: Path) -> None:
    assert tour_in_go(PROTO, GO, arguments(serving), tmp_path) == "done\n"


@pytest.mark.push
def test_any_of_several_processes_answers_for_the_whole_namespace(tmp_path: Path) -> None:
    names = [f"k{number:04d}" for number in range(400)]
    with holdfast.open(tmp_path / "data", bucket_bytes=SMALL) as store:
        store.namespace(LABEL).put_many([(name, b"x" * 700) for name in names])
    with workers(tmp_path / "data") as served:
        headers = {"Authorization": served.token}
        space = f"{served.url}/namespaces/{LABEL}"
        for _ in range(3):  # each a connection of its own, to one process or the other
            told = requests.get(space, headers=headers, timeout=60).json()["stats"]
            assert (told["nrObjects"], told["spaceUsed"]) == (400, 400 * 700 / (1 << 20))
            for name in names[::99]:
                url = f"{space}/objects/{name}"
                body = {"id": name, "data": base64.b64encode(b"x" * 700).decode()}
                told = requests.post(f"{space}/objects", json=body, headers=headers, timeout=60)
                assert told.status_code == 201
                told = requests.put(
                    f"{url}/references", json=["a", "a"], headers=headers, timeout=60
                )
                assert told.json() == ["a", "a"]
                told = requests.get(url, headers=headers, timeout=60)
                assert told.json() == body | {"referenceList": ["a", "a"]}
        told = requests.get(f"{space}/objects?page=5", headers=headers, timeout=60)
        assert told.json() == names[120:150]
        told = requests.get(f"{space}/check", json={"ids": names}, headers=headers, timeout=60)
        assert {one["status"] for one in told.json()} == {"ok"}
        for name, status in ((names[3], 204), (names[-3], 204), (names[3], 404)):
            told = requests.delete(f"{space}/objects/{name}", headers=headers, timeout=60)
            assert told.status_code == status
