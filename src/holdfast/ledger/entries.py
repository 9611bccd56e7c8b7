"""The entries of the books, as values and as bytes.

An entry is one JSON object: keys in order, no spaces, ASCII, amounts of money (10^-18 USD) as
decimal strings, every other number as an integer of any size, a line of charges as an object of
what is not 0 in it: times, terms, kind, size_bytes, seconds, egress_bytes, amount (a decimal
string) and back (terms, size_bytes, seconds, early), terms as an array in the order of
``charges.Terms``. These very bytes are chained:

    digest of an account after an entry = SHA-256(digest before || bytes of the entry)
    digest of an account without one    = SHA-256("holdfast account" 00 store id 00 name)

An entry counts in the chain of each account that it names in ``account``, ``source`` or
``target``. Each kind moves money between the four places of an account, or between accounts;
only a deposit brings any in.

    kind       from                  to
    deposit    the world             balance of account
    transfer   balance of source     balance of target
    top_up     balance of source     balance of target       (a rule drew it)
    fund       balance               transit                 (on its way to a bucket)
    received   transit               float                   (a bucket has it)
    void       transit               balance                 (the bucket is gone, it never had it)
    returned   float                 balance                 (a bucket gave it back)
    charged    float                 charged
    rule, terms: nothing moves
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final, NamedTuple

import msgspec

from holdfast.charges import Back, Charge, Kind, Line, Terms
from holdfast.errors import Corrupt

DOMAIN: Final = b"holdfast account\x00"
AMOUNTS: Final = frozenset(("amount", "threshold"))


class _Entry(
    msgspec.Struct, frozen=True, tag_field="kind", kw_only=True, forbid_unknown_fields=True
):
    """``number`` counts the entries of a store, ``time_ns`` is its bucket time."""

    number: int = 0
    time_ns: int = 0

    @property
    def kind(self) -> str:
        """What the entry is, by its name in the table above."""
        return str(type(self).__struct_config__.tag)


class Deposit(_Entry, frozen=True, tag="deposit"):
    """Money came in; ``reference`` says where that can be looked up."""

    account: str
    amount: int
    reference: str


class Transfer(_Entry, frozen=True, tag="transfer"):
    """Somebody moved money from one account to another."""

    source: str
    target: str
    amount: int
    reference: str


class TopUp(_Entry, frozen=True, tag="top_up"):
    """A rule of ``target`` drew money from its parent."""

    source: str
    target: str
    amount: int


class Rule(_Entry, frozen=True, tag="rule"):
    """Below ``threshold``, draw ``amount`` from ``parent``, at most ``per_day`` times a day."""

    account: str
    threshold: int
    amount: int
    per_day: int
    parent: str


class Fund(_Entry, frozen=True, tag="fund"):
    """Transfer ``transfer`` to a bucket was begun."""

    account: str
    bucket: str
    transfer: int
    amount: int


class Received(_Entry, frozen=True, tag="received"):
    """A bucket has the transfers up to ``transfer``: together ``amount``."""

    account: str
    bucket: str
    transfer: int
    amount: int


class Void(_Entry, frozen=True, tag="void"):
    """A bucket is gone, and never had the transfers above ``transfer``: together ``amount``."""

    account: str
    bucket: str
    transfer: int
    amount: int


class Returned(_Entry, frozen=True, tag="returned"):
    """A bucket gave money back, under its own number."""

    account: str
    bucket: str
    transfer: int
    amount: int


class Charged(_Entry, frozen=True, tag="charged"):
    """What a bucket charged with its records behind version ``start`` up to ``stop``."""

    account: str
    bucket: str
    start: int
    stop: int
    amount: int
    lines: tuple[Line, ...]


class Priced(_Entry, frozen=True, tag="terms"):
    """An account is charged by these terms from now on."""

    account: str
    tariff: str
    version: int
    terms: Terms


Entry = Deposit | Transfer | TopUp | Rule | Fund | Received | Void | Returned | Charged | Priced


class Moved(NamedTuple):
    """What an entry does to the four places of one account."""

    balance: int = 0
    transit: int = 0
    float_: int = 0
    charged: int = 0


def owners(entry: Entry) -> tuple[str, ...]:
    """The accounts in whose chains an entry counts."""
    if isinstance(entry, Transfer | TopUp):
        return (entry.source, entry.target)
    return (entry.account,)


def effect(entry: Entry, account: str) -> Moved:  # noqa: PLR0911 - one line for each kind
    """What an entry does to one of its accounts."""
    match entry:
        case Deposit(amount=amount):
            return Moved(balance=amount)
        case Transfer(source=source, amount=amount) | TopUp(source=source, amount=amount):
            return Moved(balance=-amount if source == account else amount)
        case Fund(amount=amount):
            return Moved(balance=-amount, transit=amount)
        case Received(amount=amount):
            return Moved(transit=-amount, float_=amount)
        case Void(amount=amount):
            return Moved(transit=-amount, balance=amount)
        case Returned(amount=amount):
            return Moved(float_=-amount, balance=amount)
        case Charged(amount=amount):
            return Moved(float_=-amount, charged=amount)
        case _:
            return Moved()


# -- bytes -------------------------------------------------------------------------


def to_object(entry: Entry) -> dict[str, Any]:
    """An entry as the object that is written."""
    made: dict[str, Any] = msgspec.to_builtins(entry)
    if isinstance(entry, Charged):
        made["lines"] = [_line_object(line) for line in entry.lines]
    return {key: str(value) if key in AMOUNTS else value for key, value in made.items()}


class _Back(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    terms: int
    size_bytes: int = 0
    seconds: int = 0
    early: bool = False


class _Line(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A line as it is written."""

    times: int
    terms: int
    amount: str
    kind: Kind = ""
    size_bytes: int = 0
    seconds: int = 0
    egress_bytes: int = 0
    back: _Back | None = None


def _line_object(line: Line) -> object:
    made, back = line.charge, line.charge.back
    told = _Back(*msgspec.structs.astuple(back)) if back is not None else None
    size = (made.size_bytes, made.seconds, made.egress_bytes)
    return msgspec.to_builtins(
        _Line(line.times, made.terms, str(made.amount), made.kind, *size, told)
    )


def _line_from(found: object) -> Line:
    told = msgspec.convert(found, _Line)
    back = Back(*msgspec.structs.astuple(told.back)) if told.back is not None else None
    made = Charge(
        told.terms,
        told.kind,
        told.size_bytes,
        told.seconds,
        _integer(told.amount),
        told.egress_bytes,
        back,
    )
    return Line(told.times, made)


def from_object(found: object) -> Entry:
    """An entry from an object that was written.

    Raises:
        Corrupt: it is none.
    """
    try:
        if not isinstance(found, dict):
            raise TypeError  # noqa: TRY301 - one refusal for whatever is wrong
        plain: dict[str, Any] = {
            key: _integer(value) if key in AMOUNTS else value for key, value in found.items()
        }
        lines = tuple(_line_from(one) for one in plain.get("lines", ()))
        entry: Entry = msgspec.convert(plain | ({"lines": ()} if "lines" in plain else {}), Entry)
    except (TypeError, ValueError, KeyError, msgspec.ValidationError):
        raise Corrupt(what="an entry of the books that cannot be read") from None
    return msgspec.structs.replace(entry, lines=lines) if isinstance(entry, Charged) else entry


def _integer(text: object) -> int:
    """A decimal string, in the one way that it is written."""
    number = int(text) if isinstance(text, str) else None
    if number is None or str(number) != text:
        raise ValueError
    return number


def canonical(value: object) -> bytes:
    """JSON in the one form that is chained and signed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def encode(entry: Entry) -> bytes:
    """An entry as the bytes that are chained.

    Example:
        >>> encode(Deposit(account="acme", amount=5, reference="r", number=1, time_ns=2)).decode()
        '{"account":"acme","amount":"5","kind":"deposit","number":1,"reference":"r","time_ns":2}'
    """
    return canonical(to_object(entry))


def decode(data: bytes) -> Entry:
    """An entry from its bytes.

    Raises:
        Corrupt: they are none, or not the ones that it would be written as.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise Corrupt(what="an entry of the books that cannot be read") from None
    entry = from_object(found)
    if encode(entry) != data:
        raise Corrupt(what="an entry of the books in another form")
    return entry


def first_head(store: str, account: str) -> bytes:
    """The digest of an account that has no entry."""
    return hashlib.sha256(b"%b%b\x00%b" % (DOMAIN, store.encode(), account.encode())).digest()


def next_head(head: bytes, entry: bytes) -> bytes:
    """The digest of an account after an entry."""
    return hashlib.sha256(head + entry).digest()
