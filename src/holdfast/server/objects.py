"""Objects: put, get, head, delete, stat, exists, append, release."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from holdfast.bucket.read import NOW_BYTES
from holdfast.errors import HoldfastError, InvalidValue, NotFound, VersionMismatch
from holdfast.limits import VALUE_RECORD_BYTES
from holdfast.log.entry import ENTRY, Entry, unpack
from holdfast.operations import Append, Delete, Release, Store, StoreOptions
from holdfast.request import large, reading
from holdfast.server import proofs
from holdfast.server.answers import (
    JSON_TYPE,
    NOT_MODIFIED,
    Answer,
    gone,
    object_headers,
    refused,
    told,
)
from holdfast.server.conditions import names
from holdfast.server.listing import flag
from holdfast.server.numbers import numbered, space_of
from holdfast.server.ranges import Span, span_of
from holdfast.server.requests import Request
from holdfast.values import Receipt
from holdfast.wire.headers import IF_MATCH, IF_NONE_MATCH, options_of
from holdfast.wire.paths import decode_query
from holdfast.wire.values import encode

if TYPE_CHECKING:
    from holdfast.server.site import Site

PARTIAL = 206
SHAPING = frozenset(("if-match", "if-none-match", "range"))  # what makes an answer another
PLAIN_HEADERS = (
    b'Content-Type: application/octet-stream\r\nETag: "%d"\r\nHoldfast-Version: %d\r\n'
    b"Holdfast-Modified: %d\r\nAccept-Ranges: bytes\r\n"
)
ASKING = frozenset(
    (
        *("holdfast-ttl", "holdfast-keep-ttl", "holdfast-fence", "holdfast-consumers"),
        *(
            "holdfast-permanent",
            "holdfast-index",
            "holdfast-tags",
            "if-match",
            "if-none-match",
            "content-type",
        ),
    )
)


# -- put ---------------------------------------------------------------------------------


def store_options(request: Request) -> StoreOptions | None:
    """The options that a put asks for."""
    headers = request.headers
    return None if ASKING.isdisjoint(headers) else options_of(headers)


def put(site: Site, request: Request) -> None:
    """Store the body."""
    tenant = site.tenant_of(request)
    value = bytes(request.body)
    operation = Store(
        tenant.space + request.key.encode(), request.key, value, store_options(request)
    )
    site.commit(request, operation, partial(stored, request), len(value))


def stored(request: Request, receipt: object) -> Answer:
    """A receipt, as the answer to a put."""
    if not isinstance(receipt, Receipt):
        raise TypeError(receipt)
    headers = headers_of_receipt(receipt)
    if request.form == "msgpack":
        headers = headers.replace(JSON_TYPE, b"Content-Type: application/msgpack\r\n", 1)
    return Answer(200, headers, encode(receipt, request.form), cost_atto=receipt.cost_atto)


def headers_of_receipt(receipt: Receipt) -> bytes:
    """The headers of an answer with a receipt as JSON."""
    version, expires = receipt.version, receipt.expires_ns
    return b'%bETag: "%d"\r\nHoldfast-Version: %d\r\nHoldfast-Bucket: %b\r\n%b' % (
        JSON_TYPE,
        version,
        version,
        receipt.bucket.encode(),
        b"Holdfast-Expires: %d\r\n" % expires if expires is not None else b"",
    )


# -- get ---------------------------------------------------------------------------------


def get(site: Site, request: Request) -> Answer | None:
    """The value, or a range of it; at once where it lies in memory."""
    if request.query and b"proof=" in request.query:
        proofs.get(site, request)
        return None
    composite = site.tenant_of(request).space + request.key.encode()
    try:
        near = reading.look_at_row(site.corridor, composite)
    except NotFound:
        raise NotFound(key=request.key) from None
    if near is not None:
        row, value = near
        if value is not None and SHAPING.isdisjoint(request.headers):
            return Answer(200, headers_of_row(row), value)
        found = reading.Found(unpack(row), value)
        if found.value is not None or found.entry.size > NOW_BYTES or request.method == "HEAD":
            return _told(site, request, composite, found)
    look = partial(reading.look, site.corridor, composite, request.key)
    site.ask(request, look, partial(_told, site, request, composite))
    return None


def _told(site: Site, request: Request, composite: bytes, found: object) -> Answer:
    """What was found, by the conditions and the range of the request."""
    if not isinstance(found, reading.Found):
        raise TypeError(found)
    entry = found.entry
    headers = _headers_of(entry)
    conditions = request.headers
    if IF_MATCH in conditions and not names(conditions[IF_MATCH], entry.version, weakly=False):
        raise VersionMismatch(key=request.key, version=entry.version)
    if IF_NONE_MATCH in conditions and names(conditions[IF_NONE_MATCH], entry.version, weakly=True):
        return Answer(NOT_MODIFIED, headers)
    try:
        span = span_of(conditions, entry.version, entry.size) if "range" in conditions else None
    except InvalidValue as error:
        answer = refused(error)
        answer.headers += b"Content-Range: bytes */%d\r\n" % entry.size
        return answer
    if span is None:
        return _whole(site, request, composite, found, headers)
    return _part(site, request, composite, found, span)


def _whole(  # noqa: PLR0917 - an object and how it is told
    site: Site, request: Request, composite: bytes, found: reading.Found, headers: bytes
) -> Answer:
    if found.value is not None:
        return Answer(200, headers, found.value)
    entry = found.entry
    pieces = reading.pieces(site.corridor, composite, request.key, entry)
    return Answer(200, headers, length=entry.size, pieces=pieces)


def _part(  # noqa: PLR0917 - an object and what of it
    site: Site, request: Request, composite: bytes, found: reading.Found, span: Span
) -> Answer:
    entry = found.entry
    start, stop = span
    headers = b"%bContent-Range: bytes %d-%d/%d\r\n" % (
        _headers_of(entry),
        start,
        stop - 1,
        entry.size,
    )
    if found.value is not None:
        return Answer(PARTIAL, headers, found.value[start:stop])
    pieces = reading.pieces(site.corridor, composite, request.key, entry, start, stop)
    return Answer(PARTIAL, headers, length=stop - start, pieces=pieces)


def headers_of_row(row: bytes) -> bytes:
    """The headers of an entry as it is packed: the quick way of most answers."""
    version, modified, expires, _, _, _, attributes, _, _ = ENTRY.unpack_from(row)
    if expires or attributes:
        return _headers_of(unpack(row))
    return PLAIN_HEADERS % (version, version, modified)


def _headers_of(entry: Entry) -> bytes:
    kind = entry.attributes.content_type if entry.attrs else None
    headers = object_headers(kind, entry.version, entry.modified_ns, entry.expires_ns)
    return headers + b"Accept-Ranges: bytes\r\n"


# -- delete, stat, exists, append, release ---------------------------------------------------


def delete(site: Site, request: Request) -> None:
    """Remove the object; whether there was one is told in a header."""
    fields = decode_query(request.query) if request.query else {}
    strict = flag(fields, "strict", default=False)
    key = site.tenant_of(request).space + request.key.encode()
    site.commit_all(
        request, Delete(key, request.key), partial(_deleted, request.key, strict=strict), 0
    )


def _deleted(key: str, outcome: object, *, strict: bool) -> Answer:
    if isinstance(outcome, NotFound):
        if strict:
            raise NotFound(key=key)
        return Answer(204, b"Holdfast-Existed: false\r\n")
    if isinstance(outcome, HoldfastError):
        raise outcome
    return Answer(204, b"Holdfast-Existed: true\r\n")


def stat(site: Site, request: Request) -> None:
    """What is known of an object, or of a name that others lie below."""
    space = site.store.namespace(site.tenant_of(request).name)
    site.ask(request, partial(space.stat, request.key), partial(_as_asked, request))


def _as_asked(request: Request, value: object) -> Answer:
    return told(value, request.form)


def exists(site: Site, request: Request) -> Answer | None:
    """Whether there is an object."""
    composite = site.tenant_of(request).space + request.key.encode()
    look = partial(_is_there, site, composite)
    if reading.is_near(site.corridor, composite):
        return _as_asked(request, look())
    site.ask(request, look, partial(_as_asked, request))
    return None


def _is_there(site: Site, composite: bytes) -> dict[str, bool]:
    try:
        site.corridor.read(composite, lambda bucket: bucket.living(composite))
    except NotFound:
        return {"exists": False}
    return {"exists": True}


def append(site: Site, request: Request) -> None:
    """Add the body to the object."""
    value = bytes(request.body)
    key = site.tenant_of(request).space + request.key.encode()
    if len(value) > VALUE_RECORD_BYTES:
        _append_slowly(site, request, value)
        return

    def told_size(outcome: object) -> Answer | None:
        if large.wants_folding(outcome):
            _append_slowly(site, request, value)
            return None
        if isinstance(outcome, HoldfastError):
            raise outcome
        return _size_told(request, outcome)

    site.commit_all(request, Append(key, request.key, value), told_size, len(value))


def _append_slowly(site: Site, request: Request, value: bytes) -> None:
    """An append of several records, or one that has the extents before it joined."""
    space = space_of(site, site.tenant_of(request).name, numbered(request))
    site.work(request, partial(space.append, request.key, value), partial(_size_told, request))


def _size_told(request: Request, size: object) -> Answer:
    return told({"size": size}, request.form)


def release(site: Site, request: Request) -> None:
    """Lift ``permanent``."""
    key = site.tenant_of(request).space + request.key.encode()
    site.commit(request, Release(key, request.key), lambda _: gone(), 0)
