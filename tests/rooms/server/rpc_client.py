"""A caller that knows the schema and nothing else of the client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import grpc
import msgspec

import holdfast
from holdfast.testing.serving import Serving
from holdfast.wire.protobuf.schema import METHODS
from holdfast.wire.protobuf.statuses import CODE, PROBLEM
from holdfast.wire.protobuf.words import CLASSES

Said: TypeAlias = Any  # a message: its class is made of its descriptor
WITHIN_S = 60.0
KINDS = {
    (False, False): "unary_unary",
    (True, False): "stream_unary",
    (False, True): "unary_stream",
    (True, True): "stream_stream",
}
BY_NAME = {method.name: method for method in METHODS}


def say(name: str, **fields: object) -> Said:
    return CLASSES[name](**fields)


def target(url: str) -> str:
    return url.partition("://")[2]


class Caller:
    """Calls the methods of one server.

    Args:
        url: of the gRPC door.
        token: its credential, or None.
    """

    def __init__(self, url: str, token: str | None) -> None:
        self.channel = grpc.insecure_channel(
            target(url), options=[("grpc.max_receive_message_length", -1)]
        )
        self.metadata = [] if token is None else [("authorization", f"Bearer {token}")]

    def method(self, name: str) -> Said:
        told = BY_NAME[name]
        make = getattr(self.channel, KINDS[told.asks_many, told.tells_many])
        return make(
            f"/holdfast.v1.Holdfast/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=CLASSES[told.tells].FromString,
        )

    def ask(self, name: str, more: Mapping[str, str] | None = None, **fields: object) -> Said:
        """One request by its fields; its reply, or all of them."""
        told = BY_NAME[name]
        request = CLASSES[told.asks](**fields)
        return self.send(name, iter([request]) if told.asks_many else request, more)

    def send(
        self,
        name: str,
        asked: Said,
        more: Mapping[str, str] | None = None,
        *,
        within_s: float = WITHIN_S,
    ) -> Said:
        metadata = [*self.metadata, *(more or {}).items()]
        answered = self.method(name)(asked, metadata=metadata, timeout=within_s)
        return list(answered) if BY_NAME[name].tells_many else answered

    def trailers(self, name: str, **fields: object) -> dict[str, Any]:
        call = self.method(name).with_call
        _, answered = call(
            CLASSES[BY_NAME[name].asks](**fields), metadata=self.metadata, timeout=WITHIN_S
        )
        return dict(answered.trailing_metadata())

    def close(self) -> None:
        self.channel.close()


def problem(error: grpc.RpcError) -> dict[str, Any]:
    """The problem document of a refusal, whose code stands beside it."""
    trailers = dict(error.trailing_metadata() or ())
    told: dict[str, Any] = msgspec.json.decode(trailers[PROBLEM])
    assert told["code"] == trailers[CODE]
    return told


@contextmanager
def served(**options: object) -> Iterator[tuple[Serving, Caller]]:
    with holdfast.open(":memory:") as store, Serving(store, grpc_port=0, **options) as serving:
        caller = Caller(serving.rpc_url, serving.token())
        try:
            yield serving, caller
        finally:
            caller.close()
