"""The twin for asyncio: the same answers, and a loop that never waits for the disk."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from threading import Condition, Event, get_ident
from threading import enumerate as enumerate_threads
from types import FrameType
from typing import Any

import pytest

import holdfast
from holdfast.aio import (
    AsyncBucket,
    AsyncConsumers,
    AsyncLock,
    AsyncNamespace,
    AsyncStore,
    twin_of,
)
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.errors import (
    Closed,
    Exists,
    InUse,
    InvalidKey,
    InvalidNamespace,
    InvalidValue,
    LockHeld,
    LockLost,
    NotFound,
)
from holdfast.request.handles import ConsumerList, Lock
from holdfast.store import Namespace, Store
from holdfast.store.direct import DirectBucket
from holdfast.store.opening import open_on
from holdfast.testing.disk import CountingDisk, Kind, SlowDisk
from holdfast.twins import READERS, WRITERS, Taken

TURNS = 100  # of the loop, a millisecond each, that every sync outlasts
STUCK_S = 20.0


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 100))


def aopen_on(disk: Disk) -> Taken[AsyncStore]:
    return twin_of(open_on)(disk, "data", clock=SystemClock(), entropy=SystemEntropy())


def synced_at(event: Event) -> Disk:
    """A disk whose syncs last until the event is set."""

    def wait(_: float) -> None:
        event.wait(STUCK_S)

    return SlowDisk(MemoryDisk(), 0.0, wait)


async def listed(keys: AsyncIterator[str]) -> list[str]:
    return [key async for key in keys]


# -- the face ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("twin", "face"),
    [
        (AsyncStore, Store),
        (AsyncNamespace, Namespace),
        (AsyncLock, Lock),
        (AsyncConsumers, ConsumerList),
        (AsyncBucket, DirectBucket),
    ],
)
def test_the_twin_has_what_the_face_has(twin: type, face: type) -> None:
    # Not offered, or the store's own.
    inner = {"mapping", "disown", "sync", "tokens", "access", "certifier", "certify_by", "searcher"}
    offered = {name for name in vars(face) if not name.startswith("_")} - inner
    assert offered <= set(dir(twin))
    assert [name for name in offered if not getattr(twin, name).__doc__] == []


def test_objects(tmp_path: Path) -> None:
    async def main() -> None:
        async with holdfast.aopen(tmp_path / "data", upkeep=False) as store:
            ns = store.namespace("acme")
            assert ns.name == "acme"
            receipt = await ns.put("a", b"12345", ttl="30d", content_type="text/plain")
            assert (await ns.stat("a")).version == receipt.version
            assert await ns.get("a", range=(1, 3)) == b"23"
            assert await ns.append("a", b"67") == 7
            session = await store.begin_session()
            for _ in range(2):
                assert await ns.numbered(session, 1).append("a", b"8") == 8
            assert [r.key for r in await ns.put_many([("b", b"1"), ("c", b"2")])] == ["b", "c"]
            assert await ns.get_many(["a", "x", "c"]) == [b"12345678", None, b"2"]
            await ns.put_soon("soon", b"1")
            assert await store.flush() == []
            assert await ns.exists("soon")
            await ns.delete("soon")
            await ns.put("p", b"1", permanent=True)
            await ns.release("p")
            consumers = ns.consumers("p")
            await consumers.set(["x"])
            await consumers.append(["y"])
            assert await consumers.remove(["x", "z"]) == ["z"]
            assert await consumers.list() == ["y"]
            assert await listed(ns.list()) == ["a", "b", "c", "p"]
            assert [stat.key async for stat in ns.entries("", limit=2)] == ["a", "b"]
            assert await store.namespaces() == ["acme"]
            place = await store.locate("acme", "a")
            bucket = store.bucket(place.bucket)
            assert bucket.id == place.bucket
            assert (await bucket.put("acme", "d", b"1")).bucket == bucket.id
            assert await bucket.get("acme", "d") == b"1"
            assert (await bucket.stat("acme", "d")).size == 1
            await store.drop_namespace("acme")
            assert await listed(ns.list()) == []

    run(main())


def test_upkeep(tmp_path: Path) -> None:
    async def main() -> None:
        store = await holdfast.aopen(tmp_path / "data", upkeep=False)
        await store.namespace("acme").put("a", bytes(100_000))
        await store.tick()
        await store.rebuild()
        assert (await store.collect("copying")).mode == "copying"
        assert (await store.status()).buckets
        assert await store.dead_letters() == []
        await store.backup(tmp_path / "backup")
        assert (await store.check()).ok
        await store.close()
        await store.close()
        holdfast.restore(tmp_path / "backup", tmp_path / "again")
        async with holdfast.aopen(tmp_path / "again") as again:
            assert await again.namespace("acme").get("a") == bytes(100_000)

    run(main())


def test_a_long_list_comes_in_order() -> None:
    async def main() -> None:
        async with holdfast.aopen(":memory:") as store:
            ns = store.namespace("acme")
            names = [f"k{number:05d}" for number in range(2_500)]
            await ns.put_many([(name, b"") for name in names])
            assert await listed(ns.list()) == names
            assert await listed(ns.list(limit=1_000)) == names[:1_000]
            assert await listed(ns.list(after="k02000")) == names[2_001:]
            left = ns.list()
            async for _ in left:
                break
            await left.aclose()

    run(main())


def test_errors_are_those_of_the_face() -> None:
    async def main() -> None:
        async with holdfast.aopen(":memory:") as store:
            ns = store.namespace("acme")
            with pytest.raises(NotFound):
                await ns.get("a")
            await ns.put("a", b"1")
            with pytest.raises(Exists):
                await ns.put("a", b"1", if_absent=True)
            with pytest.raises(InvalidKey):
                await ns.put("", b"1")
            with pytest.raises(InvalidNamespace):
                store.namespace("/")
            with pytest.raises(InvalidValue):
                ns.list(limit=-1)
            with pytest.raises(NotFound):
                store.bucket("none")
            with pytest.raises(InvalidValue):
                await ns.lock("a", wait=-1)
        with pytest.raises(InvalidValue):
            await holdfast.aopen(":memory:", bucket_bytes=1)

    run(main())


def test_a_closed_store_is_closed() -> None:
    async def main() -> None:
        store = await holdfast.aopen(":memory:")
        ns = store.namespace("acme")
        await store.close()
        for call in (ns.put("a", b"1"), ns.get("a"), store.status()):
            with pytest.raises(Closed):
                await call
        with pytest.raises(Closed):
            store.namespace("acme")
        with pytest.raises(Closed):
            async with store:
                pass

    run(main())


def test_what_closing_could_not_store_is_told_after_it() -> None:
    async def main() -> None:
        store = await holdfast.aopen(":memory:")
        ns = store.namespace("acme")
        await ns.put("a", b"1", permanent=True)
        await ns.put_soon("a", b"2")
        await store.close()
        assert [letter.code for letter in await store.dead_letters()] == ["permanent"]

    run(main())


def test_files(tmp_path: Path) -> None:
    async def main() -> None:
        data = bytes(range(256)) * 10_000
        async with holdfast.aopen(tmp_path / "data", bucket_bytes=1 << 20) as store:
            ns = store.namespace("acme")
            async with ns.open("a", "wb") as file:
                for at in range(0, len(data), 300_000):
                    await file.write(data[at : at + 300_000])
                assert not await ns.exists("a")
            async with ns.open("a", "rb") as file:
                assert await file.read(100) == data[:100]
            async with ns.open("a") as file:
                assert await file.read(1) == data[:1]
            async with ns.open("a", "rb") as file:
                assert await file.read(100) == data[:100]
                assert await file.seek(1 << 20) == await file.tell() == 1 << 20
                assert await file.read() == data[1 << 20 :]
                assert await file.read() == b""
            with contextlib.suppress(ZeroDivisionError):
                async with ns.open("a", "wb") as file:
                    await file.write(b"half")
                    raise ZeroDivisionError
            assert await ns.get("a") == data
            file = await ns.open("b", "wb")
            await file.close()
            assert await ns.get("b") == b""

    run(main())


def test_a_lock_is_waited_for_on_the_loop() -> None:
    """More wait for it than there are threads, and its holder can still write and release."""

    async def main() -> None:
        async with holdfast.aopen(":memory:") as store:
            ns = store.namespace("acme")
            held = 0

            async def hold() -> None:
                nonlocal held
                async with ns.lock("a", wait=60) as lock:
                    held += 1
                    assert held == 1
                    await ns.put("a", lock.id.encode(), fence=lock.fence)
                    await lock.renew()
                    held -= 1

            await asyncio.gather(*(hold() for _ in range(2 * WRITERS)))
            lock = await ns.lock("a")
            with pytest.raises(LockHeld):
                async with ns.lock("a"):
                    pass
            await ns.unlock("a", lock.id)
            with pytest.raises(LockLost):
                await lock.release()

    run(main())


def test_who_waits_for_a_lock_asks_once() -> None:
    async def main() -> None:
        async with holdfast.aopen(":memory:") as store:
            ns = store.namespace("acme")
            await ns.put("a", b"")
            await ns.configure(requests_per_s=2)
            await ns.lock("a")
            with pytest.raises(LockHeld):
                await ns.lock("a", wait=0.1)

    run(main())


# -- cancellation --------------------------------------------------------------------


def test_a_cancelled_write_is_carried_out() -> None:
    synced = Event()
    synced.set()

    async def main() -> None:
        async with aopen_on(synced_at(synced)) as store:
            ns = store.namespace("acme")
            synced.clear()
            tasks = [asyncio.create_task(ns.put(f"k{n:03d}", b"1")) for n in range(100)]
            await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(outcome, asyncio.CancelledError) for outcome in done)
            synced.set()
            for number in range(WRITERS):  # as many as there are threads: behind all the others
                await ns.put(f"l{number}", b"1")
            assert len(await listed(ns.list("k"))) == 100

    run(main())


def test_a_cancelled_lock_is_given_back() -> None:
    synced = Event()
    synced.set()

    async def main() -> None:
        async with aopen_on(synced_at(synced)) as store:
            ns = store.namespace("acme")
            synced.clear()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ns.lock("a", ttl=3600), 0.01)
            synced.set()
            async with ns.lock("a", wait=60):
                pass

    run(main())


def test_a_cancelled_open_lets_go_of_the_folder(tmp_path: Path) -> None:
    cancelled = Event()

    async def main() -> None:
        slow = twin_of(slow_open)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow(tmp_path / "data"), 0.01)
        cancelled.set()
        while True:
            with contextlib.suppress(InUse):
                async with holdfast.aopen(tmp_path / "data") as store:
                    await store.namespace("acme").put("a", b"1")
                    return

    def slow_open(path: Path, *, in_place: bool = True) -> Store:
        store = holdfast.open(path, in_place=in_place)
        cancelled.wait(STUCK_S)
        return store

    run(main())


def test_a_cancelled_open_leaves_no_thread(tmp_path: Path) -> None:
    async def main() -> None:
        for number in range(30):
            with contextlib.suppress(TimeoutError, holdfast.HoldfastError):
                await asyncio.wait_for(holdfast.aopen(tmp_path / "data"), number / 2_000)

    run(main())
    for thread in enumerate_threads():
        if thread.name.startswith("holdfast-aio"):
            thread.join(60)
            assert not thread.is_alive()


def test_a_cancelled_write_to_a_file_abandons_it() -> None:
    async def main() -> None:
        async with aopen_on(SlowDisk(MemoryDisk(), 0.05, time.sleep)) as store:
            ns = store.namespace("acme")

            async def write() -> None:
                async with ns.open("a", "wb") as file:
                    for _ in range(50):
                        await file.write(bytes(1 << 20))

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(write(), 0.3)
            assert not await ns.exists("a")
            await store.collect()
            assert (await store.status()).live_bytes < 1 << 20

    run(main())


def test_a_loop_that_ends_first_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    store: list[AsyncStore] = []
    synced = Event()
    synced.set()

    async def main() -> None:
        store.append(await aopen_on(synced_at(synced)))
        synced.clear()
        task = asyncio.create_task(store[0].namespace("acme").put("a", b"1"))
        await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(main())
    synced.set()
    while not store[0]._inner.namespace("acme").exists("a"):
        time.sleep(0.01)
    time.sleep(0.1)  # its thread finds no loop to tell
    run(store[0].close())
    gc.collect()
    assert caplog.records == []


# -- the loop ------------------------------------------------------------------------


class Turns:
    """Counts the loop's turns, and lets a disk wait for them.

    No clock judges the loop: a machine that stalls both lets both go on later.
    """

    def __init__(self) -> None:
        self.waits = 0
        self.stuck = False
        self._count = 0
        self._turned = Condition()

    async def count(self) -> None:
        while True:
            await asyncio.sleep(0.001)
            with self._turned:
                self._count += 1
                self._turned.notify_all()

    def wait(self, _: float) -> None:
        """In place of sleep: as long as the loop takes for its turns, for ever if it waits too."""
        with self._turned:
            last = self._count + TURNS
            self.waits += 1
            if not self.stuck:
                self.stuck = not self._turned.wait_for(lambda: self._count >= last, STUCK_S)


async def busy(ns: AsyncNamespace, number: int) -> None:
    """What a task of a server does: write, read, list."""
    await ns.put(f"k{number:03d}", bytes(1_000))
    assert await ns.get(f"k{number:03d}") == bytes(1_000)
    assert await ns.exists("k000") or number
    await listed(ns.list(limit=100))


async def work(disk: Disk) -> None:
    async with aopen_on(disk) as store:
        ns = store.namespace("acme")
        await asyncio.gather(*(busy(ns, number) for number in range(200)))
        await ns.put("large", bytes(3_000_000))


@pytest.mark.timeout(110)
def test_the_loop_goes_on_while_the_disk_syncs() -> None:
    """Whatever the disk takes: each sync here ends only when the loop has gone on."""
    turns = Turns()

    async def main() -> None:
        counting = asyncio.create_task(turns.count())
        await work(SlowDisk(MemoryDisk(), 0.0, turns.wait))
        counting.cancel()

    asyncio.run(main())
    assert turns.waits > 10
    assert not turns.stuck


def test_no_call_reaches_the_disk_on_the_loop() -> None:
    callers: set[int] = set()

    class Watched(CountingDisk):
        def before(self, kind: Kind) -> None:
            callers.add(get_ident())
            super().before(kind)

    disk = Watched(MemoryDisk())
    asyncio.run(work(disk))
    assert disk.calls["write"] > 10
    assert get_ident() not in callers


def test_what_runs_on_the_loop_only_hands_over() -> None:
    """Arguments are checked there; records, indexes and buckets are other threads' work."""
    package = Path(holdfast.__file__).parent
    rooms: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(package):
            rooms.add(path.relative_to(package).parts[0])

    async def main() -> None:
        disk = MemoryDisk()
        sys.setprofile(note)
        await work(disk)
        sys.setprofile(None)

    gc.collect()  # what other tests left is not to end here
    gc.disable()
    try:
        asyncio.run(main())
    finally:
        sys.setprofile(None)
        gc.enable()
    assert {"twins.py", "store"} <= rooms <= {"twins.py", "aio.py", "store", "request", "placement"}


def test_reads_are_calls_and_not_maps(tmp_path: Path) -> None:
    """A page that the disk must bring would hold the interpreter, and the loop with it."""

    async def main() -> None:
        async with holdfast.aopen(tmp_path / "data", bucket_bytes=1 << 16, upkeep=False) as store:
            ns = store.namespace("acme")
            await ns.put_many([(f"k{number}", bytes(1_000)) for number in range(300)])
            await store.tick(10)
            assert (
                await ns.get_many([f"k{number}" for number in range(300)]) == [bytes(1_000)] * 300
            )
            assert (await store.check()).ok
            buckets = list(store._inner.placement.directory)
            assert any(bucket.log.sealed for bucket in buckets)
            assert not any(bucket.log.maps for bucket in buckets)

    run(main())


def test_writers_share_commit_groups() -> None:
    disk, turns = CountingDisk(MemoryDisk()), Turns()

    async def main() -> None:
        counting = asyncio.create_task(turns.count())
        async with aopen_on(SlowDisk(disk, 0.0, turns.wait)) as store:
            ns = store.namespace("acme")
            await ns.put("warm", b"")
            disk.reset()
            await asyncio.gather(*(ns.put(f"k{number}", b"1") for number in range(320)))
        counting.cancel()

    run(main())
    assert disk.calls["sync"] <= 320 / WRITERS * 2 + 5


def test_reads_do_not_queue_behind_writes() -> None:
    synced = Event()
    synced.set()

    async def main() -> None:
        async with aopen_on(synced_at(synced)) as store:
            ns = store.namespace("acme")
            await ns.put("a", b"1")
            synced.clear()
            writes = [asyncio.create_task(ns.put(f"k{n}", b"1")) for n in range(4 * WRITERS)]
            await asyncio.sleep(0.01)
            for _ in range(10 * READERS):
                assert await ns.get("a") == b"1"
            assert not any(task.done() for task in writes)
            synced.set()
            await asyncio.gather(*writes)

    run(main())
