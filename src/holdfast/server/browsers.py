"""Browsers on other sites (CORS): a namespace says which origins may ask; none by default."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

from holdfast.server.answers import Answer
from holdfast.server.requests import Request

NO_CONTENT, FORBIDDEN = 204, 403
ANY = "*"
DAY_S = 86_400
TAKES = (
    b"Access-Control-Allow-Headers: authorization, content-type, if-match, if-none-match, range,"
    b" holdfast-ttl, holdfast-keep-ttl, holdfast-fence, holdfast-consumers, holdfast-permanent,"
    b" holdfast-index, holdfast-tags,"
    b" holdfast-session, holdfast-timeout\r\n"
)
SHOWS = (
    b"Access-Control-Expose-Headers: etag, content-range, holdfast-version, holdfast-modified,"
    b" holdfast-expires, holdfast-bucket, holdfast-existed, holdfast-cost, holdfast-request,"
    b" holdfast-proof, holdfast-balance, retry-after\r\n"
)
VARIES: Final = b"Vary: Origin\r\n"
SPACES: Final = b"/v1/namespaces/"
SELDOM: Final = ("DELETE", "GET", "HEAD", "POST", "PUT")  # what the application behind takes


def meet(request: Request, origins: Sequence[str], methods: Iterable[str]) -> Answer | None:
    """Let an origin read the answer where it may; the answer itself to a preflight.

    Args:
        request: has an ``Origin``.
        origins: that may ask here.
        methods: that there are here.
    """
    origin = request.headers["origin"]
    request.extra = allowance(origin, origins) or VARIES
    if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
        return preflight(origin, origins, methods)
    return None


def namespace_in(path: bytes) -> str:
    """The namespace that a path is about; "" where it is about none.

    Example:
        >>> namespace_in(b"/v1/namespaces/acme/grants"), namespace_in(b"/v1/tokens")
        ('acme', '')
    """
    if not path.startswith(SPACES):
        return ""
    return unquote_to_bytes(path[len(SPACES) :].partition(b"/")[0]).decode(errors="replace")


def allowance(origin: str, origins: Sequence[str]) -> bytes:
    """The headers that let an origin read an answer; none where it may not."""
    if origin not in origins and ANY not in origins:
        return b""
    return b"Access-Control-Allow-Origin: %b\r\n%b%b" % (origin.encode("latin-1"), VARIES, SHOWS)


def preflight(origin: str, origins: Sequence[str], methods: Iterable[str]) -> Answer:
    """The answer to a browser that asks whether it may ask. Credentials are never in it."""
    if not allowance(origin, origins):
        return Answer(FORBIDDEN)
    listed = ", ".join(sorted(methods)).encode()
    return Answer(
        NO_CONTENT,
        b"Access-Control-Allow-Methods: %b\r\nAccess-Control-Max-Age: %d\r\n" % (listed, DAY_S)
        + TAKES,
    )
