"""What prices and books must come to, reckoned by fractions: nothing of the house is used for it.

``Price`` says what an operation costs, ``told`` what entries of the books come to, ``spread``
where every unit of money is while nothing was settled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

from holdfast.bucket.purse import Purse
from holdfast.charges import Charge, Terms
from holdfast.errors import Moved
from holdfast.ledger.entries import Charged, Entry, Priced
from holdfast.store import Store

SECOND_NS = 10**9


class Price(NamedTuple):
    """A tariff: of an operation of class C, of a byte-second, of a byte sent; the share kept."""

    operation: int
    storage: Fraction
    egress: Fraction
    early: Fraction

    def toml(self) -> str:
        told = [
            f'{name} = "{price.numerator}/{price.denominator}"'
            for name, price in zip(self._fields[1:], self[1:], strict=True)
        ]
        return "\n".join([f"operation = {self.operation}", *told]).replace("early", "early_delete")


class Kept(NamedTuple):
    """An object: bytes of key and value, when it ends, by which price it is paid until then."""

    size: int
    expires_ns: int | None = None
    paid: Price | None = None

    def rest_s(self, now_ns: int) -> int:
        """Whole seconds that are paid and not begun."""
        return 0 if self.expires_ns is None else max(0, (self.expires_ns - now_ns) // SECOND_NS)


def stored(price: Price, before: Kept | None, after: Kept, now_ns: int) -> int:
    """What storing an object in another's place costs."""
    seconds = (
        0 if after.expires_ns is None else ceil(Fraction(after.expires_ns - now_ns, SECOND_NS))
    )
    return price.operation + ceil(price.storage * after.size * seconds) - given(before, now_ns)


def given(before: Kept | None, now_ns: int, kept: Fraction = Fraction(0)) -> int:
    """What comes back of an object, less the share that is kept."""
    if before is None or before.paid is None:
        return 0
    return floor(before.paid.storage * before.size * before.rest_s(now_ns) * (1 - kept))


def deleted(price: Price, before: Kept, now_ns: int) -> int:
    """What deleting an object costs."""
    kept = before.paid.early if before.paid is not None else Fraction(0)
    return price.operation - given(before, now_ns, kept)


def appended(price: Price, before: Kept, more: int, now_ns: int) -> int:
    """What growing an object that lives costs."""
    if before.paid is None or before.expires_ns is None:
        return price.operation
    seconds = ceil(Fraction(before.expires_ns - now_ns, SECOND_NS))
    return price.operation + ceil(before.paid.storage * more * seconds)


# -- the books, again --------------------------------------------------------------


def amount_of(made: Charge, terms: Mapping[int, Terms]) -> int:
    """What a charge must come to, from what it says went into it."""
    now = terms[made.terms]
    storage = Fraction(now.storage_atto, now.storage_unit)
    egress = Fraction(now.egress_atto, now.egress_unit)
    amount = {"A": now.a, "B": now.b, "C": now.c, "": 0}[made.kind]
    amount += ceil(storage * made.size_bytes * made.seconds) + ceil(egress * made.egress_bytes)
    if made.back is not None:
        paid = terms[made.back.terms]
        early = Fraction(paid.early_num, paid.early_den) if made.back.early else Fraction(0)
        unit = Fraction(paid.storage_atto, paid.storage_unit)
        amount -= floor(unit * made.back.size_bytes * made.back.seconds * (1 - early))
    return amount


Places = dict[str, int]
MOVES = {
    "deposit": (None, "balance"),
    "fund": ("balance", "transit"),
    "received": ("transit", "float"),
    "void": ("transit", "balance"),
    "returned": ("float", "balance"),
    "charged": ("float", "charged"),
}


def told(history: Iterable[Entry]) -> dict[str, Places]:
    """What entries come to: for each account its four places. AssertionError where one is wrong."""
    accounts: dict[str, Places] = defaultdict(
        lambda: dict.fromkeys(("balance", "transit", "float", "charged"), 0)
    )
    terms: dict[int, Terms] = {}
    for entry in history:
        if isinstance(entry, Priced):
            terms[entry.terms.number] = entry.terms
        elif isinstance(entry, Charged):
            assert all(amount_of(line.charge, terms) == line.charge.amount for line in entry.lines)
            assert sum(line.times * line.charge.amount for line in entry.lines) == entry.amount
        _move(accounts, entry)
        assert all(
            held[place] >= 0
            for held in accounts.values()
            for place in ("balance", "transit", "float")
        )
    return accounts


def _move(accounts: dict[str, Places], entry: Entry) -> None:
    if entry.kind in {"transfer", "top_up"}:
        accounts[entry.source]["balance"] -= entry.amount  # type: ignore[union-attr]
        accounts[entry.target]["balance"] += entry.amount  # type: ignore[union-attr]
    elif entry.kind in MOVES:
        source, target = MOVES[entry.kind]
        held = accounts[entry.account]  # type: ignore[union-attr]
        if source is not None:
            held[source] -= entry.amount  # type: ignore[union-attr]
        held[target] += entry.amount  # type: ignore[union-attr]


# -- where money is --------------------------------------------------------------------


def purses_of(store: Store, name: str) -> list[Purse]:
    """The purses of a namespace."""
    return [
        bucket.purses[name.encode()]
        for bucket in store.placement.directory
        if name.encode() in bucket.purses
    ]


def spread(store: Store) -> Iterator[int]:
    """Every unit of money there is: on accounts, on its way to buckets and back, held, charged."""
    books = store.accounts.ledger.books()
    arrived: dict[tuple[str, str], int] = {}
    for name, account in books.accounts.items():
        yield account.balance
        for purse in purses_of(store, name):
            yield purse.float_atto
            yield purse.charged_atto
            for line in (purse.line, *purse.others):
                arrived[name, line.bucket] = line.received
                if line.given > books.lane(name, line.bucket).returned:
                    gift = line.gift
                    yield (
                        gift if isinstance(gift, int) else int.from_bytes(gift, "big", signed=True)
                    )
    for place, lane in books.lanes.items():
        yield sum(amount for number, amount in lane.pending if number > arrived.get(place, 0))


def version_of(store: Store, composite: bytes) -> int:
    """The version of what is stored under a composite key, 0 where nothing is; nobody pays."""
    while True:
        bucket = store.placement.directory.find(composite)
        try:
            entry = bucket.peek_entry(composite)
        except Moved:
            continue
        return 0 if entry is None else entry.version
