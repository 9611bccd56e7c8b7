"""LMDB used as a store of its own: keys and values in one tree.

A transaction per call, as its users write it; a batch is one transaction with
``putmulti``. "always" is its default sync, "never" is ``sync=False`` (which
LMDB's documentation allows to corrupt on a power cut: ours may not use it).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import lmdb

from bench.compare.engine import Engine, Key, Pair, Setting

_MAP_BYTES = 64 << 30  # address space, not memory


class Lightning(Engine):
    """One LMDB environment."""

    def __init__(self, folder: Path, setting: Setting) -> None:
        """Open with sync as the setting says."""
        durable = setting.durability == "always"
        self._env = lmdb.open(str(folder), map_size=_MAP_BYTES, sync=durable, metasync=durable)
        self.put = self._put
        self.get = self._get
        self.put_many = self._put_many

    def _put(self, key: Key, value: bytes) -> None:
        with self._env.begin(write=True) as transaction:
            transaction.put(key, value)

    def _get(self, key: Key) -> bytes | None:
        with self._env.begin() as transaction:
            return transaction.get(key)

    def _put_many(self, pairs: Sequence[Pair]) -> None:
        with self._env.begin(write=True) as transaction:
            transaction.cursor().putmulti(pairs)

    def list(self, prefix: Key, count: int) -> list[Key]:
        """A seek and ``count`` steps over keys alone."""
        with self._env.begin() as transaction:
            cursor = transaction.cursor()
            cursor.set_range(prefix)
            return list(islice(cursor.iternext(keys=True, values=False), count))

    def close(self) -> None:
        """Sync and close the environment."""
        self._env.sync(True)  # noqa: FBT003 - positional in the binding
        self._env.close()


def start(folder: Path, setting: Setting) -> Engine:
    """Open (or create) an LMDB environment in ``folder``."""
    return Lightning(folder, setting)
