"""One namespace of the model: a dict of objects and a dict of locks."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Unpack

from holdfast.errors import (
    Exists,
    FenceTooOld,
    HoldfastError,
    InvalidValue,
    LockHeld,
    LockLost,
    NotFound,
    Permanent,
    VersionMismatch,
)
from holdfast.testing.face import Buffer, Coverage, PutOptions, Ttl
from holdfast.testing.model import arguments, listing
from holdfast.testing.model.handles import ModelConsumers, ModelLock, ModelMapping
from holdfast.testing.model.objects import (
    BUCKET,
    Lock,
    Object,
    Options,
    new_consumers,
    new_expiry,
    put_options,
    told,
    told_of_directory,
)
from holdfast.testing.model.shared import Shared
from holdfast.testing.model.streams import ModelWriter
from holdfast.values import DeadLetter, Receipt, Stat

SECOND_NS = 1_000_000_000
Receipts = list[Receipt]  # named here: inside the class ``list`` is a verb
Values = list[bytes | None]


class ModelNamespace:
    """A tenant's keyspace in plain dicts; docs/GUARANTEES.md has every meaning.

    Args:
        shared: the store's time, chance and versions.
        name: the namespace's name.
    """

    def __init__(self, shared: Shared, name: str) -> None:
        self.shared = shared
        self.name = name
        self.objects: dict[str, Object] = {}
        self.locks: dict[str, Lock] = {}

    # -- state, as time shows it ---------------------------------------------

    def live(self) -> dict[str, Object]:
        """The objects that have not expired; those that have are forgotten here."""
        self.shared.require_open()
        now_ns = self.shared.now_ns()
        self.objects = {
            key: found
            for key, found in self.objects.items()
            if found.expires_ns is None or now_ns < found.expires_ns
        }
        return self.objects

    def find(self, key: object) -> Object | None:
        """The live object of a valid key, or None."""
        return self.live().get(arguments.key_name(key))

    def require(self, key: object) -> Object:
        """The live object of a valid key, or NotFound."""
        found = self.find(key)
        if found is None:
            raise NotFound(key=key)
        return found

    def holder(self, key: str) -> Lock | None:
        """The lock that holds the key now, or None."""
        self.shared.require_open()
        lock = self.locks.get(key)
        if lock is not None and self.shared.now_ns() >= lock.until_ns:
            del self.locks[key]
            return None
        return lock

    # -- writing ---------------------------------------------------------------

    def put(self, key: str, data: Buffer, **options: Unpack[PutOptions]) -> Receipt:
        """Create or replace."""
        return self.store(arguments.key_name(key), arguments.payload(data), put_options(options))

    def store(self, key: str, value: bytes, options: Options) -> Receipt:
        """A put whose arguments are checked: conditions first, then the new object."""
        before = self.find(key)
        self.refuse_permanent(key)
        self.check_fence(key, options.fence)
        self.check_conditions(key, options)
        now_ns = self.shared.now_ns()
        made = Object(
            value=value,
            expires_ns=new_expiry(before, options, now_ns),
            consumers=new_consumers(before, options),
            permanent=options.permanent,
            content_type=options.content_type,
            modified_ns=now_ns,
            version=self.shared.next_version(),
        )
        self.objects[key] = made
        return Receipt(key, made.version, len(value), made.expires_ns, BUCKET)

    def refuse_permanent(self, key: str) -> None:
        """Raise Permanent where the key holds a permanent object."""
        found = self.find(key)
        if found is not None and found.permanent:
            raise Permanent(key=key)

    def check_fence(self, key: str, fence: int | None) -> None:
        """Accept a fence only while that very lock holds the key."""
        if fence is None:
            return
        held = self.holder(key)
        if held is not None and fence < held.fence:
            raise FenceTooOld(key=key)
        if held is None or fence != held.fence:
            raise LockLost(key=key)

    def check_conditions(self, key: str, options: Options) -> None:
        """if_absent and if_version against what is there."""
        found = self.find(key)
        if options.if_absent and found is not None:
            raise Exists(key=key)
        if options.if_version is None:
            return
        actual = None if found is None else found.version
        if actual != options.if_version:
            raise VersionMismatch(key=key, expected=options.if_version, actual=actual)

    def put_many(
        self,
        pairs: Iterable[tuple[str, Buffer]],
        *,
        atomic: bool = False,
        **options: Unpack[PutOptions],
    ) -> Receipts:
        """Every pair by itself, the first failure raised at the end; or all, or none."""
        self.shared.require_open()
        arguments.truth(atomic, "atomic")
        checked, given = put_options(options), arguments.batch(pairs)
        before = dict(self.objects)
        receipts: Receipts = []
        failures: list[HoldfastError] = []
        for index, (key, value) in enumerate(given):
            try:
                receipts.append(self.store(key, value, checked))
            except HoldfastError as error:
                failures.append(type(error)(**{**error.facts, "index": index}))
        if failures and atomic:
            self.objects = before
        if failures:
            raise failures[0]
        return receipts

    def put_soon(self, key: str, data: Buffer) -> None:
        """A put whose failure is told by flush and kept as a dead letter."""
        name, value = arguments.key_name(key), arguments.payload(data)
        try:
            self.store(name, value, put_options({}))
        except Permanent as error:
            letter = DeadLetter(self.name, name, error.code, error.message)
            self.shared.failures.append(letter)
            self.shared.dead_letters.append(letter)

    def append(self, key: str, data: Buffer) -> int:
        """Add bytes at the end; everything else about the object stays."""
        name, more = arguments.key_name(key), arguments.payload(data)
        self.refuse_permanent(name)
        before = self.find(name) or Object(b"", version=0, modified_ns=0)
        made = replace(
            before,
            value=before.value + more,
            version=self.shared.next_version(),
            modified_ns=self.shared.now_ns(),
        )
        self.objects[name] = made
        return len(made.value)

    def delete(self, key: str, missing_ok: bool = False) -> None:  # noqa: FBT001, FBT002 - the face's form
        """Remove; a permanent object refuses."""
        name = arguments.key_name(key)
        if self.find(name) is None and missing_ok:
            return
        self.require(name)
        self.refuse_permanent(name)
        del self.objects[name]

    def release(self, key: str) -> None:
        """Lift "permanent"; fine where it was not."""
        self.objects[key] = replace(self.require(key), permanent=False)

    # -- reading ---------------------------------------------------------------

    def get(self, key: str, *, range: tuple[int, int] | None = None) -> bytes:  # noqa: A002 - the face's word
        """The value, or a part of it."""
        value = self.require(key).value
        return value if range is None else value[arguments.byte_range(range, len(value))]

    def get_many(self, keys: Iterable[str]) -> Values:
        """The values, None where there is none."""
        found = [self.find(key) for key in arguments.listed(keys, "keys")]
        return [None if each is None else each.value for each in found]

    def open(self, key: str, mode: str = "rb") -> io.BytesIO:
        """A reader for "rb", a writer for "wb"."""
        name = arguments.key_name(key)
        if mode == "rb":
            return io.BytesIO(self.get(name))
        if mode != "wb":
            raise InvalidValue(argument="mode")
        self.shared.require_open()
        self.refuse_permanent(name)
        return ModelWriter(lambda written: self.put(name, written))

    def exists(self, key: str) -> bool:
        """Whether this very key holds an object."""
        return self.find(key) is not None

    def __contains__(self, key: str) -> bool:
        return self.exists(key)

    def stat(self, key: str) -> Stat:
        """What is known of an object, or that the name is a directory."""
        found = self.find(key)
        if found is not None:
            return told(key, found)
        if listing.has_below(self.live(), key):
            return told_of_directory(key)
        raise NotFound(key=key)

    def entries(
        self,
        prefix: str = "",
        *,
        recursive: bool = True,
        by: Coverage = "text",
        limit: int | None = None,
        after: str | None = None,
    ) -> Iterator[Stat]:
        """What list shows, with what stat says."""
        for name in self.list(prefix, recursive=recursive, by=by, limit=limit, after=after):
            found = self.find(name)
            yield told_of_directory(name) if found is None else told(name, found)

    # -- consumers, locks, mapping -----------------------------------------------

    def consumers(self, key: str) -> ModelConsumers:
        """The reference list of an object."""
        return ModelConsumers(self, arguments.key_name(key))

    def lock(self, key: str, *, ttl: Ttl = 30, wait: float = 0) -> ModelLock:
        """A lease on the key, whether or not an object is there."""
        name, ttl_ns = arguments.key_name(key), arguments.duration_ns(ttl)
        deadline_ns = self.shared.now_ns() + round(wait * SECOND_NS)
        while (held := self.holder(name)) is not None:
            left_ns = min(deadline_ns, held.until_ns) - self.shared.now_ns()
            if left_ns <= 0:
                raise LockHeld(key=name)
            self.shared.clock.sleep(left_ns / SECOND_NS)
        until_ns = self.shared.now_ns() + ttl_ns
        lock = Lock(
            self.shared.entropy.bytes(20).hex(), self.shared.next_version(), ttl_ns, until_ns
        )
        self.locks[name] = lock
        return ModelLock(self, name, lock)

    def unlock(self, key: str, lock_id: str) -> None:
        """Give the lease back; only the one that holds."""
        name = arguments.key_name(key)
        held = self.holder(name)
        if held is None or held.id != lock_id:
            raise LockLost(key=name)
        del self.locks[name]

    def renew(self, key: str, lock_id: str) -> None:
        """Let the lease run its full ttl again; only the one that holds."""
        held = self.holder(key)
        if held is None or held.id != lock_id:
            raise LockLost(key=key)
        self.locks[key] = replace(held, until_ns=self.shared.now_ns() + held.ttl_ns)

    def mapping(self) -> ModelMapping:
        """The namespace as a dict of str to bytes."""
        return ModelMapping(self)

    def list(
        self,
        prefix: str = "",
        *,
        recursive: bool = True,
        by: Coverage = "text",
        limit: int | None = None,
        after: str | None = None,
    ) -> Iterator[str]:
        """Names below a prefix, in byte order."""
        return iter(
            listing.names(self.live(), prefix, recursive=recursive, by=by, limit=limit, after=after)
        )
