"""Answers that prove themselves: a value or its absence, and the newest signed root."""

from __future__ import annotations

import logging
import re
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from holdfast.certify import roots, verify
from holdfast.certify.watch import History
from holdfast.errors import InvalidValue, LimitExceeded, NotFound
from holdfast.identity.attestation import binds
from holdfast.limits import LIST_PAGE, PROOF_HEADER_BYTES, PROVEN_BYTES, PROVEN_LIST_BYTES
from holdfast.server.answers import Answer, object_headers, refused, told
from holdfast.server.requests import Request
from holdfast.wire.headers import range_of
from holdfast.wire.paths import decode_query
from holdfast.wire.proofs import Answered

if TYPE_CHECKING:
    from holdfast.server.site import Site
    from holdfast.store.store import Store

log = logging.getLogger("holdfast.attestation")
NUMBER: Final = re.compile(r"[0-9]{1,19}")
LISTING: Final = frozenset(("prefix", "after", "limit", "proof", "since", "grant"))
Prove = Callable[..., Answered]
SEALED: Final = {"1": False, "true": False, "sealed": True}


class Root(msgspec.Struct, frozen=True):
    """The newest signed root, and what leads to it from an older one that was asked for.

    ``attestation`` is the document of the server's enclave that binds the key; None without one.
    """

    root: bytes
    handovers: list[bytes]
    consistency: list[bytes]
    inclusion: list[bytes]
    attestation: bytes | None


def get(site: Site, request: Request) -> None:
    """A value, or that there is none, with the proof: in a header, or all as msgpack."""
    query = decode_query(request.query) if request.query else {}
    name = site.tenant_of(request).name
    make = partial(prove, site.store, name, request)
    site.work(request, partial(asked, make, site.store, query), partial(_proven, name, request))


def page(site: Site, request: Request) -> None:
    """What lies below a prefix, proved; with ``limit`` a page of it. As msgpack, or JSON."""
    query = decode_query(request.query)
    unknown = query.keys() - LISTING
    if unknown:
        raise InvalidValue(argument=min(unknown), reason="not with a proof")
    make = partial(prove_page, site.store, site.tenant_of(request).name)
    site.work(request, partial(asked, make, site.store, query), partial(_page_proven, request))


def asked(make: Prove, store: Store, query: dict[str, str]) -> Answered:
    """A proof, and what leads to its root from the one that the caller knows."""
    sealed = SEALED.get(query.get("proof", "1"))
    if sealed is None:
        raise InvalidValue(argument="proof", reason="1 or sealed")
    since = _number(query, "since")
    answered = make(query, sealed=sealed)
    if since is None:
        return answered
    of = roots.decode(verify.signed_root_of(answered.proof)).log_size
    if since == of:
        return answered
    try:
        history = store.certifier.history_from(min(since, of), max(since, of))
    except InvalidValue:
        return answered  # it was never one of ours: the caller must see that
    return msgspec.structs.replace(
        answered, consistency=history.consistency, inclusion=history.inclusion
    )


def prove(
    store: Store, name: str, request: Request, query: dict[str, str], *, sealed: bool
) -> Answered:
    """Prove an object, or the parts of it that a range asks for."""
    certifier, key = store.certifier, request.key
    if "range" not in request.headers or request.form != "msgpack":
        proven = certifier.prove(name, key, sealed=sealed, most_bytes=PROVEN_BYTES)
        wanted = request.form != "msgpack" or _wants_value(query)
        value = proven.value if wanted else None
        return Answered(value, proven.proof, proven.revision, proven.time_ns)
    parts = certifier.prove_parts(name, key, _span(request), sealed=sealed, most_bytes=PROVEN_BYTES)
    return Answered(*msgspec.structs.astuple(parts))


def _wants_value(query: dict[str, str]) -> bool:
    text = query.get("value", "true")
    if text not in {"true", "false"}:
        raise InvalidValue(argument="value", reason="true or false")
    return text == "true"


def _span(request: Request) -> tuple[int, int]:
    first, last = range_of(request.headers["range"])
    if first is None or last is None:
        raise InvalidValue(argument="range", reason="with a proof, bytes=<first>-<last>")
    return first, last + 1


def prove_page(store: Store, name: str, query: dict[str, str], *, sealed: bool) -> Answered:
    """Prove a page of a list, or all of it."""
    limit = _number(query, "limit")
    if limit == 0:
        raise InvalidValue(argument="limit", reason="a page holds 1 or more")
    proven = store.certifier.prove_page(
        name,
        query.get("prefix", ""),
        after=query.get("after"),
        limit=None if limit is None else min(limit, LIST_PAGE),
        sealed=sealed,
    )
    size = len(proven.proof)
    if size > PROVEN_LIST_BYTES:
        raise LimitExceeded(limit="PROVEN_LIST_BYTES", most=PROVEN_LIST_BYTES, asked=size)
    return Answered(None, proven.proof, proven.revision, proven.time_ns, next=proven.next)


def _proven(name: str, request: Request, answered: object) -> Answer:
    if not isinstance(answered, Answered):
        raise TypeError(answered)
    request.sent_bytes = answered.sent_bytes
    if request.form == "msgpack":
        return told(answered, request.form)
    encoded = b64encode(answered.proof)
    if len(encoded) > PROOF_HEADER_BYTES:  # as msgpack there is room for it
        raise LimitExceeded(limit="PROOF_HEADER_BYTES", most=PROOF_HEADER_BYTES)
    headers = b"Holdfast-Proof: %b\r\n" % encoded
    if answered.value is None:
        answer = refused(NotFound(key=request.key))
        answer.headers += headers
        return answer
    said = verify.said_of(name, request.key, answered.proof)
    told_beside = object_headers(said.content_type, said.version, said.modified_ns, said.expires_ns)
    return Answer(200, told_beside + headers, answered.value)


def _page_proven(request: Request, answered: object) -> Answer:
    if not isinstance(answered, Answered):
        raise TypeError(answered)
    request.sent_bytes = answered.sent_bytes
    return told(answered, request.form)


def _number(query: dict[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if NUMBER.fullmatch(text) is None:
        raise InvalidValue(argument=name, reason="not a number")
    return int(text)


def root(site: Site, request: Request) -> None:
    """The newest signed root; with ``size=`` also what leads to it from the root of that place."""
    size = _number(decode_query(request.query) if request.query else {}, "size")
    find = partial(_root, site.store, size, site.settings.key_document)
    site.work(request, find, partial(_root_told, request))


def _root(store: Store, size: int | None, document: str | None) -> Root:
    certifier = store.certifier
    seal = certifier.seal()
    history = History()
    if size is not None and size != seal.root.log_size:
        history = certifier.history_from(size, seal.root.log_size)
    proofs = (list(history.consistency), list(history.inclusion))
    attested = None if document is None else _attested(Path(document), store.public_key())
    return Root(seal.message, [*seal.handovers], *proofs, attested)


def _attested(file: Path, public_key: bytes) -> bytes | None:
    """The document in a file, if it binds the key: its enclave may not have brought it yet."""
    try:
        document = file.read_bytes()
    except OSError as error:
        log.warning("key_document cannot be read: %s", type(error).__name__)
        return None
    if binds(document, public_key):
        return document
    log.warning("key_document does not bind the store's signing key, and is not shown")
    return None


def _root_told(request: Request, found: object) -> Answer:
    return told(found, request.form)
