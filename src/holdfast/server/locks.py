"""Leases over HTTP. Waiting for one is the caller's choice, and blocks nobody here.

Who waits is one request, however often it is looked for him: he is answered when the lease is
his, or his wait is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from holdfast.errors import HoldfastError, InvalidValue, LockHeld, Unavailable
from holdfast.limits import LOCK_ID_BYTES, LOCK_TTL_S, LOCK_WAIT_S, SECOND_NS
from holdfast.operations import Lock, Renew, Unlock
from holdfast.request import arguments
from holdfast.server.answers import Answer, gone, told
from holdfast.server.requests import Request
from holdfast.wire.values import Locked, decode, form_of

if TYPE_CHECKING:
    from holdfast.server.site import Site, Told

T = TypeVar("T")


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """What a lease is asked with."""

    ttl: float | int | str = LOCK_TTL_S
    wait: float = 0


class Held(msgspec.Struct, forbid_unknown_fields=True):
    """Which lease is meant."""

    lock_id: str


def lock(site: Site, request: Request) -> None:
    """Take a lease."""
    asked = _body(request, Asked) if request.body else Asked()
    ttl_ns = arguments.duration_ns(asked.ttl)
    wait_ns = int(arguments.seconds(asked.wait, "wait") * SECOND_NS)
    lock_id = site.store.entropy.bytes(LOCK_ID_BYTES)

    def locked(outcome: object) -> Answer:
        if isinstance(outcome, HoldfastError):
            raise outcome
        # A numbered one that was taken before tells the id that it was given then.
        fence, held = outcome if isinstance(outcome, tuple) else (outcome, lock_id)
        if not isinstance(fence, int):
            raise TypeError(fence)
        return told(Locked(held.hex(), fence), request.form)

    operation = Lock(_key(site, request), request.key, lock_id, ttl_ns)
    take(site, request, operation, locked, wait_ns=wait_ns)


def take(site: Site, request: Request, asked: Lock, told: Told, *, wait_ns: int) -> None:
    """Take a lease, and look again until the wait is over while somebody else holds it.

    Args:
        site: carries it out.
        request: is answered by then.
        asked: the lock.
        told: makes the answer of what it came to, an error included.
        wait_ns: how long to wait.

    Raises:
        InvalidValue: nobody waits so long.
    """
    if not 0 <= wait_ns <= LOCK_WAIT_S * SECOND_NS:
        raise InvalidValue(argument="wait", reason=f"0 to {LOCK_WAIT_S} seconds")
    until_ns = site.clock.monotonic_ns() + wait_ns

    def settled(outcome: object) -> Answer | None:
        left_ns = until_ns - site.clock.monotonic_ns()
        if not isinstance(outcome, LockHeld) or left_ns <= 0:
            return told(outcome)
        if site.draining:
            raise Unavailable
        if not request.is_waited_for:
            return told(outcome)
        asked.again = True
        site.lanes.pauses.add(look)
        return None

    def look() -> None:
        try:
            site.commit_all(request, asked, settled, 0)
        except HoldfastError as error:
            request.refuse(error)

    site.commit_all(request, asked, settled, 0)


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
