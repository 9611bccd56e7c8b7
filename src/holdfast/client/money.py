"""Prices and money of a store behind a server: the calls without I/O, and their face."""

from __future__ import annotations

import builtins
import json
from typing import Any

import msgspec

from holdfast.client.asks import Answer, Ask, Work
from holdfast.client.line import Line
from holdfast.client.reading import read
from holdfast.errors import Corrupt, InvalidValue, Unavailable
from holdfast.ledger import entries
from holdfast.ledger.books import account_name
from holdfast.ledger.entries import Entry
from holdfast.metering.quote import Asked, asked
from holdfast.metering.tariffs import Tariff, compiled
from holdfast.operations import Operation
from holdfast.values import Configured, Cost, Hour, Usage
from holdfast.wire.paths import encode_key, encode_query
from holdfast.wire.values import JSON, encode


class _Priced(msgspec.Struct):
    name: str
    version: int
    toml: str
    number: int

    def tariff(self) -> Tariff:
        """As the store has it."""
        return compiled(self.name, self.toml, number=self.number, version=self.version)


class _Used(msgspec.Struct):
    objects: int
    live_bytes: int
    byte_seconds: str
    requests: dict[str, int]
    egress_bytes: str
    cost_atto: str
    balance_atto: str


class _Noted(msgspec.Struct):
    time_ns: int
    objects: int
    live_bytes: int
    byte_seconds: str
    requests: dict[str, int]
    egress_bytes: str
    cost_atto: str

    def hour(self) -> Hour:
        """As the store tells it."""
        return Hour(
            self.time_ns,
            self.objects,
            self.live_bytes,
            int(self.byte_seconds),
            self.requests,
            int(self.egress_bytes),
            int(self.cost_atto),
        )


class _Quoted(msgspec.Struct):
    kind: str
    tariff: str
    version: int
    operation_atto: str
    storage_atto: str
    egress_atto: str
    back_atto: str


class _Set(msgspec.Struct):
    tariff: str
    version: int
    bytes_max: int | None
    objects_max: int | None
    requests_per_s: int | None
    concurrent_max: int | None
    grace_ns: int
    retention_ns: int | None

    def configured(self) -> Configured:
        return Configured(*msgspec.structs.astuple(self))


class MeteringCalls:
    """What can be asked about a namespace's price and bounds; a part of ``NamespaceCalls``.

    Args:
        line: the client's.
        root: the path of the namespace.
    """

    def __init__(self, line: Line, root: str) -> None:
        self._line = line
        self._root = root

    def configure(
        self,
        *,
        tariff: str | None = None,
        bytes_max: int | None = None,
        objects_max: int | None = None,
        requests_per_s: int | None = None,
        concurrent_max: int | None = None,
        grace: float | str = 0,
        retention: float | str | None = None,
    ) -> Work[Configured]:
        """Set what the namespace pays and what it may hold; everything that is not said ends."""
        told = {
            "tariff": tariff,
            "bytes_max": bytes_max,
            "objects_max": objects_max,
            "requests_per_s": requests_per_s,
            "concurrent_max": concurrent_max,
            "grace": grace,
            "retention": retention,
        }
        ask = _write("PUT", f"{self._root}/metering", told)
        return read((yield from self._line.exchange(ask)), _Set).configured()

    def configured(self) -> Work[Configured]:
        """What was set; no tariff and no bound where nothing was."""
        ask = Ask("GET", f"{self._root}/metering", repeatable=True)
        return read((yield from self._line.exchange(ask)), _Set).configured()

    def usage(self) -> Work[Usage]:
        """What it holds and what it was charged for."""
        used = yield from self._used()
        return Usage(
            used.objects,
            used.live_bytes,
            int(used.byte_seconds),
            used.requests,
            int(used.egress_bytes),
            int(used.cost_atto),
        )

    def hours(self) -> Work[builtins.list[Hour]]:
        """Its usage at the first tick of each hour in which it was used, for 90 days."""
        ask = Ask("GET", f"{self._root}/hours", repeatable=True)
        answer = yield from self._line.exchange(ask)
        return [noted.hour() for noted in read(answer, dict[str, builtins.list[_Noted]])["hours"]]

    def balance(self) -> Work[int]:
        """What it can still spend, in 10^-18 USD."""
        return int((yield from self._used()).balance_atto)

    def _used(self) -> Work[_Used]:
        ask = Ask("GET", f"{self._root}/usage", repeatable=True)
        return read((yield from self._line.exchange(ask)), _Used)

    def quote(
        self,
        operation: str | Operation,
        *,
        key: str | None = None,
        size_bytes: int = 0,
        ttl: float | str | None = None,
        keep_ttl: bool = False,
    ) -> Work[Cost]:
        """What an operation would cost now; nothing is done. Arguments as of the store."""
        if isinstance(operation, str):
            told = Asked(operation, key, size_bytes, ttl, keep_ttl)
        else:
            told = asked(operation)
        ask = _write("POST", f"{self._root}/quote", told._asdict())
        made = read((yield from self._line.exchange(ask)), _Quoted)
        return Cost(
            made.kind,
            made.tariff,
            made.version,
            int(made.operation_atto),
            int(made.storage_atto),
            int(made.egress_atto),
            int(made.back_atto),
        )


class MoneyCalls:
    """What can be asked about prices and money.

    Args:
        line: the client's.
    """

    def __init__(self, line: Line) -> None:
        self._line = line

    def tariffs(self) -> Work[builtins.list[Tariff]]:
        """Every version of every tariff, in the order in which they were set."""
        answer = yield from self._line.exchange(Ask("GET", "/v1/tariffs", repeatable=True))
        told = read(answer, dict[str, builtins.list[_Priced]])
        return [one.tariff() for one in told["tariffs"]]

    def tariff(self, name: str, version: int | None = None) -> Work[Tariff]:
        """A tariff by its name; the newest version, if none is asked for.

        Raises:
            InvalidValue: there is none.
        """
        known = yield from self.tariffs()
        found = [one for one in known if one.name == name and version in {None, one.version}]
        if not found:
            raise InvalidValue(argument="tariff", reason="there is none of this name")
        return found[-1]

    def set_tariff(self, name: str, toml: str) -> Work[Tariff]:
        """Set a tariff, as the next version of its name.

        Raises:
            InvalidValue: ``field`` says what is wrong with the TOML; nothing was set.
        """
        compiled(name, toml, number=0)
        ask = _write("PUT", f"/v1/tariffs/{encode_key(name)}", {"toml": toml})
        return read((yield from self._line.exchange(ask)), _Priced).tariff()

    def names(self) -> Work[builtins.list[str]]:
        """Every account that an entry names."""
        answer = yield from self._line.exchange(Ask("GET", "/v1/accounts", repeatable=True))
        return read(answer, dict[str, builtins.list[str]])["accounts"]

    def balance(self, account: str) -> Work[int]:
        """What an account can spend, in 10^-18 USD: with what its buckets hold.

        Raises:
            NotFound: no entry names it.
        """
        ask = Ask("GET", _account(account), repeatable=True)
        return int(read((yield from self._line.exchange(ask)), _Standing).funds)

    def deposit(self, account: str, atto: int, reference: str) -> Work[Entry]:
        """Money came in; counts once for its reference, so it may be asked for again.

        Raises:
            InvalidValue: an argument is wrong, or the reference was used for something else.
        """
        told = {"atto": str(atto), "reference": reference}
        return (yield from self._entry(_write("POST", f"{_account(account)}/deposits", told)))

    def transfer(self, source: str, target: str, atto: int, reference: str) -> Work[Entry]:
        """Move money from one account to another, once for a reference.

        Raises:
            BalanceEmpty: the source has less than that. InvalidValue: as of ``deposit``.
        """
        told = {
            "target": account_name(target, "target"),
            "atto": str(atto),
            "reference": reference,
        }
        return (
            yield from self._entry(_write("POST", f"{_account(source, 'source')}/transfers", told))
        )

    def rule(
        self,
        account: str,
        threshold: int,
        amount: int,
        per_day: int,
        *,
        parent: str = "reserve",
    ) -> Work[Entry]:
        """Top an account up by itself; ``per_day`` 0 ends that."""
        told = {
            "threshold": str(threshold),
            "amount": str(amount),
            "per_day": per_day,
            "parent": account_name(parent, "parent"),
        }
        return (yield from self._entry(_write("PUT", f"{_account(account)}/rule", told)))

    def entries(self, account: str) -> Work[builtins.list[Entry]]:
        """Every entry of an account, the first one first."""
        ask = Ask("GET", f"{_account(account)}/entries", repeatable=True)
        answer = yield from self._line.exchange(ask)
        return [_read_entry(one) for one in _parsed(answer)["entries"]]

    def statement(self, account: str, start_ns: int, stop_ns: int) -> Work[bytes]:
        """What happened to an account in a period, signed with the store's key.

        The document is what the server says until ``holdfast.ledger.statement.verify``
        has computed it again.
        """
        query = encode_query({"start_ns": str(start_ns), "stop_ns": str(stop_ns)})
        ask = Ask("GET", f"{_account(account)}/statement?{query}", repeatable=True)
        return (yield from self._line.exchange(ask)).body

    def _entry(self, ask: Ask) -> Work[Entry]:
        return _read_entry(_parsed((yield from self._line.exchange(ask))))


class _Standing(msgspec.Struct):
    funds: str


def _account(name: str, argument: str = "account") -> str:
    return f"/v1/accounts/{encode_key(account_name(name, argument))}"


def _write(method: str, target: str, told: dict[str, Any]) -> Ask:
    """A write that does no harm when it is sent twice: each counts once."""
    return Ask(method, target, {"content-type": JSON}, encode(told), repeatable=True)


def _parsed(answer: Answer) -> Any:  # noqa: ANN401 - JSON, with numbers of any size
    try:
        return json.loads(answer.body)
    except ValueError:
        raise Unavailable(cause="the answer cannot be read") from None


def _read_entry(found: object) -> Entry:
    try:
        return entries.from_object(found)
    except Corrupt:
        raise Unavailable(cause="the answer cannot be read") from None
