"""Answers that prove themselves: a value or its absence, and the newest signed root."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from holdfast.errors import InvalidValue, LimitExceeded, NotFound
from holdfast.limits import PROOF_HEADER_BYTES, PROVEN_BYTES
from holdfast.server.answers import Answer, refused, told
from holdfast.server.requests import Request
from holdfast.values import Proven
from holdfast.wire.headers import OCTETS
from holdfast.wire.paths import decode_query

if TYPE_CHECKING:
    from holdfast.server.site import Site
    from holdfast.store.store import Store

NUMBER: Final = re.compile(r"[0-9]{1,19}")
SEALED: Final = {"1": False, "true": False, "sealed": True}


class Root(msgspec.Struct, frozen=True):
    """The newest signed root, and what leads to it from an older one that was asked for."""

    root: bytes
    handovers: list[bytes]
    consistency: list[bytes]
    inclusion: list[bytes]


def get(site: Site, request: Request) -> None:
    """A value, or that there is none, with the proof: in a header, or all as msgpack."""
    query = decode_query(request.query) if request.query else {}
    sealed = SEALED.get(query.get("proof", "1"))
    if sealed is None:
        raise InvalidValue(argument="proof", reason="1 or sealed")
    name = site.tenant_of(request).name
    prove = partial(_prove, site.store, name, request.key, sealed=sealed)
    site.work(request, prove, partial(_proven, request))


def _prove(store: Store, name: str, key: str, *, sealed: bool) -> Proven:
    return store.certifier.prove(name, key, sealed=sealed, most_bytes=PROVEN_BYTES)


def _proven(request: Request, proven: object) -> Answer:
    if not isinstance(proven, Proven):
        raise TypeError(proven)
    if request.form == "msgpack":
        return told(proven, request.form)
    encoded = b64encode(proven.proof)
    if len(encoded) > PROOF_HEADER_BYTES:  # as msgpack there is room for it
        raise LimitExceeded(limit="PROOF_HEADER_BYTES", most=PROOF_HEADER_BYTES)
    headers = b"Holdfast-Proof: %b\r\n" % encoded
    if proven.value is None:
        answer = refused(NotFound(key=request.key))
        answer.headers += headers
        return answer
    kind = b"Content-Type: %b\r\n" % OCTETS.encode()
    return Answer(200, kind + headers, proven.value)


def root(site: Site, request: Request) -> None:
    """The newest signed root; with ``size=`` also what leads to it from the root of that place."""
    text = decode_query(request.query).get("size") if request.query else None
    if text is not None and NUMBER.fullmatch(text) is None:
        raise InvalidValue(argument="size", reason="not a number")
    size = None if text is None else int(text)
    site.work(request, partial(_root, site.store, size), partial(_root_told, request))


def _root(store: Store, size: int | None) -> Root:
    certifier = store.certifier
    seal = certifier.seal()
    if size is None or size == seal.root.log_size:
        return Root(seal.message, [*seal.handovers], [], [])
    history = certifier.history_from(size, seal.root.log_size)
    return Root(seal.message, [*seal.handovers], list(history.consistency), list(history.inclusion))


def _root_told(request: Request, found: object) -> Answer:
    return told(found, request.form)
