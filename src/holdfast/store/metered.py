"""How a namespace shows and sets what it costs; what does it is loaded when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

from holdfast.bucket import counted
from holdfast.errors import LimitExceeded
from holdfast.request.listing import Row, names, told_bytes

if TYPE_CHECKING:
    from holdfast.charges import Kind
    from holdfast.placement.directory import Directory
    from holdfast.store.store import Store
    from holdfast.values import Configured, Hits, Hour, Usage


class Metered:
    """What a namespace costs; a part of ``Namespace``."""

    name: str
    _store: Store
    _directory: Directory
    _space: bytes
    _pages: Callable[..., Iterator[list[Row]]]  # of a list, not counted yet

    def configure(
        self,
        *,
        tariff: str | None = None,
        bytes_max: int | None = None,
        objects_max: int | None = None,
        requests_per_s: int | None = None,
        concurrent_max: int | None = None,
        grace: float | str = 0,
        retention: float | str | None = None,
    ) -> Configured:
        """Set what the namespace pays and what it may hold; everything that is not said ends.

        Args:
            tariff: the name of one, its newest version; None: it is free.
            bytes_max: of keys and values that it may hold.
            objects_max: how many objects it may hold.
            requests_per_s: that are let in, through the doors of all processes of a server
                together.
            concurrent_max: requests under way at once, through these doors too. Where no server
                serves the store: writes that are not on the disk yet; reads find them, too.
            grace: for how long reads go on when it cannot pay, in seconds or like "7d".
            retention: for how long what it holds is kept then at least; None: for ever.

        Raises:
            InvalidValue, InvalidExpiry: nothing was changed.

        Example:
            >>> import holdfast
            >>> with holdfast.open(":memory:") as store:
            ...     acme = store.namespace("acme")
            ...     deposit = store.accounts.deposit("acme", 10**18, "invoice 1")
            ...     configured = acme.configure(tariff="enclave", bytes_max=1_000_000)
            ...     acme.put("a", b"1", ttl=60).cost_atto
            1764805520
        """
        return self._store.meters.configure(
            self.name,
            tariff,
            bounds=(bytes_max, objects_max, requests_per_s, concurrent_max),
            grace=grace,
            retention=retention,
        )

    def configured(self) -> Configured | None:
        """What was set, or None where nothing is."""
        return self._store.meters.configured(self.name)

    def usage(self) -> Usage:
        """What it holds and what it was charged for; all that was asked for before is in it."""
        return self._store.meters.usage(self.name)

    def hours(self) -> list[Hour]:
        """Its usage at the first tick of each hour in which it was used, for 90 days."""
        return self._store.meters.hours(self.name)

    @property
    def balance_atto(self) -> int:
        """What it can still spend, in 10^-18 USD."""
        return self._store.meters.balance(self.name)

    def _count(self, composite: bytes, kind: Kind, sent_bytes: int) -> bool:
        """Count a read that is no load of a value, where somebody may have to pay; whether so."""
        bucket = self._directory.find(composite)
        if not bucket.purses:
            return False
        counted.count(bucket, composite, kind, sent_bytes)
        return True

    def _found(self, hits: Hits) -> Hits:
        """What a search found: one operation, and what is told of each hit."""
        bucket = self._directory.find(self._space)
        if bucket.purses:  # only then is it worth to know how much is told
            counted.count(bucket, self._space, "A", hits.told_bytes)
        return hits

    def list_whole(
        self, prefix: str, *, recursive: bool, after: str | None, most: int
    ) -> list[str]:
        """All that ``list`` tells, together: one operation, and the names that are sent.

        Args:
            prefix: what keys begin with.
            recursive: False gives the keys and directories directly below.
            after: go on behind this name (exclusive).
            most: names.

        Raises:
            LimitExceeded: they are more; that costs nothing.
        """
        space = self._space
        counted.admit(self._directory.find(space), space)
        pages = self._pages(prefix, recursive, "text", None, after, names_only=True)
        rows = list(islice(chain.from_iterable(pages), most + 1))
        if len(rows) > most:
            raise LimitExceeded(limit="ENCLAVE_LIST", most=most)
        sent = told_bytes(rows, space)
        counted.count(self._directory.find(space), space, "A", sent, admitted=True)
        return next(names(iter([rows]), space))

    def _counted(
        self, pages: Iterator[list[Row]], space: bytes, most: int | None
    ) -> Iterator[list[Row]]:
        """A list's pages, ``most`` rows of them: one operation, and the names that are sent.

        What is sent is charged when the list is over, or given up: it is rounded up once, however
        many buckets it is of.
        """
        is_paid = self._count(space, "A", 0)  # else nobody asks what is sent
        left, sent = most, 0
        try:
            for page in pages:
                if left is not None:
                    page = page[:left]  # noqa: PLW2901 - what lies behind is not told
                    left -= len(page)
                if is_paid:
                    sent += told_bytes(page, space)
                yield page
                if left == 0:
                    return
        finally:
            if sent:
                self._count(space, "", sent)
