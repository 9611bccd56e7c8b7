"""What a numbered write came to, as bytes: what is answered when its number comes again.

A msgpack array that begins with what it is:

    [0, version, size, expires_ns or nil]   stored; the rest of the receipt is the asker's
    [1, int or nil]                         a size in bytes, or nothing to tell
    [2, [id, ...]]                          consumer ids that were not found
    [3, fence, lock id]                     a lease
    [4, code, {name: int or nil}]           refused, by the object as it was

The same bytes stand in SESSION records and in the state of segments. An answer
names the key as it was asked for, and the bucket that holds it by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from holdfast.errors import (
    Exists,
    FenceTooOld,
    HoldfastError,
    LockLost,
    NotFound,
    Permanent,
    VersionMismatch,
)
from holdfast.operations import Evacuate, Lock, Operation
from holdfast.values import Receipt, planned

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket

# Refusals that the object decided. What may pass, and what only the request is to
# blame for, changed nothing and is decided anew when the number comes again.
DECIDED = (NotFound, Exists, VersionMismatch, FenceTooOld, LockLost, Permanent)
REFUSALS = {kind.code: kind for kind in DECIDED}


@planned
class Stored(msgspec.Struct, array_like=True, tag=0):
    """A receipt's own facts."""

    version: int
    size: int
    expires_ns: int | None


@planned
class Told(msgspec.Struct, array_like=True, tag=1):
    """A number, or nothing."""

    value: int | None


@planned
class Missing(msgspec.Struct, array_like=True, tag=2):
    """Consumer ids."""

    ids: tuple[bytes, ...]


@planned
class Leased(msgspec.Struct, array_like=True, tag=3):
    """A lock that was taken: the id is not the one that a second try brings along."""

    fence: int
    lock_id: bytes


@planned
class Refused(msgspec.Struct, array_like=True, tag=4):
    """An error, by its code, and its facts but for the key."""

    code: str
    facts: dict[str, int | None]


Outcome = Stored | Told | Missing | Leased | Refused
DECODER = msgspec.msgpack.Decoder(Outcome)


def encode_result(operation: Operation, result: object) -> bytes:
    """The result of an operation that was applied."""
    outcome: Outcome
    if isinstance(result, Receipt):
        outcome = Stored(result.version, result.size, result.expires_ns)
    elif isinstance(operation, Lock) and isinstance(result, int):
        outcome = Leased(result, operation.lock_id)
    elif isinstance(result, Sequence):
        outcome = Missing(tuple(result))
    elif result is None or isinstance(result, int):
        outcome = Told(result)
    else:
        raise TypeError(result)
    return msgspec.msgpack.encode(outcome)


def encode_refusal(error: HoldfastError) -> bytes:
    """One of ``DECIDED``."""
    facts = {
        name: fact for name, fact in error.facts.items() if fact is None or isinstance(fact, int)
    }
    return msgspec.msgpack.encode(Refused(error.code, facts))


def answer(bucket: Bucket, operation: Operation, kept: bytes) -> object:
    """What the number came to before, as the operation's result; a refusal is raised again."""
    outcome = DECODER.decode(kept)
    name = "" if isinstance(operation, Evacuate) else operation.name
    if isinstance(outcome, Refused):
        raise REFUSALS[outcome.code](key=name, **outcome.facts)
    if isinstance(outcome, Stored):
        return Receipt(name, outcome.version, outcome.size, outcome.expires_ns, bucket.id)
    if isinstance(outcome, Leased):
        return outcome.fence, outcome.lock_id
    return list(outcome.ids) if isinstance(outcome, Missing) else outcome.value
