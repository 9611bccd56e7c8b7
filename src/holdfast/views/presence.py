"""Which keys a view may hold: 64 bits of hash each, in about 20 bytes a key.

Whoever must know what a store replaces asks the view for every key; where keys are
new, that is a walk down the tree for nothing. Here the answer for a whole batch is one
call. It may say yes to a key that is not there (it went, or its hash is another's) and
never no to one that is. The interpreter's own hash of the key is taken, which is seeded
for each process; were it not, crafted keys would cost the walk that they cost without.

It holds what the view has absorbed and what stands in overlays that were told of it:
new ones take their keys there as they come, older ones before they are absorbed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from threading import Lock

from cykhash import Int64Set, none_int64_from_iter  # type: ignore[import-untyped]

WARY_CLAIMS = 16  # behind one that told less: so many of the next are looked through key by key


class Presence:
    """The keys that one bucket's view may hold; of no use before it is ``whole``.

    Args:
        start: where the view's keys begin.
    """

    __slots__ = ("_hashes", "_lock", "_wary", "grown_to", "whole")

    def __init__(self, start: bytes) -> None:
        self._hashes = Int64Set()
        self._lock = Lock()
        self._wary = 0  # claims to come that are looked through
        self.grown_to = start
        self.whole = False

    def add(self, keys: Iterable[bytes]) -> None:
        """Take these in."""
        with self._lock:
            self._hashes.update(map(hash, keys))

    def claim(self, keys: Sequence[bytes]) -> Sequence[bytes]:
        """Take these in; those of them that may have been there, in their order.

        Where all are new it grows by as many, which one call tells; where it does not all of
        them may have been there.
        """
        with self._lock:
            hashes = self._hashes
            before = len(hashes)
            there = _among(keys, hashes) if self._wary else []
            hashes.update(map(hash, keys))
            if len(hashes) - before == len(keys):
                self._wary = max(0, self._wary - 1)
                return []
            found = there if self._wary else keys
            self._wary = WARY_CLAIMS
            return found

    def __len__(self) -> int:
        return len(self._hashes)


def _among(keys: Sequence[bytes], hashes: Int64Set) -> list[bytes]:
    if none_int64_from_iter(map(hash, keys), hashes):
        return []
    return [key for key in keys if hash(key) in hashes]
