"""What gRPC calls our errors: one table from their codes to its numbered statuses.

The status says what kind of thing happened to whoever knows gRPC only; the code beside it, in the
trailer ``holdfast-code``, says which. Numbers are those of google.rpc.Code.
"""

from __future__ import annotations

from typing import Final

CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND = 1, 2, 3, 4, 5
ALREADY_EXISTS, PERMISSION_DENIED, RESOURCE_EXHAUSTED = 6, 7, 8
FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, UNIMPLEMENTED = 9, 10, 11, 12
INTERNAL, UNAVAILABLE, DATA_LOSS, UNAUTHENTICATED = 13, 14, 15, 16

CODE, COST, BALANCE, VERSION, REQUEST = (
    f"holdfast-{name}" for name in ("code", "cost", "balance", "version", "request")
)
PROBLEM: Final = "holdfast-problem-bin"  # the problem document, as HTTP has it
SESSION, BUCKET = "holdfast-session", "holdfast-bucket"  # metadata, as HTTP's headers

RPC_STATUS: Final[dict[str, int]] = {
    "unauthenticated": UNAUTHENTICATED,
    "attestation_invalid": UNAUTHENTICATED,
    "forbidden": PERMISSION_DENIED,
    "balance_empty": FAILED_PRECONDITION,
    "not_found": NOT_FOUND,
    "exists": ALREADY_EXISTS,
    "version_mismatch": ABORTED,
    "lock_held": ABORTED,
    "changed": ABORTED,
    "moved": ABORTED,
    "fence_too_old": FAILED_PRECONDITION,
    "lock_lost": FAILED_PRECONDITION,
    "permanent": FAILED_PRECONDITION,
    "cross_bucket": FAILED_PRECONDITION,
    "session_unknown": FAILED_PRECONDITION,
    "format_too_new": FAILED_PRECONDITION,
    "limit_exceeded": RESOURCE_EXHAUSTED,
    "rate_limited": RESOURCE_EXHAUSTED,
    "invalid_key": INVALID_ARGUMENT,
    "invalid_namespace": INVALID_ARGUMENT,
    "invalid_query": INVALID_ARGUMENT,
    "invalid_value": INVALID_ARGUMENT,
    "invalid_expiry": INVALID_ARGUMENT,
    "corrupt": DATA_LOSS,
    "proof_invalid": DATA_LOSS,
    "storage_failed": INTERNAL,
    "outcome_unknown": UNKNOWN,
    "busy": UNAVAILABLE,
    "unavailable": UNAVAILABLE,
    "in_use": UNAVAILABLE,
    "closed": UNAVAILABLE,
    "deadline_exceeded": DEADLINE_EXCEEDED,
}


def rpc_status(code: str) -> int:
    """The number of the status for an error's code; INTERNAL for one that has none.

    Example:
        >>> rpc_status("not_found"), rpc_status("holdfast")
        (5, 13)
    """
    return RPC_STATUS.get(code, INTERNAL)
