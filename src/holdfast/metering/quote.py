"""What an operation will cost, before anything is done."""

from __future__ import annotations

from typing import NamedTuple

from holdfast import charges
from holdfast.charges import Back, Terms
from holdfast.errors import InvalidValue
from holdfast.metering.tariffs import CLASSES, SENDS, Tariff
from holdfast.operations import (
    Append,
    Consumers,
    Delete,
    Lock,
    Release,
    Renew,
    Store,
    StoreOptions,
    Unlock,
)
from holdfast.values import Cost

FREE_OF_TARIFF = Terms(0)


def quote(
    tariff: Tariff | None,
    operation: str,
    *,
    size_bytes: int = 0,
    ttl_ns: int | None = None,
    back: Back | None = None,
    back_terms: Terms | None = None,
    storage_terms: Terms | None = None,
) -> Cost:
    """The price of one operation.

    Args:
        tariff: in force; None for a namespace without one, where everything is free.
        operation: its name, as in the table of rights ("store", "load", "lock", ...).
        size_bytes: of key and value that are stored, or of what is sent.
        ttl_ns: how long a stored object is to live; None pays rent instead.
        back: what is given back of the object that is there now.
        back_terms: by which that was paid; those in force if None.
        storage_terms: by which what an append adds is paid, as what was there before was; those
            in force if None.

    Raises:
        InvalidValue: there is no such operation, or a number is below zero.

    Example:
        >>> from holdfast.metering import shipped
        >>> quote(shipped()["enclave"], "store", size_bytes=100, ttl_ns=60_000_000_000).atto
        1816526000
    """
    if operation not in CLASSES:
        raise InvalidValue(argument="operation", reason="not one that has a price")
    if size_bytes < 0 or (ttl_ns is not None and ttl_ns < 0):
        raise InvalidValue(argument="size_bytes" if size_bytes < 0 else "ttl_ns")
    terms = tariff.terms if tariff is not None else FREE_OF_TARIFF
    kind = CLASSES[operation]
    stored = size_bytes if operation in {"store", "append"} else 0
    seconds = charges.begun_seconds(ttl_ns or 0)
    given = 0
    if back is not None:
        given = charges.unused(back_terms or terms, back.size_bytes, back.seconds, early=back.early)
    return Cost(
        kind,
        tariff.name if tariff is not None else "",
        tariff.version if tariff is not None else 0,
        operation_atto=charges.operation(terms, kind),
        storage_atto=charges.storage(storage_terms or terms, stored, seconds),
        egress_atto=charges.egress(terms, size_bytes) if operation in SENDS else 0,
        back_atto=given,
    )


class Asked(NamedTuple):
    """What ``quote`` of a namespace takes, of an operation as a value."""

    operation: str
    key: str | None
    size_bytes: int = 0
    ttl: float | str | None = None
    keep_ttl: bool = False


def asked(operation: object) -> Asked:
    """What an operation as a value asks for.

    Raises:
        InvalidValue: it is none that has a price.

    Example:
        >>> asked(Store(b"", "k", b"v", StoreOptions(ttl_ns=60)))
        Asked(operation='store', key='k', size_bytes=1, ttl='60ns', keep_ttl=False)
    """
    match operation:
        case Store(name=key, value=value, options=StoreOptions(ttl_ns=ttl_ns, keep_ttl=keeps)):
            return Asked("store", key, len(value), None if ttl_ns is None else f"{ttl_ns}ns", keeps)
        case Store(name=key, value=value):
            return Asked("store", key, len(value))
        case Append(name=key, value=value):
            return Asked("append", key, len(value))
        case Consumers(name=key, action=action):
            return Asked(f"consumers.{action}", key)
        case (
            Delete(name=key)
            | Release(name=key)
            | Lock(name=key)
            | Unlock(name=key)
            | Renew(name=key)
        ):
            return Asked(type(operation).__name__.lower(), key)
        case _:
            raise InvalidValue(argument="operation", reason="not one that has a price")
