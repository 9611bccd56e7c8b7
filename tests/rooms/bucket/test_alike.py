"""Stores of one size are packed in place: the same bytes as of stores of any sizes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from holdfast.bucket import plain
from holdfast.bucket.checkpoint import no_pace
from holdfast.bucket.group import Gathering
from holdfast.bucket.noting import together
from holdfast.engines.memory import MemoryDisk
from holdfast.log.records import FOLD
from tests.growth.growing import in_memory

NOW_NS = 1_700_000_000 * 10**9


def batch(count: int, wide: int, size: int) -> plain.Batch:
    keys = [f"{number:0{wide}}".encode() for number in range(count)]
    values = [bytes([number % 256]) * size for number in range(count)]
    return keys, [key.decode() for key in keys], values


@pytest.mark.parametrize("wide", [3, 22, 480])
@pytest.mark.parametrize("size", [0, 1, 1024, plain.ALIKE_BYTES])
def test_both_ways_give_the_same_bytes_and_rows(wide: int, size: int) -> None:
    stores = batch(plain.ALIKE_LEAST, wide, size)
    versions = range(FOLD - plain.ALIKE_LEAST + 1, FOLD + 1)
    alike, any_sizes = Gathering(7, 1_000), Gathering(7, 1_000)
    for group in (alike, any_sizes):
        group.buffers, group.length = [b"before"], 6
    rows = plain._stage_alike(alike, stores, versions, NOW_NS)
    assert rows == plain._stage(any_sizes, stores, versions, NOW_NS)
    assert len(alike.buffers) == 2
    assert b"".join(alike.buffers) == b"".join(any_sizes.buffers)
    assert alike.length == any_sizes.length == len(b"".join(alike.buffers))


few = batch(plain.ALIKE_LEAST - 1, 5, 5)
large = batch(plain.ALIKE_LEAST, 5, plain.ALIKE_BYTES + 1)
keys, names, values = batch(plain.ALIKE_LEAST, 5, 5)
LEAST_VERSIONS = range(1, plain.ALIKE_LEAST + 1)


@pytest.mark.parametrize(
    ("stores", "versions"),
    [
        (few, range(1, plain.ALIKE_LEAST)),
        (large, LEAST_VERSIONS),
        (([*keys[:-1], b"longer"], names, values), LEAST_VERSIONS),
        ((keys, names, [*values[:-1], b"longer"]), LEAST_VERSIONS),
        ((keys, names, [*values[:-1], memoryview(b"alike")]), LEAST_VERSIONS),
        ((keys, names, values), range(FOLD - plain.ALIKE_LEAST + 2, FOLD + 2)),
    ],
    ids=["few", "large", "another key", "another value", "another type", "a folded version"],
)
def test_others_are_not_taken(stores: plain.Batch, versions: Sequence[int]) -> None:
    group = Gathering(7, 1_000)
    assert isinstance(versions, range)
    assert plain._stage_alike(group, stores, versions, NOW_NS) is None
    assert (group.buffers, group.length) == ([], 0)


def test_of_keys_that_come_again_the_last_is_noted_whoever_wrote_it() -> None:
    """Rows are noted in several dicts: of what is in two of them the later one holds."""
    with in_memory(MemoryDisk(), bucket_bytes=64 << 20) as (store, _):
        ns = store.namespace("acme")
        (bucket,) = store.placement.directory
        names = [f"k{number:04}" for number in range(plain.APART)]
        ns.put_many([(name, b"one") for name in names])
        with bucket.lock:
            bucket.freeze()  # or what comes again would not look new
        ns.put_many([(name, b"two") for name in names])
        ns.put(names[0], b"three")
        ns.put_many([(names[1], b"four"), ("another", b"five")])
        noted = bucket.noted[bucket.log.number]
        assert len(noted) > 2
        assert together(noted, no_pace) == bucket.state.keys
