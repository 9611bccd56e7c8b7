"""A disk around another disk: what the faulty and the counting ones inherit."""

from __future__ import annotations

# ruff: noqa: D102 - the port tells what each method does
from collections.abc import Sequence
from typing import Literal

from holdfast.engines.port import Buffer, Disk, File, Mapped

Kind = Literal[
    "open", "create", "read", "map", "size", "write", "sync", "close",
    "link", "unlink", "rename", "list", "make_folder", "sync_folder", "free_bytes",
]  # fmt: skip

MUTATING: frozenset[Kind] = frozenset(
    {"create", "write", "sync", "link", "unlink", "rename", "make_folder", "sync_folder"}
)
READING: frozenset[Kind] = frozenset({"open", "read", "map", "size", "list", "free_bytes"})


class Around(Disk):
    """A disk around another, to be inherited: every call meets ``before`` first.

    Args:
        inner: the disk that does the work.
    """

    def __init__(self, inner: Disk) -> None:
        self._inner = inner

    def before(self, kind: Kind) -> None:
        """Called ahead of every call, the files' own included; what it raises is the answer."""

    def write(self, file: File, offset: int, buffers: Sequence[Buffer]) -> int:
        """Carry out a write to one of the inner disk's files."""
        self.before("write")
        return file.write(offset, buffers)

    def read(self, file: File, offset: int, length: int) -> bytes:
        """Carry out a read of one of the inner disk's files."""
        self.before("read")
        return file.read(offset, length)

    def around(self, path: str, file: File) -> File:
        """What ``open`` hands out for one of the inner disk's files."""
        del path
        return AroundFile(self, file)

    def open(self, path: str, *, create: bool = False, write: bool = True) -> File:
        self.before("create" if create else "open")
        return self.around(path, self._inner.open(path, create=create, write=write))

    def link(self, source: str, target: str) -> None:
        self.before("link")
        self._inner.link(source, target)

    def unlink(self, path: str) -> None:
        self.before("unlink")
        self._inner.unlink(path)

    def rename(self, source: str, target: str) -> None:
        self.before("rename")
        self._inner.rename(source, target)

    def list(self, path: str) -> list[str]:
        self.before("list")
        return self._inner.list(path)

    def make_folder(self, path: str) -> None:
        self.before("make_folder")
        self._inner.make_folder(path)

    def sync_folder(self, path: str) -> None:
        self.before("sync_folder")
        self._inner.sync_folder(path)

    def free_bytes(self, path: str) -> int:
        self.before("free_bytes")
        return self._inner.free_bytes(path)


class AroundFile(File):
    """A file of an ``Around``: it asks its disk before it does anything."""

    def __init__(self, disk: Around, inner: File) -> None:
        self._disk = disk
        self._inner = inner

    def write(self, offset: int, buffers: Sequence[Buffer]) -> int:
        return self._disk.write(self._inner, offset, buffers)

    def sync(self) -> None:
        self._disk.before("sync")
        self._inner.sync()

    def read(self, offset: int, length: int) -> bytes:
        return self._disk.read(self._inner, offset, length)

    def read_now(self, offset: int, length: int) -> bytes | None:
        del offset, length
        return None  # whoever asks goes by ``read``, which meets the disk's faults

    def map(self) -> Mapped:
        self._disk.before("map")
        return self._inner.map()

    def size(self) -> int:
        self._disk.before("size")
        return self._inner.size()

    def finish(self, size: int) -> None:
        self._inner.finish(size)

    def close(self) -> None:
        self._disk.before("close")
        self._inner.close()
