"""What is written down for later says what reading would say: key blocks, and counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from threading import Thread

import pytest

from holdfast.bucket import plain, seal
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.checkpoint import checkpoint, no_pace
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import Busy, Corrupt
from holdfast.log import columns
from holdfast.log.keyblock import build
from holdfast.store.namespace import Namespace
from holdfast.store.store import Store
from holdfast.views.memory_view import MemoryView
from holdfast.views.port import Table
from holdfast.views.state import Tally
from tests.growth.growing import in_memory

MANY = 1_000


@pytest.fixture(params=[2, 5_000], ids=["columns", "dict"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(columns, "LEAST", request.param)
    with in_memory(MemoryDisk(), bucket_bytes=1 << 20) as (store, _):
        yield store


def the_bucket(store: Store) -> Bucket:
    (bucket,) = store.placement.directory
    return bucket


def fill(store: Store, first: int = 0) -> None:
    """Plain stores, some in batches, some alone, in no order, over several segments."""
    ns = store.namespace("acme")
    numbers = list(range(first, first + MANY))
    Random(first).shuffle(numbers)
    ns.put_many([(f"k{n:05d}", b"v" * (n % 90)) for n in numbers[: MANY // 2]])
    for n in numbers[MANY // 2 :]:
        ns.put(f"k{n:05d}", b"v" * (n % 90))


def exact(bucket: Bucket) -> tuple[int, int, dict[int, int]]:
    tally = bucket.resolve_all()
    return tally.keys, tally.special, {n: taken for n, taken in tally.live.items() if taken}


def derived(bucket: Bucket) -> tuple[int, int, dict[int, int]]:
    """The same, counted one by one from the rows."""
    tally = Tally()
    at: bytes | None = bucket.start
    while at is not None:
        rows, at = bucket.page(at, bucket.stop, 100)
        for key, row in rows:
            tally.count(key, row, 1)
    return tally.keys, tally.special, tally.live


def test_a_key_block_from_kept_rows_is_the_one_that_reading_makes(store: Store) -> None:
    fill(store)
    bucket = the_bucket(store)
    noted = 0
    for number in seal.unsealed(bucket):
        read = list(seal.read(bucket.log, number, no_pace))
        kept = seal._from_noted(bucket, number, no_pace)
        if kept is not None:
            noted += 1
            assert kept == build(read)
    assert noted
    assert not bucket.noted.keys() & set(bucket.log.ended)


def ended(store: Store, change: Callable[[Namespace], object]) -> int:
    """A segment that ended after a change."""
    ns = store.namespace("acme")
    ns.put_many([("a", b"1"), ("b", b"2")])
    change(ns)
    bucket = the_bucket(store)
    number = bucket.log.number
    while bucket.log.number == number:
        fill(store)
    return number


def delete_and_store(ns: Namespace) -> None:
    ns.delete("a")
    ns.put("a", b"3", ttl=9)
    ns.put("k00000", b"below what is noted", content_type="text/plain")
    ns.put("z", b"behind all that is noted", if_absent=True)


CHANGES: dict[str, Callable[[Namespace], object]] = {
    "delete": lambda ns: ns.delete("a"),
    "append": lambda ns: ns.append("a", b"3"),
    "options": lambda ns: ns.put("c", b"3", ttl=9),
    "consumers": lambda ns: ns.consumers("a").append([b"one"]),
    "lock": lambda ns: ns.lock("a"),
    "several": delete_and_store,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_of_a_segment_where_little_is_not_kept_only_that_is_read(
    store: Store, monkeypatch: pytest.MonkeyPatch, change: Callable[[Namespace], object]
) -> None:
    number = ended(store, change)
    bucket = the_bucket(store)
    read = list(seal.read(bucket.log, number, no_pace))
    monkeypatch.setattr(seal, "read", None)
    kept = seal._from_noted(bucket, number, no_pace)
    assert kept is not None
    assert kept == build(read)
    assert number not in bucket.mixed


def test_a_segment_that_holds_a_kept_key_twice_is_read(store: Store) -> None:
    number = ended(store, lambda ns: ns.put("a", b"3"))
    bucket = the_bucket(store)
    assert seal._from_noted(bucket, number, no_pace) is None
    seal.seal_all(bucket)
    block = bucket.log.key_block(number)
    assert block is not None
    assert block.holds(b"acme\0a")


def test_where_much_is_not_kept_nothing_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "MIXED_MOST", 0)
    number = ended(store, delete_and_store)
    bucket = the_bucket(store)
    assert number not in bucket.noted
    assert number not in bucket.mixed
    assert seal._from_noted(bucket, number, no_pace) is None


def test_a_group_that_was_not_kept_and_does_not_verify_is_damage(store: Store) -> None:
    bucket = the_bucket(store)
    number, start = bucket.log.number, bucket.log.stop
    store.namespace("acme").put("c", b"3", ttl=9)
    stop = bucket.log.stop
    (group,) = bucket.log.groups_at(number, start, stop)
    assert len(list(group.records())) == 1
    for first, last in ((start, stop - 1), (start + 1, stop)):
        with pytest.raises(Corrupt):
            list(bucket.log.groups_at(number, first, last))


def test_counts_are_exact_after_absorbing_new_and_old_keys(store: Store) -> None:
    bucket = the_bucket(store)
    ns = store.namespace("acme")
    fill(store)
    assert checkpoint(bucket)
    assert exact(bucket) == derived(bucket)
    fill(store, MANY)  # new to the view
    ns.delete("k00003")
    fill(store, MANY // 2)  # half of them are not
    ns.delete("k01003")
    assert checkpoint(bucket)
    assert exact(bucket) == derived(bucket)
    assert bucket.view_tally.keys == 2 * MANY - 2


def test_counts_are_exact_where_somebody_asks_while_absorbing(store: Store) -> None:
    bucket = the_bucket(store)
    fill(store)
    checkpoint(bucket)
    fill(store, MANY // 2)
    seen = []

    def ask() -> None:
        seen.append(exact(bucket))

    checkpoint(bucket, ask)
    assert len(seen) > 1
    assert all(told == derived(bucket) for told in seen)
    assert exact(bucket) == derived(bucket)


def test_counts_are_exact_after_an_absorption_that_failed(store: Store) -> None:
    bucket = the_bucket(store)
    fill(store)
    checkpoint(bucket)
    fill(store, MANY // 2)
    steps = iter(range(3))

    def fail() -> None:
        if next(steps, None) is None:
            raise Busy

    with pytest.raises(Busy):
        checkpoint(bucket, fail)
    assert exact(bucket) == derived(bucket)
    checkpoint(bucket)
    assert exact(bucket) == derived(bucket)
    assert bucket.view_tally.keys == MANY + MANY // 2


def test_key_blocks_wait_for_a_load_and_no_longer() -> None:
    with in_memory(MemoryDisk(), bucket_bytes=4 << 20) as (store, _):
        bucket = the_bucket(store)
        store.tick()
        fill_segments(store, seal.WAITING_SEGMENTS - 1)
        store.tick()
        assert len(seal.unsealed(bucket)) == seal.WAITING_SEGMENTS - 1
        store.tick()  # nobody wrote since
        assert not seal.unsealed(bucket)
        fill_segments(store, seal.WAITING_SEGMENTS)
        store.tick()  # too many to wait
        assert not seal.unsealed(bucket)


def fill_segments(store: Store, count: int) -> None:
    """Write until so many segments more have ended."""
    log, ns = the_bucket(store).log, store.namespace("acme")
    last = log.number + count
    while log.number < last:
        ns.put_many([(f"{log.number}/{log.stop}/{n}", bytes(1_000)) for n in range(20)])


@pytest.mark.parametrize("passing", ["a checkpoint", "a rebuild"])
def test_counts_are_exact_though_overlays_go_meanwhile(store: Store, passing: str) -> None:
    fill(store)
    bucket = the_bucket(store)
    checkpoint(bucket)
    fill(store)
    passed: list[None] = []

    def pace() -> None:
        if not passed:
            passed.append(None)
            store.rebuild() if passing == "a rebuild" else checkpoint(bucket)
            fill(store, MANY // 2)

    tally = bucket.resolve_all(pace)
    assert passed
    assert (tally.keys, tally.special) == derived(bucket)[:2]
    assert exact(bucket) == derived(bucket)


@pytest.mark.parametrize("late", [False, True], ids=["before it answers", "behind its answer"])
@pytest.mark.parametrize("passing", ["a checkpoint", "a rebuild", "another count", "writes"])
def test_counts_are_exact_whatever_passes_while_a_view_is_asked(
    store: Store, passing: str, monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    fill(store)
    bucket = the_bucket(store)
    checkpoint(bucket)
    fill(store)
    get_many, passed = MemoryView.get_many, list[None]()

    def passes() -> None:
        if passed:
            return
        passed.append(None)
        if passing == "another count":
            bucket.resolve_all()
        elif passing != "writes":
            store.rebuild() if passing == "a rebuild" else checkpoint(bucket)
        fill(store, MANY // 2)

    def asked(view: MemoryView, table: Table, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        if not late:
            passes()
        told = get_many(view, table, keys)
        passes()
        return told

    monkeypatch.setattr(MemoryView, "get_many", asked)
    bucket.resolve_all()
    assert passed
    assert exact(bucket) == derived(bucket)


@pytest.mark.parametrize("way", ["counted", "absorbed"])
def test_no_writer_waits_while_a_view_is_asked_what_rows_hide(
    store: Store, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    bucket = the_bucket(store)
    checkpoint(bucket)
    fill(store)
    get_many, free = MemoryView.get_many, list[bool]()

    def asked(view: MemoryView, table: Table, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        writer = Thread(target=lambda: free.append(is_free(bucket)))
        writer.start()
        writer.join()
        return get_many(view, table, keys)

    monkeypatch.setattr(MemoryView, "get_many", asked)
    bucket.resolve_all() if way == "counted" else checkpoint(bucket)
    assert set(free) == {True}


def is_free(bucket: Bucket) -> bool:
    """Whether a thread that asks now gets the bucket's lock."""
    got = bucket.lock.acquire(blocking=False)
    if got:
        bucket.lock.release()
    return got
