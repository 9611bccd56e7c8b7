"""The one decision: may this principal do that? Asked by every door, for every request.

Whoever asks has grants of their own (in the credential), perhaps some that a namespace
gives to them, and what is published to everybody. The first that reaches the ask allows
it; then the operator's policies may still refuse; then a counted grant is used up by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import msgspec

from holdfast.access.grants import REACHED, REASONS, Ask, reach
from holdfast.access.policy import Policy, refusal
from holdfast.access.rights import CHANGES, KNOWN, OF_STORE, OPEN, RIGHT_OF, SESSION
from holdfast.errors import Forbidden, Unauthenticated
from holdfast.values import Grant, Principal, Right

__all__ = ["ANONYMOUS", "Ask", "Given", "Tenancy", "decide", "who"]

ANONYMOUS: Final = Principal("anonymous", "")


class Given(msgspec.Struct, frozen=True):
    """A grant that a namespace gives: ``to`` whom (see ``who``); ``id`` counts its uses."""

    id: str
    to: str
    grant: Grant


class Tenancy(Protocol):
    """What a decision needs to know of the store. Nothing here may wait but ``spend``."""

    policies: Sequence[Policy]

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""

    def given(self, namespace: str, to: str) -> Sequence[Given]:
        """What a namespace gives to somebody."""

    def published(self, namespace: str) -> Sequence[str]:
        """The prefixes that anyone may read."""

    def spend(self, counted: str, granted: int, until_ns: int | None) -> bool:
        """Use a counted grant once; False where it is used up. May write, durably."""


def who(principal: Principal) -> str:
    """The name that a namespace's own grants are given to.

    It is built from what nobody can choose: an issuer and its subject, the id of a token
    of ours, the image of an enclave. The free name of a token of ours gives nothing.

    Example:
        >>> who(Principal("token", "ci", credential="5f0c"))
        'token:5f0c'
        >>> who(Principal("token", "https://id.example#ann", credential="..."))
        'user:https://id.example#ann'
    """
    if principal.kind == "token" and "#" in principal.name:
        return f"user:{principal.name}"
    if principal.kind == "enclave":
        return f"enclave:{principal.name}"
    return f"{principal.kind}:{principal.credential}"


def decide(principal: Principal, ask: Ask, tenancy: Tenancy) -> None:
    """Return where the ask is allowed.

    Args:
        principal: who asks.
        ask: for what.
        tenancy: what the store knows of grants.

    Raises:
        Unauthenticated: nobody known asks for what is not published ("missing"), or the
            credential has ended ("expired").
        Forbidden: ``reason`` is how far the best grant reached (namespace, right,
            operation, prefix, network, bytes, expired), "uses" where it is used up, or
            "policy", with the policy's own words in ``policy``.
    """
    now_ns = tenancy.now_ns()
    if principal.until_ns is not None and now_ns >= principal.until_ns:
        raise Unauthenticated(reason="expired")
    if ask.operation in OF_STORE and ask.namespace:
        ask = msgspec.structs.replace(ask, namespace="")
    counted = _allowing(principal, ask, tenancy, now_ns)
    if tenancy.policies:
        told = refusal(tenancy.policies, principal, ask)
        if told is not None:
            raise Forbidden(reason="policy", policy=told)
    if counted and not any(
        tenancy.spend(one.id, one.grant.uses or 0, one.grant.until_ns) for one in counted
    ):
        raise Forbidden(reason="uses")


def _allowing(
    principal: Principal, ask: Ask, tenancy: Tenancy, now_ns: int
) -> Sequence[Given] | None:
    """None where a grant allows it at once; else the counted grants that would allow it."""
    right = RIGHT_OF.get(ask.operation)
    if right is None:
        _decide_known(principal, ask)
        return None
    best = 0
    for grant in principal.grants:  # the quick way of almost every request
        far = reach(grant, ask, right, now_ns)
        if far == REACHED and grant.uses is None:
            return None
        best = max(best, far)
    return _others(principal, ask, tenancy, (right, best, now_ns))


def _others(
    principal: Principal, ask: Ask, tenancy: Tenancy, sofar: tuple[Right, int, int]
) -> Sequence[Given] | None:
    right, best, now_ns = sofar
    counted = []
    for one in _every(principal, ask, tenancy):
        far = reach(one.grant, ask, right, now_ns)
        best = max(best, far)
        if far == REACHED:
            if one.grant.uses is None:
                return None
            counted.append(one)
    if counted:
        return counted
    if principal.kind == "anonymous":
        raise Unauthenticated(reason="missing")
    raise Forbidden(reason=REASONS[min(best, REACHED - 1)])


def _every(principal: Principal, ask: Ask, tenancy: Tenancy) -> Iterator[Given]:
    """Every grant there is for a principal, the counted ones of its credential numbered."""
    for number, grant in enumerate(principal.grants):
        if grant.uses is not None:
            # Its counter is needed as long as the credential lives.
            lasting = msgspec.structs.replace(grant, until_ns=principal.until_ns)
            ends = grant if grant.until_ns is not None else lasting
            yield Given(f"{principal.credential}/{number}", "", ends)
    if principal.kind != "anonymous":
        yield from tenancy.given(ask.namespace, who(principal))
    for prefix in tenancy.published(ask.namespace):
        yield Given("", "", Grant(ask.namespace, ("read",), prefix=prefix, operations=OPEN))


def _decide_known(principal: Principal, ask: Ask) -> None:
    if principal.kind == "anonymous":
        raise Unauthenticated(reason="missing")
    if ask.operation in KNOWN:
        return
    if ask.operation != SESSION:
        raise Forbidden(reason="operation")
    if not any(CHANGES.intersection(grant.rights) for grant in principal.grants):
        raise Forbidden(reason="right")
