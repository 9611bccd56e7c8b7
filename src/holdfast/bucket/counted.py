"""Reads of namespaces with a purse, counted in memory until somebody settles them.

A read writes nothing, so what it costs is gathered here and charged a little later
(settling.py); how many may wait is bounded (lag.py), and a crash loses those, in the tenant's
favour (rule 14). Whoever answers a read counts it, once it is known what is sent.
"""

from __future__ import annotations

from array import array
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.bucket.bills import OPEN, OPENED
from holdfast.charges import Charge, Kind, Terms, charge
from holdfast.errors import BalanceEmpty, HoldfastError

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.gates import Gates
    from holdfast.bucket.lag import Lag


class Reads:
    """What was read of one namespace in one bucket and is not charged yet.

    ``sizes`` are the bytes that loads sent: whoever answers one appends to it, and calls
    ``heed`` where there are more of them than ``due``. They are kept as an array: numbers that
    another thread lets go of are no longer in the reader's cache when their memory is used again.

    Args:
        namespace: whose.
        lag: bounds them, with those of other buckets.
        gates: how often the namespace may be asked.
    """

    __slots__ = ("_again", "_gates", "_others", "due", "lag", "namespace", "silent", "sizes")

    def __init__(self, namespace: bytes, lag: Lag, gates: Gates) -> None:
        self.namespace = namespace
        self.lag = lag
        self._gates = gates
        self.sizes = array("Q")
        self.due = 0
        self._others: list[tuple[Kind, int]] = []  # that were asked for besides
        self._again: Counter[tuple[Kind, int]] = Counter()  # that could not be charged
        self.silent = False  # reads are refused

    def hush(self, *, silent: bool) -> None:
        """Refuse reads from now on, or answer them."""
        self.silent = silent
        if silent:
            self.lag.recall(self)  # so that each of them has to heed

    def heed(self, size_bytes: int) -> None:
        """Be granted more loads, once a load is counted that is over the grant.

        Raises:
            BalanceEmpty, LimitExceeded: reads are refused, and this one is not counted.
        """
        try:
            self.refuse()
        except HoldfastError:
            # Not between two steps of ``taken``, which would forget another's load for this one.
            with self.lag.granting, suppress(ValueError):
                self.sizes.remove(size_bytes)
            raise
        self.lag.grant(self)

    @property
    def is_held(self) -> bool:
        """Whether each load has to heed."""
        return self.silent or self.namespace in self._gates.windows

    def over(self) -> int:
        """Loads that are counted beyond the grant."""
        return max(0, len(self.sizes) - self.due)

    def unused(self) -> int:
        """Loads that are granted and not counted yet."""
        return max(0, self.due - len(self.sizes))

    def add(self, kind: Kind, egress_bytes: int) -> None:
        """Count another read, which was let in."""
        self._others.append((kind, egress_bytes))

    def __len__(self) -> int:
        return len(self.sizes) + len(self._others) + self._again.total()

    def taken(self, terms: Terms) -> Counter[tuple[Kind, int]]:
        """What has been read, by class and bytes sent; it is forgotten here. By one at a time.

        Where ``terms`` round nothing, all that loads sent is told as one sum.
        """
        others = self._others.copy()
        del self._others[: len(others)]  # whoever reads meanwhile appends behind them
        with self.lag.granting:
            sizes = self.sizes[:]
            self.due -= len(sizes)
            del self.sizes[: len(sizes)]
        found, self._again = self._again, Counter()
        if sizes and terms.egress_unit == 1:
            found["C", 0] += len(sizes)
            found["", sum(sizes)] += 1
        else:
            found.update({("C", size): times for size, times in Counter(sizes).items()})
        found.update(others)
        return found

    def put_back(self, read: Counter[tuple[Kind, int]]) -> None:
        """Count again what was taken and could not be charged, or was counted elsewhere."""
        self._again.update(read)

    def refuse(self) -> None:
        """Raise BalanceEmpty where the grace is over, LimitExceeded where there were too many."""
        if self.silent:
            raise BalanceEmpty(namespace=self.namespace.decode())
        if self._gates.windows:
            self._gates.enter(self.namespace)


def priced(terms: Terms, read: Counter[tuple[Kind, int]]) -> dict[Charge, int]:
    """What was read as charges, and how often each."""
    return {charge(terms, kind, egress_bytes=size): times for (kind, size), times in read.items()}


def load(bucket: Bucket, namespace: bytes, size_bytes: int) -> None:
    """Count a load.

    Args:
        bucket: that answered it, and has a purse.
        namespace: that pays if the purse is its own.
        size_bytes: that are sent.

    Raises:
        BalanceEmpty: reads are refused too.
    """
    if namespace in bucket.purses:
        reads = bucket.reads_of(namespace)
        reads.sizes.append(size_bytes)
        heed(bucket, reads, size_bytes)


def heed(bucket: Bucket, reads: Reads, size_bytes: int) -> None:
    """Do what a load asks for that is counted: be granted more, put it on an open bill."""
    if len(reads.sizes) > reads.due:
        reads.heed(size_bytes)
    _note(bucket, reads.namespace, "C", size_bytes)


def admit(bucket: Bucket, key: bytes) -> None:
    """Let a read in, or refuse it, that is counted once it is known whether it is answered.

    Raises:
        BalanceEmpty, LimitExceeded: reads are refused.
    """
    purse = bucket.purses.of(key)
    if purse is not None:
        bucket.reads_of(purse.namespace).refuse()


def count(
    bucket: Bucket,
    key: bytes,
    kind: Kind,
    egress_bytes: int,
    *,
    waits: bool = True,
    admitted: bool = False,
) -> int:
    """Let a read in and count it; what it costs, 0 where nothing is metered.

    Args:
        bucket: where it is charged.
        key: composite, of the namespace that pays.
        kind: its class.
        egress_bytes: that are sent.
        waits: until it is charged, where too many are not; who must not wait asks
            ``Lag.is_over`` before.
        admitted: it was let in before.

    Raises:
        BalanceEmpty, LimitExceeded: reads are refused.
    """
    purse = bucket.purses.of(key)
    if purse is None:
        return 0
    reads = bucket.reads_of(purse.namespace)
    if kind and not admitted:  # what a list sends is of a read that was let in
        reads.refuse()
    reads.add(kind, egress_bytes)
    _note(bucket, purse.namespace, kind, egress_bytes)
    if kind:  # a list and what it sends are one read
        reads.lag.number(waits=waits)
    return charge(purse.terms, kind, egress_bytes=egress_bytes).amount


def _note(bucket: Bucket, namespace: bytes, kind: Kind, egress_bytes: int) -> None:
    bill = OPEN.get() if OPENED else None
    purse = bucket.purses.get(namespace)
    if bill is not None and purse is not None:
        bill.add_read(charge(purse.terms, kind, egress_bytes=egress_bytes).amount)
