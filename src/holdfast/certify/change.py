"""A trie after changes: page by page, so that whoever shares the interpreter has its turn.

A page that few changes meet is not made anew: each label is put where it belongs, and where
it parts from its neighbours is found for it alone. What was hashed of the other labels stays
(``Page.named``), so a change costs its own label and the forks of its page, and the forks
above. A page that many meet is built from its labels; so is what lies behind the last label.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from holdfast.certify import trie
from holdfast.certify.tree import labelled_digest
from holdfast.certify.trie import HASH_BYTES, Columns, Page, Trie, parting

FEW: Final = 4  # labels to a change, from which on a page is not made anew
BUILT: Final = 512  # labels that are built at once

Pace = Callable[[], None]
Changes = Mapping[bytes, bytes | None]  # label -> its new digest, None where it goes


def at_once() -> None:
    """Do not wait between pages."""


def apply(
    made: Trie | None,
    changes: Changes,
    labels: Sequence[bytes] | None = None,
    pace: Pace = at_once,
) -> Trie | None:
    """The trie after changes.

    Args:
        made: what was; stays as it is.
        changes: in any order.
        labels: theirs, ascending, where the caller has put them in order.
        pace: called between pages; may sleep.
    """
    labels = sorted(changes) if labels is None else labels
    if not labels:
        return made
    if made is None:
        return trie.join(_built(labels, changes, pace))
    if labels[0] > made.last:  # in order: nothing is touched but the right edge
        return trie.join(_behind(made, labels, changes, pace))
    return trie.join(_changed(made, labels, changes, pace))


def hash_all(made: Trie | None, pace: Pace = at_once) -> bytes:
    """The digest of a trie, its pages one after the other."""
    for page in trie.pages(made):
        if page.known is None:
            _ = page.digest
            pace()
    return trie.digest_of(made)


def _built(labels: Sequence[bytes], rows: Changes, pace: Pace) -> Iterator[Trie | None]:
    """Tries of ascending labels, some at a time."""
    for at in range(0, len(labels), BUILT):
        yield trie.build({label: rows[label] for label in labels[at : at + BUILT]})
        pace()


def _behind(
    made: Trie, labels: Sequence[bytes], rows: Changes, pace: Pace
) -> Iterator[Trie | None]:
    yield made
    yield from _built(labels, rows, pace)


def _changed(
    made: Trie, labels: Sequence[bytes], changes: Changes, pace: Pace
) -> Iterator[Trie | None]:
    for side, start, stop in trie.chunks(made, labels):
        if start == stop or not isinstance(side, Page):
            yield side
        elif side.count >= FEW * (stop - start):
            yield _spliced(side, labels[start:stop], changes)
            pace()
        else:
            yield from _made_anew(side, labels[start:stop], changes, pace)


def _made_anew(
    page: Page, labels: Sequence[bytes], changes: Changes, pace: Pace
) -> Iterator[Trie | None]:
    rows: dict[bytes, bytes | None] = dict(page.rows())
    met = sorted([*rows, *labels])  # two runs that ascend: merged, not sorted
    rows.update((label, changes[label]) for label in labels)
    return _built(list(dict.fromkeys(met)) if len(rows) < len(met) else met, rows, pace)


def _spliced(page: Page, labels: Sequence[bytes], changes: Changes) -> Trie | None:
    splice = _Splice(page.columns, page.named)
    for label in labels:
        splice.change(label, changes[label])
    return splice.finish()


class _Splice:
    """One page's columns while labels are put in and taken out, in order."""

    def __init__(self, columns: Columns, named: bytes | None) -> None:
        labels, digests, bits = columns
        self._labels = list(labels)
        self._digests = bytearray(digests)
        self._bits = bits[:]
        self._named = None if named is None else bytearray(named)
        self._at = 0

    def change(self, label: bytes, digest: bytes | None) -> None:
        """Set what stands below a label, or take it out."""
        labels = self._labels
        at = self._at = bisect_left(labels, label, self._at)
        there = at < len(labels) and labels[at] == label
        if digest is None:
            if there:
                self._take_out(at)
            return
        if not there:
            labels.insert(at, label)
            self._bits[max(at - 1, 0) : at] = array("H", map(parting, *self._neighbours(at)))
        first, stop = at * HASH_BYTES, (at + there) * HASH_BYTES
        self._digests[first:stop] = digest
        if self._named is not None:
            self._named[first:stop] = labelled_digest(label, digest)

    def finish(self) -> Trie | None:
        """What the page has become: nothing, a page, or several."""
        if not self._labels:
            return None
        columns = Columns(tuple(self._labels), bytes(self._digests), self._bits)
        return trie.of_columns(columns, None if self._named is None else bytes(self._named))

    def _neighbours(self, at: int) -> tuple[Sequence[bytes], Sequence[bytes]]:
        """The two sides of every gap beside a label."""
        beside = self._labels[max(at - 1, 0) : at + 2]
        return beside[:-1], beside[1:]

    def _take_out(self, at: int) -> None:
        gone = self._bits[max(at - 1, 0) : at + 1]
        inside = 0 < at < len(self._labels) - 1
        self._bits[max(at - 1, 0) : at + 1] = array("H", [min(gone)] if inside else ())
        del self._labels[at]
        for column in (self._digests, self._named):
            if column is not None:
                del column[at * HASH_BYTES : (at + 1) * HASH_BYTES]
