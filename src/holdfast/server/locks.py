"""Leases over HTTP. Waiting for one is the caller's choice, and blocks nobody here."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from holdfast.limits import LOCK_ID_BYTES, LOCK_TTL_S
from holdfast.operations import Lock, Renew, Unlock
from holdfast.request import arguments
from holdfast.server.answers import Answer, gone, told
from holdfast.server.requests import Request
from holdfast.wire.values import Locked, decode, form_of

if TYPE_CHECKING:
    from holdfast.server.site import Site

T = TypeVar("T")


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """What a lease is asked with."""

    ttl: float | int | str = LOCK_TTL_S


class Held(msgspec.Struct, forbid_unknown_fields=True):
    """Which lease is meant."""

    lock_id: str


def lock(site: Site, request: Request) -> None:
    """Take a lease."""
    asked = _body(request, Asked) if request.body else Asked()
    ttl_ns = arguments.duration_ns(asked.ttl)
    lock_id = site.store.entropy.bytes(LOCK_ID_BYTES)

    def locked(outcome: object) -> Answer:
        # A numbered one that was taken before tells the id that it was given then.
        fence, held = outcome if isinstance(outcome, tuple) else (outcome, lock_id)
        if not isinstance(fence, int):
            raise TypeError(fence)
        return told(Locked(held.hex(), fence), request.form)

    site.commit(request, Lock(_key(site, request), request.key, lock_id, ttl_ns), locked, 0)


def renew(site: Site, request: Request) -> None:
    """Begin a lease anew."""
    held = arguments.lock_id(_body(request, Held).lock_id)
    operation = Renew(_key(site, request), request.key, held)
    site.commit(request, operation, lambda fence: told({"fence": fence}, request.form), 0)


def unlock(site: Site, request: Request) -> None:
    """Give a lease back."""
    held = arguments.lock_id(_body(request, Held).lock_id)
    site.commit(request, Unlock(_key(site, request), request.key, held), lambda _: gone(), 0)


def _key(site: Site, request: Request) -> bytes:
    return site.tenant_of(request).space + request.key.encode()


def _body(request: Request, kind: type[T]) -> T:
    return decode(bytes(request.body), kind, form_of(request.headers.get("content-type")))
