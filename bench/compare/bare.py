"""No store at all: append the value to one file, and sync it where asked to.

What the disk and Python allow: the yardstick of durable single puts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bench.compare.engine import Engine, Key, Pair, Setting


class Bare(Engine):
    """One file that grows."""

    def __init__(self, folder: Path, setting: Setting) -> None:
        """Create the file."""
        folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(folder / "bare", flags, 0o600)
        self.put = self._put_synced if setting.durability == "always" else self._put
        self.put_many = self._put_many
        self.get = self._get

    def _put(self, _key: Key, value: bytes) -> None:
        os.write(self._file, value)

    def _put_synced(self, _key: Key, value: bytes) -> None:
        os.write(self._file, value)
        os.fdatasync(self._file)

    def _put_many(self, pairs: Sequence[Pair]) -> None:
        self.put("", b"".join(value for _, value in pairs))

    @staticmethod
    def _get(_key: Key) -> bytes | None:
        return None

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def start(folder: Path, setting: Setting) -> Engine:
    """Open (or create) the file in ``folder``."""
    return Bare(folder, setting)
