"""Holdfast keeps other people's data so that they can check it and you can bill it.

    import holdfast

    with holdfast.open("data") as store:
        acme = store.namespace("acme")
        acme.put("invoices/7", b"...", ttl="30d")
        acme.get("invoices/7")

Names load when they are first used (PEP 562), so importing this costs little.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast import testing
    from holdfast.aio import aopen
    from holdfast.certify.verify import Verified, verify, verify_list
    from holdfast.client import aconnect, connect
    from holdfast.errors import (
        AttestationInvalid,
        BalanceEmpty,
        Busy,
        Changed,
        Closed,
        Corrupt,
        CrossBucket,
        DeadlineExceeded,
        Exists,
        FenceTooOld,
        Forbidden,
        FormatTooNew,
        HoldfastError,
        InUse,
        InvalidExpiry,
        InvalidKey,
        InvalidNamespace,
        InvalidQuery,
        InvalidValue,
        LimitExceeded,
        LockHeld,
        LockLost,
        Moved,
        NotFound,
        OutcomeUnknown,
        Permanent,
        ProofInvalid,
        RateLimited,
        SessionUnknown,
        StorageFailed,
        Unauthenticated,
        Unavailable,
        VersionMismatch,
    )
    from holdfast.store import Namespace, Store
    from holdfast.store import open_store as open  # noqa: A004 - the face's name
    from holdfast.store.restore import restore
    from holdfast.values import (
        BucketStatus,
        CheckReport,
        CollectReport,
        DeadLetter,
        Grant,
        Hit,
        Hits,
        IndexRule,
        Place,
        Principal,
        Problem,
        Progress,
        Proven,
        Receipt,
        Stat,
        Status,
    )

__all__ = [
    "AttestationInvalid",
    "BalanceEmpty",
    "BucketStatus",
    "Busy",
    "Changed",
    "CheckReport",
    "Closed",
    "CollectReport",
    "Corrupt",
    "CrossBucket",
    "DeadLetter",
    "DeadlineExceeded",
    "Exists",
    "FenceTooOld",
    "Forbidden",
    "FormatTooNew",
    "Grant",
    "Hit",
    "Hits",
    "HoldfastError",
    "InUse",
    "IndexRule",
    "InvalidExpiry",
    "InvalidKey",
    "InvalidNamespace",
    "InvalidQuery",
    "InvalidValue",
    "LimitExceeded",
    "LockHeld",
    "LockLost",
    "Moved",
    "Namespace",
    "NotFound",
    "OutcomeUnknown",
    "Permanent",
    "Place",
    "Principal",
    "Problem",
    "Progress",
    "ProofInvalid",
    "Proven",
    "RateLimited",
    "Receipt",
    "SessionUnknown",
    "Stat",
    "Status",
    "StorageFailed",
    "Store",
    "Unauthenticated",
    "Unavailable",
    "Verified",
    "VersionMismatch",
    "aconnect",
    "aopen",
    "connect",
    "open",
    "restore",
    "testing",
    "verify",
    "verify_list",
]

_ELSEWHERE = {
    "Namespace": ("holdfast.store", "Namespace"),
    "Store": ("holdfast.store", "Store"),
    "Verified": ("holdfast.certify.verify", "Verified"),
    "aconnect": ("holdfast.client", "aconnect"),
    "aopen": ("holdfast.aio", "aopen"),
    "connect": ("holdfast.client", "connect"),
    "open": ("holdfast.store", "open_store"),
    "restore": ("holdfast.store.restore", "restore"),
    "testing": ("holdfast.testing", ""),
    "verify": ("holdfast.certify.verify", "verify"),
    "verify_list": ("holdfast.certify.verify", "verify_list"),
}
_VALUES = frozenset(
    (
        "BucketStatus",
        "CheckReport",
        "CollectReport",
        "DeadLetter",
        "Grant",
        "Hit",
        "Hits",
        "IndexRule",
        "Place",
        "Principal",
        "Problem",
        "Progress",
        "Proven",
        "Receipt",
        "Stat",
        "Status",
    )
)


def _home(name: str) -> tuple[str, str]:
    """The module that has a name, and what it is called there."""
    if name in _ELSEWHERE:
        return _ELSEWHERE[name]
    return ("holdfast.values" if name in _VALUES else "holdfast.errors"), name


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - takes 20 ms to import

        return version("holdfast")
    if name not in __all__:
        message = f"module 'holdfast' has no attribute {name!r}"
        raise AttributeError(message)
    home, attribute = _home(name)
    try:
        module = importlib.import_module(home)
    except ModuleNotFoundError as error:
        from holdfast.extras import wanted  # noqa: PLC0415 - only where something is missing

        if wanted(error) is None:
            raise
        message = f"holdfast.{name} needs: pip install '{wanted(error)}'"
        raise ModuleNotFoundError(message, name=error.name) from error
    found = getattr(module, attribute) if attribute else module
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
