"""How a store shows its prices and its books; what keeps them is loaded when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.request import arguments, listing
from holdfast.store.parts import StorePart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from threading import Lock

    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.checkpoint import Pace
    from holdfast.bucket.purse import Need
    from holdfast.bucket.settings import Settings
    from holdfast.charges import Terms
    from holdfast.store.billing import Accounts, Tariffs
    from holdfast.store.meters import Meters
    from holdfast.values import Configured

METERING: Final = "metering/"  # where it stands among the store's records who is metered, and how


class Money(StorePart):
    """Prices, accounts and statements; a part of ``Store``."""

    _settings: Settings
    _tenancy: Lock
    _tariffs: Tariffs | None = None
    _accounts: Accounts | None = None
    _meters: Meters | None = None

    @property
    def tariffs(self) -> Tariffs:
        """The prices that namespaces can be given: what ships, and this store's own."""
        with self._tenancy:
            if self._tariffs is None:
                store = self._opened()
                from holdfast.store.billing import Tariffs  # noqa: PLC0415 - 50 ms

                self._tariffs = Tariffs(store)
            return self._tariffs

    @property
    def accounts(self) -> Accounts:
        """Who has which money: deposits, transfers, rules, entries."""
        with self._tenancy:
            if self._accounts is None:
                store = self._opened()
                from holdfast.store.billing import Accounts  # noqa: PLC0415 - 50 ms

                self._accounts = Accounts(store)
            return self._accounts

    @property
    def meters(self) -> Meters:
        """What namespaces pay and may hold, and what keeps their purses."""
        with self._tenancy:
            if self._meters is None:
                store = self._opened()
                from holdfast.store.meters import Meters  # noqa: PLC0415 - 50 ms

                self._meters = Meters(store)
            return self._meters

    def _follow_meters(self, pace: Pace, enough: Callable[[], bool]) -> None:
        """Upkeep: charge, post, refill what is due; nothing is loaded where nothing is metered."""
        store = self._opened()
        if self._meters is not None or any(bucket.purses for bucket in store.placement.directory):
            self.meters.follow(pace, enough)

    def begin_metering(self) -> None:
        """Know what is metered before anybody is let in.

        Of a shared store ``learn_metering`` does: nobody may answer yet who holds the records.
        """
        if not self._opened().placement.directory.others() and self._is_metered():
            self.meters.metered()

    def learn_metering(self) -> None:
        """Know what is metered of a shared store, once all its processes answer."""
        if self._is_metered():
            self.meters.step()

    def _is_metered(self) -> bool:
        """Whether any namespace is."""
        store, records = self._opened(), arguments.RESERVED + arguments.VISIBLE + METERING.encode()
        return listing.any_below(store.corridor, records, listing.successor(records))

    def seen_meters(self) -> tuple[Mapping[str, Configured], Mapping[str, int]]:
        """What upkeep last saw of metered namespaces, and their balances; asks nobody."""
        meters = self._meters
        return ({}, {}) if meters is None else (meters.seen(), meters.balances)

    def seen_reserve(self) -> tuple[int, int]:
        """How often an account was told to be low here, and the reserve as upkeep last saw it.

        That in 10^-18 USD, 0 in a process that does not keep the books; asks nobody.
        """
        meters = self._meters
        return (0, 0) if meters is None else (meters.low_events, meters.reserve_atto)

    def seen_terms(self, name: str) -> Terms | None:
        """The terms that upkeep last saw a namespace pay by; asks nobody."""
        meters = self._meters
        return None if meters is None else meters.terms.get(name)

    def _help(self, bucket: Bucket, namespace: bytes, need: Need) -> bool:
        """A write needs more than a purse holds."""
        return self.meters.funding.help(bucket, namespace, need)

    def statement(self, account: str, start_ns: int, stop_ns: int) -> bytes:
        """What happened to an account in a period, signed with the store's key.

        Args:
            account: whose.
            start_ns: nanoseconds since 1970 (bucket time) where the period begins.
            stop_ns: where it ends, exclusive; now, if that is earlier.

        Returns:
            A COSE_Sign1. ``holdfast.ledger.statement.verify``, or ``holdfast statement
            verify``, computes all of it again with the public key alone.

        Raises:
            InvalidValue: the period ends before it begins, or the account is none.
        """
        self.meters.settle()
        return self.accounts.statement(account, start_ns, stop_ns)

    def bucket_time_ns(self) -> int:
        """The store's time: it never goes back, and follows no step of the machine's clock."""
        return self._settings.time.now_ns()
