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
    from holdfast.errors import (
        Busy,
        Changed,
        Closed,
        Corrupt,
        CrossBucket,
        Exists,
        FenceTooOld,
        FormatTooNew,
        HoldfastError,
        InUse,
        InvalidExpiry,
        InvalidKey,
        InvalidNamespace,
        InvalidValue,
        LimitExceeded,
        LockHeld,
        LockLost,
        Moved,
        NotFound,
        OutcomeUnknown,
        Permanent,
        SessionUnknown,
        StorageFailed,
        VersionMismatch,
    )
    from holdfast.store import Namespace, Store
    from holdfast.store import open_store as open
    from holdfast.store.restore import restore
    from holdfast.values import (
        BucketStatus,
        CheckReport,
        CollectReport,
        DeadLetter,
        Place,
        Problem,
        Receipt,
        Stat,
        Status,
    )

_ERRORS = (
    "Busy",
    "Changed",
    "Closed",
    "Corrupt",
    "CrossBucket",
    "Exists",
    "FenceTooOld",
    "FormatTooNew",
    "HoldfastError",
    "InUse",
    "InvalidExpiry",
    "InvalidKey",
    "InvalidNamespace",
    "InvalidValue",
    "LimitExceeded",
    "LockHeld",
    "LockLost",
    "Moved",
    "NotFound",
    "OutcomeUnknown",
    "Permanent",
    "SessionUnknown",
    "StorageFailed",
    "VersionMismatch",
)
_VALUES = (
    "BucketStatus",
    "CheckReport",
    "CollectReport",
    "DeadLetter",
    "Place",
    "Problem",
    "Receipt",
    "Stat",
    "Status",
)
_HOMES = {
    **dict.fromkeys(_ERRORS, ("holdfast.errors", None)),
    **dict.fromkeys(_VALUES, ("holdfast.values", None)),
    "Namespace": ("holdfast.store", None),
    "Store": ("holdfast.store", None),
    "open": ("holdfast.store", "open_store"),
    "restore": ("holdfast.store.restore", None),
    "testing": ("holdfast.testing", ""),
}

__all__ = [  # noqa: PLE0604 - the tuples above are strings
    *_ERRORS,
    *_VALUES,
    "Namespace",
    "Store",
    "open",
    "restore",
    "testing",
]


def __getattr__(name: str) -> object:
    try:
        home, attribute = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}") from None
    module = importlib.import_module(home)
    found = module if attribute == "" else getattr(module, attribute or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
