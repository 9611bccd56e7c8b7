"""What a record cost, in whole numbers of 10^-18 USD: pure arithmetic, the same for everybody.

Terms are one version of a tariff as numbers; a charge names the terms and everything that
went into its amount, so that whoever has both can compute it again. A price per byte or
byte-second is a fraction of two integers; a charge is rounded up once and what is given back
is rounded down once, each as one fraction, so no rounding can be lived on. Seconds are whole:
begun seconds are paid, only whole seconds are given back, so no time to live is free.

Numbers have any size: a GiB for thirty days is already more than 64 bits hold. On disk, one
that MessagePack cannot hold as an integer is big-endian bytes in two's complement.

A charge on disk is a MessagePack array, what stands at its end and is zero left out:

    [terms, kind, bytes, seconds, amount, egress_bytes, back terms, back bytes, back seconds,
     back early]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from holdfast.errors import Corrupt
from holdfast.limits import SECOND_NS

_LEAST: Final = -(1 << 63)
_MOST: Final = (1 << 64) - 1

Wide = int | bytes
Kind = Literal["A", "B", "C", ""]
"""A: list and search; B: lock and unlock; C: else what touches one key; "": no operation."""


class Terms(msgspec.Struct, frozen=True, array_like=True):
    """One version of a tariff; ``number`` is unique in the store, 0 is "no tariff".

    ``a``, ``b`` and ``c`` are prices of one operation; a byte-second costs ``storage_atto /
    storage_unit``, a byte that is sent ``egress_atto / egress_unit``; who deletes before the
    expiry loses ``early_num / early_den`` of the unused rest.
    """

    number: int
    a: int = 0
    b: int = 0
    c: int = 0
    storage_atto: int = 0
    storage_unit: int = 1
    egress_atto: int = 0
    egress_unit: int = 1
    early_num: int = 0
    early_den: int = 1


class Back(msgspec.Struct, frozen=True, array_like=True):
    """What is given back: ``seconds`` paid and not used of ``size_bytes``, under the old terms."""

    terms: int
    size_bytes: int
    seconds: int
    early: bool = False


class Charge(msgspec.Struct, frozen=True, array_like=True):
    """What was charged and for what; ``amount`` is below zero where more was given back.

    ``size_bytes`` of key and value are paid for ``seconds`` ahead (0: by rent, or not at all).
    """

    terms: int
    kind: Kind
    size_bytes: int = 0
    seconds: int = 0
    amount: int = 0
    egress_bytes: int = 0
    back: Back | None = None


# -- prices ----------------------------------------------------------------------


def begun_seconds(ns: int) -> int:
    """Nanoseconds as seconds to pay for: whole ones, rounded up; none below zero.

    Example:
        >>> begun_seconds(1), begun_seconds(1_000_000_000)
        (1, 1)
    """
    return max(0, -(-ns // SECOND_NS))


def whole_seconds(ns: int) -> int:
    """Nanoseconds as seconds to give back: whole ones, rounded down; none below zero."""
    return max(0, ns // SECOND_NS)


def storage(terms: Terms, size_bytes: int, seconds: int) -> int:
    """The price of keeping bytes of key and value for seconds; rounded up once.

    Example:
        >>> storage(Terms(1, storage_atto=8_796), 1 << 30, 3_600)
        34000679102054400
    """
    return -(-(size_bytes * seconds * terms.storage_atto) // terms.storage_unit)


def unused(terms: Terms, size_bytes: int, seconds: int, *, early: bool) -> int:
    """What is given back of paid seconds that are not used; rounded down once.

    Args:
        terms: by which they were paid.
        size_bytes: of key and value.
        seconds: paid and not begun.
        early: the object is deleted, so the share for that is kept.
    """
    paid = size_bytes * seconds * terms.storage_atto
    if not early:
        return paid // terms.storage_unit
    given = terms.early_den - terms.early_num
    return paid * given // (terms.storage_unit * terms.early_den)


def operation(terms: Terms, kind: Kind) -> int:
    """The price of one operation of a class."""
    if kind == "C":
        return terms.c
    if kind == "A":
        return terms.a
    return terms.b if kind == "B" else 0


def egress(terms: Terms, size_bytes: int) -> int:
    """The price of sending bytes; rounded up once."""
    return -(-(size_bytes * terms.egress_atto) // terms.egress_unit)


# -- charges ---------------------------------------------------------------------


def charge(
    terms: Terms,
    kind: Kind,
    *,
    size_bytes: int = 0,
    seconds: int = 0,
    egress_bytes: int = 0,
    back: Back | None = None,
    back_terms: Terms | None = None,
) -> Charge:
    """A charge with its amount.

    Args:
        terms: in force.
        kind: class of the operation, "" for none (rent).
        size_bytes: of key and value, paid for ``seconds`` ahead.
        seconds: as ``begun_seconds`` counts them.
        egress_bytes: that were sent.
        back: what is given back of an earlier charge.
        back_terms: by which that was paid; those in force if None.
    """
    amount = operation(terms, kind) + storage(terms, size_bytes, seconds)
    amount += egress(terms, egress_bytes)
    if back is not None:
        amount -= unused(back_terms or terms, back.size_bytes, back.seconds, early=back.early)
    return Charge(terms.number, kind, size_bytes, seconds, amount, egress_bytes, back)


def recompute(made: Charge, terms: Mapping[int, Terms]) -> int:
    """The amount that a charge must have, from what it says went into it.

    Args:
        made: the charge.
        terms: by their numbers.

    Raises:
        KeyError: terms that the charge names are not there.
    """
    back = made.back
    again = charge(
        terms[made.terms],
        made.kind,
        size_bytes=made.size_bytes,
        seconds=made.seconds,
        egress_bytes=made.egress_bytes,
        back=back,
        back_terms=terms[back.terms] if back is not None else None,
    )
    return again.amount


# -- bytes -----------------------------------------------------------------------


def wide(number: int) -> Wide:
    """A number of any size as MessagePack can hold it.

    Example:
        >>> wide(7), wide(1 << 64).hex()
        (7, '010000000000000000')
    """
    if _LEAST <= number <= _MOST:
        return number
    return number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)


def narrow(held: Wide) -> int:
    """The number again."""
    return held if isinstance(held, int) else int.from_bytes(held, "big", signed=True)


def encode(made: Charge) -> bytes:
    """A charge as bytes."""
    return msgspec.msgpack.encode(row(made))


def row(made: Charge) -> list[object]:
    """A charge as the array that is encoded."""
    back = made.back
    fields: list[object] = [
        made.terms,
        made.kind,
        wide(made.size_bytes),
        wide(made.seconds),
        wide(made.amount),
        wide(made.egress_bytes),
    ]
    if back is not None:
        return [*fields, back.terms, wide(back.size_bytes), wide(back.seconds), back.early]
    return fields if made.egress_bytes else fields[:-1]


class _Row(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    terms: int
    kind: Kind
    size_bytes: Wide
    seconds: Wide
    amount: Wide
    egress_bytes: Wide = 0
    back_terms: int | None = None
    back_bytes: Wide = 0
    back_seconds: Wide = 0
    back_early: bool = False


def decode(data: bytes) -> Charge:
    """A charge from its bytes.

    Raises:
        Corrupt: they are none.
    """
    try:
        return from_row(msgspec.msgpack.decode(data))
    except msgspec.DecodeError:
        raise Corrupt(what="a charge that cannot be read") from None


def from_row(fields: object) -> Charge:
    """A charge from the array that was encoded.

    Raises:
        Corrupt: it is none.
    """
    try:
        read = msgspec.convert(fields, _Row)
    except msgspec.ValidationError:
        raise Corrupt(what="a charge that cannot be read") from None
    back = None
    if read.back_terms is not None:
        seconds = narrow(read.back_seconds)
        back = Back(read.back_terms, narrow(read.back_bytes), seconds, read.back_early)
    return Charge(
        read.terms,
        read.kind,
        narrow(read.size_bytes),
        narrow(read.seconds),
        narrow(read.amount),
        narrow(read.egress_bytes),
        back,
    )


# -- sums ------------------------------------------------------------------------


class Line(msgspec.Struct, frozen=True, array_like=True):
    """The same charge so many times; what a sum of charges is made of."""

    times: int
    charge: Charge


def total(lines: Iterable[Line]) -> int:
    """What lines come to, in 10^-18 USD."""
    return sum(line.times * line.charge.amount for line in lines)


class Tally:
    """Charges, summed so that the sum can still be computed again from what it says.

    Charges that are alike become one line. Where terms round nothing (their prices are whole),
    what was paid for storage, for sending and given back in full becomes one line each besides,
    so that a million writes of a million sizes are a few lines.

    Args:
        terms: by their numbers; a charge by others is not merged.

    Example:
        >>> terms = Terms(1, c=5, storage_atto=2)
        >>> tally = Tally({1: terms})
        >>> for seconds in (3, 4):
        ...     tally.add(charge(terms, "C", size_bytes=10, seconds=seconds))
        >>> tally.amount, len(tally.lines())
        (150, 2)
    """

    def __init__(self, terms: Mapping[int, Terms]) -> None:
        self._terms = terms
        self._alike: dict[Charge, int] = {}
        self._stored: dict[int, int] = {}  # byte-seconds by terms that round nothing
        self._sent: dict[int, int] = {}
        self._given: dict[tuple[int, int], int] = {}  # by terms in force and those paid by
        self.amount = 0

    def add(self, made: Charge, times: int = 1) -> None:
        """Count a charge, so many times."""
        self.amount += made.amount * times
        if made.kind and not (made.size_bytes or made.egress_bytes) and made.back is None:
            self._alike[made] = self._alike.get(made, 0) + times
            return  # nothing of it is a product: the line of its operation
        terms = self._terms.get(made.terms)
        if terms is None or not self._is_exact(made, terms):
            self._alike[made] = self._alike.get(made, 0) + times
            return
        self._count(self._stored, made.terms, times * made.size_bytes * made.seconds)
        self._count(self._sent, made.terms, times * made.egress_bytes)
        if made.back is not None:
            given = made.back.size_bytes * made.back.seconds
            place = (made.terms, made.back.terms)
            self._given[place] = self._given.get(place, 0) + times * given
        if made.kind:
            alone = charge(terms, made.kind)
            self._alike[alone] = self._alike.get(alone, 0) + times

    def _is_exact(self, made: Charge, terms: Terms) -> bool:
        """Whether no part of a charge was rounded."""
        if terms.storage_unit != 1 or terms.egress_unit != 1:
            return False
        if made.back is None:
            return True
        paid = self._terms.get(made.back.terms)
        return paid is not None and paid.storage_unit == 1 and not made.back.early

    @staticmethod
    def _count(sums: dict[int, int], terms: int, amount: int) -> None:
        if amount:
            sums[terms] = sums.get(terms, 0) + amount

    def lines(self) -> tuple[Line, ...]:
        """What was counted, in the order in which it first was; the sums behind."""
        found = [Line(times, made) for made, times in self._alike.items()]
        for number, byte_seconds in self._stored.items():
            made = charge(self._terms[number], "", size_bytes=byte_seconds, seconds=1)
            found.append(Line(1, made))
        for number, sent in self._sent.items():
            found.append(Line(1, charge(self._terms[number], "", egress_bytes=sent)))
        for (number, paid), given in self._given.items():
            back = Back(paid, given, 1)
            terms = self._terms[number]
            made = charge(terms, "", back=back, back_terms=self._terms[paid])
            found.append(Line(1, made))
        return tuple(found)
