"""A link: an address that carries its own grant.

    <base>/v1/namespaces/<namespace>/objects/<key, percent-encoded>?grant=<token>

What tidies paths up (browsers, proxies) treats "." and ".." as parts, and slashes side by
side; in a key they mean themselves, so every slash of such a key is encoded, which leaves
a single part of the path. The keys "." and ".." alone cannot be protected that way.
"""

from __future__ import annotations

from typing import Final

from holdfast.errors import InvalidValue

PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
TIDIED: Final = frozenset((b"", b".", b".."))
USUAL_BASE: Final = "http://127.0.0.1:8080"
SCHEMES: Final = ("http://", "https://")


def link(base: str | None, namespace: str, key: str, token: str) -> str:
    """The address of an object with a token that opens it.

    Args:
        base: where the server answers, such as "https://store.example"; None: where
            ``holdfast serve`` answers if nothing else is said.
        namespace: the object's namespace.
        key: the object's key, valid.
        token: what opens it.

    Raises:
        InvalidValue: the base is no http address.

    Example:
        >>> link("https://s.example/", "acme", "a b/c", "T")
        'https://s.example/v1/namespaces/acme/objects/a%20b/c?grant=T'
    """
    base = USUAL_BASE if base is None else base
    if not base.startswith(SCHEMES) or {"?", "#"}.intersection(base):
        raise InvalidValue(argument="base", reason="not an http address", base=base)
    return f"{base.rstrip('/')}/v1/namespaces/{namespace}/objects/{encoded(key)}?grant={token}"


def encoded(key: str) -> str:
    """A key as the rest of a path."""
    raw = key.encode()
    slash = not TIDIED.intersection(raw.split(b"/"))
    return "".join(
        chr(byte) if byte in PLAIN or (slash and byte == ord("/")) else f"%{byte:02X}"
        for byte in raw
    )
