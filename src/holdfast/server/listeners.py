"""Sockets to listen on: TCP, with TLS or for this machine alone, and Unix sockets."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
import ssl
import stat
from contextlib import suppress
from dataclasses import dataclass

from holdfast.errors import InvalidValue, Unauthenticated
from holdfast.identity.operator import UCRED, operator_at
from holdfast.server.settings import Settings
from holdfast.values import Principal

BACKLOG = 2048
OWNER_ONLY = 0o600


@dataclass(frozen=True)
class Name:
    """The file that a Unix socket is found by, as it was made: another may lie there later."""

    path: str
    device: int
    inode: int

    def remove(self) -> None:
        """Remove the file, unless it is somebody else's by now."""
        with suppress(FileNotFoundError):
            if _named(self.path) == self:
                os.unlink(self.path)  # noqa: PTH108 - plain paths


@dataclass(frozen=True)
class Listener:
    """A bound socket, the TLS that it speaks, and its URL; of a Unix socket, its name."""

    socket: socket.socket
    tls: ssl.SSLContext | None
    url: str
    name: Name | None = None
    backlog: int = BACKLOG

    def renew(self, settings: Settings) -> None:
        """Show the certificate that the settings name now, to who connects from here on.

        Raises:
            InvalidValue: it cannot be used.
        """
        if self.tls is not None and settings.tls_cert and settings.tls_key:
            _load(self.tls, settings.tls_cert, settings.tls_key)

    def close(self) -> None:
        """Let go of the socket, and of its name."""
        self.socket.close()
        if self.name is not None:
            self.name.remove()


def bind(settings: Settings) -> list[Listener]:
    """The sockets that the settings ask for, bound.

    Raises:
        InvalidValue: strangers would be served without TLS, the certificate cannot be used, or
            the system refused an address.
    """
    tls = secured(settings)
    try:
        listeners = [_tcp(settings, tls)]
    except OSError as error:
        raise _refused("port", settings.host, settings.port, error) from error
    if settings.unix_socket is None:
        return listeners
    try:
        return [*listeners, _unix(settings.unix_socket)]
    except InvalidValue:
        listeners[0].close()
        raise
    except OSError as error:
        listeners[0].close()
        reason = error.strerror or str(error)
        raise InvalidValue(
            argument="unix_socket", reason=reason, path=settings.unix_socket
        ) from error


def secured(settings: Settings) -> ssl.SSLContext | None:
    """The TLS that the settings ask for.

    Raises:
        InvalidValue: the certificate cannot be used, or strangers would be served without one.
    """
    tls = tls_of(settings)
    if tls is None and not settings.insecure and not is_loopback(settings.host):
        raise InvalidValue(argument="host", reason="not a loopback address, and no TLS")
    return tls


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind_rpc(settings: Settings) -> Listener:
    """The socket of the gRPC door, which all processes of a store may share.

    Raises:
        InvalidValue: the certificate cannot be used, or the system refused the address.
    """
    tls = tls_of(settings, "h2")
    try:
        made = _bound(settings.host, settings.grpc_port or 0, shared=settings.workers > 1)
    except OSError as error:
        raise rpc_taken(settings, error) from error
    scheme = "grpcs" if tls else "grpc"
    return Listener(made, tls, f"{scheme}://{_host_port(settings.host, made)}")


def rpc_taken(settings: Settings, error: OSError) -> InvalidValue:
    """The error where the gRPC door cannot listen."""
    return _refused("grpc_port", settings.host, settings.grpc_port, error)


def _refused(name: str, host: str, port: int | None, error: OSError) -> InvalidValue:
    """The error for an address that the system does not know, or does not give."""
    unknown = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
    argument = "host" if unknown else name
    reason = error.strerror or str(error)
    return InvalidValue(argument=argument, reason=reason, address=host, port=port)


def _tcp(settings: Settings, tls: ssl.SSLContext | None) -> Listener:
    made = _bound(settings.host, settings.port)
    scheme = "https" if tls else "http"
    return Listener(made, tls, f"{scheme}://{_host_port(settings.host, made)}")


def _bound(host: str, port: int, *, shared: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def _host_port(host: str, bound: socket.socket) -> str:
    port = bound.getsockname()[1]
    return f"[{host}]:{port}" if bound.family == socket.AF_INET6 else f"{host}:{port}"


def _unix(path: str) -> Listener:
    """A socket that only its owner can reach: whoever can open it is on this machine."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _forget_dead(path)
        mask = os.umask(0o777 & ~OWNER_ONLY)
        try:
            made.bind(path)
        finally:
            os.umask(mask)
        return Listener(made, None, f"unix:{path}", _named(path))
    except (OSError, InvalidValue):
        made.close()
        raise


def _named(path: str) -> Name:
    found = os.lstat(path)
    return Name(path, found.st_dev, found.st_ino)


def _forget_dead(path: str) -> None:
    """Remove the name of a socket that nobody listens on any more.

    Nobody listens on a file of another kind either: that one stays.

    Raises:
        InvalidValue: something else than a socket lies there.
    """
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise InvalidValue(argument="unix_socket", reason="there, and no socket", path=path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            os.unlink(path)  # noqa: PTH108


def peer_of(transport: asyncio.BaseTransport) -> Principal | None:
    """Who the system says is at the other end of a Unix socket: the operator, or nobody known."""
    connected = transport.get_extra_info("socket")
    if connected is None or connected.family != socket.AF_UNIX:
        return None
    told = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
    try:
        return operator_at(told, os.geteuid())
    except Unauthenticated:
        return None


def tls_of(settings: Settings, protocol: str = "http/1.1") -> ssl.SSLContext | None:
    """What the settings say of TLS; InvalidValue where the certificate cannot be used."""
    if settings.tls_cert is None and settings.tls_key is None:
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        raise InvalidValue(argument="tls_key", reason="certificate and key go together")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    _load(context, settings.tls_cert, settings.tls_key)
    return context


def _load(context: ssl.SSLContext, cert: str, key: str) -> None:
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidValue(argument="tls_cert", reason=str(error)) from None
