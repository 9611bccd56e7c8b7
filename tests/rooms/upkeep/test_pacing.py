"""Work that somebody waits for gives turns to whoever waits beside it, and to nobody else."""

from __future__ import annotations

from contextlib import suppress
from threading import Event
from typing import SupportsIndex

import pytest

import holdfast
from holdfast.clock import MACHINE, SystemClock
from holdfast.limits import SECOND_NS
from holdfast.testing import ManualClock
from holdfast.upkeep.pacing import Pacer, Turns


class Watched(SystemClock):
    """A clock that is moved by hand, with the thread's own time beside it."""

    def __init__(self) -> None:
        self.now = self.worked = 0
        self.slept: list[float | SupportsIndex] = []

    def monotonic_ns(self) -> int:
        return self.now

    def thread_ns(self) -> int:
        return self.worked

    def sleep(self, seconds: float | SupportsIndex, /) -> None:
        self.slept.append(seconds)
        self.now += 200_000


def go_on(clock: Watched, turns: Turns, *, waited_ns: int = 0) -> None:
    clock.worked += Turns.SLICE_NS
    clock.now += Turns.SLICE_NS + waited_ns
    turns()


def test_alone_it_does_not_rest() -> None:
    clock = Watched()
    turns = Turns(clock)
    for _ in range(100):
        go_on(clock, turns)
    assert clock.slept == []


def test_a_slice_that_had_to_wait_gives_turns_for_a_while() -> None:
    clock = Watched()
    turns = Turns(clock)
    go_on(clock, turns, waited_ns=5_000_000)
    for _ in range(100):
        go_on(clock, turns)
    assert len(clock.slept) == Turns.TURNS


def test_within_a_slice_nobody_is_asked() -> None:
    clock = Watched()
    turns = Turns(clock)
    for _ in range(Turns.SLICE_NS // 10 - 1):
        clock.now += 10
        turns()
    assert clock.slept == []


def test_a_slice_is_followed_by_a_rest_at_least_as_long() -> None:
    clock = Watched()
    pacer = Pacer(clock.thread_ns, clock.sleep)
    for worked_ns in (100_000, 200_000, 300_000, 5_000_000):
        clock.worked += worked_ns
        pacer()
        assert float(clock.slept[-1]) >= worked_ns / SECOND_NS


def test_what_took_longer_than_slices_do_left_the_interpreter() -> None:
    clock = Watched()
    pacer = Pacer(clock.thread_ns, clock.sleep)
    clock.worked += SECOND_NS
    pacer()
    pacer.rest = 4  # the opening of a bucket is one long slice
    clock.worked += SECOND_NS
    pacer()
    assert clock.slept == [pacer.LONGEST_S, 4.0]


def test_the_thread_of_upkeep_rests_between_its_slices() -> None:
    with holdfast.open(":memory:") as store:
        for _ in range(30_000):
            if store.upkeep._pace is store.upkeep.pacer:
                break
            Event().wait(0.001)
        assert store.upkeep._pace is store.upkeep.pacer


def test_the_thread_of_upkeep_counts_its_own_work() -> None:
    while MACHINE.thread_ns() < SECOND_NS // 2:  # what opens a store may have worked for long
        pass
    begun = MACHINE.thread_ns()
    with holdfast.open(":memory:") as store:
        for _ in range(30_000):
            if store.upkeep.pacer._since < begun:
                break
            Event().wait(0.001)
        assert store.upkeep.pacer._since < begun


def test_a_clock_that_is_moved_by_hand_is_moved_by_nobody_else() -> None:
    clock = ManualClock()
    with holdfast.open(":memory:", clock=clock, bucket_bytes=1 << 16) as store:
        namespace = store.namespace("acme")
        begun = clock.monotonic_ns()
        clock.advance(60 * SECOND_NS)
        store.upkeep.pacer()  # what its thread did between two rounds is no work
        store.placement.brake.wait(store.placement.directory.find(b""), 1 << 20)
        for number in range(200):
            namespace.put(f"k{number}", bytes(1_000))
        store.certifier.seal()
        assert clock.monotonic_ns() == begun + 60 * SECOND_NS


def test_where_a_writer_waits_short_slices_do_not_rest() -> None:
    clock = Watched()
    pacer = Pacer(clock.thread_ns, clock.sleep)
    pacer.hurry = True
    for _ in range(10):
        clock.worked += round(pacer.HURRIED_SLICE_S * SECOND_NS) // 4
        pacer()
    assert clock.slept == [pacer.HURRIED_S] * 2
    pacer.hurry = False
    pacer()
    assert len(clock.slept) == 3


def test_where_somebody_waits_for_other_work_upkeep_rests_four_times_as_long() -> None:
    clock = Watched()
    pacer = Pacer(clock.thread_ns, clock.sleep)
    with pacer.beside(), pacer.beside():
        clock.worked += 500_000
        pacer()
    with suppress(RuntimeError), pacer.beside():
        clock.worked += 500_000
        pacer()
        raise RuntimeError
    clock.worked += 500_000
    pacer()
    assert clock.slept == [0.002, 0.002, 0.0005]


def test_whoever_waits_for_a_seal_has_upkeep_rest_for_longer() -> None:
    with holdfast.open(":memory:") as store:
        store.namespace("acme").put("a", b"1")
        waited: list[int] = []
        sync = store.sync

        def looked() -> None:
            waited.append(len(store.upkeep.pacer._beside))
            sync()

        store.sync = looked  # type: ignore[method-assign]
        store.certifier.seal()
        assert set(waited) == {1}
        assert store.upkeep.pacer._beside == []


def test_a_mistake_in_one_round_does_not_end_upkeep(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr("threading.excepthook", told.append)
    rounds = Event()

    def mistaken(*_: object) -> None:
        if told:
            rounds.set()
        raise ZeroDivisionError

    with holdfast.open(":memory:") as store:
        store.upkeep.index = mistaken
        assert rounds.wait(30)
