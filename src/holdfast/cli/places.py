"""Draws where the bytes of a store are: live, dead and on disk, along its keys."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise

import msgspec
from rich.table import Table

from holdfast.cli.output import cut, edge_text, is_wide, size_text, table
from holdfast.values import BucketStatus, Status

_ROWS = 8  # neighbouring buckets are summed up to fit so many lines
_BAR_COLUMNS = 28
_KEY_COLUMNS = 30
_NARROW_BAR_COLUMNS = 8  # so that a line stays a line
_NARROW_KEY_COLUMNS = 15


class Stretch(msgspec.Struct, frozen=True):
    """Neighbouring buckets as one: where they begin, how many, their keys and bytes."""

    start: str
    buckets: int
    keys: int
    live_bytes: int
    dead_bytes: int
    disk_bytes: int


def stretches(found: Status, most: int = _ROWS) -> list[Stretch]:
    """The buckets of a store, in order, summed into at most ``most`` stretches.

    Example:
        >>> stretches(Status((), 0, 0, 0, 0))
        []
    """
    buckets = found.buckets
    rows = min(most, len(buckets))
    ends = [len(buckets) * row // rows for row in range(rows + 1)] if rows else []
    return [_sum(buckets[start:end]) for start, end in pairwise(ends)]


def total(found: Status) -> Stretch:
    """The whole store as one stretch."""
    return msgspec.structs.replace(
        _sum(found.buckets),
        start="in all",
        live_bytes=found.live_bytes,
        dead_bytes=found.dead_bytes,
        disk_bytes=found.disk_bytes,
    )


def draw_places(found: Status, scale_bytes: int) -> Table:
    """A line for each stretch with a bar (see `legend`) that fits the terminal's width.

    Args:
        found: the store.
        scale_bytes: how many bytes the longest bar stands for, so that two
            drawings compare.
    """
    heads = ("keys from", "buckets>", "keys>", "live>", "dead>", "disk>", "")
    key_columns = _KEY_COLUMNS if is_wide() else _NARROW_KEY_COLUMNS
    bar_columns = _BAR_COLUMNS if is_wide() else _NARROW_BAR_COLUMNS
    rows = [
        (cut(one.start, key_columns), *_figures(one), _bar(one, scale_bytes, bar_columns))
        for one in stretches(found)
    ]
    whole = total(found)
    return table(heads, [*rows, (whole.start, *_figures(whole), "")])


def legend() -> str:
    """What the signs of a bar mean."""
    live, dead = _signs()
    return f"{live} live, {dead} dead"


def scale_of(*seen: Status) -> int:
    """The bytes that the longest bar of several drawings stands for; at least one."""
    longest = [one.live_bytes + one.dead_bytes for found in seen for one in stretches(found)]
    return max([1, *longest])


def _sum(buckets: Sequence[BucketStatus]) -> Stretch:
    start = buckets[0].start if buckets else None
    return Stretch(
        start=edge_text(start[1]) if start else "(the first key)",
        buckets=len(buckets),
        keys=sum(bucket.keys for bucket in buckets),
        live_bytes=sum(bucket.live_bytes for bucket in buckets),
        dead_bytes=sum(bucket.dead_bytes for bucket in buckets),
        disk_bytes=sum(bucket.disk_bytes for bucket in buckets),
    )


def _figures(one: Stretch) -> tuple[str, ...]:
    return (
        f"{one.buckets}",
        f"{one.keys:,}",
        size_text(one.live_bytes),
        size_text(one.dead_bytes),
        size_text(one.disk_bytes),
    )


def _bar(one: Stretch, scale_bytes: int, columns: int) -> str:
    alive, gone = _signs()
    live = one.live_bytes * columns // scale_bytes
    dead = (one.live_bytes + one.dead_bytes) * columns // scale_bytes - live
    return alive * live + gone * dead


def _signs() -> tuple[str, str]:
    """Blocks where standard output can carry them."""
    encoding = (sys.stdout.encoding or "").lower()
    return ("█", "░") if encoding.startswith("utf") else ("#", ".")
