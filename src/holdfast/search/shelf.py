"""The runs of one namespace in one bucket: what counts of them, and when they become one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from pyroaring import BitMap

from holdfast.search.run import Run

GROWTH: Final = 3  # a run is at least so many times as large as the newer ones together
AT_ONCE: Final = 2_000  # documents that are made one run at once; more are left to upkeep


class Part:
    """A run, as far as one bucket has it: what was removed or given away is hidden.

    Args:
        run: the postings.
        hidden: the documents that do not count.
    """

    __slots__ = ("_due", "hidden", "run", "words")

    def __init__(self, run: Run, hidden: BitMap | None = None) -> None:
        self.run = run
        self.hidden = BitMap() if hidden is None else hidden
        self.words = run.words - sum(int(run.lengths[at]) for at in self.hidden)
        self._due = 0

    @property
    def count(self) -> int:
        """The documents that count."""
        count: int = self.run.count
        return count - len(self.hidden)

    def seen(self, bits: BitMap) -> BitMap:
        """Those of these documents that count."""
        return bits - self.hidden if self.hidden else bits

    def find(self, key: bytes) -> tuple[int, bool]:
        """Where a key stands or would, and whether it does."""
        keys = self.run.keys
        at = bisect_left(keys, key)
        return at, at < len(keys) and keys[at] == key

    def hide(self, document: int) -> None:
        """A document counts no longer."""
        if document not in self.hidden:
            self.hidden.add(document)
            self.words -= int(self.run.lengths[document])

    def expire(self, now_ns: int) -> None:
        """Hide what has come to its time."""
        times = self.run.expires_ns
        while self._due < len(times) and times[self._due] <= now_ns:
            self.hide(self.run.expiring[self._due])
            self._due += 1

    def cut(self, low: bytes, high: bytes | None) -> None:
        """Hide what lies outside a range of keys; ``high`` None: to the end."""
        for document in range(self.find(low)[0]):
            self.hide(document)
        if high is not None:
            for document in range(self.find(high)[0], self.run.count):
                self.hide(document)

    def copy(self) -> Part:
        """The same run, for another bucket to hide from by itself."""
        return Part(self.run, self.hidden.copy())


class Shelf:
    """All runs of a namespace in a bucket, the oldest first.

    Args:
        rules: the digest of those by which the documents were read.
        parts: the runs.
    """

    def __init__(self, rules: int, parts: Iterable[Part] = ()) -> None:
        self.rules = rules
        self.parts = list(parts)

    @property
    def count(self) -> int:
        """The documents that count."""
        return sum(part.count for part in self.parts)

    @property
    def words(self) -> int:
        """Their words that have a term."""
        return sum(part.words for part in self.parts)

    def add(self, run: Run) -> None:
        """Take a newer run in; what it replaces is hidden."""
        for part in self.parts:
            for document in _shared(part, run):
                part.hide(document)
        self.parts = [part for part in self.parts if part.count]
        if run.count:
            self.parts.append(Part(run))

    def remove(self, key: bytes) -> None:
        """Hide a key."""
        for part in self.parts:
            at, found = part.find(key)
            if found:
                part.hide(at)

    def expire(self, now_ns: int) -> None:
        """Hide what has come to its time."""
        for part in self.parts:
            part.expire(now_ns)

    def cut(self, low: bytes, high: bytes | None) -> None:
        """Hide what lies outside a range of keys, and drop what is hidden whole."""
        for part in self.parts:
            part.cut(low, high)
        self.parts = [part for part in self.parts if part.count]

    def copy(self) -> Shelf:
        """The same runs, for another bucket."""
        return Shelf(self.rules, (part.copy() for part in self.parts))

    def due(self) -> list[Part]:
        """The newest runs that should become one, or one of which little counts any more."""
        newer = 0
        first = len(self.parts)
        for at in range(len(self.parts) - 1, -1, -1):
            run = self.parts[at].run
            if (newer and run.count < GROWTH * newer) or self.parts[at].count * 2 < run.count:
                first = at
            newer += run.count
        return self.parts[first:]


def _shared(part: Part, run: Run) -> Iterator[int]:
    """The documents of a part whose keys a run has too."""
    theirs, keys = part.run, run.keys
    if not (theirs.count and run.count) or keys[0] > theirs.keys[theirs.count - 1]:
        return
    known, owners = theirs.prints
    prints, documents = run.prints
    at = np.searchsorted(known, prints)
    at[at == len(known)] = 0
    met = np.flatnonzero(known[at] == prints)
    pairs = zip(owners[at[met]].tolist(), documents[met].tolist(), strict=True)
    for owner, document in pairs:
        key = keys[document]
        if theirs.keys[owner] == key:
            yield owner
            continue
        place, found = part.find(key)  # two of its keys have this print
        if found:
            yield place
