"""Who asks, and may they: the server's one question to identity and access."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from holdfast.access.decide import ANONYMOUS
from holdfast.access.grants import Ask
from holdfast.errors import InvalidValue, Unauthenticated
from holdfast.identity.issuers import IssuerSettings, issuer_of
from holdfast.values import Principal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.store.store import Store

BEARER = "bearer "


class Door(Protocol):
    """Settles who asks, and whether they may. On the loop nothing here may wait for the disk."""

    def who(self, authorization: str | None, grant: str | None) -> Principal:
        """Whose credential this is; Unauthenticated where it does not verify."""

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
        self._access = store.access
        self.waits = self._access.counts
        self.allow = self._access.decide
        self.origins = self._access.origins

    def who(self, authorization: str | None, grant: str | None) -> Principal:
        """Who shows a token, in the header or in the link; nobody without one."""
        token = token_of(authorization) if authorization is not None else grant
        return ANONYMOUS if token is None else self._tokens.verify(token)


def trust(store: Store, issuers: Sequence[IssuerSettings]) -> None:
    """Believe these issuers' tokens from now on, and no other issuer's but the store's own.

    Raises:
        InvalidValue: a key cannot be used, a file not be read, or a name comes twice.
    """
    store.tokens.trust([issuer_of(issuer, _read) for issuer in issuers])


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
