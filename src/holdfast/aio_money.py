"""Prices and money for asyncio: twins of ``store.tariffs`` and ``store.accounts``."""

from __future__ import annotations

from holdfast.store.billing import Accounts, Tariffs
from holdfast.twins import Twin, read, written


class AsyncTariffs(Twin[Tariffs]):
    """The prices that namespaces can be given, as ``store.tariffs``."""

    set = written(Tariffs.set)
    get = read(Tariffs.get)
    all = read(Tariffs.all)


class AsyncAccounts(Twin[Accounts]):
    """Who has which money, as ``store.accounts``; amounts are integers of 10^-18 USD."""

    deposit = written(Accounts.deposit)
    transfer = written(Accounts.transfer)
    rule = written(Accounts.rule)
    balance = written(Accounts.balance)
    get = written(Accounts.get)
    names = written(Accounts.names)
    entries = written(Accounts.entries)
