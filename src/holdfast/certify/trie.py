"""Labels and what stands below them, as a hash tree whose shape the labels alone decide.

Two neighbouring labels part at their first differing bit, where a label that ends counts as
smaller than one that goes on; a fork stands at the smallest such bit of its labels. So the
same labels make the same tree whatever happened before, and a range that is cut out or put on
changes one path. That order of forks is the one of a Cartesian tree over the bits at which
neighbours part, and is built with a stack in one pass.

    Page    up to 128 neighbouring labels that make a complete subtree, packed: label and the
            digest below it; its inner forks are made again when somebody asks for them
    Inner   a fork above pages

Both never change: a new trie shares what it did not touch with the old one, so a sealed trie
stays whole for those who prove from it. Digests of forks are made when first asked for, so a
path that a thousand changes share is hashed once. Nothing here calls itself: crafted labels
make deep tries.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final, TypeVar

from holdfast.certify import tree
from holdfast.certify.tree import EMPTY, EMPTY_DIGEST, Fork, Labelled, Node, Pruned

PAGE_LABELS: Final = 128
HASH_BYTES: Final = 32
EVERYWHERE: Final = 32  # labels to a change, from which on few pages would stay as they are
AT_ONCE: Final = 512  # labels that are made as wide as the widest of them
NINE: Final = 9  # bits a byte takes in the order of labels: one for "goes on", eight of its own

T = TypeVar("T")
Row = tuple[bytes, bytes]  # a label, and the digest of what stands below it
Below = Callable[[bytes, bytes], Node]  # label, digest -> the subtree to show


def parting(one: bytes, other: bytes) -> int:
    """The first bit at which two different labels part."""
    size = min(len(one), len(other))
    apart = int.from_bytes(one[:size], "big") ^ int.from_bytes(other[:size], "big")
    if not apart:
        return NINE * size
    bits = apart.bit_length()
    index = size - (bits + 7 >> 3)
    return NINE * index + NINE - (bits - 1 & 7) - 1


class Page:
    """Neighbouring labels that make a complete subtree."""

    __slots__ = ("bits", "digests", "known", "labels")

    def __init__(self, rows: Sequence[Row], bits: array[int] | None = None) -> None:
        self.labels = tuple([label for label, _ in rows])
        self.digests = b"".join([digest for _, digest in rows])
        self.bits = _partings(self.labels) if bits is None else bits
        self.known: bytes | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def first(self) -> bytes:
        """The smallest label."""
        return self.labels[0]

    @property
    def last(self) -> bytes:
        """The largest label."""
        return self.labels[-1]

    def rows(self) -> list[Row]:
        """Its labels with what stands below."""
        packed = self.digests
        return [
            (label, packed[at : at + HASH_BYTES])
            for label, at in zip(self.labels, range(0, len(packed), HASH_BYTES), strict=True)
        ]

    @property
    def digest(self) -> bytes:
        """The digest of the whole subtree."""
        if self.known is None:
            ends = [tree.labelled_digest(label, digest) for label, digest in self.rows()]
            self.known = cartesian(ends, self.bits, tree.fork_digest)
        return self.known


class Inner:
    """A fork above pages: ``bit`` is where the labels of its two sides part."""

    __slots__ = ("bit", "count", "first", "known", "last", "left", "right")

    def __init__(self, bit: int, left: Trie, right: Trie) -> None:
        self.bit, self.left, self.right = bit, left, right
        self.first: bytes = left.first
        self.last: bytes = right.last
        self.count = count(left) + count(right)
        self.known: bytes | None = None

    def __len__(self) -> int:
        return self.count

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


def count(side: Trie) -> int:
    """How many labels there are."""
    return len(side.labels) if isinstance(side, Page) else side.count


def _partings(labels: Sequence[bytes]) -> array[int]:
    """Where neighbours part: ``parting`` of each two, some at a time as whole numbers."""
    bits = array("H")
    for start in range(0, len(labels) - 1, AT_ONCE):
        bits.extend(_partings_of(labels[start : start + AT_ONCE + 1]))
    return bits


def _partings_of(labels: Sequence[bytes]) -> list[int]:
    widths = list(map(len, labels))
    widest, narrowest = max(widths), min(widths)
    numbers = [int.from_bytes(label.ljust(widest, b"\0"), "big") for label in labels]
    table = _table(widest)
    bits = [table[(one ^ other).bit_length()] for one, other in pairwise(numbers)]
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


def build(rows: Sequence[Row]) -> Trie | None:
    """The trie of these rows, which are sorted by label; None where there are none."""
    if not rows:
        return None
    bits = _partings([label for label, _ in rows])
    done: list[Trie] = []
    waiting: list[tuple[int, int] | int] = [(0, len(rows))]
    while waiting:
        span = waiting.pop()
        if isinstance(span, int):
            right, left = done.pop(), done.pop()
            done.append(Inner(span, left, right))
            continue
        start, stop = span
        if stop - start <= PAGE_LABELS:
            done.append(Page(rows[start:stop], bits[start : stop - 1]))
            continue
        bit = min(bits[start : stop - 1])
        middle = bits.index(bit, start) + 1
        waiting += (bit, (middle, stop), (start, middle))
    return done[0]


def join(chunks: Iterable[Trie | None]) -> Trie | None:
    """One trie of several, in order: every label of one is smaller than those of the next."""
    joining = _Joining()
    for chunk in chunks:
        if chunk is not None:
            joining.add(chunk)
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
    if count(left) + count(right) <= PAGE_LABELS:
        return Page([*rows_of(left), *rows_of(right)])
    return Inner(bit, left, right)


def _opened(side: Trie, bit: int) -> Trie:
    """A page whose labels part above ``bit`` as the fork that it stands for."""
    if not isinstance(side, Page) or len(side) == 1:
        return side
    top = parting(side.first, side.last)
    if top > bit:
        return side
    middle = side.bits.index(top) + 1
    rows = side.rows()
    left = Page(rows[:middle], side.bits[: middle - 1])
    return Inner(top, left, Page(rows[middle:], side.bits[middle:]))


def apply(trie: Trie | None, changes: Sequence[tuple[bytes, bytes | None]]) -> Trie | None:
    """The trie after changes: label and its new digest, None where it goes.

    Args:
        trie: what was; stays as it is.
        changes: sorted by label, each label once.
    """
    if trie is None:
        return build([(label, digest) for label, digest in changes if digest is not None])
    if len(changes) * EVERYWHERE >= count(trie):
        return build(_merged(rows_of(trie), changes))
    joining = _Joining()
    for chunk, start, stop in _chunks(trie, changes):
        after: Trie | None = chunk
        if start < stop and isinstance(chunk, Page):
            after = build(_merged(chunk.rows(), changes[start:stop]))
        if after is not None:
            joining.add(after)
    return joining.finish()


def _chunks(
    trie: Trie, changes: Sequence[tuple[bytes, bytes | None]]
) -> Iterator[tuple[Trie, int, int]]:
    """Subtrees in order that no change meets, and pages with the span of those that do."""
    waiting: list[tuple[Trie, int, int]] = [(trie, 0, len(changes))]
    while waiting:
        side, start, stop = waiting.pop()
        if start == stop or isinstance(side, Page):
            yield side, start, stop
            continue
        middle = bisect_left(changes, (side.right.first,), start, stop)
        waiting += ((side.right, middle, stop), (side.left, start, middle))


def _merged(before: Iterable[Row], changes: Sequence[tuple[bytes, bytes | None]]) -> list[Row]:
    rows: dict[bytes, bytes | None] = dict(before)
    rows.update(changes)
    return [(label, digest) for label in sorted(rows) if (digest := rows[label]) is not None]


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
            yield build([row for row in side.rows() if _within(row, start, stop)])


def _within(row: Row, start: bytes, stop: bytes | None) -> bool:
    return start <= row[0] and (stop is None or row[0] < stop)


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
    index = bisect_left(side.labels, label)
    if index == len(side) or side.labels[index] != label:
        return None
    return side.digests[index * HASH_BYTES : (index + 1) * HASH_BYTES]


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
    index = bisect_left(trie.labels, label)
    return trie.labels[index - 1] if index else best


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
    index = bisect_left(trie.labels, label)
    return trie.labels[index] if index < len(trie) else best


# -- proving -----------------------------------------------------------------------


def witness(trie: Trie | None, low: bytes, high: bytes | None, below: Below) -> Node:
    """The hash tree with every label from ``low`` to below ``high`` in sight, all else pruned.

    Beside the range stand its neighbours, so that a verifier sees that nothing is missing; the
    range of one label that is there needs none.

    Args:
        trie: the labels.
        low: where the range begins.
        high: where it ends; None for the end of all labels.
        below: what to show below a label of the range, given the label and the digest there.
    """
    if trie is None:
        return EMPTY
    one = high == low + b"\x00" and get(trie, low) is not None
    ahead = None if one else before(trie, low)
    first = low if ahead is None else ahead
    last = low if one else (None if high is None else behind(trie, high))

    def shown(row: Row) -> Node:
        label, digest = row
        inside = low <= label and (high is None or label < high)
        return Labelled(label, below(label, digest) if inside else Pruned(digest))

    return _open(trie, first, last, shown)


def _open(trie: Trie, first: bytes, last: bytes | None, shown: Callable[[Row], Node]) -> Node:
    """The hash tree with the labels from ``first`` to ``last`` as ``shown`` says."""
    done: list[Node] = []
    waiting: list[Trie | None] = [trie]
    while waiting:
        side = waiting.pop()
        if side is None:
            right, left = done.pop(), done.pop()
            done.append(Fork(left, right))
        elif side.last < first or (last is not None and side.first > last):
            done.append(Pruned(side.digest))
        elif isinstance(side, Inner):
            waiting += (None, side.right, side.left)
        else:
            done.append(_open_page(side, first, last, shown))
    return done[0]


def _open_page(page: Page, first: bytes, last: bytes | None, shown: Callable[[Row], Node]) -> Node:
    ends: list[Node] = []
    for row in page.rows():
        label, digest = row
        if label < first or (last is not None and label > last):
            ends.append(Pruned(tree.labelled_digest(label, digest)))
        else:
            ends.append(shown(row))
    return cartesian(ends, page.bits, _fork)


def _fork(left: Node, right: Node) -> Node:
    """A fork, pruned where nothing below it is in sight."""
    if isinstance(left, Pruned) and isinstance(right, Pruned):
        return Pruned(tree.fork_digest(left.digest, right.digest))
    return Fork(left, right)
