"""How often a counted grant was used: never more than granted, whatever crashes.

    uses/<digest of the counted grant>    {"taken": n, "until_ns": ...}

``taken`` runs ahead: a sixteenth of what was granted is taken at a time, durably, before
the first of it is used. A crash loses what was taken and not used, in the granter's
favour; a clean end gives it back. Several workers take from the same record, each
compares the version, so no use is given twice.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from threading import Lock
from typing import Final

import msgspec

from holdfast.access.records import NEW, Records
from holdfast.errors import Exists, HoldfastError, VersionMismatch
from holdfast.limits import COUNTED_GRANTS
from holdfast.values import planned

FOLDER: Final = "uses/"
PART: Final = 16  # of what was granted is taken at a time
DIGEST_BYTES: Final = 16
AFTER_NS: Final = 7 * 86_400_000_000_000  # past its end before a record may go: clocks differ


@planned
class Count(msgspec.Struct, frozen=True):
    """What the record of a counted grant says; ``until_ns`` is when the grant ends, if ever."""

    taken: int
    until_ns: int | None = None


class Uses:
    """The counters of every counted grant.

    Args:
        records: where they are kept.
        now_ns: nanoseconds since 1970.
    """

    def __init__(self, records: Records, now_ns: Callable[[], int]) -> None:
        self._records = records
        self._now_ns = now_ns
        self._lock = Lock()
        self._left: dict[str, int] = {}  # taken here and not used yet

    def spend(self, counted: str, granted: int, until_ns: int | None) -> bool:
        """Use a counted grant once; False where it is used up.

        Raises:
            HoldfastError: what was to be taken could not be made durable.
        """
        with self._lock:
            left = self._left.pop(counted, 0) or self._take(counted, granted, until_ns)
            if left > 1:
                if len(self._left) >= COUNTED_GRANTS:
                    oldest = next(iter(self._left))
                    self._give_back(oldest, self._left.pop(oldest))
                self._left[counted] = left - 1
            return left > 0

    def _take(self, counted: str, granted: int, until_ns: int | None) -> int:
        key = _key(counted)
        while True:
            held = self._records.get(key)
            taken, version = (_count(held[0]).taken, held[1]) if held else (0, NEW)
            size = min(granted - taken, max(1, granted // PART))
            if size <= 0:
                return 0
            try:
                self._put(key, Count(taken + size, until_ns), version)
            except (Exists, VersionMismatch):
                continue  # another worker took meanwhile
            return size

    def _put(self, key: str, count: Count, version: int) -> None:
        self._records.put(key, msgspec.json.encode(count), version)

    def _give_back(self, counted: str, left: int) -> None:
        key = _key(counted)
        held = self._records.get(key)
        if held is None:
            return
        count = _count(held[0])
        try:
            self._put(key, Count(count.taken - left, count.until_ns), held[1])
        except (Exists, VersionMismatch):
            return  # another worker took meanwhile; what is not given back is lost, not used

    def close(self) -> None:
        """Give back what was taken and not used."""
        with self._lock:
            left, self._left = self._left, {}
            for counted, count in left.items():
                try:
                    self._give_back(counted, count)
                except HoldfastError:
                    return  # the store is going down; fewer uses are left, never more

    def prune(self) -> None:
        """Forget counters of grants that ended long ago."""
        for key, data in self._records.list(FOLDER):
            until_ns = _count(data).until_ns
            if until_ns is not None and until_ns + AFTER_NS < self._now_ns():
                self._records.delete(key)


def _key(counted: str) -> str:
    return FOLDER + blake2b(counted.encode(), digest_size=DIGEST_BYTES).hexdigest()


def _count(data: bytes) -> Count:
    return msgspec.json.decode(data, type=Count)
