"""The Starlette application behind the data routes: namespaces, rights, operation, documents.

Its endpoints are plain functions of ``admin.py``, each on a thread. The connection hands it
requests that are whole, with who asks; it hands back whole answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as Incoming
from starlette.responses import Response
from starlette.routing import Route as Path

from holdfast.access.decide import ANONYMOUS
from holdfast.errors import HoldfastError, InvalidKey
from holdfast.server.admin import ADMIN, Admin, Asked
from holdfast.server.answers import Answer, plain, refused
from holdfast.server.money import MONEY
from holdfast.server.requests import Request
from holdfast.server.routes import Route
from holdfast.wire.paths import decode_key

if TYPE_CHECKING:
    from starlette.types import Message

    from holdfast.server.site import Site

OURS = frozenset((b"content-length", b"date"))


def application() -> Starlette:
    """The application, with the routes of the table."""
    paths = [Path(one.path, _endpoint(one), methods=[one.method]) for one in (*ADMIN, *MONEY)]
    starlette = Starlette(routes=paths, exception_handlers={HTTPException: _none})
    starlette.router.redirect_slashes = False  # a path with a slash behind it is another path
    return starlette


def _endpoint(route: Admin) -> Callable[[Incoming], Response]:
    def answer(incoming: Incoming) -> Response:
        asked: Asked = incoming.scope["holdfast"]
        names = {name: _decoded(part) for name, part in incoming.path_params.items()}
        given = asked.with_parameters(names, incoming.query_params)
        try:
            return _response(route.handle(given))
        except HoldfastError as error:
            return _response(refused(error))

    return answer


def _decoded(part: str) -> str:
    """What a part of a path names; as it came where it names nothing, which its taker refuses."""
    try:
        return decode_key(part.encode("latin-1"))
    except InvalidKey:
        return part


def _response(answer: Answer) -> Response:
    response = Response(answer.body, answer.status)
    response.raw_headers = [
        tuple(line.split(b": ", 1))  # type: ignore[misc] # two of them
        for line in answer.headers.split(b"\r\n")
        if line
    ]
    return response


async def _none(_incoming: Incoming, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "not_found", 405: "not_allowed"}.get(status, "holdfast")
    return _response(plain(status, code, "there is nothing under this path"))


class Behind:
    """Hands requests to the application, and its answers back."""

    def __init__(self) -> None:
        self._app = application()
        self._tasks: set[asyncio.Task[None]] = set()
        self.route = Route("admin", self.handle, "alone", "small")

    def handle(self, site: Site, request: Request) -> None:
        """Have the application answer."""
        task = site.loop.create_task(self._answer(site, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, site: Site, request: Request) -> None:
        asked = Asked(site, request.principal or ANONYMOUS, bytes(request.body), request.address)
        asked = msgspec.structs.replace(asked, form=request.form)
        answer = Answer(status=500)
        pieces = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = b"".join(
                    b"%b: %b\r\n" % (name.title(), value)
                    for name, value in message["headers"]
                    if name not in OURS
                )
            else:
                pieces.append(message.get("body", b""))

        try:
            await self._app(_scope(request, asked), receive, send)
        except Exception as error:  # noqa: BLE001 - the caller is told, and so is the log
            answer = site.fault(error)
        else:
            answer.body = b"".join(pieces)
        request.answer(answer)


def _scope(request: Request, asked: Asked) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "path": request.path.decode("latin-1"),
        "raw_path": request.path,
        "root_path": "",
        "query_string": request.query,
        "headers": [],
        "client": None,
        "server": None,
        "scheme": "http",
        "holdfast": asked,
    }
