"""Which process of a store holds which range: cut once at the start, evened out later.

Ranges of one process lie side by side, in the order of the processes, so that
growth and merging stay within a process and a move only crosses one border.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from holdfast.placement.directory import HIGHEST, LOWEST


class Holding(NamedTuple):
    """One bucket of a process: where it begins, and its bytes."""

    start: bytes
    weight_bytes: int


class Move(NamedTuple):
    """A range that should go from one process to its neighbour."""

    giver: int
    taker: int
    start: bytes
    stop: bytes


def cut(holdings: Sequence[Holding], count: int) -> list[tuple[bytes, bytes]]:
    r"""The ranges of ``count`` processes, about equally heavy, each of whole buckets.

    Args:
        holdings: every bucket, in order.
        count: processes. With fewer buckets the last ones begin with nothing.

    Example:
        >>> cut([Holding(b"", 6), Holding(b"f", 1), Holding(b"m", 4)], 2)
        [(b'', b'f'), (b'f', b'\xff')]
    """
    total = sum(holding.weight_bytes for holding in holdings) + len(holdings)
    borders = [LOWEST]
    passed = 0
    for left, (holding, after) in zip(
        range(len(holdings) - 1, 0, -1), pairwise(holdings), strict=True
    ):
        passed += holding.weight_bytes + 1
        heavy = passed * count >= total * len(borders)
        if len(borders) < count and (heavy or left <= count - len(borders)):
            borders.append(after.start)
    borders += [HIGHEST] * (count + 1 - len(borders))
    return list(pairwise(borders))


def even_out(loads: Sequence[Sequence[Holding]]) -> Move | None:
    """The move that helps most, or None where none makes the heavier of two lighter.

    Args:
        loads: what each process holds, in order.
    """
    best: tuple[int, Move] | None = None
    for giver, taker in _neighbours(len(loads)):
        mine, theirs = loads[giver], loads[taker]
        if len(mine) <= 1:
            continue
        edge = mine[-1] if taker > giver else mine[0]
        gain = _weight(mine) - _weight(theirs) - (edge.weight_bytes + 1)
        if gain > 0 and (best is None or gain > best[0]):
            stop = _stop_of(loads, giver) if taker > giver else mine[1].start
            best = gain, Move(giver, taker, edge.start, stop)
    return best[1] if best else None


def _neighbours(count: int) -> list[tuple[int, int]]:
    return [pair for at in range(count - 1) for pair in ((at, at + 1), (at + 1, at))]


def _weight(holdings: Sequence[Holding]) -> int:
    """Bytes, and a little for each bucket, so that empty ones spread too."""
    return sum(holding.weight_bytes + 1 for holding in holdings)


def _stop_of(loads: Sequence[Sequence[Holding]], at: int) -> bytes:
    """Where a process's range ends: where the next one that holds anything begins."""
    return next((load[0].start for load in loads[at + 1 :] if load), HIGHEST)
