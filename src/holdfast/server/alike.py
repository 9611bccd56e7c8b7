"""What plain requests of one kind have in common, over one connection, by one caller.

What was read out of the first is taken for the others too (repeats.py), and what lets its
caller do such a thing in a namespace is held on to, as long as it counts: that is asked each
time, and so is whether the namespace pays. Whatever is not as plain as that is left to the way
of all requests, with nothing done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.server.connection import Connection
    from holdfast.server.door import Pass
    from holdfast.server.repeats import Repeat


class Alike:
    """Requests like one that was parsed.

    Args:
        connection: that they come by.
        repeat: what the first of them was.
        namespace: that is asked, as it stands in the path.
    """

    __slots__ = ("_address", "_operation", "_pass", "name", "raw", "repeat", "site", "space")

    def __init__(self, connection: Connection, repeat: Repeat, namespace: bytes) -> None:
        self._address = connection.address
        self.repeat = repeat
        self.raw = namespace
        self.site = connection.site
        tenant = self.site.tenants.find(namespace)
        self.name, self.space = tenant.name, tenant.space
        self._operation = repeat.route.operation
        self._pass: Pass | None = None

    def may(self) -> Pass | None:
        """What lets the caller do it in all of the namespace; None too where that is charged.

        Raises:
            Unauthenticated: their credential does not verify.
        """
        site = self.site
        if not site.is_quiet or self.name in site.charging.known:
            return None
        door, held = site.door, self._pass
        if held is None or not door.counts(held):
            shown = self.repeat.headers.get("authorization")
            held = door.hold(shown, self.name, self._operation, self._address)
            self._pass = held
        return held
