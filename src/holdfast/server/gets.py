"""Plain gets that are like one before on their connection, answered in one go.

What was read out of that one is taken for this one too (repeats.py), and what lets its caller
read a namespace is held on to, as long as it counts: that is asked each time, and so are the
namespace's money, the object's entry and its range. Whatever is not as plain as that is left
to the way of all requests, with nothing done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.errors import HoldfastError
from holdfast.limits import KEY_BYTES
from holdfast.wire.paths import UNCHANGED

if TYPE_CHECKING:
    from holdfast.server.connection import Connection
    from holdfast.server.door import Pass
    from holdfast.server.kept import Seen
    from holdfast.server.repeats import Found, Repeat
    from holdfast.server.site import Site

LOAD: Final = "load"


class Gets:
    """Gets of one namespace, over one connection, by one caller.

    Args:
        connection: that they come by.
        repeat: what the first of them was.
        namespace: that is asked, as it stands in the path.
    """

    __slots__ = (
        "_address",
        "_after",
        "_authorization",
        "_before",
        "_behind",
        "_name",
        "_pass",
        "_site",
        "_space",
    )

    def __init__(self, connection: Connection, repeat: Repeat, namespace: bytes) -> None:
        site = self._site = connection.site
        tenant = site.tenants.find(namespace)
        self._name, self._space = tenant.name, tenant.space
        self._address = connection.address
        self._authorization = repeat.headers.get("authorization")
        self._before, self._after = repeat.before, repeat.after
        self._behind = len(repeat.after)
        self._pass: Pass | None = None

    def answer(self, data: bytes) -> bytes | None:
        """The answer to what came in, if it is such a get and nothing more, of what is at hand."""
        before, after = self._before, self._after
        if not (data.startswith(before) and data.endswith(after)):
            return None
        site = self._site
        began_ns = site.clock.monotonic_ns()
        key = data[len(before) : len(data) - self._behind]
        try:
            if not self._may():
                return None
            seen = site.kept.find(self._space + key) or self._read(key)
        except HoldfastError:
            return None
        return None if seen is None else told(site, self._name, seen, began_ns)

    def _read(self, key: bytes) -> Seen | None:
        if not 0 < len(key) <= KEY_BYTES or key.translate(None, UNCHANGED):
            return None
        return self._site.kept.read(self._space + key)

    def _may(self) -> bool:
        """Whether the caller may read all of the namespace, and nobody counts what it costs."""
        site = self._site
        if not site.is_quiet or self._name in site.charging.known:
            return False
        door = site.door
        held = self._pass
        if held is None or not door.counts(held):
            held = door.hold(self._authorization, self._name, LOAD, self._address)
            self._pass = held
        return held is not None


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
        if not site.door.passes(principal, tenant.name, LOAD, connection.address):
            return None
        key = tenant.space + found.key
        seen = site.kept.find(key) or site.kept.read(key)
        if seen is None:
            return None
        # Last, for a mark counts once.
        callers.spend(mark, repeat.method, repeat.path + found.key)
    except HoldfastError:
        return None
    return told(site, tenant.name, seen, began_ns)


def told(site: Site, namespace: str, seen: Seen, began_ns: int) -> bytes:
    """An object as an answer, which is counted."""
    number = site.requests = site.requests + 1
    site.loads.add(site.clock.monotonic_ns() - began_ns)
    site.usage.count(namespace, in_bytes=0, out_bytes=seen.size, cost_atto=0)
    return b"%b%x\r\n%b" % (site.beginning, number, seen.rest)
