"""Settling a purse: what the ledger brings and takes, and what was used without a write.

Whatever happens to a purse beside what it pays for is one PURSE record that says what it is
from then on, durable before anybody hears of it, written while the bucket has nothing under
way. Reads are paid for by a CHARGE record, as writes are.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from holdfast.bucket import commit, metered
from holdfast.bucket.counted import priced
from holdfast.bucket.dividing import held
from holdfast.bucket.purse import Booking, Purse, lines_of
from holdfast.charges import Kind, Terms, wide
from holdfast.errors import StorageFailed
from holdfast.log.purses import Kept, Line, Posting, Rent
from holdfast.log.records import Type

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.counted import Reads


class Settlement(msgspec.Struct, frozen=True):
    """What to do with a purse, all of it optional and in this order.

    Args:
        taken: the ledger has these postings (their buckets and last versions).
        through: buckets that were merged in, of which the ledger has all there was.
        terms: in force from now on; rent and reads are billed by those before.
        grace_ns: for which reads go on when it is empty.
        received: a transfer's number and amount; one that came before is passed over.
        allotted: bytes and objects, -1 for no bound.
        read: charge what was read until now.
        give_atto: send so much back, or what there is.
        close: add up what was charged until now for the ledger to take.
        poor: nobody has more to bring: if it cannot pay what it owes, or for an operation, it is
            empty.
    """

    taken: tuple[tuple[str, int], ...] = ()
    through: tuple[str, ...] = ()
    terms: Terms | None = None
    grace_ns: int | None = None
    received: tuple[int, int] | None = None
    allotted: tuple[int, int] | None = None
    read: bool = False
    give_atto: int = 0
    close: bool = False
    poor: bool = False


def begin(bucket: Bucket, namespace: bytes, terms: Terms) -> None:
    """Give a namespace a purse in a bucket, empty and unbounded; what is there is counted.

    The bucket's writers wait while it is counted. One that was merged away meanwhile gets none.
    """
    with commit.alone(bucket):
        if bucket.closed or namespace in bucket.purses:
            return
        there = held(bucket, namespace, bucket.start, bucket.stop)
        kept = Kept(
            namespace,
            bucket.version + 1,
            (terms,),
            used=(there.size_bytes, there.objects),
            rent=Rent(there.rent_bytes, bucket.time.now_ns()),
        )
        _write(bucket, kept)


def settle(bucket: Bucket, namespace: bytes, asked: Settlement) -> Kept | None:
    """Do what is asked for with a purse; as it is then, or None where there is none.

    Of a bucket that was merged away meanwhile the survivor has the purse: what it is asked here
    would be in no log, and in no books.

    Raises:
        StorageFailed, OutcomeUnknown: as of every write; nothing changed in memory.
    """
    with commit.alone(bucket):
        known = bucket.purses.get(namespace)
        if known is None or bucket.closed:
            return None
        reads = bucket.reads_of(namespace)
        read = reads.taken(known.terms) if asked.read else Counter()
        purse = Purse(known.kept(), bucket.id)  # a copy, until it is written
        _change(purse, asked, read, bucket.time.now_ns())
        kept = msgspec.structs.replace(purse.kept(), version=bucket.version + 1)
        try:
            _write(bucket, kept)
        except StorageFailed:
            reads.put_back(read)
            raise
        return kept


def charge_reads(bucket: Bucket, namespace: bytes) -> None:
    """Charge what was read of a namespace until now and is only counted; durable on return.

    Raises:
        StorageFailed, OutcomeUnknown: they are not charged, in the tenant's favour.
    """
    reads = bucket.reads.get(namespace)
    if reads and not _book(bucket, reads):
        settle(bucket, namespace, Settlement(read=True))


def _book(bucket: Bucket, reads: Reads) -> bool:
    """Charge reads as writes are: by a record of the group that gathers, beside who writes.

    Whether that is done: it is not where the purse would have to owe them.
    """
    with bucket.lock:
        purse = bucket.purses.get(reads.namespace)
        if purse is None or not _gathers(bucket, purse):
            return False
        read = reads.taken(purse.terms)
        charges = priced(purse.terms, read)
        amount = sum(made.amount * times for made, times in charges.items())
        if purse.lacks(amount):
            reads.put_back(read)
            return False
        taken = Booking(purse, charges, 0, 0, 0, amount, bucket.time.now_ns())
        taken.stage()
        group = bucket.gather()
        metered.write(bucket, group, taken)
        turn = commit.queue(bucket, group)
    try:
        commit.stand_by(bucket, group, turn)
    except StorageFailed:
        reads.put_back(read)
        raise
    return True


def _gathers(bucket: Bucket, purse: Purse) -> bool:
    """Whether a bucket gathers records that a namespace is charged by: its keys may lie there."""
    low = purse.span[0]
    within = low < bucket.stop and bucket.start < low[:-1] + b"\1"
    return bucket.durable and not (bucket.closed or bucket.broken) and within


def hush(bucket: Bucket, namespace: bytes) -> None:
    """End the reads of a namespace that is empty, once its grace is over."""
    purse = bucket.purses.get(namespace)
    if purse is not None and purse.empty_ns:
        _hush(bucket, purse)


def _hush(bucket: Bucket, purse: Purse) -> None:
    bucket.reads_of(purse.namespace).hush(silent=purse.is_silent(bucket.time.now_ns()))


def _write(bucket: Bucket, kept: Kept) -> None:
    commit.write_control(bucket, Type.PURSE, msgspec.msgpack.encode(kept))
    _hush(bucket, bucket.purses.put(kept))
    bucket.meter()


def _change(purse: Purse, asked: Settlement, read: Counter[tuple[Kind, int]], now_ns: int) -> None:
    for bucket, until in asked.taken:
        _forget(purse, bucket, until)
    purse.others = tuple(line for line in purse.others if not _is_through(line, asked.through))
    purse.bill_rent(now_ns, ends=asked.terms is not None)
    for made, times in priced(purse.terms, read).items():
        purse.charge(made, times)
    _configure(purse, asked)
    if asked.received is not None:
        _receive(purse, *asked.received)
    purse.pay(now_ns, poor=asked.poor)
    if asked.give_atto:
        _give(purse, asked.give_atto)
    if asked.close:
        _close(purse)


def _configure(purse: Purse, asked: Settlement) -> None:
    if asked.terms is not None:
        purse.terms = purse.known[asked.terms.number] = asked.terms
    if asked.grace_ns is not None:
        purse.grace_ns = asked.grace_ns
    if asked.allotted is not None:
        purse.allotted_bytes, purse.allotted_objects = asked.allotted


def _is_through(line: Line, through: tuple[str, ...]) -> bool:
    return line.bucket in through and line.open is None and line.closed is None


def _receive(purse: Purse, number: int, amount: int) -> None:
    if number > purse.line.received:
        purse.line = msgspec.structs.replace(purse.line, received=number)
        purse.float_atto += amount


def _give(purse: Purse, amount: int) -> None:
    amount = min(amount, purse.float_atto)
    if amount > 0:
        line = purse.line
        purse.line = msgspec.structs.replace(line, given=line.given + 1, gift=wide(amount))
        purse.float_atto -= amount


def _forget(purse: Purse, bucket: str, until: int) -> None:
    """The ledger has taken a posting."""
    for line in (purse.line, *purse.others):
        if line.bucket == bucket and line.closed is not None and line.closed.until == until:
            _put_line(purse, msgspec.structs.replace(line, closed=None))


def _close(purse: Purse) -> None:
    """Set aside what was charged, where the ledger has taken what was set aside before."""
    if purse.line.closed is None and purse.since < purse.version:
        posting = Posting(purse.bucket, purse.since, purse.version, lines_of(purse.sums))
        purse.line = msgspec.structs.replace(purse.line, closed=posting if posting.lines else None)
        purse.since, purse.sums = purse.version, purse.tally()
    for line in purse.others:
        if line.closed is None and line.open is not None:
            closed = line.open if line.open.lines else None
            _put_line(purse, msgspec.structs.replace(line, open=None, closed=closed))


def _put_line(purse: Purse, line: Line) -> None:
    if line.bucket == purse.bucket:
        purse.line = line
    else:
        purse.others = tuple(
            line if known.bucket == line.bucket else known for known in purse.others
        )
