"""Organisation scopes of trusted issuers, as 0-stor had them.

    user:memberof:<organisation>.0stor.<space>[.read|.write|.delete]

stands for the namespace ``<organisation>_0stor_<space>``; without a last part, for its
owner, who has every right. Names are word characters only: with dots among them, a right
in one namespace would spell the ownership of another.
"""

from __future__ import annotations

import re
from typing import Final, get_args

from holdfast.values import NAMESPACE_NAME, Grant, Right

INFIX: Final = "_0stor_"
MEMBER: Final = "user:memberof:"
OWNER: Final[tuple[Right, ...]] = get_args(Right)
_LABEL = re.compile(r"\w+", re.ASCII)
_SCOPE = re.compile(r"(\w+)\.0stor\.(\w+?)(?:\.(read|write|delete))?", re.ASCII)
_ONE: Final[dict[str | None, tuple[Right, ...]]] = {
    None: OWNER,
    "read": ("read",),
    "write": ("write",),
    "delete": ("delete",),
}


def is_label(namespace: str) -> bool:
    """Whether a namespace is an organisation's: "_0stor_" once, and something on either side.

    Example:
        >>> is_label("org_0stor_ns"), is_label("_0stor_ns"), is_label("a_0stor_0stor_b")
        (True, False, False)
    """
    at = namespace.find(INFIX)
    return (
        0 < at < len(namespace) - len(INFIX)
        and namespace.find(INFIX, at + 1) < 0
        and _LABEL.fullmatch(namespace) is not None
        and NAMESPACE_NAME.fullmatch(namespace) is not None
    )


def grant_of(scope: str) -> Grant | None:
    """What one scope grants, or None where it is none of ours.

    Example:
        >>> found = grant_of("user:memberof:org.0stor.ns.read")
        >>> found.namespace, found.rights
        ('org_0stor_ns', ('read',))
        >>> grant_of("user:org.0stor.ns") is None
        True
    """
    found = _SCOPE.fullmatch(scope.removeprefix(MEMBER))
    if found is None:
        return None
    namespace = f"{found[1]}{INFIX}{found[2]}"
    return Grant(namespace, _ONE[found[3]]) if is_label(namespace) else None


def grants_of(scopes: list[str]) -> tuple[Grant, ...]:
    """What a token's scopes grant together; scopes of others are passed over."""
    return tuple(grant for grant in map(grant_of, scopes) if grant is not None)
