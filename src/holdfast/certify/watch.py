"""What a client remembers of a store, and what a newer signed root says against it.

A store's history is the RFC 9162 log of its signed roots: each commits to all before it, and
becomes the next leaf. Whoever remembers one root can therefore tell whether a later one goes
on from it: the log must have grown (consistency), and the remembered root must stand in it at
its place (inclusion). What a lying store can say instead, and what that is:

    rollback  an older revision than the one remembered, in the same life of the store
    fork      another root at the remembered revision, or a history that does not hold it
    restore   a new life of the store (incarnation): declared, so a fact rather than a fault
    clock     a time before the remembered one, or too far from the caller's own
    store     another store altogether
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

from holdfast.certify import merkle
from holdfast.certify.roots import SignedRoot
from holdfast.errors import ProofInvalid

Finding = Literal["rollback", "fork", "restore", "clock", "store"]
CLOCKS_APART_NS: Final = 60_000_000_000


@dataclass(frozen=True)
class Seen:
    """One signed root as it is remembered; bytes in hex, so that the file is plain text.

    ``leaf`` is the hash of the signed root in the log that later roots commit to.
    """

    store: str
    incarnation: int
    revision: int
    time_ns: int
    root: str
    log_size: int
    log_root: str
    leaf: str

    def encode(self) -> bytes:
        """The file's bytes: JSON."""
        return json.dumps(asdict(self), indent=1).encode()


@dataclass(frozen=True)
class History:
    """What shows that one signed root goes on from another: the hashes of both proofs."""

    consistency: tuple[bytes, ...] = ()
    inclusion: tuple[bytes, ...] = ()


def seen_of(message: bytes, root: SignedRoot) -> Seen:
    """What to remember of a signed root whose signature was verified."""
    return Seen(
        store=root.store.hex(),
        incarnation=root.incarnation,
        revision=root.revision,
        time_ns=root.time_ns,
        root=root.root.hex(),
        log_size=root.log_size,
        log_root=root.log_root.hex(),
        leaf=merkle.leaf_hash(message).hex(),
    )


def decode(data: bytes) -> Seen:
    """What a file of ``Seen.encode`` says.

    Raises:
        ProofInvalid: ``reason="encoding"`` where it is not such a file.
    """
    try:
        fields = json.loads(data)
        seen = Seen(**fields)
        sizes = [len(bytes.fromhex(text)) for text in (seen.root, seen.log_root, seen.leaf)]
    except (ValueError, TypeError, RecursionError):
        raise ProofInvalid(reason="encoding") from None
    numbers = (seen.incarnation, seen.revision, seen.time_ns, seen.log_size)
    if sizes != [merkle.HASH_BYTES] * 3 or any(type(number) is not int for number in numbers):
        raise ProofInvalid(reason="encoding")
    return seen


def judge(before: Seen | None, now: Seen, history: History, *, wall_ns: int) -> list[Finding]:
    """What is wrong with a newer root in the eyes of somebody who remembers one.

    Args:
        before: what was remembered; None at the first look.
        now: the root that the store shows, its signature verified.
        history: the store's proofs from ``before`` to ``now``.
        wall_ns: the caller's own time, nanoseconds since 1970.

    Returns:
        The findings, none where all is well. ``["restore"]`` alone is a declared restore:
        remember the new root. With any other the old one stays worth remembering.
    """
    clock: list[Finding] = [] if abs(wall_ns - now.time_ns) <= CLOCKS_APART_NS else ["clock"]
    if before is None:
        return clock
    if now.time_ns < before.time_ns and not clock:
        clock = ["clock"]
    return [*_continues(before, now, history), *clock]


def compare(one: Seen, other: Seen, history: History) -> list[Finding]:
    """What two clients' memories say against each other; ``history`` leads from older to newer."""
    older, newer = sorted((one, other), key=lambda seen: (seen.incarnation, seen.revision))
    return _continues(older, newer, history)


def _continues(before: Seen, now: Seen, history: History) -> list[Finding]:
    if now.store != before.store:
        return ["store"]
    if now.incarnation > before.incarnation and now.revision > before.revision:
        return ["restore"]
    if now.incarnation < before.incarnation or now.revision < before.revision:
        return ["rollback"]
    if now.revision == before.revision:
        same = (now.incarnation, now.root, now.log_size, now.log_root, now.time_ns)
        known = (before.incarnation, before.root, before.log_size, before.log_root, before.time_ns)
        return [] if same == known else ["fork"]
    return [] if _grew(before, now, history) else ["fork"]


def _grew(before: Seen, now: Seen, history: History) -> bool:
    """Whether the log of the newer root holds the older one, behind all that it held itself."""
    newer = bytes.fromhex(now.log_root)
    try:
        _verify_prefix(before, now.log_size, newer, history.consistency)
        leaf = bytes.fromhex(before.leaf)
        merkle.verify_inclusion(before.log_size, now.log_size, leaf, history.inclusion, newer)
    except ProofInvalid:
        return False
    return True


def _verify_prefix(before: Seen, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    if before.log_size == 0:  # the first root of all: nothing stood before it
        return
    older = bytes.fromhex(before.log_root)
    merkle.verify_consistency(before.log_size, size, older, root, proof)
