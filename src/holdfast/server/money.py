"""Prices and money over HTTP: tariffs, accounts, statements.

Amounts are decimal strings, since no number of JSON is sure to hold them; an integer is taken too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from holdfast.errors import InvalidValue
from holdfast.ledger import entries
from holdfast.ledger.books import RESERVE, Account
from holdfast.ledger.entries import Entry
from holdfast.metering.tariffs import Tariff
from holdfast.server.admin import Admin, Asked
from holdfast.server.answers import JSON_TYPE, Answer

if TYPE_CHECKING:
    from holdfast.values import Configured

COSE_TYPE: Final = b"Content-Type: application/cose\r\n"
DECIMAL: Final = re.compile(r"[0-9]{1,60}")
AGES_NS: Final = (1 << 63) - 1
Atto = int | str


class Toml(msgspec.Struct, forbid_unknown_fields=True):
    """A tariff that is to be set."""

    toml: str


class Priced(msgspec.Struct):
    """One version of a tariff."""

    name: str
    version: int
    toml: str
    number: int  # of its terms, which charges name


class Prices(msgspec.Struct):
    """Every version of every tariff."""

    tariffs: list[Priced]


class Names(msgspec.Struct):
    """Every account."""

    accounts: list[str]


class Drawing(msgspec.Struct, forbid_unknown_fields=True):
    """A top-up rule: below ``threshold``, draw ``amount``, at most ``per_day`` times a day."""

    threshold: Atto
    amount: Atto
    per_day: int
    parent: str = RESERVE


class Standing(msgspec.Struct):
    """Where an account stands; amounts in 10^-18 USD, as decimal strings."""

    account: str
    funds: str
    balance: str
    transit: str
    float: str
    charged: str
    entries: int
    head: str
    rule: Drawing | None = None


class Paid(msgspec.Struct, forbid_unknown_fields=True):
    """Money that came in."""

    atto: Atto
    reference: str


class Moved(msgspec.Struct, forbid_unknown_fields=True):
    """Money that is to be moved to another account."""

    target: str
    atto: Atto
    reference: str


class Bounds(msgspec.Struct, forbid_unknown_fields=True):
    """What a namespace is to pay and may hold; what is not said ends."""

    tariff: str | None = None
    bytes_max: int | None = None
    objects_max: int | None = None
    requests_per_s: int | None = None
    concurrent_max: int | None = None
    grace: float | int | str = 0
    retention: float | int | str | None = None


class Metered(msgspec.Struct):
    """What a namespace pays ("" and 0: nothing) and may hold."""

    tariff: str = ""
    version: int = 0
    bytes_max: int | None = None
    objects_max: int | None = None
    requests_per_s: int | None = None
    concurrent_max: int | None = None
    grace_ns: int = 0
    retention_ns: int | None = None


class Used(msgspec.Struct):
    """What a namespace holds and was charged; sums without a bound are decimal strings."""

    objects: int
    live_bytes: int
    byte_seconds: str
    requests: dict[str, int]
    egress_bytes: str
    cost_atto: str
    balance_atto: str


class Noted(msgspec.Struct):
    """The usage of a namespace in the first moments of an hour."""

    time_ns: int
    objects: int
    live_bytes: int
    byte_seconds: str
    requests: dict[str, int]
    egress_bytes: str
    cost_atto: str


class Hours(msgspec.Struct):
    """Hour by hour, the oldest first."""

    hours: list[Noted]


class Asking(msgspec.Struct, forbid_unknown_fields=True):
    """An operation that has not been asked for yet."""

    operation: str
    key: str | None = None
    size_bytes: int = 0
    ttl: float | int | str | None = None
    keep_ttl: bool = False


class Quoted(msgspec.Struct):
    """What it would cost, as decimal strings."""

    kind: str
    tariff: str
    version: int
    operation_atto: str
    storage_atto: str
    egress_atto: str
    back_atto: str


def metering(asked: Asked) -> Answer:
    """What a namespace pays and may hold."""
    asked.may("metering", asked.namespace)
    told = asked.store.namespace(asked.namespace).configured()
    return asked.tell(_metered(told) if told is not None else Metered())


def set_metering(asked: Asked) -> Answer:
    """Set what a namespace pays and may hold."""
    asked.may("metering.set")
    wanted = msgspec.structs.asdict(asked.read(Bounds))
    return asked.tell(_metered(asked.store.namespace(asked.namespace).configure(**wanted)))


def _metered(told: Configured) -> Metered:
    return Metered(*msgspec.structs.astuple(told))


def usage(asked: Asked) -> Answer:
    """What a namespace holds and was charged."""
    asked.may("usage", asked.namespace)
    space = asked.store.namespace(asked.namespace)
    used = space.usage()
    return asked.tell(
        Used(
            used.objects,
            used.live_bytes,
            str(used.byte_seconds),
            used.requests,
            str(used.egress_bytes),
            str(used.cost_atto),
            str(space.balance_atto),
        )
    )


def hours(asked: Asked) -> Answer:
    """What a namespace held and had been charged, hour by hour."""
    asked.may("usage", asked.namespace)
    told = [
        Noted(
            hour.time_ns,
            hour.objects,
            hour.live_bytes,
            str(hour.byte_seconds),
            hour.requests,
            str(hour.egress_bytes),
            str(hour.cost_atto),
        )
        for hour in asked.store.namespace(asked.namespace).hours()
    ]
    return asked.tell(Hours(told))


def quote(asked: Asked) -> Answer:
    """What an operation would cost."""
    asked.may("quote", asked.namespace)
    wanted = msgspec.structs.asdict(asked.read(Asking))
    made = asked.store.namespace(asked.namespace).quote(wanted.pop("operation"), **wanted)
    amounts = (made.operation_atto, made.storage_atto, made.egress_atto, made.back_atto)
    return asked.tell(Quoted(made.kind, made.tariff, made.version, *map(str, amounts)))


def tariffs(asked: Asked) -> Answer:
    """The prices that there are."""
    asked.may("tariffs")
    return asked.tell(Prices([_priced(one) for one in asked.store.tariffs.all()]))


def set_tariff(asked: Asked) -> Answer:
    """Set the next version of a tariff."""
    asked.may("tariffs.set")
    made = asked.store.tariffs.set(asked.path["name"], asked.read(Toml).toml)
    return asked.tell(_priced(made))


def _priced(tariff: Tariff) -> Priced:
    return Priced(tariff.name, tariff.version, tariff.toml, tariff.terms.number)


def accounts(asked: Asked) -> Answer:
    """Every account."""
    asked.may("accounts")
    return asked.tell(Names(asked.store.accounts.names()))


def account(asked: Asked) -> Answer:
    """Where an account stands."""
    name = _own(asked, "account")
    return asked.tell(_standing(asked.store.accounts.get(name)))


def _standing(held: Account) -> Standing:
    rule = held.rule
    return Standing(
        held.name,
        str(held.funds),
        str(held.balance),
        str(held.transit),
        str(held.float_),
        str(held.charged),
        held.entries,
        held.head.hex(),
        None
        if rule is None
        else Drawing(str(rule.threshold), str(rule.amount), rule.per_day, rule.parent),
    )


def deposit(asked: Asked) -> Answer:
    """Note that money came in."""
    asked.may("deposit")
    paid = asked.read(Paid)
    made = asked.store.accounts.deposit(asked.path["account"], _atto(paid.atto), paid.reference)
    return _entry(made)


def transfer(asked: Asked) -> Answer:
    """Move money to another account."""
    asked.may("transfer")
    wanted = asked.read(Moved)
    source, amount = asked.path["account"], _atto(wanted.atto)
    return _entry(asked.store.accounts.transfer(source, wanted.target, amount, wanted.reference))


def rule(asked: Asked) -> Answer:
    """Have an account topped up."""
    asked.may("rule")
    wanted = asked.read(Drawing)
    threshold, amount = _atto(wanted.threshold, "threshold"), _atto(wanted.amount, "amount")
    return _entry(
        asked.store.accounts.rule(
            asked.path["account"], threshold, amount, wanted.per_day, parent=wanted.parent
        )
    )


def listed(asked: Asked) -> Answer:
    """Every entry of an account."""
    name = _own(asked, "account.entries")
    found = [entries.to_object(one) for one in asked.store.accounts.entries(name)]
    return Answer(200, JSON_TYPE, entries.canonical({"entries": found}))


def statement(asked: Asked) -> Answer:
    """A signed statement of an account."""
    name = _own(asked, "statement")
    start_ns = _number(asked.query.get("start_ns", "0"), "start_ns")
    stop_ns = _number(asked.query.get("stop_ns", str(AGES_NS)), "stop_ns")
    return Answer(200, COSE_TYPE, asked.store.statement(name, start_ns, stop_ns))


def _own(asked: Asked, operation: str) -> str:
    """The account in the path, for who administers the namespace of that name."""
    name = asked.path["account"]
    asked.may(operation, name)
    return name


def _entry(made: Entry) -> Answer:
    return Answer(200, JSON_TYPE, entries.canonical(entries.to_object(made)))


def _atto(amount: Atto, argument: str = "atto") -> int:
    return amount if isinstance(amount, int) else _number(amount, argument)


def _number(text: str, argument: str) -> int:
    if DECIMAL.fullmatch(text) is None:
        raise InvalidValue(argument=argument, reason="decimal digits")
    return int(text)


SPACE: Final = "/v1/namespaces/{namespace}"
ACCOUNT: Final = "/v1/accounts/{account}"
MONEY: Final = (
    Admin("GET", "/v1/tariffs", tariffs, "The prices that namespaces can be given"),
    Admin("PUT", "/v1/tariffs/{name}", set_tariff, "Set the next version of a tariff"),
    Admin("GET", f"{SPACE}/metering", metering, "What a namespace pays and may hold"),
    Admin("PUT", f"{SPACE}/metering", set_metering, "Set what it pays and may hold"),
    Admin("GET", f"{SPACE}/usage", usage, "What it holds and was charged"),
    Admin("GET", f"{SPACE}/hours", hours, "The same, as it was hour by hour"),
    Admin("POST", f"{SPACE}/quote", quote, "What an operation would cost"),
    Admin("GET", "/v1/accounts", accounts, "Every account"),
    Admin("GET", ACCOUNT, account, "Where an account stands"),
    Admin("POST", f"{ACCOUNT}/deposits", deposit, "Note that money came in"),
    Admin("POST", f"{ACCOUNT}/transfers", transfer, "Move money to another account"),
    Admin("PUT", f"{ACCOUNT}/rule", rule, "Have an account topped up"),
    Admin("GET", f"{ACCOUNT}/entries", listed, "Every entry of an account"),
    Admin("GET", f"{ACCOUNT}/statement", statement, "A signed statement of an account"),
)
