"""Who asks, and may they: the server's one question to identity and access."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from holdfast.access.decide import ANONYMOUS
from holdfast.access.grants import EVERY, Ask, counts_at
from holdfast.access.rights import DELETES, READS, RIGHT_OF, WRITES
from holdfast.errors import InvalidValue, Unauthenticated
from holdfast.identity.issuers import Issuer, IssuerSettings, issuer_of
from holdfast.values import Grant, Principal, Right

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.store.store import Store

BEARER = "bearer "
OURS = frozenset(("token", "enclave", "operator"))  # whose grants are the store's own word
HEADERS_KEPT, PASSES_KEPT = 1_000, 10_000
QUICK = READS | WRITES | DELETES  # of which no audit tells where they are allowed


class Pass(msgspec.Struct, frozen=True):
    """A credential that verified, and lets its holder do something: until when, at the latest.

    ``epoch`` is what the tokens' was before that (``Tokens.epoch``).
    """

    principal: Principal
    until_ns: int
    epoch: int


class Door(Protocol):
    """Settles who asks, and whether they may. On the loop nothing here may wait for the disk."""

    def who(self, authorization: str | None, grant: str | None) -> Principal:
        """Whose credential this is; Unauthenticated where it does not verify."""

    def passes(self, principal: Principal, namespace: str, operation: str, address: str) -> bool:
        """Whether ``allow`` would return, from this address, whatever key and size are."""

    def hold(
        self, authorization: str | None, namespace: str, operation: str, address: str
    ) -> Pass | None:
        """What says in short, of a credential that ``passes``, that it does; None of any other.

        Raises:
            Unauthenticated: as ``who``.
        """

    def counts(self, held: Pass) -> bool:
        """Whether it still does: asked before each use."""

    def waits(self, principal: Principal, namespace: str) -> bool:
        """Whether ``allow`` may have to write, so that a thread must ask it."""

    def allow(self, principal: Principal, ask: Ask) -> None:
        """Return where it is allowed; Unauthenticated or Forbidden where not."""

    def origins(self, namespace: str) -> Sequence[str]:
        """The web origins that a browser may ask from; "*" is any."""


class StoreDoor:
    """The door of a store: its own tokens, grants and policies decide.

    Args:
        store: the open store; its tokens and rights are read here, which waits for the disk.
    """

    def __init__(self, store: Store) -> None:
        self._tokens = store.tokens
        self._wall_ns = store.clock.wall_ns
        self._access = store.access
        self.waits = self._access.counts
        self.allow = self._access.decide
        self.origins = self._access.origins

        self._headers: dict[str, str] = {}  # tokens by the header that showed them
        self._passes: set[tuple[str, ...]] = set()  # with an address where networks narrow it

    def who(self, authorization: str | None, grant: str | None) -> Principal:
        """Who shows a token, in the header or in the link; nobody without one."""
        if authorization is None:
            return ANONYMOUS if grant is None else self._tokens.verify(grant)
        token = self._headers.get(authorization)
        if token is None:
            token = token_of(authorization)
            principal = self._tokens.verify(token)
            if len(self._headers) >= HEADERS_KEPT:
                self._headers.clear()
            self._headers[authorization] = token
            return principal
        return self._tokens.verify(token)

    def passes(self, principal: Principal, namespace: str, operation: str, address: str) -> bool:
        """Whether a token of the store's own, or an enclave, has a grant for all of a namespace.

        What such a credential says never changes, so this is found out once (for each address
        where networks narrow it); that it counts still is found out by ``who``, each time.
        """
        named = (principal.credential, namespace, operation)
        if named in self._passes or (*named, address) in self._passes:
            return True
        ours = principal.kind in OURS and "#" not in principal.credential
        if not ours or self._access.policies or operation not in QUICK:
            return False
        right = RIGHT_OF[operation]
        whole = [grant for grant in principal.grants if _is_whole(grant, namespace, right)]
        if not any(counts_at(grant, address) for grant in whole):
            return False
        if len(self._passes) >= PASSES_KEPT:
            self._passes.clear()
        anywhere = any(not grant.networks for grant in whole)
        self._passes.add(named if anywhere else (*named, address))
        return True

    def hold(
        self, authorization: str | None, namespace: str, operation: str, address: str
    ) -> Pass | None:
        """A pass for a token of the store's own that has a grant for all of a namespace."""
        epoch = self._tokens.epoch  # first: what is revoked from here on makes it another
        principal = self.who(authorization, None)
        until_ns = principal.until_ns
        if until_ns is None or not self.passes(principal, namespace, operation, address):
            return None
        return Pass(principal, until_ns, epoch)

    def counts(self, held: Pass) -> bool:
        """Whether it has not ended, and nothing was revoked since."""
        return held.epoch == self._tokens.epoch and self._wall_ns() < held.until_ns


def _is_whole(grant: Grant, namespace: str, right: Right) -> bool:
    """Whether a grant holds for everything in a namespace, and only networks narrow it."""
    whole = Grant(grant.namespace, grant.rights, networks=grant.networks) == grant
    held = right in grant.rights or "admin" in grant.rights
    return whole and held and grant.namespace in {namespace, EVERY}


def issuers_of(told: Sequence[IssuerSettings]) -> list[Issuer]:
    """The issuers that settings tell of, with their keys, for ``Tokens.trust``.

    Raises:
        InvalidValue: a key cannot be used, or a file not be read.
    """
    return [issuer_of(issuer, _read) for issuer in told]


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidValue(argument="issuers", path=path, cause=str(error)) from error


def token_of(authorization: str) -> str:
    """The token of an ``Authorization`` header.

    Raises:
        Unauthenticated: the header asks for another scheme.
    """
    if authorization[: len(BEARER)].lower() != BEARER:
        raise Unauthenticated(reason="scheme")
    return authorization[len(BEARER) :].strip()
