from __future__ import annotations

import io
import re

import pytest

from holdfast.cli.output import console
from holdfast.cli.places import draw_places, scale_of, stretches, total
from holdfast.values import BucketStatus, Status


def store_of(buckets: int) -> Status:
    found = tuple(
        BucketStatus(f"b{at}", ("ns", f"k{at:03d}"), None, "open", at, 10 * at, at, 12 * at, 0)
        for at in range(buckets)
    )
    return Status(found, sum(b.live_bytes for b in found), 0, 0, 0)


@pytest.mark.parametrize("buckets", [0, 1, 7, 8, 9, 63, 64, 200])
def test_every_bucket_lies_in_one_stretch(buckets: int) -> None:
    found = store_of(buckets)
    drawn = stretches(found)
    assert len(drawn) == min(8, buckets)
    assert sum(one.buckets for one in drawn) == buckets
    assert sum(one.live_bytes for one in drawn) == found.live_bytes == total(found).live_bytes
    sizes = {one.buckets for one in drawn}
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_stretches_begin_where_their_first_bucket_does() -> None:
    assert [one.start for one in stretches(store_of(16))][:3] == ["k000", "k002", "k004"]


def test_two_drawings_share_a_scale() -> None:
    assert scale_of(store_of(0)) == 1
    assert scale_of(store_of(2), store_of(4)) == 33


class Terminal(io.StringIO):
    """What is printed to a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("columns", "bar"), [(80, 10), (120, 28)])
def test_every_line_of_a_drawing_fits_the_terminal(
    columns: int, bar: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    large = 1_020_000_000
    found = tuple(
        BucketStatus(f"b{at}", ("ns", "k" * 60 + "\0"), None, "open", 9_999, large, large, large, 0)
        for at in range(8)
    )
    status = Status(found, 8 * large, 8 * large, 8 * large, 0)
    console(terminal).print(draw_places(status, scale_of(status)))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())  # bold takes no room
    lines = [line.rstrip() for line in plain.splitlines()]
    assert len([line for line in lines if line]) == 2 + 8 + 1
    assert all(len(line) <= columns for line in lines)
    assert sum(line.endswith("░" * (bar // 2)) for line in lines) == 8
