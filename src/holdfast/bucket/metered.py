"""Writes to a namespace with a purse: decided as ever, and charged for what they changed.

What an operation costs follows from the object before and after it, so the planners
(plan.py) know nothing of money. What a call takes is one CHARGE record in the group that
carries its effect, per namespace: neither can be without the other, and a batch whose
stores cost the same says so once.

An object with an expiry has paid until then, by the terms that its entry names; one that
names none pays rent by the tick (``Purse.bill_rent``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.bucket import plain, plan
from holdfast.bucket.bills import OPEN
from holdfast.bucket.once import decide as decide_once
from holdfast.bucket.once import write_down
from holdfast.bucket.purse import VISIBLE, Booking, Purse
from holdfast.bucket.read import EXPIRES_SLICE, NEVER
from holdfast.charges import (
    Back,
    Charge,
    Kind,
    begun_seconds,
    charge,
    whole_seconds,
)
from holdfast.charges import (
    operation as price_of,
)
from holdfast.errors import BalanceEmpty, HoldfastError, LimitExceeded
from holdfast.log.entry import ENTRY, Entry
from holdfast.log.records import OVERHEAD, Type
from holdfast.operations import (
    Append,
    Consumers,
    Delete,
    Lock,
    Operation,
    Release,
    Renew,
    Store,
    StoreOptions,
    Unlock,
)
from holdfast.values import Receipt, Receipts
from holdfast.views.port import Table
from holdfast.views.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.gates import Window
    from holdfast.bucket.group import Gathering

Rows = dict[bytes, bytes]
KINDS: dict[type[Operation], Kind] = {
    Store: "C",
    Append: "C",
    Delete: "C",
    Release: "C",
    Consumers: "C",
    Lock: "B",
    Unlock: "B",
    Renew: "B",
}


def plan_all(
    bucket: Bucket, operations: Sequence[Operation], group: Gathering, *, atomic: bool
) -> list[object]:
    """As ``deciding.plan_all``, in a bucket that has a purse."""
    call = Call(bucket, group)
    if bucket.settings.gates.windows:
        call.enter(operations)
    mark = group.mark()
    outcomes: list[object] = []
    for operation in operations:
        try:
            outcomes.append(call.decide(operation))
        except HoldfastError as error:
            if atomic:
                error.facts.setdefault("index", len(outcomes))
                bucket.unstage(group.roll_back(mark))
                call.drop()
                raise
            outcomes.append(error)
    if any(operation.once is not None for operation in operations):
        write_down(bucket, group, mark[1])
    call.write_down()
    return outcomes


class Call:
    """What one call changes in the purses of a bucket. Under the bucket's lock.

    Args:
        bucket: decides.
        group: takes the records.
    """

    def __init__(self, bucket: Bucket, group: Gathering) -> None:
        self._bucket = bucket
        self._group = group
        self._bookings: dict[bytes, Booking] = {}
        self._entered: dict[bytes, Window | None] = {}
        self._grown: dict[bytes, Charge] = {}  # by appends, per key: what they store

    def enter(self, operations: Sequence[Operation]) -> None:
        """Hold the call, which is one request however much it asks for.

        Raises:
            LimitExceeded: there were too many, or are at once; the call need not wait for a
                group to hear so.
        """
        for operation in operations:
            purse = self._bucket.purses.of(operation.key)
            if purse is None or type(operation) not in KINDS or _is_forced(operation):
                continue
            if purse.namespace not in self._entered:
                gates = self._bucket.settings.gates
                again = isinstance(operation, Lock) and operation.again
                self._entered[purse.namespace] = gates.enter(purse.namespace, again=again)

    def decide(self, operation: Operation) -> object:
        """Plan an operation and charge it; what refuses it changes nothing.

        Raises:
            BalanceEmpty, LimitExceeded: the purse does not hold that much.
        """
        purse = self._bucket.purses.of(operation.key)
        if purse is None or type(operation) not in KINDS:
            return _planned(self._bucket, operation, self._group)
        kind = "" if _is_free(operation) else KINDS[type(operation)]
        if not isinstance(operation, Delete) and purse.lacks(price_of(purse.terms, kind)):
            raise _empty(purse, price_of(purse.terms, kind))
        asked_for = operation
        if isinstance(operation, Store):
            operation = _prepaid(purse, operation)
        result, asked_for.cost_atto = self._charged(purse, operation, kind)
        return result

    def _charged(self, purse: Purse, operation: Operation, kind: Kind) -> tuple[object, int]:
        bucket, group, key = self._bucket, self._group, operation.key
        before = bucket.peek_entry(key)
        mark = group.mark()
        result = _planned(bucket, operation, group)
        if operation.once is not None and group.mark() == mark:
            return result, 0  # it was applied, and charged, before
        now = bucket.time.now_ns()
        after = bucket.peek_entry(key)
        change = Change(purse, key, now, adds=not isinstance(operation, Store | Delete))
        begun = self._begun(operation) if isinstance(operation, Append) else None
        taken = change.taken(kind, before, after, begun)
        refusal = None if _is_forced(operation) else _refusal(purse, taken)
        if refusal is not None:
            bucket.unstage(group.roll_back(mark))
            raise refusal
        if isinstance(operation, Append):
            self._grown.update((key, made) for made in taken.charges if made.seconds)
        self._add(taken)
        return _told(result, taken.amount), taken.amount

    def _begun(self, operation: Append) -> Charge | None:
        """What the records before it of the same append paid to be stored."""
        begun = self._grown.pop(operation.key, None)
        return begun if operation.more else None

    def _add(self, taken: Booking) -> None:
        taken.stage()
        known = self._bookings.get(taken.purse.namespace)
        if known is None:
            self._bookings[taken.purse.namespace] = taken
            return
        for made, times in taken.charges.items():
            known.charges[made] = known.charges.get(made, 0) + times
            if not known.charges[made]:
                del known.charges[made]
        known.size_bytes += taken.size_bytes
        known.objects += taken.objects
        known.rent_bytes += taken.rent_bytes
        known.amount += taken.amount

    def drop(self) -> None:
        """Nothing of it will be."""
        for booking in self._bookings.values():
            booking.undo()

    def write_down(self) -> None:
        """Add the CHARGE records; what they pay for is under way from now on."""
        for namespace, booking in self._bookings.items():
            window = self._entered.get(namespace)
            if window is not None:
                window.begin()
                booking.window = window
            _write(self._bucket, self._group, booking)


class Change:
    """What becomes of an object, and what that costs.

    Args:
        purse: pays.
        key: the object's composite key.
        now_ns: bucket time.
        adds: the object that was there stays, or grows.
    """

    def __init__(self, purse: Purse, key: bytes, now_ns: int, *, adds: bool) -> None:
        self._adds = adds
        self._purse = purse
        self._key_bytes = len(key) - purse.cut
        self._now = now_ns

    def taken(
        self, kind: Kind, before: Entry | None, after: Entry | None, begun: Charge | None = None
    ) -> Booking:
        """The booking of an operation of a class, from the object before and after it.

        ``begun`` is what the same call paid to store what it adds to: all of it is one charge
        instead, rounded up once.
        """
        charges: dict[Charge, int] = {} if begun is None else {begun: -1}
        for made in self._charges(kind, before, after, begun):
            if made.kind or made.amount or made.seconds or made.back:
                charges[made] = charges.get(made, 0) + 1
        old, new = self._size(before), self._size(after)
        return Booking(
            self._purse,
            charges,
            new - old,
            (after is not None) - (before is not None),
            (0 if _terms_of(after) else new) - (0 if _terms_of(before) else old),
            sum(made.amount * times for made, times in charges.items()),
            self._now,
        )

    def _stays(self, before: Entry, after: Entry) -> bool:
        """Whether it is the same object; an append to an expired one begins another."""
        return self._adds and before.expires_ns == after.expires_ns

    def _size(self, entry: Entry | None) -> int:
        return 0 if entry is None else self._key_bytes + entry.size

    def _charges(
        self, kind: Kind, before: Entry | None, after: Entry | None, begun: Charge | None
    ) -> list[Charge]:
        in_force = self._purse.terms
        paid, pays = _terms_of(before), _terms_of(after)
        if before is not None and after is not None and self._stays(before, after):
            more = after.size - before.size
            if not paid or not more:
                return [charge(in_force, kind)]
            seconds = begun_seconds(after.expires_ns - self._now)
            if begun is not None:
                more, seconds = more + begun.size_bytes, begun.seconds
            return [
                charge(in_force, kind),
                charge(self._purse.known[paid], "", size_bytes=more, seconds=seconds),
            ]
        back = None
        if before is not None and paid:
            rest = whole_seconds(before.expires_ns - self._now)
            if rest:
                back = Back(paid, self._size(before), rest, after is None)
        seconds = begun_seconds(after.expires_ns - self._now) if after is not None and pays else 0
        return [
            charge(
                in_force,
                kind,
                size_bytes=self._size(after) if seconds else 0,
                seconds=seconds,
                back=back,
                back_terms=self._purse.known[paid] if back else None,
            )
        ]


def store_many(
    bucket: Bucket, group: Gathering, batch: plain.Batch, bounds: tuple[bytes, bytes]
) -> Receipts | None:
    """As ``plain.plan``, in a bucket that has a purse; None where anything needs a look.

    All of it is admitted, or each for itself is decided elsewhere. ``bounds`` are the lowest
    and the highest of the keys.
    """
    low, high = bounds
    purse = bucket.purses.of(low)
    if purse is None:
        free = high.startswith(low.partition(VISIBLE)[0] + VISIBLE)
        return plain.plan(bucket, group, batch, high) if free else None
    if not high < purse.span[0][:-1] + b"\1" or purse.namespace in bucket.settings.gates.windows:
        return None
    keys, _, values = batch
    presence = bucket.presence
    found = _standing(bucket, keys, new=low > bucket.highest)
    there = [(key, row) for key, row in found.items() if row] if found else ()
    if there and any(row[EXPIRES_SLICE] != NEVER for _, row in there):
        return None
    gone = sum(len(key) - purse.cut + ENTRY.unpack_from(row)[3] for key, row in there)
    made = purse.plain[0]
    count, now, price = len(keys), bucket.time.now_ns(), made.amount
    size = 0  # what the group grows by tells it too, where no bound is to be held before
    if purse.allotted_bytes >= 0:
        size = sum(map(len, keys)) - count * purse.cut + sum(map(len, values)) - gone
    taken = Booking(purse, {made: count}, size, count - len(there), size, price * count, now)
    if _refusal(purse, taken) is not None:
        return None
    before, alone = group.length, not group.count or group.fresh is presence
    dead, rows = group.beside, len(group.pending)
    receipts = plain.plan(bucket, group, batch, high, cost_atto=price)
    group.fresh = presence if alone and not found else None
    kept = len(group.pending) - rows  # a key that comes twice is there once
    size = group.length - before - (group.beside - dead) - kept * (OVERHEAD + purse.cut) - gone
    taken.size_bytes = taken.rent_bytes = size
    taken.objects = kept - len(there)
    taken.stage()
    _write(bucket, group, taken)
    return receipts


def _standing(bucket: Bucket, keys: Sequence[bytes], *, new: bool) -> dict[bytes, bytes]:
    """The rows of those keys that have one, pending groups included; empty where they went.

    What knows the bucket's keys knows these from now on; ``new``: they are beyond all others.
    """
    presence = bucket.presence
    maybe = keys if presence is None else presence.claim(keys)
    if new:
        return {}
    found: dict[bytes, bytes] = {}
    groups = (bucket.gathering, bucket.inflight)
    layers = [group.pending for group in groups if group is not None and group.pending]
    told, untold = _overlays(bucket)
    left = _left(layers + untold, keys, found)
    left = _viewed(bucket, left, maybe)
    if left:
        left = _left(told, left, found)
        found.update(bucket.state.view.get_many(Table.KEYS, sorted(left)))
    return found


def _knows(bucket: Bucket) -> bool:
    """Whether a key that ``presence`` does not know is not in the view."""
    return bucket.presence is not None and bucket.presence.whole and bucket.lender is None


def _overlays(bucket: Bucket) -> tuple[list[Rows], list[Rows]]:
    """The overlays' entries, newest first: of those whose keys ``presence`` knows, and of others.

    It knows the oldest ones, so whoever asks the others first finds the newest rows.
    """
    presence, layers = bucket.presence, [bucket.state.active, *bucket.state.frozen]
    others = len(layers)
    while others and _knows(bucket) and layers[others - 1].present is presence:
        others -= 1
    return [layer.keys for layer in layers[others:]], [layer.keys for layer in layers[:others]]


def _left(
    layers: Sequence[Rows], keys: Sequence[bytes], found: dict[bytes, bytes]
) -> Sequence[bytes]:
    """Those of some keys that no layer has, newest first; ``found`` takes in the others."""
    for layer in layers:
        if not layer.keys().isdisjoint(keys):
            found.update((key, layer[key]) for key in keys if key in layer)
            keys = [key for key in keys if key not in found]
    return keys


def _viewed(bucket: Bucket, keys: Sequence[bytes], maybe: Sequence[bytes]) -> Sequence[bytes]:
    """Those of some keys that the view may hold: of those that ``maybe`` are there, if told."""
    if bucket.lender is not None:
        return keys
    if _knows(bucket):
        there = set(maybe)
        return [key for key in keys if key in there] if there else []
    if bucket.presence is None:
        bucket.presence = Presence(bucket.start)  # upkeep goes on with it
    return keys if bucket.view_tally.keys else []


def _write(bucket: Bucket, group: Gathering, booking: Booking) -> None:
    """Add a booking's record to the group that carries what it pays for; put it on a bill."""
    write(bucket, group, booking)
    bill = OPEN.get()
    if bill is not None:
        bill.add(booking)


def write(bucket: Bucket, group: Gathering, booking: Booking) -> None:
    """Add a booking's record to a group."""
    booking.version = version = bucket.next_version()
    key, value = max(booking.purse.span[0], bucket.start), booking.encoded()
    group.beside += plain.add(group, Type.CHARGE, key, value, version, booking.time_ns)
    group.bookings.append(booking)


def _planned(bucket: Bucket, operation: Operation, group: Gathering) -> object:
    if operation.once is None:
        return plan.PLANNERS[type(operation)](bucket, operation, group)
    return decide_once(bucket, operation, operation.once, group)


def _prepaid(purse: Purse, operation: Store) -> Store:
    """A store that may expire says by which terms it is paid ahead."""
    options = operation.options
    if options is None or not purse.terms.storage_atto:
        return operation
    if options.ttl_ns is None and not options.keep_ttl:
        return operation
    priced = msgspec.structs.replace(options, terms=purse.terms.number)
    return msgspec.structs.replace(operation, options=priced)


def _is_forced(operation: Operation) -> bool:
    """What the house does by itself is never refused."""
    return isinstance(operation, Delete) and operation.why != "asked"


def _is_free(operation: Operation) -> bool:
    """Whether it is no operation of a caller's; what it stores is paid for all the same.

    So are the further records of one append, and an object that the house rewrites as it is.
    """
    match operation:
        case Append(more=more):
            return more
        case Store(options=StoreOptions(expect=expect)):
            return expect is not None
        case _:
            return _is_forced(operation)


def _refusal(purse: Purse, taken: Booking) -> HoldfastError | None:
    limit = purse.over(taken.size_bytes, taken.objects)
    if limit is not None:
        return LimitExceeded(limit=limit, namespace=purse.namespace.decode())
    return _empty(purse, taken.amount) if purse.lacks(taken.amount) else None


def _empty(purse: Purse, cost_atto: int) -> BalanceEmpty:
    return BalanceEmpty(namespace=purse.namespace.decode(), cost_atto=cost_atto)


def _told(result: object, cost_atto: int) -> object:
    if not cost_atto or not isinstance(result, Receipt):
        return result
    return msgspec.structs.replace(result, cost_atto=cost_atto)


def _terms_of(entry: Entry | None) -> int:
    return entry.terms if entry is not None else 0
