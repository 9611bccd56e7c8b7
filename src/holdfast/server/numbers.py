"""Numbered writes (rule 9) over HTTP: ``Holdfast-Session``, and where sessions begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.operations import Once
from holdfast.request.corridor import Corridor
from holdfast.request.once import NumberedCorridor, once
from holdfast.server.answers import Answer, told
from holdfast.server.requests import Request
from holdfast.wire.headers import SESSION, numbered_of

if TYPE_CHECKING:
    from holdfast.server.site import Site
    from holdfast.store.namespace import Namespace


def begin(site: Site, request: Request) -> Answer:
    """A session for numbered writes."""
    return told({"session": site.store.begin_session()}, request.form)


def numbered(request: Request, index: int = 0) -> Once | None:
    """The number of a request's write, or of its ``index``th; None where it has none."""
    if SESSION not in request.headers:
        return None
    first = numbered_of(request.headers)
    if first is None:
        return None
    return once(first.session.hex(), first.number + index, first.floor)


def corridor_of(corridor: Corridor, number: Once | None) -> Corridor:
    """The way of a write that may have a number."""
    return corridor if number is None else NumberedCorridor(corridor, number)


def space_of(site: Site, name: str, number: Once | None) -> Namespace:
    """A namespace whose first write may have a number."""
    space = site.store.namespace(name)
    if number is None:
        return space
    return space.numbered(number.session.hex(), number.number, number.floor)
