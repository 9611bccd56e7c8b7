"""Since which revision the ranges of buckets are as they are: what proofs say of routing.

    directory   the first revision that was sealed with these ranges (8 bytes, big-endian), then
                the SHA-256 of the list [[start, bucket id], ...] in MessagePack

A directory counts its changes from each opening on, and a bucket that wakes is one to it. What is
signed goes on where a process ends: the same ranges have the same version, so a tree that is made
anew has the same root, and other ranges have a higher one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

if TYPE_CHECKING:
    from holdfast.store.tenancy import StoreRecords

NAME: Final = "directory"
VERSION_BYTES: Final = 8


class Range(Protocol):
    """The range of a bucket: it reaches to the start of the next."""

    id: str
    start: bytes


class Routing:
    """What was sealed of the ranges last. Used by one thread at a time.

    Args:
        records: where that is kept.
    """

    def __init__(self, records: StoreRecords) -> None:
        self._records = records
        self._seen: list[tuple[bytes, str]] = []
        self._version = 0

    def version(self, ranges: Sequence[Range], revision: Callable[[], int]) -> int:
        """Since which revision these are the ranges; from the next one on, where they are new.

        Args:
            ranges: of all buckets, in order.
            revision: the one that will be signed next.
        """
        seen = [(one.start, one.id) for one in ranges]
        if seen != self._seen:
            digest = sha256(msgspec.msgpack.encode(seen)).digest()
            kept = self._kept(digest)
            self._version = self._keep(digest, revision()) if kept is None else kept
            self._seen = seen
        return self._version

    def _kept(self, digest: bytes) -> int | None:
        found = self._records.get(NAME)
        if found is None or found[0][VERSION_BYTES:] != digest:
            return None
        return int.from_bytes(found[0][:VERSION_BYTES], "big")

    def _keep(self, digest: bytes, version: int) -> int:
        self._records.put(NAME, version.to_bytes(VERSION_BYTES, "big") + digest)
        return version
