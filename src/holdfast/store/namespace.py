"""A namespace: a tenant's keyspace, and everything that can be done in it."""

from __future__ import annotations

import builtins
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Literal, overload

from holdfast.bucket import counted
from holdfast.bucket.bills import OPENED
from holdfast.errors import Changed, InvalidValue, LockHeld, Moved, NotFound
from holdfast.limits import (
    KEY_BYTES,
    LIST_PAGE,
    LOCK_ID_BYTES,
    LOCK_TTL_S,
    SECOND_NS,
    VALUE_RECORD_BYTES,
)
from holdfast.operations import Append, Delete, Lock, Once, Release, Store, Unlock
from holdfast.request import arguments, describe, handles, large, listing, streams
from holdfast.request.corridor import receipts_of
from holdfast.request.large import LargeWriter
from holdfast.request.once import NumberedCorridor, once
from holdfast.request.options import known, put_options
from holdfast.store.finding import Searching
from holdfast.store.loading import Loading
from holdfast.store.metered import Metered
from holdfast.store.pricing import Pricing
from holdfast.store.proving import Proving
from holdfast.store.sharing import Sharing
from holdfast.values import Prove, Proven, ProvenParts, Receipt, Stat

if TYPE_CHECKING:
    from holdfast.operations import StoreOptions
    from holdfast.store.store import Store as HoldfastStore


LOCK_POLL_S = 0.01
By = Literal["text", "component"]


class Namespace(Loading, Metered, Pricing, Proving, Searching, Sharing):
    """One namespace of an open store. Made by ``store.namespace(name)``.

    Keys are strings of 1 to 1024 UTF-8 bytes; values are bytes up to 5 TiB.

    Example:
        >>> import holdfast
        >>> with holdfast.open(":memory:") as store:
        ...     acme = store.namespace("acme")
        ...     receipt = acme.put("invoices/7", b"paid", ttl="30d")
        ...     acme.get("invoices/7")
        b'paid'
    """

    def __init__(self, store: HoldfastStore, name: str, first: Once | None = None) -> None:
        raw = arguments.namespace_bytes(name)
        corridor = store.corridor
        self.name = name
        self._store = store
        self._corridor = corridor if first is None else NumberedCorridor(corridor, first)
        self._directory = corridor.directory
        self._payer, self._space = raw, raw + arguments.VISIBLE
        self._near = self._directory.find(self._space), None
        self._least = len(self._space)
        self._most = len(self._space) + KEY_BYTES

    def numbered(self, session: str, number: int, floor: int = 0) -> Namespace:
        """The same namespace for writes that may be sent again: each is applied once.

        The first write through what is returned has ``number`` in the session, each
        operation behind it the next one. A number that was applied answers what it came
        to and changes nothing, a refusal by the object included; numbers are the
        client's, each for one write. What had no effect and may pass is decided anew.

        Args:
            session: of ``store.begin_session()``.
            number: 0 to 2^63 - 1.
            floor: nothing below it will be asked for again.

        Returns:
            A namespace whose writes raise besides: SessionUnknown where the session has
            ended (7 idle days, a restore), InvalidValue below the floor, LimitExceeded
            for more than 1,000 numbers above it in one bucket. Not for ``put_soon``.

        Example:
            >>> import holdfast
            >>> with holdfast.open(":memory:") as store:
            ...     acme, session = store.namespace("acme"), store.begin_session()
            ...     first = acme.numbered(session, 1).append("log", b"x")
            ...     again = acme.numbered(session, 1).append("log", b"x")
            ...     first, again, acme.get("log")
            (1, 1, b'x')
        """
        return Namespace(self._store, self.name, once(session, number, floor))

    # -- values ---------------------------------------------------------------------

    def put(
        self,
        key: str,
        data: bytes | bytearray | memoryview,
        *,
        ttl: float | str | None = None,
        keep_ttl: bool = False,
        if_absent: bool = False,
        if_version: int | None = None,
        fence: int | None = None,
        consumers: Iterable[str | bytes] | None = None,
        permanent: bool = False,
        content_type: str | None = None,
        index: str | bool | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Receipt:
        """Create or replace an object.

        Args:
            key: 1 to 1024 UTF-8 bytes.
            data: the value.
            ttl: seconds to live, or text like "30d"; None clears an earlier one.
            keep_ttl: keep the expiry of the object that is there (NotFound if none is).
            if_absent: refuse with Exists where an object is.
            if_version: refuse with VersionMismatch where it has another version.
            fence: the fence of the lock that must hold the key.
            consumers: the reference list to set; None leaves an existing one.
            permanent: refuse changes until ``release``.
            content_type: at most 255 bytes, told by ``stat``.
            index: what ``search`` finds it by: a text, the value (True), nothing (False).
            tags: names with values, to search by and to count by.

        Returns:
            A receipt: version, size in bytes, expiry in ns of bucket time, bucket.

        Raises:
            InvalidKey, InvalidValue, InvalidExpiry, NotFound, Exists, VersionMismatch,
            FenceTooOld, LockLost, Permanent, LimitExceeded: nothing was changed.
            Busy: the store is catching up; later.
            StorageFailed: not stored. OutcomeUnknown: perhaps stored.
        """
        if (  # None by None: half of what asking for all at once takes
            (ttl is None and if_version is None and fence is None and consumers is None)
            and (content_type is None and index is None and tags is None)
            and not (keep_ttl or if_absent or permanent)
        ):
            if type(data) is bytes and len(data) <= VALUE_RECORD_BYTES:
                try:
                    composite = self._space + key.encode()
                except (AttributeError, UnicodeEncodeError):
                    composite = b""
                if not self._least < len(composite) <= self._most:
                    composite = arguments.compose(self._space, key)
                return self._corridor.store(composite, key, data)  # type: ignore[no-any-return]
            return self._put(key, data, None)
        asked = ttl, keep_ttl, if_absent, if_version, fence, consumers, permanent, content_type
        return self._put(key, data, put_options(*asked, index=index, tags=tags))

    def _put(self, key: str, data: object, options: StoreOptions | None) -> Receipt:
        """Create or replace an object that is more than a few bytes without options."""
        composite = arguments.compose(self._space, key)
        operation = Store(composite, key, arguments.payload(data), options)
        if len(operation.value) > VALUE_RECORD_BYTES:
            return large.store_large(self._corridor, operation, operation.value)
        receipt: Receipt = self._corridor.write(operation)
        return receipt

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

        With ``prove=True`` it is the whole value with a proof for ``holdfast.verify``, of a
        seal that is made for the call; with ``prove="sealed"`` of the newest one, which may
        be older than the call. ``NotFound`` then carries the ``proof`` of absence. A range
        with a proof is the whole parts of 1 MiB that it reaches into (``verify_parts``).

        Raises:
            NotFound: there is none, or its time has come.
            InvalidValue: the range starts past the end.
            Corrupt: stored bytes do not verify.
        """
        if prove:
            return self._get_proven(key, prove, range)
        try:
            composite = self._space + key.encode()
            bucket, reads = self._near
            if not bucket.start <= composite < bucket.stop:
                bucket, reads = self._find(composite)
            value = bucket.load_here(composite)
        except (NotFound, Moved, AttributeError, UnicodeEncodeError) as error:
            bucket, reads, value = self._load_again(key, error)
        if range is not None or type(value) is not bytes:
            value = self._cut(key, value, range)
        if reads is not None:  # as ``counted.load`` does it, without a call
            sizes = reads.sizes
            sizes.append(len(value))
            if OPENED or len(sizes) > reads.due:
                counted.heed(bucket, reads, len(value))
        elif bucket.purses:
            self._begin_to_count(bucket, len(value))
        return value

    def _composites(self, names: Sequence[str]) -> builtins.list[bytes]:
        """Callers' keys as composite ones, checked."""
        space = self._space
        try:
            keys = [space + name.encode() for name in names]
        except (AttributeError, UnicodeEncodeError):
            return [arguments.compose(space, name) for name in names]
        lengths = list(map(len, keys))
        if keys and self._least < min(lengths) and max(lengths) <= self._most:
            return keys
        return [arguments.compose(space, name) for name in names]

    def get_many(self, keys: Iterable[str]) -> list[bytes | None]:
        """The values of many keys, None where there is no object."""
        return [self._get_or_none(key) for key in arguments.listed(keys, "keys")]

    def _get_or_none(self, key: str) -> bytes | None:
        try:
            return self.get(key)
        except NotFound:
            return None

    def put_many(
        self,
        pairs: Iterable[tuple[str, bytes]] | Mapping[str, bytes],
        *,
        atomic: bool = False,
        **options: object,
    ) -> builtins.list[Receipt]:
        """Store many objects; those of one bucket commit together.

        Args:
            pairs: of key and value, or a mapping; at most 10,000, and 64 MiB of values.
            atomic: all or nothing; CrossBucket where the keys lie in two buckets.
            **options: as for ``put``, for each of them.

        Returns:
            The receipts, in order. The first refusal is raised (``index`` says
            which), after the others were stored, unless ``atomic``.
        """
        common = put_options(**known(options)) if options else None  # type: ignore[arg-type]
        arguments.flag(atomic, "atomic")
        names, values = arguments.columns(pairs)
        keys = self._composites(names)
        if not set(map(type, values)) <= {bytes}:
            values = list(map(arguments.payload, values))
        small = max(map(len, values), default=0) <= VALUE_RECORD_BYTES
        if small and common is None and not atomic:
            return self._corridor.store_many((keys, names, values))
        operations = [
            Store(key, name, value, common)
            for key, name, value in zip(keys, names, values, strict=True)
        ]
        if atomic or self._corridor.numbered:
            arguments.in_one_record(values)
        if not small:
            return receipts_of(large.store_many(self._corridor, operations))
        return receipts_of(self._corridor.write_many(operations, atomic=atomic))

    def put_soon(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Queue a store and return: durable within 100 ms, in order per key, retried.

        What could not be stored shows in ``store.flush()`` and
        ``store.dead_letters()``; a crash loses what is still queued, the end of the
        program does not.
        """
        operation = Store(arguments.compose(self._space, key), key, arguments.payload(data))
        arguments.in_one_record((operation.value,))
        if self._corridor.numbered:
            raise InvalidValue(argument="number", reason="put_soon has no use for it")
        self._enter()
        self._store.soon.put(self.name, operation)

    def append(self, key: str, data: bytes | bytearray | memoryview) -> int:
        """Add bytes to a value, creating it where it is absent; its total size in bytes.

        Expiry, consumers and content type stay. Costs what the added bytes cost. Over
        63 MiB are added in pieces of 63 MiB, each as a whole.
        """
        composite = arguments.compose(self._space, key)
        value = arguments.payload(data)
        if self._corridor.numbered and len(value) > VALUE_RECORD_BYTES:
            raise InvalidValue(argument="data", reason="a numbered append takes at most 1 MiB")
        total = 0
        for at in builtins.range(0, max(len(value), 1), large.APPEND_BYTES):
            piece = value[at : at + large.APPEND_BYTES]
            total = large.append(self._corridor, Append(composite, key, piece, more=at > 0))
        return total

    def delete(self, key: str, missing_ok: bool = False) -> None:  # noqa: FBT001, FBT002 - the face
        """Remove an object; NotFound where there is none, unless ``missing_ok``."""
        try:
            self._corridor.write(Delete(arguments.compose(self._space, key), key))
        except NotFound:
            if not missing_ok:
                raise

    def release(self, key: str) -> None:
        """Lift ``permanent`` from an object."""
        self._corridor.write(Release(arguments.compose(self._space, key), key))

    # -- looking ----------------------------------------------------------------------

    def exists(self, key: str) -> bool:
        """Whether there is an object with exactly this key."""
        composite = arguments.compose(self._space, key)
        self._count(composite, "C", 0)
        try:
            self._object(key, composite)
        except NotFound:
            return False
        return True

    def __contains__(self, key: object) -> bool:
        return self.exists(key)  # type: ignore[arg-type]

    def stat(self, key: str) -> Stat:
        """What is known of an object, or of a name that only other keys lie below."""
        composite = arguments.compose(self._space, key)
        try:
            found = self._object(key, composite)
            held_by = describe.holder(self._corridor, composite)
            told = describe.stat(key, found.entry, found.consumers, held_by)
        except NotFound:
            if not describe.is_directory(self._corridor, composite):
                self._enter()
                raise
            told = describe.directory_stat(key)
        self._count(composite, "C", len(composite) - self._least)
        return told

    def list(
        self,
        prefix: str = "",
        *,
        recursive: bool = True,
        by: By = "text",
        limit: int | None = None,
        after: str | None = None,
    ) -> Iterator[str]:
        """Keys in byte order below a prefix.

        Args:
            prefix: what keys begin with.
            recursive: False gives the keys directly below, and each deeper
                level once, as a name ending in "/".
            by: "text", or "component", where "a" covers "a" and "a/b", not "ab".
            limit: how many at most.
            after: go on behind this name (exclusive).

        No snapshot: a key present throughout is listed once, one absent
        throughout is not.
        """
        pages = self._pages(prefix, recursive, by, limit, after, names_only=True)
        told = self._counted(pages, self._space, limit)
        return chain.from_iterable(listing.names(told, self._space))

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
        pages = self._pages(prefix, recursive, by, limit, after)
        told = self._counted(pages, self._space, limit)
        return describe.entries(self._corridor, self._space, told)

    def _pages(  # noqa: PLR0917 - a list has these five sides
        self,
        prefix: str,
        recursive: bool,  # noqa: FBT001
        by: str,
        limit: int | None,
        after: str | None,
        *,
        names_only: bool = False,
    ) -> Iterator[builtins.list[listing.Row]]:
        most = arguments.page_limit(limit)
        walk = listing.Listing(
            self._corridor,
            self._space,
            arguments.text(prefix, "prefix"),
            by=by,
            after=None if after is None else arguments.text(after, "after"),
            recursive=arguments.flag(recursive, "recursive"),
            first_page=LIST_PAGE if most is None else most,
            names_only=names_only,
        )
        return walk.pages()

    def mapping(self) -> MutableMapping[str, bytes]:
        """This namespace as a mutable mapping of keys to values."""
        return handles.NamespaceMapping(self)

    # -- streams, locks, consumers --------------------------------------------------------

    def open(self, key: str, mode: str = "rb") -> io.RawIOBase:
        """An object as a binary file: "rb", or "wb", stored whole when it is closed."""
        composite = arguments.compose(self._space, key)
        if mode == "wb":
            self._find(composite)  # Closed at once, not when it is written
            return streams.ObjectWriter(LargeWriter(self._corridor, composite, key, None))
        if mode != "rb":
            raise InvalidValue(argument="mode", reason="rb or wb")
        sent = partial(self._count, composite, "")
        while True:
            try:
                entry = self._object(key, composite).entry
                file = streams.ObjectReader(self._corridor, composite, key, entry, sent=sent)
            except Changed:
                continue  # replaced meanwhile: the new one, then
            except NotFound:
                self._enter()
                raise
            self._count(composite, "C", 0)
            return file

    def lock(self, key: str, *, ttl: float | str = LOCK_TTL_S, wait: float = 0) -> handles.Lock:
        """Take a lease on a key, waiting at most ``wait`` seconds for it.

        Raises:
            LockHeld: somebody else still held it when the wait was over.
        """
        take, clock = self._lease(key, ttl), self._store.clock
        until_ns = clock.monotonic_ns() + arguments.seconds(wait, "wait") * SECOND_NS
        while True:
            try:
                return take()
            except LockHeld:
                left_ns = until_ns - clock.monotonic_ns()
                if left_ns <= 0:
                    raise
            clock.sleep(min(left_ns / SECOND_NS, LOCK_POLL_S))

    def _lease(self, key: str, ttl: float | str) -> Callable[[], handles.Lock]:
        """What asks for a lease, called until it is had: all of it is one request."""
        composite = arguments.compose(self._space, key)
        ttl_ns = arguments.duration_ns(ttl)
        asked = Lock(composite, key, self._store.entropy.bytes(LOCK_ID_BYTES), ttl_ns)

        def take() -> handles.Lock:
            try:
                fence = self._corridor.write(asked)
            except LockHeld:
                asked.again = True
                raise
            return handles.Lock(self._corridor, composite, key, asked.lock_id, fence)

        return take

    def unlock(self, key: str, lock_id: str) -> None:
        """Give a lease back by its id; LockLost where this id does not hold the key."""
        composite = arguments.compose(self._space, key)
        self._corridor.write(Unlock(composite, key, arguments.lock_id(lock_id)))

    def consumers(self, key: str) -> handles.ConsumerList:
        """The reference list of an object."""
        composite = arguments.compose(self._space, key)
        looked = partial(self._count, composite, "C", 0)
        return handles.ConsumerList(self._corridor, composite, key, looked)

    def __repr__(self) -> str:
        return f"Namespace({self.name!r})"
