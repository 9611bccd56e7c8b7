"""The gRPC door: health, reflection, TLS, and what it refuses to listen on."""

from __future__ import annotations

import socket

import grpc
import pytest
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

import holdfast
from holdfast.errors import InvalidValue
from holdfast.testing.serving import Serving

HEALTH = "grpc.health.v1.Health"


def target(serving: Serving) -> str:
    return serving.rpc_url.partition("://")[2]


def test_health_and_reflection_answer_whoever_asks() -> None:
    with (
        holdfast.open(":memory:") as store,
        Serving(store, grpc_port=0) as serving,
        grpc.insecure_channel(target(serving)) as channel,
    ):
        asked = health_pb2.HealthCheckRequest()
        answered = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=60)
        assert answered.status == health_pb2.HealthCheckResponse.SERVING
        shown = ProtoReflectionDescriptorDatabase(channel)
        assert HEALTH in shown.get_services()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_describes_what_it_names(version: str) -> None:
    asks = reflection_pb2.ServerReflectionRequest
    name = f"grpc.reflection.{version}.ServerReflection"
    with (
        holdfast.open(":memory:") as store,
        Serving(store, grpc_port=0) as serving,
        grpc.insecure_channel(target(serving)) as channel,
    ):
        call = channel.stream_stream(
            f"/{name}/ServerReflectionInfo",
            request_serializer=asks.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        (listed,) = call(iter([asks(list_services="")]), timeout=60)
        named = {one.name for one in listed.list_services_response.service}
        assert {name, HEALTH, "holdfast.v1.Holdfast", "ObjectManager", "NamespaceManager"} <= named
        pool = descriptor_pool.DescriptorPool()
        for told in call((asks(file_containing_symbol=one) for one in named), timeout=60):
            for file in told.file_descriptor_response.file_descriptor_proto:
                pool.AddSerializedFile(file)
        methods = [
            method for one in named for method in pool.FindServiceByName(one).methods_by_name
        ]
        assert {"ServerReflectionInfo", "Batch", "SetObject", "GetNamespace"} <= set(methods)
        (method,) = call(iter([asks(file_containing_symbol=f"{HEALTH}.Check")]), timeout=60)
        assert len(method.file_descriptor_response.file_descriptor_proto) == 1
        for unknown in ("google.protobuf.FileDescriptorProto", f"{HEALTH}.None", "None"):
            (refused,) = call(iter([asks(file_containing_symbol=unknown)]), timeout=60)
            assert refused.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_health_is_watched_until_the_server_goes() -> None:
    states = health_pb2.HealthCheckResponse
    with holdfast.open(":memory:") as store:
        with Serving(store, grpc_port=0) as serving:
            channel = grpc.insecure_channel(target(serving))
            health = health_pb2_grpc.HealthStub(channel)
            watched = health.Watch(health_pb2.HealthCheckRequest(), timeout=60)
            assert next(watched).status == states.SERVING
            unknown = health.Watch(health_pb2.HealthCheckRequest(service="none"), timeout=60)
            assert next(unknown).status == states.SERVICE_UNKNOWN
            unknown.cancel()
            serving.server.stop()
            assert next(watched).status == states.NOT_SERVING
            watched.cancel()
        channel.close()


def test_there_is_no_such_door_unless_it_is_asked_for() -> None:
    with holdfast.open(":memory:") as store, Serving(store) as serving:
        assert serving.rpc_url == ""


def test_an_address_that_is_taken_is_told() -> None:
    with socket.socket() as taken, holdfast.open(":memory:") as store:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InvalidValue) as told, Serving(store, grpc_port=port):
            pass
        assert told.value.facts["port"] == port
