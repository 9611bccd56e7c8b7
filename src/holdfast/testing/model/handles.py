"""What the model hands out: reference lists, locks and the mapping of a namespace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from holdfast.errors import LockLost
from holdfast.testing.face import Buffer, ConsumerId
from holdfast.testing.model import arguments
from holdfast.testing.model.objects import Lock

if TYPE_CHECKING:
    from holdfast.testing.model.namespace import ModelNamespace

Ids = list[ConsumerId]  # named here: inside the classes ``list`` is a verb


class ModelConsumers:
    """The reference list of one object: a multiset that keeps its order."""

    def __init__(self, namespace: ModelNamespace, key: str) -> None:
        self._namespace = namespace
        self._key = key

    def set(self, ids: Iterable[ConsumerId]) -> None:
        """Make it ``ids``."""
        self._become(arguments.consumer_list(ids))

    def append(self, ids: Iterable[ConsumerId]) -> None:
        """Add ``ids`` at the end."""
        given = arguments.consumer_ids(ids)
        self._become(arguments.consumer_list(self.list() + given))

    def remove(self, ids: Iterable[ConsumerId]) -> Ids:
        """Take out one occurrence for each mention; answer those not found."""
        given, left = arguments.consumer_ids(ids), self.list()
        missing: Ids = []
        for each in given:
            places = [
                place
                for place, kept in enumerate(left)
                if arguments.consumer_bytes(kept) == arguments.consumer_bytes(each)
            ]
            if places:
                del left[places[0]]
            else:
                missing.append(each)
        self._become(left)
        return missing

    def list(self) -> Ids:
        """The ids in order, each in the type it was given."""
        return [*(self._namespace.require(self._key).consumers or ())]

    def _become(self, ids: Ids) -> None:
        found = self._namespace.require(self._key)
        self._namespace.objects[self._key] = replace(found, consumers=found.with_consumers(ids))


class ModelLock:
    """A lease on one key; as a context it is released at the end, quietly if it was lost."""

    def __init__(self, namespace: ModelNamespace, key: str, lock: Lock) -> None:
        self._namespace = namespace
        self._key = key
        self.id = lock.id
        self.fence = lock.fence

    def renew(self) -> None:
        """Run the full ttl again from now."""
        self._namespace.renew(self._key, self.id)

    def release(self) -> None:
        """Give the key back."""
        self._namespace.unlock(self._key, self.id)

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


class ModelMapping(MutableMapping[str, bytes]):
    """The namespace as a dict of str to bytes."""

    def __init__(self, namespace: ModelNamespace) -> None:
        self._namespace = namespace

    def __getitem__(self, key: str) -> bytes:
        return self._namespace.get(key)

    def __setitem__(self, key: str, value: Buffer) -> None:
        self._namespace.put(key, value)

    def __delitem__(self, key: str) -> None:
        self._namespace.delete(key)

    def __iter__(self) -> Iterator[str]:
        return self._namespace.list()

    def __len__(self) -> int:
        return len(self._namespace.live())

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._namespace.exists(key)
