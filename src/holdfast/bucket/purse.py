"""A purse: what one bucket may spend and take for one namespace, so that it decides alone.

Money comes in as numbered transfers of the ledger, goes out as charges and as numbered
transfers back; bytes and objects are allotted the same way. A purse is state of its
bucket's log, as sessions are: the STATE record of each segment says all of it, CHARGE
records behind it say what writes and reads took, PURSE records what it is after it was
settled with the ledger, or owed something. So opening a bucket reads one segment for it, splits
divide it and merges join it.

Only what is published counts in it. ``ahead`` is what groups on their way will take
besides; decisions reckon with both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from holdfast.charges import Charge, Tally, Terms, from_row, narrow, row, storage, wide
from holdfast.errors import Corrupt
from holdfast.limits import SECOND_NS
from holdfast.log.purses import Kept, Line, Lines, Posting, Rent, Share
from holdfast.values import planned

if TYPE_CHECKING:
    from holdfast.bucket.gates import Window
    from holdfast.bucket.group import Gathering
    from holdfast.log.records import Record

_encode = msgspec.msgpack.Encoder().encode
VISIBLE: Final = b"\0"
KINDS: Final = "ABC"
BYTE_SECONDS, EGRESS = 3, 4  # in the totals of a purse, behind the classes
UNBOUNDED: Final = -1
BEYOND: Final = b"\x02"  # behind everything of a namespace, what is hidden in it too


class Need(msgspec.Struct, frozen=True):
    """What writes will take from a purse at most: money, bytes, objects."""

    atto: int = 0
    size_bytes: int = 0
    objects: int = 0


class Booking(msgspec.Struct, gc=False):
    """What one call, or reads, take from a purse: the value of a CHARGE record, and whose it is."""

    purse: Purse
    charges: dict[Charge, int]
    size_bytes: int
    objects: int
    rent_bytes: int
    amount: int
    time_ns: int
    version: int = 0
    failed: bool = False
    window: Window | None = None  # counts it while it is under way (gates.py)

    def encoded(self) -> bytes:
        """The value of the CHARGE record (docs/FORMAT.md)."""
        plain, plain_row = self.purse.plain
        rows = [
            (times, plain_row if made is plain else row(made))
            for made, times in self.charges.items()
        ]
        return _encode((rows, self.size_bytes, self.objects, self.rent_bytes))

    def stage(self) -> None:
        """Reckon with it from now on."""
        self.purse.go_ahead(self.amount, self.size_bytes, self.objects)

    def undo(self) -> None:
        """It will not be."""
        self.purse.go_ahead(-self.amount, -self.size_bytes, -self.objects)

    def leave(self) -> None:
        """Whoever asked for it has an answer."""
        if self.window is not None:
            self.window.end()
            self.window = None


@planned
class _Booked(msgspec.Struct, frozen=True, array_like=True):
    charges: tuple[tuple[int, tuple[object, ...]], ...]
    size_bytes: int = 0
    objects: int = 0
    rent_bytes: int = 0


class Purse:
    """One namespace's purse in one bucket. The caller holds the bucket's lock.

    Args:
        kept: as it stood.
        bucket: the id of the bucket that it is in now.
    """

    def __init__(self, kept: Kept, bucket: str) -> None:
        self.namespace = kept.namespace
        self.bucket = bucket
        self.cut = len(kept.namespace) + 1  # a composite key's own part begins here
        self.span = (kept.namespace + VISIBLE, kept.namespace + BEYOND)
        self.version = kept.version
        self.known = {terms.number: terms for terms in kept.terms}
        self.known_plain: tuple[Charge, tuple[object, ...]] | None = None
        self.terms = kept.terms[-1]
        self.float_atto = narrow(kept.float_atto)
        self.charged_atto = narrow(kept.charged_atto)
        self.allotted_bytes, self.allotted_objects = kept.allotted
        self.used_bytes, self.used_objects = kept.used
        self.rent_bytes, self.rent_ns = kept.rent.size_bytes, kept.rent.since_ns
        self.rent_due = narrow(kept.rent.due)
        self.grace_ns, self.empty_ns = kept.grace_ns, kept.empty_ns
        self.owed = self.tally(kept.owed)
        own = [line for line in kept.lines if line.bucket == bucket]
        self.line = own[0] if own else Line(bucket)
        self.others = tuple(line for line in kept.lines if line.bucket != bucket)
        begun = self.line.open or Posting(bucket, kept.version, kept.version)
        self.since = begun.since
        self.sums = self.tally(begun.lines)
        self.totals = [narrow(held) for held in kept.totals]
        self.ahead_atto = self.ahead_bytes = self.ahead_objects = 0

    def tally(self, lines: Lines = ()) -> Tally:
        """Charges that were told, added up under what is known of their terms."""
        tally = Tally(self.known)
        for times, fields in lines:
            tally.add(from_row(fields), times)
        return tally

    @property
    def plain(self) -> tuple[Charge, tuple[object, ...]]:
        """The charge for a store that asks nothing, and its row; made once for the terms."""
        found, terms = self.known_plain, self.terms
        if found is None or found[0].terms != terms.number:
            made = Charge(terms.number, "C", amount=terms.c)
            found = self.known_plain = made, tuple(row(made))
        return found

    # -- deciding -----------------------------------------------------------------------

    def go_ahead(self, amount: int, size_bytes: int, objects: int) -> None:
        """Reckon with what a group will take."""
        self.ahead_atto += amount
        self.ahead_bytes += size_bytes
        self.ahead_objects += objects

    def lacks(self, amount: int) -> bool:
        """Whether it cannot pay this much."""
        if amount <= 0:
            return False
        return bool(self.owed.amount) or amount > self.float_atto - self.ahead_atto

    def over(self, size_bytes: int, objects: int) -> str | None:
        """The limit that this much more would pass, by its name, or None."""
        most = self.allotted_bytes
        if size_bytes > 0 and 0 <= most < self.used_bytes + self.ahead_bytes + size_bytes:
            return "bytes_max"
        most = self.allotted_objects
        if objects > 0 and 0 <= most < self.used_objects + self.ahead_objects + objects:
            return "objects_max"
        return None

    # -- booking ------------------------------------------------------------------------

    def book(self, booking: Booking) -> None:
        """Count in what a published record took."""
        for made, times in booking.charges.items():
            self._sum(made, times)
        self._take(booking.amount)
        self.accrue(booking.time_ns)
        self.used_bytes += booking.size_bytes
        self.used_objects += booking.objects
        self.rent_bytes += booking.rent_bytes
        self.version = booking.version

    def _sum(self, made: Charge, times: int) -> None:
        self.sums.add(made, times)
        totals = self.totals
        if made.kind:
            totals[KINDS.index(made.kind)] += times
        if made.seconds or made.back is not None:
            totals[BYTE_SECONDS] += times * made.size_bytes * made.seconds
            totals[BYTE_SECONDS] -= times * _returned(made)
        totals[EGRESS] += times * made.egress_bytes

    def _take(self, amount: int) -> None:
        self.float_atto -= amount
        self.charged_atto += amount

    def accrue(self, now_ns: int) -> None:
        """Let rent fall due up to a moment; what is earlier than the last one adds nothing."""
        passed = now_ns - self.rent_ns
        if passed > 0:
            self.rent_due += self.rent_bytes * passed
            self.rent_ns = now_ns

    def charge(self, made: Charge, times: int = 1) -> None:
        """Charge what was used already: what the float cannot pay is owed."""
        self.owed.add(made, times)

    def bill_rent(self, now_ns: int, *, ends: bool = False) -> None:
        """Charge the rent that is due, as far as it divides by the unit of the price.

        Where that price ``ends`` the rest too, rounded up: it is no other price's to charge.
        """
        self.accrue(now_ns)
        made = self.rent(now_ns, ends=ends)
        if made.size_bytes > 0:
            self.rent_due -= made.size_bytes * SECOND_NS
            self.charge(made)

    def rent(self, now_ns: int, *, ends: bool = False) -> Charge:
        """The rent that ``bill_rent`` would charge."""
        terms = self.terms
        due = self.rent_due + self.rent_bytes * max(0, now_ns - self.rent_ns)
        byte_seconds = due // SECOND_NS
        byte_seconds -= 0 if ends else byte_seconds % terms.storage_unit
        return Charge(terms.number, "", byte_seconds, 1, storage(terms, byte_seconds, 1))

    @property
    def is_poor(self) -> bool:
        """Whether it cannot pay what it owes, or for one more operation."""
        return bool(self.owed.amount) or self.float_atto < self.terms.c

    def pay(self, now_ns: int, *, poor: bool) -> None:
        """Pay what is owed, all of it or nothing; note since when it is empty, where it is poor.

        Until somebody looked for more it only waits: its account, or other buckets, may have it.
        It is empty until it can pay for an operation again.
        """
        amount = self.owed.amount
        if amount <= self.float_atto:
            self._take(amount)
            for line in self.owed.lines():
                self._sum(line.charge, line.times)
            self.owed = self.tally()
        if not self.is_poor:
            self.empty_ns = 0
        elif poor and not self.empty_ns:
            self.empty_ns = now_ns

    def is_silent(self, now_ns: int) -> bool:
        """Whether reads have to stop too: the grace is over."""
        return bool(self.empty_ns) and now_ns >= self.empty_ns + self.grace_ns

    # -- splits and merges ----------------------------------------------------------------

    def give(self, share: Kept, version: int, time_ns: int) -> None:
        """Be without what a split gave the child."""
        self.accrue(time_ns)
        self.float_atto -= narrow(share.float_atto)
        self.used_bytes -= share.used[0]
        self.used_objects -= share.used[1]
        self.rent_bytes -= share.rent.size_bytes
        if self.allotted_bytes >= 0:
            self.allotted_bytes -= share.allotted[0]
        if self.allotted_objects >= 0:
            self.allotted_objects -= share.allotted[1]
        if share.owed:
            self.owed = self.tally()
        self.version = version

    def join(self, other: Purse, version: int, time_ns: int) -> None:
        """Hold what a bucket that was merged in held as well; what one owed the other may pay."""
        self.accrue(time_ns)
        other.accrue(time_ns)
        if other.terms.number > self.terms.number:
            self.terms = other.terms
        self.known.update(other.known)
        self.float_atto += other.float_atto
        self.charged_atto += other.charged_atto
        self.totals = [one + two for one, two in zip(self.totals, other.totals, strict=True)]
        self.used_bytes += other.used_bytes
        self.used_objects += other.used_objects
        self.rent_bytes += other.rent_bytes
        self.rent_due += other.rent_due
        self.allotted_bytes = _both(self.allotted_bytes, other.allotted_bytes)
        self.allotted_objects = _both(self.allotted_objects, other.allotted_objects)
        for line in other.owed.lines():
            self.owed.add(line.charge, line.times)
        self.others = (*self.others, *other.kept().lines)
        self.empty_ns = self.empty_ns or other.empty_ns
        self.version = version
        self.pay(time_ns, poor=False)

    # -- what the log says ----------------------------------------------------------------

    def kept(self) -> Kept:
        """All of it, as the log must tell it."""
        own = self.line
        begun = Posting(self.bucket, self.since, self.version, lines_of(self.sums))
        line = msgspec.structs.replace(own, open=begun)
        a, b, c, byte_seconds, sent = map(wide, self.totals)
        known = [terms for terms in self.known.values() if terms != self.terms]
        return Kept(
            self.namespace,
            self.version,
            (*known, self.terms),
            wide(self.float_atto),
            wide(self.charged_atto),
            (self.allotted_bytes, self.allotted_objects),
            (self.used_bytes, self.used_objects),
            Rent(self.rent_bytes, self.rent_ns, wide(self.rent_due)),
            (line, *self.others),
            lines_of(self.owed),
            self.grace_ns,
            self.empty_ns,
            (a, b, c, byte_seconds, sent),
        )


class Purses(dict[bytes, Purse]):
    """The purses of one bucket by namespace; empty where nothing there is metered.

    Args:
        bucket: its id.
        kept: as its log tells them.
        shares: what children have got that are not known to stand yet.
    """

    def __init__(
        self, bucket: str, kept: Iterable[Kept] = (), shares: Iterable[Share] = ()
    ) -> None:
        self.shares = {share.child: share.purses for share in shares}
        super().__init__((one.namespace, Purse(one, bucket)) for one in kept)
        self._bucket = bucket

    def of(self, key: bytes) -> Purse | None:
        """The purse that a composite key is charged to; None for what is hidden in a namespace."""
        return self.get(key.partition(VISIBLE)[0])

    def terms(self, key: bytes) -> tuple[Terms, ...]:
        """What a composite key is charged by, those in force last; none where it is free."""
        purse = self.of(key)
        if purse is None:
            return ()
        others = [one for one in purse.known.values() if one != purse.terms]
        return (*others, purse.terms)

    def told(self) -> tuple[Kept, ...]:
        """What the next segment's state must say."""
        return tuple(purse.kept() for purse in self.values())

    def told_shares(self) -> tuple[Share, ...]:
        """And what of the children that are not known to stand."""
        return tuple(Share(child, given) for child, given in self.shares.items())

    def put(self, kept: Kept) -> Purse:
        """Know a purse as it is told, whatever it was."""
        purse = self[kept.namespace] = Purse(kept, self._bucket)
        return purse

    def replay(self, record: Record, value: bytes) -> None:
        """Count in what a CHARGE record says, once."""
        purse = self.of(record.key)
        if purse is not None and purse.version < record.version:
            purse.book(decode_booking(purse, value, record))


def _returned(made: Charge) -> int:
    """Byte-seconds that a charge gave back."""
    back = made.back
    return 0 if back is None else back.size_bytes * back.seconds


def _both(one: int, other: int) -> int:
    return one + other if one >= 0 and other >= 0 else UNBOUNDED


def decode_booking(purse: Purse, value: bytes, record: Record) -> Booking:
    """A CHARGE record's booking; Corrupt where its value is none."""
    try:
        told = msgspec.msgpack.decode(value, type=_Booked)
    except msgspec.DecodeError:
        raise Corrupt(what="a charge that cannot be read") from None
    charges = {from_row(fields): times for times, fields in told.charges}
    amount = sum(made.amount * times for made, times in charges.items())
    return Booking(
        purse,
        charges,
        told.size_bytes,
        told.objects,
        told.rent_bytes,
        amount,
        record.modified_ns,
        record.version,
    )


def lines_of(tally: Tally) -> Lines:
    """Charges that were added up, as arrays."""
    return tuple((line.times, tuple(row(line.charge))) for line in tally.lines())


def publish(group: Gathering) -> None:
    """Count in what a published group took."""
    for booking in group.bookings:
        booking.undo()
        booking.purse.book(booking)
        booking.leave()


def undo(group: Gathering) -> None:
    """What a failed group would have taken is not taken."""
    for booking in group.bookings:
        booking.failed = True
        booking.undo()
        booking.leave()
    group.bookings = []


def leave(group: Gathering) -> None:
    """Nobody knows what became of a group; it is under way no more."""
    for booking in group.bookings:
        booking.leave()
