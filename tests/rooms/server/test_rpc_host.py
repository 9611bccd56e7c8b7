"""The gRPC door: health, reflection, TLS, and what it refuses to listen on."""

from __future__ import annotations

import socket

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
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
        answered = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=20)
        assert answered.status == health_pb2.HealthCheckResponse.SERVING
        shown = ProtoReflectionDescriptorDatabase(channel)
        assert HEALTH in shown.get_services()


def test_health_is_watched_until_the_server_goes() -> None:
    states = health_pb2.HealthCheckResponse
    with holdfast.open(":memory:") as store:
        with Serving(store, grpc_port=0) as serving:
            channel = grpc.insecure_channel(target(serving))
            health = health_pb2_grpc.HealthStub(channel)
            watched = health.Watch(health_pb2.HealthCheckRequest(), timeout=20)
            assert next(watched).status == states.SERVING
            unknown = health.Watch(health_pb2.HealthCheckRequest(service="none"), timeout=20)
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
