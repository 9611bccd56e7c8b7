"""Many threads in a store that grows, shrinks, absorbs and collects beneath them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

import holdfast
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.engines.disk import OsDisk
from holdfast.engines.port import Disk
from holdfast.errors import Changed, Closed, LockHeld, NotFound
from holdfast.store.namespace import Namespace
from holdfast.store.opening import open_on
from holdfast.store.store import Store
from holdfast.testing.disk import CountingDisk, Kind
from tests.growth.growing import LEAST

STUCK_S = 60

pytestmark = pytest.mark.push


class Crew:
    """Threads whose failures fail the test, and which must end."""

    def __init__(self) -> None:
        self.failures: list[BaseException] = []
        self.ending = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, work: Callable[[], object], *, forever: bool = False) -> None:
        """Begin to do ``work``, once or until the others are done."""

        def run() -> None:
            try:
                work()
                while forever and not self.ending.is_set():
                    work()
            except BaseException as failure:  # noqa: BLE001 - told by ``end``
                self.failures.append(failure)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.forever = forever  # type: ignore[attr-defined]
        thread.start()

    def end(self) -> None:
        """Wait for all; what failed first is raised."""
        for thread in self._threads:
            if not thread.forever:  # type: ignore[attr-defined]
                thread.join(STUCK_S)
        self.ending.set()
        for thread in self._threads:
            thread.join(STUCK_S)
            assert not thread.is_alive(), "a thread is stuck"
        if self.failures:
            raise self.failures[0]


@contextmanager
def crew() -> Iterator[Crew]:
    made = Crew()
    yield made
    made.end()


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    where = ":memory:" if request.param == "memory" else str(tmp_path / "data")
    with holdfast.open(where, bucket_bytes=LEAST, sync="never", upkeep=True) as opened:
        yield opened


class Owner:
    """A thread with keys of its own: it alone knows what they must hold."""

    def __init__(self, ns: Namespace, number: int, steps: int) -> None:
        self._ns = ns
        self._chance = Random(number)
        self._mark = str(number)
        self._steps = steps
        self._model: dict[str, bytes] = {}

    def __call__(self) -> None:
        doings = (self._put, self._put, self._put_many, self._append, self._delete, self._get)
        for step in range(self._steps):
            self._chance.choice(doings)(self._key(), step)
            if step % 50 == 49:
                self._list()
        for key, value in self._model.items():
            assert self._ns.get(key) == value

    def _key(self) -> str:
        return f"{self._chance.choice('abcd')}{self._mark}/{self._chance.randrange(100):03d}"

    def _put(self, key: str, step: int) -> None:
        value = f"{key} {step} ".encode() * self._chance.randrange(1, 50)
        self._ns.put(key, value)
        self._model[key] = value

    def _put_many(self, _key: str, step: int) -> None:
        pairs = {self._key(): f"{step}".encode() * 100 for _ in range(10)}
        self._ns.put_many(list(pairs.items()))
        self._model.update(pairs)

    def _append(self, key: str, step: int) -> None:
        total = self._ns.append(key, f"+{step}".encode())
        self._model[key] = self._model.get(key, b"") + f"+{step}".encode()
        assert total == len(self._model[key])

    def _delete(self, key: str, _step: int) -> None:
        self._ns.delete(key, missing_ok=True)
        self._model.pop(key, None)

    def _get(self, key: str, _step: int) -> None:
        try:
            found = self._ns.get(key)
        except NotFound:
            found = None
        assert found == self._model.get(key)

    def _list(self) -> None:
        prefix = f"{self._chance.choice('abcd')}{self._mark}/"
        mine = sorted(key for key in self._model if key.startswith(prefix))
        assert list(self._ns.list(prefix)) == mine


def test_owners_of_keys_see_what_they_wrote_while_everything_moves(store: Store) -> None:
    ns = store.namespace("acme")

    def grow_and_shrink() -> None:
        keys = [f"m{number:05d}" for number in range(600)]
        for key in keys:
            ns.put(key, b"x" * 300)
        for key in keys:
            ns.delete(key)

    def look_after() -> None:
        store.collect()
        store.tick()
        assert sum(bucket.keys for bucket in store.status().buckets) >= 0
        assert store.check().problems == ()

    with crew() as threads:
        for number in range(8):
            threads.start(Owner(ns, number, 400))
        threads.start(grow_and_shrink)
        threads.start(look_after, forever=True)
        threads.start(lambda: list(ns.list()), forever=True)
    assert store.upkeep.failures == []
    assert store.check().problems == ()


def test_streams_go_on_while_their_segments_are_collected(store: Store) -> None:
    ns = store.namespace("acme")
    size = 3 << 20

    def stream(number: int) -> None:
        for turn in range(3):
            data = Random(f"{number} {turn}").randbytes(size)
            with ns.open(f"large/{number}", "wb") as file:
                for at in range(0, size, 300_000):
                    file.write(data[at : at + 300_000])
            with ns.open(f"large/{number}", "rb") as file:
                pieces = []
                while piece := file.read(200_000):
                    pieces.append(piece)
            assert b"".join(pieces) == data

    with crew() as threads:
        for number in range(3):
            threads.start(lambda number=number: stream(number))  # type: ignore[misc]
        threads.start(store.collect, forever=True)
    assert store.check().problems == ()


def test_a_large_object_is_read_whole_or_not_while_it_is_replaced(store: Store) -> None:
    ns = store.namespace("acme")
    values = [Random(number).randbytes((2 << 20) + number) for number in range(3)]
    ns.put("large", values[0])

    def replace() -> None:
        for turn in range(30):
            ns.put("large", values[turn % 3])

    def read() -> None:
        try:
            assert ns.get("large") in values
            file = ns.open("large", "rb")
            assert b"".join(iter(lambda: file.read(400_000), b"")) in values
        except Changed:
            return

    with crew() as threads:
        threads.start(replace)
        threads.start(store.collect, forever=True)
        threads.start(read, forever=True)
        threads.start(read, forever=True)
    assert ns.get("large") == values[2]
    assert store.check().problems == ()


def test_collecting_from_many_threads_ends(store: Store) -> None:
    ns = store.namespace("acme")
    with crew() as threads:
        for mode in ("auto", "copying", "compacting"):
            threads.start(lambda mode=mode: store.collect(mode), forever=True)  # type: ignore[misc]
        threads.start(store.tick, forever=True)
        for number in range(2):
            threads.start(Owner(ns, number, 300))
    assert store.check().problems == ()


def test_closing_under_writers_answers_closed_and_nothing_else(tmp_path: Path) -> None:
    for sync in ("always", "interval", "never"):
        path = tmp_path / sync
        store = holdfast.open(path, bucket_bytes=LEAST, sync=sync, upkeep=True)
        ns = store.namespace("acme")
        written: dict[int, int] = {}

        def write(number: int, ns: Namespace = ns, written: dict[int, int] = written) -> None:
            for step in range(1_000_000):
                try:
                    ns.put(f"{number}", b"%d" % step)
                    ns.get(f"{number}")
                except Closed:
                    return
                written[number] = step

        with crew() as threads:
            for number in range(6):
                threads.start(lambda number=number: write(number))  # type: ignore[misc]
            time.sleep(0.2)
            store.close()
        with holdfast.open(path, upkeep=False) as again:
            for number, step in written.items():
                assert int(again.namespace("acme").get(f"{number}")) in {step, step + 1}
            assert again.check().problems == ()


class GatheringDisk(CountingDisk):
    """Syncs take until all who write are at it: how many share one is not left to the machine."""

    def __init__(self, inner: Disk) -> None:
        super().__init__(inner)
        self.writers = 0  # not yet done
        self._writing = 0  # of these, in a call
        self._changed = threading.Condition()

    def before(self, kind: Kind) -> None:
        super().before(kind)
        if kind == "sync":
            with self._changed:
                self._changed.wait_for(lambda: self._writing == self.writers, STUCK_S)

    @contextmanager
    def writing(self, *, last: bool) -> Iterator[None]:
        """Around each call of a writer."""
        with self._changed:
            self._writing += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._writing -= 1
                self.writers -= last
                self._changed.notify_all()


def test_durable_puts_of_many_threads_share_their_syncs(tmp_path: Path) -> None:
    disk = GatheringDisk(OsDisk())
    store = open_on(disk, str(tmp_path / "data"), clock=SystemClock(), entropy=SystemEntropy())
    ns = store.namespace("acme")
    disk.reset()
    disk.writers = 64

    def put(number: int) -> None:
        for step in range(100):
            with disk.writing(last=step == 99):
                ns.put(f"{number}-{step}", b"x" * 100)

    with crew() as threads:
        for number in range(64):
            threads.start(lambda number=number: put(number))  # type: ignore[misc]
    assert disk.calls["sync"] + disk.calls["sync_folder"] <= 1_600
    assert sum(bucket.keys for bucket in store.status().buckets) == 6_400
    store.close()


def test_soon_keeps_the_order_of_each_key(store: Store) -> None:
    ns = store.namespace("acme")

    def put(number: int) -> None:
        for step in range(500):
            ns.put_soon(f"{number}/{step % 7}", b"%d" % step)

    with crew() as threads:
        for number in range(4):
            threads.start(lambda number=number: put(number))  # type: ignore[misc]
        threads.start(store.collect, forever=True)
    assert store.flush() == []
    for number in range(4):
        for rest in range(7):
            assert int(ns.get(f"{number}/{rest}")) == max(s for s in range(500) if s % 7 == rest)


def test_a_lock_is_waited_for_and_never_has_two_holders(store: Store) -> None:
    ns = store.namespace("acme")
    holders: list[int] = []
    fences: list[int] = []

    def work(number: int) -> None:
        for _ in range(10):
            with ns.lock("shared", ttl=3_600, wait=STUCK_S) as lock:
                holders.append(number)
                assert holders == [number]
                fences.append(lock.fence)
                ns.put("shared", b"%d" % number, fence=lock.fence)
                holders.clear()

    with crew() as threads:
        for number in range(6):
            threads.start(lambda number=number: work(number))  # type: ignore[misc]
        threads.start(store.tick, forever=True)
    assert fences == sorted(set(fences))
    with ns.lock("shared"), pytest.raises(LockHeld):
        ns.lock("shared", wait=0.01)
