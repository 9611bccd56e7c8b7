"""Damaged buckets among the others: where they stand, and how they are mended.

A bucket that cannot be opened leaves a gap in the ranges of the others. It is
put there by what it last said of itself, or, where not even that can be read,
because there is no other place. What it gave to others, and what it took from
them, was decided in logs that can be read or not; the ranges of those that can
be read count.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import pairwise

from holdfast.bucket.bucket import Bucket
from holdfast.bucket.repair import Span, begins_at, damaged, last_state
from holdfast.bucket.settings import Settings
from holdfast.errors import Corrupt
from holdfast.log.header import LogState

# Damage that no reading mends: somebody has to put the right file in its place.
FOREIGN = ("this segment belongs elsewhere", "this segment is of another life of the store")
TORN = "no segment has a beginning that verifies"
MISSING = Corrupt(position="directory", what="no segment of the bucket is left")

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


def refuse_misplaced(damage: Damage, states: Known, placed: Iterable[Bucket]) -> None:
    """Raise the damage that is no bucket's: a file in the wrong place.

    What has only segments of others stands where nobody else does (``stand_ins``): its own
    are missing. Elsewhere it holds nothing yet where its parent cannot be read, which was to
    share more with it.
    """
    unborn = children(states)
    nameless = {name for name, state in states.items() if state is None}
    if all(_is_foreign(damage[name]) for name in nameless):
        nameless &= {bucket.id for bucket in placed}
    for name, error in damage.items():
        if _is_foreign(error) and name not in unborn | nameless:
            raise error


def _is_foreign(error: Corrupt) -> bool:
    return error.facts.get("what") in FOREIGN


def stand_ins(
    settings: Settings,
    gaps: list[Span],
    damage: Damage,
    states: Known,
    *,
    unborn: Collection[str],
    new_id: Callable[[], str] | None,
) -> list[Bucket]:
    """A refusing bucket for every gap; those that fit nowhere hold nothing any more.

    Each stands where it says that it begins, or, if that cannot be read, where its keys are.
    One that looks ``unborn`` was born where a gap has no other: its first segment is damaged.
    Where there is none at all, every segment of the one that was there is missing, and its id
    with them: it gets a ``new_id``, unless that is None.
    """
    damage = damage | {name: Corrupt(position=f"bucket {name}", what=TORN) for name in unborn}
    begins = {name: state.start for name, state in states.items() if state is not None}
    nameless = sorted(states.keys() - begins.keys())
    # One without a log of its own waits for another, and holds nothing yet.
    blank = [name for name in nameless if _is_foreign(damage[name])]
    seems = {name: begins_at(settings, name, gaps) for name in nameless if name not in blank}
    guessed = {name: at for name, at in seems.items() if at is not None}
    rest = [*sorted(seems.keys() - guessed.keys()), *blank, *sorted(unborn)]
    placed = []
    for span, known in (one for gap in gaps for one in _cut(gap, begins, guessed)):
        name = known or (rest.pop(0) if rest else new_id() if new_id is not None else "")
        if name:
            placed.append(damaged(settings, name, span, damage.get(name, MISSING)))
    return placed


def _cut(
    gap: Span, begins: dict[str, bytes], guessed: dict[str, bytes]
) -> Iterator[tuple[Span, str]]:
    """A gap as it is divided by where buckets begin; nobody where none has its first keys.

    Who is only guessed to begin somewhere has what lies below, too.
    """
    start, stop = gap
    known: dict[bytes, str] = {}
    for name, at in (begins | guessed).items():
        if start <= at < stop:
            known.setdefault(at, name)
    inside = sorted(known.items())
    if not inside or (inside[0][0] > start and inside[0][1] in begins):
        inside.insert(0, (start, ""))
    edges = [start, *(edge for edge, _ in inside[1:]), stop]
    return zip(pairwise(edges), (name for _, name in inside), strict=True)
