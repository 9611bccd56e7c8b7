"""Reference lists over HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Literal

from holdfast.bucket import rows
from holdfast.errors import NotFound
from holdfast.operations import Consumers
from holdfast.request import reading
from holdfast.server.answers import Answer, told
from holdfast.server.requests import Request
from holdfast.wire import values
from holdfast.wire.values import consumer_ids, decode, form_of, told_ids

if TYPE_CHECKING:
    from holdfast.server.site import Site


class Asked(values.Consumers, frozen=True, forbid_unknown_fields=True):
    """What a change asks: a field that nobody knows may change what is meant."""


def listed(site: Site, request: Request) -> Answer | None:
    """The ids, in order."""
    composite = site.tenant_of(request).space + request.key.encode()
    look = partial(_look, site, request.key, composite)
    if reading.is_near(site.corridor, composite):
        return told(look(), request.form)
    site.ask(request, look, lambda ids: told(ids, request.form))
    return None


def _look(site: Site, name: str, composite: bytes) -> values.Consumers:
    try:
        ids = site.corridor.read(composite, lambda bucket: bucket.consumers(composite))
    except NotFound:
        raise NotFound(key=name) from None
    return values.Consumers(told_ids(ids))


def _change(action: Literal["set", "append", "remove"], site: Site, request: Request) -> None:
    form = form_of(request.headers.get("content-type"))
    asked = decode(bytes(request.body), Asked, form)
    encoded = rows.encode_ids(consumer_ids(asked.consumers))
    key = site.tenant_of(request).space + request.key.encode()
    operation = Consumers(key, request.key, action, encoded)
    site.commit(request, operation, partial(_changed, request, action, asked), len(request.body))


def _changed(request: Request, action: str, asked: values.Consumers, outcome: object) -> Answer:
    """What was not found of a removal; else what was asked for."""
    if action == "remove" and isinstance(outcome, Iterable):
        missing = told_ids(rows.decode_id(one) for one in outcome)
        return told(values.Missing(missing), request.form)
    return told(asked, request.form)


replaced = partial(_change, "set")
appended = partial(_change, "append")
removed = partial(_change, "remove")
