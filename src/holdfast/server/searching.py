"""Searches: what a query finds below a prefix, which is also what their right is decided by."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from holdfast.errors import InvalidValue
from holdfast.server.answers import Answer, told
from holdfast.server.listing import flag
from holdfast.server.requests import Request
from holdfast.values import Hits
from holdfast.wire.paths import decode_query

if TYPE_CHECKING:
    from holdfast.server.site import Site
    from holdfast.store.store import Store

DIGITS = 10


def search(site: Site, request: Request) -> None:
    """What a query finds in a namespace; a thread looks."""
    fields = decode_query(request.query)
    work = partial(find, site.store, site.tenant_of(request).name, fields)
    site.ask(request, work, partial(_told, request))


def _told(request: Request, found: object) -> Answer:
    if not isinstance(found, Hits):
        raise TypeError(found)
    request.sent_bytes = found.told_bytes
    return told(found, request.form)


def find(store: Store, namespace: str, fields: Mapping[str, str]) -> Hits:
    """Answer a search that a query's fields ask for."""
    options = options_of(fields)
    return store.namespace(namespace).search(fields.get("query", ""), **options)


def options_of(fields: Mapping[str, str]) -> dict[str, Any]:
    """The options of a search, as its fields say them; InvalidValue where they cannot."""
    facets = fields.get("facets", "")
    return {
        "limit": _count(fields.get("limit", "20")),
        "after": fields.get("after"),
        "rank": fields.get("rank", "bm25"),
        "highlight": flag(fields, "highlight", default=False),
        "fresh": flag(fields, "fresh", default=True),
        "max_wait": _seconds(fields.get("max_wait")),
        "prefixes": [fields["prefix"]] if fields.get("prefix") else None,
        "facets": facets.split(",") if facets else (),
    }


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < DIGITS):
        raise InvalidValue(argument="limit", reason="not an integer")
    return int(text)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        raise InvalidValue(argument="max_wait", reason="not a number") from None
