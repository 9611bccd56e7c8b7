"""Conditions of a request (RFC 9110, section 13): the entity tag of an object is its version."""

from __future__ import annotations

from typing import Final

from holdfast.errors import InvalidValue
from holdfast.server.requests import UNKNOWN, Request
from holdfast.server.routes import Route
from holdfast.wire.headers import (
    CONSUMERS,
    CONTENT_RANGE,
    FENCE,
    IF_MATCH,
    IF_NONE_MATCH,
    INDEX,
    KEEP_TTL,
    PERMANENT,
    TAGS,
    TTL,
)
from holdfast.wire.problems import unreadable

UNTAKEN: Final = frozenset(
    (IF_MATCH, IF_NONE_MATCH, FENCE, TTL, KEEP_TTL, CONSUMERS, PERMANENT, INDEX, TAGS)
)


def names(tags: str, version: int, *, weakly: bool) -> bool:
    """Whether a list of entity tags names a version; "*" names any.

    ``weakly``: a tag that is marked weak counts too, as ``If-None-Match`` has it. To
    ``If-Match`` it says nothing.

    Example:
        >>> names('"6", W/"7"', 7, weakly=True), names('W/"7"', 7, weakly=False)
        (True, False)
    """
    if tags.strip() == "*":
        return True
    told = (tag.strip() for tag in tags.split(","))
    wanted = f'"{version}"'
    return wanted in ((tag.removeprefix("W/") for tag in told) if weakly else told)


def refuse_untaken(request: Request, route: Route) -> None:
    """Refuse what nobody would look at: the change would be made in spite of it.

    Only a put has conditions and options, and nothing takes a part of a value (RFC 9110,
    section 14.5); what changes nothing may pass over both. A header of ours that there is not is
    misspelt: an object would be stored without what was asked for.

    Raises:
        InvalidValue: it is a change of another kind, brings a part, or has such a header.
    """
    if UNKNOWN in request.headers:
        raise InvalidValue(argument=request.headers[UNKNOWN], reason="there is no such header")
    if route.kind == "read":
        return
    if CONTENT_RANGE in request.headers:
        raise unreadable("a part of a value")
    if route.body == "value":
        return
    for name in UNTAKEN.intersection(request.headers):
        raise InvalidValue(argument=name, reason="only a put takes it")
