"""Asking the server that has a store open: for the few commands that must change its mind.

A command that only signs needs no server: the key is in the store's folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from holdfast.cli.opening import opened
from holdfast.cli.options import StoreOptions
from holdfast.errors import InUse, Unavailable
from holdfast.identity.operator import NAME as ADMIN_TOKEN
from holdfast.store import Store
from holdfast.wire.problems import error_of

TIMEOUT_S = 30.0
REFUSED = 400

Url = Annotated[
    str | None,
    typer.Option(
        envvar="HOLDFAST_URL", metavar="URL", help="Ask the server there, which has the store open."
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="HOLDFAST_TOKEN",
        metavar="TOKEN",
        help="For the server; else the operator's in PATH.",
    ),
]


def ask(method: str, url: str, path: str, *, token: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
    """One request to a server; what it answers.

    Args:
        method: as "PUT".
        url: where the server answers.
        path: from its root on.
        token: who asks.
        body: sent as JSON, if any.

    Raises:
        HoldfastError: what the server refused it with.
        Unavailable: nobody answers there.
    """
    import httpx  # noqa: PLC0415 - an extra that few commands need

    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    content = None if body is None else msgspec.json.encode(body)
    try:
        answer = httpx.request(
            method, url.rstrip("/") + path, headers=headers, content=content, timeout=TIMEOUT_S
        )
        found = msgspec.json.decode(answer.content) if answer.content else {}
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError) as error:
        raise Unavailable(url=url, cause=str(error)) from error
    if answer.status_code >= REFUSED:
        raise error_of(found)
    return found


def token_for(path: Path, token: str | None) -> str:
    """The token that was told, or the operator's own in the store's folder."""
    if token is not None:
        return token
    try:
        return (path / ADMIN_TOKEN).read_text().strip()
    except OSError:
        message = f"there is no operator's token in {str(path)!r}; say --token"
        raise typer.BadParameter(message, param_hint="--token") from None


@contextmanager
def opened_alone(path: Path, options: StoreOptions) -> Iterator[Store]:
    """As ``opened``; where a server has the store, the error says what to do instead."""
    try:
        with opened(path, options) as store:
            yield store
    except InUse as error:
        error.facts["hint"] = "a server has it open: say --url"
        raise
