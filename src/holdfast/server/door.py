"""Who asks, and may they: the server's one question to identity and access."""

from __future__ import annotations

import hmac
from typing import Protocol

from holdfast.errors import Forbidden, Unauthenticated
from holdfast.values import Grant, Principal

BEARER = "bearer "
ALL = Grant("*", ("read", "write", "delete", "admin"))


class Door(Protocol):
    """Settles who asks, and whether they may."""

    def who(self, authorization: str | None, grant: str | None) -> Principal:
        """Whose credential this is; Unauthenticated where it does not verify."""

    def allow(  # noqa: PLR0917 - who asks what of whom
        self,
        principal: Principal,
        operation: str,
        namespace: str,
        key: str | None,
        size_bytes: int,
        address: str,
    ) -> None:
        """Return where it is allowed; Unauthenticated or Forbidden where not."""


class OperatorDoor:
    """Lets in whoever has one secret, to everything.

    Args:
        secret: the token.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def who(self, authorization: str | None, grant: str | None) -> Principal:
        """The operator, or nobody."""
        told = token_of(authorization) or grant
        if told is None:
            return Principal("anonymous", "")
        if not hmac.compare_digest(told.encode(), self._secret):
            raise Unauthenticated(reason="signature")
        return Principal("operator", "operator", (ALL,))

    def allow(  # noqa: PLR0917 - who asks what of whom
        self,
        principal: Principal,
        operation: str,
        namespace: str,
        key: str | None,
        size_bytes: int,
        address: str,
    ) -> None:
        """The operator may do everything, everybody else nothing."""
        del namespace, key, size_bytes, address
        if principal.kind == "anonymous":
            raise Unauthenticated(reason="no credential")
        if not principal.grants:
            raise Forbidden(reason="namespace", operation=operation)


def token_of(authorization: str | None) -> str | None:
    """The token of an ``Authorization`` header, None where there is none.

    Raises:
        Unauthenticated: the header asks for another scheme.
    """
    if authorization is None:
        return None
    if authorization[: len(BEARER)].lower() != BEARER:
        raise Unauthenticated(reason="scheme")
    return authorization[len(BEARER) :].strip()
