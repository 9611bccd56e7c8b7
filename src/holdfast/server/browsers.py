"""Browsers on other sites (CORS): a namespace says which origins may ask; none by default."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from holdfast.server.answers import Answer

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
    b" holdfast-proof\r\n"
)


def allowance(origin: str, origins: Sequence[str]) -> bytes:
    """The headers that let an origin read an answer; none where it may not."""
    if origin not in origins and ANY not in origins:
        return b""
    return b"Access-Control-Allow-Origin: %b\r\nVary: Origin\r\n" % origin.encode("latin-1") + SHOWS


def preflight(origin: str, origins: Sequence[str], methods: Iterable[str]) -> Answer:
    """The answer to a browser that asks whether it may ask. Credentials are never in it."""
    allowed = allowance(origin, origins)
    if not allowed:
        return Answer(FORBIDDEN, b"Vary: Origin\r\n")
    listed = ", ".join(sorted(methods)).encode()
    return Answer(
        NO_CONTENT,
        b"Access-Control-Allow-Methods: %b\r\nAccess-Control-Max-Age: %d\r\n" % (listed, DAY_S)
        + TAKES,
    )
