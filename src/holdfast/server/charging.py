"""What requests to a metered namespace cost, and how many of them there may be.

Writes are charged by the bucket that takes them; reads are counted here, where what is sent
is known, unless the house has counted them on their way. Bounds on rate and on requests under
way hold for all processes together (bounds.py). Nothing here waits: how a namespace is metered
is known as soon as it was configured, what it has left as upkeep last saw it, about a second ago.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Final

from holdfast.bucket import bills, counted
from holdfast.bucket.gates import CONCURRENT, RATE
from holdfast.bucket.purse import Purse
from holdfast.charges import Kind, charge
from holdfast.errors import BalanceEmpty, Busy, HoldfastError, LimitExceeded, Moved
from holdfast.metering.tariffs import CLASSES, SENDS
from holdfast.placement.elsewhere import Elsewhere
from holdfast.server.bounds import Bounds

if TYPE_CHECKING:
    from holdfast.bucket.bucket import Bucket
    from holdfast.bucket.checkpoint import Pace
    from holdfast.server.answers import Answer
    from holdfast.server.requests import Request
    from holdfast.server.tenants import Tenant
    from holdfast.store.store import Store
    from holdfast.values import Configured

READS: Final = frozenset(("load", "exists", "stat", "locate", "list", "search", "consumers.list"))
SILENT_NS: Final = 1_000_000_000
WELL: Final = 400  # statuses below say that what was asked for was done


class Charging:
    """Costs and bounds of requests. Used on the loop.

    Args:
        store: whose namespaces.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.bounds = Bounds()  # of this process alone, where nobody says otherwise
        self._now_ns = store.clock.monotonic_ns
        self._directory = store.placement.directory
        self.known: Mapping[str, Configured] = {}
        self._balances: Mapping[str, int] = {}
        self._looking = Lock()
        self._afar = Afar(store)
        store.metering_changed = self.tick
        store.placement.settings.gates.leave_to_doors()
        store.begin_metering()

    def tick(self) -> None:
        """Take note of what is metered: at times, and whenever it was configured."""
        with self._looking:  # who saw it earlier does not tell it later
            self.known, self._balances = self._store.seen_meters()

    def hold(self, request: Request, tenant: Tenant, operation: str) -> None:
        """Hold a request against the bounds of its namespace, until it is answered.

        Raises:
            LimitExceeded: too many in a second, or at once. BalanceEmpty: reads have ended too.
        """
        told = self.known.get(tenant.name)
        if told is None:
            return
        most, rate = told.concurrent_max, told.requests_per_s
        if most is not None and self._under_way(tenant) >= most:
            raise LimitExceeded(limit=CONCURRENT, most=most, namespace=tenant.name)
        if rate is not None and not self.bounds.spend(tenant.name, rate, self._now_ns()):
            raise LimitExceeded(limit=RATE, most=rate, namespace=tenant.name)
        if operation in READS:
            self.hold_reads(tenant)
        if most is not None:
            request.held = tenant
            tenant.begin()

    def may_read(self, tenant: Tenant, reads: int) -> bool:
        """Whether the loop may answer so many reads of a namespace: nothing has to be charged."""
        try:
            self.hold_reads(tenant, reads)
        except (BalanceEmpty, Busy):
            return False
        return True

    def hold_reads(self, tenant: Tenant, more: int = 0) -> None:
        """Whether a metered namespace may be read, and so often by who does not wait.

        Raises:
            BalanceEmpty: it cannot pay, and reads have ended too. Busy: so many reads wait to
                be charged that a crash would lose more than it may.
        """
        if tenant.name not in self.known:
            return
        bucket, purse = self._paying(tenant)
        if purse is None:
            self._afar.hold(tenant.name)
            return
        reads = bucket.reads_of(purse.namespace)
        reads.refuse()
        if reads.lag.is_over(more):
            raise Busy(bucket=bucket.id)

    def loaded(self, tenant: Tenant, sizes: Iterable[int], *, waits: bool = False) -> int:
        """Count values of so many bytes that a batch sends; what they cost.

        Args:
            tenant: of the namespace.
            sizes: of the values.
            waits: on a thread, until they are charged where too many are not.
        """
        if tenant.name not in self.known:
            return 0
        try:
            bucket, purse = self._paying(tenant)
            space, kind = tenant.space, CLASSES["load"]
            if purse is None:
                return sum(self._afar.count(tenant, kind, n) for n in sizes)
            return sum(counted.count(bucket, space, kind, n, waits=waits) for n in sizes)
        except (BalanceEmpty, Moved):
            return 0

    def _under_way(self, tenant: Tenant) -> int:
        """Requests of a namespace in all processes; from the first look on, others see ours."""
        if tenant.told is None:
            tenant.told = partial(self._tell, tenant.name)
            tenant.told(tenant.busy)
        return tenant.busy + self.bounds.under_way_elsewhere(tenant.name)

    def _tell(self, name: str, under_way: int) -> None:
        self.bounds.tell(name, under_way, self._now_ns())

    def _paying(self, tenant: Tenant) -> tuple[Bucket, Purse | None]:
        bucket = self._directory.find(tenant.space)
        if isinstance(bucket, Elsewhere):
            near = [b for b in self._directory if tenant.space[:-1] in b.purses]
            if not near:
                return bucket, None
            bucket = near[0]
        return bucket, bucket.purses.of(tenant.space)

    def charge(self, request: Request, answer: Answer, sent_bytes: int) -> None:
        """Count a request that is answered, and tell its cost and what is left."""
        tenant = request.tenant
        if tenant is None or tenant.name not in self.known:
            return
        if not answer.cost_atto:
            answer.cost_atto = request.cost_atto
        if request.operation in READS and not request.counted and answer.status < WELL:
            sent = sent_bytes if request.operation in SENDS else 0
            if request.operation == "stat":
                sent = len(request.key.encode())
            sent = 0 if request.method == "HEAD" else sent  # nothing of what it is the head of
            try:
                bucket, purse = self._paying(tenant)
                kind = CLASSES[request.operation]
                if purse is not None:
                    answer.cost_atto = counted.count(bucket, tenant.space, kind, sent, waits=False)
                else:
                    answer.cost_atto = self._afar.count(tenant, kind, sent)
            except (BalanceEmpty, Moved):
                return
        balance = self.balance_of(tenant)
        if balance is not None:
            answer.headers += b"Holdfast-Balance: %d\r\n" % balance

    def balance_of(self, tenant: Tenant) -> int | None:
        """What a metered namespace had left when upkeep last looked; None of any other."""
        return self._balances.get(tenant.name)


class Afar:
    """Reads that a process answers which holds no bucket: whoever holds the namespace counts them.

    They are sent on by upkeep, a few times a second; a crash loses those that were not, in the
    tenant's favour.

    Args:
        store: whose upkeep does it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = Lock()
        self._waiting: Counter[tuple[bytes, Kind, int]] = Counter()
        self._silent: dict[str, int] = {}  # namespaces that cannot pay, and until when that holds
        store.upkeep.lazy.append(self._send)

    def hold(self, name: str) -> None:
        """BalanceEmpty where whoever holds a namespace said so a moment ago."""
        if self._store.clock.monotonic_ns() < self._silent.get(name, 0):
            raise BalanceEmpty(namespace=name)

    def count(self, tenant: Tenant, kind: Kind, sent_bytes: int) -> int:
        """Count a read; what it costs."""
        terms = self._store.seen_terms(tenant.name)
        with self._lock:
            self._waiting[tenant.space, kind, sent_bytes] += 1
        return 0 if terms is None else charge(terms, kind, egress_bytes=sent_bytes).amount

    def _send(self, _pace: Pace, _enough: Callable[[], bool]) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, Counter()
        for (space, kind, sent_bytes), times in waiting.items():
            bucket = self._store.placement.directory.find(space)
            try:
                if isinstance(bucket, Elsewhere):
                    bucket.link.ask("count", space, kind, sent_bytes, times)
            except BalanceEmpty:
                until_ns = self._store.clock.monotonic_ns() + SILENT_NS
                self._silent[space[:-1].decode()] = until_ns
            except HoldfastError:
                continue


def billed(request: Request, work: Callable[[], object]) -> object:
    """Carry out work of a request, and note what the house charged and counted for it."""
    with bills.opened() as bill:
        try:
            return work()
        finally:
            request.cost_atto, request.counted = bill.cost_atto, bill.reads > 0
