"""How large a body may be: refused from the header alone, or once more came than may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from holdfast.errors import HoldfastError, LimitExceeded
from holdfast.limits import BATCH_BODY_BYTES, OBJECT_BODY_BYTES, OBJECT_BYTES, REQUEST_BYTES
from holdfast.server.answers import Answer, refused
from holdfast.server.enclave_callers import MARK
from holdfast.server.requests import Request
from holdfast.server.routes import Body, Route
from holdfast.wire.problems import unreadable

MOST_OF: Final[Mapping[Body, int]] = {
    "none": 0,
    "small": REQUEST_BYTES,
    "object": OBJECT_BODY_BYTES,
    "batch": BATCH_BODY_BYTES,
    "value": OBJECT_BYTES,
}
# What an enclave has marked is gathered whole before it is believed.
MARKED_MOST_OF: Final[Mapping[Body, int]] = {
    "none": 0,
    "small": REQUEST_BYTES,
    "object": REQUEST_BYTES,
    "batch": REQUEST_BYTES,
    "value": REQUEST_BYTES,
}
LIMITS: Final = {
    REQUEST_BYTES: "REQUEST_BYTES",
    OBJECT_BODY_BYTES: "OBJECT_BODY_BYTES",
    BATCH_BODY_BYTES: "BATCH_BODY_BYTES",
    OBJECT_BYTES: "OBJECT_BYTES",
}


def bound(request: Request, route: Route, *, marked: bool = False) -> int:
    """Refuse a body that is too large before it is read; its size, -1 if nobody knows.

    Raises:
        LimitExceeded: it is too large. InvalidValue: the route takes none.
    """
    most = request.left = (MARKED_MOST_OF if marked else MOST_OF)[route.body]
    if "transfer-encoding" in request.headers:
        return -1
    text = request.headers.get("content-length")
    size = int(text) if text is not None else 0
    if size > most:
        raise _too_large(route, size, most)
    return size


def outgrown(request: Request) -> Answer:
    """The answer to a body that turned out to be too large."""
    route = request.route
    if route is None:
        return refused(unreadable("a body"))
    bounds = MARKED_MOST_OF if MARK in request.headers else MOST_OF
    return refused(_too_large(route, None, bounds[route.body]))


def _too_large(route: Route, size: int | None, most: int) -> HoldfastError:
    if route.body == "none":
        return unreadable("this request takes no body")
    return LimitExceeded(limit=LIMITS[most], most=most, asked=size)
