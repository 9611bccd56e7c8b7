"""What the server keeps of each namespace that is asked for: its prefix, and what is under way."""

from __future__ import annotations

from holdfast.errors import RateLimited
from holdfast.request.arguments import VISIBLE, namespace_bytes
from holdfast.wire.paths import decode_key

KEPT = 10_000  # namespaces; the idle ones are forgotten beyond
RETRY_AFTER_S = 1


class Tenant:
    """One namespace: ``space`` begins its composite keys, ``under_way`` counts its requests."""

    __slots__ = ("name", "space", "under_way")

    def __init__(self, name: str, space: bytes) -> None:
        self.name = name
        self.space = space
        self.under_way = 0


class Tenants:
    """The namespaces that were asked for lately.

    Args:
        most: requests of one namespace that may be under way at once.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._known: dict[bytes, Tenant] = {}

    def find(self, raw: bytes) -> Tenant:
        """A namespace by its name as it stands in a path; InvalidNamespace where it is none."""
        tenant = self._known.get(raw)
        if tenant is None:
            name = decode_key(raw) if b"%" in raw else raw.decode("latin-1")
            tenant = Tenant(name, namespace_bytes(name) + VISIBLE)
            if len(self._known) >= KEPT:
                self._known = {n: t for n, t in self._known.items() if t.under_way}
            self._known[raw] = tenant
        return tenant

    def admit(self, tenant: Tenant) -> None:
        """Count a request that cannot be answered at once; RateLimited over the bound."""
        if tenant.under_way >= self.most:
            raise RateLimited(namespace=tenant.name, retry_after_s=RETRY_AFTER_S)
        tenant.under_way += 1
