"""The gRPC server of a site: where it listens, which services it has, how it ends.

A service is a function that adds its methods and returns its full name; what ``SERVICES`` lists is
served, and shown by reflection and health.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from holdfast.limits import RPC_CALLS, RPC_MESSAGE_BYTES
from holdfast.server.http2.bounds import Bounds
from holdfast.server.http2.methods import Generated, Methods
from holdfast.server.http2.server import Http2Server
from holdfast.server.listeners import Listener, bind_rpc, rpc_taken
from holdfast.server.rpc.reflecting import add_reflection
from holdfast.server.rpc.service import holdfast_service
from holdfast.server.sdstor.rpc import add_namespaces, add_objects
from holdfast.server.settings import Settings

if TYPE_CHECKING:
    from holdfast.server.site import Site

Service = Callable[[Methods, "Site"], str]
SERVICES: Final[list[Service]] = [holdfast_service, add_namespaces, add_objects]
SERVING: Final = health_pb2.HealthCheckResponse.SERVING


def add_services(methods: Methods, site: Site) -> list[str]:
    """Add every service, with reflection; the names of all but that."""
    names = [add(methods, site) for add in SERVICES]
    add_reflection(methods, [*names, health.SERVICE_NAME])
    return names


class RpcHost:
    """A gRPC server that listens.

    Args:
        server: listens already.
        health_of: tells whoever asks whether it serves.
        listener: its socket, its TLS, its URL as ``holdfast.connect`` takes it.
    """

    def __init__(
        self, server: Http2Server, health_of: health.aio.HealthServicer, listener: Listener
    ) -> None:
        self._server = server
        self._health = health_of
        self._listener = listener
        self.url = listener.url

    def renew(self, settings: Settings) -> None:
        """Show the certificate that the settings name now, to who connects from here on."""
        self._listener.renew(settings)

    async def drain(self) -> None:
        """Say that it takes no more."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_s: float) -> None:
        """Answer what is under way, for at most ``grace_s`` seconds."""
        await self._server.stop(grace_s)
        self._listener.close()


async def listen(site: Site, settings: Settings) -> RpcHost:
    """Serve a site over gRPC, on the port that the settings say.

    Raises:
        InvalidValue: the port is taken.
    """
    server = Http2Server(_bounds(settings), site.clock)
    told = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(told, Generated(server.methods))
    for name in ("", *add_services(server.methods, site)):
        await told.set(name, SERVING)
    listener = bind_rpc(settings)
    try:
        await server.listen(listener.socket, listener.tls)
    except OSError as error:
        listener.close()
        raise rpc_taken(settings, error) from error
    return RpcHost(server, told, listener)


def _bounds(settings: Settings) -> Bounds:
    return Bounds(
        message_bytes=RPC_MESSAGE_BYTES,
        calls=RPC_CALLS,
        connections=settings.connections,
        header_bytes=settings.header_bytes,
        header_count=settings.header_count,
        header_s=settings.header_s,
        body_s=settings.body_s,
        idle_s=settings.idle_s,
        send_s=settings.send_s,
        held_bytes=settings.gathered_bytes,
    )
