"""What a namespace's operations will cost, and what they did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from holdfast.bucket import bills
from holdfast.charges import Back, Terms, whole_seconds
from holdfast.errors import InvalidExpiry, InvalidValue, NotFound
from holdfast.metering.quote import asked, quote
from holdfast.operations import Operation
from holdfast.placement.elsewhere import Elsewhere
from holdfast.request import arguments
from holdfast.values import Cost

if TYPE_CHECKING:
    from holdfast.bucket.bills import Bill
    from holdfast.bucket.bucket import Bucket
    from holdfast.log.entry import Entry
    from holdfast.request.corridor import Corridor
    from holdfast.store.store import Store as OpenStore

KEEP: Final = -1  # as a time to live: that of the object which is there
REPLACES: Final = frozenset(("store", "delete"))


class Pricing:
    """What a namespace's operations cost; a part of ``Namespace``."""

    name: str
    _store: OpenStore
    _corridor: Corridor
    _space: bytes

    @contextmanager
    def bill(self) -> Iterator[Bill]:
        """What is charged inside, in this thread or task: ``cost_atto`` of what it gives.

        What ``put_soon`` queues is stored by another thread, perhaps later: it is on no bill,
        and in ``usage()`` once it is stored.

        Example:
            >>> import holdfast
            >>> with holdfast.open(":memory:") as store:
            ...     acme = store.namespace("acme")
            ...     with acme.bill() as bill:
            ...         receipt = acme.put("a", b"1")
            ...     bill.cost_atto
            0
        """
        with bills.opened() as bill:
            yield bill

    def quote(
        self,
        operation: str | Operation,
        *,
        key: str | None = None,
        size_bytes: int = 0,
        ttl: float | str | None = None,
        keep_ttl: bool = False,
    ) -> Cost:
        """The price of an operation before anything is done; it changes nothing.

        Args:
            operation: as in the table of rights: "store", "load", "list", "lock", ...; or
                a value of ``holdfast.operations``, which says the rest by itself.
            key: of the object; what is there now counts then: what it gets back when it is
                replaced or deleted, how large it is when it is loaded.
            size_bytes: of the value that is to be stored or added, or that is sent.
            ttl: how long it is to live; None pays rent by the tick.
            keep_ttl: it lives as long as what is there now.

        Raises:
            InvalidValue: there is no such operation, or no such size. InvalidExpiry: of ``ttl``,
                or both it and ``keep_ttl`` are given.

        Example:
            >>> import holdfast
            >>> with holdfast.open(":memory:") as store:
            ...     cost = store.namespace("acme").quote("store", size_bytes=100, ttl="30d")
            >>> cost.atto, str(cost)
            (0, '$0')
        """
        if not isinstance(operation, str):
            operation, key, size_bytes, ttl, keep_ttl = asked(operation)
        ttl_ns = None if ttl is None else arguments.duration_ns(ttl)
        if arguments.flag(keep_ttl, "keep_ttl"):
            if ttl is not None:
                raise InvalidExpiry(ttl=ttl, reason="excluded by keep_ttl")
            ttl_ns = KEEP
        size = arguments.integer(size_bytes, "size_bytes")
        if size < 0:
            raise InvalidValue(argument="size_bytes", reason="negative")
        composite = self._space if key is None else arguments.compose(self._space, key)
        known = self._corridor.read(composite, lambda bucket: _terms(bucket, composite))
        entry = None if key is None else self._standing(composite)
        now_ns = self._store.bucket_time_ns()
        key_bytes = len(composite) - len(self._space)
        ttl_ns = _lives_ns(operation, ttl_ns, entry, now_ns)
        back = _given_back(operation, entry, key_bytes, now_ns)
        by_number = {one.number: one for one in known}
        paid = entry.terms if entry is not None and operation == "append" else 0
        return quote(
            self._store.tariffs.of(known[-1].number) if known else None,
            operation,
            size_bytes=_paid_bytes(operation, size, entry, key_bytes),
            ttl_ns=None if ttl_ns is None else max(0, ttl_ns),
            back=back,
            back_terms=None if back is None else by_number[back.terms],
            storage_terms=by_number.get(paid),
        )

    def _standing(self, composite: bytes) -> Entry | None:
        """The object that is there now."""
        try:
            return self._corridor.read(composite, lambda bucket: bucket.object(composite)).entry
        except NotFound:
            return None


def _lives_ns(operation: str, ttl_ns: int | None, entry: Entry | None, now_ns: int) -> int | None:
    """How long what is stored is going to live; None pays rent."""
    if operation == "append" and entry is not None:
        return entry.expires_ns - now_ns if entry.terms else None
    if ttl_ns == KEEP:
        return entry.expires_ns - now_ns if entry is not None and entry.expires_ns else None
    return ttl_ns


def _paid_bytes(operation: str, size_bytes: int, entry: Entry | None, key_bytes: int) -> int:
    """Bytes that are stored, or sent."""
    if operation == "store" or (operation == "append" and entry is None):
        return size_bytes + key_bytes
    if operation == "stat":
        return size_bytes or key_bytes
    if operation == "load" and entry is not None:
        return size_bytes or entry.size
    return size_bytes


def _terms(bucket: Bucket, composite: bytes) -> tuple[Terms, ...]:
    """The terms that a key is charged by; whoever holds it knows them."""
    if isinstance(bucket, Elsewhere):
        return bucket.terms(composite)
    return bucket.purses.terms(composite)


def _given_back(operation: str, entry: Entry | None, key_bytes: int, now_ns: int) -> Back | None:
    """What an object that is replaced or deleted now has paid for and not used."""
    if entry is None or not entry.terms or operation not in REPLACES:
        return None
    rest = whole_seconds(entry.expires_ns - now_ns)
    early = operation == "delete"
    return Back(entry.terms, key_bytes + entry.size, rest, early) if rest else None
