"""Two processes' halves of one store, in one process: what each holds, asks and gives away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, cast

import pytest

from holdfast.bucket.many import ABSENT
from holdfast.clock import BucketTime
from holdfast.engines.memory import MemoryDisk
from holdfast.errors import (
    Busy,
    HoldfastError,
    InvalidValue,
    Moved,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)
from holdfast.operations import Store as Put
from holdfast.placement.directory import HIGHEST, LOWEST
from holdfast.placement.elsewhere import Elsewhere
from holdfast.placement.placement import Share
from holdfast.request.arguments import VISIBLE, compose, namespace_bytes
from holdfast.request.reading import load_many
from holdfast.store.opening import open_on
from holdfast.store.store import Store
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.views.memory_view import MemoryView

BOUND = 64 * 1024


class Straight:
    """A link without a wire: asks another half's relay at once."""

    def __init__(self) -> None:
        self.to: Store | None = None
        self.asked = 0
        self.fault: HoldfastError | None = None  # what a call comes to instead

    def ask(self, method: str, *arguments: object) -> Any:  # noqa: ANN401 - as the port says
        assert self.to is not None
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return self.to.relay.answer(method, arguments)


class Halves:
    """A store on one disk, cut at a key between two that share it."""

    def __init__(self, disk: MemoryDisk, border: bytes) -> None:
        self.clock = ManualClock()
        self.links = (Straight(), Straight())
        self.stores = tuple(self._open(disk, border, at) for at in range(2))
        for link, store in zip(self.links, reversed(self.stores), strict=True):
            link.to = store  # each asks the other

    def _open(self, disk: MemoryDisk, border: bytes, at: int) -> Store:
        time = time_of(self)
        ranges = ((LOWEST, border), (border, HIGHEST))
        other = Elsewhere(*ranges[1 - at], self.links[at], time)
        share = Share(*ranges[at], others=(other,), name=str(at))
        return open_on(
            disk,
            "store",
            bucket_bytes=BOUND,
            clock=self.clock,
            entropy=SeededEntropy(at),
            open_view=lambda _: MemoryView(),
            share=share,
        )

    def close(self) -> None:
        for store in self.stores:
            store.close()


class ManualTime:
    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def now_ns(self) -> int:
        return self._clock.wall_ns()


def whole(disk: MemoryDisk) -> Store:
    clock, entropy = ManualClock(), SeededEntropy(9)
    view = lambda _: MemoryView()  # noqa: E731 - as short as it is
    return open_on(disk, "store", bucket_bytes=BOUND, clock=clock, entropy=entropy, open_view=view)


def filled(disk: MemoryDisk) -> tuple[dict[str, bytes], bytes]:
    """A store with many buckets, and a border between two of them."""
    chance = Random(4)
    values = {f"k{number:04d}": chance.randbytes(700) for number in range(400)}
    with whole(disk) as store:
        store.namespace("acme").put_many(values)
        starts = [bucket.start for bucket in store.placement.directory]
    assert len(starts) > 3
    return values, starts[len(starts) // 2]


@contextmanager
def halves() -> Iterator[tuple[Halves, dict[str, bytes], MemoryDisk]]:
    disk = MemoryDisk()
    values, border = filled(disk)
    both = Halves(disk, border)
    yield both, values, disk
    both.close()


def test_either_half_answers_for_the_whole() -> None:
    with halves() as (both, values, _):
        ids = [{bucket.id for bucket in store.placement.directory} for store in both.stores]
        assert ids[0]
        assert ids[1]
        assert not ids[0] & ids[1]
        for store in both.stores:
            ns = store.namespace("acme")
            assert list(ns.list()) == sorted(values)
            assert {key: ns.get(key) for key in values} == values
            assert ns.stat("k0000").bucket in ids[0]
            assert ns.stat("k0399").bucket in ids[1]
            assert store.namespaces() == ["acme"]
            with pytest.raises(NotFound):
                ns.get("absent")
        assert all(link.asked for link in both.links)


def test_what_one_half_writes_the_other_reads() -> None:
    with halves() as (both, values, disk):
        left, right = (store.namespace("acme") for store in both.stores)
        large = Random(1).randbytes(3 * 1024 * 1024 + 5)
        for at, ns in enumerate((left, right)):
            receipts = ns.put_many([(key, key.encode()) for key in sorted(values)[at::2]])
            assert [receipt.key for receipt in receipts] == sorted(values)[at::2]
            ns.put(f"k0000/plain{at}", b"plain")
            ns.put(f"k0399/plain{at}", large[: 1 << 17])
            ns.put(f"k0000/large{at}", large)
            ns.put(f"k0399/large{at}", large)
            ns.append(f"k0399/log{at}", b"ab")
            ns.append(f"k0399/log{at}", b"c")
            with ns.lock(f"k0399/lock{at}") as lock:
                ns.put(f"k0399/lock{at}", b"held", fence=lock.fence)
            ns.consumers(f"k0399/log{at}").set(["one"])
        for ns in (right, left):
            for at in range(2):
                assert ns.get(f"k0000/large{at}") == ns.get(f"k0399/large{at}") == large
                assert ns.get(f"k0399/log{at}") == b"abc"
                assert ns.get(f"k0000/plain{at}") == b"plain"
                assert ns.get(f"k0399/plain{at}") == large[: 1 << 17]
                assert ns.consumers(f"k0399/log{at}").list() == ["one"]
            assert all(ns.get(key) == key.encode() for key in values)
        for store in both.stores:
            store.collect()
            assert store.check().problems == ()
        assert right.get("k0000/large0") == large
        right.delete("k0000")
        with pytest.raises(NotFound):
            left.get("k0000")
        both.close()
        with whole(disk) as store:
            assert store.check().ok
            assert store.namespace("acme").get("k0000/large1") == large


def test_parts_that_the_other_half_is_writing_are_not_swept() -> None:
    with halves() as (both, _, _):
        left, right = both.stores
        ns = right.namespace("acme")
        with ns.open("k0000/stream", "wb") as file:
            file.write(b"x" * (2 * 1024 * 1024))
            left.collect()
            right.collect()
            file.write(b"y" * (1024 * 1024))
        assert len(left.namespace("acme").get("k0000/stream")) == 3 * 1024 * 1024


def large_of(number: int) -> bytes:
    return Random(number).randbytes(3 * 1024 * 1024)


def manifest_of(arguments: tuple[object, ...]) -> Put | None:
    """The manifest among what is asked to be applied."""
    operations = arguments[0] if isinstance(arguments[0], list) else []
    stores = (o for o in operations if isinstance(o, Put) and o.options is not None)
    return next((store for store in stores if store.options and store.options.parts), None)


@pytest.mark.parametrize("before", [None, b"small", large_of(2)])
def test_a_manifest_whose_answer_is_lost_keeps_its_parts(
    monkeypatch: pytest.MonkeyPatch, before: bytes | None
) -> None:
    with halves() as (both, _, _):
        right = both.stores[1]
        ns, ask = right.namespace("acme"), both.links[1].ask
        if before is not None:
            ns.put("k0000/lost", before)

        def asked(method: str, *arguments: object) -> object:
            answer = ask(method, *arguments)
            if method == "apply" and manifest_of(arguments):
                raise OutcomeUnknown
            return answer

        monkeypatch.setattr(both.links[1], "ask", asked)
        with pytest.raises(OutcomeUnknown):
            ns.put("k0000/lost", large_of(1))
        for store in both.stores:
            store.collect()
            assert store.namespace("acme").get("k0000/lost") == large_of(1)
            assert store.check().ok


@pytest.mark.parametrize("sweeps", ["the writer", "the other half", "a tick of the other half"])
def test_a_manifest_that_comes_after_its_parts_were_given_up_is_refused(
    monkeypatch: pytest.MonkeyPatch, sweeps: str
) -> None:
    with halves() as (both, _, _):
        left, right = both.stores
        ask, late = both.links[1].ask, []

        def asked(method: str, *arguments: object) -> object:
            if method == "apply" and (manifest := manifest_of(arguments)):
                late.append(manifest)
                raise OutcomeUnknown
            if method == "apply" and late and sweeps != "the writer":
                raise Unavailable  # the writer can give nothing up any more
            return ask(method, *arguments)

        monkeypatch.setattr(both.links[1], "ask", asked)
        with pytest.raises(OutcomeUnknown):
            right.namespace("acme").put("k0000/late", large_of(1))
        if sweeps == "the other half":
            left.collect()
        elif sweeps == "a tick of the other half":
            for _ in range(40):
                both.clock.advance(10**9)
                left.tick(1)
        with pytest.raises(Busy):
            left.corridor.write(late[0])
        for store in both.stores:
            assert "k0000/late" not in store.namespace("acme")
            store.collect()
            assert store.check().ok


def test_a_range_changes_hands_and_nothing_is_lost() -> None:
    with halves() as (both, values, disk):
        left, right = both.stores
        starts = [bucket.start for bucket in left.placement.directory]
        assert len(starts) > 1
        given, stop = starts[-1], left.placement.share.stop
        key = given.removeprefix(b"acme\0").decode().rstrip("\0")
        left.namespace("acme").put(key, b"new")
        time = time_of(both)
        left.placement.give(given, stop, [Elsewhere(given, HIGHEST, both.links[0], time)])
        with pytest.raises(Moved):
            both.links[1].ask("load", given)  # it is on its way: nobody answers for it
        right.placement.take(given, stop, [Elsewhere(LOWEST, given, both.links[1], time)])
        assert [bucket.start for bucket in left.placement.directory] == starts[:-1]
        assert next(iter(right.placement.directory)).start == given
        values[key] = b"new"
        for store in both.stores:
            ns = store.namespace("acme")
            assert {key: ns.get(key) for key in values} == values
            ns.put_many([(key, value[::-1]) for key, value in values.items()])
            values.update({key: value[::-1] for key, value in values.items()})
            assert list(ns.list()) == sorted(values)
            store.collect()
            assert store.check().problems == ()
        both.close()
        with whole(disk) as store:
            ns = store.namespace("acme")
            assert {key: ns.get(key) for key in ns.list()} == values
            assert store.check().ok


def time_of(both: Halves) -> BucketTime:
    return cast("BucketTime", ManualTime(both.clock))


def test_only_whole_buckets_at_an_edge_change_hands() -> None:
    with halves() as (both, values, _):
        left, _ = both.stores
        stop = left.placement.share.stop
        nowhere = [Elsewhere(b"acme\0k00001", HIGHEST, both.links[0], time_of(both))]
        with pytest.raises(InvalidValue):
            left.placement.give(b"acme\0k00001", stop, nowhere)
        assert {key: left.namespace("acme").get(key) for key in values} == values


def test_an_atomic_batch_of_the_other_half_is_all_or_nothing() -> None:
    with halves() as (both, _, _):
        ns = both.stores[0].namespace("acme")
        with pytest.raises(HoldfastError):
            ns.put_many([("k0398", b"a"), ("k0399", b"b")], atomic=True, if_absent=True)
        assert ns.get("k0398") != b"a"
        assert len(ns.put_many([("k0399/a", b"a"), ("k0399/b", b"b")], atomic=True)) == 2


def test_the_values_of_the_other_half_are_asked_for_at_once() -> None:
    with halves() as (both, values, _):
        left = both.stores[0]
        names = [*values, "absent", "k0399/absent"]
        keys = [compose(namespace_bytes("acme") + VISIBLE, name) for name in names]
        link = both.links[0]
        link.asked = 0
        assert load_many(left.corridor, keys, 1 << 30, waits=False) is None
        assert link.asked == 0
        found = load_many(left.corridor, keys, 1 << 30, waits=True)
        assert link.asked == 1
        assert found == [*values.values(), ABSENT, ABSENT]
        assert load_many(left.corridor, keys, 300_000, waits=True) == found
        assert load_many(left.corridor, keys, 200_000, waits=True) is None


def test_who_cannot_ask_the_other_half_still_reads_its_own() -> None:
    with halves() as (both, values, _):
        left, link = both.stores[0], both.links[0]
        keys = [compose(namespace_bytes("acme") + VISIBLE, name) for name in values]
        link.fault = Unavailable()
        found = load_many(left.corridor, keys, 1 << 30, waits=True)
        link.fault = None
        border = left.placement.share.stop
        mine = [value for key, value in zip(keys, values.values(), strict=True) if key < border]
        assert found is not None
        assert found[: len(mine)] == mine
        assert {type(one) for one in found[len(mine) :]} == {Unavailable}


def test_where_a_key_lives_is_told_once_its_range_has_arrived(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with halves() as (both, _, _):
        left, right = both.stores
        given = [bucket.start for bucket in left.placement.directory][-1]
        stop, time = left.placement.share.stop, time_of(both)
        key = given.removeprefix(namespace_bytes("acme") + VISIBLE).decode()
        left.placement.give(given, stop, [Elsewhere(given, HIGHEST, both.links[0], time)])
        ask, left_to_wait = both.links[0].ask, [3]

        def asked(method: str, *arguments: object) -> Any:  # noqa: ANN401 - as the port says
            left_to_wait[0] -= 1
            if not left_to_wait[0]:
                there = Elsewhere(LOWEST, given, both.links[1], time)
                right.placement.take(given, stop, [there])
            return ask(method, *arguments)

        monkeypatch.setattr(both.links[0], "ask", asked)
        place = left.locate("acme", key)
        assert left_to_wait[0] == 0
        assert place.bucket in {bucket.id for bucket in right.placement.directory}
