"""Two at once: a step of one just where the other has looked and not yet acted."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Event, Thread

import pytest

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import Pace, checkpoint
from holdfast.bucket.collect import Collected, candidates, collect, prepare
from holdfast.engines.disk import OsDisk
from holdfast.errors import Exists, NotFound, StorageFailed
from holdfast.log.log import Log
from holdfast.log.ordering import in_order
from holdfast.store.opening import open_on
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.values import Stat
from holdfast.views import state
from holdfast.views.port import Table, View
from tests.growth.growing import in_memory
from tests.rooms.gate import Gate

KEYS = [f"k{number:03d}" for number in range(40)]
LAST = b"acme\x00k039"


def only(store: Store) -> Bucket:
    (bucket,) = store.placement.directory
    return bucket


def fill(store: Store, value: bytes = b"v" * 500) -> None:
    ns = store.namespace("acme")
    for key in KEYS:
        ns.put(key, value)


def before_the_view_is_asked(view: View, change: Callable[[], object]) -> None:
    ask = view.get

    def get(table: Table, key: bytes) -> bytes | None:
        view.get = ask  # type: ignore[method-assign]
        change()
        return ask(table, key)

    view.get = get  # type: ignore[method-assign]


def test_a_page_misses_nothing_that_is_absorbed_while_it_is_made() -> None:
    """Overlays are looked at before the view, so what goes down meanwhile is met on its way."""
    with in_memory() as (store, _):
        fill(store)
        bucket = only(store)
        scan = bucket.view.scan

        def absorbed(*asked: object, **more: object) -> list[tuple[bytes, bytes]]:
            bucket.view.scan = scan  # type: ignore[method-assign]
            found: list[tuple[bytes, bytes]] = scan(*asked, **more)  # type: ignore[arg-type]
            checkpoint(bucket)
            return found

        bucket.view.scan = absorbed  # type: ignore[method-assign]
        page, _ = bucket.state.page(Table.KEYS, bucket.start, bucket.stop, 100)
        assert len(page) == len(KEYS)
        assert bucket.state.frozen == ()


@pytest.mark.parametrize("table", [Table.KEYS, Table.CONSUMERS])
def test_a_child_that_took_over_lost_nothing_for_who_still_asks_the_parents_view(
    table: Table,
) -> None:
    with in_memory() as (store, _):
        fill(store)
        store.namespace("acme").consumers("k039").append(["one"])
        parent = only(store)
        checkpoint(parent)
        assert store.placement.grow(parent, b"acme\x00k000")
        child = store.placement.directory.find(LAST)
        assert child.doing() == "borrowing"
        before_the_view_is_asked(parent.view, child.finish_birth)
        found = child.entry(LAST) if table is Table.KEYS else child.state.get(table, LAST)
        assert found is not None
        assert child.doing() == "open"
        assert parent.view.get(table, LAST) is None


@pytest.mark.parametrize("absorbed", [False, True])
def test_who_asks_while_a_view_is_derived_anew_finds_what_is_there(*, absorbed: bool) -> None:
    with in_memory() as (store, _):
        fill(store)
        bucket = only(store)
        checkpoint(bucket)

        def derive() -> None:
            begin, calls = bucket.view.writer, count()

            def writer() -> object:
                if next(calls) and not absorbed:  # the view is empty now
                    raise OSError(errno.EIO, "refused")
                return begin()

            with pytest.MonkeyPatch.context() as patch, suppress(OSError):
                patch.setattr(bucket.view, "writer", writer)
                store.placement.rebuild(bucket)

        before_the_view_is_asked(bucket.view, derive)
        assert bucket.load(LAST) == b"v" * 500


def test_a_writer_that_splits_leaves_collecting_to_who_does_it() -> None:
    with in_memory(bucket_bytes=1 << 20) as (store, _):
        ns = store.namespace("acme")
        for turn in range(150):
            ns.put_many([(f"k{number:03d}", bytes([turn]) * 100) for number in range(400)])
        bucket = only(store)
        prepare(bucket)
        numbers = candidates(bucket, 0.5)
        assert len(bucket.log.ended) > 64
        assert len(numbers) > 8
        writers: list[Thread] = []
        done = Collected()

        def split() -> None:
            if not writers:
                writers.append(Thread(target=store.placement.grow, args=(bucket, b"acme\x00k100")))
                writers[0].start()
                writers[0].join(30)
                assert not writers[0].is_alive()

        collect(bucket, numbers, done, split)
        assert writers
        assert store.check().problems == ()
        assert {ns.get(f"k{number:03d}") for number in range(400)} == {bytes([149]) * 100}


class Watched(Log):
    """A log whose first segment is read at every change of its end."""

    watched: int

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name in {"number", "stop"}:
            assert sum(group.head.records for group in self.groups(self.watched)) > len(KEYS)


def test_a_segment_is_whole_for_its_readers_while_it_ends() -> None:
    with in_memory() as (store, _):
        fill(store)
        log = only(store).log
        Watched.watched = log.number
        log.__class__ = Watched
        ns = store.namespace("acme")
        with suppress(StorageFailed):
            for number in range(100):
                ns.put(f"more{number}", b"v" * 500)
        assert Watched.watched in log.ended


def test_a_bucket_that_is_merged_away_while_it_is_counted_counts_once() -> None:
    with in_memory() as (store, _):
        fill(store, b"v" * 100)
        assert store.placement.grow(only(store), b"acme\x00k000")
        assert sum(told.keys for told in store.status().buckets) == len(KEYS)
        left, right = store.placement.directory
        resolve = left.resolve_all

        def merge_first() -> object:
            left.resolve_all = resolve  # type: ignore[method-assign]
            store.collect()
            return resolve()

        left.resolve_all = merge_first  # type: ignore[assignment, method-assign]
        status = store.status()
        assert right.closed
        assert sum(told.keys for told in status.buckets) == len(KEYS)


@pytest.mark.parametrize("waits", [False, True])
def test_nobody_joins_a_group_that_has_failed(tmp_path: Path, *, waits: bool) -> None:
    """What is decided behind a failed group is refused; what comes after that is stored."""
    disk = Gate(OsDisk(), "sync", refuses=True)
    with open_on(disk, str(tmp_path / "s"), clock=ManualClock(), entropy=SeededEntropy(1)) as store:
        ns = store.namespace("acme")
        ns.put("a", b"1")
        disk.shut = True
        with ThreadPoolExecutor(2) as pool:
            failing = [pool.submit(ns.put, "b", b"1")]
            assert disk.entered.wait(30)
            with pytest.raises(Exists):  # and leaves the next group behind
                ns.put_many([("c", b"1"), ("a", b"2")], atomic=True, if_absent=True)
            waiting = only(store).gather().waiters
            if waits:
                failing.append(pool.submit(ns.put, "c", b"2"))
            for _ in range(3_000 if waits else 0):
                if waiting:
                    break
                Event().wait(0.01)
            disk.go.set()
            assert all(isinstance(one.exception(30), StorageFailed) for one in failing)
        ns.put("d", b"3")
        assert sorted(ns.list()) == ["a", "d"]


@pytest.mark.parametrize("look", ["stat", "entries"])
def test_an_object_and_its_list_are_told_as_of_one_moment(look: str) -> None:
    """They lie in two tables: what is told was so between two changes, never amid one."""
    with in_memory() as (store, _):
        acme = store.namespace("acme")
        acme.put_many([("j", b"v"), ("k", b"v")], consumers=["a", "b"])
        entries = acme.entries()
        next(entries)  # the page is of before
        bucket = only(store)
        put_side = bucket.state.put_side
        told: list[tuple[str, int]] = []
        looks = {
            "stat": lambda: told.append(of(acme.stat("k"))),
            "entries": lambda: told.append(of(next(entries))),
        }
        reader = Thread(target=looks[look])

        def amid(table: Table, key: bytes, row: bytes) -> None:
            put_side(table, key, row)
            reader.start()
            reader.join(0.1)  # who need not wait is done by then

        bucket.state.put_side = amid  # type: ignore[method-assign]
        acme.consumers("k").set([])
        bucket.state.put_side = put_side  # type: ignore[method-assign]
        reader.join()
        assert told == [("marked", 0)]


def test_who_looks_at_a_list_that_changes_meanwhile_looks_again() -> None:
    with in_memory() as (store, _):
        acme = store.namespace("acme")
        acme.put("k", b"v", consumers=["a"])
        bucket = only(store)
        entry = bucket.entry

        def before(change: Callable[[], object]) -> None:
            def late(key: bytes) -> bytes | None:
                row = entry(key)
                bucket.entry = entry  # type: ignore[method-assign]
                change()
                return row

            bucket.entry = late  # type: ignore[method-assign]

        before(lambda: acme.consumers("k").set([]))
        assert of(acme.stat("k")) == ("marked", 0)
        acme.consumers("k").set(["b"])
        before(lambda: acme.delete("k"))
        with pytest.raises(NotFound):
            acme.consumers("k").list()


def of(stat: Stat) -> tuple[str, int]:
    return stat.state, stat.consumers


@pytest.mark.parametrize("passing", ["puts", "a checkpoint", "another list"])
def test_a_list_of_many_keys_keeps_no_writer_waiting_and_misses_none(
    passing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys in memory are put in order while others write, and list, and absorb."""
    monkeypatch.setattr(state, "ORDERED_LEAST", 10)
    monkeypatch.setattr(state, "ORDERED_AT_ONCE", 3)
    with in_memory() as (store, _):
        fill(store)
        ns, more = store.namespace("acme"), count()
        ordered: list[None] = []

        def put_in_order(keys: list[bytes], pace: Pace) -> Iterator[list[bytes]]:
            passed = not ordered
            ordered.append(None)
            for run in in_order(keys, pace):
                yield run
                if passed:
                    elsewhere(pass_by)

        def pass_by() -> None:
            for _ in range(20):
                ns.put(f"n{next(more):03d}", b"new")
            if passing == "a checkpoint":
                checkpoint(only(store))
            if passing == "another list":
                assert len(list(ns.list())) == len(KEYS) + 20

        monkeypatch.setattr(state, "in_order", put_in_order)
        listed = list(ns.list())
        assert ordered
        assert listed == [*KEYS, *(f"n{number:03d}" for number in range(20))]
        ns.put_many([(f"m{number:03d}", b"") for number in range(100)])
        assert list(ns.list("m")) == [f"m{number:03d}" for number in range(100)]


def elsewhere(work: Callable[[], object]) -> None:
    """Do something in another thread, which waits for ever where this one holds a lock it needs."""
    worker = Thread(target=work, daemon=True)
    worker.start()
    worker.join(60)
    assert not worker.is_alive()
