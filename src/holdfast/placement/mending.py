"""Damaged buckets among the others: where they stand, and how they are mended.

A bucket that cannot be opened leaves a gap in the ranges of the others. It is
put there by what it last said of itself, or, where not even that can be read,
because there is no other place. What it gave to others, and what it took from
them, was decided in logs that can be read or not; the ranges of those that can
be read count.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.repair import damaged, last_state
from holdfast.bucket.settings import Settings
from holdfast.errors import Corrupt
from holdfast.log.header import LogState

Span = tuple[bytes, bytes]
Known = dict[str, LogState | None]


def gaps_of(buckets: Iterable[Bucket], edges: Span) -> list[Span]:
    """The ranges that no bucket holds."""
    gaps = []
    lowest, highest = edges
    edge = lowest
    for bucket in sorted(buckets, key=lambda bucket: bucket.start):
        if edge < bucket.start:
            gaps.append((edge, bucket.start))
        edge = max(edge, bucket.stop)
    if edge < highest:
        gaps.append((edge, highest))
    return gaps


def states_of(settings: Settings, names: Iterable[str]) -> Known:
    """What each damaged bucket last said of itself, as far as it can be read."""
    listed = settings.ground.listing()
    return {name: last_state(settings, name, listed.get(name, [])) for name in names}


def swallowed(states: Known) -> set[str]:
    """Buckets that damaged ones had merged in: what is left of them is stale."""
    return {name for state in states.values() if state is not None for name in state.retired}


def children(states: Known) -> set[str]:
    """Buckets that damaged ones were about to give a part of themselves."""
    known = [state for state in states.values() if state is not None]
    return {birth.child for state in known for birth in state.births}


def stand_ins(
    settings: Settings, gaps: list[Span], damage: dict[str, Corrupt], states: Known
) -> list[Bucket]:
    """A refusing bucket for every gap; those that fit nowhere hold nothing any more."""
    placed = []
    unread = sorted(name for name, state in states.items() if state is None)
    for start, stop in gaps:
        inside = sorted(
            (state.start, name)
            for name, state in states.items()
            if state is not None and start <= state.start < stop
        )
        if not inside and unread:
            inside = [(start, unread.pop(0))]
        edges = [start, *(edge for edge, _ in inside[1:]), stop]
        for index, (_, name) in enumerate(inside):
            span = (edges[index], edges[index + 1])
            placed.append(damaged(settings, name, span, damage[name]))
    return placed
