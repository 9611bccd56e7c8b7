"""How the embedded face becomes one that is awaited: its calls run on threads of their own.

``aio.py`` says which methods; here is how one becomes its twin. Writes have 32 threads, so that
as many share a commit group; reads have 4, so that they do not queue behind a disk that takes
its time to sync, and so that computing threads never keep the loop from the interpreter for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial, wraps
from itertools import islice
from threading import Barrier
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from holdfast.bucket.bills import OPENED
from holdfast.errors import Closed, HoldfastError
from holdfast.limits import LIST_PAGE

WRITERS = 32  # threads: as many durable writes share a commit group
READERS = 4  # few: each that computes may keep the loop waiting for one switch interval

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

Asked = Coroutine[Any, Any, R]


# -- threads -------------------------------------------------------------------------


class Threads:
    """The threads of one store: where the calls of an event loop are carried out."""

    def __init__(self) -> None:
        self.writers = ThreadPoolExecutor(WRITERS, "holdfast-aio-write")
        self.readers = ThreadPoolExecutor(READERS, "holdfast-aio-read")

    async def run(
        self,
        pool: ThreadPoolExecutor,
        work: Callable[[], R],
        undo: Callable[[R], object] | None = None,
    ) -> R:
        """Carry out work on a thread and wait for it without holding the loop.

        Where the wait is cancelled the work goes on to its end; then ``undo``
        is given its result, if there is one.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        try:
            # A bill that the task has open is the thread's, too.
            job = pool.submit(copy_context().run, work) if OPENED else pool.submit(work)
        except RuntimeError:  # the pool is shut down
            raise Closed(what="store") from None
        job.add_done_callback(lambda _: _wake(loop, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if undo is not None:
                # Only once the job is done: a thread that waited for it would be missing.
                job.add_done_callback(partial(_undo_on, pool, undo))
            raise
        return job.result()

    def start(self) -> None:
        """Start every thread, from one of the writers: on the loop each would hold it."""
        ready = Barrier(WRITERS + READERS)
        try:
            for _ in range(WRITERS - 1):
                self.writers.submit(ready.wait)
            for _ in range(READERS):
                self.readers.submit(ready.wait)
            ready.wait()
        except BaseException:  # no thread to be had: let go of those that wait
            ready.abort()
            raise

    def end(self) -> None:
        """Take no more work; what was begun or queued is carried out."""
        self.writers.shutdown(wait=False)
        self.readers.shutdown(wait=False)


def _wake(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(_settle, waiter)


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _undo_on(pool: ThreadPoolExecutor, undo: Callable[[R], object], job: Future[R]) -> None:
    with suppress(RuntimeError):  # the pool is shut down: an open that failed
        pool.submit(_undo, undo, job)


def _undo(undo: Callable[[R], object], job: Future[R]) -> None:
    with suppress(HoldfastError, OSError):
        undo(job.result())


# -- how a method of the face becomes one that is awaited ---------------------------------


class Twin(Generic[S]):
    """Stands before an object of the embedded face."""

    def __init__(self, threads: Threads, inner: S) -> None:
        self._threads = threads
        self._inner = inner

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._inner!r})"


def written(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[Any, P], Asked[R]]:
    """A method that may wait for the disk to sync, to be awaited."""

    @wraps(method)
    async def asked(self: Twin[S], /, *args: P.args, **options: P.kwargs) -> R:
        threads = self._threads
        return await threads.run(threads.writers, partial(method, self._inner, *args, **options))

    return asked


def read(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[Any, P], Asked[R]]:
    """A method that only reads, to be awaited."""

    @wraps(method)
    async def asked(self: Twin[S], /, *args: P.args, **options: P.kwargs) -> R:
        threads = self._threads
        return await threads.run(threads.readers, partial(method, self._inner, *args, **options))

    return asked


def paged(
    method: Callable[Concatenate[S, P], Iterator[R]],
) -> Callable[Concatenate[Any, P], AsyncGenerator[R, None]]:
    """A method that lists, for ``async for``: a page at a time comes from a thread."""

    @wraps(method)
    def listed(self: Twin[S], /, *args: P.args, **options: P.kwargs) -> AsyncGenerator[R, None]:
        return _each(self._threads, method(self._inner, *args, **options))

    return listed


async def _each(threads: Threads, rows: Iterator[R]) -> AsyncGenerator[R, None]:
    while True:
        page = await threads.run(threads.readers, lambda: list(islice(rows, LIST_PAGE)))
        for row in page:
            yield row
        if len(page) < LIST_PAGE:
            return


class Leavable(Protocol):
    """What can be the target of ``async with``."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


T = TypeVar("T", bound=Leavable)


class Taken(Awaitable[T], Generic[T]):
    """Something to be awaited, or entered with ``async with``: a store, a file, a lock."""

    def __init__(self, take: Callable[[], Asked[T]]) -> None:
        self._take = take
        self._held: T | None = None

    def __await__(self) -> Generator[Any, Any, T]:
        return self._take().__await__()

    async def __aenter__(self) -> T:
        self._held = await self._take()
        return self._held

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        held, self._held = self._held, None
        if held is not None:
            await held.__aexit__(kind, error, trace)
