"""Funding: purses are kept full from their accounts, and the books are told what they spent.

Each step is safe to repeat, whatever a crash left of the one before: a transfer is in the
books before a bucket has it, and is sent again until the bucket says so; what was charged is
set aside in the bucket until the books have it, and they take it once (rule 14). Allotments
are handed out from what all purses hold together, so there is nothing to be left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from threading import RLock
from typing import Final, Protocol

import msgspec

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.purse import BEYOND, VISIBLE, Need, Purse
from holdfast.bucket.settling import Settlement, begin, hush, settle
from holdfast.charges import Line as Charged
from holdfast.charges import from_row, narrow
from holdfast.errors import Unavailable
from holdfast.ledger.ledger import Ledger, Report
from holdfast.limits import SECOND_NS
from holdfast.log.purses import Line
from holdfast.placement.placement import Placement
from holdfast.upkeep.allotting import Allotting, Metering
from holdfast.upkeep.expire import Room

STEP_NS: Final = SECOND_NS
POST_NS: Final = 60 * SECOND_NS  # between two postings of a purse, and two bills of rent
AHEAD: Final = 8  # a float holds so many times what was spent since it was looked at
SHARE: Final = 16  # and this part of what its account has
FREED: Final = 20  # batches of expired objects that somebody may wait for


class Whole(Protocol):
    """Asks all processes of a store at once."""

    def help(self, one: Metering, short: Need) -> bool:
        """Have others give what is missing here and they do not use; whether all were asked."""


class Funding:
    """Keeps the purses of one store, or of one process's part of it.

    Args:
        placement: the buckets.
        ledger: the books.
        metered: every namespace that has a tariff or a bound.
        low: called with an account that cannot pay what is asked of it.
    """

    def __init__(
        self,
        placement: Placement,
        ledger: Callable[[], Ledger],
        metered: Callable[[], Mapping[bytes, Metering]],
        low: Callable[[str], object],
    ) -> None:
        self._placement = placement
        self._ledger = ledger
        self._metered = metered
        self._low = low
        self.allotting = Allotting(placement, self._buckets)
        self.whole: Whole | None = None  # where several processes share the store
        self._turn = RLock()
        self._room = Room()
        self._posted: dict[tuple[str, bytes], int] = {}  # when, by the monotonic clock
        self._spent: dict[tuple[str, bytes], int] = {}  # what had been charged then
        self._looked_ns = 0

    # -- the tick ---------------------------------------------------------------------

    def step(self, *, post: bool = False) -> None:
        """Do what is due in every purse; with ``post`` all of it now."""
        with self._turn:
            metered = self._metered()
            if not metered:
                return
            self._looked_ns = self._placement.settings.clock.monotonic_ns()
            self._ledger().top_up()
            behind = [(one, self.keep(one, post=post)) for one in metered.values()]
        for one, buckets in behind:  # without the turn, as of ``help``
            for bucket in buckets:
                self._relieve(one, bucket)

    def is_due(self) -> bool:
        """Whether a second passed since the last step."""
        now = self._placement.settings.clock.monotonic_ns()
        return now - self._looked_ns >= STEP_NS

    def keep(self, one: Metering, *, post: bool = False) -> list[Bucket]:
        """Do what is due in the purses of one namespace; those that still owe what they lack."""
        with self._turn:
            buckets = list(self._buckets(one))
            self._tell(one, buckets)
            post = post or self._is_used_up(one, buckets)
            self._post(one, [bucket for bucket in buckets if self._is_busy(bucket, one, post=post)])
            self.allotting.hand_out(one)
            for bucket in buckets:
                self._refill(one, bucket)
                hush(bucket, one.namespace)
            return [bucket for bucket in buckets if _is_behind(bucket, one)]

    def settle(self, one: Metering) -> None:
        """Charge all that was asked for of a namespace until now, wherever its money is."""
        for bucket in self.keep(one, post=True):
            self._relieve(one, bucket)

    def _relieve(self, one: Metering, bucket: Bucket) -> None:
        """Bring what was read from wherever there is money, before it is called empty."""
        with suppress(Unavailable):
            self.help(bucket, one.namespace, Need())

    def _buckets(self, one: Metering) -> Iterator[Bucket]:
        """The buckets that hold, or may hold, keys of a namespace, each with a purse.

        A process that shares the store and holds none of them counts what it reads for others
        in any bucket of its own.
        """
        sound = [b for b in self._placement.directory if not (b.closed or b.broken)]
        found = [b for b in sound if _overlaps(b, one) or one.namespace in b.purses]
        if not found and self._placement.directory.others():
            found = sound[:1]
        for bucket in found:
            if one.namespace not in bucket.purses:
                begin(bucket, one.namespace, one.terms)
            if one.namespace in bucket.purses:
                yield bucket

    def _is_busy(self, bucket: Bucket, one: Metering, *, post: bool) -> bool:
        """Whether the books have to hear of a purse: it changed, and long enough ago."""
        place, now = (bucket.id, one.namespace), self._placement.settings.clock.monotonic_ns()
        purse = bucket.purses.get(one.namespace)
        if purse is None:
            return False
        reads = bucket.reads.get(one.namespace)
        if purse.terms != one.terms or purse.grace_ns != one.grace_ns:
            return True
        known = self._ledger().account(one.account).funds
        if post or now - self._posted.get(place, 0) >= POST_NS or _is_much(purse, known):
            self._posted[place] = now
            waits = purse.sums.amount or purse.sums.lines() or purse.line.closed or purse.others
            return bool(waits or purse.rent_bytes or purse.rent_due or purse.owed.amount or reads)
        return reads is not None and len(reads) > 0

    def _is_used_up(self, one: Metering, buckets: Sequence[Bucket]) -> bool:
        """Whether the rent that fell due since the books heard of it is more than there is.

        What is owed already was more.
        """
        there = [(b, purse) for b in buckets if (purse := b.purses.get(one.namespace)) is not None]
        if any(purse.owed.amount for _, purse in there):
            return False
        due = sum(purse.rent(bucket.time.now_ns()).amount for bucket, purse in there)
        waits = sum(purse.sums.amount for _, purse in there)
        return due > 0 and due > self._ledger().account(one.account).funds - waits

    # -- charges ------------------------------------------------------------------------

    def _post(self, one: Metering, buckets: Sequence[Bucket]) -> None:
        """Settle purses, and bring what they charged to the books."""
        told = []
        for bucket in buckets:
            purse = bucket.purses.get(one.namespace)
            if purse is None:
                continue
            terms = one.terms if purse.terms != one.terms else None
            asked = Settlement(terms=terms, grace_ns=one.grace_ns, read=True, close=True)
            kept = settle(bucket, one.namespace, asked)
            if kept is not None:
                told.append((bucket, kept.lines))
        self._ledger().report([_report(one, line) for _, lines in told for line in lines])
        for bucket, lines in told:
            self._heard(one, bucket, lines)

    def _tell(self, one: Metering, buckets: Sequence[Bucket]) -> None:
        """Tell the books what came and what went back, before anything of it is charged."""
        purses = [bucket.purses[one.namespace] for bucket in buckets]
        lines = [line for purse in purses for line in (purse.line, *purse.others)]
        self._ledger().report([_report(one, _moneyed(line)) for line in lines])

    def _heard(self, one: Metering, bucket: Bucket, lines: Sequence[Line]) -> None:
        """The books have what a bucket told: it may forget that."""
        taken = tuple((line.bucket, line.closed.until) for line in lines if line.closed)
        gone = [line for line in lines if line.bucket != bucket.id]
        for line in gone:
            self._ledger().void(one.account, line.bucket, line.received)
        if taken or gone:
            through = tuple(line.bucket for line in gone)
            settle(bucket, one.namespace, Settlement(taken=taken, through=through))

    # -- money ----------------------------------------------------------------------------

    def _refill(self, one: Metering, bucket: Bucket) -> None:
        """Bring a float that is low back up, before it is empty."""
        purse = bucket.purses.get(one.namespace)
        if purse is None:
            return
        self._resend(one, bucket)
        place = (bucket.id, one.namespace)
        spent = purse.charged_atto - self._spent.get(place, purse.charged_atto)
        self._spent[place] = purse.charged_atto
        account = self._ledger().account(one.account)
        wanted = purse.owed.amount + AHEAD * max(0, spent)
        if purse.empty_ns:  # until it can pay that, and an operation
            wanted += purse.owed.amount + 2 * purse.terms.c
        if _overlaps(bucket, one):
            wanted += account.balance // SHARE
        if purse.float_atto < (wanted + 1) // 2:
            self._fund(one, bucket, min(account.balance, wanted - purse.float_atto))

    def _resend(self, one: Metering, bucket: Bucket) -> None:
        """Bring transfers that the books have begun to their bucket, if they did not arrive."""
        for number, amount in self._ledger().pending(one.account, bucket.id):
            settle(bucket, one.namespace, Settlement(received=(number, amount)))

    def _fund(self, one: Metering, bucket: Bucket, amount: int) -> None:
        if amount <= 0 or bucket.closed:  # merged away, and void by now, perhaps
            return
        made = self._ledger().fund(one.account, bucket.id, amount)
        kept = settle(bucket, one.namespace, Settlement(received=(made.transfer, amount)))
        if kept is not None:
            self._ledger().report([_report(one, _moneyed(kept.lines[0]))])

    def help(self, bucket: Bucket, namespace: bytes, need: Need) -> bool:
        """A write needs more than a purse holds: bring it, if there is any; whether any came.

        Other processes are asked last, and without the turn: they may be asking for this one.

        Raises:
            Unavailable: there is not enough, and somebody could not be asked.
        """
        one = self._metered().get(namespace)
        if one is None or namespace not in bucket.purses:
            return False
        before = _holds(bucket.purses[namespace])
        short = self._help_here(one, bucket, need)
        if short is not None and self.whole is not None:
            is_all = self.whole.help(one, short)
            short = self._help_here(one, bucket, need)
            if short is not None and not is_all:
                raise Unavailable
        purse = bucket.purses.get(namespace)
        has_come = purse is not None and (short is None or _is_more(_holds(purse), before))
        if short is not None and short.atto > 0:
            self._low(one.account)
            self._find_empty(one, bucket)
        return has_come

    def _find_empty(self, one: Metering, bucket: Bucket) -> None:
        """Nobody has more: note since when a purse is empty, if it is."""
        purse = bucket.purses.get(one.namespace)
        if purse is not None and purse.is_poor and not purse.empty_ns:
            settle(bucket, one.namespace, Settlement(poor=True))

    def _help_here(self, one: Metering, bucket: Bucket, need: Need) -> Need | None:
        """Bring what is to be had in this process; what is missing after that."""
        with self._turn:
            purse = bucket.purses.get(one.namespace)
            if purse is None or bucket.closed:
                return None
            if purse.over(need.size_bytes, need.objects) is not None:
                self._make_room(one, bucket, need)
            lacking = _lacking(purse, need)
            if lacking > 0 and self._ledger().account(one.account).balance < lacking:
                self._post(one, list(self._buckets(one)))  # a rule looks at what the books know
                self._ledger().top_up()
                purse = bucket.purses.get(one.namespace, purse)
                lacking = _lacking(purse, need)  # what was read was charged, and is paid first
            if lacking > 0:
                self._raise_money(one, bucket, lacking)
            purse = bucket.purses.get(one.namespace)
            return None if purse is None else _missing(purse, need)

    def _make_room(self, one: Metering, bucket: Bucket, need: Need) -> None:
        """Allot what a bucket needs; what has expired counts no longer, though it is there yet."""
        self.allotting.hand_out(one, {bucket.id: need})
        for _ in self._freed(one):
            self.allotting.hand_out(one, {bucket.id: need})
            purse = bucket.purses.get(one.namespace)
            if purse is None or purse.over(need.size_bytes, need.objects) is None:
                return

    def free(self, one: Metering) -> None:
        """Remove what has expired of a namespace before somebody looks at what it holds."""
        with self._turn:
            for _ in self._freed(one):
                pass

    def _freed(self, one: Metering) -> Iterator[None]:
        """Batches of expired objects that went, up to a bound: upkeep removes the rest."""
        left = FREED
        for bucket in list(self._buckets(one)):
            while left and self._room.free(bucket):
                left -= 1
                yield

    def _raise_money(self, one: Metering, bucket: Bucket, lacking: int) -> None:
        """Bring money to a bucket: what it lacks, or all that there is."""
        ledger = self._ledger()
        if ledger.account(one.account).balance < lacking:
            self._call_back(one, lacking, but=bucket)
        balance = ledger.account(one.account).balance
        self._fund(one, bucket, min(balance, lacking + balance // SHARE))

    def call_back(self, one: Metering, atto: int) -> None:
        """Another process lacks so much: have the books know all of this one, and give it back."""
        with self._turn:
            self._post(one, list(self._buckets(one)))
            self._call_back(one, atto)

    def _call_back(self, one: Metering, lacking: int, but: Bucket | None = None) -> None:
        """Have other buckets send back what they hold, until there is enough."""
        for other in self._buckets(one):
            short = lacking - self._ledger().account(one.account).balance
            if short <= 0:
                return
            purse = other.purses.get(one.namespace)
            if other is but or purse is None or purse.float_atto <= 0:
                continue
            kept = settle(other, one.namespace, Settlement(give_atto=short))
            if kept is not None:
                self._ledger().report([_report(one, _moneyed(kept.lines[0]))])


def _overlaps(bucket: Bucket, one: Metering) -> bool:
    """Whether keys of a namespace may lie in a bucket."""
    return bucket.start < one.namespace + BEYOND and one.namespace + VISIBLE < bucket.stop


def _is_behind(bucket: Bucket, one: Metering) -> bool:
    """Whether a purse owes what it cannot pay, and is not called empty yet."""
    purse = bucket.purses.get(one.namespace)
    return purse is not None and not purse.empty_ns and purse.owed.amount > purse.float_atto


def _missing(purse: Purse, need: Need) -> Need | None:
    """What a purse lacks of a need, or None."""
    is_over = purse.over(need.size_bytes, need.objects) is not None
    lacking = max(0, _lacking(purse, need))
    if not (is_over or lacking or purse.lacks(need.atto)):
        return None
    return Need(lacking, need.size_bytes if is_over else 0, need.objects if is_over else 0)


def _holds(purse: Purse) -> tuple[int, ...]:
    """What a purse can pay and take."""
    return purse.float_atto, -purse.owed.amount, purse.allotted_bytes, purse.allotted_objects


def _is_more(now: tuple[int, ...], before: tuple[int, ...]) -> bool:
    return any(one > other for one, other in zip(now, before, strict=True))


def _lacking(purse: Purse, need: Need) -> int:
    """What a purse needs beyond what it holds, in atto; it pays first what it owes."""
    return need.atto + purse.owed.amount - purse.float_atto + purse.ahead_atto


def _is_much(purse: Purse, funds: int) -> bool:
    """Whether the books are far behind: rules look at them."""
    return purse.sums.amount > 0 and purse.sums.amount * SHARE >= funds


def _report(one: Metering, line: Line) -> Report:
    """What a bucket tells the books."""
    closed = line.closed
    returned = ((line.given, narrow(line.gift)),) if line.given else ()
    if closed is None:
        return Report(one.account, line.bucket, line.received, returned)
    lines = tuple(Charged(times, from_row(fields)) for times, fields in closed.lines)
    return Report(
        one.account, line.bucket, line.received, returned, closed.since, closed.until, lines
    )


def _moneyed(line: Line) -> Line:
    """A line without what was charged."""
    return msgspec.structs.replace(line, closed=None)
