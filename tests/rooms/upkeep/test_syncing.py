"""Segments that end beside their writers, where nobody waits for the disk."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import holdfast
from holdfast.bucket import behind, commit
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.settings import Behind
from holdfast.errors import HoldfastError
from holdfast.store import Store
from holdfast.upkeep.syncing import Syncing

BUCKET_BYTES = 1 << 20
SEGMENT_BYTES = 1 << 16
VALUE = b"v" * 1_000


def opened() -> Store:
    return holdfast.open(":memory:", sync="never", bucket_bytes=BUCKET_BYTES, upkeep=False)


def fill(store: Store, first: int, count: int) -> Bucket:
    ns = store.namespace("acme")
    for number in range(first, first + count):
        ns.put(f"k{number:05d}", VALUE)
    return next(iter(store.placement.directory))


def test_a_full_segment_ends_beside_its_writer() -> None:
    with opened() as store:
        asked: list[Bucket] = []
        bucket = next(iter(store.placement.directory))
        bucket.settings.behind.soon = asked.append
        fill(store, 0, 40)
        assert asked == [bucket]  # half a segment is worth a sync
        fill(store, 40, 60)
        assert len(asked) > 1
        assert bucket.log.stop > SEGMENT_BYTES
        number, stop = bucket.log.number, bucket.log.stop
        behind.sync_on(bucket)
        assert bucket.log.number == number + 1
        assert bucket.log.ended[number].stop == stop
        behind.sync_on(bucket)
        assert bucket.log.number == number + 1  # there is nothing in it yet
        ns = store.namespace("acme")
        assert all(ns.get(f"k{number:05d}") == VALUE for number in range(100))
        assert store.check().ok


def test_a_writer_waits_for_the_end_of_a_segment_that_nobody_ends() -> None:
    with opened() as store:
        bucket = next(iter(store.placement.directory))
        bucket.settings.behind.soon = lambda _: None
        fill(store, 0, 600)
        sizes = [info.stop for info in bucket.log.ended.values()]
        assert sizes
        most = commit.STRETCH * SEGMENT_BYTES
        assert all(most <= size < most + 2_000 for size in sizes)


def test_a_thread_makes_durable_what_it_is_asked_for() -> None:
    with opened() as store:
        behind, failed = Behind(), list[Exception]()
        syncing = Syncing(behind, failed.append)
        syncing.start()
        try:
            bucket = fill(store, 0, 10)
            assert behind.soon is not None
            behind.soon(bucket)
            for _ in range(6_000):
                if bucket.log.synced == bucket.log.stop:
                    break
                Event().wait(0.01)
        finally:
            syncing.stop()
        assert bucket.log.synced == bucket.log.stop
        assert failed == []


def test_what_fails_beside_the_writers_is_told() -> None:
    with opened() as store:
        behind, told = Behind(), Event()
        failed: list[Exception] = []

        def note(error: Exception) -> None:
            failed.append(error)
            told.set()

        syncing = Syncing(behind, note)
        syncing.start()
        try:
            bucket = fill(store, 0, 10)
            bucket.broken = "a test says so"
            assert behind.soon is not None
            behind.soon(bucket)
            assert told.wait(60)
        finally:
            syncing.stop()
            bucket.broken = None
        assert isinstance(failed[0], HoldfastError)


def test_what_was_set_aside_behind_the_end_of_a_segment_is_given_back(tmp_path: Path) -> None:
    with holdfast.open(
        tmp_path, sync="never", bucket_bytes=8 * BUCKET_BYTES, upkeep=False
    ) as store:
        (bucket,) = store.placement.directory
        bucket.settings.behind.soon = lambda _: None
        fill(store, 0, 600)
        number = bucket.log.number
        (file,) = tmp_path.glob(f"log/{bucket.id}/{number:016x}.seg")
        assert file.stat().st_size > bucket.log.stop  # zeros for small writes to come
        behind.sync_on(bucket)
        assert file.stat().st_size == bucket.log.ended[number].stop
        assert bucket.log.synced == bucket.log.stop
