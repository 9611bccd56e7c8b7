"""0-stor's REST interface (docs/PROTOCOL.md section 7): its paths, and who answers them.

What may wait for the disk is done on a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from holdfast.errors import InvalidValue, LimitExceeded
from holdfast.limits import BATCH_OPERATIONS, MIB
from holdfast.server.answers import JSON_TYPE, Answer, gone, told
from holdfast.server.requests import Request
from holdfast.server.routes import Handler, Methods, Route
from holdfast.server.sdstor import writing
from holdfast.server.sdstor.shelf import Kept, Shelf
from holdfast.wire import sdstor as wire
from holdfast.wire.paths import decode_query
from holdfast.wire.values import decode

if TYPE_CHECKING:
    from holdfast.server.site import Site

STATS: Final = "/stats"
SPACE: Final = "/namespaces/{nsid}"
PER_PAGE, PER_PAGE_MOST = 30, 100
CREATED: Final = 201
DIGITS: Final = 9


def _route(operation: str, handle: Handler, summary: str) -> Route:
    return Route(operation, handle, summary=summary)


def sdstor_paths() -> dict[str, Methods]:
    """Every path: "{nsid}" is a label, "{id}" an object's."""
    return {
        STATS: {"GET": _route("room", _room, "MiB that there is room for")},
        SPACE: {"GET": _route("list", _read(_namespace, long=True), "A namespace and its figures")},
        f"{SPACE}/objects": {
            "GET": _route("list", _read(_page, long=True), "Ids of objects, by pages"),
            "POST": Route(
                "store", _create, "alone", "object", "Create or replace an object", CREATED
            ),
        },
        f"{SPACE}/objects/{{id}}": {
            "HEAD": _route("exists", _read(_exists), "Whether there is an object"),
            "GET": _route("load", _read(_object), "An object with its reference list"),
            "DELETE": Route("delete", _delete, "alone", summary="Remove an object", answers=204),
        },
        f"{SPACE}/objects/{{id}}/references": {
            "PUT": Route(
                "consumers.set", _references, "alone", "small", "Replace a reference list"
            ),
        },
        f"{SPACE}/check": {
            "GET": Route(
                "list", _read(_check, long=True), "read", "small", "Whether objects verify"
            ),
            "POST": Route(
                "list", _read(_check, long=True), "read", "small", "The same, for who cannot GET"
            ),
        },
    }


def _room(site: Site, request: Request) -> None:
    site.ask(request, lambda: told(wire.StoreStat(int(_free_mib(site)))), _as_answer)


def _free_mib(site: Site) -> float:
    return site.store.placement.settings.ground.free_bytes("") / MIB


# -- reading ---------------------------------------------------------------------------


def _read(
    look: Callable[[Site, Request, Shelf], Callable[[], Answer]], *, long: bool = False
) -> Handler:
    """A handler that looks on a thread and answers with what it finds.

    What may take long leaves the threads of other reads alone.
    """

    def handle(site: Site, request: Request) -> None:
        shelf = _shelf(site, request, writes=False)
        (site.work if long else site.ask)(request, look(site, request, shelf), _as_answer)

    return handle


def _as_answer(answer: object) -> Answer:
    if not isinstance(answer, Answer):
        raise TypeError(answer)
    return answer


def _shelf(site: Site, request: Request, *, writes: bool) -> Shelf:
    label = site.tenant_of(request).name
    site.rates.count(label, writes=writes)
    if request.key:
        wire.check_id(request.key)
    return Shelf(site.store, label)


def _namespace(site: Site, request: Request, shelf: Shelf) -> Callable[[], Answer]:
    label = site.tenant_of(request).name
    rates = site.rates.per_hour(label)

    def look() -> Answer:
        objects, size_bytes = shelf.figures()
        request.sent_bytes = 0  # no name, no value
        stats = wire.NamespaceStat(*rates, objects, size_bytes / MIB, _free_mib(site))
        return told(wire.Namespace(label, stats))

    return look


def _page(_site: Site, request: Request, shelf: Shelf) -> Callable[[], Answer]:
    fields = decode_query(request.query)
    count = _number(fields, "per_page", PER_PAGE)
    if count > PER_PAGE_MOST:
        raise InvalidValue(argument="per_page", reason=f"at most {PER_PAGE_MOST}")
    skip = (_number(fields, "page", 1) - 1) * count

    def look() -> Answer:
        names = shelf.page(skip, count)
        request.sent_bytes = sum(len(name.encode()) for name in names)
        return told(names)

    return look


def _number(fields: dict[str, str], name: str, default: int) -> int:
    text = fields.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) <= DIGITS and int(text) > 0):
        raise InvalidValue(argument=name, reason="not a number from 1 on")
    return int(text)


def _exists(_site: Site, request: Request, shelf: Shelf) -> Callable[[], Answer]:
    def look() -> Answer:
        shelf.look(request.key)
        return Answer(200, JSON_TYPE)

    return look


def _object(_site: Site, request: Request, shelf: Shelf) -> Callable[[], Answer]:
    def look() -> Answer:
        kept: Kept = shelf.get(request.key)
        request.sent_bytes = len(kept.data)
        return told(wire.told_object(request.key, kept.data, kept.ids))

    return look


def _check(_site: Site, request: Request, shelf: Shelf) -> Callable[[], Answer]:
    """Ids come in the body, or as ``?ids=a,b`` where a client cannot send one with a GET."""
    if request.body:
        ids = decode(bytes(request.body), wire.Ids).ids
    else:
        text = decode_query(request.query).get("ids")
        if text is None:
            raise InvalidValue(argument="ids", reason="missing")
        ids = tuple(filter(None, text.split(",")))
    if len(ids) > BATCH_OPERATIONS:
        raise LimitExceeded(limit="BATCH_OPERATIONS", most=BATCH_OPERATIONS, asked=len(ids))
    request.sent_bytes = sum(len(one.encode()) for one in ids)
    return lambda: told([wire.CheckStatus(one, shelf.status(one)) for one in ids])


# -- writing ---------------------------------------------------------------------------


def _create(site: Site, request: Request) -> None:
    shelf = _shelf(site, request, writes=True)
    asked, data = wire.object_asked(bytes(request.body))
    written = writing.Written(asked.id, data, asked.reference_list or None)
    writing.put(site, request, shelf, (written, lambda _: told(asked, status=CREATED)))


def _delete(site: Site, request: Request) -> None:
    shelf = _shelf(site, request, writes=True)
    site.work(request, partial(shelf.delete, request.key), lambda _: gone())


def _references(site: Site, request: Request) -> None:
    """Replace a list; the answer has the shape of the question."""
    shelf = _shelf(site, request, writes=True)
    ids, shape = wire.references_asked(bytes(request.body))
    echo = wire.References(ids) if shape == "object" else ids
    site.work(request, partial(shelf.replace, request.key, ids), lambda _: told(echo))
