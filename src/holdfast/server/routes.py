"""The one table of routes: what may be asked, which right it needs, who answers it.

The data routes are found by a look into a dict; what is not here goes to the Starlette
application behind (app.py). ``/openapi.json`` is made from the same tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec

from holdfast.server.answers import Answer, plain

if TYPE_CHECKING:
    from holdfast.server.requests import Request
    from holdfast.server.site import Site

Body = Literal["none", "small", "object", "batch", "value"]
# Requests of one kind are begun side by side; "alone" has nothing beside it.
Kind = Literal["read", "write", "alone"]
Handler = Callable[["Site", "Request"], Answer | None]


class Route(msgspec.Struct, frozen=True):
    """One kind of request.

    Args:
        operation: its name in the table of rights (access), in logs and metrics; "" is open.
        handle: answers it, at once or later.
        kind: what it may be begun beside.
        body: which body it takes.
        summary: what it does, for people.
        answers: the status of success.
        late: its handler settles who asks, once the body is there.
    """

    operation: str
    handle: Handler
    kind: Kind = "read"
    body: Body = "none"
    summary: str = ""
    answers: int = 200
    late: bool = False


Methods = dict[str, Route]
NOT_ALLOWED: Final = 405
CERTIFIED = b"/certified/"


def chosen(methods: Methods, method: str) -> Route | None:
    """The route of a method; what has no HEAD of its own is asked as for GET."""
    route = methods.get(method)
    return methods.get("GET") if route is None and method == "HEAD" else route


def not_allowed(methods: Methods) -> Answer:
    """The answer to a method that there is not."""
    answer = plain(NOT_ALLOWED, "not_allowed", "this method is not for this path")
    allowed = {*methods, "HEAD"} if "GET" in methods else methods
    answer.headers += b"Allow: %b\r\n" % ", ".join(sorted(allowed)).encode()
    return answer


class Found(msgspec.Struct, frozen=True, gc=False):
    """What a path leads to; namespace and key as they stand in it."""

    methods: Methods
    namespace: bytes | None = None
    key: bytes | None = None
    face: Face | None = None


class Face(Protocol):
    """Another program's interface on paths of its own: how it asks, how it is refused."""

    paths: Mapping[str, Methods]

    def find(self, path: bytes) -> Found | None:
        """What a path of its own leads to, or None."""

    def meet(self, request: Request, namespace: bytes | None) -> None:
        """Read a request as that program's clients write it; a typed error where it is none."""

    def worded(self, answer: Answer) -> Answer:
        """A refusal in that program's words."""


class Routes:
    """Finds the route of a request."""

    def __init__(self) -> None:
        self.keyed: dict[bytes, Methods] = {}  # /v1/namespaces/{ns}/<noun>/{key}
        self.spaced: dict[bytes, Methods] = {}  # /v1/namespaces/{ns}/<noun>
        self.fixed: dict[bytes, Methods] = {}  # the whole path
        self.certified: Methods = {}  # /certified/{ns}/{key}
        self.direct: dict[bytes, Methods] = {}  # /v1/buckets/{id}/namespaces/{ns}/<noun>/{key}
        self.faces: list[Face] = []

    def find(self, path: bytes) -> Found | None:
        """What a path leads to, or None."""
        match path.split(b"/", 5):
            case [_, b"v1", b"namespaces", namespace, noun, key]:
                methods = self.keyed.get(noun)
                return Found(methods, namespace, key) if methods else None
            case [_, b"v1", b"namespaces", namespace, noun] if noun in self.spaced:
                return Found(self.spaced[noun], namespace)
            case [_, b"v1", b"buckets", _, b"namespaces", rest]:
                return self._find_direct(rest)
        if path.startswith(CERTIFIED):
            namespace, _, key = path.removeprefix(CERTIFIED).partition(b"/")
            return Found(self.certified, namespace, key)
        methods = self.fixed.get(path)
        if methods:
            return Found(methods)
        return next(filter(None, (face.find(path) for face in self.faces)), None)

    def _find_direct(self, rest: bytes) -> Found | None:
        match rest.split(b"/", 2):
            case [namespace, noun, key] if noun in self.direct:
                return Found(self.direct[noun], namespace, key)
        return None
