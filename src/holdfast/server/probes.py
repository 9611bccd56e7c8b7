"""Whether anybody is there: ``/ping``, ``/livez``, ``/readyz``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import Unavailable
from holdfast.server.answers import TEXT_TYPE, Answer, told
from holdfast.server.requests import Request

if TYPE_CHECKING:
    from holdfast.server.site import Site

VERSION = "1.0.0"  # of the protocol, as its callers know it


def ping(_site: Site, _request: Request) -> Answer:
    """The version of the protocol."""
    return told({"version": VERSION})


def live(_site: Site, _request: Request) -> Answer:
    """Whoever can ask this is answered by a process that lives."""
    return Answer(200, TEXT_TYPE, b"ok\n")


def ready(site: Site, _request: Request) -> Answer:
    """503 once the server is going down."""
    if site.draining:
        raise Unavailable(reason="going down")
    return Answer(200, TEXT_TYPE, b"ok\n")
