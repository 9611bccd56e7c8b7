"""Ranges that another process of the same store holds, seen from here.

``Elsewhere`` stands in the directory where a bucket would, and answers what a
request asks of a bucket by asking the process that holds the range. So lists,
large objects and batches that cross the border need no way of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Protocol

from holdfast.bucket.bills import OPEN, OPENED
from holdfast.charges import Terms
from holdfast.clock import BucketTime
from holdfast.log.entry import Entry, pack
from holdfast.operations import Operation
from holdfast.values import Place
from holdfast.views.port import Table

Page = tuple[list[tuple[bytes, bytes]], bytes | None]


class Link(Protocol):
    """The way to another process: ``ask`` returns what it answered, or raises its error.

    Unavailable where it cannot be reached and nothing was begun; OutcomeUnknown
    where a write was on its way.
    """

    def ask(self, method: str, *arguments: object) -> Any: ...  # noqa: ANN401, D102 - as it says


class Elsewhere:
    """A range of keys that another process holds.

    Args:
        start: where it begins; ``stop`` is where it ends, exclusive.
        link: the way there.
        time: bucket time, which all processes of a store draw from one wall clock.
        id: names that process.
    """

    far = True
    crowded = True  # nothing quick is tried: writes go by ``apply``
    may_expire = False  # whoever holds the range leaves out what has expired
    special = 1  # it may hold anything
    purses: Any = MappingProxyType({})  # whoever holds the range counts, and charges
    reads = purses

    def __init__(  # noqa: PLR0917 - a range, and the way to it
        self,
        start: bytes,
        stop: bytes,
        link: Link,
        time: BucketTime,
        id: str = "elsewhere",  # noqa: A002 - as of a bucket
    ) -> None:
        self.start = start
        self.stop = stop
        self.link = link
        self.time = time
        self.id = id

    # -- writing ----------------------------------------------------------------------

    def apply(self, operations: Sequence[Operation], *, atomic: bool = False) -> list[Any]:
        """As ``Bucket.apply``."""
        outcomes, costs = self.link.ask("apply", list(operations), atomic)
        for operation, cost_atto in zip(operations, costs, strict=True):
            operation.cost_atto = cost_atto
        bill = OPEN.get() if OPENED else None
        if bill is not None:
            bill.add_told(sum(costs))
        return list(outcomes)

    def apply_one(self, operation: Operation) -> Any:  # noqa: ANN401 - what the verb returns
        """As ``Bucket.apply_one``."""
        (outcome,) = self.apply((operation,))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def sync_published(self) -> None:
        """Make what was answered durable."""
        self.link.ask("sync", self.start, self.stop)

    # -- reading ----------------------------------------------------------------------

    def load(self, key: bytes) -> bytes | Entry:
        """As ``Bucket.load``."""
        found: bytes | Entry = self.link.ask("load", key)
        return found

    load_here = load

    def load_now(self, key: bytes) -> tuple[bytes, bytes | None]:
        """As ``Bucket.load_now``, for a key that went there a moment ago: this may wait."""
        entry, value = self.look(key, "")
        return pack(entry), value

    def look(self, key: bytes, name: str) -> tuple[Entry, bytes | None]:
        """What is known of an object, and its value where that is small."""
        found: tuple[Entry, bytes | None] = self.link.ask("look", key, name)
        return found

    def load_many(self, keys: Sequence[bytes], most_bytes: int) -> list[Any] | None:
        """As ``bucket/many.py``, in one call: None for ``ABSENT``, False for ``AFAR``."""
        found: list[Any] | None = self.link.ask("load_many", list(keys), most_bytes)
        return found

    def object(self, key: bytes) -> Any:  # noqa: ANN401 - bucket.read.Object
        """As ``Bucket.object``."""
        return self.link.ask("object", key)

    def living(self, key: bytes) -> Entry:
        """As ``Bucket.living``."""
        found: Entry = self.object(key).entry
        return found

    def terms(self, key: bytes) -> tuple[Terms, ...]:
        """As ``Purses.terms``."""
        found: tuple[Terms, ...] = self.link.ask("terms", key)
        return found

    def row(self, key: bytes) -> bytes | None:
        """As ``Bucket.row``."""
        found: bytes | None = self.link.ask("row", key)
        return found

    def consumers(self, key: bytes) -> list[str | bytes]:
        """As ``Bucket.consumers``."""
        found: list[str | bytes] = self.link.ask("consumers", key)
        return found

    def hold(self, key: bytes, entry: Entry) -> Any:  # noqa: ANN401 - as of a bucket
        """Nothing: who holds the range keeps it from collectors for its own readers alone."""
        del key, entry

    def read_extents(self, key: bytes, entry: Entry, start: int, stop: int) -> bytes:
        """As ``Bucket.read_extents``."""
        found: bytes = self.link.ask("read_extents", key, entry, start, stop)
        return found

    def page(
        self,
        start: bytes,
        stop: bytes,
        limit: int,
        table: Table = Table.KEYS,
        *,
        uncut: bool = False,
    ) -> Page:
        """As ``Bucket.page``, live rows only."""
        del uncut  # they are copied anyway
        return self._told("page", start, stop, limit, int(table))

    def rows(self, start: bytes, stop: bytes, limit: int) -> Page:
        """As ``page`` of objects, expired ones among them."""
        return self._told("rows", start, stop, limit)

    def _told(self, what: str, start: bytes, stop: bytes, *more: int) -> Page:
        end = min(stop, self.stop)
        found: Page = self.link.ask(what, start, end, *more)
        page, after = found
        return page, end if after is None and end < stop else after

    def sharing(self, key: bytes) -> int:
        """How many keys there share the row of a long ``key``."""
        count: int = self.link.ask("sharing", key)
        return count

    def disowned(self, key: bytes, upload: bytes, number: int) -> bool:
        """Whether nobody needs a part of an object that belongs there."""
        answer: bool = self.link.ask("disowned", key, upload, number)
        return answer

    def is_writing(self, upload: bytes) -> bool:
        """Whether that process itself writes an upload's parts now."""
        answer: bool = self.link.ask("is_writing", upload)
        return answer

    def place(self, key: bytes, space: bytes) -> Place:
        """Which bucket holds a key there; its range is cut to the namespace ``space``."""
        found: Place = self.link.ask("place", key, space)
        return found

    def __repr__(self) -> str:
        return f"Elsewhere({self.start!r}, {self.stop!r})"
