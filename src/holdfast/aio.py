"""``holdfast.aopen``: the whole face for asyncio, the same core on threads.

    async with holdfast.aopen("data") as store:
        acme = store.namespace("acme")
        await acme.put("invoices/7", b"paid")
        async for key in acme.list("invoices/"):
            ...

What answers is awaited, lists are iterated with ``async for``; what only makes
a handle (``namespace``, ``bucket``, ``consumers``) is called as it is. Arguments,
results and errors are those of the embedded face, from whose methods these are
made. ``mapping`` is not offered: a mapping cannot be awaited.

The event loop never waits for the disk: each call runs on a thread. Writes have
32, so that as many share a commit group; reads have 4 of their own, so that they
do not queue behind a disk that takes its time to sync, and so that computing
threads never keep the loop from the interpreter for long. A lock is waited for
on the loop, not on a thread.

A call whose await is cancelled is carried out all the same, whole, by its
thread; what it would have handed out (a store, a lock) is given back at once.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from functools import partial, wraps
from threading import Lock as Gate
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

from holdfast.errors import Closed, LockHeld
from holdfast.limits import LOCK_TTL_S
from holdfast.request import arguments
from holdfast.request.handles import ConsumerList, Lock
from holdfast.request.streams import ObjectReader, ObjectWriter
from holdfast.store.direct import DirectBucket
from holdfast.store.namespace import LOCK_POLL_S, Namespace
from holdfast.store.opening import open_store
from holdfast.store.store import Store
from holdfast.twins import Asked, Taken, Threads, Twin, paged, read, written

if TYPE_CHECKING:
    from holdfast.aio_money import AsyncAccounts, AsyncTariffs
    from holdfast.bucket.bills import Bill
    from holdfast.values import DeadLetter

P = ParamSpec("P")
R = TypeVar("R")


# -- the face ------------------------------------------------------------------------


class AsyncLock(Twin[Lock]):
    """A lease on a key; leaving its context releases it, losing it before is quiet."""

    renew = written(Lock.renew)
    release = written(Lock.release)
    __aexit__ = written(Lock.__exit__)

    @property
    def id(self) -> str:
        """The lock's id, which only its holder knows."""
        return self._inner.id

    @property
    def fence(self) -> int:
        """Guards writes: ``put(key, data, fence=lock.fence)``."""
        return self._inner.fence

    async def __aenter__(self) -> Self:
        return self


class AsyncFile(Twin[ObjectReader | ObjectWriter]):
    """An object as a file, open for reading or writing; one call at a time.

    A file that is written appears when it is closed, whole; leaving its context
    by an exception, or a cancellation, abandons it.
    """

    def __init__(self, threads: Threads, inner: ObjectReader | ObjectWriter) -> None:
        super().__init__(threads, inner)
        self._turn = Gate()  # a cancelled call may still be at work when the next one comes

    async def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes from here, all that is left where negative; b"" at the end."""
        return await self._do(self._threads.readers, partial(self._inner.read, size)) or b""

    async def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take bytes; how many. Whole parts are stored at once."""
        return await self._do(self._threads.writers, partial(self._inner.write, data)) or 0

    async def seek(self, offset: int, whence: int = 0) -> int:
        """Go elsewhere; where that is."""
        return await self._do(self._threads.readers, partial(self._inner.seek, offset, whence))

    async def tell(self) -> int:
        """Where the next read begins."""
        return await self._do(self._threads.readers, self._inner.tell)

    async def close(self) -> None:
        """Store what was written, if any."""
        await self._do(self._threads.writers, self._inner.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        leave = partial(self._inner.__exit__, kind, error, trace)
        await self._do(self._threads.writers, leave)

    async def _do(self, pool: ThreadPoolExecutor, work: Callable[[], R]) -> R:
        def in_turn() -> R:
            with self._turn:
                return work()

        return await self._threads.run(pool, in_turn)


class AsyncConsumers(Twin[ConsumerList]):
    """The reference list of one object: a multiset, in the order given."""

    set = written(ConsumerList.set)
    append = written(ConsumerList.append)
    remove = written(ConsumerList.remove)
    list = read(ConsumerList.list)


class AsyncNamespace(Twin[Namespace]):
    """One namespace of an open store. Made by ``store.namespace(name)``."""

    put = written(Namespace.put)
    put_many = written(Namespace.put_many)  # type: ignore[arg-type] # "self" is no option
    put_soon = written(Namespace.put_soon)
    append = written(Namespace.append)
    delete = written(Namespace.delete)
    release = written(Namespace.release)
    unlock = written(Namespace.unlock)
    share = written(Namespace.share)
    publish = written(Namespace.publish)
    unpublish = written(Namespace.unpublish)
    get = read(Namespace.get)
    get_many = read(Namespace.get_many)
    exists = read(Namespace.exists)
    stat = read(Namespace.stat)
    published = read(Namespace.published)
    prove = written(Namespace.prove)  # a seal is stored
    prove_list = written(Namespace.prove_list)
    search = written(Namespace.search)  # what is new is absorbed first
    index_rules = written(Namespace.index_rules)
    search_status = written(Namespace.search_status)
    configure = written(Namespace.configure)
    configured = written(Namespace.configured)
    usage = written(Namespace.usage)
    hours = written(Namespace.hours)
    quote = written(Namespace.quote)
    list = paged(Namespace.list)
    entries = paged(Namespace.entries)

    @property
    def name(self) -> str:
        """The namespace's name."""
        return self._inner.name

    @property
    def balance_atto(self) -> Asked[int]:
        """What it can still spend, in 10^-18 USD, to be awaited."""
        return _balance(self)

    def bill(self) -> AbstractContextManager[Bill]:
        """What is charged inside, in this task: ``with acme.bill() as bill``."""
        return self._inner.bill()

    def numbered(self, session: str, number: int, floor: int = 0) -> AsyncNamespace:
        """The same namespace for writes that may be sent again: each is applied once."""
        return AsyncNamespace(self._threads, self._inner.numbered(session, number, floor))

    def consumers(self, key: str) -> AsyncConsumers:
        """The reference list of an object."""
        return AsyncConsumers(self._threads, self._inner.consumers(key))

    def open(self, key: str, mode: str = "rb") -> Taken[AsyncFile]:
        """An object as a binary file: "rb", or "wb", stored whole when it is closed.

        Example:
            >>> async def copy(acme: AsyncNamespace) -> None:
            ...     async with acme.open("a", "rb") as old, acme.open("b", "wb") as new:
            ...         while piece := await old.read(1 << 20):
            ...             await new.write(piece)
        """

        async def opened() -> AsyncFile:
            work = partial(self._inner.open, key, mode)
            file = await self._threads.run(self._threads.readers, work)
            return AsyncFile(self._threads, file)  # type: ignore[arg-type] # one of the two

        return Taken(opened)

    def lock(self, key: str, *, ttl: float | str = LOCK_TTL_S, wait: float = 0) -> Taken[AsyncLock]:
        """Take a lease on a key, waiting at most ``wait`` seconds for it.

        Raises:
            LockHeld: somebody else still held it when the wait was over.
        """
        return Taken(partial(self._locked, key, ttl, wait))

    async def _locked(self, key: str, ttl: float | str, wait: float) -> AsyncLock:
        loop = asyncio.get_running_loop()
        until = loop.time() + arguments.seconds(wait, "wait")
        take = self._inner._lease(key, ttl)  # noqa: SLF001 - it is ours
        while True:
            try:
                held = await self._threads.run(self._threads.writers, take, Lock.release)
            except LockHeld:
                left = until - loop.time()
                if left <= 0:
                    raise
            else:
                return AsyncLock(self._threads, held)
            await asyncio.sleep(min(left, LOCK_POLL_S))


@written
def _balance(space: Namespace) -> int:
    return space.balance_atto


class AsyncBucket(Twin[DirectBucket]):
    """One bucket, asked directly. Keys outside its range answer ``Moved``."""

    get = read(DirectBucket.get)
    stat = read(DirectBucket.stat)
    put = written(DirectBucket.put)

    @property
    def id(self) -> str:
        """The bucket's id."""
        return self._inner.id


class AsyncStore(Twin[Store]):
    """A store, open. Made by ``holdfast.aopen``; for any number of tasks at once."""

    namespaces = read(Store.namespaces)
    locate = read(Store.locate)
    search = written(Store.search)
    begin_session = read(Store.begin_session)
    public_key = written(Store.public_key)
    rotate_key = written(Store.rotate_key)
    statement = written(Store.statement)
    drop_namespace = written(Store.drop_namespace)
    status = written(Store.status)
    check = written(Store.check)
    collect = written(Store.collect)
    rebuild = written(Store.rebuild)
    backup = written(Store.backup)
    tick = written(Store.tick)
    flush = written(Store.flush)

    def namespace(self, name: str) -> AsyncNamespace:
        """A namespace by its name: 1 to 128 of ``[A-Za-z0-9._-]``, else InvalidNamespace."""
        return AsyncNamespace(self._threads, self._inner.namespace(name))

    @property
    def tariffs(self) -> AsyncTariffs:
        """The prices that namespaces can be given."""
        from holdfast.aio_money import AsyncTariffs  # noqa: PLC0415 - 50 ms

        return AsyncTariffs(self._threads, self._inner.tariffs)

    @property
    def accounts(self) -> AsyncAccounts:
        """Who has which money: deposits, transfers, rules, entries."""
        from holdfast.aio_money import AsyncAccounts  # noqa: PLC0415 - 50 ms

        return AsyncAccounts(self._threads, self._inner.accounts)

    async def dead_letters(self) -> builtins.list[DeadLetter]:
        """Every ``put_soon`` that could not be stored; told after ``close``, too."""
        return self._inner.dead_letters()  # of memory: closing has ended the threads

    def bucket(self, id: str) -> AsyncBucket:  # noqa: A002 - the face
        """A bucket by its id; NotFound where there is none."""
        return AsyncBucket(self._threads, self._inner.bucket(id))

    async def close(self) -> None:
        """Store what is queued, absorb what is in memory, let go of the folder. Idempotent."""
        with suppress(Closed):
            await self._threads.run(
                self._threads.writers, partial(_close, self._threads, self._inner)
            )

    async def __aenter__(self) -> Self:
        self._inner._opened()  # noqa: SLF001 - Closed, as of ``with``
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def _close(threads: Threads, store: Store) -> None:
    try:
        store.close()
    finally:
        threads.end()


def twin_of(open_it: Callable[P, Store]) -> Callable[P, Taken[AsyncStore]]:
    """The way to open the twin of what ``open_it`` opens, with the same arguments."""

    @wraps(open_it, assigned=())
    def aopen(*args: P.args, **options: P.kwargs) -> Taken[AsyncStore]:
        """Open a store for asyncio, with the arguments and errors of ``holdfast.open``.

        To be awaited, or entered with ``async with``, which closes it at the end.

        Example:
            >>> import asyncio, holdfast
            >>> async def main() -> bytes:
            ...     async with holdfast.aopen(":memory:") as store:
            ...         acme = store.namespace("acme")
            ...         await acme.put("a", b"1")
            ...         return await acme.get("a")
            >>> asyncio.run(main())
            b'1'
        """

        async def opened() -> AsyncStore:
            threads = Threads()

            def work() -> Store:
                try:
                    threads.start()
                    # Reads are calls (rule 12): on a map, a cold page would hold the loop too.
                    return open_it(*args, **{"in_place": False, **options})  # type: ignore[arg-type]
                except BaseException:
                    threads.end()
                    raise

            store = await threads.run(threads.writers, work, partial(_close, threads))
            return AsyncStore(threads, store)

        return Taken(opened)

    return aopen


aopen = twin_of(open_store)
