"""A disk in memory: for ``:memory:`` stores, and the page cache of the simulator.

Files are ``Inode``s that any number of names share; folders are dictionaries
of names. Everything is durable the moment it is done, as long as the process
lives. Errors are those that Linux raises for the same call.
"""

from __future__ import annotations

# ruff: noqa: D102 - the port tells what each method does
import errno
import os
from collections.abc import Sequence
from posixpath import normpath
from threading import Lock
from typing import Never

from holdfast.engines.port import Buffer, Disk, File, Mapped
from holdfast.limits import TIB


def _refuse(number: int, path: str | None = None) -> Never:
    raise OSError(number, os.strerror(number), path)


class Inode:
    """The bytes of one file, whatever its names.

    Args:
        data: its first content; ``bytes`` are shared and copied when written to.
    """

    __slots__ = ("_data", "_lock")

    def __init__(self, data: bytes = b"") -> None:
        self._data: bytes | bytearray = data
        self._lock = Lock()

    def write(self, offset: int, data: bytes) -> None:
        """Put ``data`` at ``offset``; a gap before it reads as zeros."""
        if not data:
            return  # not even the gap, as pwrite(2) has it
        with self._lock:
            content = self._data
            if isinstance(content, bytes):
                content = self._data = bytearray(content)
            if offset > len(content):
                content.extend(bytes(offset - len(content)))
            content[offset : offset + len(data)] = data

    def read(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes at ``offset``."""
        return bytes(self._data[offset : offset + length])

    def freeze(self) -> bytes:
        """The content as it is now. Copied when it was written to since the last time."""
        with self._lock:
            if not isinstance(self._data, bytes):
                self._data = bytes(self._data)
            return self._data

    def __len__(self) -> int:
        return len(self._data)


class Folder:
    """A folder: what its names stand for."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: dict[str, Inode | Folder] = {}


class MemoryFile(File):
    """An open file of a ``MemoryDisk``."""

    __slots__ = ("_inode", "_may_write")

    def __init__(self, inode: Inode, *, write: bool = True) -> None:
        self._inode: Inode | None = inode
        self._may_write = write

    def _open(self) -> Inode:
        return self._inode if self._inode is not None else _refuse(errno.EBADF)

    def write(self, offset: int, buffers: Sequence[Buffer]) -> int:
        if not self._may_write:
            _refuse(errno.EBADF)
        data = b"".join(buffers)  # of a single bytes object this is that very object
        self._open().write(offset, data)
        return len(data)

    def sync(self) -> None:
        self._open()

    def read(self, offset: int, length: int) -> bytes:
        return self._open().read(offset, length)

    def map(self) -> Mapped:
        return self._open().freeze()

    def size(self) -> int:
        return len(self._open())

    def close(self) -> None:
        self._inode = None


class MemoryDisk(Disk):
    """Files in memory; paths are taken from one root, "a/b" and "/a/b" alike.

    Args:
        root: the tree to begin with; an empty one if not given.

    Example:
        >>> disk = MemoryDisk()
        >>> disk.make_folder("data/b1")
        >>> disk.open("data/b1/0.seg", create=True).write(0, [b"head"])
        4
        >>> disk.list("data/b1")
        ['0.seg']
    """

    def __init__(self, root: Folder | None = None) -> None:
        self.root = Folder() if root is None else root
        self._lock = Lock()  # over the names; bytes have a lock per file

    def find(self, path: str) -> Inode | Folder | None:
        """What ``path`` names, or None; NotADirectoryError where it goes through a file."""
        node: Inode | Folder | None = self.root
        for name in _names(path):
            if not isinstance(node, Folder):
                _refuse(errno.ENOTDIR, path)
            node = node.entries.get(name)
            if node is None:
                return None
        return node

    def parent(self, path: str) -> tuple[Folder, str]:
        """The folder that ``path`` lies in, and its name there; FileNotFoundError without one."""
        names = _names(path)
        if not names:
            _refuse(errno.EBUSY, path)  # the root itself
        folder = self.find("/".join(names[:-1]))
        if folder is None:
            _refuse(errno.ENOENT, path)
        if not isinstance(folder, Folder):
            _refuse(errno.ENOTDIR, path)
        return folder, names[-1]

    def _inode(self, path: str) -> Inode:
        node = self.find(path)
        if node is None:
            _refuse(errno.ENOENT, path)
        if isinstance(node, Folder):
            _refuse(errno.EISDIR, path)
        return node

    def open(self, path: str, *, create: bool = False, write: bool = True) -> File:
        if not create:
            return MemoryFile(self._inode(path), write=write)
        with self._lock:
            folder, name = self.parent(path)
            if name in folder.entries:
                _refuse(errno.EEXIST, path)
            inode = folder.entries[name] = Inode()
        return MemoryFile(inode)

    def link(self, source: str, target: str) -> None:
        with self._lock:
            inode = self._inode(source)
            folder, name = self.parent(target)
            if name in folder.entries:
                _refuse(errno.EEXIST, target)
            folder.entries[name] = inode

    def unlink(self, path: str) -> None:
        with self._lock:
            node = self.find(path)
            if node is None:
                return
            if isinstance(node, Folder) and node.entries:
                _refuse(errno.ENOTEMPTY, path)
            folder, name = self.parent(path)
            del folder.entries[name]

    def rename(self, source: str, target: str) -> None:
        with self._lock:
            node = self.find(source)
            if node is None:
                _refuse(errno.ENOENT, source)
            old = self.find(target)
            if old is node:
                return  # as rename(2) has it: two names of one file both stay
            if old is not None:
                _check_replaced(node, old, target)
            folder, name = self.parent(target)
            before, old_name = self.parent(source)
            folder.entries[name] = node
            del before.entries[old_name]

    def list(self, path: str) -> list[str]:
        node = self.find(path)
        if isinstance(node, Inode):
            _refuse(errno.ENOTDIR, path)
        return [] if node is None else sorted(node.entries)

    def make_folder(self, path: str) -> None:
        with self._lock:
            node = self.root
            names = _names(path)
            for depth, name in enumerate(names, 1):
                below = node.entries.setdefault(name, Folder())
                if not isinstance(below, Folder):
                    _refuse(errno.EEXIST if depth == len(names) else errno.ENOTDIR, path)
                node = below

    def sync_folder(self, path: str) -> None:
        self._folder(path)

    def free_bytes(self, path: str) -> int:
        self._folder(path)
        return TIB  # a constant, so that a run under a seed repeats

    def _folder(self, path: str) -> Folder:
        node = self.find(path)
        if node is None:
            _refuse(errno.ENOENT, path)
        if isinstance(node, Inode):
            _refuse(errno.ENOTDIR, path)
        return node


def _names(path: str) -> list[str]:
    return [name for name in normpath(path).split("/") if name not in {"", "."}]


def _check_replaced(node: Inode | Folder, old: Inode | Folder, path: str) -> None:
    """Refuse what rename(2) refuses: a file over a folder, a folder over a file or a full one."""
    if isinstance(old, Folder):
        if not isinstance(node, Folder):
            _refuse(errno.EISDIR, path)
        if old.entries:
            _refuse(errno.ENOTEMPTY, path)
    elif isinstance(node, Folder):
        _refuse(errno.ENOTDIR, path)
