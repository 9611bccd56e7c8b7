"""What collecting looks at: what is kept of a segment, its key block, or its groups."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from holdfast.bucket import collect, commit, seal
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import no_pace
from holdfast.bucket.noting import FEW, Noted, rows_of
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import NotFound
from holdfast.log.keyblock import SLICE, KeyBlock, moved
from holdfast.log.records import Type
from holdfast.store.namespace import Namespace
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock
from tests.growth.growing import in_memory

MINUTE_NS = 60 * 10**9
Kept = dict[str, tuple[bytes, list[bytes]]]


@pytest.fixture
def both() -> Iterator[tuple[Store, ManualClock]]:
    with in_memory(MemoryDisk(), bucket_bytes=1 << 20) as both:
        yield both


@pytest.fixture
def store(both: tuple[Store, ManualClock]) -> Store:
    return both[0]


def the_bucket(store: Store) -> Bucket:
    (bucket,) = store.placement.directory
    return bucket


def write_over(ns: Namespace, times: int) -> None:
    """The same 20 keys again and again, in batches and alone."""
    for turn in range(times):
        ns.put_many([(f"k{n}", f"{turn} {n}".encode() * 40) for n in range(20)])
        ns.put("k3", f"{turn} 3".encode() * 40)


def fail(*_: object) -> None:
    raise AssertionError


def test_what_was_written_over_is_collected_without_being_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ns, bucket = store.namespace("acme"), the_bucket(store)
    ns.put("rare", b"1")
    write_over(ns, 40)
    monkeypatch.setattr(collect, "read_rows", fail)
    monkeypatch.setattr(seal, "read_rows", fail)
    for turn in range(4):  # what is moved stands among what is written, from the second on
        assert bucket.log.ended
        collect.try_collect(bucket)
        assert not bucket.log.ended
        assert bucket.noted.keys() == {bucket.log.number}
        assert ns.get("rare") == b"1"
        assert ns.get("k3") == f"{29 if turn else 39} 3".encode() * 40
        write_over(ns, 30)


def test_what_was_moved_is_no_key_block(store: Store) -> None:
    ns, bucket = store.namespace("acme"), the_bucket(store)
    ns.put("rare", b"1")
    write_over(ns, 14)
    collect.try_collect(bucket)
    number = bucket.log.number
    assert bucket.mixed[number]
    for turn in range(100):
        if bucket.log.number == number:
            ns.put_many([(f"n{turn} {n}", bytes(200)) for n in range(20)])
    seal.seal_all(bucket)
    block = bucket.log.key_block(number)
    assert block is not None
    assert [moved(row) for row in block.rows_of(b"acme\0rare")] == [True]


def test_a_part_of_a_value_is_moved_twice(store: Store) -> None:
    ns, bucket = store.namespace("acme"), the_bucket(store)
    ns.put("a", b"one")
    write_over(ns, 20)  # the next part is in another segment
    ns.append("a", b"two")
    first = min(bucket.log.ended)
    end_segment(bucket)
    collect.collect(bucket, [first], collect.Collected())
    end_segment(bucket)
    write_over(ns, 20)
    collect.collect(bucket, sorted(bucket.log.ended), collect.Collected())
    assert ns.get("a") == b"onetwo"


def end_segment(bucket: Bucket) -> None:
    with commit.alone(bucket):
        commit.switch(bucket)


def test_a_segment_that_was_cut_back_is_read(store: Store) -> None:
    ns, bucket = store.namespace("acme"), the_bucket(store)
    number = bucket.log.number
    ns.put("a", b"1")
    bucket.sync_to(bucket.published)
    bucket.log.cut_back()
    while bucket.log.number == number:
        write_over(ns, 1)
    assert bucket.noted[number]
    assert rows_of(bucket, number, no_pace) is None


def test_what_is_half_dead_is_sealed_when_nobody_wrote_for_a_minute(
    both: tuple[Store, ManualClock],
) -> None:
    store, clock = both
    ns, bucket = store.namespace("acme"), the_bucket(store)
    write_over(ns, 20)  # not so much that it were collected
    ended = set(bucket.log.ended)
    for _ in range(3):
        store.tick()
    assert ended
    assert not ended & bucket.log.sealed
    assert rows_of(bucket, min(ended), no_pace) is not None
    for _ in range(4):  # the log's own mark of being idle is a write, too
        clock.advance(MINUTE_NS)
        store.tick()
    assert set(bucket.log.ended) <= bucket.log.sealed
    assert not any(map(len, bucket.noted.values()))


def test_what_lives_is_sealed_at_once(store: Store) -> None:
    ns, bucket = store.namespace("acme"), the_bucket(store)
    for n in range(3_000):
        ns.put(f"k{n}", b"v" * 50)
    store.tick()
    assert bucket.log.ended
    assert set(bucket.log.ended) <= bucket.log.sealed


def test_where_nobody_writes_many_rows_are_not_kept(store: Store) -> None:
    ns, bucket = store.namespace("acme"), the_bucket(store)
    ns.put("a", b"1")
    many = dict.fromkeys(map(str.encode, map(str, range(FEW + 1))), b"")
    bucket.noted[bucket.log.number] = Noted(many)
    for _ in range(3):
        store.tick()
    assert not bucket.noted


# -- anything, against a model ------------------------------------------------------------------


def change(ns: Namespace, kept: Kept, rng: Random) -> None:
    """One change of a few keys, here and in the model."""
    key, value = f"k{rng.randrange(30)}", rng.randbytes(rng.randrange(900))
    what = rng.random()
    ids = kept.get(key, (b"", []))[1]
    if what < 0.3:
        ns.put(key, value)
        kept[key] = (value, ids)
    elif what < 0.6:
        keys = [f"k{rng.randrange(30)}" for _ in range(20)]
        ns.put_many([(one, value) for one in keys])
        kept.update({one: (value, kept.get(one, (b"", []))[1]) for one in keys})
    elif what < 0.7:
        ns.append(key, value)
        kept[key] = (kept.get(key, (b"", []))[0] + value, ids)
    elif what < 0.8 and key in kept:
        ns.delete(key)
        del kept[key]
    elif what < 0.9 and key in kept:
        ids = [b"one", rng.randbytes(4)]
        ns.consumers(key).set(ids)
        kept[key] = (kept[key][0], ids)


def hold(ns: Namespace, kept: Kept) -> None:
    for n in range(30):
        key = f"k{n}"
        if key not in kept:
            with pytest.raises(NotFound):
                ns.get(key)
            continue
        assert ns.get(key) == kept[key][0]
        assert sorted(ns.consumers(key).list()) == sorted(kept[key][1])


def hold_noted(bucket: Bucket) -> int:
    """What is kept of a segment is all that reading finds but what was replaced; how often."""
    held = 0
    for number in bucket.log.ended:
        rows = rows_of(bucket, number, no_pace)
        if rows is None or bucket.log.key_block(number) is not None:
            continue
        known, read = set(rows), set(seal.read_rows(bucket.log, number, no_pace))
        last = {key: version for key, version, _, _ in sorted(known)}
        assert known <= read
        for key, version, kind, _ in read - known:
            assert kind == Type.STORE
            assert version < last[key]
        held += 1
    return held


def test_what_is_kept_is_what_reading_finds() -> None:
    rng, disk, held = Random(7), MemoryDisk(), 0
    for _ in range(3):  # the last segment of a store that is opened again goes on
        with in_memory(disk, bucket_bytes=1 << 20) as (store, _):
            ns, bucket = store.namespace("acme"), the_bucket(store)
            assert bucket.noted
            for turn in range(6):
                for n in range(120):
                    kind = "a/b" if rng.random() < 0.2 else None
                    ttl = 1_000 if rng.random() < 0.2 else None
                    ns.put(
                        f"k{turn if n % 2 else n}", rng.randbytes(900), ttl=ttl, content_type=kind
                    )
                held += hold_noted(bucket)
                collect.try_collect(bucket)
                held += hold_noted(bucket)
    assert held > 10


@pytest.mark.parametrize("way", ["noted", "read", "sealed"])
@pytest.mark.parametrize("seed", range(2))
def test_what_is_collected_any_way_is_what_was_there(seed: int, way: str) -> None:
    rng, disk, kept = Random(seed), MemoryDisk(), Kept()
    for _ in range(3):
        with in_memory(disk, bucket_bytes=1 << 20) as (store, _):
            ns, bucket = store.namespace("acme"), the_bucket(store)
            for turn in range(4):
                for _ in range(10 if turn % 2 else 150):
                    change(ns, kept, rng)
                write_over(ns, 40)  # a stretch of whole values and nothing else
                hold_noted(bucket)
                if way == "read":
                    bucket.noted.clear()
                elif way == "sealed":
                    seal.seal_all(bucket)
                store.collect("compacting" if rng.random() < 0.5 else "copying")
                kept |= {
                    f"k{n}": (f"39 {n}".encode() * 40, kept.get(f"k{n}", (b"", []))[1])
                    for n in range(20)
                }
                hold(ns, kept)
                assert store.check().ok
    with in_memory(disk, bucket_bytes=1 << 20) as (store, _):
        hold(store.namespace("acme"), kept)


def test_rows_without_an_object_are_those_of_the_key_block(store: Store) -> None:
    ns, bucket = store.namespace("acme"), the_bucket(store)
    for n in range(1_500):
        ns.put(f"k{n:04}", b"v" * 50, ttl=100 + n)
        ns.delete(f"k{n // 2:04}", missing_ok=True)
    seal.seal_all(bucket)
    number = min(bucket.log.ended)
    block = bucket.log.key_block(number)
    assert block is not None
    rows = [block.row(index) for index in range(block.count)]
    assert list(block) == list(block.plain()) == rows
    paces: list[None] = []
    deletes = list(block.plain({Type.DELETE}, lambda: paces.append(None)))
    assert deletes == [row for row in rows if row.type == Type.DELETE]
    assert len(paces) == block.count // SLICE
    shared = KeyBlock(block.body, number + 7)  # as another bucket knows it
    assert list(shared.plain()) == [shared.row(index) for index in range(shared.count)]
