"""Usage, bounds and balances of a store that several processes share: one number over all of them.

    WholeMoney      in a process: asks the supervisor
    MoneyGathering  in the supervisor: asks all processes, and puts together what they answer
    MoneyParts      in a process: answers the supervisor

What one process lacks of a bound is moved in two steps: who gives shrinks first, durably, and
says what it holds then; only what is left by that is handed out. One such exchange goes on at a
time, so that all processes together never hold more than the bound (rule 14).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.bucket.purse import UNBOUNDED, Need
from holdfast.charges import Wide, narrow, wide
from holdfast.errors import HoldfastError
from holdfast.upkeep.allotting import KINDS, Metering, Pile, portions
from holdfast.values import Usage

if TYPE_CHECKING:
    from holdfast.placement.elsewhere import Link
    from holdfast.store.meters import Meters

CLASSES = ("A", "B", "C")
Each = Callable[..., list[Any]]


class _Used(msgspec.Struct, frozen=True, array_like=True):
    """A process's part of a namespace's usage, as it is told."""

    objects: int
    live_bytes: int
    byte_seconds: Wide
    requests: tuple[Wide, Wide, Wide]
    egress_bytes: Wide
    cost_atto: Wide


class WholeMoney:
    """What a process asks of all, through the supervisor.

    Args:
        link: the way to it.
        index: which process this is.
    """

    def __init__(self, link: Link, index: int) -> None:
        self._link = link
        self._index = index

    def settle(self, name: str | None) -> None:
        """Bring all that any process was asked for until now to the books."""
        self._link.ask("money.settle", name or "")

    def usage(self, name: str) -> Usage:
        """What a namespace holds and was charged for in all processes."""
        told = msgspec.msgpack.decode(self._link.ask("money.usage", name), type=_Used)
        return Usage(
            told.objects,
            told.live_bytes,
            narrow(told.byte_seconds),
            dict(zip(CLASSES, map(narrow, told.requests), strict=True)),
            narrow(told.egress_bytes),
            narrow(told.cost_atto),
        )

    def configured(self, one: Metering) -> None:
        """Have all processes go by what was just set."""
        self._link.ask("money.configured", one.account, [one.bytes_max, one.objects_max])

    def help(self, one: Metering, short: Need) -> bool:
        """Have others give what is missing here; whether all could be asked."""
        is_all = True
        if short.size_bytes > 0 or short.objects > 0:
            bounds, needs = [one.bytes_max, one.objects_max], [short.size_bytes, short.objects]
            is_all = self._asked("money.allot", one.account, bounds, self._index, needs)
        if short.atto > 0:
            is_all = self._asked("money.call_back", one.account, wide(short.atto)) and is_all
        return is_all

    def call_back(self, one: Metering, atto: int) -> None:
        """Have all processes give back what they hold, until the account has so much."""
        self._link.ask("money.call_back", one.account, wide(atto))

    def _asked(self, method: str, *arguments: object) -> bool:
        try:
            self._link.ask(method, *arguments)
        except HoldfastError:
            return False
        return True


class MoneyGathering:
    """What the supervisor does of it.

    Args:
        each: asks all processes.
        one: asks the process of a number.
    """

    def __init__(self, each: Each, one: Callable[..., Any]) -> None:
        self._each = each
        self._one = one
        self._allotting = Lock()
        self.methods: dict[str, Callable[..., Any]] = {
            "money.settle": lambda name: self._do("purses.settle", name),
            "money.usage": self._usage,
            "money.configured": self._configured,
            "money.allot": self._allot,
            "money.call_back": lambda name, atto: self._do("purses.call_back", name, atto),
        }

    def _do(self, method: str, *arguments: object) -> None:
        self._each(method, *arguments)

    def _usage(self, name: str) -> bytes:
        told = [msgspec.msgpack.decode(one, type=_Used) for one in self._each("purses.usage", name)]
        requests = [sum(narrow(one.requests[i]) for one in told) for i in range(len(CLASSES))]
        a, b, c = map(wide, requests)
        return msgspec.msgpack.encode(
            _Used(
                sum(one.objects for one in told),
                sum(one.live_bytes for one in told),
                wide(sum(narrow(one.byte_seconds) for one in told)),
                (a, b, c),
                wide(sum(narrow(one.egress_bytes) for one in told)),
                wide(sum(narrow(one.cost_atto) for one in told)),
            )
        )

    def _configured(self, name: str, bounds: list[int]) -> None:
        self._do("purses.reload", name)
        self._allot(name, bounds, -1, [0, 0])

    def _allot(self, name: str, bounds: list[int], asker: int, needs: list[int]) -> None:
        """Hand the bounds of a namespace out anew, so that ``asker`` gets what it needs."""
        with self._allotting:
            held = [[Pile(*pile) for pile in told] for told in self._each("purses.piles", name)]
            wanted = [self._planned(kind, bounds, held, (asker, needs)) for kind in KINDS]
            kept = [
                self._one(at, "purses.hold", name, [_less(wanted[k][at], piles[k]) for k in KINDS])
                for at, piles in enumerate(held)
            ]
            for at in range(len(held)):
                shares = [self._grown(kind, bounds, wanted, kept, at) for kind in KINDS]
                kept[at] = self._one(at, "purses.hold", name, shares)

    @staticmethod
    def _planned(
        kind: int, bounds: list[int], held: list[list[Pile]], asked: tuple[int, list[int]]
    ) -> list[int]:
        asker, needs = asked
        piles = [
            piles[kind]._replace(needed=max(0, needs[kind]) if at == asker else 0)
            for at, piles in enumerate(held)
        ]
        return portions(bounds[kind], piles)

    @staticmethod
    def _grown(  # noqa: PLR0917 - one share of those planned and those held
        kind: int, bounds: list[int], wanted: list[list[int]], kept: list[list[int]], at: int
    ) -> int:
        """The share of one process, as far as the others leave room for it."""
        if bounds[kind] == UNBOUNDED:
            return UNBOUNDED
        others = sum(one[kind] for number, one in enumerate(kept) if number != at)
        return max(0, min(wanted[kind][at], bounds[kind] - others))


def _less(wanted: int, pile: Pile) -> int:
    """What a process may keep until it is known what all of them keep."""
    return wanted if wanted == UNBOUNDED else min(wanted, pile.held)


class MoneyParts:
    """Answers the supervisor for one process.

    Args:
        meters: of the part of the store that this process holds.
    """

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self.methods: dict[str, Callable[..., Any]] = {
            "purses.settle": lambda name: meters.settle_here(name or None),
            "purses.usage": self._usage,
            "purses.reload": meters.reload,
            "purses.piles": self._piles,
            "purses.hold": self._hold,
            "purses.call_back": self._call_back,
        }

    def _usage(self, name: str) -> bytes:
        used = self._meters.usage_here(name)
        a, b, c = (wide(used.requests.get(kind, 0)) for kind in CLASSES)
        return msgspec.msgpack.encode(
            _Used(
                used.objects,
                used.live_bytes,
                wide(used.byte_seconds),
                (a, b, c),
                wide(used.egress_bytes),
                wide(used.cost_atto),
            )
        )

    def _piles(self, name: str) -> list[list[int]]:
        return [list(pile) for pile in self._meters.funding.allotting.piles(self._one(name))]

    def _hold(self, name: str, shares: Sequence[int]) -> list[int]:
        return self._meters.funding.allotting.hold(self._one(name), shares)

    def _call_back(self, name: str, atto: Wide) -> None:
        self._meters.funding.call_back(self._one(name), narrow(atto))

    def _one(self, name: str) -> Metering:
        return self._meters.metering_of(name)
