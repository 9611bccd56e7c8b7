"""The gRPC server of a site: where it listens, which services it has, how it ends.

A service is a function that adds its handlers to the server and returns its full name; what
``SERVICES`` lists is served, and shown by reflection and health.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from holdfast.errors import InvalidValue, StorageFailed
from holdfast.limits import RPC_CALLS, RPC_MESSAGE_BYTES
from holdfast.server.rpc.service import holdfast_service
from holdfast.server.sdstor.rpc import add_namespaces, add_objects
from holdfast.server.settings import Settings

if TYPE_CHECKING:
    from holdfast.server.site import Site

Service = Callable[[grpc.aio.Server, "Site"], str]
SERVICES: Final[list[Service]] = [holdfast_service, add_namespaces, add_objects]
SERVING: Final = health_pb2.HealthCheckResponse.SERVING
MILLISECONDS: Final = 1000
PING_S: Final = 60  # a peer that does not answer is gone; and how often one may ask us


class ByName:
    """A server as generated code adds to it, whose methods are found by their names alone.

    At each call grpc.aio waits anew for one task of every method that is registered: with all of
    ours that took 20 us a call, five times what finding a method by its name does.

    Args:
        server: is added to.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self.add_generic_rpc_handlers = server.add_generic_rpc_handlers

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, object]) -> None:
        """Nothing: the same handlers are found by name."""


def add_services(server: grpc.aio.Server, site: Site) -> list[str]:
    """Add every service, with reflection; the names of all but that."""
    names = [add(server, site) for add in SERVICES]
    shown = reflection.aio.ReflectionServicer(
        [*names, health.SERVICE_NAME, reflection.SERVICE_NAME]
    )
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(shown, ByName(server))
    return names


class RpcHost:
    """A gRPC server that listens.

    Args:
        server: not yet started.
        health_of: tells whoever asks whether it serves.
        certificates: what it shows; None without TLS.
        url: where it listens, as ``holdfast.connect`` takes it.
    """

    def __init__(
        self,
        server: grpc.aio.Server,
        health_of: health.aio.HealthServicer,
        certificates: Certificates | None,
        url: str,
    ) -> None:
        self._server = server
        self._health = health_of
        self._certificates = certificates
        self.url = url

    def renew(self, settings: Settings) -> None:
        """Show the certificate that the settings name now, to who connects from here on."""
        if self._certificates is not None:
            self._certificates.read(settings)

    async def drain(self) -> None:
        """Say that it takes no more."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_s: float) -> None:
        """Answer what is under way, for at most ``grace_s`` seconds."""
        await self._server.stop(grace_s)


async def listen(site: Site, settings: Settings) -> RpcHost:
    """Serve a site over gRPC, on the port that the settings say.

    Raises:
        InvalidValue: several processes would share a port that nobody said.
        StorageFailed: the address is taken.
    """
    if settings.workers > 1 and not settings.grpc_port:
        raise InvalidValue(argument="grpc_port", reason="several processes share one: say which")
    server = grpc.aio.server(options=_options(settings), maximum_concurrent_rpcs=RPC_CALLS)
    told = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(told, ByName(server))
    for name in ("", *add_services(server, site)):
        await told.set(name, SERVING)
    certificates = Certificates(settings) if settings.tls_cert else None
    url = _bind(server, settings, certificates)
    await server.start()
    return RpcHost(server, told, certificates, url)


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", RPC_MESSAGE_BYTES),
        ("grpc.max_send_message_length", RPC_MESSAGE_BYTES),
        ("grpc.max_metadata_size", settings.header_bytes),
        ("grpc.so_reuseport", int(settings.workers > 1)),
        ("grpc.max_connection_idle_ms", round(settings.idle_s * MILLISECONDS)),
        ("grpc.keepalive_time_ms", PING_S * MILLISECONDS),
    ]


def _bind(server: grpc.aio.Server, settings: Settings, certificates: Certificates | None) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.grpc_port}"
    try:
        if certificates is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, certificates.credentials())
    except RuntimeError as error:
        raise StorageFailed(
            address=settings.host, port=settings.grpc_port, cause=str(error)
        ) from error
    return f"{'grpc' if certificates is None else 'grpcs'}://{host}:{port}"


class Certificates:
    """The certificate that is shown, as it was last read.

    Args:
        settings: name the files.
    """

    def __init__(self, settings: Settings) -> None:
        self._shown: Any = None
        self.read(settings)

    def read(self, settings: Settings) -> None:
        """Take what the files hold now; InvalidValue where they cannot be read."""
        try:
            key = Path(settings.tls_key or "").read_bytes()
            chain = Path(settings.tls_cert or "").read_bytes()
        except OSError as error:
            raise InvalidValue(argument="tls_cert", reason=str(error)) from None
        self._shown = grpc.ssl_server_certificate_configuration([(key, chain)])

    def credentials(self) -> grpc.ServerCredentials:
        """What a port is secured with; every handshake asks what is shown by then."""
        return grpc.dynamic_ssl_server_credentials(self._shown, lambda: self._shown)
