"""RocksDB through rocksdict: raw mode, no compression, as the figures of record had it.

512 MiB of block cache and a bloom filter of 10 bits a key, so that point reads
are at their best; values are incompressible, so compression could only cost.
A batch is a ``WriteBatch``. "always" sets ``sync`` on every write; "never"
keeps the write-ahead log, which then survives the process as ours does. Reads
come from flushed tables; compacting them first was tried and made no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
    WriteOptions,
)

from bench.compare.engine import Engine, Key, Pair, Setting

_CACHE_BYTES = 512 << 20
_BLOOM_BITS = 10


class Rocks(Engine):
    """One RocksDB database."""

    def __init__(self, folder: Path, setting: Setting) -> None:
        """Open with the options above."""
        self._db = Rdict(str(folder), options=_options())
        if setting.durability == "always":
            how = WriteOptions()
            how.sync = True
            self._db.set_write_options(how)  # not otherwise: even equal options slow its puts
        self.put = self._db.put
        self.get = self._db.get
        self.put_many = self._put_many

    def _put_many(self, pairs: Sequence[Pair]) -> None:
        batch = WriteBatch(raw_mode=True)
        add = batch.put
        for key, value in pairs:
            add(key, value)
        self._db.write(batch)

    def list(self, prefix: Key, count: int) -> list[Key]:
        """A seek and ``count`` steps; no check of the prefix is charged to it."""
        return list(islice(self._db.keys(from_key=prefix), count))

    def settle(self) -> None:
        """Flush the memtables: reads come from tables with a bloom filter."""
        self._db.flush()

    def close(self) -> None:
        """Close the database."""
        self._db.close()


def _options() -> Options:
    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(_CACHE_BYTES))
    blocks.set_bloom_filter(_BLOOM_BITS, False)  # noqa: FBT003 - positional in the binding
    options = Options(raw_mode=True)
    options.create_if_missing(True)  # noqa: FBT003
    options.set_compression_type(DBCompressionType.none())
    options.set_block_based_table_factory(blocks)
    return options


def start(folder: Path, setting: Setting) -> Engine:
    """Open (or create) a RocksDB database in ``folder``."""
    return Rocks(folder, setting)
