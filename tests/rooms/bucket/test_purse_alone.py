"""A purse by itself, at the edges of what it decides, and whatever it holds when it is told."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.bucket.purse import KINDS, VISIBLE, Booking, Purse, Purses, decode_booking
from holdfast.charges import Back, Charge, Terms, charge
from holdfast.errors import Corrupt
from holdfast.limits import SECOND_NS
from holdfast.log.purses import Kept, Line, Posting, Rent
from holdfast.log.records import Record, Type

PRICED = Terms(1, 10_000, 2_000, 1_000, 7, 1, 3, 1, 1, 5)
LATER = msgspec.structs.replace(PRICED, number=2, c=5_000, storage_unit=1_000)
PUT = charge(PRICED, "C", size_bytes=10, seconds=60)
SENT = charge(PRICED, "B", egress_bytes=7)
GIVEN = charge(PRICED, "C", back=Back(1, 10, 20, early=False))


def kept(**more: object) -> Kept:
    return msgspec.structs.replace(Kept(b"acme", 5, (PRICED,), 10_000), **more)


def purse(**more: object) -> Purse:
    return Purse(kept(**more), "b1")


def booking(of: Purse, charges: dict[Charge, int], version: int = 9, time_ns: int = 0) -> Booking:
    amount = sum(made.amount * times for made, times in charges.items())
    return Booking(of, charges, 100, 3, 40, amount, time_ns, version)


def recorded(version: int, modified_ns: int = 0) -> Record:
    key = b"acme" + VISIBLE + b"k"
    return Record(Type.CHARGE, 0, key, b"", 0, 0, version, modified_ns, 0, 0)


# -- deciding ------------------------------------------------------------------------------


def test_it_pays_to_the_last_and_no_further() -> None:
    one = purse()
    assert not one.lacks(10_000)
    assert one.lacks(10_001)
    one.go_ahead(4_000, 0, 0)
    assert (one.lacks(6_000), one.lacks(6_001)) == (False, True)
    one.charge(PUT)
    assert one.lacks(1)
    assert not one.lacks(0)


def test_an_allotment_is_taken_to_the_last() -> None:
    one = purse(allotted=(100, 10), used=(60, 4))
    one.go_ahead(0, 30, 5)
    assert [one.over(size, 0) for size in (10, 11)] == [None, "bytes_max"]
    assert [one.over(0, objects) for objects in (1, 2)] == [None, "objects_max"]


def test_what_takes_nothing_more_is_let_by_an_allotment_that_was_passed() -> None:
    one = purse(allotted=(100, 10), used=(200, 20))
    assert one.over(0, 0) is None
    assert one.over(-5, -1) is None
    assert one.over(1, 0) == "bytes_max"
    assert one.over(0, 1) == "objects_max"


def test_an_allotment_of_nothing_is_one() -> None:
    none = purse(allotted=(0, 0))
    assert (none.over(1, 0), none.over(0, 1)) == ("bytes_max", "objects_max")
    unbounded = purse(allotted=(-1, -1), used=(1 << 60, 1 << 60))
    assert (unbounded.over(1, 0), unbounded.over(0, 1)) == (None, None)


def test_a_plain_store_is_charged_by_the_terms_in_force() -> None:
    one = purse()
    assert one.plain[0] == Charge(1, "C", amount=1_000)
    one.terms = LATER
    assert one.plain[0] == Charge(2, "C", amount=5_000)


# -- booking -------------------------------------------------------------------------------


def test_a_booking_counts_in_every_place() -> None:
    one = purse(used=(1_000, 10), rent=Rent(8, SECOND_NS, 5))
    one.book(booking(one, {PUT: 2, SENT: 3, GIVEN: 4}, time_ns=3 * SECOND_NS))
    amount = 2 * PUT.amount + 3 * SENT.amount + 4 * GIVEN.amount
    assert (one.float_atto, one.charged_atto) == (10_000 - amount, amount)
    assert (one.used_bytes, one.used_objects, one.rent_bytes) == (1_100, 13, 48)
    assert (one.rent_due, one.rent_ns) == (5 + 8 * 2 * SECOND_NS, 3 * SECOND_NS)
    assert one.version == 9
    assert one.sums.amount == amount
    assert one.totals == [0, 3, 6, 2 * 10 * 60 - 4 * 10 * 20, 3 * 7]


def test_what_is_read_back_is_what_was_booked() -> None:
    one = purse()
    told = booking(one, {PUT: 2, GIVEN: 4})
    record = recorded(9, modified_ns=77)
    found = decode_booking(one, told.encoded(), record)
    for field in ("charges", "size_bytes", "objects", "rent_bytes", "amount", "version"):
        assert getattr(found, field) == getattr(told, field)
    assert found.time_ns == 77
    with pytest.raises(Corrupt):
        decode_booking(one, b"\xc1", record)


def test_rent_of_the_past_adds_nothing() -> None:
    one = purse(rent=Rent(8, 5 * SECOND_NS))
    one.accrue(SECOND_NS)
    assert (one.rent_due, one.rent_ns) == (0, 5 * SECOND_NS)


def test_rent_is_billed_as_far_as_it_divides() -> None:
    one = purse(terms=(LATER,), rent=Rent(100, 0, 7))
    one.bill_rent(9 * SECOND_NS)
    assert (one.owed.amount, one.rent_due) == (0, 900 * SECOND_NS + 7)
    one.bill_rent(25 * SECOND_NS)
    assert (one.owed.amount, one.rent_due) == (2_000 * 7 // 1_000, 500 * SECOND_NS + 7)
    assert [line.charge.size_bytes for line in one.owed.lines()] == [2_000]
    one.bill_rent(25 * SECOND_NS)
    assert len(list(one.owed.lines())) == 1


def test_the_rest_of_the_rent_is_billed_at_the_price_that_ends() -> None:
    one = purse(terms=(LATER,), rent=Rent(100, 0, 7))
    one.bill_rent(9 * SECOND_NS, ends=True)
    assert (one.owed.amount, one.rent_due) == (7, 7)  # 900 byte-seconds at 7/1000, rounded up


# -- paying --------------------------------------------------------------------------------


def test_what_is_owed_is_paid_to_the_last_or_not_at_all() -> None:
    one = purse(float_atto=2 * SENT.amount)
    one.go_ahead(1, 0, 0)  # what is on its way was let in before, and pays for itself
    one.charge(SENT, 2)
    one.pay(SECOND_NS, poor=False)
    assert (one.float_atto, one.charged_atto) == (0, 2 * SENT.amount)
    assert (one.owed.amount, one.empty_ns, one.totals[1]) == (0, 0, 2)
    one.charge(SENT)
    one.pay(SECOND_NS, poor=False)
    assert one.empty_ns == 0
    one.pay(2 * SECOND_NS, poor=True)
    one.pay(3 * SECOND_NS, poor=True)
    assert (one.float_atto, one.owed.amount, one.empty_ns) == (0, SENT.amount, 2 * SECOND_NS)
    one.float_atto = SENT.amount
    one.pay(4 * SECOND_NS, poor=False)
    assert (one.owed.amount, one.empty_ns, one.totals[1]) == (0, 2 * SECOND_NS, 3)
    one.float_atto = one.terms.c - 1
    one.pay(5 * SECOND_NS, poor=True)
    assert one.empty_ns == 2 * SECOND_NS
    one.float_atto = one.terms.c  # it can pay for an operation
    one.pay(6 * SECOND_NS, poor=True)
    assert one.empty_ns == 0


def test_reads_go_on_until_the_grace_is_over() -> None:
    one = purse(grace_ns=10, empty_ns=5)
    assert [one.is_silent(now) for now in (14, 15, 16)] == [False, True, True]
    assert not purse(grace_ns=10).is_silent(1 << 60)


# -- splits and merges ---------------------------------------------------------------------


def test_a_split_takes_what_the_child_has_got() -> None:
    one = purse(allotted=(100, 10), used=(60, 6), rent=Rent(30, 0))
    one.charge(SENT)
    share = kept(
        float_atto=4_000,
        allotted=(40, 4),
        used=(20, 2),
        rent=Rent(10, 0),
        owed=tuple(one.kept().owed),
    )
    one.give(share, 8, 2 * SECOND_NS)
    assert (one.float_atto, one.used_bytes, one.used_objects) == (6_000, 40, 4)
    assert (one.allotted_bytes, one.allotted_objects) == (60, 6)
    assert (one.rent_bytes, one.rent_due, one.version) == (20, 60 * SECOND_NS, 8)
    assert one.owed.amount == 0


def test_who_is_not_bounded_stays_so_and_what_is_owed_here_is_owed() -> None:
    one = purse()
    one.charge(SENT)
    one.give(kept(float_atto=0, allotted=(40, 4)), 8, 0)
    assert (one.allotted_bytes, one.allotted_objects) == (-1, -1)
    assert one.owed.amount == SENT.amount


def full(bucket: str, **more: object) -> Purse:
    """Something in every place; two of them owe more than they hold."""
    one = Purse(kept(allotted=(100, 10), used=(60, 6), rent=Rent(30, 0, 3), **more), bucket)
    one.charged_atto = 700
    one.book(booking(one, {PUT: 1}))
    one.charge(SENT, 9)
    return one


def test_a_merge_adds_up_every_place() -> None:
    one, other = full("b1"), full("b2", terms=(PRICED, LATER))
    alone = full("b1")
    one.join(other, 12, 2 * SECOND_NS)
    assert one.float_atto == 2 * alone.float_atto
    assert one.charged_atto == 2 * alone.charged_atto
    assert one.totals == [2 * each for each in alone.totals]
    assert (one.used_bytes, one.used_objects) == (2 * 160, 2 * 9)
    assert (one.rent_bytes, one.rent_due) == (2 * 70, 2 * (3 + 140 * SECOND_NS))
    assert (one.allotted_bytes, one.allotted_objects) == (200, 20)
    assert one.owed.amount == 2 * 9 * SENT.amount
    assert (one.terms, sorted(one.known), one.version) == (LATER, [1, 2], 12)
    assert [line.bucket for line in one.others] == ["b2"]
    (line,) = one.others
    assert line.open is not None
    assert one.tally(line.open.lines).amount == PUT.amount
    older = full("b3")
    one.join(older, 13, 0)
    assert one.terms == LATER


def test_a_merge_with_who_is_not_bounded_is_not_bounded() -> None:
    one = purse(allotted=(100, 10))
    one.join(Purse(kept(), "b2"), 8, 0)
    assert (one.allotted_bytes, one.allotted_objects) == (-1, -1)
    other = purse()
    other.join(Purse(kept(allotted=(100, 10)), "b2"), 8, 0)
    assert (other.allotted_bytes, other.allotted_objects) == (-1, -1)


@pytest.mark.parametrize(("mine", "theirs"), [(7, 0), (0, 7), (7, 9)])
def test_a_merge_forgets_no_grace_that_runs(mine: int, theirs: int) -> None:
    one = purse(empty_ns=mine, float_atto=0)
    one.charge(SENT)  # which nobody can pay
    one.join(Purse(kept(empty_ns=theirs, float_atto=0), "b2"), 8, 0)
    assert one.empty_ns == 7


# -- what the log says ---------------------------------------------------------------------


def test_it_is_what_it_was_when_it_is_told() -> None:
    one, other = full("b1", empty_ns=4, grace_ns=6), full("b2", terms=(PRICED, LATER))
    one.join(other, 12, 0)
    told = one.kept()
    again = Purse(msgspec.msgpack.decode(msgspec.msgpack.encode(told), type=Kept), "b1")
    assert again.kept() == told
    assert (again.since, again.version) == (5, 12)
    assert again.sums.amount == one.sums.amount == PUT.amount
    assert (again.empty_ns, again.grace_ns) == (4, 6)
    assert again.owed.amount == one.owed.amount
    assert [line.bucket for line in again.others] == ["b2"]
    assert sorted(again.known) == [1, 2]


def test_the_line_of_another_bucket_is_not_its_own() -> None:
    lines = (Line("b2", received=3), Line("b1", received=8, open=Posting("b1", 2, 5)))
    one = purse(lines=lines)
    assert (one.line.received, one.since) == (8, 2)
    assert [line.bucket for line in one.others] == ["b2"]
    assert Purse(kept(lines=lines), "b3").line == Line("b3")


def test_a_key_is_charged_to_its_namespace_and_what_is_hidden_to_nobody() -> None:
    purses = Purses("b1", [kept()])
    assert purses.of(b"acme" + VISIBLE + b"k") is purses[b"acme"]
    assert purses.of(b"acme\x01k") is None
    assert purses.of(b"other" + VISIBLE + b"k") is None


def test_a_record_counts_once() -> None:
    purses = Purses("b1", [kept()])
    value = booking(purses[b"acme"], {PUT: 1}).encoded()
    for version in (5, 4, 6, 6):
        record = recorded(version)
        purses.replay(record, value)
    assert purses[b"acme"].charged_atto == PUT.amount
    assert purses[b"acme"].version == 6
    assert purses[b"acme"].totals[KINDS.index("C")] == 1
