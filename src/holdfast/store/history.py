"""The roots that a store signed: every one of them for ever, and the log over them.

    roots/<revision>            the signed root
    rootlog/<level>/<number>    a tile of the log (``certify/tiles.py``): the newest revision
                                that it covers (8 bytes, big-endian), then its 256 hashes

Tiles follow from the roots and are written behind them, so that an opening reads the roots of
the last tile alone, and memory holds the edges of a log of any length. Where tiles are missing,
or do not lead to the log that the newest root names, they are made again from all roots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.access.records import NEW
from holdfast.certify import roots
from holdfast.certify.tiles import HEIGHT, TiledLog

if TYPE_CHECKING:
    from holdfast.certify.roots import SignedRoot
    from holdfast.store.tenancy import StoreRecords

PREFIX: Final = "roots/"
TILES: Final = "rootlog/"
DIGITS: Final = 20
REVISION_BYTES: Final = 8


def name_of(revision: int) -> str:
    """Where the signed root of a revision lies."""
    return f"{PREFIX}{revision:0{DIGITS}}"


class Signed:
    """The signed roots of a store. Added to by one thread at a time.

    Args:
        records: where they lie.
        height: levels of a tile.
    """

    def __init__(self, records: StoreRecords, height: int = HEIGHT) -> None:
        self._records = records
        self._height = height
        self._revision = 0  # of the root that is added
        self._log: TiledLog | None = None
        self._last: SignedRoot | None = None

    @property
    def log(self) -> TiledLog:
        """The log of all of them; the first time from the store."""
        if self._log is None:
            self._log = self._load()
        return self._log

    @property
    def last(self) -> SignedRoot | None:
        """The newest one."""
        _ = self.log
        return self._last

    def get(self, revision: int) -> bytes | None:
        """The signed root of a revision."""
        found = self._records.get(name_of(revision))
        return None if found is None else found[0]

    def add(self, message: bytes, root: SignedRoot) -> None:
        """Store a root, durably; a revision is never given twice."""
        log = self.log
        self._records.put(name_of(root.revision), message, NEW)
        self._append(log, message)

    def forget(self) -> None:
        """Read again what is stored: an addition may have failed or not."""
        self._log = self._last = None

    # -- tiles -------------------------------------------------------------------------

    def read(self, level: int, number: int) -> bytes | None:
        """A tile's hashes (``tiles.Tiles``)."""
        found = self._records.get(_tile(level, number))
        return None if found is None else found[0][REVISION_BYTES:]

    def write(self, level: int, number: int, hashes: bytes) -> None:
        """Keep a tile."""
        told = self._revision.to_bytes(REVISION_BYTES, "big")
        self._records.put(_tile(level, number), told + hashes)

    # -- opening -----------------------------------------------------------------------

    def _load(self) -> TiledLog:
        count = self._tiles()
        try:
            log = self._read_on(count)
        except LookupError:
            return self._read_on(0)
        return log if not count or self._is_signed(log) else self._read_on(0)

    def _tiles(self) -> int:
        """How many tiles of the lowest level there are: they are written in order."""
        least, most = 0, 1
        while self._there(most - 1):
            least, most = most, 2 * most
        while most - least > 1:
            middle = (least + most) // 2
            if self._there(middle - 1):
                least = middle
            else:
                most = middle
        return least

    def _there(self, number: int) -> bool:
        return self._records.get(_tile(0, number)) is not None

    def _read_on(self, count: int) -> TiledLog:
        """The log, given that so many tiles of the lowest level hold; the rest from roots."""
        self._last, after = None, ""
        if count:
            found = self._records.get(_tile(0, count - 1))
            revision = 0 if found is None else int.from_bytes(found[0][:REVISION_BYTES], "big")
            message = self.get(revision)
            if message is None:
                raise LookupError(revision)
            self._last, after = roots.decode(message), name_of(revision)
        log = TiledLog(self, count << self._height, height=self._height)
        for _, message in self._records.walk(PREFIX, after):
            self._append(log, message)
        return log

    def _append(self, log: TiledLog, message: bytes) -> None:
        root = roots.decode(message)
        self._revision = root.revision
        log.append(message)
        self._last = root

    def _is_signed(self, log: TiledLog) -> bool:
        """Whether the newest root names this very log."""
        last = self._last
        if last is None or last.log_size != len(log) - 1:
            return False
        return log.root(last.log_size) == last.log_root


def _tile(level: int, number: int) -> str:
    return f"{TILES}{level}/{number:0{DIGITS}}"
