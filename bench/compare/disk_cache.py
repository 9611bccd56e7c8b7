"""diskcache with its defaults, except that nothing is evicted.

Its default bound of 1 GiB would drop what a store must keep. "always" raises
its SQLite from NORMAL to FULL, since NORMAL does not sync a commit; "never"
keeps the default. Values of 32 KiB and more are files of their own, which
diskcache never syncs: that durable row would flatter it, so there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diskcache import Cache

from bench.compare.engine import Engine, Key, Pair, Setting

_NO_BOUND = 1 << 50
_FULL, _NORMAL = 2, 1


class DiskCache(Engine):
    """One diskcache folder."""

    def __init__(self, folder: Path, setting: Setting) -> None:
        """Open with the defaults and no eviction."""
        level = _FULL if setting.durability == "always" else _NORMAL
        self._cache = Cache(
            str(folder), size_limit=_NO_BOUND, eviction_policy="none", sqlite_synchronous=level
        )
        self.put = self._cache.set
        self.get = self._cache.get
        self.put_many = self._put_many

    @staticmethod
    def native(key: str) -> Key:
        """Text: what diskcache stores without pickling and users pass."""
        return key

    def _put_many(self, pairs: Sequence[Pair]) -> None:
        put = self._cache.set
        with self._cache.transact():
            for key, value in pairs:
                put(key, value)

    def close(self) -> None:
        """Close the cache."""
        self._cache.close()


def start(folder: Path, setting: Setting) -> Engine:
    """Open (or create) a diskcache folder."""
    return DiskCache(folder, setting)
