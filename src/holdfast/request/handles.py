"""What a namespace hands out: a lock, a reference list, a mapping."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from types import TracebackType
from typing import Protocol, Self

from holdfast.bucket import rows
from holdfast.errors import LockLost, NotFound
from holdfast.operations import Consumers, Renew, Unlock
from holdfast.request.corridor import Corridor


class Lock:
    """A lease on a key. Leaving its context releases it; losing it before is quiet then.

    ``id`` (40 hex digits) releases it from anywhere, ``fence`` guards writes:
    ``ns.put(key, data, fence=lock.fence)``.
    """

    def __init__(  # noqa: PLR0917 - what a lease is made of
        self, corridor: Corridor, key: bytes, name: str, lock_id: bytes, fence: int
    ) -> None:
        self._corridor = corridor
        self._key = key
        self._name = name
        self._id = lock_id
        self.fence = fence

    @property
    def id(self) -> str:
        """The lock's id, which only its holder knows."""
        return self._id.hex()

    def __repr__(self) -> str:
        return f"Lock(key={self._name!r}, fence={self.fence})"

    def renew(self) -> None:
        """Begin the lease anew; LockLost where it is not held any more."""
        self._corridor.write(Renew(self._key, self._name, self._id))

    def release(self) -> None:
        """Give the lease back; LockLost where it is not held any more."""
        self._corridor.write(Unlock(self._key, self._name, self._id))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.release()
        except LockLost:
            return


class ConsumerList:
    """The reference list of one object: a multiset, in the order given.

    Ids are strings of at most 16 UTF-8 bytes, or bytes; an id is its bytes.
    """

    def __init__(
        self, corridor: Corridor, key: bytes, name: str, looked: Callable[[], object]
    ) -> None:
        self._corridor = corridor
        self._key = key
        self._name = name
        self._looked = looked

    def __repr__(self) -> str:
        return f"ConsumerList(key={self._name!r})"

    def set(self, ids: Iterable[str | bytes]) -> None:
        """Replace the list."""
        self._change("set", ids)

    def append(self, ids: Iterable[str | bytes]) -> None:
        """Add ids at the end."""
        self._change("append", ids)

    def remove(self, ids: Iterable[str | bytes]) -> list[str | bytes]:
        """Take out one occurrence per mention; those that were not found."""
        return [rows.decode_id(i) for i in self._change("remove", ids)]

    def list(self) -> list[str | bytes]:
        """The ids, each in the type it was given in."""
        try:
            found = self._corridor.read(self._key, lambda bucket: bucket.consumers(self._key))
        except NotFound:
            raise NotFound(key=self._name) from None
        self._looked()
        return found

    def _change(self, action: str, ids: Iterable[str | bytes]) -> Iterable[bytes]:
        encoded = rows.encode_ids(ids)
        operation = Consumers(self._key, self._name, action, encoded)  # type: ignore[arg-type]
        found: Iterable[bytes] = self._corridor.write(operation)
        return found


class Keyspace(Protocol):
    """What the mapping needs of a namespace."""

    def get(self, key: str) -> bytes:
        """A value, or NotFound."""

    def put(self, key: str, data: bytes) -> object:
        """Create or replace."""

    def delete(self, key: str) -> None:
        """Remove, or NotFound."""

    def exists(self, key: str) -> bool:
        """Whether there is an object."""

    def list(self) -> Iterator[str]:
        """Keys in byte order."""


class NamespaceMapping(MutableMapping[str, bytes]):
    """A namespace as a mapping: ``m["k"] = b"v"``. Order is byte order of the keys."""

    def __init__(self, space: Keyspace) -> None:
        self._space = space

    def __getitem__(self, key: str) -> bytes:
        return self._space.get(key)

    def __setitem__(self, key: str, value: bytes) -> None:
        self._space.put(key, value)

    def __delitem__(self, key: str) -> None:
        self._space.delete(key)

    def __iter__(self) -> Iterator[str]:
        return self._space.list()

    def __len__(self) -> int:
        return sum(1 for _ in self._space.list())

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._space.exists(key)

    def __repr__(self) -> str:
        return f"NamespaceMapping({self._space!r})"
