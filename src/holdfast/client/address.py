"""Where a server is: the url that a caller gives, taken apart once."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import msgspec

from holdfast.errors import InvalidValue

UNIX: Final = "unix:"
SCHEMES: Final = frozenset(("http", "https", "grpc", "grpcs"))


class Address(msgspec.Struct, frozen=True):
    """``origin`` begins every url; ``socket`` is the path of a Unix socket, if it is one."""

    origin: str
    socket: str | None = None

    def at(self, origin: str | None) -> str:
        """Another owner's origin, where it may be followed; else this one.

        What was asked for under TLS never goes out without it; what was not is not followed
        into it, because nobody said whom to trust.
        """
        if not origin or self.socket is not None:
            return self.origin
        same = origin.partition(":")[0] == self.origin.partition(":")[0]
        return origin.rstrip("/") if same else self.origin

    @property
    def is_private(self) -> bool:
        """Whether what is sent is under TLS."""
        return self.origin.startswith(("https:", "grpcs:"))

    @property
    def is_rpc(self) -> bool:
        """Whether gRPC is spoken there."""
        return self.origin.startswith("grpc")


def address_of(url: object) -> Address:
    """The address of a url: ``http(s)://host[:port]``, ``grpc(s)://host:port`` or ``unix:/path``.

    Raises:
        InvalidValue: it is none of these, or says more (a path, a user, a query).

    Example:
        >>> address_of("http://127.0.0.1:8080/")
        Address(origin='http://127.0.0.1:8080', socket=None)
        >>> address_of("unix:/run/holdfast.sock").socket
        '/run/holdfast.sock'
    """
    if not isinstance(url, str):
        raise InvalidValue(argument="url", reason="not text")
    if url.startswith(UNIX) and len(url) > len(UNIX):
        return Address("http://localhost", url.removeprefix(UNIX))
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        named = False
        parts = urlsplit("")
    more = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if not named or more or parts.scheme not in SCHEMES:
        raise InvalidValue(argument="url", reason="http(s)://host[:port] or unix:/path")
    if parts.scheme.startswith("grpc") and parts.port is None:
        raise InvalidValue(argument="url", reason="grpc(s)://host:port: which port?")
    return Address(f"{parts.scheme}://{parts.netloc}")
