"""An index on disk, beside the view of its bucket: immutable runs, and which of them count.

    search-<n>.run   a run (run.py draws it); never changed, n is never used twice
    search.index     which runs of which namespace, what of them is hidden, up to where

    offset  size  field of search.index
    0       8     magic "HFSINDEX"
    8       8     XXH3-64 of everything behind these 16 bytes
    16            msgpack [format, bucket, start, stop, position [4 integers], version,
                  [[namespace, XXH3-64 of its rules, runs], ...]]
                  runs: [[n, XXH3-64 of the run, hidden documents (Roaring)], ...]

Runs are synced before the file that names them takes its name, and the log is durable up to the
position before that (rule 2). Whatever does not verify is thrown away with all the rest: the
bucket is read again.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from pyroaring import BitMap

from holdfast.engines import whole
from holdfast.engines.port import Buffer
from holdfast.errors import Corrupt
from holdfast.log.log import Position
from holdfast.search.run import Run
from holdfast.search.shelf import Part, Shelf

if TYPE_CHECKING:
    from holdfast.search.index import Index

NAME: Final = "search.index"
MAGIC: Final = b"HFSINDEX"
FORMAT: Final = 3  # 2 tore words of Indic scripts apart at their vowel signs


class Kept(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What ``search.index`` says."""

    format: int
    bucket: str
    start: bytes
    stop: bytes
    position: Position
    version: int
    shelves: list[tuple[bytes, int, list[tuple[int, int, bytes]]]]


KEPT: Final = msgspec.msgpack.Decoder(Kept)


class Files:
    """The files of one bucket's index.

    Args:
        folder: that of the bucket's view.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, index: Index) -> None:
        """Write what an index holds; OSError where the disk refuses. Under the index's lock."""
        at = index.at
        if at is None:
            return
        numbers = self._numbers()
        shelves = []
        for namespace, shelf in index.shelves.items():
            parts = []
            for part in shelf.parts:
                number = self._place(part.run, numbers)
                parts.append((number, part.run.digest, part.hidden.serialize()))
            shelves.append((namespace, shelf.rules, parts))
        index.bucket.sync_to(at)
        bucket = index.bucket.id
        kept = Kept(FORMAT, bucket, *index.span, at, index.version, shelves)
        self._put(self._folder / NAME, whole.framed(MAGIC, msgspec.msgpack.encode(kept)))
        used = {number for _, _, parts in shelves for number, _, _ in parts}
        for number in set(numbers) - used:
            self._path(number).unlink(missing_ok=True)
        index.changed = 0

    def load(self, index: Index) -> bool:
        """Take in what was written; False, and the files are gone, where it does not verify."""
        try:
            kept = self._read()
            if kept is None or kept.bucket != index.bucket.id:
                return False
            shelves = {
                namespace: Shelf(rules, [self._part(*told) for told in parts])
                for namespace, rules, parts in kept.shelves
            }
        except (Corrupt, OSError, ValueError):
            self.drop()
            return False
        index.shelves = shelves
        index.start, index.stop = kept.start, kept.stop
        index.at, index.version = kept.position, kept.version
        return True

    def drop(self) -> None:
        """Forget everything; what says so is durable."""
        whole.forget(self._folder / NAME)
        for number in self._numbers():
            self._path(number).unlink(missing_ok=True)

    def _read(self) -> Kept | None:
        try:
            data = (self._folder / NAME).read_bytes()
        except FileNotFoundError:
            return None
        content = whole.content_of(MAGIC, data)
        if content is None:
            raise Corrupt(position=str(self._folder / NAME), what="an index does not verify")
        kept = KEPT.decode(content)
        return kept if kept.format == FORMAT else None

    def _part(self, number: int, digest: int, hidden: bytes) -> Part:
        path = self._path(number)
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        run = Run(data, path.name)
        if run.digest != digest:
            raise Corrupt(position=path.name, what="another run under this name")
        run.path = path
        return Part(run, BitMap.deserialize(hidden))

    def _place(self, run: Run, numbers: dict[int, Path]) -> int:
        """The number of a run's file, which is linked or written where there is none yet."""
        for number, path in numbers.items():
            if path == run.path:
                return number
        number = max(numbers, default=0) + 1
        path = numbers[number] = self._path(number)
        if run.path is None or not _linked(run.path, path):
            self._put(path, run.data)
        run.path = path
        return number

    def _put(self, path: Path, data: Buffer) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        whole.put(path, data)

    def _numbers(self) -> dict[int, Path]:
        """The runs that are there, by number."""
        found = {}
        for path in self._folder.glob("search-*.run"):
            number = path.stem.removeprefix("search-")
            if number.isdigit():
                found[int(number)] = path
        return found

    def _path(self, number: int) -> Path:
        return self._folder / f"search-{number}.run"


def _linked(old: Path, new: Path) -> bool:
    """Whether a run that another bucket wrote could be named here too."""
    try:
        os.link(old, new)
    except OSError:
        return False
    return True
