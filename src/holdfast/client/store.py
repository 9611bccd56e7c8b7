"""The face of a store behind a server, for threads."""

from __future__ import annotations

import builtins
import io
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import AbstractContextManager, suppress
from functools import wraps
from threading import Lock as Gate
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

import msgspec

from holdfast.bucket.bills import Bill, opened
from holdfast.client.asks import Work
from holdfast.client.calls import By, NamespaceCalls
from holdfast.client.files import Reading, RemoteReader, remote_writer
from holdfast.client.line import Line
from holdfast.client.money import MoneyCalls
from holdfast.client.places import Places
from holdfast.client.soon import Soon
from holdfast.client.sync import Sender
from holdfast.client.walk import ProvenWalk, Walk
from holdfast.client.whole import BucketCalls, StoreCalls
from holdfast.errors import Forbidden, InvalidValue, LockLost, Unauthenticated
from holdfast.limits import LOCK_TTL_S
from holdfast.request import arguments
from holdfast.request.handles import NamespaceMapping
from holdfast.values import DeadLetter, Prove, Proven, ProvenParts, Stat, Status
from holdfast.wire.values import Keys, Objects

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


class Remote(Generic[S]):
    """Stands before calls, and carries them out."""

    def __init__(self, sender: Sender, calls: S) -> None:
        self._sender = sender
        self._calls = calls


def asked(method: Callable[Concatenate[S, P], Work[R]]) -> Callable[Concatenate[Any, P], R]:
    """A call, carried out where it is made."""

    @wraps(method)
    def carried_out(self: Remote[S], /, *args: P.args, **options: P.kwargs) -> R:
        return self._sender.run(method(self._calls, *args, **options))

    return carried_out


class RemoteLock(Remote[NamespaceCalls]):
    """A lease on a key. Leaving its context releases it; losing it before is quiet then."""

    def __init__(self, sender: Sender, calls: NamespaceCalls, key: str, held: Any) -> None:  # noqa: ANN401
        super().__init__(sender, calls)
        self._key = key
        self.id: str = held.lock_id
        self.fence: int = held.fence

    def __repr__(self) -> str:
        return f"RemoteLock(key={self._key!r}, fence={self.fence})"

    def renew(self) -> None:
        """Begin the lease anew; LockLost where it is not held any more."""
        self._sender.run(self._calls.renew(self._key, self.id))

    def release(self) -> None:
        """Give the lease back; LockLost where it is not held any more."""
        self._sender.run(self._calls.unlock(self._key, self.id))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(LockLost):
            self.release()


class RemoteConsumers(Remote[NamespaceCalls]):
    """The reference list of one object: a multiset, in the order given."""

    def __init__(self, sender: Sender, calls: NamespaceCalls, key: str) -> None:
        super().__init__(sender, calls)
        arguments.compose(b"", key)
        self._key = key

    def set(self, ids: Iterable[str | bytes]) -> None:
        """Replace the list."""
        self._sender.run(self._calls.change_consumers("PUT", self._key, ids))

    def append(self, ids: Iterable[str | bytes]) -> None:
        """Add ids at the end."""
        self._sender.run(self._calls.change_consumers("POST", self._key, ids))

    def remove(self, ids: Iterable[str | bytes]) -> builtins.list[str | bytes]:
        """Take out one occurrence per mention; those that were not found."""
        return self._sender.run(self._calls.change_consumers("DELETE", self._key, ids))

    def list(self) -> builtins.list[str | bytes]:
        """The ids, each in the type it was given in."""
        return self._sender.run(self._calls.consumers(self._key))


class RemoteNamespace(Remote[NamespaceCalls]):
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
    configure = asked(NamespaceCalls.configure)
    configured = asked(NamespaceCalls.configured)
    usage = asked(NamespaceCalls.usage)
    hours = asked(NamespaceCalls.hours)
    quote = asked(NamespaceCalls.quote)
    prove_list = asked(NamespaceCalls.prove_list)
    search = asked(NamespaceCalls.search)
    index_rules = asked(NamespaceCalls.index_rules)

    def __init__(self, sender: Sender, calls: NamespaceCalls, soon: Callable[[], Soon]) -> None:
        super().__init__(sender, calls)
        self.name = calls.name
        self._soon = soon

    def __repr__(self) -> str:
        return f"RemoteNamespace({self.name!r})"

    @overload
    def get(self, key: str, *, range: tuple[int, int] | None = None) -> bytes: ...

    @overload
    def get(self, key: str, *, prove: Prove) -> Proven: ...

    @overload
    def get(self, key: str, *, range: tuple[int, int], prove: Prove) -> ProvenParts: ...

    def get(
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
            return self._sender.run(self._calls.get_proven(key, range, prove))
        return self._sender.run(self._calls.get(key, range=range))

    @property
    def balance_atto(self) -> int:
        """What it can still spend, in 10^-18 USD."""
        return self._sender.run(self._calls.balance())

    def bill(self) -> AbstractContextManager[Bill]:
        """What answers say that they cost, to what is asked inside by this thread.

        What ``put_soon`` queues is sent by another, and is on no bill.
        """
        return opened()

    def __contains__(self, key: object) -> bool:
        return self.exists(key)  # type: ignore[arg-type] # what is no key is refused

    def put_soon(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Queue a store and return; with an outbox it is durable there by then.

        Stored once, in order per key, whatever breaks on the way; what could not be stored
        shows in ``store.flush()`` and ``store.dead_letters()``.
        """
        self._soon().put(self.name, key, soon_value(key, data))

    def list(
        self,
        prefix: str = "",
        *,
        recursive: bool = True,
        by: By = "text",
        limit: int | None = None,
        after: str | None = None,
    ) -> Iterator[str]:
        """Keys in byte order below a prefix; pages of 1,000 are asked for as they are needed."""
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
    ) -> Iterator[Stat]:
        """The same as ``list``, with what is known of each object."""
        walk = self._calls.walk(prefix, recursive, by, limit, after, details=True)
        return self._each(walk, Objects)  # type: ignore[return-value] # of a page of objects

    def _each(self, walk: Walk | ProvenWalk, kind: type[Keys | Objects]) -> Iterator[str | Stat]:
        while not walk.done:
            yield from self._sender.run(walk.page(kind))

    def mapping(self) -> MutableMapping[str, bytes]:
        """This namespace as a mutable mapping of keys to values."""
        return NamespaceMapping(self)

    def open(self, key: str, mode: str = "rb") -> io.RawIOBase:
        """An object as a binary file: "rb", or "wb", stored whole when it is closed."""
        arguments.compose(b"", key)
        if mode == "wb":
            return remote_writer(self._sender, self._calls, key)
        if mode != "rb":
            raise InvalidValue(argument="mode", reason="rb or wb")
        return RemoteReader(self._sender, Reading(self._calls, key))

    def lock(self, key: str, *, ttl: float | str = LOCK_TTL_S, wait: float = 0) -> RemoteLock:
        """Take a lease on a key, waiting at most ``wait`` seconds for it.

        Raises:
            LockHeld: somebody else still held it when the wait was over.
        """
        held = self._sender.run(self._calls.lock(key, ttl=ttl, wait=wait))
        return RemoteLock(self._sender, self._calls, key, held)

    def consumers(self, key: str) -> RemoteConsumers:
        """The reference list of an object."""
        return RemoteConsumers(self._sender, self._calls, key)


def soon_value(key: str, data: object) -> bytes:
    """The value of a ``put_soon``, checked with its key."""
    arguments.compose(b"", key)
    value = bytes(arguments.payload(data))
    arguments.in_one_record((value,))
    return value


class RemoteBucket(Remote[BucketCalls]):
    """One bucket, asked directly. Keys outside its range answer ``Moved`` with the new place."""

    get = asked(BucketCalls.get)
    stat = asked(BucketCalls.stat)
    put = asked(BucketCalls.put)

    @property
    def id(self) -> str:
        """The bucket's id."""
        return self._calls.id


class RemoteTariffs(Remote[MoneyCalls]):
    """The prices that namespaces can be given, as ``store.tariffs``."""

    set = asked(MoneyCalls.set_tariff)
    get = asked(MoneyCalls.tariff)
    all = asked(MoneyCalls.tariffs)


class RemoteAccounts(Remote[MoneyCalls]):
    """Who has which money, as ``store.accounts``; amounts are integers of 10^-18 USD."""

    deposit = asked(MoneyCalls.deposit)
    transfer = asked(MoneyCalls.transfer)
    rule = asked(MoneyCalls.rule)
    balance = asked(MoneyCalls.balance)
    names = asked(MoneyCalls.names)
    entries = asked(MoneyCalls.entries)


class RemoteStore(Remote[StoreCalls]):
    """A store behind a server, made by ``holdfast.connect``; safe for threads."""

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
        self, line: Line, sender: Sender, places: Places | None, soon: Callable[[], Soon]
    ) -> None:
        super().__init__(sender, StoreCalls(line, places))
        money = MoneyCalls(line)
        self.tariffs = RemoteTariffs(sender, money)
        self.accounts = RemoteAccounts(sender, money)
        self._line = line
        self._make_soon = soon
        self._soon: Soon | None = None
        self._gate = Gate()

    def _queue(self) -> Soon:
        self._line.require_open()
        with self._gate:
            if self._soon is None:
                self._soon = self._make_soon()
            return self._soon

    def start_queue(self) -> None:
        """Go on with what an outbox holds from before."""
        self._queue()

    def namespace(self, name: str) -> RemoteNamespace:
        """A namespace by its name: 1 to 128 of ``[A-Za-z0-9._-]``, else InvalidNamespace."""
        self._line.require_open()
        return RemoteNamespace(self._sender, self._calls.namespace(name), self._queue)

    def bucket(self, id: str) -> RemoteBucket:  # noqa: A002 - the face
        """A bucket by its id; what is no bucket's id shows when it is asked."""
        self._line.require_open()
        return RemoteBucket(self._sender, BucketCalls(self._line, id, None))

    def statement(self, account: str, start_ns: int, stop_ns: int) -> bytes:
        """What happened to an account in a period, signed with the store's key."""
        return self._sender.run(MoneyCalls(self._line).statement(account, start_ns, stop_ns))

    def status(self) -> Status:
        """The store's figures; ``dead_letters`` counts this client's as well."""
        told = self._sender.run(self._calls.status())
        return msgspec.structs.replace(
            told, dead_letters=told.dead_letters + (self._soon.died() if self._soon else 0)
        )

    def flush(self) -> builtins.list[DeadLetter]:
        """Wait until everything queued by ``put_soon`` is durable; what failed since last time.

        Raises:
            Unavailable, DeadlineExceeded, Unauthenticated: a whole round of tries came to
                nothing; what is not stored stays queued.
        """
        self._line.require_open()
        failures = [] if self._soon is None else self._soon.flush()
        with suppress(Forbidden, Unauthenticated):  # an operator's; under "always" not needed
            self._sender.run(self._calls.flush())
        return failures

    def dead_letters(self) -> builtins.list[DeadLetter]:
        """Every ``put_soon`` of this client that the server refused for good."""
        return [] if self._soon is None else self._soon.letters()

    def close(self) -> None:
        """Send what is queued, let go of the connections. Idempotent.

        Raises:
            Unavailable, ...: it could not be sent, and there is no outbox to keep it.
        """
        if self._line.closed:
            return
        try:
            if self._soon is not None:
                self._soon.close()
        finally:
            self._line.closed = True
            self._sender.close()

    def __enter__(self) -> Self:
        self._line.require_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
