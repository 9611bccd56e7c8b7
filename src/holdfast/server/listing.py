"""Lists: keys or objects below a prefix, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal

from holdfast.errors import InvalidValue
from holdfast.limits import LIST_PAGE
from holdfast.server import proofs
from holdfast.server.answers import Answer, told
from holdfast.server.requests import Request
from holdfast.wire.paths import decode_query
from holdfast.wire.values import Keys, Objects

if TYPE_CHECKING:
    from holdfast.server.site import Site
    from holdfast.store.namespace import Namespace

FLAGS = {"true": True, "false": False}


def page(site: Site, request: Request) -> None:
    """One page, and the name behind which the next one begins; with its proof where asked."""
    if request.query and b"proof=" in request.query:
        proofs.page(site, request)
        return
    fields = decode_query(request.query)
    space = site.store.namespace(site.tenant_of(request).name)
    work = partial(_read, space, fields)
    site.ask(request, work, partial(_told, request))


def _told(request: Request, found: object) -> Answer:
    if isinstance(found, Keys | Objects):
        names = found.keys if isinstance(found, Keys) else [one.key for one in found.objects]
        request.sent_bytes = sum(len(name.encode()) for name in names)
    return told(found, request.form)


def _read(space: Namespace, fields: Mapping[str, str]) -> Keys | Objects | Answer:
    limit = _limit(fields.get("limit"))
    prefix = fields.get("prefix", "")
    recursive = flag(fields, "recursive", default=True)
    after, by = fields.get("after"), _by(fields.get("by", "text"))
    if flag(fields, "details", default=False):
        rows = tuple(space.entries(prefix, recursive=recursive, by=by, limit=limit, after=after))
        return Objects(rows, rows[-1].key if len(rows) == limit else None)
    keys = tuple(space.list(prefix, recursive=recursive, by=by, limit=limit, after=after))
    return Keys(keys, keys[-1] if len(keys) == limit else None)


def _limit(text: str | None) -> int:
    if text is None:
        return LIST_PAGE
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 10):  # noqa: PLR2004 - digits
        raise InvalidValue(argument="limit", reason="not an integer")
    if int(text) == 0:
        raise InvalidValue(argument="limit", reason="a page holds 1 or more")
    return min(int(text), LIST_PAGE)


def _by(text: str) -> Literal["text", "component"]:
    if text == "component":
        return "component"
    if text != "text":
        raise InvalidValue(argument="by", reason="text or component")
    return "text"


def flag(fields: Mapping[str, str], name: str, *, default: bool) -> bool:
    """A query field that is true or false."""
    text = fields.get(name)
    if text is None:
        return default
    if text not in FLAGS:
        raise InvalidValue(argument=name, reason="true or false")
    return FLAGS[text]
