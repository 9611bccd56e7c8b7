"""What of a disk in memory is durable, and what a power cut may leave of the rest.

A ``Platter`` is fed the events of a run in order. It keeps, per file, the bytes
as last synced and the writes since; per folder, the names as last synced; and
the changes of names since. ``settle`` decides what survives; ``root`` is the
tree that a machine finds then.

What it takes for granted of a disk is what every journaling file system gives:
a synced byte stays unless it is written to again, a rename happens whole or not
at all, and a folder's sync takes the changes of that folder in their order.
Nothing else has an order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random
from typing import Literal, NamedTuple, TypeVar

from holdfast.engines.memory import Folder, Inode

T = TypeVar("T")
Mode = Literal["kept", "dropped", "torn", "reordered"]
Node = Inode | Folder
Names = dict[str, Node]
Write = tuple[int, bytes]  # offset, data
Edit = tuple[Folder, str, Node | None]  # where, name, what it stands for from now on

MODES: tuple[Mode, ...] = ("kept", "dropped", "torn", "reordered")
SECTOR_BYTES = 512
SURVIVES = (0.1, 0.5, 0.9)  # parts of what is not synced that a reordering leaves


class Wrote(NamedTuple):
    """Bytes were written to a file."""

    inode: Inode
    write: Write


class Synced(NamedTuple):
    """A file was synced."""

    inode: Inode


class Named(NamedTuple):
    """Names changed by one call: they survive together or not at all."""

    edits: tuple[Edit, ...]


class SyncedFolder(NamedTuple):
    """A folder was synced."""

    folder: Folder


Event = Wrote | Synced | Named | SyncedFolder


class Platter:
    """The durable part of a tree, and what waits to become so.

    Args:
        root: the tree; as it stands now, all of it is durable.
    """

    def __init__(self, root: Folder) -> None:
        self._root = root
        self._bytes: dict[Inode, bytes] = {}
        self._names: dict[Folder, Names] = {}
        self._writes: dict[Inode, list[Write]] = {}
        self._edits: list[tuple[Edit, ...]] = []
        for node in _walk(root):
            if isinstance(node, Folder):
                self._names[node] = dict(node.entries)
            else:
                self._bytes[node] = node.freeze()

    def copy(self) -> Platter:
        """Another one in the same state; needs no event to have been replayed yet."""
        other = Platter(Folder())
        other._root = self._root
        other._bytes = dict(self._bytes)
        other._names = {folder: dict(names) for folder, names in self._names.items()}
        return other

    def replay(self, events: Iterable[Event]) -> None:
        """Take in what happened, in order."""
        for event in events:
            if isinstance(event, Wrote):
                self._writes.setdefault(event.inode, []).append(event.write)
            elif isinstance(event, Synced):
                self._keep_bytes(event.inode, self._writes.pop(event.inode, []))
            elif isinstance(event, Named):
                self._edits.append(event.edits)
            else:
                self._sync_folder(event.folder)

    def settle(self, mode: Mode, chance: Random) -> None:
        """Decide what survives of all that waits; the rest is gone."""
        if mode == "dropped":
            return
        edits = _drawn(self._edits, chance) if mode == "reordered" else self._edits
        for edit in edits:
            self._keep_names(edit)
        for inode, writes in self._writes.items():
            left = writes
            if mode == "torn":
                left = _torn(writes, chance)
            elif mode == "reordered":
                left = _drawn([s for write in writes for s in _sectors(write)], chance)
            self._keep_bytes(inode, left)

    def root(self) -> Folder:
        """A new tree of what is durable."""
        return self._built(self._root, {})

    def _built(self, folder: Folder, made: dict[Inode, Inode]) -> Folder:
        new = Folder()
        for name, node in self._names.get(folder, {}).items():
            if isinstance(node, Folder):
                new.entries[name] = self._built(node, made)
                continue
            if node not in made:  # all names of a file stay names of one file
                made[node] = Inode(self._bytes.get(node, b""))
            new.entries[name] = made[node]
        return new

    def _keep_bytes(self, inode: Inode, writes: list[Write]) -> None:
        if not writes:
            return
        content = Inode(self._bytes.get(inode, b""))
        for offset, data in writes:
            content.write(offset, data)
        self._bytes[inode] = content.freeze()

    def _keep_names(self, edits: tuple[Edit, ...]) -> None:
        for folder, name, node in edits:
            names = self._names.setdefault(folder, {})
            if node is None:
                names.pop(name, None)
            else:
                names[name] = node

    def _sync_folder(self, folder: Folder) -> None:
        """Keep all changes of a folder; with one that spans two folders goes what it builds on."""
        touched = {folder}
        kept: list[tuple[Edit, ...]] = []
        waiting: list[tuple[Edit, ...]] = []
        for edits in reversed(self._edits):
            folders = {where for where, _, _ in edits}
            if folders & touched:
                touched |= folders
                kept.append(edits)
            else:
                waiting.append(edits)
        for edits in reversed(kept):
            self._keep_names(edits)
        self._edits = waiting[::-1]


def copy_tree(folder: Folder, made: dict[Inode, Inode]) -> Folder:
    """The same tree in new nodes; ``made`` maps the files that were copied already."""
    new = Folder()
    for name, node in folder.entries.items():
        if isinstance(node, Folder):
            new.entries[name] = copy_tree(node, made)
        else:
            new.entries[name] = made.setdefault(node, Inode(node.freeze()))
    return new


def _walk(folder: Folder) -> Iterator[Node]:
    yield folder
    for node in folder.entries.values():
        if isinstance(node, Folder):
            yield from _walk(node)
        else:
            yield node


def _drawn(items: list[T], chance: Random) -> list[T]:
    part = chance.choice(SURVIVES)
    return [item for item in items if chance.random() < part]


def _sectors(write: Write) -> Iterator[Write]:
    """A write cut where the disk cuts it."""
    offset, data = write
    at = 0
    while at < len(data):
        size = SECTOR_BYTES - (offset + at) % SECTOR_BYTES
        yield offset + at, data[at : at + size]
        at += size


def _torn(writes: list[Write], chance: Random) -> list[Write]:
    """The writes up to a drawn byte, or all with a damaged sector in the last, or both."""
    how = chance.choice(("cut", "damaged", "both"))
    total = sum(len(data) for _, data in writes)
    left = total if how == "damaged" else chance.randint(0, total)
    torn: list[Write] = []
    for offset, data in writes:
        if left:
            torn.append((offset, data[:left]))
            left -= len(torn[-1][1])
    if how != "cut" and torn:
        pieces = list(_sectors(torn.pop()))
        at = chance.randrange(len(pieces))
        offset, data = pieces[at]
        blank = chance.random() < 0.5  # noqa: PLR2004 - an even coin
        pieces[at] = (offset, bytes(len(data)) if blank else chance.randbytes(len(data)))
        torn += pieces
    return torn
