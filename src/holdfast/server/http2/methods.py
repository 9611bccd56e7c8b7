"""Methods, as they are added to a server and found by the path of a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from holdfast.server.http2.call import Call

Words = Callable[[Any], Any]


class Method(msgspec.Struct, frozen=True):
    """What answers calls of one path.

    Args:
        answer: is given the message, or an iterator of them, and the call. It returns a message,
            or nothing and writes messages, or is an iterator of them.
        asks_many: whether messages come one after the other.
        tells_many: whether they leave so.
        begin: does the same for a single message and a single answer without a task of its own: it
            sees to it that the call is ended, at once or later.
        read: makes a message of its bytes; None takes them as they are.
        written: makes bytes of a message.
    """

    answer: Callable[[Any, Any], Any] | None = None
    asks_many: bool = False
    tells_many: bool = False
    begin: Callable[[bytes, Call], None] | None = None
    read: Words | None = None
    written: Words | None = None


class Methods:
    """The methods of a server."""

    def __init__(self) -> None:
        self._by_path: dict[bytes, Method] = {}
        self._of_service: dict[bytes, Method] = {}

    def add(self, service: str, methods: Mapping[str, Method]) -> None:
        """Add a service's methods by their names."""
        for name, method in methods.items():
            self._by_path[f"/{service}/{name}".encode()] = method

    def add_others(self, service: str, method: Method) -> None:
        """Say what answers the calls of a service that it has no method for."""
        self._of_service[service.encode()] = method

    def find(self, path: bytes) -> Method | None:
        """What answers a path, None where nothing does."""
        found = self._by_path.get(path)
        if found is None:
            service, slash, _ = path.removeprefix(b"/").rpartition(b"/")
            return self._of_service.get(service) if slash else None
        return found


class Generated:
    """A server as code that grpc generates adds to it.

    Args:
        methods: are added to.
    """

    def __init__(self, methods: Methods) -> None:
        self._methods = methods

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Nothing: the same handlers are registered by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Add handlers of grpc's own kind."""
        told = {name: _method(handler) for name, handler in handlers.items()}
        self._methods.add(service, told)


def _method(handler: Any) -> Method:  # noqa: ANN401 - grpc ships without types
    kind = KINDS[handler.request_streaming, handler.response_streaming]
    return Method(
        getattr(handler, kind),
        handler.request_streaming,
        handler.response_streaming,
        None,
        handler.request_deserializer,
        handler.response_serializer,
    )


KINDS: Final = {
    (False, False): "unary_unary",
    (True, False): "stream_unary",
    (False, True): "unary_stream",
    (True, True): "stream_stream",
}
