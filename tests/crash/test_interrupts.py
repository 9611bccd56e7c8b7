"""A Ctrl-C at every call that changes something, in every scenario: the store stays true.

Who is interrupted does not know what became of the write. What is seen of it afterwards
stays seen, what others were told stays, and the store goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from itertools import count, product
from threading import Thread
from types import FrameType

import pytest

from holdfast.bucket import fork
from holdfast.bucket.settings import Sync
from holdfast.engines.memory import MemoryDisk
from holdfast.engines.port import Buffer, File
from holdfast.errors import OutcomeUnknown, StorageFailed
from holdfast.store import Namespace
from holdfast.testing.clock import ManualClock
from holdfast.testing.disk import MUTATING, Around, AroundFile, Kind
from tests.crash.test_refusals import SCENARIOS, Book, copy_of, opened

WAIT_S = 60  # for a thread that is stalled, not stuck
STUCK = {fork.UNBORN, fork.UNMERGED}  # a bucket may only be read until it is opened again
LEAST_PLACES = 15  # in the shortest operation


class CtrlC(KeyboardInterrupt):
    """Not the real one, which would end the tests if it came through."""


class Interrupting(Around):
    """Raises at the nth call: ahead of it, or when it is carried out.

    Args:
        inner: the disk that does the work.
        at: the number of the call, from 1; 0 raises at none.
        behind: a write or a sync is carried out first.
        times: in how many calls in a row: the user is impatient.
    """

    armed = False

    def __init__(self, inner: MemoryDisk, at: int, *, behind: bool, times: int = 1) -> None:
        super().__init__(inner)
        self.calls = 0
        self.kinds: list[Kind] = []
        self._at, self._behind = range(at, at + times if at else 0), behind

    def before(self, kind: Kind) -> None:
        if not self.armed or kind not in MUTATING:
            return
        self.calls += 1
        if self.calls in self._at:
            self.kinds.append(kind)
            if not (self._behind and kind in {"write", "sync"}):
                raise CtrlC

    def behind(self, number: int) -> None:
        if self.armed and self._behind and number in self._at:
            raise CtrlC

    def write(self, file: File, offset: int, buffers: Sequence[Buffer]) -> int:
        written = super().write(file, offset, buffers)
        self.behind(self.calls)
        return written

    def around(self, path: str, file: File) -> File:
        del path
        return InterruptingFile(self, file)


class InterruptingFile(AroundFile):
    """A file of such a disk."""

    def sync(self) -> None:
        super().sync()
        disk = self._disk
        assert isinstance(disk, Interrupting)
        disk.behind(disk.calls)


class Notes(Book):
    """What was promised; a write that is interrupted is in doubt."""

    @contextmanager
    def writing(self, **after: bytes | None) -> Iterator[None]:
        keys = {key.replace("__", "/"): value for key, value in after.items()}
        doubted = {key: {self.promised.get(key), value} for key, value in keys.items()}
        for key in doubted.keys() & self.doubted.keys():
            doubted[key] |= self.doubted[key]
        try:
            yield
        except StorageFailed:
            return
        except (OutcomeUnknown, CtrlC):
            self.doubted |= doubted
            return
        for key in keys:
            self.doubted.pop(key, None)
        self.promise(keys)

    @contextmanager
    def trying(self) -> Iterator[None]:
        with suppress(StorageFailed, OutcomeUnknown, CtrlC):
            yield


def run(scenario: Callable[[Book], None], sync: Sync, disk: Interrupting) -> None:
    """Run a scenario, interrupted once; then judge what is left, here and opened again."""
    clock = ManualClock()
    store = opened(disk, clock, sync, 2)
    book = Notes(store, clock)
    disk.armed = True
    with suppress(CtrlC):
        scenario(book)
    disk.armed = False
    if not store._closed:
        for _ in range(2):  # the one may go on with what was interrupted
            store.tick(10)
        assert {b.broken for b in store.placement.directory} <= {None, *STUCK}
        with book.writing(again=b"it goes on"):
            book.space.put("again", b"it goes on")
    seen = judge(book)
    with book.trying():
        store.close()
    book.store = opened(disk, clock, sync, 3)
    again = judge(book)
    assert seen is None or again == seen
    book.space.put("after", b"it goes on")
    assert book.store.check().ok


def judge(book: Book) -> dict[str, bytes] | None:
    """What is there, held against the book; None of a store that is closed."""
    if book.store._closed:
        return None
    found = {key: book.space.get(key) for key in book.space.list()}
    for key in book.promised.keys() | book.doubted.keys() | found.keys():
        allowed = book.doubted.get(key, {book.promised.get(key)})
        assert found.get(key) in allowed, key
    return found


@pytest.fixture(scope="module")
def base() -> MemoryDisk:
    disk = MemoryDisk()
    with opened(disk, ManualClock(), "always", 1) as store:
        store.namespace("n").put_many(Book(store, ManualClock()).promised)
    return disk


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("sync", ["always", "interval"])
def test_every_call(base: MemoryDisk, scenario: Callable[[Book], None], sync: Sync) -> None:
    quiet = Interrupting(copy_of(base), 0, behind=False)
    run(scenario, sync, quiet)
    for number in range(1, quiet.calls + 1):
        for behind, times in product((False, True), (1, 2)):
            disk = Interrupting(copy_of(base), number, behind=behind, times=times)
            try:
                run(scenario, sync, disk)
            except BaseException as failure:
                told = f"call {number}, {disk.kinds}, behind={behind}"
                raise AssertionError(told) from failure


# -- at every place where the interpreter looks for one ------------------------------


OPERATIONS: dict[str, Callable[[Namespace], object]] = {
    "put": lambda ns: ns.put("a", b"two"),
    "put with a time to live": lambda ns: ns.put("a", b"two", ttl=60),
    "put of many": lambda ns: ns.put_many({"a": b"two", "b": b"two", "c": b"two"}),
    "atomic put": lambda ns: ns.put_many({"a": b"two", "b": b"two"}, atomic=True),
    "puts that begin a segment": lambda ns: [ns.put(key, b"two" * 4_000) for key in "abcd"],
    "append": lambda ns: ns.append("a", b"two"),
    "delete": lambda ns: ns.delete("a"),
    "lock": lambda ns: ns.lock("a", ttl=30),
    "consumers": lambda ns: ns.consumers("a").set(["x"]),
}


class AtPlace:
    """Raises at the nth place where the interpreter looks for signals: calls, returns from C.

    Args:
        at: the number of the place, from 1.
        within: the name of the function in which places count; all do, if there is none.
    """

    def __init__(self, at: int, within: str = "") -> None:
        self.seen = 0
        self._at = at
        self._within = within
        self._counts = not within

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if code.co_name == self._within:
            self._counts = event != "return"
        if (
            not self._counts
            or event not in {"call", "c_return"}
            or "holdfast" not in code.co_filename
        ):
            return
        if code.co_name != "<genexpr>":  # that is called to be closed, too, and tells nobody
            self.seen += 1
            if self.seen == self._at:
                raise CtrlC

    def run(self, call: Callable[[], object]) -> None:
        """Call it; CtrlC if there are so many places."""
        sys.setprofile(self)
        try:
            call()
        finally:
            sys.setprofile(None)


@pytest.mark.parametrize("sync", ["always", "interval"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_place(name: str, sync: Sync) -> None:
    """Whoever is interrupted, anywhere: others write, and nothing that was seen changes."""
    _interrupt_everywhere(AtPlace, OPERATIONS[name], sync)


@pytest.mark.parametrize("sync", ["always", "interval"])
@pytest.mark.parametrize(("key", "within"), [(b"n\0~", "roll"), (b"n\0a", "split")])
def test_every_place_of_a_split(key: bytes, within: str, sync: Sync) -> None:
    """What the log has decided is carried out, or the parent takes no writes that would be lost."""
    _interrupt_everywhere(partial(AtPlace, within=within), partial(_grow, key), sync)


@pytest.mark.parametrize("sync", ["always", "interval"])
@pytest.mark.parametrize("within", ["_put_rows", "_take_in"])
def test_every_place_of_a_merge_that_is_decided(within: str, sync: Sync) -> None:
    """Neither bucket takes what nobody would read again."""
    split = partial(_grow, b"n\0a")
    _interrupt_everywhere(partial(AtPlace, within=within), _shrink, sync, before=split)


@pytest.mark.parametrize("sync", ["always", "interval"])
def test_every_place_of_what_upkeep_writes(sync: Sync) -> None:
    """Who is interrupted in one lot does not wait for ever for what he gathered before."""
    _interrupt_everywhere(partial(AtPlace, within="apply_in_lots"), _move, sync, before=_fill)


def _shrink(ns: Namespace) -> None:
    """Merge what was split."""
    assert ns._corridor.placement.shrink() == 1


def _fill(ns: Namespace) -> None:
    """Two lots and more that are worth moving."""
    ns.put_many({f"m{number:02}": b"value" for number in range(10)})
    ns.put_many({f"y{number:02}": bytes(3_000) for number in range(10)})
    for number in range(10):
        ns.delete(f"y{number:02}")


def _move(ns: Namespace) -> None:
    ns._store.collect("compacting")


def _grow(key: bytes, ns: Namespace) -> None:
    """Roll or split the bucket where a key belongs."""
    placement = ns._corridor.placement
    placement.grow(placement.directory.find(key), key)


def _interrupt_everywhere(
    at_place: Callable[[int], AtPlace],
    operation: Callable[[Namespace], object],
    sync: Sync,
    before: Callable[[Namespace], object] = lambda _: None,
) -> None:
    """At each place in turn, until there are no more."""
    for at in count(1):
        raising = at_place(at)
        try:
            _interrupt(raising, operation, sync, before)
        except BaseException as failure:
            told = f"place {at}"
            raise AssertionError(told) from failure
        if raising.seen < at:
            assert at > LEAST_PLACES
            return


def _interrupt(
    raising: AtPlace,
    operation: Callable[[Namespace], object],
    sync: Sync,
    before: Callable[[Namespace], object],
) -> None:
    disk, clock = MemoryDisk(), ManualClock()
    store = opened(disk, clock, sync, 1)
    ns = store.namespace("n")
    ns.put_many({"a": b"one", "k": b"one", "z": b"one"})
    before(ns)
    with suppress(CtrlC):
        raising.run(lambda: operation(ns))
    store.tick(10)  # what is left half visible is derived again
    unborn = bool(STUCK & {bucket.broken for bucket in store.placement.directory})
    other = Thread(target=partial(_put, ns, "~other", unborn=unborn), daemon=True)
    other.start()
    other.join(WAIT_S)
    assert not other.is_alive(), "another thread waits for ever"
    _put(ns, "mine", unborn=unborn)
    seen = {key: ns.get(key) for key in ns.list()}
    assert ns.get("k") == b"one"
    assert seen.keys() >= {"k", "z"} | (set() if unborn else {"mine", "~other"})
    assert store.check().ok
    with suppress(StorageFailed):
        store.close()
    with opened(disk, clock, sync, 2) as store:
        ns = store.namespace("n")
        assert {key: ns.get(key) for key in ns.list()} == seen
        assert store.check().ok


def _put(ns: Namespace, key: str, *, unborn: bool) -> None:
    """A put; refused, for now, where a split that was decided could not be carried out."""
    with suppress(StorageFailed) if unborn else nullcontext():
        ns.put(key, b"1")
