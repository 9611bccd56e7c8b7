"""SQLite through the standard library: write-ahead log, a rowid table and a unique index.

For values of 1 KiB that layout beats ``without rowid``. "always" is
``synchronous=FULL`` (in WAL mode NORMAL does not sync a commit), "never" is
``OFF``. Reads are mapped, up to 8 GiB. A batch is one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from bench.compare.engine import Engine, Key, Pair, Setting

_PUT = (
    "insert into kv (key, value) values (?, ?)"
    " on conflict (key) do update set value = excluded.value"
)
_GET = "select value from kv where key = ?"
_LIST = "select key from kv where key >= ? order by key limit ?"
_MAP_BYTES = 8 << 30


class Sqlite(Engine):
    """One SQLite database file."""

    def __init__(self, folder: Path, setting: Setting) -> None:
        """Open, and create the table where there is none."""
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "kv.sqlite", isolation_level=None)
        self._execute = self._db.execute
        self._execute("pragma journal_mode = wal")
        level = "full" if setting.durability == "always" else "off"
        self._execute(f"pragma synchronous = {level}")
        self._execute(f"pragma mmap_size = {_MAP_BYTES}")
        self._execute("create table if not exists kv (key blob not null, value blob not null)")
        self._execute("create unique index if not exists kv_key on kv (key)")
        self.put = self._put
        self.get = self._get
        self.put_many = self._put_many

    def _put(self, key: Key, value: bytes) -> None:
        self._execute(_PUT, (key, value))

    def _get(self, key: Key) -> bytes | None:
        row: tuple[bytes] | None = self._execute(_GET, (key,)).fetchone()
        return None if row is None else row[0]

    def _put_many(self, pairs: Sequence[Pair]) -> None:
        self._execute("begin")
        self._db.executemany(_PUT, pairs)
        self._execute("commit")

    def list(self, prefix: Key, count: int) -> list[Key]:
        """One range query over the index alone."""
        return [row[0] for row in self._execute(_LIST, (prefix, count))]

    def settle(self) -> None:
        """Copy the write-ahead log into the database file."""
        self._execute("pragma wal_checkpoint(truncate)")

    def close(self) -> None:
        """Close the connection, which checkpoints the log."""
        self._db.close()


def start(folder: Path, setting: Setting) -> Engine:
    """Open (or create) a SQLite database in ``folder``."""
    return Sqlite(folder, setting)
