"""What opening makes of a log is what its records say, and costs little a record."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from random import Random
from types import FrameType

import pytest

from holdfast.bucket import birth, replay
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import checkpoint
from holdfast.bucket.seal import seal_all
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import Corrupt, HoldfastError
from holdfast.limits import GIB
from holdfast.log.keyblock import Row
from holdfast.log.runs import Runs, Stores, runs_of_groups
from holdfast.store.namespace import Namespace
from holdfast.store.store import Store
from holdfast.views.port import Table
from holdfast.views.state import TABLES, Tally
from tests.growth.growing import in_memory
from tests.rooms.uncollected import uncollected

BUCKET_BYTES = 1 << 20  # with segments of 64 KiB
KEYS = 60


def the_bucket(store: Store) -> Bucket:
    (bucket,) = store.placement.directory
    return bucket


def told(bucket: Bucket) -> tuple[dict[Table, list[tuple[bytes, bytes]]], Tally]:
    """Every row, and the exact counts."""
    rows = {table: bucket.state.page(table, b"", b"\xff", 100_000)[0] for table in TABLES}
    tally = bucket.resolve_all()
    return rows, tally


def act(ns: Namespace, chance: Random) -> None:
    """Some writes: nearly all plain, some in batches that name a key twice."""
    key = f"k{chance.randrange(KEYS)}"
    value = chance.randbytes(chance.randrange(900))
    plain = [(f"k{chance.randrange(KEYS)}", value) for _ in range(20)]
    acts: list[Callable[[], object]] = [
        lambda: ns.put_many(plain),
        lambda: ns.put_many(plain),
        lambda: ns.put_many(plain, ttl=chance.randrange(1, 10_000)),
        lambda: ns.put_many(plain, content_type="text/plain"),
        lambda: ns.put(key, value),
        lambda: ns.put(key, value, consumers=["one", "two"]),
        lambda: ns.put(key, value, permanent=True),
        lambda: ns.release(key),
        lambda: ns.append(key, b"more"),
        lambda: ns.delete(key),
        lambda: ns.consumers(key).remove(["one"]),
        lambda: ns.lock(key),
    ]
    with suppress(HoldfastError):  # of a key that is absent, permanent or locked
        chance.choice(acts)()


@pytest.mark.parametrize("careful", [False, True])
@pytest.mark.parametrize("sealed", ["none", "some", "all"])
def test_a_replay_and_a_rebuild_tell_the_same(sealed: str, careful: bool) -> None:  # noqa: FBT001
    disk = MemoryDisk()
    chance = Random(f"{sealed}{careful}")
    with in_memory(disk, bucket_bytes=BUCKET_BYTES) as (killed, _):
        ns = killed.namespace("acme")
        if careful:
            ns.put("k0", b"", consumers=["one"])
        for step in range(150):
            act(ns, chance)
            if step == 75 and sealed == "some":
                seal_all(the_bucket(killed))
        if sealed == "all":
            seal_all(the_bucket(killed))
        before, _ = told(the_bucket(killed))
        with in_memory(disk, bucket_bytes=BUCKET_BYTES) as (store, _):
            bucket = the_bucket(store)
            assert bucket.absorbed is None
            replayed, tally = told(bucket)
            assert replayed == before
            live = {n: taken for n, taken in tally.live.items() if taken}
            assert bucket.version == the_bucket(killed).version
            store.rebuild()
            rebuilt, again = told(bucket)
            assert rebuilt == before
            assert (tally.keys, tally.special) == (again.keys, again.special)
            assert live == {n: taken for n, taken in again.live.items() if taken}
            assert store.check().problems == ()


def fill(store: Store, count: int) -> None:
    ns = store.namespace("acme")
    for first in range(0, count, 100):
        ns.put_many([(f"k{n:06d}", b"v" * 50) for n in range(first, first + 100)])


@pytest.mark.parametrize("sealed", [False, True])
def test_plain_stores_cost_no_call_each(sealed: bool) -> None:  # noqa: FBT001
    count = 5_000
    disk = MemoryDisk()
    with in_memory(disk, bucket_bytes=4 * BUCKET_BYTES) as (killed, _):
        fill(killed, count)
        if sealed:
            seal_all(the_bucket(killed))
        calls = 0

        def count_calls(_frame: FrameType, event: str, _argument: object) -> None:
            nonlocal calls
            calls += event == "call"

        with uncollected():
            sys.setprofile(count_calls)
            try:
                with in_memory(disk, bucket_bytes=4 * BUCKET_BYTES) as (store, _):
                    sys.setprofile(None)
                    assert the_bucket(store).tally().keys == count
                    assert len(the_bucket(store).state.keys) == count  # nothing absorbed yet
            finally:
                sys.setprofile(None)
    assert calls < count


def test_a_log_that_lost_a_segment_is_derived_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a segment was dropped, records that were moved stand without what they were."""
    disk = MemoryDisk()

    def refuse(*_: object) -> None:
        raise AssertionError("replayed")

    monkeypatch.setattr(replay, "replay", refuse)
    with in_memory(disk, bucket_bytes=BUCKET_BYTES) as (killed, _):
        fill(killed, 2_000)
        fill(killed, 1_500)
        killed.collect("copying")
        assert min(the_bucket(killed).log.ended) > 1
        before, _ = told(the_bucket(killed))
        with in_memory(disk, bucket_bytes=BUCKET_BYTES) as (store, _):
            assert told(the_bucket(store))[0] == before


def test_more_than_recovery_may_replay_is_absorbed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(birth, "UNABSORBED_RECORDS", 500)
    disk = MemoryDisk()
    for count, absorbed in ((500, False), (600, True)):
        with in_memory(disk, bucket_bytes=BUCKET_BYTES) as (killed, _):
            fill(killed, count)
            with in_memory(disk, bucket_bytes=BUCKET_BYTES) as (store, _):
                assert (the_bucket(store).absorbed is not None) == absorbed
                assert the_bucket(store).tally().keys == count


def flat(runs: Iterable[Stores | Row]) -> tuple[list[object], int, int]:
    """What runs hold, in order; what their stores take, and the highest version of these."""
    told: list[object] = []
    taken = version = 0
    for run in runs:
        if isinstance(run, Stores):
            told += zip(run.keys, run.entries, strict=True)
            told += [*run.timed, *run.fresh]
            taken, version = taken + run.taken_bytes, max(version, run.version)
        else:
            told.append(run)
    return told, taken, version


@pytest.mark.parametrize("read_bytes", [48, 100, 5_000, 1 << 16])
def test_stores_of_a_group_each_make_the_runs_that_their_groups_make(read_bytes: int) -> None:
    with in_memory(bucket_bytes=BUCKET_BYTES) as (store, _):
        ns = store.namespace("acme")
        for number in range(2_500):
            ns.put(f"k{number:06d}", bytes(number % 50), ttl=60 if number % 700 == 5 else None)
            if number % 500 == 7:
                ns.delete(f"k{number:06d}")
                ns.put_many([("a", b"1"), ("b", b"2")])
        bucket = the_bucket(store)
        number = min(bucket.log.ended)
        groups = list(bucket.log.groups(number))
        runs = Runs(number)
        found = [*bucket.log.scanned(number, runs.scan, None, read_bytes), runs.run]
        assert flat(found) == flat(runs_of_groups(groups, number))
        damaged = groups[len(groups) // 2].head
        read = bucket.log._bytes
        for place in (damaged.start + 20, damaged.body - 1, damaged.body + 3, damaged.stop - 1):

            def flipped(number: int, start: int, stop: int, place: int = place) -> bytes:
                data = bytearray(read(number, start, stop))
                if start <= place < stop:
                    data[place - start] ^= 1
                return bytes(data)

            bucket.log._bytes = flipped  # type: ignore[method-assign]
            with pytest.raises(Corrupt, match=str(damaged.start)):
                list(bucket.log.scanned(number, Runs(number).scan, None, read_bytes))


@pytest.mark.parametrize("read_bytes", [48, 100, 5_000, 1 << 16])
def test_a_segment_is_read_in_pieces_as_at_once(read_bytes: int) -> None:
    with in_memory(bucket_bytes=BUCKET_BYTES) as (store, _):
        fill(store, 2_000)
        store.namespace("acme").put("large", bytes(20_000))
        bucket = the_bucket(store)
        checkpoint(bucket)
        number = min(bucket.log.ended)
        whole = list(bucket.log.groups(number, read_bytes=GIB))
        pieces = list(bucket.log.groups(number, read_bytes=read_bytes))
        assert [group.head for group in pieces] == [group.head for group in whole]
        assert [bytes(group.body) for group in pieces] == [bytes(group.body) for group in whole]
        damaged = whole[len(whole) // 2].head
        read = bucket.log._bytes

        def flipped(number: int, start: int, stop: int) -> bytes:
            data = bytearray(read(number, start, stop))
            if start <= damaged.body < stop:
                data[damaged.body - start] ^= 1
            return bytes(data)

        bucket.log._bytes = flipped  # type: ignore[method-assign]
        with pytest.raises(Corrupt, match=str(damaged.start)):
            list(bucket.log.groups(number, read_bytes=read_bytes))
