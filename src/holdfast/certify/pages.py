"""The pages of one bucket's tree on disk, beside its view: written once, read one by one.

    tree-<n>.pages   pages, one behind the other; never changed, n is never used twice
    tree.index       which pages make the tree of which namespace, and up to where in the log

    a page of tree-<n>.pages, little-endian
    offset  size  field
    0       8     XXH3-64 of all that follows
    8       2     count of labels, c
    10      2c    size of each label
    10+2c         the labels, ascending, side by side; then the digest below each, 32 bytes

    offset  size  field of tree.index
    0       8     magic "HFTREEIX"
    8       8     XXH3-64 of everything behind these 16 bytes
    16            msgpack [format, bucket, start, stop, position [4 integers],
                  [[namespace, [[n, offset, size, count, first label, last label, digest], ...]],
                  ...]]

Pages are synced before the index that names them takes its name, and the log is durable up to
the position before that (rule 2). The digest of a page is that of its part of the hash tree:
the forks above pages follow from the labels at their edges, so a tree that was written down
has its root without a page being read. What does not verify is thrown away with all the rest,
and the bucket is read again.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple
from weakref import WeakSet, finalize

import msgspec
from xxhash import xxh3_64_digest

from holdfast.certify import trie
from holdfast.certify.trie import Columns, Page, Trie
from holdfast.engines import whole
from holdfast.log.log import Position

NAME: Final = "tree.index"
MAGIC: Final = b"HFTREEIX"
FORMAT: Final = 1
CHECK_BYTES: Final = 8
COUNT: Final = struct.Struct("<H")
FILES_MOST: Final = 4  # of one bucket


class Damaged(Exception):
    """A page that was written down does not verify: its tree must be made again."""


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """What ``tree.index`` says of a page."""

    number: int
    offset: int
    size: int
    count: int
    first: bytes
    last: bytes
    digest: bytes


class Kept(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What ``tree.index`` says."""

    format: int
    bucket: str
    start: bytes
    stop: bytes
    position: Position
    namespaces: list[tuple[bytes, list[Row]]]


KEPT: Final = msgspec.msgpack.Decoder(Kept)


class Standing(NamedTuple):
    """The tree of a bucket as it was at a position of its log."""

    start: bytes
    stop: bytes
    at: Position
    tries: dict[bytes, Trie]


class Sheet:
    """A file of pages. It is there for as long as a tree rests on it, and open for a read alone."""

    def __init__(self, path: Path, number: int) -> None:
        self.number = number
        self.damaged = False
        about = path.stat()
        self.size, self._inode = about.st_size, about.st_ino
        self._path = path

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of it; fewer where it ends before."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)

    def retire(self) -> None:
        """Remove the file once nothing rests on it: seals that are proved from may do so long."""
        finalize(self, _remove, self._path, self._inode)


class Place:
    """Where a page lies (``trie.Source``)."""

    __slots__ = ("offset", "sheet", "size")

    def __init__(self, sheet: Sheet, offset: int, size: int) -> None:
        self.sheet, self.offset, self.size = sheet, offset, size

    def read(self) -> Columns:
        """What the page holds.

        Raises:
            Damaged: it does not verify, or cannot be read.
        """
        try:
            block = self.sheet.read(self.offset, self.size)
        except OSError:
            block = b""
        if len(block) != self.size or xxh3_64_digest(block[CHECK_BYTES:]) != block[:CHECK_BYTES]:
            self.sheet.damaged = True
            raise Damaged
        return unpack(block)


def pack(columns: Columns) -> bytes:
    """A page as bytes."""
    labels, digests, _ = columns
    widths = struct.pack(f"<{len(labels)}H", *map(len, labels))
    body = b"".join((COUNT.pack(len(labels)), widths, *labels, digests))
    return xxh3_64_digest(body) + body


def unpack(block: bytes) -> Columns:
    """What a page holds, given bytes that verify."""
    (count,) = COUNT.unpack_from(block, CHECK_BYTES)
    at = CHECK_BYTES + COUNT.size
    widths = struct.unpack_from(f"<{count}H", block, at)
    at += COUNT.size * count
    labels = []
    for width in widths:
        labels.append(block[at : at + width])
        at += width
    return Columns(tuple(labels), block[at:], trie.partings(labels))


class Files:
    """The files of one bucket's tree. Used by one thread at a time, but for ``doubt``.

    Args:
        folder: that of the bucket's view.
        bucket: its id.
    """

    def __init__(self, folder: Path, bucket: str) -> None:
        self._folder = folder
        self._bucket = bucket
        self._sheets: list[Sheet] = []
        self._retired: WeakSet[Sheet] = WeakSet()
        self._doubted = False

    @property
    def damaged(self) -> bool:
        """Whether something that was read here did not verify."""
        return self._doubted or any(sheet.damaged for sheet in self._sheets)

    def doubt(self) -> None:
        """Say that what is here is not what was written."""
        self._doubted = True

    def save(
        self, standing: Standing, sync: Callable[[Position], None], pace: Callable[[], None]
    ) -> None:
        """Write down a tree; what of it was written before stays where it is.

        Args:
            standing: the tree.
            sync: makes the log durable up to a position.
            pace: called between pages.

        Raises:
            OSError: the disk refuses; what was there before still counts.
            Damaged: a page that was to be moved does not verify.
        """
        pages = [page for made in standing.tries.values() for page in trie.pages(made)]
        worn = self._worn(pages)
        fresh = [page for page in pages if not _lies_in(page, worn, self._sheets)]
        if fresh:
            self._sheets.append(self._write(fresh, pace))
        sync(standing.at)
        shelves = [(name, _rows_of(made)) for name, made in standing.tries.items()]
        start, stop, at, _ = standing
        kept = Kept(FORMAT, self._bucket, start, stop, at, shelves)
        whole.put(self._folder / NAME, encode_index(kept))
        self._retire(worn)
        self._remove_others()

    def load(self) -> Standing | None:
        """The tree that was written down; None, and the files are gone, where there is none."""
        try:
            kept = self._read()
            if kept is None:
                return None
            sheets = {
                number: Sheet(self._path(number), number)
                for number in {row.number for _, rows in kept.namespaces for row in rows}
            }
            tries = {name: _trie_of(rows, sheets) for name, rows in kept.namespaces}
        except (Damaged, OSError, ValueError):
            self.drop()
            return None
        self._sheets = list(sheets.values())
        found = {name: made for name, made in tries.items() if made is not None}
        return Standing(kept.start, kept.stop, kept.position, found)

    def drop(self) -> None:
        """Forget everything; what says so is durable."""
        self._doubted = False
        whole.forget(self._folder / NAME)
        self._retire(set(self._sheets))
        self._remove_others()

    def _read(self) -> Kept | None:
        try:
            data = (self._folder / NAME).read_bytes()
        except FileNotFoundError:
            return None
        content = whole.content_of(MAGIC, data)
        if content is None:
            raise Damaged
        kept = KEPT.decode(content)
        if kept.format != FORMAT or kept.bucket != self._bucket:
            raise Damaged
        return kept

    def _write(self, pages: list[Page], pace: Callable[[], None]) -> Sheet:
        """Write pages into a new file, synced; they rest there from now on."""
        number = max(self._numbers(), default=0) + 1
        path = self._path(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        sizes = []
        with path.open("wb") as file:
            for page in pages:
                block = pack(page.columns)
                file.write(block)
                sizes.append(len(block))
                pace()
            file.flush()
            os.fsync(file.fileno())
        whole.sync_folder(self._folder)
        sheet, at = Sheet(path, number), 0
        for page, size in zip(pages, sizes, strict=True):
            page.rest(Place(sheet, at, size))
            at += size
        return sheet

    def _worn(self, pages: Iterable[Page]) -> set[Sheet]:
        """The files of which less than half counts; all, where there are too many."""
        if len(self._sheets) >= FILES_MOST:
            return set(self._sheets)
        living = dict.fromkeys(self._sheets, 0)
        for page in pages:
            place = page.source
            if isinstance(place, Place) and place.sheet in living:
                living[place.sheet] += place.size
        return {sheet for sheet, size in living.items() if 2 * size < sheet.size or not size}

    def _retire(self, worn: set[Sheet]) -> None:
        self._sheets = [sheet for sheet in self._sheets if sheet not in worn]
        for sheet in worn:
            sheet.retire()
        self._retired.update(worn)

    def _remove_others(self) -> None:
        """Remove what a crash left, and what nobody will remove."""
        kept = {sheet.number for sheet in (*self._sheets, *self._retired)}
        for number in self._numbers():
            if number not in kept:
                _remove(self._path(number))

    def _numbers(self) -> list[int]:
        """Of the files that are there."""
        found = [path.stem.removeprefix("tree-") for path in self._folder.glob("tree-*.pages")]
        return [int(number) for number in found if number.isdigit()]

    def _path(self, number: int) -> Path:
        return self._folder / f"tree-{number}.pages"


def _lies_in(page: Page, worn: set[Sheet], sheets: list[Sheet]) -> bool:
    """Whether a page can stay where it lies."""
    place = page.source
    return isinstance(place, Place) and place.sheet in sheets and place.sheet not in worn


def _rows_of(made: Trie) -> list[Row]:
    """What the index says of the pages of a trie, all of which lie in files."""
    return [
        Row(
            place.sheet.number,
            place.offset,
            place.size,
            page.count,
            page.first,
            page.last,
            page.digest,
        )
        for page in trie.pages(made)
        if isinstance(place := page.source, Place)
    ]


def _trie_of(rows: Iterable[Row], sheets: dict[int, Sheet]) -> Trie | None:
    return trie.join(_page_of(row, sheets[row.number]) for row in rows)


def _page_of(row: Row, sheet: Sheet) -> Page:
    place = Place(sheet, row.offset, row.size)
    return Page((row.first, row.last), row.count, place, row.digest)


def encode_index(kept: Kept) -> bytes:
    """The bytes of ``tree.index``."""
    return whole.framed(MAGIC, msgspec.msgpack.encode(kept))


def _remove(path: Path, inode: int | None = None) -> None:
    """Remove a file, if it is still that one; its folder may be gone, with the bucket."""
    with suppress(OSError):
        if inode in {None, path.stat().st_ino}:
            path.unlink()
