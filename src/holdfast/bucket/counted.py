"""Reads of namespaces with a purse, counted in memory until somebody settles them.

A read writes nothing, so what it costs is gathered here and charged a little later
(settling.py); how many may wait is bounded (lag.py), and a crash loses those, in the tenant's
favour (rule 14). A bucket without purses reads as it always did: it gets this way of reading
with its first purse.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from holdfast.bucket.bills import OPEN, OPENED
from holdfast.bucket.lag import Lag
from holdfast.bucket.read import Reader
from holdfast.charges import Charge, Kind, Terms, charge
from holdfast.errors import BalanceEmpty
from holdfast.log.entry import Entry

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket

VISIBLE: Final = b"\0"
HIDDEN: Final = b"\1"
Take = Callable[[int], object]
NEVER: Final = Lag(b"", sys.maxsize, lambda *_: None)  # of what nobody pays for


class Reads:
    """What was read of one namespace in one bucket and is not charged yet.

    ``sizes`` are the bytes of the values that were loaded; ``others`` counts what else was
    asked for, by class and bytes sent. ``silent``: reads are refused.

    Args:
        namespace: whose.
        lag: numbers them, with those of other buckets.
    """

    __slots__ = ("lag", "namespace", "others", "silent", "sizes")

    def __init__(self, namespace: bytes, lag: Lag) -> None:
        self.namespace = namespace
        self.lag = lag
        self.sizes: list[int] = []
        self.others: Counter[tuple[Kind, int]] = Counter()
        self.silent = False

    def __len__(self) -> int:
        return len(self.sizes) + self.others.total()

    def taken(self) -> Counter[tuple[Kind, int]]:
        """What has been read, by class and bytes sent; it is forgotten here."""
        count = len(self.sizes)
        found: Counter[tuple[Kind, int]] = Counter(
            {("C", size): times for size, times in Counter(self.sizes[:count]).items()}
        )
        del self.sizes[:count]  # who reads meanwhile appends behind them
        others, self.others = self.others, Counter()
        found.update(others)
        return found

    def join(self, other: Reads) -> None:
        """Count what was counted elsewhere as well."""
        self.sizes += other.sizes
        self.others.update(other.others)

    def refuse(self, _size: int) -> None:
        """The grace is over."""
        raise BalanceEmpty(namespace=self.namespace.decode())


def priced(terms: Terms, read: Counter[tuple[Kind, int]]) -> dict[Charge, int]:
    """What was read as charges, and how often each."""
    return {charge(terms, kind, egress_bytes=size): times for (kind, size), times in read.items()}


def count(bucket: Bucket, key: bytes, kind: Kind, egress_bytes: int, *, waits: bool = True) -> int:
    """Count a read that no ``load_here`` counts; what it costs, 0 where nothing is metered.

    Args:
        bucket: where it is charged.
        key: composite, of the namespace that pays.
        kind: its class.
        egress_bytes: that are sent.
        waits: until it is charged, where too many are not; who must not wait asks
            ``Lag.is_over`` before.

    Raises:
        BalanceEmpty: reads are refused too.
    """
    purse = bucket.purses.of(key)
    if purse is None:
        return 0
    reads = bucket.reads_of(purse.namespace)
    if reads.silent:
        reads.refuse(0)
    reads.others[kind, egress_bytes] += 1
    _note(bucket, purse.namespace, kind, egress_bytes)
    if kind:  # the pages of a list are one read
        _number(bucket, reads.lag, waits=waits)
    return charge(purse.terms, kind, egress_bytes=egress_bytes).amount


def _number(bucket: Bucket, lag: Lag, *, waits: bool) -> None:
    lag.last = number = lag.draw()
    if waits:
        if number >= lag.heed_at:
            lag.heed(number)
        return
    if lag.is_near():
        bucket.settings.lags.near()


def sent_part(bucket: Bucket, key: bytes, size_bytes: int, sent_bytes: int | None) -> None:
    """Of a value that was loaded only a part was sent: count that. None: it was refused."""
    purse = bucket.purses.of(key)
    if purse is None:
        return
    reads = bucket.reads_of(purse.namespace)
    try:
        reads.sizes.remove(size_bytes)
    except ValueError:  # it was charged meanwhile, as it was loaded
        return
    _note(bucket, purse.namespace, "C", size_bytes, times=-1)
    if sent_bytes is not None:
        reads.others["C", sent_bytes] += 1
        _note(bucket, purse.namespace, "C", sent_bytes)


def _note(
    bucket: Bucket, namespace: bytes, kind: Kind, egress_bytes: int, *, times: int = 1
) -> None:
    bill = OPEN.get() if OPENED else None
    purse = bucket.purses.get(namespace)
    if bill is not None and purse is not None:
        bill.add_read(charge(purse.terms, kind, egress_bytes=egress_bytes).amount * times)


def loader(bucket: Bucket) -> Callable[[bytes], bytes | Entry]:
    """``load_here`` of a bucket that has a purse: loads and counts."""
    plain = Reader.load_here
    # One tuple, so that threads see one namespace's or another's.
    found: tuple[bytes, bytes, Take, Lag] = (VISIBLE, VISIBLE, _pass, NEVER)

    def load_here(key: bytes) -> bytes | Entry:
        nonlocal found
        value = plain(bucket, key)
        low, high, take, lag = found
        if not low <= key < high:
            found = _, _, take, lag = _found(bucket, key)
        size = len(value) if type(value) is bytes else value.size  # type: ignore[union-attr]
        take(size)
        if OPENED and take is not _pass:
            _note(bucket, key.partition(VISIBLE)[0], "C", size)
        number = lag.draw()
        if number >= lag.heed_at:
            lag.heed(number)
        return value

    return load_here


def _pass(_size: int) -> None:
    """Nobody pays for it."""


def _found(bucket: Bucket, key: bytes) -> tuple[bytes, bytes, Take, Lag]:
    """The span of keys that are counted as this one is, what counts and what numbers them."""
    purse = bucket.purses.of(key)
    if purse is None:
        name = key.partition(VISIBLE)[0]
        return name + VISIBLE, name + HIDDEN, _pass, NEVER
    reads = bucket.reads_of(purse.namespace)
    take: Take = reads.refuse if reads.silent else reads.sizes.append
    return purse.namespace + VISIBLE, purse.namespace + HIDDEN, take, reads.lag
