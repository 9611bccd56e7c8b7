"""Batches whose rows are kept as packs: the same key blocks and the same index as without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

import holdfast
from holdfast.bucket import checkpoint as bucket_checkpoint
from holdfast.bucket import seal
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import checkpoint, expiry_row, no_pace
from holdfast.bucket.noting import rows_of
from holdfast.engines.memory import MemoryDisk
from holdfast.log import columns
from holdfast.log.entry import unpack
from holdfast.log.keyblock import build
from holdfast.store.namespace import Namespace
from holdfast.store.store import Store
from holdfast.views.lmdb_commit import Commit
from holdfast.views.port import Table
from tests.growth.growing import in_memory

MANY = 1_000
BATCH = 100


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "LEAST", 2)


@pytest.fixture
def store() -> Iterator[Store]:
    with in_memory(MemoryDisk(), bucket_bytes=1 << 20) as (store, _):
        yield store


def the_bucket(store: Store) -> Bucket:
    (bucket,) = store.placement.directory
    return bucket


def fill(
    store: Store, first: int = 0, value: bytes = b"v" * 30, count: int = MANY
) -> dict[str, bytes]:
    """Batches of keys in no order."""
    numbers = list(range(first, first + count))
    Random(first).shuffle(numbers)
    pairs = {f"k{n:05d}": value for n in numbers}
    names = list(pairs)
    for at in range(0, count, BATCH):
        store.namespace("acme").put_many([(name, value) for name in names[at : at + BATCH]])
    return pairs


def loose(bucket: Bucket) -> set[str]:
    """Keys of the overlay of which packs do not have the last word."""
    active = bucket.state.active
    assert active.packs is not None
    assert active.packed == sum(map(len, active.packs))
    strays = active.strays(no_pace)
    assert len(strays) == len(active.keys) - active.packed
    return {key.decode().split("\0")[1] for key in (*strays, *active.changed)}


def test_a_key_block_of_packs_is_the_one_that_reading_makes(store: Store) -> None:
    bucket = the_bucket(store)
    for first in range(0, 6 * MANY, MANY):
        fill(store, first)
    numbers = seal.unsealed(bucket)
    assert numbers
    for number in numbers:
        assert not bucket.noted[number].last
        read = list(seal.read(bucket.log, number, no_pace))
        assert seal._from_noted(bucket, number, no_pace) == build(read)


@pytest.mark.parametrize("part", [1, 64], ids="a part of {} is told by others".format)
def test_a_key_block_of_packs_with_others_among_them_is_the_one_that_reading_makes(
    store: Store, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr(seal, "LOOSE_PART", part)
    bucket, ns = the_bucket(store), store.namespace("acme")
    for first in range(0, 9 * MANY, MANY):
        fill(store, first)
        for n in range(first, first + 9, 3):
            ns.put(f"k{n:05d}", b"again", content_type="text/plain")
            ns.put(f"longer/{n}", b"passes", ttl=1000)
            ns.delete(f"k{n + 1:05d}")
        checkpoint(bucket)
        fill(store, first)
    laid_out = []
    for number in seal.unsealed(bucket):
        told, mixed = bucket.noted[number], bucket.mixed.get(number)
        packed = mixed and seal._in_columns(told, bucket.log.counts[number], no_pace)
        made = seal._from_noted(bucket, number, no_pace)
        laid_out.append(packed)
        assert made == build(list(seal.read(bucket.log, number, no_pace)))
    assert any(laid_out)


def test_a_key_that_was_stored_again_behind_a_checkpoint_is_told_twice(store: Store) -> None:
    bucket = the_bucket(store)
    number = bucket.log.number
    fill(store, count=BATCH)
    checkpoint(bucket)
    fill(store, value=b"w" * 30, count=BATCH)
    assert bucket.log.number == number
    while bucket.log.number == number:
        fill(store, 2 * MANY + bucket.version)
    told = rows_of(bucket, number, no_pace)
    assert told is not None
    assert sum(key == b"acme\0k00007" for key, *_ in told) == 1  # what a collector has to know
    read = list(seal.read(bucket.log, number, no_pace))
    assert seal._from_noted(bucket, number, no_pace) == build(read)


def test_what_is_stored_again_before_it_is_absorbed_is_the_last(store: Store) -> None:
    bucket, ns = the_bucket(store), store.namespace("acme")
    wanted = fill(store)
    assert not loose(bucket)
    ns.put("k00001", b"single")
    assert loose(bucket) == {"k00001"}
    checkpoint(bucket)
    wanted |= fill(store, MANY) | {"k00001": b"single"}
    again = [(f"k{n:05d}", b"batch") for n in range(MANY - 10, MANY + 90)]
    ns.put_many(again[:50])  # some are new to this overlay, some are not
    assert loose(bucket) == {name for name, _ in again[:50]}
    ns.put_many(again[50:])
    checkpoint(bucket)
    wanted |= dict(again)
    fill(store, 2 * MANY)
    ns.delete("k02000")
    assert loose(bucket) == {"k02000"}
    checkpoint(bucket)
    wanted |= {f"k{n:05d}": b"v" * 30 for n in range(2 * MANY + 1, 3 * MANY)}
    assert dict(zip(ns.list(), ns.get_many(list(ns.list())), strict=True)) == wanted
    assert bucket.resolve_all().keys == len(wanted)
    assert store.check().ok


@pytest.mark.parametrize("more", ["put", "put_many", "delete", "ttl"])
def test_packs_with_others_beside_them_are_absorbed_with_them(store: Store, more: str) -> None:
    bucket, ns = the_bucket(store), store.namespace("acme")
    wanted = fill(store)
    if more == "put":
        ns.put("other", b"1")
    elif more == "put_many":
        ns.put_many([("other", b"1"), ("another", b"2")])
    elif more == "delete":
        ns.delete("k00000")
    else:
        ns.put("k00000", b"1", ttl=9)
    assert loose(bucket) <= {"k00000", "other", "another"}
    assert loose(bucket)
    checkpoint(bucket)
    gone = {"k00000"} if more == "delete" else set()
    fresh = {"put": {"other"}, "put_many": {"other", "another"}}.get(more, set())
    assert set(ns.list()) == (wanted.keys() | fresh) - gone
    assert store.check().ok


@pytest.mark.parametrize("among", [1, 10], ids="{} others a batch at most".format)
@pytest.mark.parametrize("part", [1, 64], ids="a part of {} comes alone".format)
def test_a_view_is_the_same_however_its_rows_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, among: int, part: int
) -> None:
    monkeypatch.setattr(bucket_checkpoint, "LOOSE_PART", part)
    with holdfast.open(tmp_path / "store", sync="never", upkeep=False) as store:
        for seed in range(3):
            churn(store, Random(seed), among)
        assert store.check().ok


def churn(store: Store, random: Random, among: int) -> None:
    """Absorb batches with other writes among them; the view says what the overlay said."""
    bucket, ns = the_bucket(store), store.namespace("acme")
    for _ in range(3):
        for _ in range(20):
            at = random.randrange(9 * MANY)
            ns.put_many([(f"k{n:05d}", b"v" * random.randrange(9)) for n in range(at, at + 70)])
            for _ in range(random.randrange(among + 1)):
                disturb(ns, random)
        state = bucket.state
        rows, _ = state.page(Table.KEYS, b"", b"\xff", 9 * MANY)
        checkpoint(bucket)
        assert not state.active.keys
        assert bucket.view.scan(Table.KEYS, b"", b"\xff", 9 * MANY) == rows
        expiring = {expiry_row(at, key): key for key, row in rows if (at := unpack(row).expires_ns)}
        assert dict(bucket.view.scan(Table.EXPIRY, b"", None, 9 * MANY)) == expiring
        assert bucket.view_tally.keys == len(rows)


def disturb(ns: Namespace, random: Random) -> None:
    """Change one object in a way that is not a batch's."""
    name = f"k{random.randrange(9 * MANY):05d}"
    match random.randrange(4):
        case 0:
            ns.put(name, b"single")
        case 1:
            ns.delete(name, missing_ok=True)
        case 2:
            ns.put(name, b"passes", ttl=1000 + random.randrange(9))
        case _:
            ns.put(f"{name}/longer", b"other")


def test_a_map_that_is_full_has_the_same_rows_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = []
    again = Commit._again

    def counted(self: Commit) -> None:
        full.append(self)
        again(self)

    monkeypatch.setattr(Commit, "_again", counted)
    with holdfast.open(tmp_path / "store", sync="never", upkeep=False) as store:
        bucket = the_bucket(store)
        bucket.view._map_bytes = 64 << 10  # type: ignore[attr-defined]
        wanted: dict[str, bytes] = {}
        for first in range(0, 5 * MANY, MANY):
            wanted |= fill(store, first)
        assert not loose(bucket)
        checkpoint(bucket)
        assert full
        assert list(store.namespace("acme").list()) == sorted(wanted)
        assert store.check().ok
