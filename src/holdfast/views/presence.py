"""Which keys a bucket may hold: 64 bits of hash each, in about 20 bytes a key.

Whoever must know what a store replaces asks memory and the view for every key; where keys are
new, that is a walk down each of them for nothing. Here the answer for a whole batch is one
call. It may say yes to a key that is not there (it went, or its hash is another's) and
never no to one that is. The interpreter's own hash of the key is taken, which is seeded
for each process; were it not, crafted keys would cost the walk that they cost without.

It holds what was published since it began, and takes in what the view held before. What was in
memory then, where that is much, comes with the checkpoint that absorbs it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Final

from cykhash import Int64Set, none_int64  # type: ignore[import-untyped]

AT_ONCE: Final = 1_000  # keys in memory that a writer takes in

Keys = dict[bytes, bytes]


class Presence:
    """The keys that one bucket may hold.

    ``whole``: it has those of the view. ``apart``: what was in memory and may be missing here.

    Args:
        start: where the view's keys begin.
        memory: what is in memory in front of the view.
    """

    __slots__ = ("_hashes", "apart", "grown_to", "whole")

    def __init__(self, start: bytes, memory: Sequence[Keys] = ()) -> None:
        self._hashes = Int64Set()
        self.grown_to = start
        self.whole = False
        self.apart: list[Keys] = []
        if sum(map(len, memory)) > AT_ONCE:
            self.apart = list(memory)
        else:
            for keys in memory:
                self.add(keys)

    def add(self, keys: Iterable[bytes]) -> None:
        """Take these in."""
        self._hashes.update(map(hash, keys))

    def covers(self, memory: Sequence[Keys]) -> bool:
        """Whether nothing is missing here of what is published, with this in memory."""
        if self.apart:
            self.apart = [keys for keys in self.apart if any(keys is one for one in memory)]
        return self.whole and not self.apart

    def among(self, keys: list[bytes]) -> list[bytes]:
        """Those of some keys that the view may hold, in their order."""
        hashes = self._hashes
        asked = array("q", list(map(hash, keys)))  # looked for in a loop of C, without an object
        if none_int64(asked, hashes):
            return []
        return [key for key in keys if hash(key) in hashes]

    def __len__(self) -> int:
        return len(self._hashes)
