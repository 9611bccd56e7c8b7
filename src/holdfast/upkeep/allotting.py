"""Allotting: what of a namespace's bounds each bucket may take, so that it decides alone (rule 14).

Nothing is kept beside the purses: what all of them hold together is read from them, under the
lock that keeps ranges from changing. Where several processes share the store, the purses of each
hold a share together; a process moves what is free among its own, and has the others asked for
more only where its share is too small (``server/gathering.py`` sees to that, one at a time).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.purse import UNBOUNDED, Need
from holdfast.bucket.settling import Settlement, settle
from holdfast.charges import Terms
from holdfast.placement.placement import Placement

KINDS = (0, 1)  # bytes, objects
Needs = Mapping[str, Need]


class Metering(msgspec.Struct, frozen=True):
    """How one namespace is metered: its terms, and its bounds (-1: none).

    ``grace_ns``: for how long reads go on when it cannot pay.
    """

    namespace: bytes
    terms: Terms
    bytes_max: int = UNBOUNDED
    objects_max: int = UNBOUNDED
    grace_ns: int = 0

    @property
    def account(self) -> str:
        """Whose money it spends: an account of its own name."""
        return self.namespace.decode()


class Allotting:
    """Hands out the bounds of namespaces among the buckets of one process.

    Args:
        placement: the buckets.
        holders: those of a namespace, each with a purse.
    """

    def __init__(
        self, placement: Placement, holders: Callable[[Metering], Iterator[Bucket]]
    ) -> None:
        self._placement = placement
        self._holders = holders

    def hand_out(self, one: Metering, needs: Needs | None = None) -> None:
        """Give each bucket what it needs, and equal parts of what is free.

        Held together with ranges, so that nothing is divided meanwhile; telling the books may
        have divided a bucket before. Of a shared store, no more than this process's share.
        """
        with self._placement.changing:
            buckets = list(self._holders(one))
            for kind, most in zip(KINDS, (one.bytes_max, one.objects_max), strict=True):
                share = most
                if most != UNBOUNDED and self._placement.directory.others():
                    share = min(most, sum(_share(b, one.namespace, kind) for b in buckets))
                self._portion(one, buckets, needs or {}, (kind, share))

    def piles(self, one: Metering) -> list[Pile]:
        """What all purses here use and hold together, of bytes and of objects."""
        with self._placement.changing:
            buckets = list(self._holders(one))
            return [
                Pile(
                    sum(_pile(b, one.namespace, None, kind).used for b in buckets),
                    0,
                    sum(_share(b, one.namespace, kind) for b in buckets),
                )
                for kind in KINDS
            ]

    def hold(self, one: Metering, shares: Sequence[int]) -> list[int]:
        """Hold other shares together, of bytes and of objects; what nobody else may hold then."""
        with self._placement.changing:
            buckets = list(self._holders(one))
            for kind, share in zip(KINDS, shares, strict=True):
                self._portion(one, buckets, {}, (kind, share))
            return [sum(_taken(b, one.namespace, kind) for b in buckets) for kind in KINDS]

    def _portion(
        self, one: Metering, buckets: Sequence[Bucket], needs: Needs, shared: tuple[int, int]
    ) -> None:
        kind, share = shared
        piles = [_pile(b, one.namespace, needs.get(b.id), kind) for b in buckets]
        told = portions(share, piles)
        self._hand_out(one, list(zip(buckets, told, strict=True)), kind, share)

    def _hand_out(
        self, one: Metering, wanted: list[tuple[Bucket, int]], kind: int, most: int
    ) -> None:
        """Let purses hold what they shall; who gets less first, so that it never is too much.

        A purse may be left with less than it uses: it only shrinks then, and what it uses
        counts as handed out.
        """
        for grows in (False, True):
            for bucket, told in wanted:
                held = _allotted(bucket, one.namespace)
                if told == held[kind] or grows != (held[kind] != UNBOUNDED and told > held[kind]):
                    continue
                if grows:
                    out = sum(_taken(b, one.namespace, kind) for b, _ in wanted)
                    has = _taken(bucket, one.namespace, kind)
                    told = min(told, has + max(0, most - out))  # noqa: PLW2901
                after = (told, held[1]) if kind == 0 else (held[0], told)
                settle(bucket, one.namespace, Settlement(allotted=after))


class Pile(NamedTuple):
    """What a purse has of bytes or objects: used, needed besides, held."""

    used: int
    needed: int
    held: int


def _pile(bucket: Bucket, namespace: bytes, need: Need | None, kind: int) -> Pile:
    purse = bucket.purses[namespace]
    if kind == 0:
        used, needed = purse.used_bytes + purse.ahead_bytes, need.size_bytes if need else 0
        return Pile(used, max(0, needed), purse.allotted_bytes)
    used, needed = purse.used_objects + purse.ahead_objects, need.objects if need else 0
    return Pile(used, max(0, needed), purse.allotted_objects)


def _allotted(bucket: Bucket, namespace: bytes) -> tuple[int, int]:
    purse = bucket.purses[namespace]
    return purse.allotted_bytes, purse.allotted_objects


def _taken(bucket: Bucket, namespace: bytes, kind: int) -> int:
    """What nobody else may hold: what is allotted, or used where that is more."""
    pile = _pile(bucket, namespace, None, kind)
    return max(pile.used, pile.held)


def _share(bucket: Bucket, namespace: bytes, kind: int) -> int:
    """What a bucket holds of its process's share; what it uses where it was not bounded yet."""
    pile = _pile(bucket, namespace, None, kind)
    return pile.used if pile.held == UNBOUNDED else pile.held


def portions(most: int, piles: Sequence[Pile]) -> list[int]:
    """What each of some purses may hold, together at most ``most``.

    What they hold stays as it is while it is enough for everybody and all that there is.

    Example:
        >>> portions(10, [Pile(2, 0, -1), Pile(1, 1, -1)])
        [5, 5]
    """
    if most == UNBOUNDED:
        return [UNBOUNDED] * len(piles)
    held = [pile.held for pile in piles]
    enough = all(pile.used + pile.needed <= pile.held for pile in piles)
    if enough and sum(held) == most:
        return held
    taken = sum(pile.used + pile.needed for pile in piles)
    if taken > most:
        return _squeezed(most, piles)
    each, odd = divmod(most - taken, max(1, len(piles)))
    told = [pile.used + pile.needed + each for pile in piles]
    return [told[0] + odd, *told[1:]] if told else []


def _squeezed(most: int, piles: Sequence[Pile]) -> list[int]:
    """More is asked for than there is: what is used stays, what is left goes to who needs it."""
    left = max(0, most - sum(pile.used for pile in piles))
    over = max(0, sum(pile.used for pile in piles) - most)
    told = []
    for pile in piles:
        more = min(pile.needed, left)
        less = min(over, pile.used)
        left, over = left - more, over - less
        told.append(pile.used + more - less)
    return told
