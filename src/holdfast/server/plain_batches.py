"""Batches of nothing but plain loads, or nothing but plain stores: most of them.

    loads, few and in memory    answered on the loop, at once
    other loads                 on a thread, by as few reads as their places allow
    stores                      on a thread, one group for each bucket

The right is decided once, because nothing narrows it; each key gets the result that
``batches.Run`` would give it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from holdfast.bucket.many import ABSENT, AFAR
from holdfast.errors import HoldfastError, NotFound
from holdfast.limits import BATCH_BYTES, KEY_BYTES, VALUE_RECORD_BYTES
from holdfast.request import reading
from holdfast.request.corridor import Corridor
from holdfast.request.reading import Loaded
from holdfast.server.numbers import corridor_of, numbered
from holdfast.server.requests import Request
from holdfast.wire.batch import Batch, Call

if TYPE_CHECKING:
    from holdfast.server.site import Site

AT_ONCE: Final = 256  # operations that the loop answers by itself
AT_ONCE_BYTES: Final = 1 << 20
VERBS: Final = frozenset(("load", "store"))


class Plain:
    """A batch of one plain verb. Made by ``plain_of``.

    Args:
        corridor: the way to the buckets; on it stores get their numbers, if they have any.
        calls: the operations.
        keys: their composite keys.
    """

    def __init__(self, corridor: Corridor, calls: Sequence[Call], keys: Sequence[bytes]) -> None:
        self._corridor = corridor
        self._calls = calls
        self._keys = keys
        self.loads = calls[0].verb == "load"

    def loaded_now(self) -> list[object] | None:
        """The results of loads, if the loop may bring all of them together; else None."""
        if not self.loads or len(self._keys) > AT_ONCE:
            return None
        found = self._found(AT_ONCE_BYTES, waits=False)
        return None if found is None or AFAR in found else self._told(found)

    def results(self) -> list[object] | None:
        """The results, ``AFAR`` where something is to be asked for by itself. May wait.

        None where loads are too much for one answer.
        """
        if self.loads:
            found = self._found(BATCH_BYTES, waits=True)
            return None if found is None else self._told(found)
        names = [call.key for call in self._calls]
        values = [(call.arguments or {})["value"] for call in self._calls]
        try:
            return list(self._corridor.store_each((self._keys, names, values)))
        except HoldfastError as error:
            return [error] * len(names)

    def _found(self, most_bytes: int, *, waits: bool) -> list[Loaded] | None:
        return reading.load_many(self._corridor, self._keys, most_bytes, waits=waits)

    def _told(self, found: Sequence[Loaded]) -> list[object]:
        if ABSENT not in found:
            return list(found)
        return [
            NotFound(key=call.key) if value is ABSENT else value
            for call, value in zip(self._calls, found, strict=True)
        ]


def plain_of(site: Site, request: Request, asked: Batch) -> Plain | None:
    """A batch of one plain verb that its caller may ask all of; else None."""
    calls = asked.operations
    verb = calls[0].verb if calls else ""
    tenant, principal = site.tenant_of(request), request.principal
    if verb not in VERBS or asked.atomic or principal is None:
        return None
    passes = site.door.passes(principal, tenant.name, verb, request.address)
    if not passes or not _are_plain(calls, verb):
        return None
    raw = [call.key.encode() for call in calls]
    sizes = list(map(len, raw))
    if min(sizes) == 0 or max(sizes) > KEY_BYTES:
        return None
    try:
        site.charging.hold_reads(tenant)
        corridor = corridor_of(site.corridor, numbered(request))
    except HoldfastError:
        return None  # each for itself is told why
    space = tenant.space
    return Plain(corridor, calls, [space + key for key in raw])


def _are_plain(calls: Sequence[Call], verb: str) -> bool:
    """Whether all are loads of whole values, or all stores of a value of one record each."""
    if any(call.verb != verb for call in calls):
        return False
    if verb == "load":
        return not any(call.arguments for call in calls)
    given = [call.arguments or {} for call in calls]
    if max(map(len, given)) > 1:
        return False
    return max(len(one["value"]) for one in given) <= VALUE_RECORD_BYTES
