"""Direct access: where a key lives, and requests to its bucket, which answers Moved for others."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import InvalidValue, Moved, NotFound
from holdfast.server import objects
from holdfast.server.answers import Answer, told
from holdfast.server.requests import Request
from holdfast.values import Place
from holdfast.wire.paths import decode_query

if TYPE_CHECKING:
    from holdfast.server.site import Site


def locate(site: Site, request: Request) -> Answer:
    """Where a key lives, or would."""
    namespace, key = located(request)
    return told(place(site, namespace, key), request.form)


def located(request: Request) -> tuple[str, str]:
    """The namespace and the key that are asked for."""
    fields = decode_query(request.query)
    for name in ("namespace", "key"):
        if name not in fields:
            raise InvalidValue(argument=name, reason="missing")
    return fields["namespace"], fields["key"]


def place(site: Site, namespace: str, key: str) -> Place:
    """Where a key lives, with the address where its owner answers."""
    found = site.store.locate(namespace, key)
    return msgspec.structs.replace(found, address=site.address)


def _mine(site: Site, request: Request) -> None:
    """Moved where the key is not of the bucket that was asked."""
    asked = request.path.split(b"/", 4)[3]
    composite = site.tenant_of(request).space + request.key.encode()
    bucket = site.corridor.directory.find(composite)
    if bucket.id.encode() == asked:
        return
    if all(other.id.encode() != asked for other in site.corridor.directory):
        raise NotFound(bucket=asked.decode("latin-1"))
    there = place(site, site.tenant_of(request).name, request.key)
    raise Moved(bucket=asked.decode(), place=there)


def get(site: Site, request: Request) -> Answer | None:
    """As ``objects.get``, by this bucket."""
    _mine(site, request)
    return objects.get(site, request)


def put(site: Site, request: Request) -> None:
    """As ``objects.put``, by this bucket."""
    _mine(site, request)
    objects.put(site, request)


def stat(site: Site, request: Request) -> None:
    """What this bucket knows of an object."""
    _mine(site, request)
    tenant = site.tenant_of(request)
    bucket = site.store.bucket(request.path.split(b"/", 4)[3].decode("latin-1"))
    work = partial(bucket.stat, tenant.name, request.key)
    site.ask(request, work, lambda found: told(found, request.form))
