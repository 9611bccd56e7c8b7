"""Order many items without one long call: sample, deal into runs, sort run by run.

``sorted`` on 100,000 keys holds the interpreter for a tenth of a second, and
every request with it (rule 11). Dealt by a sample's quantiles into runs of some
hundred, each call is short, and the whole costs no more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
RUN = 256  # items that one call sorts, about
SLICE = 300  # items dealt between two calls of pace
OVERSAMPLE = 4


def paced(items: Iterable[T], slice_items: int, pace: Callable[[], None]) -> Iterator[T]:
    """The items, with a call of ``pace`` behind each slice of so many."""
    for index, item in enumerate(items, 1):
        yield item
        if not index % slice_items:
            pace()


def in_order(
    items: Sequence[T],
    pace: Callable[[], None],
    key: Callable[[T], Any] | None = None,
) -> Iterator[list[T]]:
    """Runs of ascending items, each run behind the one before.

    Args:
        items: in any order.
        pace: called between slices of work; may sleep.
        key: by what to deal them (a part of what orders them); the item itself if None.

    Example:
        >>> [x for run in in_order([3, 1, 2], lambda: None) for x in run]
        [1, 2, 3]
    """
    if len(items) <= RUN:
        yield sorted(items)  # type: ignore[type-var]
        return
    step = RUN // OVERSAMPLE
    sample = sorted(items[::step] if key is None else [key(item) for item in items[::step]])
    edges = sample[OVERSAMPLE::OVERSAMPLE]
    runs: list[list[T]] = [[] for _ in range(len(edges) + 1)]
    for at in range(0, len(items), SLICE):
        for item in items[at : at + SLICE]:
            runs[bisect_right(edges, item if key is None else key(item))].append(item)
        pace()
    for run in runs:
        run.sort()
        yield run
        pace()
