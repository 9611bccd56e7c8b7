"""An LMDB data file at rest, read without LMDB: is it safe to hand to the engine?

LMDB maps its file and follows what is written there. It has no page checksums,
so a flipped bit can send it to a page that was freed and still holds rows as
they once were (their checks verify), past the end of the file (SIGBUS) or into
an assertion (abort). Measured on bare environments of 300 pages with a past, one
bit flipped in each trial: of 8,000 in the headers and slots of leaves 13 killed the
process and 1 gave an older value; of 8,000 in branches 2 killed it and 5 listed
older or deleted rows; of 600 in metas 20 showed the commit before as the newest.
Behind this module and ``lmdb_sums.py`` 0 of 4,000 did any of these
(``tests/rooms/views/lmdb_flips.py``). Before an environment is opened, its pages
are compared with their sums; where those do not speak for the newest commit,
``inspect`` walks the trees.

LMDB's own verifier (``lmdb.verify``) takes twice the time, does not hold keys
against the bounds of the pages above, and refuses sound files: a value that was
replaced by a shorter one within its commit keeps all its overflow pages.

What a walk holds, for every page that the newest commit reaches: it lies in the
file, carries its own number and the kind its place asks for, is reached once and
is not free; its nodes fill the space from ``upper`` to its end without a gap or
an overlap; its keys ascend within the bounds that the pages above give; the
counts of each tree are what its record says. So each bit of the structure is
spoken for, and rows speak for themselves.

Layout (lmdb.h and mdb.c of LMDB 0.9, data version 1; little-endian, 64 bits)::

    page    0   8   own number                   node    0   2   size, low   } in branches the
            8   2   padding                              2   2   size, high  } child's number,
            10  2   flags: BRANCH LEAF                   4   2   flags       } 48 bits
                    OVERFLOW META                        6   2   key bytes
            12  2   lower: end of the slots              8   k   key
            14  2   upper: start of nodes                .   s   value, or the number of an
            12  4   (overflow) pages of it                       overflow page (flag BIG)
            16  2n  slots: where nodes are               .       padding to an even length

    meta    page header, then 4 magic, 4 version, 8 address, 8 map size,
            tree record of the free pages (its padding is the page size),
            tree record of the names, 8 last page, 8 transaction
    tree    4 padding, 2 flags, 2 depth, 8 branches, 8 leaves, 8 overflows,
            8 entries, 8 root (all ones: empty)
    free    values of the first tree: 8 count, then that many page numbers
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from operator import attrgetter, ge, lt
from typing import Final, NamedTuple

from holdfast.errors import Corrupt

MAGIC: Final = 0xBEEFC0DE
VERSION: Final = 1
EMPTY: Final = (1 << 64) - 1
FIRST_PAGE: Final = 2  # pages 0 and 1 are the two metas, written in turn
DEEPEST: Final = 32
UNWRITTEN_PAGES: Final = 1 << 20
PAGE_BYTES_LEAST: Final = 512
PAGE_BYTES_MOST: Final = 1 << 15

BRANCH, LEAF, OVERFLOW, META = 1, 2, 4, 8
BIG, SUBTREE = 1, 2
INTEGER_KEYS: Final = 8

_HEADER = struct.Struct("<QHHHH")
_NODE = struct.Struct("<HHHH")
_TREE = struct.Struct("<IHH5Q")
_META = struct.Struct("<IIQQ48s48sQQ")
_U64 = struct.Struct("<Q")
_META_BYTES = _HEADER.size + _META.size


class Tree(NamedTuple):
    """The record of one tree: its shape as the commit left it; ``root`` is a page number."""

    padding: int
    flags: int
    depth: int
    branches: int
    leaves: int
    overflows: int
    entries: int
    root: int


class Meta(NamedTuple):
    """The head of one commit: its number, its two trees and the last page it ever used."""

    transaction: int
    last_page: int
    page_bytes: int
    free: Tree
    names: Tree


def damage(what: str, page: int | None = None) -> Corrupt:
    """The error for a file that contradicts itself, with the page where it shows."""
    return Corrupt(position="view file" if page is None else f"view page {page}", why=what)


# -- the two metas --------------------------------------------------------------


def read_metas(descriptor: int) -> tuple[Meta, Meta] | None:
    """The meta that LMDB would take, and the one before it; None for a file without bytes.

    A meta carries no check, so a flipped bit in its number could make the commit
    before the newest, whole as it is. Each commit writes its number into its own
    rows as well, which the caller compares for both.

    Raises:
        Corrupt: this is no LMDB file, or not a whole one.
    """
    head = os.pread(descriptor, _META_BYTES, 0)
    if not head:
        return None
    first = _meta(head, 0)
    second = _meta(os.pread(descriptor, _META_BYTES, first.page_bytes), 1)
    if second.page_bytes != first.page_bytes:
        raise damage("the metas disagree on the page size", 1)
    newest, before = sorted((first, second), key=attrgetter("transaction"), reverse=True)
    # Each commit writes the meta of its own parity, so the two are neighbours.
    if newest.transaction != before.transaction + 1 and newest.transaction:
        raise damage("the metas are not of two commits in a row", 1)
    # The last pages may be free ones that were never written, but not without bound.
    written = os.fstat(descriptor).st_size // newest.page_bytes
    for meta in (newest, before):
        if not FIRST_PAGE - 1 <= meta.last_page < 2 * written + UNWRITTEN_PAGES:
            raise damage("no possible last page", meta.transaction % 2)
    return newest, before


def _meta(page: bytes, number: int) -> Meta:
    if len(page) < _META_BYTES:
        raise damage("the file ends within a meta", number)
    own, _, flags, _, _ = _HEADER.unpack_from(page)
    magic, version, address, _, free, names, last, commit = _META.unpack_from(page, _HEADER.size)
    if (own, flags, magic, version, address) != (number, META, MAGIC, VERSION, 0):
        raise damage("not the meta of an LMDB file", number)
    meta = Meta(commit, last, _TREE.unpack(free)[0], Tree(*_TREE.unpack(free)), tree_of(names))
    size = meta.page_bytes
    if size & (size - 1) or not PAGE_BYTES_LEAST <= size <= PAGE_BYTES_MOST:
        raise damage("no possible page size", number)
    if commit and commit % 2 != number:
        raise damage("a meta stands in the place of the other", number)
    return meta


def tree_of(record: bytes) -> Tree:
    """The record of a tree."""
    return Tree(*_TREE.unpack(record))


# -- pages ----------------------------------------------------------------------


class Pages:
    """The pages of one commit, each claimed once.

    Args:
        descriptor: the data file; read with pread, so a bad disk is an OSError.
        meta: the commit to read.
    """

    def __init__(self, descriptor: int, meta: Meta) -> None:
        self.size = meta.page_bytes
        self.claimed = bytearray(meta.last_page + 1)
        self.claimed[:FIRST_PAGE] = b"\1\1"
        self._descriptor = descriptor

    def claim(self, number: int, count: int = 1) -> None:
        """Say that these pages are used, or free: nothing else may say so again."""
        if number < FIRST_PAGE or number + count > len(self.claimed):
            raise damage("a page outside the file is referred to", number)
        if self.claimed.find(1, number, number + count) >= 0:
            raise damage("a page is used twice, or used and free", number)
        self.claimed[number : number + count] = b"\1" * count

    def read(self, number: int, kind: int) -> bytes:
        """Claim and read one page of this kind."""
        self.claim(number)
        page = os.pread(self._descriptor, self.size, number * self.size)
        if len(page) < self.size:
            raise damage("the file ends before a page in use", number)
        own, _, flags, _, _ = _HEADER.unpack_from(page)
        if own != number or flags != kind:
            raise damage("a page is not what refers to it", number)
        return page

    def overflow(self, number: int, length: int) -> tuple[int, bytes]:
        """Claim a run of pages that holds ``length`` bytes: how many, and the first."""
        first = self.read(number, OVERFLOW)
        count = int.from_bytes(first[12:16], "little")
        # A shorter value may have replaced a longer one in the same commit, in place.
        if count < -(-(_HEADER.size + length) // self.size):
            raise damage("an overflow is shorter than its value", number)
        if count > 1:
            self.claim(number + 1, count - 1)
        return count, first

    def joined(self, number: int, length: int) -> bytes:
        """The bytes of a value that lies on overflow pages claimed before."""
        at = number * self.size + _HEADER.size
        value = os.pread(self._descriptor, length, at)
        if len(value) < length:
            raise damage("the file ends within a value", number)
        return value


class Node(NamedTuple):
    """A node of a leaf whose value the walk needs: a name's tree record, or free pages."""

    key: bytes
    flags: int
    value: bytes


def _nodes(page: bytes, number: int) -> tuple[Sequence[int], list[bytes]]:
    """Where the nodes of a page are, in key order, and the 8 bytes each begins with."""
    lower, upper = struct.unpack_from("<HH", page, 12)
    if not _HEADER.size <= lower <= upper <= len(page) or lower % 2:
        raise damage("the bounds of a page are impossible", number)
    slots = struct.unpack_from(f"<{(lower - _HEADER.size) // 2}H", page, _HEADER.size)
    if slots and (min(slots) != upper or max(slots) > len(page) - _NODE.size):
        raise damage("a node lies outside its page", number)
    return slots, [page[slot : slot + _NODE.size] for slot in slots]


def _hold_packed(number: int, slots: Sequence[int], ends: list[int], page_bytes: int) -> None:
    """Nodes fill the page from the lowest to its end, without a gap or an overlap.

    That is so when the starts are distinct, and the ends are the starts without
    the lowest, and the page's end: a node is longer than nothing, so the second
    lowest start can only be the end of the lowest, and so on upwards.
    """
    starts = set(slots)
    if not starts:
        return
    if len(starts) != len(slots) or {min(starts), *ends} != starts | {page_bytes}:
        raise damage("the nodes of a page overlap or leave a gap", number)


def _hold_order(number: int, keys: list[bytes], low: bytes, high: bytes | None) -> None:
    if not all(map(lt, keys, islice(keys, 1, None))):
        raise damage("the keys of a page do not ascend", number)
    if keys and (keys[0] < low or (high is not None and keys[-1] >= high)):
        raise damage("the keys of a page lie outside its place", number)


class Shape(NamedTuple):
    """Of a node in a leaf: its length on the page, bytes of key and of value, flags."""

    length: int
    key: int
    value: int
    flags: int


class Walk:
    """One pass over a tree: every page claimed, counted and held against its neighbours.

    Args:
        pages: where to read, and what was claimed so far.
        tree: the record of the tree.
        flags: what every node may carry: BIG, or exactly SUBTREE for the tree of names.
        values: also hand out the nodes' values.
    """

    def __init__(self, pages: Pages, tree: Tree, *, flags: int = BIG, values: bool = False) -> None:
        self._pages = pages
        self._tree = tree
        self._flags = flags
        self._values = values
        self._numeric = bool(tree.flags)
        self._branches = self._leaves = self._overflows = self._entries = 0

    def run(self) -> Iterator[Node]:
        """Walk; the nodes come out where ``values`` was asked.

        Raises:
            Corrupt: the tree is not what its record and its pages say.
        """
        tree = self._tree
        if tree.root != EMPTY:
            if not 1 <= tree.depth <= DEEPEST:
                raise damage("no possible depth of a tree")
            yield from self._descend(tree.root, 1, b"", None)
        counted = (self._branches, self._leaves, self._overflows, self._entries)
        if counted != (tree.branches, tree.leaves, tree.overflows, tree.entries):
            raise damage("a tree is not of the size its record says")

    def _descend(self, number: int, level: int, low: bytes, high: bytes | None) -> Iterator[Node]:
        if level == self._tree.depth:
            yield from self._leaf(number, low, high)
            return
        page = self._pages.read(number, BRANCH)
        self._branches += 1
        children, keys = self._branch(page, number, low, high)
        for child, key, after in zip(children, keys, [*keys[1:], high], strict=True):
            yield from self._descend(child, level + 1, key, after)

    def _branch(
        self, page: bytes, number: int, low: bytes, high: bytes | None
    ) -> tuple[list[int], list[bytes]]:
        """The children of a branch and the least key of each; the first takes the page's own."""
        slots, heads = _nodes(page, number)
        if len(slots) < 2 - self._numeric:  # LMDB itself leaves a lone child among free pages
            raise damage("a branch without children", number)
        parts = [_NODE.unpack(head) for head in heads]
        spans = [(slot + 8, slot + 8 + part[3]) for slot, part in zip(slots, parts, strict=True)]
        _hold_packed(number, slots, [end + end % 2 for _, end in spans], len(page))
        keys = [low, *self._ranked([page[start:end] for start, end in spans[1:]])]
        _hold_order(number, keys, low, high)
        return [a | b << 16 | c << 32 for a, b, c, _ in parts], keys

    def _leaf(self, number: int, low: bytes, high: bytes | None) -> Iterator[Node]:
        page = self._pages.read(number, LEAF)
        slots, heads = _nodes(page, number)
        self._leaves += 1
        self._entries += len(slots)
        # Few kinds of head share a page, so the arithmetic is done once for each.
        known = {head: self._shape(head, number) for head in set(heads)}
        shapes = [known[head] for head in heads]
        pairs = list(zip(slots, shapes, strict=True))
        _hold_packed(number, slots, [slot + shape[0] for slot, shape in pairs], len(page))
        keys = [page[slot + 8 : slot + 8 + shape[1]] for slot, shape in pairs]
        _hold_order(number, self._ranked(keys), low, high)
        if self._values or any(shape.flags & BIG for shape in known.values()):
            yield from self._contents(page, slots, shapes)

    def _shape(self, head: bytes, number: int) -> Shape:
        low, high, flags, key = _NODE.unpack(head)
        if flags & ~self._flags or (self._flags == SUBTREE and flags != SUBTREE):
            raise damage("a node is of a kind that is not stored here", number)
        value = low | high << 16
        length = 8 + key + (8 if flags & BIG else value)
        return Shape(length + length % 2, key, value, flags)

    def _contents(self, page: bytes, slots: Sequence[int], shapes: list[Shape]) -> Iterator[Node]:
        for slot, (_, key, length, flags) in zip(slots, shapes, strict=True):
            at = slot + 8 + key
            value = page[at : at + length]
            if flags & BIG:
                (first,) = _U64.unpack_from(page, at)
                self._overflows += self._pages.overflow(first, length)[0]
                value = self._pages.joined(first, length) if self._values else b""
            if self._values:
                yield Node(page[slot + 8 : at], flags, value)

    def _ranked(self, keys: list[bytes]) -> list[bytes]:
        """The keys as bytes that sort like them."""
        return [key[::-1] for key in keys] if self._numeric else keys


# -- what the view asks -----------------------------------------------------------


def free_pages(pages: Pages, meta: Meta) -> list[int]:
    """Claim and name every free page of the commit.

    Raises:
        Corrupt: the record of free pages is damaged.
    """
    free: list[int] = []
    for numbers in _free_records(pages, meta):
        if not all(map(ge, numbers, islice(numbers, 1, None))):
            raise damage("free pages are not in their order")
        free.extend(numbers)
    for number in free:
        pages.claim(number)
    return free


def _free_records(pages: Pages, meta: Meta) -> Iterator[list[int]]:
    for node in Walk(pages, meta.free, values=True).run():
        if len(node.key) != _U64.size or len(node.value) % _U64.size or not node.value:
            raise damage("a record of free pages is not whole")
        count, *numbers = array("Q", node.value)
        if count != len(numbers):
            raise damage("a record of free pages is not of the length it says")
        yield numbers


def changed_pages(descriptor: int, metas: tuple[Meta, Meta]) -> set[int]:
    """The pages that the newest commit wrote and needs, of a file that it left whole.

    A commit writes nothing that the one before needs: it takes pages that were free then,
    or new ones behind the last, and one of the metas. What it took and did not need is free.

    Args:
        descriptor: the data file.
        metas: the newest commit's, and the one of the commit before.

    Raises:
        Corrupt: a record of free pages is damaged.
    """
    now, before = metas
    was_free, is_free = (
        set(chain.from_iterable(_free_records(Pages(descriptor, meta), meta)))
        for meta in (before, now)
    )
    new = range(before.last_page + 1, now.last_page + 1)
    return {0, 1, *new} | (was_free - is_free)


def read_rows(descriptor: int, meta: Meta, name: bytes) -> dict[bytes, bytes]:
    """Every row of a small table, as of a commit.

    Raises:
        Corrupt: it cannot be read, or is not there.
    """
    pages = Pages(descriptor, meta)
    for table in Walk(pages, meta.names, flags=SUBTREE, values=True).run():
        if table.key == name:
            return {
                row.key: row.value for row in Walk(pages, tree_of(table.value), values=True).run()
            }
    raise damage("a table is not there")


def inspect(descriptor: int, meta: Meta, names: frozenset[bytes]) -> None:
    """Walk everything the commit reaches: about 25 us a page.

    Args:
        descriptor: the data file, open for reading.
        meta: its newest meta.
        names: the tables it must hold, these and no others; or none at all.

    Raises:
        Corrupt: something contradicts something else.
    """
    pages = Pages(descriptor, meta)
    if meta.free.flags != INTEGER_KEYS or meta.names.flags:
        raise damage("the two trees of a meta are not of their kinds")
    trees = {
        node.key: tree_of(node.value)
        for node in Walk(pages, meta.names, flags=SUBTREE, values=True).run()
    }
    if trees and trees.keys() != names:
        raise damage("the file holds other tables than ours")
    free_pages(pages, meta)
    for tree in trees.values():
        if tree.flags:
            raise damage("a table is not of its kind")
        for _ in Walk(pages, tree).run():
            pass
