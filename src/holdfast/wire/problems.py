"""Errors as problem documents (RFC 9457), and problem documents as errors.

    {"type": "urn:holdfast:error:<code>", "title": <constant text>, "status": n,
     "code": <code>, "effect": "none" | "unknown", "facts": {...}}

docs/PROTOCOL.md section 1 has the table of statuses.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

import msgspec

from holdfast.errors import (
    Correctable,
    HoldfastError,
    InvalidValue,
    LimitExceeded,
    Moved,
    OutcomeUnknown,
    Payable,
    StorageFailed,
    Untrusted,
    Waitable,
)
from holdfast.values import Place

TYPE: Final = "urn:holdfast:error:"
MEDIA_TYPE: Final = "application/problem+json"
UNREADABLE: Final = "request"  # InvalidValue(argument="request"): it cannot be read at all
INT_LEAST, INT_MOST = -(1 << 63), (1 << 64) - 1
TEXT_MOST = 4096  # characters of one fact
DEPTH_MOST = 4
ITEMS_MOST = 1000  # as many as a page of a list has

BAD_REQUEST, NOT_SATISFIABLE, SERVER_ERROR, FULL = 400, 416, 500, 507

NO_ROOM: Final = frozenset(("ENOSPC", "EDQUOT", errno.ENOSPC, errno.EDQUOT))

BOUNDS: Final = {  # of a namespace
    "bytes_max": 507,
    "objects_max": 507,
    "requests_per_s": 429,
    "concurrent_max": 429,
}
STATUS: Final[dict[str, int]] = {
    "unauthenticated": 401,
    "attestation_invalid": 401,
    "balance_empty": 402,
    "forbidden": 403,
    "not_found": 404,
    "lock_held": 409,
    "cross_bucket": 409,
    "permanent": 409,
    "changed": 409,
    "session_unknown": 409,
    "exists": 412,
    "version_mismatch": 412,
    "fence_too_old": 412,
    "limit_exceeded": 413,
    "moved": 421,
    "invalid_key": 422,
    "invalid_namespace": 422,
    "invalid_query": 422,
    "invalid_value": 422,
    "invalid_expiry": 422,
    "lock_lost": 423,
    "rate_limited": 429,
    "corrupt": 500,
    "storage_failed": 500,
    "outcome_unknown": 500,
    "proof_invalid": 500,
    "format_too_new": 500,
    "busy": 503,
    "unavailable": 503,
    "in_use": 503,
    "closed": 503,
    "deadline_exceeded": 504,
}
WAIT = frozenset(
    (421, 425, 429, 502, 503, 504)
)  # an unknown code with one of these may be repeated
KINDS: Final[dict[str, type[HoldfastError]]] = {
    leaf.code: leaf
    for branch in (Correctable, Payable, Waitable, Untrusted)
    for leaf in branch.__subclasses__()
}


def status_of(error: HoldfastError) -> int:
    """The HTTP status of an error; 500 for one that the table does not name.

    Example:
        >>> status_of(InvalidValue(argument="ttl")), status_of(InvalidValue(argument="range"))
        (422, 416)
    """
    if isinstance(error, InvalidValue):
        argument = error.facts.get("argument")
        if argument == UNREADABLE:
            return BAD_REQUEST
        if argument == "range":
            return NOT_SATISFIABLE
    if isinstance(error, LimitExceeded):
        return BOUNDS.get(str(error.facts.get("limit")), STATUS[error.code])
    if isinstance(error, StorageFailed) and error.facts.get("errno") in NO_ROOM:
        return FULL
    return STATUS.get(error.code, SERVER_ERROR)


def problem_of(error: HoldfastError) -> dict[str, object]:
    """An error as the fields of its problem document.

    Facts that are bytes, or nothing that JSON has a form for, are not told.

    Example:
        >>> problem_of(Moved(bucket="7"))["facts"]
        {'bucket': '7'}
    """
    told = {name: _told(fact, DEPTH_MOST) for name, fact in error.facts.items()}
    return {
        "type": TYPE + error.code,
        "title": error.message,
        "status": status_of(error),
        "code": error.code,
        "effect": error.effect,
        "facts": {name: fact for name, fact in told.items() if fact is not UNTOLD},
    }


def error_of(problem: Mapping[str, object]) -> HoldfastError:
    """The error that a problem document tells of, to be raised.

    A code that this version does not know becomes the branch that its status and effect
    belong to; its facts then say the code and the title.

    Example:
        >>> error_of({"code": "not_found", "facts": {"key": "a"}})
        NotFound(key='a')
    """
    code, told = problem.get("code"), problem.get("facts")
    facts = {str(name): fact for name, fact in told.items()} if isinstance(told, Mapping) else {}
    kind = KINDS.get(code) if isinstance(code, str) else None
    if kind is None:
        kind = _branch(problem.get("status"), problem.get("effect"))
        facts |= {name: problem[name] for name in ("code", "title", "status") if name in problem}
    if kind is Moved:
        facts["place"] = _place(facts.get("place"))
    # The facts choose some messages; a stranger's may be called "self", which no keyword can be.
    error = kind(**{name: fact for name, fact in facts.items() if name != "self"})
    error.facts = facts
    return error


def unreadable(reason: str) -> InvalidValue:
    """The refusal of what cannot be read at all (status 400)."""
    return InvalidValue(argument=UNREADABLE, reason=reason)


def _branch(status: object, effect: object) -> type[HoldfastError]:
    if effect == "unknown":
        return OutcomeUnknown
    if not isinstance(status, int):
        return Untrusted
    if status in WAIT:
        return Waitable
    return Correctable if status < SERVER_ERROR else Untrusted


def _place(told: object) -> Place | None:
    try:
        return msgspec.convert(told, Place)
    except msgspec.ValidationError:
        return None


class _Untold:
    """Stands for a fact that is not told."""


UNTOLD: Final = _Untold()


def _told(fact: object, depth: int) -> object:
    """A fact as JSON has it, or UNTOLD."""
    if fact is None or isinstance(fact, bool | float):
        return fact
    if isinstance(fact, int):
        return fact if INT_LEAST <= fact <= INT_MOST else str(fact)
    if isinstance(fact, str):
        # What is no UTF-8 was refused for it, and must be told all the same.
        return fact[:TEXT_MOST].encode("utf-8", "backslashreplace").decode()
    return _told_structure(fact, depth - 1) if depth else UNTOLD


def _told_structure(fact: object, depth: int) -> object:
    if isinstance(fact, Place):
        return msgspec.to_builtins(fact)
    if isinstance(fact, list | tuple):
        told = [_told(item, depth) for item in fact[:ITEMS_MOST]]
        return [item for item in told if item is not UNTOLD]
    if isinstance(fact, Mapping):
        pairs = {str(name): _told(item, depth) for name, item in fact.items()}
        return {name: item for name, item in pairs.items() if item is not UNTOLD}
    return UNTOLD
