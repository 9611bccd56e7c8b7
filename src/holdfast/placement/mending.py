"""Damaged buckets among the others: where they stand, and how they are mended.

A bucket that cannot be opened leaves a gap in the ranges of the others. It is
put there by what it last said of itself, or, where not even that can be read,
because there is no other place. What it gave to others, and what it took from
them, was decided in logs that can be read or not; the ranges of those that can
be read count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import pairwise

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.repair import damaged, last_state
from holdfast.bucket.settings import Settings
from holdfast.errors import Corrupt
from holdfast.log.header import LogState

# Damage that no reading mends: somebody has to put the right file in its place.
FOREIGN = ("this segment belongs elsewhere", "this segment is of another life of the store")
TORN = "no segment has a beginning that verifies"

Span = tuple[bytes, bytes]
Known = dict[str, LogState | None]
Damage = dict[str, Corrupt]


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


def overreaching(buckets: Iterable[Bucket]) -> Damage:
    """The buckets that reach over the start of another, as damaged.

    A child begins above its parent, and only once the parent's log says so: what said it
    was the end of that log, and does not verify any more.
    """
    ordered = sorted(buckets, key=lambda bucket: bucket.start)
    return {
        left.id: Corrupt(position=f"bucket {left.id}", what="the log ends before a split")
        for left, right in pairwise(ordered)
        if left.stop > right.start
    }


def left_alone(opened: dict[str, Bucket], gone: Iterable[str]) -> dict[str, Corrupt]:
    """Let children take over what they read through parents that go; those that cannot, damaged."""
    parents = [opened[name] for name in gone]
    damage = {}
    for child in opened.values():
        if child.lender in parents:
            try:
                child.finish_birth()
            except Corrupt as error:
                damage[child.id] = error
    return damage


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


def misplaced(damage: Damage, states: Known) -> Corrupt | None:
    """The damage that is no bucket's: a file in the wrong place. None where there is none.

    A child that has only what its parent shared with it yet looks like that while
    the parent cannot be read; then it is the parent that is damaged.
    """
    unborn = children(states)
    unread = any(state is None and not _is_foreign(damage[name]) for name, state in states.items())
    for name, error in damage.items():
        if _is_foreign(error) and name not in unborn and not (unread and states[name] is None):
            return error
    return None


def _is_foreign(error: Corrupt) -> bool:
    return error.facts.get("what") in FOREIGN


def stand_ins(
    settings: Settings,
    gaps: list[Span],
    damage: Damage,
    states: Known,
    *,
    unborn: Collection[str],
) -> list[Bucket]:
    """A refusing bucket for every gap; those that fit nowhere hold nothing any more.

    One that looks ``unborn`` was born where a gap has no other: its first segment is damaged.
    """
    placed = []
    nameless = (name for name, state in states.items() if state is None)
    # One without a log of its own waits for another, and holds nothing yet.
    unread = sorted(nameless, key=lambda name: (_is_foreign(damage[name]), name))
    unread += sorted(unborn)
    damage = damage | {name: Corrupt(position=f"bucket {name}", what=TORN) for name in unborn}
    for start, stop in gaps:
        inside = sorted(
            (state.start, name)
            for name, state in states.items()
            if state is not None and start <= state.start < stop
        )
        if unread and (not inside or inside[0][0] > start):
            inside.insert(0, (start, unread.pop(0)))
        edges = [start, *(edge for edge, _ in inside[1:]), stop]
        for index, (_, name) in enumerate(inside):
            span = (edges[index], edges[index + 1])
            placed.append(damaged(settings, name, span, damage[name]))
    return placed
