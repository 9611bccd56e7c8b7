"""The face of a store behind a server, for asyncio: the same calls, awaited.

What comes bit by bit runs on threads: files that are written, and ``put_soon`` with its outbox.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractContextManager, suppress
from functools import partial
from threading import Lock as Gate
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import msgspec

from holdfast.bucket.bills import Bill, opened
from holdfast.client.calls import By, NamespaceCalls
from holdfast.client.files import Reading, remote_writer
from holdfast.client.line import Line
from holdfast.client.money import MoneyCalls
from holdfast.client.places import Places
from holdfast.client.soon import Soon
from holdfast.client.store import soon_value
from holdfast.client.sync import Sender
from holdfast.client.tasks import AsyncRemote, AsyncSender, asked
from holdfast.client.walk import ProvenWalk, Walk
from holdfast.client.whole import BucketCalls, StoreCalls
from holdfast.errors import Forbidden, InvalidValue, LockLost, Unauthenticated
from holdfast.limits import LOCK_TTL_S
from holdfast.request import arguments
from holdfast.request.streams import ObjectWriter
from holdfast.twins import Taken
from holdfast.values import DeadLetter, Prove, Proven, ProvenParts, Stat, Status
from holdfast.wire.values import Keys, Locked, Objects

R = TypeVar("R")
Asked = Coroutine[Any, Any, R]


class AsyncRemoteLock(AsyncRemote[NamespaceCalls]):
    """A lease on a key; leaving its context releases it, losing it before is quiet."""

    def __init__(self, sender: AsyncSender, calls: NamespaceCalls, key: str, held: Locked) -> None:
        super().__init__(sender, calls)
        self._key = key
        self.id = held.lock_id
        self.fence = held.fence

    async def renew(self) -> None:
        """Begin the lease anew; LockLost where it is not held any more."""
        await self._sender.run(self._calls.renew(self._key, self.id))

    async def release(self) -> None:
        """Give the lease back; LockLost where it is not held any more."""
        await self._sender.run(self._calls.unlock(self._key, self.id))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(LockLost):
            await self.release()


class AsyncRemoteConsumers(AsyncRemote[NamespaceCalls]):
    """The reference list of one object: a multiset, in the order given."""

    def __init__(self, sender: AsyncSender, calls: NamespaceCalls, key: str) -> None:
        super().__init__(sender, calls)
        arguments.compose(b"", key)
        self._key = key

    async def set(self, ids: Iterable[str | bytes]) -> None:
        """Replace the list."""
        await self._sender.run(self._calls.change_consumers("PUT", self._key, ids))

    async def append(self, ids: Iterable[str | bytes]) -> None:
        """Add ids at the end."""
        await self._sender.run(self._calls.change_consumers("POST", self._key, ids))

    async def remove(self, ids: Iterable[str | bytes]) -> builtins.list[str | bytes]:
        """Take out one occurrence per mention; those that were not found."""
        return await self._sender.run(self._calls.change_consumers("DELETE", self._key, ids))

    async def list(self) -> builtins.list[str | bytes]:
        """The ids, each in the type it was given in."""
        return await self._sender.run(self._calls.consumers(self._key))


class AsyncRemoteReader:
    """A file open for reading one version of an object; seekable; one call at a time."""

    def __init__(self, sender: AsyncSender, reading: Reading) -> None:
        self._sender = sender
        self._reading = reading

    async def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes from here, all that is left where negative; b"" at the end."""
        left = self._reading.size if size < 0 else size
        pieces = []
        while left > 0 and (piece := await self._sender.run(self._reading.read(left))):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    async def seek(self, offset: int, whence: int = 0) -> int:
        """Go elsewhere; where that is."""
        return self._reading.seek(offset, whence)

    async def tell(self) -> int:
        """Where the next read begins."""
        return self._reading.at

    async def close(self) -> None:
        """Nothing is held open."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


class AsyncRemoteWriter:
    """A file open for writing: it appears when it is closed, whole; one call at a time.

    Leaving its context by an exception, or a cancellation, abandons it.
    """

    def __init__(self, inner: ObjectWriter) -> None:
        self._inner = inner

    async def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take bytes; how many. Past 1 MiB they are sent as they come."""
        return await asyncio.to_thread(self._inner.write, data)

    async def close(self) -> None:
        """Store the object."""
        await asyncio.to_thread(self._inner.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._inner.__exit__, kind, error, trace)


AsyncRemoteFile = AsyncRemoteReader | AsyncRemoteWriter


class AsyncRemoteNamespace(AsyncRemote[NamespaceCalls]):
    """One namespace of a store behind a server. Made by ``store.namespace(name)``."""

    put = asked(NamespaceCalls.put)
    put_many = asked(NamespaceCalls.put_many)  # type: ignore[arg-type] # "self" is no option
    get_many = asked(NamespaceCalls.get_many)
    append = asked(NamespaceCalls.append)
    delete = asked(NamespaceCalls.delete)
    release = asked(NamespaceCalls.release)
    exists = asked(NamespaceCalls.exists)
    stat = asked(NamespaceCalls.stat)
    unlock = asked(NamespaceCalls.unlock)
    share = asked(NamespaceCalls.share)
    publish = asked(NamespaceCalls.publish)
    unpublish = asked(NamespaceCalls.unpublish)
    published = asked(NamespaceCalls.published)
    prove = asked(NamespaceCalls.prove)
    prove_list = asked(NamespaceCalls.prove_list)
    search = asked(NamespaceCalls.search)
    index_rules = asked(NamespaceCalls.index_rules)
    configure = asked(NamespaceCalls.configure)
    configured = asked(NamespaceCalls.configured)
    usage = asked(NamespaceCalls.usage)
    hours = asked(NamespaceCalls.hours)
    quote = asked(NamespaceCalls.quote)

    def __init__(
        self,
        sender: AsyncSender,
        calls: NamespaceCalls,
        files: Sender,
        soon: Callable[[], Awaitable[Soon]],
    ) -> None:
        super().__init__(sender, calls)
        self.name = calls.name
        self._files = files
        self._soon = soon

    @overload
    async def get(self, key: str, *, range: tuple[int, int] | None = None) -> bytes: ...

    @overload
    async def get(self, key: str, *, prove: Prove) -> Proven: ...

    @overload
    async def get(self, key: str, *, range: tuple[int, int], prove: Prove) -> ProvenParts: ...

    async def get(
        self,
        key: str,
        *,
        range: tuple[int, int] | None = None,  # noqa: A002 - the face
        prove: object = False,
    ) -> bytes | Proven | ProvenParts:
        """An object's value, or the bytes ``(start, stop)`` of it, stop exclusive.

        With ``prove=True``, or ``"sealed"``, as the embedded store's ``get``: the value, or the
        parts of it that the range reaches into, with the proof, checked where this client has
        the store's public key.
        """
        if prove:
            return await self._sender.run(self._calls.get_proven(key, range, prove))
        return await self._sender.run(self._calls.get(key, range=range))

    @property
    def balance_atto(self) -> Asked[int]:
        """What it can still spend, in 10^-18 USD, to be awaited."""
        return self._sender.run(self._calls.balance())

    def bill(self) -> AbstractContextManager[Bill]:
        """What answers say that they cost, to what is asked inside by this task.

        What ``put_soon`` queues is sent by a thread, and is on no bill.
        """
        return opened()

    async def put_soon(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Queue a store and return; with an outbox it is durable there by then."""
        value = soon_value(key, data)
        soon = await self._soon()
        await asyncio.to_thread(soon.put, self.name, key, value)

    def list(
        self,
        prefix: str = "",
        *,
        recursive: bool = True,
        by: By = "text",
        limit: int | None = None,
        after: str | None = None,
    ) -> AsyncGenerator[str, None]:
        """Keys in byte order below a prefix, for ``async for``."""
        walk = self._calls.walk(prefix, recursive, by, limit, after, details=False)
        return self._each(walk, Keys)  # type: ignore[return-value] # of a page of keys

    def entries(
        self,
        prefix: str = "",
        *,
        recursive: bool = True,
        by: By = "text",
        limit: int | None = None,
        after: str | None = None,
    ) -> AsyncGenerator[Stat, None]:
        """The same as ``list``, with what is known of each object."""
        walk = self._calls.walk(prefix, recursive, by, limit, after, details=True)
        return self._each(walk, Objects)  # type: ignore[return-value] # of a page of objects

    async def _each(
        self, walk: Walk | ProvenWalk, kind: type[Keys | Objects]
    ) -> AsyncGenerator[str | Stat, None]:
        while not walk.done:
            for row in await self._sender.run(walk.page(kind)):
                yield row

    def open(self, key: str, mode: str = "rb") -> Taken[Any]:
        """An object as a binary file: "rb", or "wb", stored whole when it is closed."""
        arguments.compose(b"", key)
        if mode not in {"rb", "wb"}:
            raise InvalidValue(argument="mode", reason="rb or wb")
        return Taken(partial(self._opened, key, mode))

    async def _opened(self, key: str, mode: str) -> AsyncRemoteFile:
        if mode == "wb":
            return AsyncRemoteWriter(remote_writer(self._files, self._calls, key))
        reading = Reading(self._calls, key)
        await self._sender.run(reading.begin())
        return AsyncRemoteReader(self._sender, reading)

    def lock(
        self, key: str, *, ttl: float | str = LOCK_TTL_S, wait: float = 0
    ) -> Taken[AsyncRemoteLock]:
        """Take a lease on a key, waiting at most ``wait`` seconds for it."""
        return Taken(partial(self._locked, key, ttl, wait))

    async def _locked(self, key: str, ttl: float | str, wait: float) -> AsyncRemoteLock:
        held = await self._sender.run(self._calls.lock(key, ttl=ttl, wait=wait))
        return AsyncRemoteLock(self._sender, self._calls, key, held)

    def consumers(self, key: str) -> AsyncRemoteConsumers:
        """The reference list of an object."""
        return AsyncRemoteConsumers(self._sender, self._calls, key)


class AsyncRemoteBucket(AsyncRemote[BucketCalls]):
    """One bucket, asked directly. Keys outside its range answer ``Moved`` with the new place."""

    get = asked(BucketCalls.get)
    stat = asked(BucketCalls.stat)
    put = asked(BucketCalls.put)

    @property
    def id(self) -> str:
        """The bucket's id."""
        return self._calls.id


class AsyncRemoteTariffs(AsyncRemote[MoneyCalls]):
    """The prices that namespaces can be given, as ``store.tariffs``."""

    set = asked(MoneyCalls.set_tariff)
    get = asked(MoneyCalls.tariff)
    all = asked(MoneyCalls.tariffs)


class AsyncRemoteAccounts(AsyncRemote[MoneyCalls]):
    """Who has which money, as ``store.accounts``; amounts are integers of 10^-18 USD."""

    deposit = asked(MoneyCalls.deposit)
    transfer = asked(MoneyCalls.transfer)
    rule = asked(MoneyCalls.rule)
    balance = asked(MoneyCalls.balance)
    names = asked(MoneyCalls.names)
    entries = asked(MoneyCalls.entries)


class AsyncRemoteStore(AsyncRemote[StoreCalls]):
    """A store behind a server. Made by ``holdfast.aconnect``; for any number of tasks at once."""

    namespaces = asked(StoreCalls.namespaces)
    drop_namespace = asked(StoreCalls.drop_namespace)
    locate = asked(StoreCalls.locate)
    search = asked(StoreCalls.search)
    check = asked(StoreCalls.check)
    collect = asked(StoreCalls.collect)
    rebuild = asked(StoreCalls.rebuild)
    backup = asked(StoreCalls.backup)
    tick = asked(StoreCalls.tick)

    def __init__(
        self,
        line: Line,
        sender: AsyncSender,
        files: Sender,
        *,
        places: Places | None,
        soon: Callable[[], Soon],
    ) -> None:
        super().__init__(sender, StoreCalls(line, places))
        money = MoneyCalls(line)
        self.tariffs = AsyncRemoteTariffs(sender, money)
        self.accounts = AsyncRemoteAccounts(sender, money)
        self._line = line
        self._files = files
        self._make_soon = soon
        self._soon: Soon | None = None
        self._gate = Gate()

    async def start_queue(self) -> Soon:
        """The queue of ``put_soon``, going on with what an outbox holds from before."""
        self._line.require_open()

        return await asyncio.to_thread(self._queue)

    def _queue(self) -> Soon:
        with self._gate:
            if self._soon is None:
                self._soon = self._make_soon()
            return self._soon

    def namespace(self, name: str) -> AsyncRemoteNamespace:
        """A namespace by its name: 1 to 128 of ``[A-Za-z0-9._-]``, else InvalidNamespace."""
        self._line.require_open()
        calls = self._calls.namespace(name)
        return AsyncRemoteNamespace(self._sender, calls, self._files, self.start_queue)

    def bucket(self, id: str) -> AsyncRemoteBucket:  # noqa: A002 - the face
        """A bucket by its id; what is no bucket's id shows when it is asked."""
        self._line.require_open()
        return AsyncRemoteBucket(self._sender, BucketCalls(self._line, id, None))

    async def statement(self, account: str, start_ns: int, stop_ns: int) -> bytes:
        """What happened to an account in a period, signed with the store's key."""
        return await self._sender.run(MoneyCalls(self._line).statement(account, start_ns, stop_ns))

    async def status(self) -> Status:
        """The store's figures; ``dead_letters`` counts this client's as well."""
        told = await self._sender.run(self._calls.status())
        letters = told.dead_letters + (self._soon.died() if self._soon else 0)
        return msgspec.structs.replace(told, dead_letters=letters)

    async def flush(self) -> builtins.list[DeadLetter]:
        """Wait until everything queued by ``put_soon`` is durable; what failed since last time."""
        self._line.require_open()
        failures = [] if self._soon is None else await asyncio.to_thread(self._soon.flush)
        with suppress(Forbidden, Unauthenticated):  # an operator's; under "always" not needed
            await self._sender.run(self._calls.flush())
        return failures

    async def dead_letters(self) -> builtins.list[DeadLetter]:
        """Every ``put_soon`` of this client that the server refused for good."""
        return [] if self._soon is None else self._soon.letters()

    async def close(self) -> None:
        """Send what is queued, let go of the connections. Idempotent."""
        if self._line.closed:
            return
        try:
            if self._soon is not None:
                await asyncio.to_thread(self._soon.close)
        finally:
            self._line.closed = True
            self._files.close()
            await self._sender.close()

    async def __aenter__(self) -> Self:
        self._line.require_open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
