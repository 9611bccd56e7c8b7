"""Labels and what stands below them, as a hash tree whose shape the labels alone decide.

Two neighbouring labels part at their first differing bit, where a label that ends counts as
smaller than one that goes on; a fork stands at the smallest such bit of its labels. So the
same labels make the same tree whatever happened before, and a range that is cut out or put on
changes one path. That order of forks is the one of a Cartesian tree over the bits at which
neighbours part, and is built with a stack in one pass.

    Page    up to 128 neighbouring labels that make a complete subtree, packed: label and the
            digest below it; its inner forks are made again when somebody asks for them.
            It may lie elsewhere than in memory (``pages.py``); its digest never does
    Inner   a fork above pages

Both never change: a new trie shares what it did not touch with the old one, so a sealed trie
stays whole for those who prove from it. Digests of forks are made when first asked for, so a
path that a thousand changes share is hashed once. Nothing here calls itself: crafted labels
make deep tries.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import islice, pairwise
from operator import xor
from typing import Final, NamedTuple, Protocol, TypeVar

from holdfast.certify import tree
from holdfast.certify.tree import EMPTY_DIGEST

PAGE_LABELS: Final = 128
HASH_BYTES: Final = 32
AT_ONCE: Final = 512  # labels that are made as wide as the widest of them
NINE: Final = 9  # bits a byte takes in the order of labels: one for "goes on", eight of its own

T = TypeVar("T")
Row = tuple[bytes, bytes]  # a label, and the digest of what stands below it


def parting(one: bytes, other: bytes) -> int:
    """The first bit at which two different labels part."""
    size = min(len(one), len(other))
    apart = int.from_bytes(one[:size], "big") ^ int.from_bytes(other[:size], "big")
    if not apart:
        return NINE * size
    bits = apart.bit_length()
    index = size - (bits + 7 >> 3)
    return NINE * index + NINE - (bits - 1 & 7) - 1


class Source(Protocol):
    """Where what a page holds can be read."""

    def read(self) -> Columns:
        """What it holds, verified."""
        ...


class Columns(NamedTuple):
    """What a page holds: labels in order, what stands below each, where neighbours part."""

    labels: tuple[bytes, ...]
    digests: bytes  # side by side
    bits: array[int]

    def read(self) -> Columns:
        """Itself: it is the source of a page in memory."""
        return self


class Page:
    """Neighbouring labels that make a complete subtree; in memory, or where ``source`` says."""

    __slots__ = ("count", "first", "known", "last", "named", "source")

    def __init__(
        self, ends: tuple[bytes, bytes], count: int, source: Source, known: bytes | None = None
    ) -> None:
        self.first, self.last = ends
        self.count, self.source, self.known = count, source, known
        self.named: bytes | None = None  # the digests with their labels, once they were hashed

    def rest(self, source: Source) -> None:
        """Forget what is written down there now; safe while others read."""
        _ = self.digest
        self.source, self.named = source, None

    @property
    def columns(self) -> Columns:
        """What it holds."""
        return self.source.read()

    def rows(self) -> Iterator[Row]:
        """Its labels with what stands below."""
        labels, digests, _ = self.columns
        return zip(labels, unpacked(digests), strict=True)

    @property
    def digest(self) -> bytes:
        """The digest of the whole subtree."""
        if self.known is None:
            labels, digests, bits = self.columns
            if self.named is None:
                named = tree.labelled_digests(labels, unpacked(digests))
                self.named = b"".join(named)
                self.known = _joined(named, bits)
            else:
                self.known = _joined(unpacked(self.named), bits)
        return self.known


def page_of(
    labels: Sequence[bytes], digests: bytes, bits: array[int], named: bytes | None = None
) -> Page:
    """A page in memory."""
    columns = Columns(tuple(labels), digests, bits)
    page = Page((labels[0], labels[-1]), len(labels), columns)
    page.named = named
    return page


class Inner:
    """A fork above pages: ``bit`` is where the labels of its two sides part."""

    __slots__ = ("bit", "count", "first", "known", "last", "left", "right")

    def __init__(self, bit: int, left: Trie, right: Trie) -> None:
        self.bit, self.left, self.right = bit, left, right
        self.first: bytes = left.first
        self.last: bytes = right.last
        self.count: int = left.count + right.count
        self.known: bytes | None = None

    @property
    def digest(self) -> bytes:
        """The digest of the whole subtree."""
        waiting: list[Inner] = [self]
        while waiting:
            inner = waiting[-1]
            deeper = [
                side
                for side in (inner.left, inner.right)
                if isinstance(side, Inner) and side.known is None
            ]
            if deeper:
                waiting += deeper
                continue
            inner.known = tree.fork_digest(_digest(inner.left), _digest(inner.right))
            waiting.pop()
        return _digest(self)


Trie = Page | Inner


def _digest(side: Trie) -> bytes:
    return side.known or side.digest


def partings(labels: Sequence[bytes]) -> array[int]:
    """Where neighbours part: ``parting`` of each two, some at a time as whole numbers."""
    bits = array("H")
    for start in range(0, len(labels) - 1, AT_ONCE):
        bits.extend(_partings_of(labels[start : start + AT_ONCE + 1]))
    return bits


def _partings_of(labels: Sequence[bytes]) -> list[int]:
    widths = list(map(len, labels))
    widest, narrowest = max(widths), min(widths)
    if widest != narrowest:
        labels = [label.ljust(widest, b"\0") for label in labels]
    numbers = list(map(int.from_bytes, labels))
    differ = map(xor, numbers, islice(numbers, 1, None))
    bits = list(map(_table(widest).__getitem__, map(int.bit_length, differ)))
    if widest == narrowest:
        return bits
    # What was put behind a label to make it as wide as the others does not count.
    ends = [NINE * min(one, other) for one, other in pairwise(widths)]
    return list(map(min, bits, ends))


@lru_cache(maxsize=64)
def _table(width: int) -> array[int]:
    """By the bits in which two labels of a width differ: the first at which they part."""
    shift = range(8 * width + 1)
    return array(
        "H", (NINE * (width - (bits + 7 >> 3)) + NINE - (bits - 1 & 7) - 1 for bits in shift)
    )


def unpacked(digests: bytes) -> tuple[bytes, ...]:
    """Digests that stand side by side, each for itself."""
    return _apart(len(digests) // HASH_BYTES).unpack(digests)


@lru_cache(maxsize=PAGE_LABELS)
def _apart(count: int) -> struct.Struct:
    return struct.Struct(f"{HASH_BYTES}s" * count)


def _joined(ends: Sequence[bytes], bits: Sequence[int]) -> bytes:
    """``cartesian`` of digests, without a call for each fork: a tree is hashed by this."""
    hashed, word = sha256, tree.FORK
    open_bits: list[int] = []
    open_ends: list[bytes] = []
    top, end = -1, ends[0]
    for bit, following in zip(bits, ends[1:], strict=True):
        while top > bit:
            open_bits.pop()
            end = hashed(word + open_ends.pop() + end).digest()
            top = open_bits[-1] if open_bits else -1
        open_bits.append(bit)
        open_ends.append(end)
        top, end = bit, following
    while open_ends:
        end = hashed(word + open_ends.pop() + end).digest()
    return end


def cartesian(ends: Sequence[T], bits: Sequence[int], fork: Callable[[T, T], T]) -> T:
    """Join neighbours, those first that part last: ``bits[i]`` lies between i and i + 1."""
    open_bits: list[int] = []
    open_ends: list[T] = []
    end = ends[0]
    for bit, following in zip(bits, ends[1:], strict=True):
        while open_bits and open_bits[-1] > bit:
            open_bits.pop()
            end = fork(open_ends.pop(), end)
        open_bits.append(bit)
        open_ends.append(end)
        end = following
    while open_ends:
        end = fork(open_ends.pop(), end)
    return end


# -- making ------------------------------------------------------------------------


def build(rows: Mapping[bytes, bytes | None]) -> Trie | None:
    """The trie of these labels and what stands below each; None where there are none.

    Args:
        rows: in any order; a label without a digest is passed over.
    """
    labels = sorted(rows)
    digests = [rows[label] for label in labels]
    kept = [digest for digest in digests if digest is not None]
    if len(kept) < len(labels):
        labels = [label for label in labels if rows[label] is not None]
    if not labels:
        return None
    return of_columns(Columns(tuple(labels), b"".join(kept), partings(labels)))


def of_columns(columns: Columns, named: bytes | None = None) -> Trie:
    """The trie of ascending labels, one at least; ``named``: as of a page."""
    labels, digests, bits = columns
    done: list[Trie] = []
    waiting: list[tuple[int, int] | int] = [(0, len(labels))]
    while waiting:
        span = waiting.pop()
        if isinstance(span, int):
            right, left = done.pop(), done.pop()
            done.append(Inner(span, left, right))
            continue
        start, stop = span
        if stop - start <= PAGE_LABELS:
            low, high = start * HASH_BYTES, stop * HASH_BYTES
            known = None if named is None else named[low:high]
            page = page_of(labels[start:stop], digests[low:high], bits[start : stop - 1], known)
            done.append(page)
            continue
        bit = min(bits[start : stop - 1])
        middle = bits.index(bit, start) + 1
        waiting += (bit, (middle, stop), (start, middle))
    return done[0]


def join(sides: Iterable[Trie | None]) -> Trie | None:
    """One trie of several, in order: every label of one is smaller than those of the next."""
    joining = _Joining()
    for side in sides:
        if side is not None:
            joining.add(side)
    return joining.finish()


class _Joining:
    """The right edge of a growing trie: open forks, smallest bit first, and what ends it.

    Each chunk is taken apart along its left edge, and the end along its right edge, only as
    far as their forks stand above the new one; so a deep edge is walked once, not per chunk.
    """

    def __init__(self) -> None:
        self._open: list[tuple[int, Trie]] = []
        self._end: Trie | None = None

    def add(self, chunk: Trie) -> None:
        work = [chunk]
        while work:
            side = work.pop()
            if self._end is None:
                self._end = side
                continue
            bit = parting(self._end.last, side.first)
            side = _opened(side, bit)
            if isinstance(side, Inner) and side.bit < bit:
                work += (side.right, side.left)
            else:
                self._place(self._end, bit, side)

    def finish(self) -> Trie | None:
        end = self._end
        while self._open and end is not None:
            bit, left = self._open.pop()
            end = _inner(bit, left, end)
        return end

    def _place(self, end: Trie, bit: int, side: Trie) -> None:
        end = _opened(end, bit)
        while isinstance(end, Inner) and end.bit < bit:
            self._open.append((end.bit, end.left))
            end = _opened(end.right, bit)
        while self._open and self._open[-1][0] > bit:
            above, left = self._open.pop()
            end = _inner(above, left, end)
        self._open.append((bit, end))
        self._end = side


def _inner(bit: int, left: Trie, right: Trie) -> Trie:
    """A fork, or one page where it would be small."""
    if left.count + right.count <= PAGE_LABELS:
        both = [page.columns for page in (*pages(left), *pages(right))]
        labels = [label for page in both for label in page.labels]
        digests = b"".join([page.digests for page in both])
        return page_of(labels, digests, partings(labels))
    return Inner(bit, left, right)


def _opened(side: Trie, bit: int) -> Trie:
    """A page whose labels part above ``bit`` as the fork that it stands for."""
    if not isinstance(side, Page) or side.count == 1:
        return side
    top = parting(side.first, side.last)
    if top > bit:
        return side
    labels, digests, bits = side.columns
    middle = bits.index(top) + 1
    edge = middle * HASH_BYTES
    left = page_of(labels[:middle], digests[:edge], bits[: middle - 1])
    right = page_of(labels[middle:], digests[edge:], bits[middle:])
    return Inner(top, left, right)


def chunks(trie: Trie, changes: Sequence[bytes]) -> Iterator[tuple[Trie, int, int]]:
    """Subtrees in order that no change meets, and pages with the span of those that do.

    ``changes`` are labels, ascending.
    """
    waiting: list[tuple[Trie, int, int]] = [(trie, 0, len(changes))]
    while waiting:
        side, start, stop = waiting.pop()
        if start == stop or isinstance(side, Page):
            yield side, start, stop
            continue
        middle = bisect_left(changes, side.right.first, start, stop)
        waiting += ((side.right, middle, stop), (side.left, start, middle))


def cut(trie: Trie | None, start: bytes, stop: bytes | None) -> Trie | None:
    """The trie of the labels from ``start`` to below ``stop``."""
    return join(_inside(trie, start, stop))


def _inside(trie: Trie | None, start: bytes, stop: bytes | None) -> Iterator[Trie | None]:
    waiting = [] if trie is None else [trie]
    while waiting:
        side = waiting.pop()
        if side.last < start or (stop is not None and side.first >= stop):
            continue
        if side.first >= start and (stop is None or side.last < stop):
            yield side
        elif isinstance(side, Inner):
            waiting += (side.right, side.left)
        else:
            labels, digests, bits = side.columns
            low = bisect_left(labels, start)
            high = side.count if stop is None else bisect_left(labels, stop)
            if low < high:
                packed = digests[low * HASH_BYTES : high * HASH_BYTES]
                yield page_of(labels[low:high], packed, bits[low : high - 1])


# -- reading -----------------------------------------------------------------------


def pages(trie: Trie | None) -> Iterator[Page]:
    """Its pages, in order."""
    waiting = [] if trie is None else [trie]
    while waiting:
        side = waiting.pop()
        if isinstance(side, Inner):
            waiting += (side.right, side.left)
        else:
            yield side


def rows_of(trie: Trie | None) -> Iterator[Row]:
    """Its labels with what stands below, in order."""
    for page in pages(trie):
        yield from page.rows()


def digest_of(trie: Trie | None) -> bytes:
    """The digest of its hash tree; that of the empty tree where there is nothing."""
    return EMPTY_DIGEST if trie is None else trie.digest


def get(trie: Trie | None, label: bytes) -> bytes | None:
    """The digest below a label, or None."""
    side = trie
    while isinstance(side, Inner):
        side = side.right if label >= side.right.first else side.left
    if side is None:
        return None
    labels, digests, _ = side.columns
    index = bisect_left(labels, label)
    if index == len(labels) or labels[index] != label:
        return None
    return digests[index * HASH_BYTES : (index + 1) * HASH_BYTES]


def before(trie: Trie | None, label: bytes) -> bytes | None:
    """The largest label below this one, or None."""
    best = None
    while isinstance(trie, Inner):
        if label > trie.right.first:
            best, trie = trie.left.last, trie.right
        else:
            trie = trie.left
    if trie is None:
        return None
    labels = trie.columns.labels
    index = bisect_left(labels, label)
    return labels[index - 1] if index else best


def behind(trie: Trie | None, label: bytes) -> bytes | None:
    """The smallest label that is not below this one, or None."""
    best = None
    while isinstance(trie, Inner):
        if label > trie.left.last:
            trie = trie.right
        else:
            best, trie = trie.right.first, trie.left
    if trie is None:
        return None
    labels = trie.columns.labels
    index = bisect_left(labels, label)
    return labels[index] if index < len(labels) else best
