"""The life of one LMDB environment: opened on demand, parked, grown, read by generations.

Read transactions live in *generations*. Idle ones wait in a ``Readers`` list,
used as a stack: ``pop`` and ``append`` are atomic. A commit, a growth and a park
each begin a new generation: the list is replaced first, then the old one is
drained. A reader in use at that moment is put back on the list it came from, by
someone who then sees that this list is no longer the newest and drains it again.
So no snapshot stays pinned, and whoever reads after a commit returned sees it.

A park or a growth waits until every reader in use has come back: each reads one page of
a list or one slice, and whoever wants the next one waits at the gate. To close an
environment, or to map it elsewhere, while a cursor reads in it ends the process.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock
from typing import Final, TypeAlias, TypeVar, cast
from weakref import ref

import lmdb

from holdfast.engines.heap import give_back
from holdfast.errors import Corrupt, Moved
from holdfast.limits import MIB
from holdfast.views.lmdb_judged import Changed, Judgement, Pages
from holdfast.views.lmdb_open import (
    Handles,
    Paths,
    judged,
    judgement,
    keep_sums,
    open_environment,
    translated,
    verify,
)
from holdfast.views.lmdb_shrink import copied, is_worth, take_place
from holdfast.views.open_views import OpenViews
from holdfast.views.port import Table

# A map is address space, not memory and not disk: 256 open views of 64 MiB take
# 16 GiB of 128 TiB. A first map this large spares small views every growth.
MAP_BYTES: Final = 64 * MIB
ROOM: Final = 4  # times what a file holds: a commit may write every page anew, and twice as many
AT_ONCE_BYTES: Final = 64 * MIB  # of a file that is judged before anything is read: some 30 ms
MANY_ROWS: Final = 4_096  # of a commit: their pages may take 16 MiB
BLOCK_BYTES: Final = 512  # as ``stat`` counts
READERS: Final = 64  # read transactions alive at once; LMDB has room for 126
CROWDED_S: Final = 0.001

# Transaction.get of a read transaction, which stands for the reader itself.
Get = Callable[..., bytes | None]
Transaction: TypeAlias = "lmdb.Transaction[bytes]"  # a name of the stub only
T = TypeVar("T")


class Readers(list[Get]):
    """The idle readers of one generation, with the environment and the tables they read."""

    __slots__ = ("environment", "handles")

    def __init__(self, environment: lmdb.Environment | None, handles: Handles) -> None:
        super().__init__()
        self.environment = environment
        self.handles = handles

    def drain(self) -> None:
        """End every idle reader."""
        while True:
            try:
                end(self.pop())
            except IndexError:
                return


class Unopened(Readers):
    """The generation of an environment that is not open: whoever wants a reader opens it."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(None, (None,) * (len(Table) + 1))


class Absent(Unopened):
    """The generation of an environment that was never written: its one reader finds nothing."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.append(_nothing)


class Judging(Unopened):
    """The generation of a large file that is judged while it is read: LMDB comes later."""

    __slots__ = ("judgement",)

    def __init__(self, judgement: Judgement) -> None:
        super().__init__()
        self.judgement = judgement


def _nothing(_key: bytes, _default: None = None, _handle: None = None) -> bytes | None:
    return None


def transaction_of(reader: Get) -> Transaction:
    """The read transaction behind a reader."""
    held: Transaction = reader.__self__  # type: ignore[attr-defined]
    return held


def end(reader: Get) -> None:
    """Give a reader's snapshot and its slot back."""
    if reader is not _nothing:
        transaction_of(reader).abort()


def _is_over(transaction: Transaction | None) -> bool:
    """Whether a read transaction has ended, though an error that was raised may still hold it."""
    try:
        return transaction is None or transaction.id() < 0
    except lmdb.Error:
        return True


class LmdbLife:
    """What readers and writers of one environment share.

    ``writing`` is held for the whole of a write, and by whoever must not meet one.
    The gate is held for moments: to open, close, grow, and to begin a reader. They
    are taken in that order.

    Args:
        folder: of this environment alone; made by the first write.
        map_bytes: of the first map.
        among: the bound on open views that this one keeps with others.
        at_once_bytes: of a data file that is judged while it is read, if it is as large.
    """

    def __init__(
        self,
        folder: str,
        *,
        map_bytes: int = MAP_BYTES,
        among: OpenViews | None = None,
        at_once_bytes: int = AT_ONCE_BYTES,
    ) -> None:
        self._among = among if among is not None else OpenViews(1)
        self.paths = Paths.of(folder)
        self.writing = Lock()
        self._gate = Lock()
        self._readers: Readers = Unopened()
        self._alive: list[ref[Transaction]] = []
        self._map_bytes = map_bytes
        self._at_once_bytes = at_once_bytes
        self._closed = False
        self.damage: Corrupt | None = None  # found when pages were judged, or read
        self._known: tuple[int, ...] | None = None  # the file as we verified or wrote it

    # -- reading ----------------------------------------------------------------

    def use(self, work: Callable[[Transaction, Handles], T], absent: T) -> T:
        """Do ``work`` within one read transaction; ``absent`` where nothing was ever written.

        Work that a park or a growth interrupts is done again.

        Raises:
            Corrupt, StorageFailed: the environment cannot be read.
            Moved: the view was closed, as its bucket was merged away or handed over.
        """
        while True:
            taken = self._take()
            if taken is None:
                return absent
            readers, reader = taken
            if isinstance(readers, Judging):
                with suppress(Changed):
                    return self._judged(readers, work)
                self._leave(readers)
                continue
            try:
                answer = work(transaction_of(reader), readers.handles)
            except lmdb.Error as error:
                end(reader)
                if readers is self._readers:
                    raise judged(error, "view") from error
                continue
            except BaseException:
                end(reader)
                raise
            readers.append(reader)
            if readers is not self._readers:
                readers.drain()
            return answer

    def _judged(self, readers: Judging, work: Callable[[Transaction, Handles], T]) -> T:
        """Do ``work`` with pages that are judged as they are read, and judge some more."""
        judging = readers.judgement
        with translated("view file"):
            try:
                return judging.ask(cast("Callable[[Pages, Handles], T]", work))
            finally:
                self._go_on(readers)

    def _leave(self, readers: Judging, known: tuple[int, ...] | None = None) -> None:
        """End a judgement: all is judged, or somebody wrote the file and it is to begin anew."""
        with self._gate:
            if self._readers is readers:
                self._readers = Unopened()
                self._known = known

    def _judge_all(self) -> None:
        """See to it that all of the file is judged. Without the gate: readers go on meanwhile."""
        with self._gate:
            if type(self._readers) is Unopened:
                self._open(create=False)
            readers = self._readers
        if not isinstance(readers, Judging):
            return
        with translated("view file"), suppress(Changed):
            while self._readers is readers:
                self._go_on(readers, wait=True)
                if self.damage is not None:
                    raise self.damage
        self._leave(readers)

    def _go_on(self, readers: Judging, *, wait: bool = False) -> None:
        judging = readers.judgement
        if judging.go_on(wait=wait):
            self._leave(readers, judging.identity)
        self.damage = judging.damage

    def _take(self) -> tuple[Readers, Get] | None:
        """An idle reader of the newest generation, or a new one; None where nothing was written."""
        while True:
            readers = self._readers
            if isinstance(readers, Absent):
                return None
            if isinstance(readers, Judging):
                return readers, _nothing
            try:
                return readers, readers.pop()
            except IndexError:
                pass
            with self._gate:
                reader = self._begin(readers) if readers is self._readers else None
                crowded = reader is None and readers is self._readers
            if reader is not None:
                return readers, reader
            if crowded:  # every reader is in use: wait for one without asking a clock
                Event().wait(CROWDED_S)

    def _begin(self, readers: Readers) -> Get | None:
        """A new reader; None where there is no room, or where a new generation began instead."""
        if readers.environment is None:
            self._open(create=False)
            return None
        self._alive = [one for one in self._alive if one() is not None]
        if len(self._alive) >= READERS:
            return None
        try:
            transaction = readers.environment.begin(db=readers.handles[Table.KEYS])
        except lmdb.MapResizedError:
            self._adopt(readers.environment)
            return None
        except lmdb.ReadersFullError:  # slots of processes that died
            readers.environment.reader_check()
            return None
        except lmdb.Error as error:
            raise judged(error, "view") from error
        self._alive.append(ref(transaction))
        return transaction.get

    def _adopt(self, environment: lmdb.Environment) -> None:
        """Another process made the file grow past our map: take its size."""
        self._turn()
        self._await_readers()
        with translated("view"):
            environment.set_mapsize(0)

    def _turn(self) -> None:
        """Begin a new generation: what was committed until now is seen from here on."""
        old = self._readers
        self._readers = Readers(old.environment, old.handles)
        old.drain()

    def _await_readers(self) -> None:
        """Wait for those in use, of generations that went. Under the gate: no other begins."""
        while self._alive:
            self._alive = [one for one in self._alive if not _is_over(one())]
            if self._alive:
                Event().wait(CROWDED_S)

    # -- writing: for whoever holds ``writing`` --------------------------------------

    def begin(self) -> tuple[Transaction, Handles]:
        """Begin the one write transaction; the environment is made where it is absent.

        The map is made ready for a commit of three times its size or less; a larger one
        is found out by ``MapFullError``, and ``grow`` serves it.
        """
        self._judge_all()
        with self._gate:
            if self._readers.environment is None:
                self._open(create=True)
            environment = self._readers.environment
            if environment is None:
                raise AssertionError("an environment that was made is open")
            handles = self._readers.handles
        with translated("view"):
            told = environment.info()
            used = (told["last_pgno"] + 1) * environment.stat()["psize"]
            if ROOM * used > told["map_size"]:
                self.grow(ROOM * used)
            try:
                return environment.begin(write=True), handles
            except lmdb.MapResizedError:
                with self._gate:
                    self._adopt(environment)
                return environment.begin(write=True), handles

    def abort(self, transaction: Transaction) -> None:
        """Give a write up.

        LMDB's binding waits here until no call at all is under way, which three busy
        readers can put off for minutes; so they are held at the gate meanwhile.
        """
        with self._gate:
            self._turn()
            transaction.abort()

    def grow(self, least: int = 0) -> None:
        """Make the map twice as large, or ``least`` bytes; no transaction lives through it."""
        with self._gate, translated("view"):
            environment = self._readers.environment
            if environment is None:
                raise AssertionError("only an open environment grows")
            self._turn()
            self._await_readers()
            environment.set_mapsize(max(2 * environment.info()["map_size"], least))

    def committed(self, rows: int) -> None:
        """Let readers see the commit, and note the sums of its pages.

        LMDB keeps the memory of the pages of its largest commit, 4 KiB for a row or two, for as
        long as an environment is open. So behind a commit of many rows it is closed.
        """
        many = rows >= MANY_ROWS
        with self._gate:
            if many:
                self._shut()
            else:
                self._turn()
            self._known = self.paths.identity()
        if many:
            give_back()
        keep_sums(self.paths)

    def disk_bytes(self) -> int:
        """Bytes the data file takes on disk."""
        try:
            return self.paths.data.stat().st_blocks * BLOCK_BYTES
        except FileNotFoundError:
            return 0

    def shrink(self, *, blank: bool = False) -> int:
        """Give free pages back to the disk, where they are much of the file; how many bytes.

        Or all of it, with every row (``blank``), for which no room is needed.

        Waits for a write and holds up others; readers go on until the copy takes its place.

        Raises:
            Corrupt, StorageFailed: it stays as it was. Moved: it was closed.
        """
        with self.writing, translated("view"):
            if blank:
                taken = self.disk_bytes()
                self.discard()
                return taken
            self._judge_all()
            with self._gate:
                if type(self._readers) is Unopened:
                    self._open(create=False)
                environment, handles = self._readers.environment, self._readers.handles
            if environment is None or not is_worth(environment, handles):
                return 0
            before = self.paths.data.stat()
            made = copied(environment, self.paths)
            with self._gate:
                self._shut()
                take_place(made, self.paths)
                self._known = self.paths.identity()
            return (before.st_blocks - self.paths.data.stat().st_blocks) * BLOCK_BYTES

    def distrust(self) -> None:
        """After a failed commit: close, and verify before the next use."""
        with self._gate:
            self._shut()
            self._known = None

    def discard(self) -> None:
        """Forget the environment with its files: it will be written anew."""
        with self._gate, translated("view file"):
            self._shut()
            self._known = self.damage = None
            for path in (self.paths.data, self.paths.sums, self.paths.lock):
                path.unlink(missing_ok=True)

    # -- opening and parking ------------------------------------------------------

    def _open(self, *, create: bool) -> None:
        if self._closed:
            raise Moved
        # While it was parked nobody else owned it: an unchanged file need not be verified again.
        known = self._known is not None and self._known == self.paths.identity()
        instead = None if known else self._judged_before(create=create)
        if instead is not None:
            self._readers = instead
            return
        self._among.make_room()
        self._readers = Readers(*open_environment(self.paths, self._map_bytes))
        self._among.entered(self)
        self._known = self.paths.identity()
        self._alive = []

    def _judged_before(self, *, create: bool) -> Readers | None:
        """Judge the file, or begin to; the generation that there is without LMDB, if any."""
        try:
            begun = None if create else judgement(self.paths, self._at_once_bytes)
            if begun is not None:
                return Judging(begun)
            return Absent() if verify(self.paths) is None and not create else None
        except Corrupt as error:
            self.damage = error
            raise

    def park(self) -> None:
        """Give back descriptors and map; waits for a write, interrupts readers."""
        with self.writing, self._gate:
            self._shut()

    def try_park(self) -> bool:
        """Park unless a write, an opening or a beginning reader is under way."""
        if not self.writing.acquire(blocking=False):
            return False
        try:
            if not self._gate.acquire(blocking=False):
                return False
            try:
                self._shut()
            finally:
                self._gate.release()
        finally:
            self.writing.release()
        return True

    def close(self) -> None:
        """Park for good: every later call raises Moved."""
        with self.writing, self._gate:
            self._shut()
            self._closed = True

    def _shut(self) -> None:
        old = self._readers
        self._readers = Unopened()
        old.drain()
        if old.environment is not None:
            self._await_readers()
            old.environment.close()
            self._among.left(self)
