"""Direct access: where a key lives, and requests to its bucket, which answers Moved for others."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from holdfast.errors import InvalidValue, Moved, NotFound
from holdfast.request.arguments import VISIBLE
from holdfast.server import objects
from holdfast.server.answers import Answer, told
from holdfast.server.requests import Request
from holdfast.server.routes import Handler
from holdfast.upkeep.status import place_of
from holdfast.values import Place
from holdfast.wire.paths import decode_query

if TYPE_CHECKING:
    from holdfast.server.site import Site


def locate(site: Site, request: Request) -> None:
    """Where a key lives, or would."""

    def found(place: object) -> Answer:
        return told(place, request.form)

    site.ask(request, partial(site.store.locate, *located(request)), found)


def located(request: Request) -> tuple[str, str]:
    """The namespace and the key that are asked for."""
    fields = decode_query(request.query)
    for name in ("namespace", "key"):
        if name not in fields:
            raise InvalidValue(argument=name, reason="missing")
    return fields["namespace"], fields["key"]


def _by_its_bucket(site: Site, request: Request, handle: Handler) -> Answer | None:
    return by_its_bucket(site, request, request.path.split(b"/", 4)[3], handle)


def by_its_bucket(site: Site, request: Request, asked: bytes, handle: Handler) -> Answer | None:
    """Have the bucket that was asked handle it; Moved where the key is not its."""
    tenant = site.tenant_of(request)
    directory, composite = site.corridor.directory, tenant.space + request.key.encode()
    if directory.find(composite).id.encode() == asked:
        return handle(site, request)
    space = tenant.space.removesuffix(VISIBLE)
    look = partial(place_of, directory, composite, space, site.store.address)
    site.ask(request, look, partial(_moved, site, asked.decode("latin-1")))
    return None


def _moved(site: Site, asked: str, place: object) -> Answer:
    """Where the key is; a bucket of another process is known by that alone."""
    if not isinstance(place, Place):
        raise TypeError(place)
    directory = site.corridor.directory
    if not directory.shared and all(bucket.id != asked for bucket in directory):
        raise NotFound(bucket=asked)
    raise Moved(bucket=asked, place=place)


def get(site: Site, request: Request) -> Answer | None:
    """As ``objects.get``, by this bucket."""
    return _by_its_bucket(site, request, objects.get)


def put(site: Site, request: Request) -> Answer | None:
    """As ``objects.put``, by this bucket."""
    return _by_its_bucket(site, request, objects.put)


def stat(site: Site, request: Request) -> Answer | None:
    """What this bucket knows of an object."""
    return _by_its_bucket(site, request, objects.stat)
