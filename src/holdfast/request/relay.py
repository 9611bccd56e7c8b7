"""What other processes of the same store ask of the ranges that this one holds.

The other half of placement/elsewhere.py. Only buckets of our own are asked: a
range that is on its way between two processes answers ``Moved``, and whoever
asked looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from holdfast.bucket import counted
from holdfast.bucket.bucket import Bucket
from holdfast.bucket.read import Object
from holdfast.bucket.sharing import sharing
from holdfast.charges import Kind
from holdfast.errors import InvalidValue, Moved
from holdfast.log.entry import Entry
from holdfast.operations import Operation
from holdfast.placement.elsewhere import Elsewhere, Page
from holdfast.request.arguments import VISIBLE
from holdfast.request.corridor import Corridor
from holdfast.request.large import disowned
from holdfast.request.listing import living
from holdfast.request.reading import load_many, look, said
from holdfast.values import Place
from holdfast.views.port import Table

T = TypeVar("T")


class Relay:
    """Answers for the ranges of this process.

    Args:
        corridor: the way to them.
        place: tells where a composite key lives, for a namespace.
    """

    def __init__(self, corridor: Corridor, place: Callable[[bytes, bytes], Place]) -> None:
        self._corridor = corridor
        self._directory = corridor.directory
        self._place = place
        self._methods: dict[str, Callable[..., Any]] = {
            "apply": self._apply,
            "sync": self._sync,
            "count": self._count,
            "load": lambda key: self._ask(key, partial(_load, key=key)),
            "load_many": self._load_many,
            "look": self._look,
            "object": self._object,
            "terms": lambda key: self._ask(key, lambda bucket: bucket.purses.terms(key)),
            "row": lambda key: self._ask(key, lambda bucket: bucket.row(key)),
            "consumers": lambda key: self._ask(key, lambda bucket: bucket.consumers(key)),
            "read_extents": self._read_extents,
            "page": self._page,
            "rows": self._rows,
            "sharing": lambda key: self._ask(key, lambda b: sharing(b, Table.KEYS, key)),
            "disowned": self._disowned,
            "is_writing": lambda upload: upload in corridor.uploads,
            "place": self._place_of,
        }

    def answer(self, method: str, arguments: Sequence[object]) -> Any:  # noqa: ANN401 - the method's
        """Do what ``Elsewhere`` asks; its errors are raised."""
        known = self._methods.get(method)
        if known is None:
            raise InvalidValue(argument="method", reason="not known")
        return known(*arguments)

    def _mine(self, key: bytes) -> Bucket:
        bucket = self._directory.find(key)
        if isinstance(bucket, Elsewhere):
            raise Moved
        return bucket

    def _ask(self, key: bytes, ask: Callable[[Bucket], T]) -> T:
        while True:
            bucket = self._mine(key)
            try:
                return ask(bucket)
            except Moved:
                self._directory.look_again()

    def _apply(
        self,
        operations: list[Operation],
        atomic: bool,  # noqa: FBT001
    ) -> tuple[list[object], list[int]]:
        """What became of each, and what it cost."""
        for operation in operations:
            self._mine(operation.key)
        outcomes = self._corridor.write_many(operations, atomic=atomic)
        return outcomes, [operation.cost_atto for operation in operations]

    def _count(self, key: bytes, kind: Kind, egress_bytes: int, times: int) -> None:
        """Reads of a namespace that a process answered which holds no bucket to count them in."""
        bucket = self._mine(key)
        for _ in range(times):
            counted.count(bucket, key, kind, egress_bytes)

    def _sync(self, start: bytes, stop: bytes) -> None:
        for bucket in self._directory:
            if bucket.start < stop and start < bucket.stop:
                bucket.sync_published()

    def _look(self, key: bytes, name: str) -> tuple[Entry, bytes | None]:
        self._mine(key)
        found = look(self._corridor, key, name)
        return found.entry, found.value

    def _load_many(self, keys: list[bytes], most_bytes: int) -> list[Any] | None:
        for key in keys:
            self._mine(key)
        found = load_many(self._corridor, keys, most_bytes, waits=True)
        return None if found is None else said(found)

    def _object(self, key: bytes) -> Object:
        return self._ask(key, lambda bucket: bucket.object(key))

    def _read_extents(self, key: bytes, entry: Entry, start: int, stop: int) -> bytes:
        return self._ask(key, lambda bucket: bucket.read_extents(key, entry, start, stop))

    def _page(self, start: bytes, stop: bytes, limit: int, table: int) -> Page:
        """As ``Bucket.page``, without objects whose time has come."""

        def turned(bucket: Bucket) -> Page:
            page, after = bucket.page(start, stop, limit, Table(table))
            return (living(bucket, page) if table == Table.KEYS else page), after

        return self._ask(start, turned)

    def _rows(self, start: bytes, stop: bytes, limit: int) -> Page:
        """The same of objects, expired ones among them."""
        return self._ask(start, lambda bucket: bucket.page(start, stop, limit))

    def _disowned(self, key: bytes, upload: bytes, number: int) -> bool:
        return self._ask(key, lambda bucket: disowned(bucket, key, upload, number))

    def _place_of(self, key: bytes, space: bytes) -> Place:
        self._mine(key)
        return self._place(key, space)


def _load(bucket: Bucket, key: bytes) -> bytes | Entry:
    """A value, or its entry, for another process; it is counted here."""
    value = bucket.load(key)
    if bucket.purses:
        size = len(value) if isinstance(value, bytes) else value.size
        counted.load(bucket, key.partition(VISIBLE)[0], size)
    return value
