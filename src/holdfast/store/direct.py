"""``store.bucket(id)``: one bucket, asked without the directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.bucket import counted
from holdfast.bucket.bucket import Bucket
from holdfast.errors import HoldfastError, Moved, NotFound
from holdfast.limits import VALUE_RECORD_BYTES
from holdfast.operations import Store as StoreOperation
from holdfast.request import arguments, describe
from holdfast.upkeep.status import place_of
from holdfast.values import Receipt, Stat

if TYPE_CHECKING:
    from holdfast.store.store import Store


class DirectBucket:
    """One bucket, asked directly. Keys outside its range answer ``Moved`` with the new place."""

    def __init__(self, store: Store, bucket: Bucket) -> None:
        self._store = store
        self._bucket = bucket
        self.id = bucket.id

    def __repr__(self) -> str:
        return f"DirectBucket({self.id!r})"

    def get(self, namespace: str, key: str) -> bytes:
        """A value of this bucket."""
        self._mine(namespace, key)
        return self._store.namespace(namespace).get(key)

    def stat(self, namespace: str, key: str) -> Stat:
        """What is known of an object of this bucket."""
        composite = self._mine(namespace, key)
        try:
            found = self._bucket.object(composite)
        except NotFound:
            raise NotFound(key=key) from None
        counted.count(self._bucket, composite, "C", len(key.encode()))
        return describe.stat(key, found.entry, found.consumers, self.id)

    def put(self, namespace: str, key: str, data: bytes) -> Receipt:
        """Store an object in this bucket."""
        composite = self._mine(namespace, key)
        if self._store.placement.has_outgrown(self._bucket, composite):
            self._store.placement.grow(self._bucket, composite)
            self._mine(namespace, key)
        value = arguments.payload(data)
        if len(value) > VALUE_RECORD_BYTES:  # its parts may lie in any bucket
            return self._store.namespace(namespace).put(key, value)
        try:
            receipt = self._bucket.apply_one(StoreOperation(composite, key, value))
        except Moved:
            raise self._moved(namespace, key) from None
        if not isinstance(receipt, Receipt):
            raise HoldfastError(key=key)
        return receipt

    def _mine(self, namespace: str, key: str) -> bytes:
        space = arguments.namespace_bytes(namespace) + arguments.VISIBLE
        composite = arguments.compose(space, key)
        if not self._bucket.start <= composite < self._bucket.stop:
            raise self._moved(namespace, key)
        return composite

    def _moved(self, namespace: str, key: str) -> Moved:
        space = arguments.namespace_bytes(namespace)
        composite = arguments.compose(space + arguments.VISIBLE, key)
        directory, address = self._store.placement.directory, self._store.address
        return Moved(bucket=self.id, place=place_of(directory, composite, space, address))
