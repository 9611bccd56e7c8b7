"""What the store knows of prices and money: tariffs, accounts, statements.

Tariffs and the pages of the books are records of the store itself, under a name that no
caller can spell (``store/tenancy.py``): durable, split, moved, backed up and restored with
the rest.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

import msgspec

from holdfast.access.records import NEW
from holdfast.errors import BalanceEmpty, Corrupt, Exists, InvalidValue, NotFound
from holdfast.identity.keys import signing_key
from holdfast.ledger import entries, statement
from holdfast.ledger.books import RESERVE, Account, account_name
from holdfast.ledger.entries import Deposit, Entry, Rule, Transfer
from holdfast.ledger.ledger import Ledger
from holdfast.limits import ATTO, VALUE_RECORD_BYTES
from holdfast.metering.tariffs import OWN_FROM, Tariff, compiled, shipped
from holdfast.store.tenancy import StoreRecords

if TYPE_CHECKING:
    from holdfast.charges import Terms
    from holdfast.store.store import Store

LEDGER: Final = "ledger/"
TARIFFS: Final = "tariffs/"
BOOKS: Final = "books"
DIGITS: Final = 12


class _Pages:
    """Pages of the books, as records."""

    def __init__(self, records: StoreRecords) -> None:
        self._records = records

    def get(self, number: int) -> bytes | None:
        found = self._records.get(f"{LEDGER}{number:0{DIGITS}}")
        return found[0] if found is not None else None

    def put(self, number: int, page: bytes) -> None:
        self._records.put(f"{LEDGER}{number:0{DIGITS}}", page, NEW)

    def kept(self) -> bytes | None:
        found = self._records.get(BOOKS)
        return found[0] if found is not None else None

    def keep(self, books: bytes) -> None:
        if len(books) <= VALUE_RECORD_BYTES:
            self._records.put(BOOKS, books)


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """A tariff's record: ``[name, version, TOML]``, under its number."""

    name: str
    version: int
    toml: str


class Tariffs:
    """The tariffs of a store: those that ship, and its own, every version of each.

    Args:
        store: the open store.

    Example:
        >>> import holdfast
        >>> with holdfast.open(":memory:") as store:
        ...     store.tariffs.set("mine", 'operation = 1_000_000').version
        1
    """

    def __init__(self, store: Store) -> None:
        self._records = StoreRecords(store)
        self._lock = Lock()
        self._known: list[Tariff] = list(shipped().values())
        self._next = OWN_FROM

    def set(self, name: str, toml: str) -> Tariff:
        """Set a tariff, as the next version of its name.

        Namespaces go on by the version that they have until they are configured again.

        Args:
            name: 1 to 64 of ``[A-Za-z0-9._-]``.
            toml: ``operation``, ``storage``, ``egress`` and ``early_delete``, each an
                integer of 10^-18 USD or a fraction of two, "8796/1000".

        Returns:
            The tariff; the newest version itself, where it says the same.

        Raises:
            InvalidValue: ``field`` says what is wrong with the TOML; nothing was set.
        """
        compiled(name, toml, number=OWN_FROM)  # refused before anything is looked up
        with self._lock:
            while True:
                self._catch_up()
                newest = self._newest(name)
                if newest is not None and newest.toml == toml:
                    return newest
                version = newest.version + 1 if newest is not None else 1
                kept = msgspec.msgpack.encode(_Kept(name, version, toml))
                try:
                    self._records.put(_tariff_key(self._next), kept, NEW)
                except Exists:
                    continue
                self._catch_up()

    def get(self, name: str, version: int | None = None) -> Tariff:
        """A tariff by its name; the newest version, if none is asked for.

        Raises:
            InvalidValue: there is none.
        """
        with self._lock:
            self._catch_up()
            found = [
                tariff
                for tariff in self._known
                if tariff.name == name and version in {None, tariff.version}
            ]
        if not found:
            raise InvalidValue(argument="tariff", reason="there is none of this name")
        return found[-1]

    def of(self, number: int) -> Tariff | None:
        """The tariff whose terms have a number; None for 0, which is no tariff."""
        return next((one for one in self.all() if one.terms.number == number), None)

    def all(self) -> list[Tariff]:
        """Every version of every tariff, in the order in which they were set."""
        with self._lock:
            self._catch_up()
            return list(self._known)

    def terms(self) -> dict[int, Terms]:
        """Every tariff's terms by their numbers."""
        return {tariff.terms.number: tariff.terms for tariff in self.all()}

    def _newest(self, name: str) -> Tariff | None:
        return next((one for one in reversed(self._known) if one.name == name), None)

    def _catch_up(self) -> None:
        while (found := self._records.get(_tariff_key(self._next))) is not None:
            try:
                kept = msgspec.msgpack.decode(found[0], type=_Kept)
                tariff = compiled(kept.name, kept.toml, number=self._next, version=kept.version)
            except (msgspec.DecodeError, InvalidValue):
                what = "a tariff that cannot be read"
                raise Corrupt(what=what, number=self._next) from None
            self._known.append(tariff)
            self._next += 1


def _tariff_key(number: int) -> str:
    return f"{TARIFFS}{number:0{DIGITS}}"


class Accounts:
    """The accounts of a store: who has which money. Amounts are integers of 10^-18 USD.

    A namespace spends from the account of its own name; "reserve" is the operator's. An
    account begins with the first entry that names it.

    Args:
        store: the open store.

    Example:
        >>> import holdfast
        >>> with holdfast.open(":memory:") as store:
        ...     deposit = store.accounts.deposit("reserve", 10**18, "bank transfer 1")
        ...     moved = store.accounts.transfer("reserve", "acme", 10**17, "welcome")
        ...     store.accounts.balance("acme")
        100000000000000000
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.ledger = Ledger(_Pages(StoreRecords(store)), store.file.store, store.bucket_time_ns)

    def deposit(self, account: str, atto: int, reference: str) -> Deposit:
        """Money came in.

        Args:
            account: 1 to 128 of ``[A-Za-z0-9._-]``.
            atto: 10^-18 USD, at least 1.
            reference: where it can be looked up, 1 to 200 characters. A deposit under a
                reference counts once, however often it is asked for.

        Raises:
            InvalidValue: an argument is wrong, or the reference was used for something else.
        """
        return self.ledger.deposit(account_name(account), _atto(atto), _text(reference))

    def transfer(self, source: str, target: str, atto: int, reference: str) -> Transfer:
        """Move money from one account to another, once for a reference.

        Raises:
            BalanceEmpty: the source has less than that. InvalidValue: as of ``deposit``.
        """
        names = (account_name(source, "source"), account_name(target, "target"))
        try:
            return self.ledger.transfer(*names, _atto(atto), _text(reference))
        except BalanceEmpty:
            self._store.meters.call_back(source, atto)  # what its buckets hold is its own, too
        return self.ledger.transfer(*names, atto, reference)

    def rule(
        self, account: str, threshold: int, amount: int, per_day: int, *, parent: str = RESERVE
    ) -> Rule:
        """Top an account up by itself; ``per_day`` 0 ends that.

        Args:
            account: which.
            threshold: below so much (10^-18 USD, with what its buckets hold) it draws.
            amount: so much, if the parent has it.
            per_day: at most so often in a day of bucket time.
            parent: from which account.

        Raises:
            InvalidValue: an argument is wrong, or accounts would draw from each other in a ring.
        """
        numbers = (_atto(threshold, "threshold"), _atto(amount, "amount"))
        often = _atto(per_day, "per_day")
        return self.ledger.rule(
            account_name(account), *numbers, per_day=often, parent=account_name(parent, "parent")
        )

    def balance(self, account: str) -> int:
        """What an account can spend, in 10^-18 USD: with what its buckets hold."""
        self._store.meters.bring(account_name(account))
        return self.ledger.account(account).funds

    def get(self, account: str) -> Account:
        """An account, with all that it was charged until now.

        Raises:
            NotFound: no entry names it.
        """
        self._store.meters.bring(account_name(account))
        found = self.ledger.books().accounts.get(account)
        if found is None:
            raise NotFound(account=account)
        return found

    def names(self) -> list[str]:
        """Every account that an entry names."""
        return sorted(self.ledger.books().accounts)

    def entries(self, account: str) -> list[Entry]:
        """Every entry of an account, the first one first; all that it was charged is in them."""
        name = account_name(account)
        self._store.meters.bring(name)
        return [entry for entry in self.ledger.history() if name in entries.owners(entry)]

    def statement(self, account: str, start_ns: int, stop_ns: int) -> bytes:
        """As ``Store.statement``."""
        store = self._store
        name = account_name(account)
        begin, end = _atto(start_ns, "start_ns"), _atto(stop_ns, "stop_ns")
        if end < begin:
            raise InvalidValue(argument="stop_ns", reason="not before start_ns")
        made_ns = self.ledger.now_ns()
        end = min(end, made_ns + 1)
        self.ledger.raise_to(end)  # what comes now is of the next statement
        drawn = statement.draw(
            self.ledger.history(),
            store.file.store,
            name,
            start_ns=min(begin, end),
            stop_ns=end,
            made_ns=made_ns,
        )
        return statement.sign(drawn, signing_key(store.disk, store.path, store.entropy).private)


def _text(reference: object) -> str:
    try:
        if isinstance(reference, str) and reference.encode():
            return reference
    except UnicodeEncodeError:  # half of a character
        pass
    raise InvalidValue(argument="reference", reason="text")


def _atto(amount: object, argument: str = "atto") -> int:
    """An integer that is not below zero, of at most 60 digits."""
    if type(amount) is not int or not 0 <= amount <= ATTO:
        raise InvalidValue(argument=argument, reason="an integer, 0 to 10^60 - 1")
    return amount
