"""What namespaces pay and what they may hold: records of the store, and who acts on them.

A record ``metering/<namespace>`` says how a namespace is metered; ``hours/<namespace>/<hour>``
what it had used when the hour began, for 90 days; ``released/...`` that its data was given up
because nobody paid for it. They are objects of the store itself (``store/tenancy.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from holdfast import charges
from holdfast.bucket.checkpoint import Pace
from holdfast.bucket.dividing import held
from holdfast.bucket.purse import UNBOUNDED, Purse
from holdfast.errors import Corrupt, InvalidValue, NotFound
from holdfast.ledger.books import RESERVE
from holdfast.limits import BOUND, SECOND_NS
from holdfast.metering.tariffs import Tariff
from holdfast.placement.elsewhere import Elsewhere
from holdfast.request import arguments
from holdfast.store.billing import LEDGER
from holdfast.store.money import METERING
from holdfast.store.tenancy import StoreRecords
from holdfast.upkeep.allotting import Metering
from holdfast.upkeep.funding import Funding
from holdfast.upkeep.funding import Whole as WholeFunding
from holdfast.values import Configured, Hour, Usage, planned

if TYPE_CHECKING:
    from holdfast.store.store import Store

HOURS: Final = "hours/"
RELEASED: Final = "released/"
HOUR_NS: Final = 3_600 * SECOND_NS
KEPT_NS: Final = 90 * 24 * HOUR_NS
RELOAD_NS: Final = 10 * SECOND_NS
LOW_NS: Final = 60 * SECOND_NS  # between two events of one account
BOOKED: Final = arguments.RESERVED + arguments.VISIBLE + LEDGER.encode()  # where the books begin
FREE: Final = "free"
KEPT: Final = "it is to be kept"
log = logging.getLogger("holdfast.metering")


@planned
class _Noted(msgspec.Struct, frozen=True, array_like=True):
    """An ``Hour`` as it is kept."""

    time_ns: int
    objects: int
    live_bytes: int
    byte_seconds: charges.Wide
    requests: dict[str, int]
    egress_bytes: charges.Wide
    cost_atto: charges.Wide


class Whole(WholeFunding, Protocol):
    """Asks all processes of a store at once."""

    def settle(self, name: str | None) -> None:
        """Bring all that any of them was asked for to the books."""

    def usage(self, name: str) -> Usage:
        """What a namespace holds and was charged for in all of them."""

    def call_back(self, one: Metering, atto: int) -> None:
        """Have all of them give back what they hold, until the account has so much."""

    def configured(self, one: Metering) -> None:
        """Have all of them go by what was just set."""


class Meters:
    """Metering of one store.

    Args:
        store: the open store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = StoreRecords(store)
        self._lock = RLock()
        self._known: dict[bytes, Configured] = {}
        self._is_read = False  # what is known
        self._loaded_ns = 0
        self._hour = -1
        self._told_low: dict[str, int] = {}
        self.low_events = 0
        self.reserve_atto = 0  # as upkeep last saw it, where the books are kept
        self.balances: dict[str, int] = {}  # as of the last tick, in 10^-18 USD
        self.terms: dict[str, charges.Terms] = {}  # that namespaces pay by, as of the last tick
        self.heard_low: Callable[[str, int], object] = _nobody  # account, balance in 10^-18 USD
        self.whole: Whole | None = None  # where several processes share the store
        self.funding = Funding(
            store.placement, lambda: store.accounts.ledger, self.metered, self._low
        )

    def share(self, whole: Whole) -> None:
        """Ask all processes for what is of the whole store."""
        self.whole = self.funding.whole = whole

    # -- settings -----------------------------------------------------------------------

    def configure(
        self,
        name: str,
        tariff: str | None,
        *,
        bounds: tuple[int | None, int | None, int | None, int | None],
        grace: float | str,
        retention: float | str | None,
    ) -> Configured:
        """As ``Namespace.configure``."""
        space = arguments.namespace_bytes(name)
        for bound in bounds:
            if bound is not None and (type(bound) is not int or not 0 <= bound <= BOUND):
                raise InvalidValue(argument="bounds", reason="integers, 0 to 2^63 - 1")
        priced = self._store.tariffs.get(tariff or FREE)
        told = Configured(
            priced.name if tariff else "",
            priced.version if tariff else 0,
            *bounds,
            grace_ns=arguments.duration_ns(grace) if grace else 0,
            retention_ns=None if retention is None else arguments.duration_ns(retention),
        )
        ledger = self._store.accounts.ledger
        if ledger.books().terms.get(priced.terms.number) is None or self.configured(name) != told:
            ledger.price(name, priced.name, priced.version, priced.terms)
        with self._lock:  # who configures it besides comes before, or after
            self._records.put(f"{METERING}{name}", msgspec.msgpack.encode(told))
            self._known = {**self._all(), space: told}
        self._hold(space, told)
        one = self.metering_of(name)
        self._keep(one)
        if self.whole is not None:
            self.whole.configured(one)
        return told

    def configured(self, name: str) -> Configured | None:
        """How a namespace is metered, or None."""
        return self._all().get(arguments.namespace_bytes(name))

    def metered(self) -> dict[bytes, Metering]:
        """Every namespace that has a purse, as the purses are to be."""
        return {space: self._metering(space, told) for space, told in self._all().items()}

    def metering_of(self, name: str) -> Metering:
        """How the purses of a namespace are to be; NotFound where it is not metered."""
        one = self.metered().get(arguments.namespace_bytes(name))
        if one is None:
            raise NotFound(namespace=name)
        return one

    def reload(self, name: str) -> None:
        """Another process has set how a namespace is metered: go by that."""
        with self._lock:
            self._is_read = False
        self._keep(self.metering_of(name))

    def _hold(self, space: bytes, told: Configured) -> None:
        """Hold requests to their bound, those that were let in beforehand too."""
        self._store.placement.settings.gates.hold(space, told.requests_per_s, told.concurrent_max)
        for bucket in list(self._store.placement.directory):
            reads = bucket.reads.get(space) if space in bucket.purses else None
            if reads is not None:
                reads.lag.recall(reads)

    def _keep(self, one: Metering) -> None:
        """A namespace was configured: who serves it knows at once."""
        self.funding.keep(one)
        self.balances = {**self.balances, one.account: self._left(one)}
        self.terms = {**self.terms, one.account: one.terms}
        self._store.metering_changed()

    def _metering(self, space: bytes, told: Configured) -> Metering:
        return Metering(
            space,
            self._tariff(told).terms,
            UNBOUNDED if told.bytes_max is None else told.bytes_max,
            UNBOUNDED if told.objects_max is None else told.objects_max,
            told.grace_ns,
        )

    def _tariff(self, told: Configured) -> Tariff:
        return self._store.tariffs.get(told.tariff or FREE, told.version or None)

    def _all(self) -> dict[bytes, Configured]:
        """Every namespace's settings; what other processes set is heard of within 10 s."""
        with self._lock:
            now = self._store.clock.monotonic_ns()
            shared = bool(self._store.placement.directory.others())
            if not self._is_read or (shared and now - self._loaded_ns > RELOAD_NS):
                listed = self._records.list(METERING)
                self._known = {key.rpartition("/")[2].encode(): _read(v) for key, v in listed}
                for space, told in self._known.items():
                    self._store.placement.settings.gates.hold(
                        space, told.requests_per_s, told.concurrent_max
                    )
                self._is_read, self._loaded_ns = True, now
            return self._known

    # -- the tick -----------------------------------------------------------------------

    def follow(self, _pace: Pace, _enough: Callable[[], bool]) -> None:
        """Do what is due; upkeep calls it in each round."""
        if self.funding.is_due() and self._all():
            self.step()

    def step(self) -> None:
        """Do what is due in every purse, and have doors know what is metered."""
        self.funding.step()
        metered = list(self.metered().values())
        self.balances = {one.account: self._left(one) for one in metered}
        self.terms = {one.account: one.terms for one in metered}
        self._store.metering_changed()
        if not isinstance(self._store.placement.directory.find(BOOKED), Elsewhere):
            books = self._store.accounts.ledger.books()
            self.reserve_atto = books.account(RESERVE).funds
            for account in books.low():
                self._low(account)
        hour = self._store.bucket_time_ns() // HOUR_NS
        if hour != self._hour:
            self._hour = hour
            for space in self._all():
                self._note_hour(space.decode(), hour)

    def _left(self, one: Metering) -> int:
        """What a namespace can spend: what the books know, less what they have not heard of."""
        waits = sum(purse.sums.amount for purse in self._purses(one.namespace))
        return self._store.accounts.ledger.account(one.account).funds - waits

    def seen(self) -> dict[str, Configured]:
        """The settings as they were last read."""
        return {space.decode(): told for space, told in self._known.items()}

    def _note_hour(self, name: str, hour: int) -> None:
        key = f"{HOURS}{name}/{hour:08}"
        if self._records.get(key) is not None:
            return
        used = self.usage(name)
        now = self._store.bucket_time_ns()
        wide = charges.wide
        told = _Noted(
            now,
            used.objects,
            used.live_bytes,
            wide(used.byte_seconds),
            used.requests,
            wide(used.egress_bytes),
            wide(used.cost_atto),
        )
        self._records.put(key, msgspec.msgpack.encode(told), ttl_ns=KEPT_NS)

    def _low(self, account: str) -> None:
        """An account is low: say so, once a minute."""
        now = self._store.clock.monotonic_ns()
        if now - self._told_low.get(account, -LOW_NS) < LOW_NS:
            return
        self._told_low[account] = now
        balance = self._store.accounts.ledger.account(account).funds
        self.low_events += 1
        log.warning("the balance of %s is low: %d", account, balance)
        self.heard_low(account, balance)

    # -- looking ------------------------------------------------------------------------

    def settle(self, name: str | None = None) -> None:
        """Bring all that was asked for until now to the books, of all processes."""
        if self.whole is not None:
            self.whole.settle(name)
        else:
            self.settle_here(name)

    def bring(self, name: str) -> None:
        """Have the books know what a namespace was charged; nothing is done where they do.

        Rent that fell due a moment ago is the next tick's, so what was asked for twice is the same.
        """
        space = name.encode()
        if space not in self._all():
            return
        buckets = list(self._store.placement.directory)
        if (
            self.whole is not None
            or any(purse.sums.lines() for purse in self._purses(space))
            or any(bucket.reads.get(space) for bucket in buckets)
        ):
            self.settle(name)

    def call_back(self, name: str, atto: int) -> None:
        """Have buckets give back what they hold for a namespace, until its account has so much."""
        one = self.metered().get(name.encode())
        if one is not None:
            (self.whole or self.funding).call_back(one, atto)

    def settle_here(self, name: str | None = None) -> None:
        """As ``settle``, of this process."""
        metered = self.metered()
        chosen = metered.values() if name is None else [metered[name.encode()]]
        for one in chosen:
            self.funding.settle(one)

    def usage(self, name: str) -> Usage:
        """As ``Namespace.usage``."""
        arguments.namespace_bytes(name)
        if self.whole is not None:
            return self.whole.usage(name)
        return self.usage_here(name)

    def usage_here(self, name: str) -> Usage:
        """As ``usage``, of this process."""
        space = arguments.namespace_bytes(name)
        if space not in self._all():
            return self._counted(space)
        self.funding.free(self.metering_of(name))
        self.settle_here(name)
        purses = self._purses(space)
        totals = [sum(purse.totals[i] for purse in purses) for i in range(5)]
        return Usage(
            sum(purse.used_objects for purse in purses),
            sum(purse.used_bytes for purse in purses),
            totals[3],
            dict(zip("ABC", totals, strict=False)),
            totals[4],
            sum(purse.charged_atto for purse in purses),
        )

    def _purses(self, space: bytes) -> list[Purse]:
        buckets = list(self._store.placement.directory)
        return [bucket.purses[space] for bucket in buckets if space in bucket.purses]

    def _counted(self, space: bytes) -> Usage:
        """What an unmetered namespace holds, counted."""
        objects = size = 0
        for bucket in list(self._store.placement.directory):
            with bucket.lock:
                now_ns = bucket.time.now_ns()
                there = held(bucket, space, bucket.start, bucket.stop, now_ns=now_ns)
            objects += there.objects
            size += there.size_bytes
        return Usage(objects, size)

    def hours(self, name: str) -> list[Hour]:
        """As ``Namespace.hours``."""
        arguments.namespace_bytes(name)
        listed = self._records.list(f"{HOURS}{name}/")
        told = (msgspec.msgpack.decode(value, type=_Noted) for _, value in listed)
        narrow = charges.narrow
        return [
            Hour(
                noted.time_ns,
                noted.objects,
                noted.live_bytes,
                narrow(noted.byte_seconds),
                noted.requests,
                narrow(noted.egress_bytes),
                narrow(noted.cost_atto),
            )
            for noted in told
        ]

    def balance(self, name: str) -> int:
        """As ``Namespace.balance_atto``."""
        if arguments.namespace_bytes(name) in self._all():
            self.settle(name)
        return self._store.accounts.ledger.account(name).funds

    # -- the end ------------------------------------------------------------------------

    def release(self, name: str) -> None:
        """Give up what a namespace holds, once nobody has paid for it for its retention.

        Raises:
            InvalidValue: it can pay, or it is not over yet; nothing was changed.
        """
        space = arguments.namespace_bytes(name)
        told = self._all().get(space)
        kept_ns = told.retention_ns if told is not None else None
        if kept_ns is None:
            raise InvalidValue(argument="namespace", reason=KEPT)
        self.settle(name)
        since = [purse.empty_ns for purse in self._purses(space) if purse.empty_ns]
        now = self._store.bucket_time_ns()
        if not since or now < max(since) + kept_ns:
            raise InvalidValue(argument="namespace", reason=KEPT)
        at = f"{RELEASED}{name}/{now:020}"
        self._records.put(at, msgspec.msgpack.encode([max(since), now]))
        log.warning("what %s holds is given up: nobody paid for it", name)
        self._store.drop_namespace(name)


def _nobody(_account: str, _balance_atto: int) -> None:
    """Nobody asked to be told."""


def _read(value: bytes) -> Configured:
    try:
        return msgspec.msgpack.decode(value, type=Configured)
    except msgspec.DecodeError:
        raise Corrupt(what="settings of a namespace that cannot be read") from None
