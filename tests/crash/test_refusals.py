"""A disk that refuses the nth call, in every scenario, for every n (rule 1).

A call that fails raises a typed error or succeeds, what was acknowledged stays,
what failed is not there, and the store goes on, at the latest when it is opened
again.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from holdfast.bucket.settings import Sync
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Disk
from holdfast.errors import HoldfastError, NotFound, OutcomeUnknown, StorageFailed
from holdfast.store import Namespace, Store
from holdfast.store.opening import open_on
from holdfast.testing.clock import ManualClock, SeededEntropy
from holdfast.testing.disk import FOREVER, MUTATING, READING, FailingDisk

BUCKET = 64 << 10
SECOND_NS = 1_000_000_000
BASE = {f"base/{number:02d}": bytes([number]) * 700 for number in range(30)}


class Armed(FailingDisk):
    """Begins to count and to refuse when it is told to."""

    armed = False

    def before(self, kind: str) -> None:
        if self.armed:
            super().before(kind)  # type: ignore[arg-type]


@dataclass
class Book:
    """What was promised, and what may be besides, by key."""

    store: Store
    clock: ManualClock
    promised: dict[str, bytes] = field(default_factory=lambda: dict(BASE))
    doubted: dict[str, set[bytes | None]] = field(default_factory=dict)

    @property
    def space(self) -> Namespace:
        return self.store.namespace("n")

    @contextmanager
    def writing(self, **after: bytes | None) -> Iterator[None]:
        """What the block writes; a typed refusal ends it quietly."""
        keys = {key.replace("__", "/"): value for key, value in after.items()}
        try:
            yield
        except StorageFailed:
            return
        except OutcomeUnknown:
            for key, value in keys.items():
                self.doubted.setdefault(key, {self.promised.get(key)}).add(value)
            return
        self.promise(keys)

    def promise(self, keys: Mapping[str, bytes | None]) -> None:
        """What was written; None: deleted."""
        for key, value in keys.items():
            if value is None:
                self.promised.pop(key, None)
            else:
                self.promised[key] = value

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Upkeep and reads: a typed refusal is fine."""
        try:
            yield
        except (StorageFailed, OutcomeUnknown):
            return


def put(book: Book) -> None:
    with book.writing(a=b"one"):
        book.space.put("a", b"one")
    with book.writing(base__03=b"two"):
        book.space.put("base/03", b"two", ttl=3_000)


def put_until_it_rolls(book: Book) -> None:
    for number in range(6):
        value = bytes([number]) * 12_000
        with book.writing(**{f"z{number}": value}):
            book.space.put(f"z{number}", value)


def put_until_it_splits(book: Book) -> None:
    for number in range(6):
        value = bytes([number]) * 12_000
        with book.writing(**{f"base__0{number}": value}):
            book.space.put(f"base/0{number}", value)
    with book.trying():
        book.store.tick(10)


def put_many(book: Book) -> None:
    with book.writing(a=b"1", b=b"2", base__01=b"3"):
        book.space.put_many({"a": b"1", "b": b"2", "base/01": b"3"}, atomic=True)


def append(book: Book) -> None:
    for _ in range(3):
        with book.writing(base__02=book.promised["base/02"] + b"more"):
            book.space.append("base/02", b"more")


def append_until_it_joins(book: Book) -> None:
    for number in range(70):
        with book.writing(c=book.promised.get("c", b"") + bytes([number])):
            book.space.append("c", bytes([number]))


def delete(book: Book) -> None:
    for key in ("base/04", "base/05"):
        with book.writing(**{key.replace("/", "__"): None}):
            book.space.delete(key)


def consumers(book: Book) -> None:
    with book.trying():
        book.space.consumers("base/06").set(["a", "b"])
    with book.trying():
        book.space.consumers("base/06").remove(["a"])


def locks(book: Book) -> None:
    with book.trying():
        lock = book.space.lock("base/07", ttl=30)
        with book.writing(base__07=b"fenced"):
            book.space.put("base/07", b"fenced", fence=lock.fence)
        lock.release()


def large_value(book: Book) -> None:
    value = b"large" * 250_000
    with book.writing(base__08=value):
        book.space.put("base/08", value)


def stream(book: Book) -> None:
    value = b"stream" * 200_000
    with book.writing(d=value), book.space.open("d", "wb") as file:
        file.write(value[:700_000])
        file.write(value[700_000:])


def expire(book: Book) -> None:
    with book.trying():
        book.space.put("e", b"brief", ttl=5)
    book.clock.advance(6 * SECOND_NS)
    for _ in range(2):
        with book.trying():
            book.store.tick(10)


def collect_copying(book: Book) -> None:
    _overwrite_much(book)
    with book.trying():
        book.store.collect("copying")
    with book.trying():
        book.store.collect("copying")


def collect_compacting(book: Book) -> None:
    _overwrite_much(book)
    with book.trying():
        book.store.collect("compacting")


def merge(book: Book) -> None:
    for number in range(6):
        value = bytes([number]) * 12_000
        with book.writing(**{f"z{number}": value}):
            book.space.put(f"z{number}", value)
    for number in range(6):
        if f"z{number}" in book.promised:
            with book.writing(**{f"z{number}": None}), _missing_is_fine():
                book.space.delete(f"z{number}")
    with book.trying():
        book.store.collect()


def rebuild(book: Book) -> None:
    with book.trying():
        book.store.rebuild()


def check(book: Book) -> None:
    with book.trying():
        book.store.check()


def flush(book: Book) -> None:
    with book.writing(f=b"flushed"):
        book.space.put("f", b"flushed")
    with book.trying():
        book.store.flush()


def status_and_lists(book: Book) -> None:
    with book.trying():
        book.store.status()
    with book.trying():
        assert list(book.space.list("base/")) == sorted(BASE)
    for key, value in list(BASE.items())[::7]:
        with book.trying():
            assert book.space.get(key) == value


def close_and_open(book: Book) -> None:
    with book.writing(g=b"last"):
        book.space.put("g", b"last")
    with book.trying():
        book.store.close()


def drop_namespace(book: Book) -> None:
    other = book.store.namespace("other")
    with book.trying():
        other.put_many({f"k{number}": b"x" for number in range(20)})
    with book.trying():
        book.store.drop_namespace("other")


def _overwrite_much(book: Book) -> None:
    for number in range(20):
        value = bytes([number]) * 4_000
        with book.writing(base__09=value):
            book.space.put("base/09", value)


@contextmanager
def _missing_is_fine() -> Iterator[None]:
    try:
        yield
    except NotFound:
        return


SCENARIOS: list[Callable[[Book], None]] = [
    put,
    put_until_it_rolls,
    put_until_it_splits,
    put_many,
    append,
    append_until_it_joins,
    delete,
    consumers,
    locks,
    large_value,
    stream,
    expire,
    collect_copying,
    collect_compacting,
    merge,
    rebuild,
    check,
    flush,
    status_and_lists,
    close_and_open,
    drop_namespace,
]


def opened(disk: Disk, clock: ManualClock, sync: Sync, seed: int) -> Store:
    return open_on(
        disk,
        "store",
        sync=sync,
        bucket_bytes=BUCKET,
        clock=clock,
        entropy=SeededEntropy(seed),
    )


@pytest.fixture(scope="module")
def base() -> MemoryDisk:
    disk = MemoryDisk()
    with opened(disk, ManualClock(), "always", 1) as store:
        store.namespace("n").put_many(BASE)
    return disk


def run(scenario: Callable[[Book], None], sync: Sync, armed: Armed) -> Book:
    """Run a scenario on a disk that refuses; then judge what is left, refusing nothing."""
    clock = ManualClock()
    store = opened(armed, clock, sync, 2)
    book = Book(store, clock)
    armed.armed = True
    scenario(book)
    armed.armed = False
    if sync == "always":
        judge(book, again=False)
    with book.trying():
        store.close()
    book.store = opened(armed, clock, sync, 3)
    judge(book, again=True)
    book.space.put("after", b"it goes on")
    assert book.store.check().ok
    return book


def judge(book: Book, *, again: bool) -> None:
    """Hold what is there against the book; in doubt means nothing before it is opened again."""
    try:
        keys = set(book.space.list())
    except HoldfastError:
        if again:
            raise
        return
    for key in book.promised.keys() | book.doubted.keys() | keys:
        allowed = book.doubted.get(key, {book.promised.get(key)})
        found = book.space.get(key) if key in keys else None
        assert found in allowed | {book.promised.get(key)}, key


ERRORS = [(errno.EIO, False), (errno.ENOSPC, False), (errno.EIO, True)]


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("sync", ["always", "interval"])
def test_every_call_that_changes_something(
    base: MemoryDisk, scenario: Callable[[Book], None], sync: Sync
) -> None:
    everything(base, scenario, sync, MUTATING)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_call_that_reads(base: MemoryDisk, scenario: Callable[[Book], None]) -> None:
    everything(base, scenario, "always", READING)


def everything(
    base: MemoryDisk, scenario: Callable[[Book], None], sync: Sync, kinds: frozenset[str]
) -> None:
    quiet = Armed(copy_of(base), 0, kinds=kinds)  # type: ignore[arg-type]
    run(scenario, sync, quiet)
    for number in range(1, quiet.calls + 1):
        for error, short in ERRORS if kinds is MUTATING else ERRORS[:1]:
            for times in (1, FOREVER):
                disk = Armed(
                    copy_of(base),
                    number,
                    error=error,
                    short=short,
                    times=times,
                    kinds=kinds,  # type: ignore[arg-type]
                    seed=number,
                )
                try:
                    run(scenario, sync, disk)
                except Exception as failure:
                    told = f"call {number}, {errno.errorcode[error]}, short={short}, {times} times"
                    raise AssertionError(told) from failure


def copy_of(disk: MemoryDisk) -> MemoryDisk:
    from holdfast.testing.platter import copy_tree  # noqa: PLC0415

    return MemoryDisk(copy_tree(disk.root, {}))
