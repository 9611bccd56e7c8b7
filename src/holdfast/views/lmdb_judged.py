"""A large data file of LMDB, answered from before all of it was judged: page by page.

To judge a file takes as long as it is large (1 to 2 us a page: 4 s for the index of ten
million keys), and LMDB may not see it before (``lmdb_file.py``). So until then whoever asks
is answered without LMDB: from the root down to the leaf, and every page is compared with its
sum (``lmdb_sums.py``) as it is read. What is believed was judged, those very bytes; a page
that nobody needs to look at keeps nobody waiting. Each question also judges the next pages of
the file, so that after some thousands of them all were, and LMDB takes over: a get here takes
some 0.1 ms. Who is to write has the rest judged first.

Only a file whose sums speak for its newest commit is read so. Another is walked, all of it.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple, Self, TypeVar

from holdfast.errors import Corrupt
from holdfast.views import lmdb_sums
from holdfast.views.lmdb_file import BIG, EMPTY, Meta, Tree, damage, read_metas, tree_of

Row = tuple[bytes, bytes]
T = TypeVar("T")

HEADER_BYTES: Final = 16
NODE_BYTES: Final = 8
_NODE = struct.Struct("<HHHH")
_CHILD = struct.Struct("<IH")
_U64 = struct.Struct("<Q")


class Readable(NamedTuple):
    """A commit that may be read: its meta, the sums of its pages, the file as it is now."""

    meta: Meta
    sums: Sequence[int]
    identity: tuple[int, ...]


class Changed(Exception):
    """Somebody wrote the file since it was looked at."""


class Judgement:
    """The file of one commit, and how far it was judged.

    Args:
        path: of the data file.
        commit: what is read of it; its metas were judged.
        names: of the tables, in the order of their handles.

    Raises:
        Corrupt: the pages that say where the tables are, are not what was written.
    """

    def __init__(
        self, path: str | os.PathLike[str], commit: Readable, names: Sequence[bytes]
    ) -> None:
        self._path = Path(path)
        self._commit = commit
        self._turn = Lock()
        self._buffer = bytearray(lmdb_sums.CHUNK_BYTES)
        self._next = 0
        self._differing: set[int] = set()
        self.whole = False
        self.damage: Corrupt | None = None
        with self._pages() as pages:
            trees = {name: tree_of(told) for name, told in pages.rows(commit.meta.names, b"")}
            if trees.keys() != frozenset(names):
                raise damage("the file holds other tables than ours")
            self.handles = tuple(trees[name] for name in names)

    @property
    def identity(self) -> tuple[int, ...]:
        """The file as it was when this began."""
        return self._commit.identity

    @contextmanager
    def _pages(self) -> Iterator[Pages]:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if identity_of(os.fstat(descriptor)) != self._commit.identity:
                raise Changed
            yield Pages(descriptor, self._commit)
        finally:
            os.close(descriptor)

    def ask(self, work: Callable[[Pages, tuple[Tree, ...]], T]) -> T:
        """Do ``work`` with pages that are judged as they are read.

        Raises:
            Corrupt: one that is needed is not what was written: ``damage``, from then on.
            Changed: the file was written meanwhile.
        """
        try:
            with self._pages() as pages:
                return work(pages, self.handles)
        except Corrupt as error:
            self._found(error)
            raise

    def _found(self, error: Corrupt) -> None:
        """A page is not what was written; Changed where somebody wrote it since we began."""
        # The file's time alone does not tell it: two commits may come within one tick of that.
        if identity_of(self._path.stat()) != self.identity or not self._is_newest():
            raise Changed from error
        self.damage = error

    def _is_newest(self) -> bool:
        try:
            with self._pages() as pages:
                metas = read_metas(pages.descriptor)
        except Corrupt:  # as it is being written; if not, whoever begins anew finds it
            return False
        return metas is not None and metas[0].transaction == self._commit.meta.transaction

    def go_on(self, *, wait: bool = False) -> bool:
        """Judge the next 256 KiB, unless somebody is at it; whether all are judged and sound.

        ``damage`` says what is not what was written, once it is known that it is needed.

        Raises:
            Changed: the file was written meanwhile.
        """
        if not self._turn.acquire(blocking=wait):
            return False
        try:
            if not (self.whole or self.damage):
                with self._pages() as pages:
                    self._judge(pages.descriptor)
        except Corrupt as error:
            self._found(error)
        finally:
            self._turn.release()
        return self.whole

    def _judge(self, descriptor: int) -> None:
        meta, sums = self._commit.meta, self._commit.sums
        if self._next < len(sums):
            found = lmdb_sums.measure_some(descriptor, meta, self._next, self._buffer)
            if not found:  # the file ends before the last pages, which are free
                found = [0] * (len(sums) - self._next)
            expected = sums[self._next : self._next + len(found)]
            if found != list(expected):
                self._differing |= lmdb_sums.differing_pages(found, expected, self._next)
            self._next += len(found)
        if self._next >= len(sums):
            lmdb_sums.hold_differing(descriptor, meta, self._differing)
            self.whole = True


class Pages:
    """What a read transaction of LMDB is to a view, over pages that are judged as they are read.

    Args:
        descriptor: the data file.
        commit: what is read of it.
    """

    __slots__ = ("_commit", "descriptor")

    def __init__(self, descriptor: int, commit: Readable) -> None:
        self.descriptor = descriptor
        self._commit = commit

    def get(self, key: bytes, default: bytes | None, tree: Tree) -> bytes | None:
        """The value of a key."""
        found = next(self.rows(tree, key), None)
        return found[1] if found is not None and found[0] == key else default

    def stat(self, tree: Tree) -> dict[str, int]:
        """How many entries a table has."""
        return {"entries": tree.entries}

    def cursor(self, tree: Tree) -> Cursor:
        """A place among the rows of a table."""
        return Cursor(self, tree)

    def rows(self, tree: Tree, start: bytes) -> Iterator[Row]:
        """The rows of a table from a key on, ascending.

        Raises:
            Corrupt: a page on the way is not what was written.
        """
        if tree.root != EMPTY:
            yield from self._below(tree.root, tree.depth, start)

    def _below(self, number: int, levels: int, start: bytes) -> Iterator[Row]:
        page = self.page(number)
        slots = _slots(page)

        def key_at(slot: int) -> bytes:
            size: int = _NODE.unpack_from(page, slot)[3]
            return page[slot + NODE_BYTES : slot + NODE_BYTES + size]

        if levels > 1:  # the key of a branch's first node says nothing
            first = bisect_right(slots, start, lo=1, key=key_at) - 1
            for slot in slots[first:]:
                low, high = _CHILD.unpack_from(page, slot)
                yield from self._below(low | high << 32, levels - 1, start)
            return
        for slot in slots[bisect_left(slots, start, key=key_at) :]:
            yield key_at(slot), self._value(page, slot)

    def _value(self, page: bytes, slot: int) -> bytes:
        low, high, flags, key_bytes = _NODE.unpack_from(page, slot)
        length, at = low | high << 16, slot + NODE_BYTES + key_bytes
        if not flags & BIG:
            return page[at : at + length]
        (first,) = _U64.unpack_from(page, at)
        count = -(-(HEADER_BYTES + length) // self._commit.meta.page_bytes)
        run = b"".join(map(self.page, range(first, first + count)))
        return run[HEADER_BYTES : HEADER_BYTES + length]

    def page(self, number: int) -> bytes:
        """A page, which is what was written; Corrupt where it is not."""
        size, sums = self._commit.meta.page_bytes, self._commit.sums
        page = os.pread(self.descriptor, size, number * size)
        if number >= len(sums) or len(page) < size or lmdb_sums.page_sum(page) != sums[number]:
            raise damage("a page is not what was written", number)
        return page


class Cursor:
    """As much of a cursor of LMDB as a view asks for."""

    __slots__ = ("_pages", "_rows", "_tree")

    def __init__(self, pages: Pages, tree: Tree) -> None:
        self._pages = pages
        self._tree = tree
        self._rows: Iterator[Row] = iter(())

    def __enter__(self) -> Self:
        """It holds nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """It holds nothing."""

    def set_range(self, key: bytes) -> bool:
        """Go to the first row at or behind a key; False where that cannot be told at once."""
        self._rows = self._pages.rows(self._tree, key)
        return True

    def first(self) -> bool:
        """Go to the first row."""
        return self.set_range(b"")

    def iternext(self) -> Iterator[Row]:
        """The rows from here on."""
        return self._rows

    def getmulti(self, keys: Iterable[bytes]) -> list[Row]:
        """The rows that exist among keys."""
        pairs = ((key, self._pages.get(key, None, self._tree)) for key in keys)
        return [(key, value) for key, value in pairs if value is not None]


def _slots(page: bytes) -> Sequence[int]:
    """Where the nodes of a page are, in key order."""
    lower = int.from_bytes(page[12:14], "little")
    return struct.unpack_from(f"<{(lower - HEADER_BYTES) // 2}H", page, HEADER_BYTES)


def identity_of(told: os.stat_result) -> tuple[int, ...]:
    """What changes when anybody writes a file."""
    return told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns
