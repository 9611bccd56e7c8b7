"""What is 0-stor's own about a request before and after it is answered: its paths, its words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from holdfast.server.answers import JSON_TYPE, Answer
from holdfast.server.routes import Found, Methods
from holdfast.server.sdstor.rest import SPACE, STATS, sdstor_paths
from holdfast.server.sdstor.shelf import check_label
from holdfast.wire.sdstor import refusal
from holdfast.wire.values import encode

if TYPE_CHECKING:
    from holdfast.server.requests import Request

PROBLEM = b"Content-Type: application/problem+json\r\n"


def bear(request: Request) -> None:
    """Read a token that stands in the header by itself; an empty one is none."""
    authorization = request.headers.pop("authorization", "").strip()
    if authorization:
        alone = " " not in authorization
        request.headers["authorization"] = f"Bearer {authorization}" if alone else authorization


class Sdstor:
    """0-stor's REST interface (``routes.Face``)."""

    def __init__(self) -> None:
        self.paths: Mapping[str, Methods] = sdstor_paths()

    def find(self, path: bytes) -> Found | None:
        """What a path leads to, or None."""
        match path.split(b"/"):
            case [_, b"stats"]:
                return Found(self.paths[STATS], face=self)
            case [_, b"namespaces", namespace, *rest]:
                key = rest[1] if len(rest) > 1 else None
                shape = [part.decode("latin-1") for part in rest]
                shape[1:2] = ["{id}"] if key is not None else []
                methods = self.paths.get("/".join((SPACE, *shape)))
                return Found(methods, namespace, key, self) if methods else None
        return None

    def meet(self, request: Request, namespace: bytes | None) -> None:
        """Read a request as its clients write it: the token may stand there alone.

        Raises:
            InvalidNamespace: no organisation has a namespace of this name.
        """
        bear(request)
        if namespace is not None:
            check_label(namespace.decode("latin-1"))

    def worded(self, answer: Answer) -> Answer:
        """A refusal as its clients know it."""
        status, error = refusal(msgspec.json.decode(answer.body, type=dict[str, object]))
        headers = answer.headers.replace(PROBLEM, JSON_TYPE)
        return msgspec.structs.replace(answer, status=status, headers=headers, body=encode(error))
