"""Funding: purses are kept full from their accounts, and the books are told what they spent.

Each step is safe to repeat, whatever a crash left of the one before: a transfer is in the
books before a bucket has it, and is sent again until the bucket says so; what was charged is
set aside in the bucket until the books have it, and they take it once (rule 14). Allotments
are handed out from what all purses hold together, so there is nothing to be left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import RLock
from typing import Final, NamedTuple

import msgspec

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.purse import UNBOUNDED, Need, Purse
from holdfast.bucket.settling import Settlement, begin, settle
from holdfast.charges import Line as Charged
from holdfast.charges import Terms, from_row, narrow
from holdfast.errors import BalanceEmpty
from holdfast.ledger.ledger import Ledger, Report
from holdfast.log.purses import Line
from holdfast.placement.placement import Placement

SECOND_NS: Final = 1_000_000_000
STEP_NS: Final = SECOND_NS
POST_NS: Final = 60 * SECOND_NS  # between two postings of a purse, and two bills of rent
AHEAD: Final = 8  # a float holds so many times what was spent since it was looked at
SHARE: Final = 16  # and this part of what its account has


class Metering(msgspec.Struct, frozen=True):
    """How one namespace is metered: its terms, and its bounds (-1: none).

    ``grace_ns``: for how long reads go on when it cannot pay.
    """

    namespace: bytes
    terms: Terms
    bytes_max: int = UNBOUNDED
    objects_max: int = UNBOUNDED
    grace_ns: int = 0

    @property
    def account(self) -> str:
        """Whose money it spends: an account of its own name."""
        return self.namespace.decode()


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
        self._turn = RLock()
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
            for one in metered.values():
                self.keep(one, post=post)

    def is_due(self) -> bool:
        """Whether a second passed since the last step."""
        now = self._placement.settings.clock.monotonic_ns()
        return now - self._looked_ns >= STEP_NS

    def keep(self, one: Metering, *, post: bool = False) -> None:
        """Do what is due in the purses of one namespace."""
        with self._turn:
            buckets = list(self._buckets(one))
            self._tell(one, buckets)
            self._post(one, [bucket for bucket in buckets if self._is_busy(bucket, one, post=post)])
            self._allot(one)
            for bucket in buckets:
                self._refill(one, bucket)

    def _buckets(self, one: Metering) -> Iterator[Bucket]:
        """The buckets that hold, or may hold, keys of a namespace, each with a purse."""
        start, stop = one.namespace + b"\0", one.namespace + b"\2"
        for bucket in list(self._placement.directory):
            if bucket.closed or not (bucket.start < stop and start < bucket.stop):
                continue
            if not bucket.broken:
                if one.namespace not in bucket.purses:
                    begin(bucket, one.namespace, one.terms)
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
        wanted = purse.owed.amount + AHEAD * max(0, spent) + account.balance // SHARE
        if purse.float_atto < (wanted + 1) // 2:
            self._fund(one, bucket, min(account.balance, wanted - purse.float_atto))

    def _resend(self, one: Metering, bucket: Bucket) -> None:
        """Bring transfers that the books have begun to their bucket, if they did not arrive."""
        for number, amount in self._ledger().pending(one.account, bucket.id):
            settle(bucket, one.namespace, Settlement(received=(number, amount)))

    def _fund(self, one: Metering, bucket: Bucket, amount: int) -> None:
        if amount <= 0:
            return
        made = self._ledger().fund(one.account, bucket.id, amount)
        kept = settle(bucket, one.namespace, Settlement(received=(made.transfer, amount)))
        if kept is not None:
            self._ledger().report([_report(one, _moneyed(kept.lines[0]))])

    def help(self, bucket: Bucket, namespace: bytes, need: Need) -> bool:
        """A write needs more than a purse holds: bring it, if there is any; whether it is there.

        Raises:
            BalanceEmpty: the account, and the floats of other buckets, have not so much.
        """
        with self._turn:
            one = self._metered().get(namespace)
            purse = bucket.purses.get(namespace)
            if one is None or purse is None:
                return False
            if purse.over(need.size_bytes, need.objects) is not None:
                self._allot(one, {bucket.id: need})
            lacking = need.atto + purse.owed.amount - purse.float_atto + purse.ahead_atto
            if lacking > 0:
                self._raise_money(one, bucket, lacking)
            purse = bucket.purses.get(namespace)
            return purse is not None and not purse.lacks(need.atto)

    def _raise_money(self, one: Metering, bucket: Bucket, lacking: int) -> None:
        ledger = self._ledger()
        if ledger.account(one.account).balance < lacking:
            self._post(one, list(self._buckets(one)))  # a rule looks at what the books know
            ledger.top_up()
        if ledger.account(one.account).balance < lacking:
            self._call_back(one, bucket, lacking)
        account = ledger.account(one.account)
        if account.balance < lacking:
            self._low(one.account)
            raise BalanceEmpty(namespace=one.account, balance_atto=account.balance)
        self._fund(one, bucket, min(account.balance, lacking + account.balance // SHARE))

    def _call_back(self, one: Metering, bucket: Bucket, lacking: int) -> None:
        """Have other buckets send back what they hold, until there is enough."""
        for other in self._buckets(one):
            short = lacking - self._ledger().account(one.account).balance
            if short <= 0:
                return
            purse = other.purses.get(one.namespace)
            if other is bucket or purse is None or purse.float_atto <= 0:
                continue
            kept = settle(other, one.namespace, Settlement(give_atto=short))
            if kept is not None:
                self._ledger().report([_report(one, _moneyed(kept.lines[0]))])

    # -- allotments -------------------------------------------------------------------------

    def _allot(self, one: Metering, needs: Mapping[str, Need] | None = None) -> None:
        """Hand out what may be stored, to who needs it and in equal parts of what is free.

        Held together with ranges, so that nothing is divided meanwhile; telling the books may
        have divided a bucket before. Where processes share the store each hands out its part.
        """
        needs = needs or {}
        parts = 1 + len(self._placement.directory.others())
        with self._placement.changing:
            buckets = list(self._buckets(one))
            for kind, most in ((0, one.bytes_max), (1, one.objects_max)):
                piles = [_pile(b, one.namespace, needs.get(b.id), kind) for b in buckets]
                share = most if most == UNBOUNDED else most // parts
                told = portions(share, [pile for pile in piles if pile is not None])
                holders = [b for b, pile in zip(buckets, piles, strict=True) if pile is not None]
                self._hand_out(one, list(zip(holders, told, strict=True)), kind, share)

    def _hand_out(
        self, one: Metering, wanted: list[tuple[Bucket, int]], kind: int, most: int
    ) -> None:
        """Let purses hold what they shall; who gets less first, so that it never is too much.

        A purse may be left with less than it uses: it only shrinks then, and what it uses
        counts as handed out.
        """
        for grows in (False, True):
            for bucket, told in wanted:
                held = _allotted(bucket, one.namespace)
                if told == held[kind] or grows != (held[kind] != UNBOUNDED and told > held[kind]):
                    continue
                if grows:
                    out = sum(_taken(b, one.namespace, kind) for b, _ in wanted)
                    has = _taken(bucket, one.namespace, kind)
                    told = min(told, has + max(0, most - out))  # noqa: PLW2901
                after = (told, held[1]) if kind == 0 else (held[0], told)
                settle(bucket, one.namespace, Settlement(allotted=after))


def _is_much(purse: Purse, funds: int) -> bool:
    """Whether the books are far behind: rules look at them."""
    return purse.sums.amount > 0 and purse.sums.amount * SHARE >= funds


class Pile(NamedTuple):
    """What a purse has of bytes or objects: used, needed besides, held."""

    used: int
    needed: int
    held: int


def _pile(bucket: Bucket, namespace: bytes, need: Need | None, kind: int) -> Pile | None:
    purse = bucket.purses.get(namespace)
    if purse is None:
        return None
    if kind == 0:
        used, needed = purse.used_bytes + purse.ahead_bytes, need.size_bytes if need else 0
        return Pile(used, max(0, needed), purse.allotted_bytes)
    used, needed = purse.used_objects + purse.ahead_objects, need.objects if need else 0
    return Pile(used, max(0, needed), purse.allotted_objects)


def _allotted(bucket: Bucket, namespace: bytes) -> tuple[int, int]:
    purse = bucket.purses[namespace]
    return purse.allotted_bytes, purse.allotted_objects


def _taken(bucket: Bucket, namespace: bytes, kind: int) -> int:
    """What nobody else may hold: what is allotted, or used where that is more."""
    pile = _pile(bucket, namespace, None, kind)
    return 0 if pile is None else max(pile.used, pile.held)


def portions(most: int, piles: Sequence[Pile]) -> list[int]:
    """What each of some purses may hold, together at most ``most``.

    What they hold stays as it is while it is enough for everybody and all that there is.

    Example:
        >>> portions(10, [Pile(2, 0, -1), Pile(1, 1, -1)])
        [5, 5]
    """
    if most == UNBOUNDED:
        return [UNBOUNDED] * len(piles)
    held = [pile.held for pile in piles]
    enough = all(pile.used + pile.needed <= pile.held for pile in piles)
    if enough and sum(held) == most:
        return held
    taken = sum(pile.used + pile.needed for pile in piles)
    if taken > most:
        return _squeezed(most, piles)
    each, odd = divmod(most - taken, max(1, len(piles)))
    told = [pile.used + pile.needed + each for pile in piles]
    return [told[0] + odd, *told[1:]] if told else []


def _squeezed(most: int, piles: Sequence[Pile]) -> list[int]:
    """More is asked for than there is: what is used stays, what is left goes to who needs it."""
    left = max(0, most - sum(pile.used for pile in piles))
    over = max(0, sum(pile.used for pile in piles) - most)
    told = []
    for pile in piles:
        more = min(pile.needed, left)
        less = min(over, pile.used)
        left, over = left - more, over - less
        told.append(pile.used + more - less)
    return told


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
