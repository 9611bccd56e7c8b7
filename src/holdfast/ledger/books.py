"""What the entries come to: accounts, what is under way, rules. Pure; nothing is kept here.

``Books.apply`` checks an entry and takes it; what it refuses changes nothing. A page of entries
is tried on a ``fork`` first, so that it counts as a whole or not at all.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Final

import msgspec

from holdfast import charges
from holdfast.charges import Terms
from holdfast.errors import BalanceEmpty, Corrupt, InvalidValue
from holdfast.ledger import entries
from holdfast.ledger.entries import (
    Charged,
    Deposit,
    Entry,
    Fund,
    Moved,
    Priced,
    Received,
    Returned,
    Rule,
    TopUp,
    Transfer,
    Void,
)

RESERVE: Final = "reserve"
ACCOUNT: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
REFERENCE_CHARS: Final = 200
DAY_NS: Final = 86_400_000_000_000


Pending = tuple[int, int]


def account_name(account: object, argument: str = "account") -> str:
    """What may name an account, as a caller hands it in; InvalidValue where it cannot."""
    if not isinstance(account, str) or ACCOUNT.fullmatch(account) is None:
        raise InvalidValue(argument=argument, reason="1 to 128 of [A-Za-z0-9._-]")
    return account


class Account(msgspec.Struct, frozen=True):
    """One account: its four places, in 10^-18 USD, and its chain.

    ``balance`` can be moved; ``transit`` is on its way to buckets, which hold ``float_``;
    ``charged`` is what was taken so far. ``drawn`` counts the top-ups of ``day``.
    """

    name: str
    head: bytes
    balance: int = 0
    transit: int = 0
    float_: int = 0
    charged: int = 0
    entries: int = 0
    rule: Rule | None = None
    day: int = -1
    drawn: int = 0

    @property
    def funds(self) -> int:
        """What can still be spent, wherever it is."""
        return self.balance + self.transit + self.float_


class Lane(msgspec.Struct, frozen=True):
    """Between an account and one bucket: the numbers of both ways, and what was absorbed.

    ``pending`` are the transfers that the bucket is not yet known to have: number and amount.
    """

    sent: int = 0
    returned: int = 0
    absorbed: int = 0
    pending: tuple[Pending, ...] = ()

    def settled(self, transfer: int) -> int:
        """What the pending transfers up to a number come to."""
        return sum(one[1] for one in self.pending if one[0] <= transfer)

    def lost(self, transfer: int) -> int:
        """What the pending transfers above a number come to."""
        return sum(one[1] for one in self.pending if one[0] > transfer)


class Books:
    """The state of the books.

    Args:
        store: the id of the store, which its chains begin with.
    """

    def __init__(self, store: str) -> None:
        self.store = store
        self.accounts: MutableMapping[str, Account] = {}
        self.lanes: MutableMapping[tuple[str, str], Lane] = {}
        self.terms: MutableMapping[int, Terms] = {}
        self.references: MutableMapping[tuple[str, str], Entry] = {}
        self.number = 0  # of the newest entry
        self.time_ns = 0
        self.deposited = 0

    def fork(self) -> Books:
        """Books to try entries on: they show what these show, and leave them as they are."""
        other = Books(self.store)
        other.accounts = ChainMap({}, self.accounts)
        other.lanes = ChainMap({}, self.lanes)
        other.terms = ChainMap({}, self.terms)
        other.references = ChainMap({}, self.references)
        other.number, other.time_ns = self.number, self.time_ns
        other.deposited = self.deposited
        return other

    def account(self, name: str) -> Account:
        """An account; one that nobody has paid into is empty."""
        found = self.accounts.get(name)
        return found or Account(name, entries.first_head(self.store, name))

    def lane(self, account: str, bucket: str) -> Lane:
        """What is between an account and a bucket."""
        return self.lanes.get((account, bucket)) or Lane()

    # -- taking entries ---------------------------------------------------------------

    def apply(self, entry: Entry) -> None:
        """Take an entry; what is refused changes nothing.

        Raises:
            BalanceEmpty: an account would be overdrawn.
            InvalidValue: it does not follow from the entries before.
        """
        if entry.number != self.number + 1 or entry.time_ns < self.time_ns:
            raise InvalidValue(argument="number", reason="entries follow each other")
        self._check(entry)
        changed = [self._moved(name, entry) for name in entries.owners(entry)]
        lane = self._lane_after(entry)
        for account in changed:
            self.accounts[account.name] = account
        if lane is not None:
            self.lanes[lane[0]] = lane[1]
        self._note(entry)
        self.number, self.time_ns = entry.number, entry.time_ns

    def _moved(self, name: str, entry: Entry) -> Account:
        """An account after an entry."""
        if ACCOUNT.fullmatch(name) is None:
            raise InvalidValue(argument="account", reason="1 to 128 of [A-Za-z0-9._-]")
        account = self.account(name)
        places = moved(account, entries.effect(entry, name))
        for place, held in zip(("balance", "transit", "float_"), places, strict=False):
            if held < 0:
                raise BalanceEmpty(account=name, place=place.rstrip("_"))
        return msgspec.structs.replace(
            _drawn(account, entry),
            head=entries.next_head(account.head, entries.encode(entry)),
            balance=places.balance,
            transit=places.transit,
            float_=places.float_,
            charged=places.charged,
            entries=account.entries + 1,
        )

    def _check(self, entry: Entry) -> None:
        """What an entry must say besides, by its kind."""
        match entry:
            case Charged():
                self._check_charges(entry)
            case Rule():
                self._check_rule(entry)
            case Priced():
                if self.terms.get(entry.terms.number, entry.terms) != entry.terms:
                    raise InvalidValue(argument="terms", reason="the number is of others")
            case _:
                _check_moved(entry)

    def _check_charges(self, entry: Charged) -> None:
        """Every charge follows from what it says went into it, and they add up."""
        if not adds_up(entry, self.terms):
            raise InvalidValue(argument="lines", reason="not what was asked for what they name")

    def _check_rule(self, entry: Rule) -> None:
        if entry.threshold < 0 or entry.amount < 0 or entry.per_day < 0:
            raise InvalidValue(argument="rule", reason="numbers from 0")
        if ACCOUNT.fullmatch(entry.parent) is None:
            raise InvalidValue(argument="parent", reason="1 to 128 of [A-Za-z0-9._-]")
        above: str | None = entry.parent
        while above is not None:
            if above == entry.account:
                raise InvalidValue(argument="parent", reason="it draws from this account itself")
            rule = self.account(above).rule
            above = rule.parent if rule is not None else None

    def _lane_after(self, entry: Entry) -> tuple[tuple[str, str], Lane] | None:
        """The lane that an entry is of, after it."""
        if not isinstance(entry, Fund | Received | Void | Returned | Charged):
            return None
        place = (entry.account, entry.bucket)
        before = self.lane(*place)
        return place, _lane(before, entry)

    def _note(self, entry: Entry) -> None:
        if isinstance(entry, Deposit):
            self.deposited += entry.amount
            self.references["deposit", entry.reference] = entry
        elif isinstance(entry, Transfer):
            self.references["transfer", entry.reference] = entry
        elif isinstance(entry, Priced):
            self.terms[entry.terms.number] = entry.terms

    # -- looking at them --------------------------------------------------------------

    def check(self) -> None:
        """Hold that nothing was made or lost.

        Raises:
            Corrupt: what the accounts hold is not what was deposited.
        """
        held = sum(account.funds + account.charged for account in self.accounts.values())
        transit = sum(account.transit for account in self.accounts.values())
        pending = sum(one[1] for lane in self.lanes.values() for one in lane.pending)
        if held != self.deposited or transit != pending:
            raise Corrupt(what="the books do not balance")

    def due(self, now_ns: int) -> Iterator[tuple[str, str, int]]:
        """The top-ups that rules ask for now: source, target, amount; parents first.

        Whoever takes them asks again, as each changes what the next may draw.
        """
        ruled = [account for account in self.accounts.values() if account.rule is not None]
        for account in sorted(ruled, key=lambda one: (self._depth(one), one.name)):
            rule = account.rule
            if rule is None or not self._may_draw(account, rule, now_ns):
                continue
            if self.account(rule.parent).balance >= rule.amount:
                yield rule.parent, account.name, rule.amount

    def low(self) -> list[str]:
        """The accounts that are below the threshold of their rule."""
        return sorted(
            account.name
            for account in self.accounts.values()
            if account.rule is not None and account.funds < account.rule.threshold
        )

    def _may_draw(self, account: Account, rule: Rule, now_ns: int) -> bool:
        if not rule.amount or account.funds >= rule.threshold:
            return False
        drawn = account.drawn if account.day >= now_ns // DAY_NS else 0
        return drawn < rule.per_day

    def _depth(self, account: Account) -> int:
        depth, rule = 0, account.rule
        while rule is not None:
            depth, rule = depth + 1, self.account(rule.parent).rule
        return depth


def _check_moved(
    entry: Deposit | Transfer | TopUp | Fund | Received | Void | Returned,
) -> None:
    """Something is moved, from one place to another, for a reason that can be looked up."""
    if entry.amount <= 0:
        raise InvalidValue(argument="amount", reason="more than 0")
    if isinstance(entry, Deposit | Transfer) and not 0 < len(entry.reference) <= REFERENCE_CHARS:
        raise InvalidValue(argument="reference", reason=f"1 to {REFERENCE_CHARS} characters")
    if isinstance(entry, Transfer | TopUp) and entry.source == entry.target:
        raise InvalidValue(argument="target", reason="the account that it comes from")


def adds_up(entry: Charged, terms: Mapping[int, Terms]) -> bool:
    """Whether every charge of an entry follows from its inputs, and they come to its amount."""
    try:
        sound = all(
            line.times > 0 and charges.recompute(line.charge, terms) == line.charge.amount
            for line in entry.lines
        )
    except (KeyError, ZeroDivisionError):
        return False
    return sound and charges.total(entry.lines) == entry.amount


def moved(held: Account, by: Moved) -> Moved:
    """The four places of an account after an effect."""
    return Moved(
        held.balance + by.balance,
        held.transit + by.transit,
        held.float_ + by.float_,
        held.charged + by.charged,
    )


def _drawn(account: Account, entry: Entry) -> Account:
    """An account after the rule or the top-up that an entry may be."""
    if isinstance(entry, Rule):
        return msgspec.structs.replace(account, rule=entry)
    if isinstance(entry, TopUp) and entry.target == account.name:
        day = max(account.day, entry.time_ns // DAY_NS)
        drawn = account.drawn + 1 if day == account.day else 1
        rule = account.rule
        if rule is None or rule.parent != entry.source or drawn > rule.per_day:
            raise InvalidValue(argument="amount", reason="no rule draws it")
        return msgspec.structs.replace(account, day=day, drawn=drawn)
    return account


def _lane(before: Lane, entry: Fund | Received | Void | Returned | Charged) -> Lane:
    """A lane after an entry; numbers only grow, so that each counts once."""
    if isinstance(entry, Fund):
        if entry.transfer != before.sent + 1:
            raise InvalidValue(argument="transfer", reason="numbers follow each other")
        pending = (*before.pending, (entry.transfer, entry.amount))
        return msgspec.structs.replace(before, sent=entry.transfer, pending=pending)
    if isinstance(entry, Returned):
        if entry.transfer <= before.returned:
            raise InvalidValue(argument="transfer", reason="taken before")
        return msgspec.structs.replace(before, returned=entry.transfer)
    if isinstance(entry, Charged):
        if not before.absorbed <= entry.start < entry.stop:
            raise InvalidValue(argument="start", reason="taken before")
        return msgspec.structs.replace(before, absorbed=entry.stop)
    gone = _settled(before, entry)
    if entry.amount != sum(one[1] for one in gone):
        raise InvalidValue(argument="amount", reason="not what is under way")
    return msgspec.structs.replace(
        before, pending=tuple(one for one in before.pending if one not in gone)
    )


def _settled(before: Lane, entry: Received | Void) -> list[Pending]:
    up_to = isinstance(entry, Received)
    return [one for one in before.pending if (one[0] <= entry.transfer) == up_to]


def replay(store: str, found: Iterable[Entry]) -> Books:
    """The books that entries come to."""
    books = Books(store)
    for entry in found:
        books.apply(entry)
    return books
