"""A statement in the forms that others read: a table for people, CSV, CloudEvents.

CloudEvents are version 1.0 in the JSON format, one event a line: ``id`` is the number of the
entry, which with ``source`` is unique, so that a billing system that reads a statement twice
counts nothing twice.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Final

from holdfast.ledger import entries
from holdfast.ledger.books import Account
from holdfast.ledger.entries import Entry
from holdfast.ledger.statement import Statement
from holdfast.values import dollars

COLUMNS: Final = ("number", "time", "kind", "about", "amount_atto", "funds_atto")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - 3.11 has it under both
EVENT_TYPE: Final = "holdfast.ledger."
TIME_CHARS: Final = 19


def table(statement: Statement) -> str:
    """A statement as text, for people.

    Amounts are dollars, rounded; the document itself has every digit.
    """
    opening, closing, usage = statement.opening, statement.closing, statement.usage
    rows = [
        (moment(entry.time_ns)[:TIME_CHARS], entry.kind, about, dollars(amount), dollars(funds))
        for entry, about, amount, funds in _rows(statement)
    ]
    heads = ("time", "entry", "about", "amount", "funds")
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [
        "  ".join(
            _cell(text, width, at) for at, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (heads, *rows)
    ]
    requests = ", ".join(f"{count} of class {kind}" for kind, count in usage.requests.items())
    return "\n".join(
        [
            f"Statement of account {statement.account}, store {statement.store}",
            f"from {moment(statement.start_ns)} to {moment(statement.stop_ns)}",
            "",
            f"opening funds {dollars(_funds(opening))}, charged so far {dollars(opening.charged)}",
            *(line.rstrip() for line in lines),
            f"closing funds {dollars(_funds(closing))}, charged so far {dollars(closing.charged)}",
            "",
            f"requests: {requests}",
            f"byte-seconds paid ahead: {usage.byte_seconds}; bytes sent: {usage.egress_bytes}",
            f"charged in the period: {dollars(usage.charged)}",
            f"head of the chain: {closing.head}",
        ]
    )


def _cell(text: str, width: int, at: int) -> str:
    return text.rjust(width) if at >= len(COLUMNS) - 3 else text.ljust(width)


def to_csv(statement: Statement) -> str:
    """A statement's entries as CSV (RFC 4180), amounts in 10^-18 USD."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for entry, about, amount, funds in _rows(statement):
        writer.writerow((entry.number, moment(entry.time_ns), entry.kind, about, amount, funds))
    return out.getvalue()


def to_events(statement: Statement) -> str:
    """A statement's entries as CloudEvents, one JSON object a line."""
    lines = [
        entries.canonical(
            {
                "specversion": "1.0",
                "id": str(entry.number),
                "source": f"urn:holdfast:store:{statement.store}:account:{statement.account}",
                "type": EVENT_TYPE + entry.kind,
                "subject": statement.account,
                "time": moment(entry.time_ns),
                "datacontenttype": "application/json",
                "data": entries.to_object(entry),
            }
        ).decode()
        for entry in statement.entries
    ]
    return "".join(f"{line}\n" for line in lines)


def moment(time_ns: int) -> str:
    """Nanoseconds since 1970 as RFC 3339, in UTC; none is beyond the year 9999.

    Example:
        >>> moment(1_700_000_000_123_456_789)
        '2023-11-14T22:13:20.123456789Z'
    """
    seconds, rest = divmod(time_ns, 1_000_000_000)
    try:
        at = EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return "9999-12-31T23:59:59Z"
    return f"{at:%Y-%m-%dT%H:%M:%S}" + (f".{rest:09}Z" if rest else "Z")


def _rows(statement: Statement) -> Iterator[tuple[Entry, str, int, int]]:
    """Each entry, what it is about, what it does to what can be spent, and what that is then."""
    funds = _funds(statement.opening)
    for entry in statement.entries:
        by = entries.effect(entry, statement.account)
        amount = by.balance + by.transit + by.float_
        funds += amount
        yield entry, about_of(entry, statement.account), amount, funds


def _funds(at: Account | object) -> int:
    places: Iterable[object] = (getattr(at, name) for name in ("balance", "transit", "float_"))
    return sum(place for place in places if isinstance(place, int))


def about_of(entry: Entry, account: str) -> str:
    """What an entry is about, in a few words."""
    match entry:
        case entries.Deposit(reference=reference):
            about = reference
        case entries.Transfer(source=source, target=target, reference=reference):
            about = f"to {target}" if source == account else f"from {source}"
            about = f"{about}: {reference}"
        case entries.TopUp(source=source, target=target):
            about = f"to {target}" if source == account else f"from {source}"
        case entries.Charged(bucket=bucket, lines=lines):
            times = sum(line.times for line in lines if line.charge.kind)
            about = f"{times} operations in bucket {bucket}"
        case entries.Priced(tariff=tariff, version=version):
            about = f"{tariff}, version {version}"
        case entries.Rule(threshold=threshold, amount=amount, parent=parent):
            about = f"{dollars(amount)} from {parent} below {dollars(threshold)}"
        case _:
            about = f"bucket {entry.bucket}"
    return about
