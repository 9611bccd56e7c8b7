"""Every error Holdfast raises, drawn as one tree.

The branch says what the caller must do; the leaf says what happened; the
fields carry the facts. Message texts are constant, so they can be matched and
translated; facts never hide inside them.

    HoldfastError
    |-- Correctable      the request is wrong or meets the wrong state: change it
    |-- Payable          the money is gone: pay
    |-- Waitable         nothing is wrong with the request: try later
    `-- Untrusted        stop trusting: the bytes, the disk or the outcome

``effect`` says what the failed operation did: ``"none"`` (not applied) or
``"unknown"`` (may have been applied). docs/GUARANTEES.md has the table.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Literal, Self

Effect = Literal["none", "unknown"]


class HoldfastError(Exception):
    """Root of every error that Holdfast raises.

    Args:
        **facts: what happened, by field name; readable as ``error.facts`` and
            as attributes (``error.key``).

    Example:
        >>> try:
        ...     raise NotFound(key="a")
        ... except HoldfastError as error:
        ...     print(error.code, error.key)
        not_found a
    """

    code: ClassVar[str] = "holdfast"
    message: str = "Holdfast could not do this"
    effect: ClassVar[Effect] = "none"

    def __init__(self, **facts: object) -> None:
        super().__init__(self.message)
        self.facts = facts

    def __getattr__(self, name: str) -> object:
        try:
            return self.__dict__["facts"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __str__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.facts.items())
        return f"{self.message} ({told})" if told else self.message

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.facts.items())
        return f"{type(self).__name__}({told})"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.facts))


def _rebuild(kind: type[HoldfastError], facts: dict[str, object]) -> HoldfastError:
    return kind(**facts)


class Correctable(HoldfastError):
    """The caller can correct the request, or must look at the state first."""


class Payable(HoldfastError):
    """Nothing is wrong with the request, and no waiting helps: somebody must pay first."""


class Waitable(HoldfastError):
    """Nothing is wrong with the request: the same call may succeed later."""


class Untrusted(HoldfastError):
    """The bytes, the disk or the outcome can no longer be taken on trust."""


# -- correct it ---------------------------------------------------------------


class NotFound(Correctable, KeyError):
    """No object has this key: never stored, deleted, expired or out of sight.

    Or no bucket has this id, no signed root this number, no entry of the books names this
    account: ``bucket``, ``revision``, ``account``.
    """

    code = "not_found"
    message = "no object has this key"

    def __init__(self, **facts: object) -> None:
        if "bucket" in facts:
            self.message = "no bucket has this id"
        elif "revision" in facts:
            self.message = "no signed root has this number"
        elif "account" in facts:
            self.message = "no entry names this account"
        super().__init__(**facts)


class Exists(Correctable):
    """``if_absent`` was asked and an object is there."""

    code = "exists"
    message = "an object with this key already exists"


class VersionMismatch(Correctable):
    """``if_version`` was asked and the object has another version."""

    code = "version_mismatch"
    message = "the object has another version than expected"


class FenceTooOld(Correctable):
    """A newer lock holds the key than the one this fence came from."""

    code = "fence_too_old"
    message = "a newer lock holds the key"


class LockLost(Correctable):
    """This lock does not hold the key: expired, released or never taken."""

    code = "lock_lost"
    message = "this lock does not hold the key"


class Permanent(Correctable):
    """The object is permanent: release it before changing or deleting it."""

    code = "permanent"
    message = "the object is permanent"


class LimitExceeded(Correctable):
    """A bound of limits.py or of the namespace would be passed (``limit`` names it)."""

    code = "limit_exceeded"
    message = "a limit would be exceeded"


class InvalidKey(Correctable, ValueError):
    """The key is not a string of 1 to 1024 UTF-8 bytes."""

    code = "invalid_key"
    message = "the key is not valid"


class InvalidQuery(Correctable, ValueError):
    """A search cannot be understood; ``position`` says where in its text, counted from 0."""

    code = "invalid_query"
    message = "the query cannot be understood"


class InvalidNamespace(Correctable, ValueError):
    """The namespace is not 1 to 128 of ``[A-Za-z0-9._-]``."""

    code = "invalid_namespace"
    message = "the namespace is not valid: it is 1 to 128 of A-Z a-z 0-9 . _ -"


class InvalidValue(Correctable, ValueError):
    """An argument has a wrong type or lies outside its range (``argument`` names it)."""

    code = "invalid_value"
    message = "an argument is not valid"


class InvalidExpiry(Correctable, ValueError):
    """The time to live is zero, negative, unreadable or excluded by another option.

    One that is too long names its bound (``limit``, ``most``).
    """

    code = "invalid_expiry"
    message = "the time to live is not valid: it is seconds above 0, or text like 30d"


class CrossBucket(Correctable):
    """``atomic=True`` was asked for keys that lie in more than one bucket."""

    code = "cross_bucket"
    message = "the keys of an atomic batch lie in more than one bucket"


class Unauthenticated(Correctable):
    """Nobody known asks: no credential, or one that does not verify (``reason`` says what)."""

    code = "unauthenticated"
    message = "the caller is not authenticated"


class AttestationInvalid(Correctable):
    """An attestation document does not verify.

    ``reason`` is one of encoding, signature, chain, root, expired, stale, future, debug,
    image, nonce, key.
    """

    code = "attestation_invalid"
    message = "the attestation document does not verify"


class Forbidden(Correctable):
    """The caller is known and has no right to do this (``reason`` says which is missing)."""

    code = "forbidden"
    message = "the caller may not do this"


class SessionUnknown(Correctable):
    """The session of a numbered write is not known here (any more)."""

    code = "session_unknown"
    message = "the session of this write is not known"


class Closed(Correctable):
    """The store, file or lock was closed."""

    code = "closed"
    message = "this is closed"


class FormatTooNew(Correctable):
    """The bytes were written by a later format version than this one reads."""

    code = "format_too_new"
    message = "written by a newer version of Holdfast"


# -- pay ----------------------------------------------------------------------


class BalanceEmpty(Payable):
    """The account has not enough money for this (``account`` or ``namespace`` names it)."""

    code = "balance_empty"
    message = "the balance is empty"


# -- wait ---------------------------------------------------------------------


class LockHeld(Waitable):
    """Another lock holds the key."""

    code = "lock_held"
    message = "another lock holds the key"


class InUse(Waitable):
    """The store is open already, in another process or in this one (``pid`` names it)."""

    code = "in_use"
    message = "the store is open already"


class Busy(Waitable):
    """The store is behind with its upkeep and asks writers to come back later."""

    code = "busy"
    message = "the store is catching up"


class Moved(Waitable):
    """The key lives in another bucket now (``place`` says where)."""

    code = "moved"
    message = "the key lives in another bucket"


class RateLimited(Waitable):
    """Too many requests of this caller at once or per second (``retry_after_s`` says when)."""

    code = "rate_limited"
    message = "too many requests"


class Unavailable(Waitable):
    """The server cannot be reached or is going down; the request was not begun."""

    code = "unavailable"
    message = "the server is not available"


class DeadlineExceeded(Waitable):
    """The deadline had passed before the request was begun."""

    code = "deadline_exceeded"
    message = "the deadline has passed"


class Changed(Waitable):
    """The object was replaced while a slow reader was in the middle of it."""

    code = "changed"
    message = "the object was replaced while it was read"


# -- stop trusting ------------------------------------------------------------


class Corrupt(Untrusted):
    """Bytes fail their checksum or contradict each other (``position`` says where)."""

    code = "corrupt"
    message = "stored bytes do not verify"


class StorageFailed(Untrusted):
    """The disk refused; the write was not stored (``errno`` and ``cause`` say why)."""

    code = "storage_failed"
    message = "the storage below failed"

    @classmethod
    def of(cls, error: OSError, **where: object) -> Self:
        """What the system refused, and ``where``.

        Example:
            >>> StorageFailed.of(OSError(28, "No space left on device"), path="/data").errno
            'ENOSPC'
        """
        name = errno.errorcode.get(error.errno or 0, "?")
        return cls(**where, errno=name, cause=str(error))


class OutcomeUnknown(Untrusted):
    """The write may or may not be stored; the bucket only reads until it can begin a segment."""

    code = "outcome_unknown"
    message = "it is not known whether the write was stored"
    effect = "unknown"


class ProofInvalid(Untrusted):
    """A proof, receipt or signed root does not convince (``reason`` says what is wrong with it)."""

    code = "proof_invalid"
    message = "the proof does not verify"
