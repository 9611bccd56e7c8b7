"""A log in tiles: little of it is in memory, and all of it at hand.

    tile (level, number)   256 hashes of one level: those of entries at level 0, and at level
                           k + 1 the roots of the complete tiles of level k

Source: the idea of C2SP tlog-tiles (https://c2sp.org/tlog-tiles), tiles 8 levels high. A tile
never changes and is written once it is complete; what is behind the last complete one of its
level is the level's *edge*, and is in memory. A log of ten million entries has three levels.
"""

from __future__ import annotations

from threading import Lock
from typing import Final, Protocol

from holdfast.certify.merkle import HASH_BYTES, Log, leaf_hash, root

HEIGHT: Final = 8  # levels of the log in one tile
CACHED: Final = 64  # tiles in memory, of 8 KiB


class Tiles(Protocol):
    """Where tiles lie."""

    def read(self, level: int, number: int) -> bytes | None:
        """A tile's hashes, or None where there is none."""
        ...

    def write(self, level: int, number: int, hashes: bytes) -> None:
        """Keep a tile, durably."""
        ...


class TiledLog(Log):
    """``MerkleLog`` over tiles: an append, a proof and a root as there, memory for the edges.

    Args:
        tiles: where complete ones lie.
        size: entries that stand in complete tiles of the lowest level.

    Appending is one thread's; proofs are made by any meanwhile.
    """

    def __init__(self, tiles: Tiles, size: int = 0, *, height: int = HEIGHT) -> None:
        self._tiles = tiles
        self._height = height
        self._width = 1 << height
        self._known: dict[tuple[int, int], bytes] = {}  # the oldest first
        self._lock = Lock()
        self._size = size
        self._levels: list[tuple[int, bytes]] = []  # of each: its complete tiles, its edge
        count, edge = size >> height, b""
        while count or not self._levels:
            self._levels.append((count, edge))
            level = len(self._levels) - 1
            whole = count >> height << height
            edge = b"".join(self._root_of(level, number) for number in range(whole, count))
            count >>= height
            if not count and edge:
                self._levels.append((0, edge))

    def __len__(self) -> int:
        return self._size

    def append(self, entry: bytes) -> None:
        """Add an entry; a tile that it completes is written."""
        self.append_hash(leaf_hash(entry))

    def append_hash(self, hashed: bytes) -> None:
        """Add an entry by its hash, 32 bytes."""
        level = 0
        while True:
            if level == len(self._levels):
                self._levels.append((0, b""))
            count, edge = self._levels[level]
            edge += hashed
            if len(edge) < self._width * HASH_BYTES:
                self._levels[level] = (count, edge)
                break
            self._tiles.write(level, count, edge)
            self._keep((level, count), edge)
            self._levels[level] = (count + 1, b"")
            hashed, level = root(_hashes(edge)), level + 1
        self._size += 1

    def _at(self, level: int, index: int) -> bytes:
        tile_level, above = divmod(level, self._height)
        first = index << above
        hashes = self._hashes_of(tile_level, first >> self._height)
        start = (first & self._width - 1) * HASH_BYTES
        return root(_hashes(hashes[start : start + (HASH_BYTES << above)]))

    def _hashes_of(self, level: int, number: int) -> bytes:
        count, edge = self._levels[level]
        return self._tile(level, number) if number < count else edge

    def _root_of(self, level: int, number: int) -> bytes:
        return root(_hashes(self._tile(level, number)))

    def _tile(self, level: int, number: int) -> bytes:
        """A complete tile; one that a crash left unwritten is made of those below it."""
        known = self._known.get((level, number))
        if known is not None:
            return known
        hashes = self._tiles.read(level, number)
        if hashes is None or len(hashes) != self._width * HASH_BYTES:
            if not level:
                raise LookupError(number)
            first = number << self._height
            below = range(first, first + self._width)
            hashes = b"".join(self._root_of(level - 1, one) for one in below)
            self._tiles.write(level, number, hashes)
        self._keep((level, number), hashes)
        return hashes

    def _keep(self, place: tuple[int, int], hashes: bytes) -> None:
        with self._lock:
            self._known[place] = hashes
            if len(self._known) > CACHED:
                del self._known[next(iter(self._known))]


def _hashes(packed: bytes) -> list[bytes]:
    return [packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES)]
