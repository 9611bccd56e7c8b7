"""Store soon: in order per key, once, tried again, and never lost in silence."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import FrameType
from typing import TypeVar

import pytest

import holdfast
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Buffer, File
from holdfast.errors import Busy, Closed, LimitExceeded
from holdfast.limits import DEAD_LETTERS, MIB
from holdfast.request import soon as request_soon
from holdfast.testing.around import Around, Kind
from holdfast.testing.disk import FailingDisk, FullDisk
from tests.growth.growing import in_memory

T = TypeVar("T")
LEAST_PLACES = 15  # where a signal can come in the first store
LARGE_BYTES = 9_000  # an eighth of the smallest bucket, and more


class GatedDisk(Around):
    """Holds every write of a segment back until it is opened."""

    def __init__(self) -> None:
        super().__init__(MemoryDisk())
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()

    def write(self, file: File, offset: int, buffers: Sequence[Buffer]) -> int:
        self.reached.set()
        assert self.gate.wait(60)
        return super().write(file, offset, buffers)


def test_what_was_queued_is_there_after_a_flush() -> None:
    with in_memory(sync="always") as (store, _):
        ns = store.namespace("acme")
        for number in range(2_000):
            ns.put_soon(f"{number % 50:02d}", b"%d" % number)
        assert store.flush() == []
        assert [int(ns.get(f"{key:02d}")) for key in range(50)] == list(range(1_950, 2_000))
        assert store.dead_letters() == []
        assert store.status().dead_letters == 0


def test_it_returns_while_the_disk_is_busy() -> None:
    disk = GatedDisk()
    with in_memory(disk, sync="always") as (store, _):
        ns = store.namespace("acme")
        ns.put("a", b"before")
        disk.gate.clear()
        for number in range(100):
            ns.put_soon("a", b"%d" % number)
        assert ns.get("a") == b"before"
        disk.gate.set()
        assert store.flush() == []
        assert ns.get("a") == b"99"


def test_closing_stores_what_is_queued() -> None:
    disk = MemoryDisk()
    with in_memory(disk) as (store, _):
        ns = store.namespace("acme")
        for number in range(500):
            ns.put_soon(f"{number:03d}", b"x")
    with pytest.raises(Closed):
        ns.put_soon("more", b"x")
    with in_memory(disk, seed=1) as (again, _):
        assert len(list(again.namespace("acme").list())) == 500


def test_what_can_never_be_stored_is_told_once_and_kept() -> None:
    with in_memory() as (store, _):
        ns = store.namespace("acme")
        ns.put("kept", b"old", permanent=True)
        ns.put_soon("kept", b"new")
        ns.put_soon("other", b"new")
        (failure,) = store.flush()
        assert (failure.namespace, failure.key, failure.code) == ("acme", "kept", "permanent")
        assert store.flush() == []
        assert store.dead_letters() == [failure]
        assert store.status().dead_letters == 1
        assert (ns.get("kept"), ns.get("other")) == (b"old", b"new")
        with pytest.raises(LimitExceeded, match="VALUE_RECORD_BYTES"):
            ns.put_soon("large", b"x" * (MIB + 1))


@pytest.mark.parametrize(
    ("kind", "sync"), [("write", "always"), ("write", "never"), ("sync", "always")]
)
def test_a_disk_that_fails_for_a_moment_loses_nothing(kind: Kind, sync: str) -> None:
    for nth in range(1, 40, 3):
        disk = FailingDisk(MemoryDisk(), 0, error=errno.EIO, kinds={kind})
        with in_memory(disk, sync=sync) as (store, _):
            ns = store.namespace("acme")
            ns.put("z", b"")
            disk._span = range(disk.calls + nth, disk.calls + nth + 1)
            for number in range(30):
                ns.put_soon(f"{number % 3}", b"%d" % number)
                if number % 7 == 0:
                    assert store.flush() == []
            assert store.flush() == []
            assert [ns.get(f"{key}") for key in range(3)] == [b"27", b"28", b"29"]


class OnceRefused(GatedDisk):
    """Refuses one write, the first after it was told to."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses = False

    def write(self, file: File, offset: int, buffers: Sequence[Buffer]) -> int:
        assert self.gate.wait(60)
        if self.refuses and sum(map(len, buffers)) > LARGE_BYTES:
            self.refuses = False
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().write(file, offset, buffers)


def test_what_is_tried_again_never_follows_what_is_newer() -> None:
    disk = OnceRefused()
    with in_memory(disk, sync="always") as (store, _):
        ns = store.namespace("acme")
        disk.gate.clear()
        ns.put_soon("z", b"")  # the worker waits with it, while the next two gather
        ns.put_soon("a", b"o" * (LARGE_BYTES + 1))  # each so large that it is a group of its own
        ns.put_soon("a", b"n" * (LARGE_BYTES + 1))
        disk.refuses = True
        disk.gate.set()
        assert store.flush() == []
        assert not disk.refuses
        assert ns.get("a") == b"n" * (LARGE_BYTES + 1)


def test_a_full_disk_is_told_in_letters() -> None:
    with in_memory(FullDisk(MemoryDisk(), 1 << 20), bucket_bytes=1 << 20) as (store, _):
        ns = store.namespace("acme")
        for number in range(2_000):
            ns.put_soon(f"{number:04d}", b"x" * 1_000)
        failures = store.flush()
        assert {failure.code for failure in failures} == {"storage_failed"}
        stored = set(ns.list())
        assert len(stored) + len(failures) == 2_000
        assert stored.isdisjoint(failure.key for failure in failures)


def test_a_program_that_ends_without_closing_loses_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, holdfast\n"
        "ns = holdfast.open(sys.argv[1]).namespace('acme')\n"
        "for number in range(500): ns.put_soon(f'{number}', b'1')\n"
    )
    line = [sys.executable, "-c", code, str(tmp_path / "data")]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    with holdfast.open(tmp_path / "data", upkeep=False) as store:
        assert len(list(store.namespace("acme").list())) == 500


class CtrlC(KeyboardInterrupt):
    """Not the real one, which would end the tests if it came through."""


class InterruptedAt:
    """Raises at the nth place of a queue's own code, or of a thread's start, where a signal can.

    Python looks for signals where a function begins and behind each call.
    """

    def __init__(self, nth: int, file: str) -> None:
        self.left = nth
        self._file = file

    def __enter__(self) -> None:
        sys.setprofile(self._look)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _look(self, frame: FrameType, event: str, _arg: object) -> None:
        is_there = frame.f_code.co_filename == self._file or frame.f_code is START
        if is_there and event != "c_call":
            self.left -= 1
            if self.left == 0:
                raise CtrlC


START = threading.Thread.start.__code__


def test_a_ctrl_c_at_any_place_of_the_first_store_leaves_what_goes_on_and_closes() -> None:
    others = set(threading.enumerate())

    def working() -> list[threading.Thread]:
        begun = [one for one in threading.enumerate() if one.name == "holdfast-soon"]
        return [one for one in begun if one not in others and one.is_alive()]

    for nth in count(1):
        interrupted = InterruptedAt(nth, request_soon.__file__)
        with in_memory() as (store, _):
            ns = store.namespace("acme")
            with suppress(CtrlC), interrupted:
                ns.put_soon("first", b"1")
            for number in range(20):
                ns.put_soon("key", b"%d" % number)
            assert in_time(store.flush) == []
            assert ns.get("key") == b"19"
        for one in working():
            one.join(60)  # one that nobody noted may get its first turn late
        assert not working()
        with in_memory() as (store, _):  # closed at once
            with suppress(CtrlC), InterruptedAt(nth, request_soon.__file__):
                store.namespace("acme").put_soon("first", b"1")
            in_time(store.close)
        if interrupted.left > 0:
            assert nth > LEAST_PLACES
            return


def in_time(call: Callable[[], T]) -> T:
    """What a call returns, which must not wait for ever."""
    told: list[T] = []
    thread = threading.Thread(target=lambda: told.append(call()), daemon=True)
    thread.start()
    thread.join(60)
    (found,) = told
    return found


def queued_until_refused(put: Callable[[str], object]) -> int:
    """How many stores of long keys and no value were queued."""
    for queued in range(100_000):
        try:
            put(f"{queued:06d}".ljust(600, "-"))  # unlike at once: few may share a long beginning
        except Busy:
            return queued
    raise AssertionError


def test_what_is_queued_is_bounded_as_it_lies_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the values are: who finds no room waits for some, and then is refused."""
    monkeypatch.setattr("holdfast.request.soon.QUEUE_BYTES", MIB)
    monkeypatch.setattr("holdfast.request.soon.WAIT_S", 0.05)
    disk = GatedDisk()
    with in_memory(disk, sync="always") as (store, _):
        ns = store.namespace("acme")
        disk.gate.clear()
        disk.reached.clear()
        ns.put_soon("first", b"")
        assert disk.reached.wait(60)  # nothing more is taken off the queue
        tracemalloc.start()
        queued = queued_until_refused(lambda key: ns.put_soon(key, b""))
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert MIB / 2 < held < 2 * MIB
        monkeypatch.setattr("holdfast.request.soon.WAIT_S", 60)  # for a worker that is slow
        disk.gate.set()
        ns.put_soon("room", b"again")
        assert store.flush() == []
        assert len(list(ns.list())) == queued + 2  # what was refused was not queued
        assert store.soon._bytes == 0


def test_dead_letters_are_bounded_and_all_of_them_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with in_memory() as (store, _):
        ns = store.namespace("acme")
        ns.put("kept", b"old", permanent=True)
        for _ in range(DEAD_LETTERS):
            ns.put_soon("kept", b"new")
        assert len(store.flush()) == DEAD_LETTERS
        assert not told_by(caplog)
        ns.put("last", b"old", permanent=True)
        for _ in range(5):
            ns.put_soon("last", b"new")
        assert [letter.key for letter in store.flush()] == ["last"] * 5
        letters = store.dead_letters()
        assert len(letters) == DEAD_LETTERS
        assert [letter.key for letter in letters[-6:]] == ["kept", *["last"] * 5]
        assert store.status().dead_letters == DEAD_LETTERS + 5
        (record,) = told_by(caplog)
        assert "only counted" in record.getMessage()


def told_by(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the queue said, whatever others say meanwhile."""
    return [record for record in caplog.records if record.name == "holdfast.soon"]
