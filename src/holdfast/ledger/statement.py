"""Statements: what happened to one account in a period, signed, to be computed again by anybody.

A statement is a COSE_Sign1 (RFC 9052) whose payload is one JSON object in the form of
``entries.py``:

    format    "holdfast-statement-1"
    store, account, start_ns, stop_ns (the period, half open), made_ns
    opening   balance, transit, float, charged (decimal strings), entries, head (hex): before
    entries   of the account in the period, each as it stands in the books
    terms     number -> the terms that charges name: a, b, c, storage, egress, early share
    usage     requests by class, byte_seconds, egress_bytes, charged: what the lines add up to
    closing   as opening, after

``verify`` needs the public key and nothing else: it moves the money again, computes every charge
again from its inputs, and follows the chain of digests from the opening head to the closing one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from holdfast.certify import cose
from holdfast.charges import Terms
from holdfast.errors import Corrupt, InvalidValue, ProofInvalid
from holdfast.ledger import entries
from holdfast.ledger.books import Account, adds_up, moved
from holdfast.ledger.entries import Charged, Entry, Priced

FORMAT: Final = "holdfast-statement-1"
CONTENT_TYPE: Final = 3  # the COSE header that names the payload's
MEDIA_TYPE: Final = "application/vnd.holdfast.statement+json"
STATEMENT_BYTES: Final = 1 << 30
PLACES: Final = ("balance", "transit", "float", "charged")


class Usage(msgspec.Struct, frozen=True):
    """What was asked for, as far as it was charged.

    ``byte_seconds`` are those paid, less those given back.
    """

    requests: dict[str, int]
    byte_seconds: int
    egress_bytes: int
    charged: int


class Standing(msgspec.Struct, frozen=True):
    """Where an account stands: its four places in 10^-18 USD, its entries, its digest."""

    balance: int
    transit: int
    float_: int
    charged: int
    entries: int
    head: str


class Statement(msgspec.Struct, frozen=True):
    """A statement that was read, and once ``verify`` returned it, holds."""

    store: str
    account: str
    start_ns: int
    stop_ns: int
    made_ns: int
    opening: Standing
    entries: tuple[Entry, ...]
    terms: dict[int, Terms]
    usage: Usage
    closing: Standing


# -- making ------------------------------------------------------------------------


def draw(
    history: Iterable[Entry],
    store: str,
    account: str,
    *,
    start_ns: int,
    stop_ns: int,
    made_ns: int,
) -> Statement:
    """The statement of an account, from all entries of the books.

    Args:
        history: every entry from the first; those of others are passed over.
        store: its id.
        account: whose.
        start_ns: bucket time where the period begins.
        stop_ns: where it ends; what happened at that moment is of the next.
        made_ns: now.

    Raises:
        InvalidValue: the period ends before it begins.
    """
    if not 0 <= start_ns <= stop_ns:
        raise InvalidValue(argument="stop_ns", reason="not before start_ns")
    own = [entry for entry in history if account in entries.owners(entry)]
    now = Account(account, entries.first_head(store, account))
    for entry in own:
        if entry.time_ns < start_ns:
            now = _after(now, entry)
    opening = _standing(now)
    told = tuple(entry for entry in own if start_ns <= entry.time_ns < stop_ns)
    for entry in told:
        now = _after(now, entry)
    known = {entry.terms.number: entry.terms for entry in own if isinstance(entry, Priced)}
    used = _named(told)
    return Statement(
        store,
        account,
        start_ns,
        stop_ns,
        made_ns,
        opening,
        told,
        {number: terms for number, terms in known.items() if number in used},
        usage_of(told),
        _standing(now),
    )


def sign(statement: Statement, key: cose.PrivateKey) -> bytes:
    """A statement as the document that its account holder keeps."""
    return cose.sign({CONTENT_TYPE: MEDIA_TYPE}, entries.canonical(to_object(statement)), key)


def to_object(statement: Statement) -> dict[str, Any]:
    """A statement as the object that is signed."""
    return {
        "format": FORMAT,
        "store": statement.store,
        "account": statement.account,
        "start_ns": statement.start_ns,
        "stop_ns": statement.stop_ns,
        "made_ns": statement.made_ns,
        "opening": _standing_object(statement.opening),
        "entries": [entries.to_object(entry) for entry in statement.entries],
        "terms": {
            str(number): msgspec.structs.asdict(terms) for number, terms in statement.terms.items()
        },
        "usage": {
            "requests": statement.usage.requests,
            "byte_seconds": statement.usage.byte_seconds,
            "egress_bytes": statement.usage.egress_bytes,
            "charged": str(statement.usage.charged),
        },
        "closing": _standing_object(statement.closing),
    }


def usage_of(found: Iterable[Entry]) -> Usage:
    """What the charges of entries add up to."""
    requests: Counter[str] = Counter(A=0, B=0, C=0)
    byte_seconds = egress_bytes = charged = 0
    for entry in found:
        if not isinstance(entry, Charged):
            continue
        charged += entry.amount
        for line in entry.lines:
            times, made = line.times, line.charge
            requests.update({made.kind: times} if made.kind else {})
            byte_seconds += times * made.size_bytes * made.seconds
            egress_bytes += times * made.egress_bytes
            if made.back is not None:
                byte_seconds -= times * made.back.size_bytes * made.back.seconds
    return Usage(dict(requests), byte_seconds, egress_bytes, charged)


def _named(told: Iterable[Entry]) -> set[int]:
    """The terms that charges name."""
    used: set[int] = set()
    for entry in told:
        if isinstance(entry, Charged):
            for line in entry.lines:
                back = line.charge.back
                used |= {line.charge.terms} | ({back.terms} if back is not None else set())
    return used


def _after(account: Account, entry: Entry) -> Account:
    """One account after one of its entries."""
    places = moved(account, entries.effect(entry, account.name))
    return msgspec.structs.replace(
        account,
        head=entries.next_head(account.head, entries.encode(entry)),
        balance=places.balance,
        transit=places.transit,
        float_=places.float_,
        charged=places.charged,
        entries=account.entries + 1,
    )


def _standing(account: Account) -> Standing:
    return Standing(
        account.balance,
        account.transit,
        account.float_,
        account.charged,
        account.entries,
        account.head.hex(),
    )


def _standing_object(at: Standing) -> dict[str, Any]:
    amounts = (at.balance, at.transit, at.float_, at.charged)
    places = dict(zip(PLACES, map(str, amounts), strict=True))
    return {**places, "entries": at.entries, "head": at.head}


# -- reading -----------------------------------------------------------------------


def verify(data: bytes, *, public_key: object) -> Statement:
    """Check a statement with the store's public key and nothing else.

    Args:
        data: the document.
        public_key: PEM, DER, or as ``cose.public_key`` takes it.

    Returns:
        The statement: every amount in it was computed again.

    Raises:
        ProofInvalid: ``reason`` says what does not hold: "bytes", "encoding", "structure",
            "algorithm", "signature", "format", "period", "order", "charge", "negative", "usage",
            "balance" or "chain".
        InvalidValue: that is no public key.

    Example:
        >>> verify(b"", public_key=bytes(32))
        Traceback (most recent call last):
        holdfast.errors.ProofInvalid: the proof does not verify (reason='encoding')
    """
    key = cose.public_key(public_key)
    message = cose.decode(data, bytes_most=STATEMENT_BYTES)
    if message.payload is None or message.header.get(CONTENT_TYPE) != MEDIA_TYPE:
        raise ProofInvalid(reason="structure")
    cose.verify(message, message.payload, key)
    statement = _read(message.payload)
    _check_order(statement)
    _check_charges(statement)
    _check_sums(statement)
    return statement


def _check_order(statement: Statement) -> None:
    """Entries are of the period and of the account, one behind the other."""
    if not 0 <= statement.start_ns <= statement.stop_ns:
        raise ProofInvalid(reason="period")
    number, time_ns = 0, statement.start_ns
    for entry in statement.entries:
        if statement.account not in entries.owners(entry) or entry.number <= number:
            raise ProofInvalid(reason="order")
        if not time_ns <= entry.time_ns < statement.stop_ns:
            raise ProofInvalid(reason="period")
        number, time_ns = entry.number, entry.time_ns


def _check_charges(statement: Statement) -> None:
    """Every charge is what its inputs come to."""
    for entry in statement.entries:
        if isinstance(entry, Charged) and not adds_up(entry, statement.terms):
            raise ProofInvalid(reason="charge", number=entry.number)
        if isinstance(entry, Priced):
            shown = statement.terms.get(entry.terms.number, entry.terms)
            if shown != entry.terms:
                raise ProofInvalid(reason="charge", number=entry.number)


def _check_sums(statement: Statement) -> None:
    """The opening and the entries come to the closing; the chain of digests too."""
    opening, closing = statement.opening, statement.closing
    try:
        head = bytes.fromhex(opening.head)
    except ValueError:
        raise ProofInvalid(reason="chain") from None
    if not opening.entries and head != entries.first_head(statement.store, statement.account):
        raise ProofInvalid(reason="chain")
    now = Account(
        statement.account,
        head,
        opening.balance,
        opening.transit,
        opening.float_,
        opening.charged,
        opening.entries,
    )
    for entry in statement.entries:
        now = _after(now, entry)
        if min(now.balance, now.transit, now.float_) < 0:
            raise ProofInvalid(reason="negative", number=entry.number)
    if statement.usage != usage_of(statement.entries):
        raise ProofInvalid(reason="usage")
    if now.head.hex() != closing.head:
        raise ProofInvalid(reason="chain")
    if _standing(now) != closing:
        raise ProofInvalid(reason="balance")


def _read(payload: bytes) -> Statement:
    """A statement from its JSON, which must be in the one form that is signed."""
    try:
        found = json.loads(payload)
        if found["format"] != FORMAT:
            raise ProofInvalid(reason="format")
        statement = _from_object(found)
    except (KeyError, TypeError, ValueError, RecursionError, AttributeError, Corrupt):
        raise ProofInvalid(reason="structure") from None
    if entries.canonical(to_object(statement)) != payload:
        raise ProofInvalid(reason="structure")
    return statement


def _from_object(found: dict[str, Any]) -> Statement:
    plain = {name: found[name] for name in ("store", "account", "start_ns", "stop_ns", "made_ns")}
    usage = found["usage"]
    terms = {
        int(number): Terms(**msgspec.convert(fields, dict[str, int]))
        for number, fields in found["terms"].items()
    }
    if any(number != one.number for number, one in terms.items()):
        raise ProofInvalid(reason="structure")
    rest = {
        "opening": _standing_from(found["opening"]),
        "closing": _standing_from(found["closing"]),
        "entries": [],
        "terms": {},
        "usage": {**usage, "charged": int(usage["charged"])},
    }
    read = msgspec.convert({**plain, **rest}, Statement)
    told = tuple(entries.from_object(entry) for entry in found["entries"])
    return msgspec.structs.replace(read, entries=told, terms=terms)


def _standing_from(found: dict[str, Any]) -> dict[str, Any]:
    balance, transit, float_, charged = (int(found[place]) for place in PLACES)
    return {
        "balance": balance,
        "transit": transit,
        "float_": float_,
        "charged": charged,
        "entries": found["entries"],
        "head": found["head"],
    }
