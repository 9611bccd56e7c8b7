"""How large each part of a run is. Counts are operations or keys; one thread throughout."""

from __future__ import annotations

import msgspec


class Scale(msgspec.Struct, frozen=True):
    """The sizes of one run.

    ``rounds`` alternating pairs a ratio is the lowest of. ``target_share`` scales
    the issue's ratios (0.6 at ten million keys). ``at_rest`` demands that write
    workloads start on the loaded store instead of an empty one. ``by_rival`` runs
    all rows against one rival before the next, so only two large stores exist.
    """

    name: str
    rounds: int
    loaded: int  # keys of 1 KiB in the store that reads open
    reads: int
    puts: int  # single and batched, not synced: fewer than our overlay or a memtable bounds
    sustained: int  # batched, every checkpoint counted
    durable: int  # batched by 100, synced
    singles: int  # one by one, synced
    lists: int
    large: int  # values of 1 MiB
    large_many: int  # values of 1 MiB, more than RocksDB's block cache holds
    large_reads: int
    latency: int
    busy: int
    worn: int  # keys of the store that is worn while upkeep is busy
    documents: int  # short texts that are searched
    unabsorbed: int  # records that kill -9 leaves in no checkpoint
    target_share: float = 1.0
    at_rest: bool = False
    by_rival: bool = False


FULL = Scale(
    "full",
    rounds=5,
    loaded=200_000,
    reads=200_000,
    puts=48_000,
    sustained=2_000_000,
    durable=100_000,
    singles=3_000,
    lists=500,
    large=256,
    large_many=1_024,
    large_reads=2_000,
    latency=600_000,
    busy=3_000,
    worn=60_000,
    documents=100_000,
    unabsorbed=1_000_000,
)

QUICK = Scale(
    "quick",
    rounds=2,
    loaded=20_000,
    reads=20_000,
    puts=20_000,
    sustained=60_000,
    durable=10_000,
    singles=500,
    lists=100,
    large=32,
    large_many=64,
    large_reads=200,
    latency=40_000,
    busy=1_000,
    worn=60_000,
    documents=100_000,
    unabsorbed=50_000,
)

NIGHTLY = msgspec.structs.replace(
    FULL,
    name="nightly",
    loaded=10_000_000,
    reads=100_000,  # so that the blocks read fit RocksDB's cache, as they do at full scale
    sustained=1_000_000,
    target_share=0.6,
    at_rest=True,
    by_rival=True,
)

SCALES = {scale.name: scale for scale in (FULL, QUICK, NIGHTLY)}
