"""Segments that end beside their writers: cut at every point of the disk, in every mode.

While the next segment is made, and while it becomes durable, a writer writes and somebody
seals. Of what was answered and not synced a crash may take the newest, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from holdfast.bucket.behind import sync_on
from holdfast.bucket.seal import seal_all
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.errors import OutcomeUnknown, StorageFailed
from holdfast.limits import MIB
from holdfast.log.group import Kind
from holdfast.store import Store
from holdfast.store.opening import open_on
from holdfast.testing.around import Around
from holdfast.testing.around import Kind as Call
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import FOREVER, MODES, CrashDisk, FailingDisk, Mode

FULL = 35  # puts that a segment is full with
ROUNDS = 3
SEEDS = range(3)  # of what each mode leaves


def opened(disk: Disk, seed: int = 0) -> Store:
    clock, entropy = ManualClock(), SeededEntropy(seed)
    return open_on(disk, "s", sync="never", bucket_bytes=MIB // 2, clock=clock, entropy=entropy)


class Watched(Around):
    """Has something done before each call, but for those which that makes itself."""

    done: Callable[[Call], None] | None = None

    def before(self, kind: Call) -> None:
        done, self.done = self.done, None
        if done is not None:
            done(kind)
            self.done = done


class Story:
    """A run: how many puts there were, and from which point on so many are durable."""

    def __init__(self, *, seals: bool) -> None:
        self.disk = CrashDisk()
        watched = Watched(self.disk)
        self.store = opened(watched)
        self.count = 0
        self.durable = [(0, 0)]
        self.seals = seals
        self.sealed = 0
        (self.bucket,) = self.store.placement.directory
        self.bucket.settings.behind.soon = lambda _: None
        for _ in range(ROUNDS):
            self.put(FULL)
            watched.done = self.beside
            sync_on(self.bucket)
            watched.done = None
            self.durable.append((self.disk.points, self.count))
            self.put(3)

    def put(self, count: int) -> None:
        ns = self.store.namespace("n")
        for number in range(self.count, self.count + count):
            ns.put(f"k{number:04d}", value(number))
        self.count += count

    def beside(self, kind: Call) -> None:
        """A writer goes on wherever it may; the ended segment is sealed before the next stands."""
        if kind == "sync_folder" or (kind == "sync" and self.bucket.log.loose is not None):
            self.put(2)
        if kind == "sync" and self.bucket.log.loose is not None and self.seals:
            self.sealed += seal_all(self.bucket)


def value(number: int) -> bytes:
    return number.to_bytes(4, "big") * 250


@cache
def story_of(*, seals: bool) -> Story:
    return Story(seals=seals)


def judge(disk: MemoryDisk, least: int) -> None:
    with opened(disk, 1) as store:
        found = dict(store.namespace("n").mapping())
        assert found == {f"k{number:04d}": value(number) for number in range(len(found))}
        assert len(found) >= least
        assert store.check().ok
        (bucket,) = store.placement.directory
        for number in (*bucket.log.ended, bucket.log.number):  # a key block is behind the end only
            assert all(group.head.kind != Kind.KEY_BLOCK for group in bucket.log.groups(number))


@pytest.mark.parametrize("seals", [False, True])
def test_the_run_has_everything_inside(*, seals: bool) -> None:
    story = story_of(seals=seals)
    assert story.bucket.log.ended.keys() == {1, 2, 3}
    assert story.count > ROUNDS * (FULL + 3)  # a writer wrote meanwhile
    assert story.sealed == seals * ROUNDS


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seals", [False, True])
def test_every_cut(mode: Mode, *, seals: bool) -> None:
    story = story_of(seals=seals)
    begun = next(point for point, count in story.durable if count) - 20  # before the first one ends
    for point in range(begun, story.disk.points + 1):
        least = max(count for at, count in story.durable if at < point)
        plain = mode in {"kept", "dropped"}
        for seed in SEEDS[:1] if plain else SEEDS:
            judge(story.disk.after_cut(mode, seed, at=point), least)


@pytest.mark.parametrize("times", [1, FOREVER])
def test_every_refusal(times: int) -> None:
    """Whatever the disk refuses, what was answered stays, or is named; the log reads whole."""
    begun, ended = refused_at(0, times)
    for call in range(begun + 1, ended + 1):
        refused_at(call, times)


def refused_at(call: int, times: int) -> tuple[int, int]:
    """Refuse one of the calls that end a segment; how many there were before it and by then."""
    crash = CrashDisk()
    disk = FailingDisk(crash, call, times=times)
    store = opened(disk)
    ns = store.namespace("n")
    (bucket,) = store.placement.directory
    bucket.settings.behind.soon = lambda _: None
    for number in range(FULL):
        ns.put(f"k{number:04d}", value(number))
    store.flush()
    begun, lost = disk.calls, False
    try:
        sync_on(bucket)
    except (StorageFailed, OutcomeUnknown):
        assert disk.failed
    ended = disk.calls
    try:
        ns.put(f"k{FULL:04d}", value(FULL))
        store.flush()
    except (StorageFailed, OutcomeUnknown):
        assert bucket.broken
        lost = True
    assert len(bucket.log.ended) == 1 or disk.failed
    for mode in MODES:
        judge(crash.after_cut(mode, call), FULL + (not lost))
    return begun, ended


def test_a_writer_that_ended_the_segment_first_leaves_nothing_lying() -> None:
    crash = CrashDisk()
    disk = Watched(crash)
    store = opened(disk)
    ns = store.namespace("n")
    (bucket,) = store.placement.directory
    bucket.settings.behind.soon = lambda _: None
    written = 0

    def put(count: int) -> None:
        nonlocal written
        for number in range(written, written + count):
            ns.put(f"k{number:04d}", value(number))
        written += count

    put(FULL)
    disk.done = lambda call: put(4 * FULL) if call == "sync_folder" and written == FULL else None
    sync_on(bucket)
    disk.done = None
    assert written == 5 * FULL
    numbers = {1, bucket.log.number}
    assert bucket.log.ended.keys() == {1}
    assert set(bucket.log.ground.listing()[bucket.id]) == numbers
    store.flush()
    judge(crash.after_cut("dropped", 0), written)
