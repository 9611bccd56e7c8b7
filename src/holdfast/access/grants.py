"""A grant: whether it is one, what it reaches, and what its holder may hand on."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, get_args

import msgspec

from holdfast.access.rights import KNOWN, RIGHT_OF, SESSION
from holdfast.errors import InvalidNamespace, InvalidValue
from holdfast.limits import KEY_BYTES
from holdfast.values import NAMESPACE_NAME, Grant, Right

EVERY: Final = "*"  # every namespace
UNKNOWN_SIZE: Final = -1  # of a value whose size the caller did not tell
RIGHTS: Final[tuple[Right, ...]] = get_args(Right)
MOST: Final = (1 << 63) - 1
ENTRIES: Final = 64  # of operations or of networks that one grant may name
Network = IPv4Network | IPv6Network

# How far an ask came in a grant; the furthest of all grants is what a refusal names.
REASONS: Final = ("namespace", "right", "operation", "prefix", "network", "bytes", "expired")
REACHED: Final = len(REASONS)
SHOWING = frozenset(("list", "search"))  # show what begins with a key, not one object


class Ask(msgspec.Struct, frozen=True, gc=False):
    """What somebody wants to do.

    ``namespace`` is "" for what concerns the whole store; ``operation`` is a name of
    ``access/rights.py``; ``key`` is the object's, the prefix of a list, or None;
    ``size_bytes`` is that of the value to be stored, -1 where it is not known;
    ``address`` is the caller's IP address, "" for one on this machine's own socket.
    """

    namespace: str
    operation: str
    key: str | None = None
    size_bytes: int = 0
    address: str = ""


def reach(grant: Grant, ask: Ask, right: Right, now_ns: int) -> int:
    """How far an ask comes in a grant: REACHED, or the place in REASONS where it ends.

    Example:
        >>> grant = Grant("acme", ("read",), prefix="open/")
        >>> reach(grant, Ask("acme", "load", "open/a"), "read", 0) == REACHED
        True
        >>> REASONS[reach(grant, Ask("acme", "load", "secret"), "read", 0)]
        'prefix'
    """
    if grant.namespace not in (ask.namespace, EVERY):
        return 0
    if right not in grant.rights and "admin" not in grant.rights:
        return 1
    if grant.operations is not None and ask.operation not in grant.operations:
        return 2
    return _narrowed(grant, ask, now_ns)


def _narrowed(grant: Grant, ask: Ask, now_ns: int) -> int:
    if grant.prefix and (ask.key is None or not ask.key.startswith(grant.prefix)):
        return 3
    if grant.key is not None and (ask.key != grant.key or ask.operation in SHOWING):
        return 3  # a list of what begins with the key would show others
    if not counts_at(grant, ask.address):
        return 4
    if grant.bytes_max is not None and not _fits(grant.bytes_max, ask):
        return 5
    if grant.until_ns is not None and now_ns >= grant.until_ns:
        return 6
    return REACHED


def _fits(bytes_max: int, ask: Ask) -> bool:
    """Whether a value stays within the bound; what an append makes of it nobody can tell."""
    return ask.operation != "append" and UNKNOWN_SIZE < ask.size_bytes <= bytes_max


def counts_at(grant: Grant, address: str) -> bool:
    """Whether a grant counts for whoever asks from an address."""
    if not grant.networks:
        return True
    at = _address(address)
    return at is not None and any(at in _network(network) for network in grant.networks)


@lru_cache(4096)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


@lru_cache(4096)
def _network(text: str) -> Network:
    return ip_network(text)


# -- checking ----------------------------------------------------------------------


def checked(grant: Grant) -> Grant:
    """The grant, if it is one.

    Raises:
        InvalidNamespace: its namespace has no valid name and is not "*".
        InvalidValue: ``argument`` names the field that cannot be meant.
    """
    if grant.namespace != EVERY:
        check_namespace(grant.namespace)
    for field, holds in _FIELDS.items():
        if not holds(getattr(grant, field)):
            raise InvalidValue(
                argument=field, reason=_REASONS.get(field, "not what a grant may say")
            )
    return grant


def check_namespace(name: object) -> None:
    """Return where it is the name of a namespace; InvalidNamespace where it is not."""
    if not isinstance(name, str) or not NAMESPACE_NAME.fullmatch(name):
        raise InvalidNamespace(namespace=name)


def is_prefix(prefix: object) -> bool:
    """Whether keys can begin with it."""
    if not isinstance(prefix, str):
        return False
    try:
        return len(prefix.encode()) <= KEY_BYTES
    except UnicodeEncodeError:
        return False


def _are_rights(rights: object) -> bool:
    return isinstance(rights, tuple) and 0 < len(rights) <= ENTRIES and set(rights) <= set(RIGHTS)


def _are_operations(names: object) -> bool:
    known = {*RIGHT_OF, *KNOWN, SESSION}
    return names is None or (
        isinstance(names, tuple) and len(names) <= ENTRIES and known.issuperset(names)
    )


def _are_networks(networks: object) -> bool:
    if not isinstance(networks, tuple) or len(networks) > ENTRIES:
        return False
    try:
        return all(isinstance(one, str) and _network(one) is not None for one in networks)
    except ValueError:
        return False


def _is_count(least: int) -> Callable[[object], bool]:
    def holds(value: object) -> bool:
        return value is None or (type(value) is int and least <= value <= MOST)

    return holds


_FIELDS: Final[dict[str, Callable[[object], bool]]] = {
    "rights": _are_rights,
    "prefix": is_prefix,
    "key": lambda key: key is None or (is_prefix(key) and key != ""),
    "operations": _are_operations,
    "until_ns": _is_count(0),
    "bytes_max": _is_count(0),
    "uses": _is_count(1),
    "networks": _are_networks,
}
_REASONS: Final = {
    "rights": f"of {', '.join(RIGHTS)}",
    "prefix": f"a text of at most {KEY_BYTES} bytes",
    "networks": "as 10.0.0.0/8",
    "uses": "from 1 on",
}


# -- handing on --------------------------------------------------------------------


def inherited(held: Grant, wanted: Grant) -> Grant | None:
    """What a holder can hand on of what is wanted; None where it is not theirs to give.

    Bounds that ``wanted`` leaves open become the holder's own, so the result never
    allows what ``held`` does not. A counted grant cannot be handed on: nobody would
    count the copies.

    Example:
        >>> held = Grant("acme", ("read",), prefix="a/", until_ns=9)
        >>> inherited(held, Grant("acme", ("read",), prefix="a/b")).until_ns
        9
        >>> inherited(held, Grant("acme", ("write",), prefix="a/b")) is None
        True
    """
    namespace = held.namespace in {EVERY, wanted.namespace}
    rights = "admin" in held.rights or set(held.rights) >= set(wanted.rights)
    within = (wanted.prefix if wanted.key is None else wanted.key).startswith(held.prefix)
    within = within and held.key in {None, wanted.key}
    networks = _common_networks(held.networks, wanted.networks)
    if not (namespace and rights and within and held.uses is None) or networks is None:
        return None
    return msgspec.structs.replace(
        wanted,
        operations=_common(held.operations, wanted.operations),
        until_ns=_least(held.until_ns, wanted.until_ns),
        bytes_max=_least(held.bytes_max, wanted.bytes_max),
        networks=networks,
    )


def _least(one: int | None, other: int | None) -> int | None:
    known = [bound for bound in (one, other) if bound is not None]
    return min(known, default=None)


def _common(held: tuple[str, ...] | None, wanted: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if held is None or wanted is None:
        return wanted if held is None else held
    return tuple(name for name in wanted if name in held)


def _common_networks(held: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...] | None:
    if not held or not wanted:
        return held or wanted
    inside = all(any(_is_part(_network(one), _network(all_)) for all_ in held) for one in wanted)
    return wanted if inside else None


def _is_part(one: Network, whole: Network) -> bool:
    if isinstance(one, IPv4Network) and isinstance(whole, IPv4Network):
        return one.subnet_of(whole)
    if isinstance(one, IPv6Network) and isinstance(whole, IPv6Network):
        return one.subnet_of(whole)
    return False
