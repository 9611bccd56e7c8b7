"""Loads of the enclave API like one before on their connection, answered in one go.

By who shows the same document, verified before. Whether it counts still, whether its image
holds the namespace, and the object's entry are looked at each time; whatever is not at hand, or
is to be refused, is left to the way of all requests, with nothing done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError
from holdfast.request import arguments, reading
from holdfast.server.answers import JSON_TYPE, rest_of
from holdfast.server.gets import told
from holdfast.wire import enclave as wire
from holdfast.wire.enclave import Keyed
from holdfast.wire.paths import UNCHANGED

if TYPE_CHECKING:
    from holdfast.server.connection import Connection
    from holdfast.server.repeats import Repeat
    from holdfast.server.site import Site
    from holdfast.server.tenants import Tenant

LOAD = "load"


def answer(connection: Connection, repeat: Repeat, body: bytes) -> bytes | None:
    """The answer to a load, of a value that is at hand, by somebody who is known.

    Args:
        connection: that it came by; nothing is due there.
        repeat: what the one before it was.
        body: what is asked.
    """
    site = connection.site
    began_ns = site.clock.monotonic_ns()
    try:
        tenant = _asking(connection, repeat) if site.is_quiet else None
        found = _found(site, tenant, body) if tenant is not None else None
    except HoldfastError:
        return None
    if tenant is None or found is None:
        return None
    rest, out_bytes = rest_of(JSON_TYPE, found), len(found)
    return told(site, tenant.name, rest, began_ns, out_bytes=out_bytes, in_bytes=len(body))


def _asking(connection: Connection, repeat: Repeat) -> Tenant | None:
    """The namespace that the caller may load all of for nothing, if that is known."""
    site = connection.site
    principal = site.callers.shown(repeat.headers)
    if principal is None:
        return None
    tenant = site.tenants.find(principal.grants[0].namespace.encode())
    if tenant.name in site.charging.known:
        return None
    may = site.door.passes(principal, tenant.name, LOAD, connection.address)
    return tenant if may else None


def _found(site: Site, tenant: Tenant, body: bytes) -> bytes | None:
    asked, shape = wire.asked(LOAD, body)
    if not isinstance(asked, Keyed):
        return None
    value = _value(site, tenant.space, arguments.compose(tenant.space, asked.key))
    return None if value is None else wire.told_value(value, shape, asked.encoding)


def _value(site: Site, space: bytes, key: bytes) -> bytes | None:
    """What is at hand under a composite key."""
    if key[len(space) :].translate(None, UNCHANGED):  # not one that is kept
        near = reading.look_at_row(site.corridor, key)
        return None if near is None else near[1]
    seen = site.kept.seen(key)
    return None if seen is None else seen.value
