"""Which keys a view may hold: 64 bits of hash each, in about 20 bytes a key.

Whoever must know what a store replaces asks the view for every key; where keys are
new, that is a walk down the tree for nothing. Here the answer for a whole batch is one
call. It may say yes to a key that is not there (it went, or its hash is another's) and
never no to one that is. The interpreter's own hash of the key is taken, which is seeded
for each process; were it not, crafted keys would cost the walk that they cost without.

It holds what the view has absorbed: a checkpoint brings both forward while its overlay
still stands in front of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from cykhash import Int64Set, none_int64_from_iter  # type: ignore[import-untyped]


class Presence:
    """The keys that one bucket's view may hold; of no use before it is ``whole``.

    Args:
        start: where the view's keys begin.
    """

    __slots__ = ("_hashes", "grown_to", "whole")

    def __init__(self, start: bytes) -> None:
        self._hashes = Int64Set()
        self.grown_to = start
        self.whole = False

    def add(self, keys: Iterable[bytes]) -> None:
        """Take these in."""
        self._hashes.update(map(hash, keys))

    def among(self, keys: list[bytes]) -> list[bytes]:
        """Those of some keys that the view may hold, in their order."""
        hashes = self._hashes
        if none_int64_from_iter(map(hash, keys), hashes):
            return []
        return [key for key in keys if hash(key) in hashes]

    def __len__(self) -> int:
        return len(self._hashes)
