"""Plain puts that are like one before on their connection, sent into their lane in one go.

They are due from then on, as any request that is begun. A receipt is answered in one go too,
where nothing but that is due; whatever else becomes of them goes the way of all requests.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError
from holdfast.operations import Store
from holdfast.server import objects
from holdfast.server.alike import Alike
from holdfast.server.answers import rest_of
from holdfast.server.requests import Request
from holdfast.values import Receipt
from holdfast.wire.values import encode

if TYPE_CHECKING:
    from holdfast.server.connection import Connection
    from holdfast.server.repeats import Found, Repeat
    from holdfast.server.tenants import Tenant


class Puts(Alike):
    """Puts into one namespace, over one connection, by one caller."""

    __slots__ = ()

    def take(self, connection: Connection, found: Found) -> bool:
        """Begin a put; False where it is to go the way of all requests, and nothing was done.

        Args:
            connection: theirs; nothing is due there.
            found: its key and its body.
        """
        site, key, size = self.site, found.key, self.repeat.size
        if site.gathered_bytes + size > site.settings.gathered_bytes:
            return False
        try:
            held = self.may()
            if held is None:
                return False
            tenant = site.tenants.find(self.raw)
            site.tenants.admit(tenant)
        except HoldfastError:
            return False
        store = Store(self.space + key, key.decode(), found.body)
        put = Put(connection, self.repeat, store, tenant)
        put.principal = held.principal
        try:
            site.lanes.put(store, put.settle, size)
        except HoldfastError:
            tenant.leave()
            return False
        site.requests = put.number
        site.gathered_bytes += size
        connection.due.append(put)
        return True


class Put(Request):
    """One of them."""

    owner: Connection

    def __init__(
        self, connection: Connection, repeat: Repeat, store: Store, tenant: Tenant
    ) -> None:
        site = connection.site
        self.began_ns = site.clock.monotonic_ns()
        self.owner = connection
        self.number = site.requests + 1
        self._store = store
        self._tenant = self.tenant = tenant
        self.method, self.headers, self.route = repeat.method, repeat.headers, repeat.route
        self.key = store.name
        self.path = repeat.path + store.name.encode()
        self.address, self.peer = connection.address, connection.peer
        self.size_bytes = self.gathered_bytes = repeat.size

    def settle(self, outcome: object) -> None:
        """Answer it by what became of it."""
        self._tenant.leave()
        connection = self.owner
        if isinstance(outcome, Receipt) and self._is_plain(outcome) and self._is_alone():
            connection.due.popleft()
            connection.pass_on(self._told(outcome))
            return
        self.cost_atto = self._store.cost_atto
        connection.site.conclude(self, outcome, partial(objects.stored, self))

    def _is_plain(self, receipt: Receipt) -> bool:
        """Whether nobody paid for it."""
        known = self.owner.site.charging.known
        return not receipt.cost_atto and self._tenant.name not in known

    def _is_alone(self) -> bool:
        """Whether it is the next to be answered, and nothing waits for that."""
        connection = self.owner
        due = connection.due
        if connection.ending or connection.parked or connection.transport.is_closing():
            return False
        return len(due) == 1 and due[0] is self and connection.sending is None

    def _told(self, receipt: Receipt) -> bytes:
        """A receipt as an answer, which is counted."""
        site, size = self.owner.site, self.size_bytes
        body = encode(receipt)
        site.forget(self)
        site.stores.add(site.clock.monotonic_ns() - self.began_ns)
        site.usage.count(self._tenant.name, in_bytes=size, out_bytes=len(body), cost_atto=0)
        rest = rest_of(objects.headers_of_receipt(receipt), body)
        return b"%b%x\r\n%b" % (site.beginning, self.number, rest)
