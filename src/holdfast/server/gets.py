"""Plain gets that are like one before on their connection, answered in one go.

Who asks, the object's entry and its range are looked at each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError
from holdfast.limits import KEY_BYTES
from holdfast.server.alike import Alike
from holdfast.wire.paths import UNCHANGED

if TYPE_CHECKING:
    from holdfast.server.connection import Connection
    from holdfast.server.kept import Seen
    from holdfast.server.repeats import Found, Repeat
    from holdfast.server.site import Site


class Gets(Alike):
    """Gets of one namespace, over one connection, by one caller."""

    __slots__ = ("_after", "_before", "_behind")

    def __init__(self, connection: Connection, repeat: Repeat, namespace: bytes) -> None:
        super().__init__(connection, repeat, namespace)
        self._before, self._after = repeat.before, repeat.after
        self._behind = len(repeat.after)

    def answer(self, data: bytes) -> bytes | None:
        """The answer to what came in, if it is such a get and nothing more, of what is at hand."""
        before, after = self._before, self._after
        if not (data.startswith(before) and data.endswith(after)):
            return None
        site = self.site
        began_ns = site.clock.monotonic_ns()
        key = data[len(before) : len(data) - self._behind]
        try:
            if self.may() is None:
                return None
            seen = site.kept.find(self.space + key) or self._read(key)
        except HoldfastError:
            return None
        if seen is None:
            return None
        return told(site, self.name, seen.rest, began_ns, out_bytes=seen.size)

    def _read(self, key: bytes) -> Seen | None:
        if not 0 < len(key) <= KEY_BYTES or key.translate(None, UNCHANGED):
            return None  # no key, or not written as it is
        return self.site.kept.read(self.space + key)


def marked(connection: Connection, repeat: Repeat, found: Found) -> bytes | None:
    """The same for a get that an enclave's session has marked."""
    site, namespace = connection.site, repeat.namespace
    if not site.is_quiet or namespace is None:
        return None
    began_ns = site.clock.monotonic_ns()
    callers, mark = site.callers, found.mark.decode()
    try:
        principal = callers.in_session(mark)
        tenant = site.tenants.find(namespace)
        if principal is None or tenant.name in site.charging.known:
            return None
        if not site.door.passes(principal, tenant.name, "load", connection.address):
            return None
        key = tenant.space + found.key
        seen = site.kept.seen(key)
        if seen is None:
            return None
        # Last, for a mark counts once.
        callers.spend(mark, repeat.method, repeat.path + found.key)
    except HoldfastError:
        return None
    return told(site, tenant.name, seen.rest, began_ns, out_bytes=seen.size)


def told(
    site: Site, namespace: str, rest: bytes, began_ns: int, *, out_bytes: int, in_bytes: int = 0
) -> bytes:
    """The answer to a load that cost nothing, from its length on ``rest``; it is counted."""
    number = site.requests = site.requests + 1
    site.loads.add(site.clock.monotonic_ns() - began_ns)
    site.usage.count(namespace, in_bytes=in_bytes, out_bytes=out_bytes, cost_atto=0)
    return b"%b%x\r\n%b" % (site.beginning, number, rest)
