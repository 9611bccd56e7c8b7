"""Which right an operation needs: the one table of every door.

The first four follow 0-stor's methods (facts of its ``checkPermissions``): what
shows is read, what changes is write, what takes away is delete; ``admin`` holds
the other three.
"""

from __future__ import annotations

from typing import Final

from holdfast.values import Right

# Operations that touch the objects of one namespace.
READS: Final = frozenset(("load", "exists", "stat", "list", "search", "locate", "consumers.list"))
WRITES: Final = frozenset(
    (
        "store",
        "append",
        "release",
        "consumers.set",
        "consumers.append",
        "lock",
        "renew",
        "unlock",
    )
)
DELETES: Final = frozenset(("delete", "consumers.remove"))
# Operations on a namespace itself.
ADMINISTERS: Final = frozenset(
    (
        *("index.rules", "index.rules.set"),
        *("drop", "grants", "grants.set", "published", "publish", "cors", "cors.set"),
        *("tokens", "tokens.list", "revoke"),
        # Of the account of the namespace's name, and of what it is charged by.
        *("account", "account.entries", "statement", "metering", "usage", "quote"),
    )
)
# Operations on the whole store: only a grant over every namespace reaches them.
OF_STORE: Final = frozenset(
    (
        "status",
        "check",
        "collect",
        "rebuild",
        "tick",
        "flush",
        "dead_letters",
        "backup",
        "metrics",
        "search.all",
        *("tariffs.set", "metering.set", "accounts", "deposit", "transfer", "rule"),
    )
)
# What whoever is known may ask; a session is for who may change something somewhere.
KNOWN: Final = frozenset(("namespaces", "openapi", "root", "room", "tariffs"))
SESSION: Final = "session"
CHANGES: Final = frozenset(("write", "delete", "admin"))
# What everybody may do below a published prefix.
OPEN: Final = ("load", "exists", "stat", "list")

RIGHT_OF: Final[dict[str, Right]] = {
    **dict.fromkeys(READS, "read"),
    **dict.fromkeys(WRITES, "write"),
    **dict.fromkeys(DELETES, "delete"),
    **dict.fromkeys(ADMINISTERS | OF_STORE, "admin"),
    "metrics": "read",
}
# These leave a line in the audit log even where they are allowed.
TOLD: Final = (ADMINISTERS | OF_STORE) - {
    *("index.rules", "search.all"),
    *("grants", "published", "cors", "metrics", "status", "tokens.list"),
    *("account", "account.entries", "accounts", "metering", "usage", "quote"),
}
