"""What the server keeps of each namespace that is asked for: its prefix, and what is under way."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.errors import RateLimited
from holdfast.request.arguments import VISIBLE, namespace_bytes
from holdfast.wire.paths import decode_key

KEPT = 10_000  # namespaces; the idle ones are forgotten beyond
RETRY_AFTER_S = 1


class Tenant:
    """One namespace: ``space`` begins its composite keys, ``under_way`` counts what it waits for.

    ``asked`` counts its requests from their header on, where their number is bounded. ``told`` is
    called with ``busy`` whenever that changes, where somebody wants to know.
    """

    __slots__ = ("asked", "name", "space", "told", "under_way")

    def __init__(self, name: str, space: bytes) -> None:
        self.name = name
        self.space = space
        self.under_way = self.asked = 0
        self.told: Callable[[int], object] | None = None

    @property
    def busy(self) -> int:
        """Requests under way: one whose caller has gone is, while it is carried out."""
        return max(self.asked, self.under_way)

    def enter(self) -> None:
        """A request is carried out, or waits for that."""
        self.under_way += 1
        if self.told is not None:
            self.told(self.busy)

    def leave(self) -> None:
        """It is no more."""
        self.under_way -= 1
        if self.told is not None:
            self.told(self.busy)

    def begin(self) -> None:
        """A request comes in."""
        self.asked += 1
        if self.told is not None:
            self.told(self.busy)

    def end(self) -> None:
        """It is answered, or never will be."""
        self.asked -= 1
        if self.told is not None:
            self.told(self.busy)


class Tenants:
    """The namespaces that were asked for lately.

    Args:
        most: requests of one namespace that may be under way at once.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._known: dict[bytes, Tenant] = {}  # by the name as it was written
        self._named: dict[str, Tenant] = {}  # one for a name, however that is written

    def find(self, raw: bytes) -> Tenant:
        """A namespace by its name as it stands in a path; InvalidNamespace where it is none."""
        tenant = self._known.get(raw)
        if tenant is None:
            name = decode_key(raw) if b"%" in raw else raw.decode("latin-1")
            if len(self._known) >= KEPT:
                self._known = {n: t for n, t in self._known.items() if t.busy}
                self._named = {t.name: t for t in self._known.values()}
            tenant = self._named.get(name) or Tenant(name, namespace_bytes(name) + VISIBLE)
            self._known[raw] = self._named[name] = tenant
        return tenant

    def admit(self, tenant: Tenant) -> None:
        """Count a request that cannot be answered at once; RateLimited over the bound."""
        if tenant.under_way >= self.most:
            raise RateLimited(namespace=tenant.name, retry_after_s=RETRY_AFTER_S)
        tenant.enter()
