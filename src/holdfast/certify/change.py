"""A trie after changes: page by page, so that whoever shares the interpreter has its turn.

A page that few changes meet is not made anew: each label is put where it belongs, and where
it parts from its neighbours is found for it alone. What was hashed of the other labels stays
(``Page.named``), so a change costs its own label and the forks of its page, and the forks
above. A page that many meet is built from its labels; so is what lies behind the last label.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Final, NamedTuple

from holdfast.certify import trie
from holdfast.certify.tree import labelled_digest
from holdfast.certify.trie import HASH_BYTES, Columns, Page, Trie, parting

FEW: Final = 4  # labels to a change, from which on a page is not made anew
BUILT: Final = 512  # labels that are built at once

Pace = Callable[[], None]
Changes = Mapping[bytes, bytes | None]  # label -> its new digest, None where it goes


class Rows(NamedTuple):
    """Labels, ascending, and the new digest of each, None where it goes."""

    labels: Sequence[bytes]
    digests: Sequence[bytes | None]


def at_once() -> None:
    """Do not wait between pages."""


def apply(made: Trie | None, changes: Changes) -> Trie | None:
    """The trie after changes, in any order; what was stays as it is."""
    labels = sorted(changes)
    return put(made, Rows(labels, [changes[label] for label in labels]))


def put(made: Trie | None, rows: Rows, pace: Pace = at_once) -> Trie | None:
    """The trie after changes that stand in order.

    Args:
        made: what was; stays as it is.
        rows: the changes.
        pace: called between pages; may sleep.
    """
    if not rows.labels:
        return made
    if made is None:
        return trie.join(_hashed(_built(rows, pace), pace))
    if rows.labels[0] > made.last:  # in order: nothing is touched but the right edge
        return trie.join(_behind(made, rows, pace))
    return trie.join(_changed(made, rows, pace))


def hash_all(made: Trie | None, pace: Pace = at_once) -> bytes:
    """The digest of a trie, its pages one after the other."""
    for page in trie.pages(made):
        if page.known is None:
            _ = page.digest
            pace()
    return trie.digest_of(made)


def _built(rows: Rows, pace: Pace) -> Iterator[Trie]:
    """Tries of ascending labels, some at a time: but for the last each ends where a page does.

    Where labels part highest within a page's width no page can reach across, so what is built
    on either side stays as it is when both are joined.
    """
    labels, digests = rows
    kept = [digest for digest in digests if digest is not None]
    if len(kept) < len(digests):
        labels = list(compress(labels, digests))
    at = 0
    while at < len(labels):
        some = tuple(labels[at : at + BUILT])
        bits = trie.partings(some)
        size = len(some) if at + len(some) == len(labels) else _seam(bits)
        body = b"".join(kept[at : at + size])
        yield trie.of_columns(Columns(some[:size], body, bits[: size - 1]))
        pace()
        at += size


def _hashed(tries: Iterable[Trie], pace: Pace) -> Iterator[Trie]:
    """The same, hashed while they are near in memory: what is new is seldom made anew soon."""
    for made in tries:
        hash_all(made, pace)
        yield made


def _seam(bits: array[int]) -> int:
    """Before which label to cut: where the last of them, a page's width, part highest."""
    last = bits[-trie.PAGE_LABELS :]
    return len(bits) - len(last) + last.index(min(last)) + 1


def _behind(made: Trie, rows: Rows, pace: Pace) -> Iterator[Trie | None]:
    yield made
    yield from _hashed(_built(rows, pace), pace)


def _changed(made: Trie, rows: Rows, pace: Pace) -> Iterator[Trie | None]:
    labels, digests = rows
    for side, start, stop in trie.chunks(made, labels):
        if start == stop or not isinstance(side, Page):
            yield side
            continue
        met = Rows(labels[start:stop], digests[start:stop])
        if side.count >= FEW * (stop - start):
            yield _spliced(side, met)
            pace()
        else:
            yield from _built(_with(side, met), pace)


def _with(page: Page, changes: Rows) -> Rows:
    """A page's labels and those that change, in order."""
    rows: dict[bytes, bytes | None] = dict(page.rows())
    rows.update(zip(*changes, strict=True))
    labels = sorted(rows)
    return Rows(labels, [rows[label] for label in labels])


def _spliced(page: Page, changes: Rows) -> Trie | None:
    splice = _Splice(page.columns, page.named)
    for label, digest in zip(*changes, strict=True):
        splice.change(label, digest)
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
