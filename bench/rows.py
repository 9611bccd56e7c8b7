"""The rows of the table: each sentence of the issue's "Fast", with its target.

A target is a ratio against a rival that must be reached, or a bound that a
figure must not pass; rivals without one are there to be seen.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from bench.compare.engine import Setting

Base = Literal["empty", "loaded", "growing", "large", "larger", "killed", "worn"]
_SMALL_BUCKETS = 64 << 20  # bytes; so that a short run leaves buckets behind


class Rival(msgspec.Struct, frozen=True):
    """Whom to alternate with; ``target`` is the least ratio ours / theirs."""

    engine: str
    target: float | None = None
    variant: str | None = None

    @property
    def label(self) -> str:
        """The name in the table."""
        return f"{self.engine}, {self.variant}" if self.variant else self.engine


class Bound(msgspec.Struct, frozen=True):
    """A figure of ours and the most (or with ``least``, the least) it may be."""

    figure: str
    limit: float
    least: bool = False

    def met(self, value: float) -> bool:
        """Whether the value keeps the bound."""
        return value >= self.limit if self.least else value <= self.limit


class Row(msgspec.Struct, frozen=True):
    """One line of the table.

    ``count`` names the field of ``Scale`` that says how many operations; ``base``
    the store that is opened; ``unit`` what is counted a second. ``scales`` are the
    runs that have the row; ``at_rest`` says that on a large scale it starts on the
    loaded store instead of an empty one.
    """

    name: str
    says: str
    workload: str
    count: str
    setting: Setting
    base: Base = "empty"
    unit: str = "ops/s"
    batch: int = 1
    value_bytes: int = 1024
    variant: str = ""
    rivals: tuple[Rival, ...] = ()
    bounds: tuple[Bound, ...] = ()
    scales: tuple[str, ...] = ("full", "quick")
    at_rest: bool = False


class Store(msgspec.Struct, frozen=True):
    """How the store of a base is made: by which workload's ``prepare``, how large, how often."""

    workload: str
    count: str
    value_bytes: int = 1024
    kept: bool = True  # one for the whole run; else a new one for each measurement


STORES: dict[Base, Store] = {
    "loaded": Store("reads", "loaded"),
    "growing": Store("reads", "loaded", kept=False),
    "large": Store("reads", "large", value_bytes=1 << 20),
    "larger": Store("reads", "large_many", value_bytes=1 << 20),
    "killed": Store("reopen", "unabsorbed", kept=False),
    "worn": Store("reads", "worn", kept=False),
}

_NEVER = Setting("never")
_ALWAYS = Setting("always")
_EVERY = ("full", "quick", "nightly")

ROWS: tuple[Row, ...] = (
    Row(
        "get-checkpointed",
        "get from the checkpointed index, after close and open",
        "reads",
        "reads",
        _NEVER,
        base="loaded",
        rivals=(
            Rival("rocksdict", 1.3),
            Rival("sqlite3", 2.5),
            Rival("lmdb"),
            Rival("diskcache"),
        ),
        scales=_EVERY,
    ),
    Row(
        "get-overlay",
        "get from the overlay, in the process that wrote",
        "reads",
        "reads",
        Setting("never", upkeep=False),
        variant="written",
        rivals=(Rival("rocksdict"), Rival("sqlite3"), Rival("lmdb"), Rival("diskcache")),
    ),
    Row(
        "put-many",
        "put_many by 100, no sync, while the overlay takes it",
        "puts",
        "puts",
        _NEVER,
        unit="keys/s",
        batch=100,
        rivals=(
            Rival("rocksdict", 1.7),
            Rival("sqlite3"),
            Rival("lmdb"),
            Rival("diskcache"),
        ),
        scales=_EVERY,
        at_rest=True,
    ),
    Row(
        "put-many-sustained",
        "put_many by 100, no sync, every checkpoint and the close counted",
        "puts",
        "sustained",
        _NEVER,
        unit="keys/s",
        batch=100,
        variant="closed",
        rivals=(Rival("rocksdict", 1.0),),
        scales=_EVERY,
        at_rest=True,
    ),
    Row(
        "put",
        "single put, no sync",
        "puts",
        "puts",
        _NEVER,
        rivals=(
            Rival("rocksdict", 1.6),
            Rival("sqlite3"),
            Rival("lmdb"),
            Rival("diskcache"),
        ),
        scales=_EVERY,
        at_rest=True,
    ),
    Row(
        "put-many-durable",
        "durable put_many by 100",
        "puts",
        "durable",
        _ALWAYS,
        unit="keys/s",
        batch=100,
        rivals=(
            Rival("rocksdict", 1.0),
            Rival("sqlite3", 2.0),
            Rival("lmdb", 2.5),
            Rival("diskcache"),
        ),
        scales=_EVERY,
        at_rest=True,
    ),
    Row(
        "put-durable",
        "durable put, one by one",
        "puts",
        "singles",
        _ALWAYS,
        rivals=(
            Rival("bare", 0.75),
            Rival("rocksdict"),
            Rival("sqlite3"),
            Rival("lmdb"),
            Rival("diskcache"),
        ),
        scales=_EVERY,
        at_rest=True,
    ),
    Row(
        "list-1000",
        "prefix list of 1,000 keys",
        "lists",
        "lists",
        _NEVER,
        base="loaded",
        unit="lists/s",
        rivals=(Rival("rocksdict", 2.0), Rival("sqlite3"), Rival("lmdb")),
        scales=_EVERY,
    ),
    Row(
        "put-1mib",
        "put of 1 MiB values, no sync",
        "puts",
        "large",
        _NEVER,
        value_bytes=1 << 20,
        rivals=(Rival("rocksdict", 2.0), Rival("lmdb"), Rival("sqlite3"), Rival("diskcache")),
    ),
    Row(
        "get-1mib",
        "get of 1 MiB values, all in RocksDB's block cache",
        "reads",
        "large_reads",
        _NEVER,
        base="large",
        value_bytes=1 << 20,
        rivals=(Rival("rocksdict", 2.0), Rival("lmdb"), Rival("sqlite3"), Rival("diskcache")),
    ),
    Row(
        "get-1mib-larger",
        "get of 1 MiB values, twice RocksDB's block cache",
        "reads",
        "large_reads",
        _NEVER,
        base="larger",
        value_bytes=1 << 20,
        rivals=(Rival("rocksdict", 2.0), Rival("lmdb")),
    ),
    Row(
        "put-latency",
        "put at full speed while growing, checkpointing and collecting, no sync",
        "latency",
        "latency",
        Setting("never", bucket_bytes=_SMALL_BUCKETS),
        base="growing",
        rivals=(Rival("rocksdict"),),
        bounds=(Bound("p999_ms", 10.0), Bound("unexcused_max_ms", 50.0)),
    ),
    Row(
        "put-durable-busy",
        "durable put, one by one, every upkeep busy, against quiet",
        "upkeep",
        "busy",
        Setting("always", bucket_bytes=_SMALL_BUCKETS),
        base="worn",
        rivals=(Rival("holdfast", 0.5, variant="quiet"),),
    ),
    Row(
        "open-killed",
        "open and first get after kill -9, nothing absorbed",
        "reopen",
        "unabsorbed",
        _NEVER,
        base="killed",
        unit="opens/s",
        rivals=(Rival("rocksdict"),),
        bounds=(Bound("open_and_get_s", 2.0),),
    ),
    Row(
        "open-closed",
        "open and first get after a clean close",
        "reopen",
        "loaded",
        _NEVER,
        base="loaded",
        unit="opens/s",
        rivals=(Rival("rocksdict"),),
        bounds=(Bound("open_and_get_s", 0.2),),
        scales=_EVERY,
    ),
    Row(
        "proofs",
        "absorbing a million keys' changes; a proof of one of them",
        "proofs",
        "unabsorbed",
        _NEVER,
        unit="keys/s",
        value_bytes=100,
        bounds=(
            Bound("absorbed_per_s", 150_000.0, least=True),
            Bound("make_p50_ms", 1.0),
            Bound("verify_p50_ms", 0.3),
            Bound("proof_max_bytes", 3_072.0),
        ),
    ),
    Row(
        "certified",
        "durable put_many by 100 of a store that is asked for proofs, against one that is not",
        "certified",
        "unabsorbed",
        _ALWAYS,
        unit="keys/s",
        batch=100,
        value_bytes=100,
        variant="lazily",
        rivals=(Rival("holdfast", 0.9, variant="plain"),),
    ),
    Row(
        "certified-sealed",
        "the same, sealed every second",
        "certified",
        "unabsorbed",
        _ALWAYS,
        unit="keys/s",
        batch=100,
        value_bytes=100,
        variant="sealed",
        rivals=(Rival("holdfast", 0.4, variant="plain"),),
    ),
    Row(
        "metered-put-many",
        "durable put_many by 100 of a namespace that pays, against one that is free",
        "metered",
        "unabsorbed",
        _ALWAYS,
        unit="keys/s",
        batch=100,
        variant="put",
        rivals=(Rival("holdfast", 0.9, variant="put-free"),),
    ),
    Row(
        "metered-get",
        "get from a namespace that pays, in turns with one that is free",
        "metered",
        "unabsorbed",
        _ALWAYS,
        unit="keys/s",
        batch=100,
        variant="get",
        bounds=(Bound("of_free_ratio", 0.85, least=True),),
    ),
    Row(
        "search",
        "taking in documents of 8 to 30 words; ANDs of two words, the first 10 by key; BM25's best "
        "20; each ratio against SQLite's FTS5",
        "searches",
        "documents",
        _NEVER,
        unit="documents/s",
        bounds=(
            Bound("index_ratio", 0.5, least=True),
            Bound("put_many_ratio", 0.8, least=True),
            Bound("bytes_ratio", 1.5),
            Bound("and_very_common_ratio", 4.0, least=True),
            Bound("and_common_ratio", 4.0, least=True),
            Bound("and_usual_ratio", 4.0, least=True),
            Bound("best_very_common_ratio", 1.0, least=True),
            Bound("best_common_ratio", 1.0, least=True),
            Bound("best_usual_ratio", 1.0, least=True),
        ),
    ),
    Row(
        "memory",
        "anonymous memory a key, loading and after open",
        "memory",
        "reads",
        _NEVER,
        unit="keys/s",
        bounds=(Bound("worst_bytes_per_key", 40.0),),
        scales=("nightly",),
    ),
)
